"""The relational store's migrations: they make the schema that tables.py says, also from an older one with data."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from isotherm.store.db import MIGRATIONS, open_db, reading, writing
from isotherm.store.tables import arrivals, dirty, ledger, ledger_hours, metadata


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    return made


@pytest.fixture
def older(tmp_path: Path) -> str:
    """A store as the first revision left it, with rows."""
    url = f"sqlite://{tmp_path / 'old.db'}"
    plain = sa.create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    with plain.begin() as connection:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
        rows = [("shop", 0, "accepted", 5), ("shop", 3_600_000, "accepted", 7), ("shop", 0, "landed", 5)]
        rows += [("", 0, "accepted", 1), ("bank", 0, "accepted", 0)]
        for client_id, hour, measure, events in rows:
            row = {"client_id": client_id, "hour": hour, "measure": measure, "reason": "", "events": events}
            connection.execute(sa.insert(ledger).values(**row))
        connection.execute(
            sa.text("INSERT INTO dirty (level, start, client_id, version, marked_at) VALUES ('hour', 0, 'shop', 1, 2)")
        )
        for path, state, form, events in (("a", "listed", "parquet", 3), ("b", "listed", "parquet", 4),
                                          ("c", "listed", "jsonl", 7), ("d", "delisted", "parquet", 9)):  # fmt: skip
            row = f"('{path}', '{state}', '{form}', 'shop', 0, {events}, 1)"
            names = "path, state, format, client_id, hour, rows, created_at"
            connection.execute(sa.text(f"INSERT INTO files ({names}) VALUES {row}"))
    plain.dispose()
    return url


@pytest.mark.parametrize("start", ["empty", "older"])
def test_the_migrated_schema_is_the_code_s(tmp_path: Path, start: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("older") if start == "older" else f"sqlite://{tmp_path / 'new.db'}"
    engine = open_db(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        difference: list[Any] = compare_metadata(context, metadata)
        assert difference == []
        assert context.get_current_revision() == ScriptDirectory.from_config(config()).get_current_head()
    engine.dispose()


def test_a_store_of_the_first_revision_keeps_its_rows(older: str) -> None:
    engine = open_db(older)
    with reading(engine) as connection:
        assert connection.execute(sa.select(arrivals)).all() == [("shop", 12, 3_600_000)]
        assert connection.execute(sa.select(dirty)).all() == [("hour", 0, "shop", 1, 2, None, None)]
        # Rows that were landed before event hours were counted, in whatever formats.
        assert connection.execute(sa.select(ledger_hours)).all() == [("shop", 0, 0, 0, 0, 0, 0, 0, 0, 7)]
    with writing(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(ledger)).scalar_one() == 5
    engine.dispose()
