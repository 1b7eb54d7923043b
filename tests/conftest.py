"""What every test may use: a PostgreSQL server for the whole run, and a fresh database for one test."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from pgserver_of_tests import start_postgresql, stop_at_once


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a running server's maintenance database; one server, shared by all test processes of a run."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:12]
    server = start_postgresql(Path(tempfile.gettempdir()) / f"rhea-pg-{run}")
    yield server.get_uri()
    stop_at_once(server)
    server.cleanup()


@pytest.fixture(scope="session")
def postgresql_template(postgresql: str) -> str:
    """Name of a migrated database that fresh ones are copied from."""
    name = f"template_{uuid4().hex[:8]}"
    execute(postgresql, f"CREATE DATABASE {name}")
    from rhea.stores import upgrade

    upgrade(postgresql.replace("/postgres?", f"/{name}?"))
    return name


def execute(url: str, *statements: str) -> None:
    """Run statements outside any transaction."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            for attempt in range(50):
                try:
                    connection.execute(statement)
                    break
                except psycopg.errors.ObjectInUse:  # another process copies the same template
                    if attempt == 49:
                        raise
                    time.sleep(0.1)


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Make an empty, migrated database of an engine and return its URL; it is gone after the test."""
    made: list[str] = []

    def make(engine: str) -> str:
        name = f"rhea_{uuid4().hex[:12]}"
        if engine == "sqlite":
            return f"sqlite:///{tmp_path}/{name}.db"
        server = request.getfixturevalue("postgresql")
        execute(server, f"CREATE DATABASE {name} TEMPLATE {request.getfixturevalue('postgresql_template')}")
        made.append(name)
        return str(server.replace("/postgres?", f"/{name}?"))

    yield make
    for name in made:
        execute(request.getfixturevalue("postgresql"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


ENGINES = [
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgresql", id="postgresql", marks=[pytest.mark.slow, pytest.mark.xdist_group("postgresql")]),
]


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, new_database: Callable[[str], str]) -> str:
    """A fresh database of each engine in turn."""
    return new_database(request.param)
