"""`gunicorn --config python:tasks.serving console.wsgi:application`."""

from __future__ import annotations

import sys

from config.errors import ConfigurationError
from config.exits import Exit
from config.log import set_up_logging
from config.settings import load_settings
from console.app import create_app
from tasks.app import configure
from tasks.opening import connect
from workers.bootstrap import context_with

_settings = load_settings()
try:
    _settings.require_oidc()
except ConfigurationError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(int(Exit.CONFIGURATION))
set_up_logging(_settings)
configure(_settings)

application = create_app(context_with(_settings, connect(_settings)))
