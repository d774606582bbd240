"""What gunicorn does before it serves: `gunicorn --config python:tasks.serving webhook.wsgi:application`.

It waits for the database like every other process, or ends with 78; workers that are forked later only
answer 503 while it is away.
"""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from config.errors import ConfigurationError
from config.exits import Exit
from config.log import set_up_logging
from config.settings import load_settings
from models.rules.language import Language, use_language
from tasks.home import prepare_home
from tasks.opening import wait_for_database


class Logger(GunicornLogger):  # type: ignore[misc]  # gunicorn has no types
    """Its own lines go through the one set-up of all processes, JSON where that is asked for."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers[:] = []
            log.propagate = True
        with contextlib.suppress(ConfigurationError):  # said by `on_starting`
            set_up_logging(load_settings())


logger_class = Logger


def on_starting(_server: object) -> None:
    """Called by gunicorn in the parent, before it listens."""
    try:
        settings = load_settings()
        prepare_home(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(int(Exit.CONFIGURATION))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core may hold the callbacks' secrets
    use_language(Language(settings.blankforms_lang))
    set_up_logging(settings)

    def pause(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    if database := wait_for_database(settings, pause):
        database.close()  # nothing that is open may be inherited by a fork
