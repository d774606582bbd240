"""`gunicorn webhook.wsgi:application`."""

from __future__ import annotations

import resource

from config.log import set_up_logging
from config.settings import load_settings
from models.database import Database
from models.schema import require_schema
from tasks.app import configure, ring
from webhook.app import create_app

_settings = load_settings()
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core may hold the callbacks' secrets
set_up_logging(_settings)
configure(_settings)
_database = Database(_settings.sqlalchemy_url)
require_schema(_database, upgrade_now=_settings.database_url is None)

application = create_app(_settings, _database, ring)
