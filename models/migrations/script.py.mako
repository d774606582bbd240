"""${message}

A migration must leave the version of the code before it working: add first, remove in a later
release. Locks are short: no rewriting of a large table in one statement.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
