"""Migrated databases for tests, in which a message makes no move that the table of moves lacks.

The product's statements move many messages at once, each from the states that it names itself; here
the database holds all of them, in every test and every trial, against `SUBMISSION_MOVES`.
"""

from __future__ import annotations

from sqlalchemy import text

from models.rules.states import SUBMISSION_MOVES
from models.tables.database import Database
from models.tables.schema import upgrade

_MOVES = ", ".join(f"'{start.value}>{target.value}'" for start, target in sorted(SUBMISSION_MOVES))
_STRANGE = f"OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_MOVES})"
_GUARDS = {
    "sqlite": [
        (
            "CREATE TRIGGER submission_moves BEFORE UPDATE OF state ON submission FOR EACH ROW"
            f" WHEN {_STRANGE} BEGIN SELECT RAISE(ABORT, 'a move that does not exist'); END"
        )
    ],
    "postgresql": [
        (
            "CREATE FUNCTION no_such_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'a move that does not exist: % to %', OLD.state, NEW.state; END $$"
        ),
        (
            "CREATE TRIGGER submission_moves BEFORE UPDATE OF state ON submission FOR EACH ROW"
            f" WHEN ({_STRANGE}) EXECUTE FUNCTION no_such_move()"
        ),
    ],
}


def make_template(url: str) -> None:
    """Migrate an empty database and add the guard."""
    database = Database(url)
    upgrade(database)
    with database.write() as session:
        for statement in _GUARDS[database.engine.dialect.name]:
            session.execute(text(statement))
    database.close()
