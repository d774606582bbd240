"""`gunicorn --config python:tasks.serving webhook.wsgi:application`."""

from __future__ import annotations

from config.log import set_up_logging
from config.settings import load_settings
from customs.profile import open_profile
from tasks.app import configure, ring
from tasks.opening import connect
from webhook.app import create_app

_settings = load_settings()
set_up_logging(_settings)
configure(_settings)

application = create_app(_settings, connect(_settings), ring, open_profile(_settings.wire_profile))
