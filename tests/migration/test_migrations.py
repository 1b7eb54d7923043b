"""Every revision up, down and up again on a database with data; a failed one leaves nothing behind."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from rhea.errors import DatabaseOutdated, DatabaseTooNew
from rhea.stores import current_revision, open_store, upgrade
from rhea.stores.database import Database
from rhea.stores.schema import HEAD, REVISIONS, migrate
from rhea.stores.tables import metadata
from rhea.types import InstructionChange, Message

ENGINES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=[pytest.mark.slow, pytest.mark.xdist_group("postgresql")]),
]


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """A database without any table."""

    def make(engine: str) -> str:
        if engine == "sqlite":
            return f"sqlite:///{tmp_path}/{uuid4().hex[:8]}.db"
        import psycopg

        server = request.getfixturevalue("postgresql")
        name = f"empty_{uuid4().hex[:8]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(server.replace("/postgres?", f"/{name}?"))

    return make


def seed(url: str) -> None:
    store = open_store(url)
    for name in ("ada", "bob"):
        owner = store.ensure_user(name)
        here = store.ensure_conversation(owner, "trip")
        for n in range(5):
            turn = store.begin_turn(owner, here, Message("user", f"hello {n}"), [InstructionChange("add", f"rule {n}")])
            store.commit_turn(owner, turn.id, f"reply {n}", trace={"n": n})
    store.close()


def content(url: str) -> dict[str, list[tuple]]:
    """Every row of every table, by table."""
    database = Database(url)
    with database.read() as connection:
        found = {
            table.name: sorted(map(tuple, connection.execute(table.select()).all()), key=repr)
            for table in metadata.sorted_tables
            if table.name != "about"
        }
    database.close()
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_up_down_and_up_again_on_each_revision(engine: str, empty_database: Callable[[str], str]) -> None:
    """Going down to a revision and up again must not change a row that both know."""
    url = empty_database(engine)
    assert upgrade(url) == (None, HEAD)
    seed(url)
    before = content(url)
    assert sum(map(len, before.values())) > 60
    database = Database(url)
    for revision in reversed(REVISIONS[:-1]):
        migrate(database, revision, down=True)
        migrate(database)
        assert content(url) == before
    # The first revision holds everything: below it there is nothing, and no trace of it.
    migrate(database, "base", down=True)
    with database.read() as connection:
        left = set(MigrationContext.configure(connection).connection.dialect.get_table_names(connection))
    assert left <= {"alembic_version", "sqlite_sequence"}
    assert migrate(database) == (None, HEAD)
    database.close()
    assert content(url) == {name: [] for name in before}
    seed(url)
    assert {name: len(rows) for name, rows in content(url).items()} == {
        name: len(rows) for name, rows in before.items()
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_the_tables_say_what_the_migrations_made(engine: str, empty_database: Callable[[str], str]) -> None:
    url = empty_database(engine)
    upgrade(url)
    database = Database(url)

    beside = ("message_words", "vector_rows", "ix_messages_words", "ix_vector_rows")

    def ours(_object: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        # Not what one engine adds beside the tables: full-text indexes and pgvector.
        return not (name or "").startswith(beside) and (kind, name) != ("column", "words")

    options = {"include_object": ours, "compare_type": False}
    with database.read() as connection, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pgvector's types are unknown to SQLAlchemy
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    database.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_migration_that_fails_leaves_nothing_behind(
    engine: str, empty_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    url = empty_database(engine)
    database = Database(url)
    if engine == "sqlite":
        with database.write() as connection:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
    calls = 0
    real = op.create_table

    def failing(*arguments: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise RuntimeError("out of luck")
        return real(*arguments, **options)

    monkeypatch.setattr(op, "create_table", failing)
    with pytest.raises(RuntimeError, match="out of luck"):
        migrate(database)
    assert calls == 6
    with database.read() as connection:
        names = set(connection.dialect.get_table_names(connection))
    assert names <= {"alembic_version"}
    monkeypatch.undo()
    assert migrate(database) == (None, HEAD)
    database.close()


@pytest.mark.slow
@pytest.mark.xdist_group("postgresql")
def test_a_server_database_is_not_touched_without_being_asked(empty_database: Callable[[str], str]) -> None:
    url = empty_database("postgresql")
    with pytest.raises(DatabaseOutdated, match="rhea db upgrade"):
        open_store(url)
    assert current_revision(url) is None
    upgrade(url)
    upgrade(url)
    assert current_revision(url) == HEAD
    open_store(url).close()
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(DatabaseTooNew):
        open_store(url)
    with pytest.raises(DatabaseTooNew):
        upgrade(url)
