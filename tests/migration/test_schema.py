"""The schema made from the tables equals the one that the migrations make, and the list of revisions is whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from rhea.errors import DatabaseInvalid, DatabaseTooNew
from rhea.stores import current_revision, open_store, upgrade
from rhea.stores.database import Database
from rhea.stores.schema import HEAD, REVISIONS


def sqlite_schema(url: str) -> dict[str, tuple[str, ...]]:
    """Every object of the database in a form that layout and order of creation do not change."""
    database = Database(url)
    with database.read() as connection:
        rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    database.close()
    found = {}
    for kind, name, sql in rows:
        parts = " ".join(sql.split()).replace("( ", "(").replace(" )", ")")
        # A table's columns and constraints may come in any order; the closing bracket is no part of the last one.
        found[f"{kind} {name}"] = tuple(sorted(parts.removesuffix(")").split(", "))) if kind == "table" else (parts,)
    return found


def test_a_fresh_schema_equals_the_migrated_one(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/migrated.db")
    open_store(tmp_path / "fresh.db").close()
    migrated = sqlite_schema(f"sqlite:///{tmp_path}/migrated.db")
    assert len(migrated) > 30
    assert sqlite_schema(f"sqlite:///{tmp_path}/fresh.db") == migrated


def test_the_list_of_revisions_is_what_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", "rhea.migrations:.")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [HEAD]
    assert tuple(r.revision for r in reversed(list(script.walk_revisions()))) == REVISIONS


def test_a_newer_database_is_refused_with_advice(tmp_path: Path) -> None:
    open_store(tmp_path / "chats.db").close()
    database = Database(tmp_path / "chats.db")
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(DatabaseTooNew, match="upgrade the package"):
        open_store(tmp_path / "chats.db")


def test_another_programs_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(DatabaseInvalid):
        open_store(tmp_path / "other.db")
    (tmp_path / "text.db").write_text("not a database, but long enough to be mistaken for one" * 20)
    before = (tmp_path / "text.db").read_bytes()
    with pytest.raises(DatabaseInvalid):
        open_store(tmp_path / "text.db")
    assert (tmp_path / "text.db").read_bytes() == before


def test_a_missing_database_has_no_revision_and_is_not_made_by_asking(tmp_path: Path) -> None:
    assert current_revision(tmp_path / "chats.db") is None
    assert not (tmp_path / "chats.db").exists()
    assert upgrade(tmp_path / "chats.db") == (None, HEAD)
    assert current_revision(tmp_path / "chats.db") == HEAD
