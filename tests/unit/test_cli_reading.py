"""Commands that read or change what is stored: conversations, history, why, db, export, erase, prune."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

ECHO = ("chat", "--model", "echo")


@pytest.fixture
def told(rhea_cli):
    """A conversation of three turns with one rule."""
    text = b"From now on, end every answer with amen.\nMy dog is called Biscuit.\nWhat is my dog called?\n"
    assert rhea_cli(*ECHO, stdin=text).code == 0
    return rhea_cli


def test_conversations(told) -> None:
    told(*ECHO, "--conversation", "trip", stdin=b"hello\n")
    found = told("conversations", "--json").json
    assert found["user"] == "ada"
    assert [(c["name"], c["turns"]) for c in found["conversations"]] == [("trip", 1), ("main", 3)]
    assert datetime.fromisoformat(found["conversations"][0]["updated_at"]).tzinfo is not None
    drawn = told("conversations").out
    assert drawn.index("trip") < drawn.index("main")


def test_history(told) -> None:
    found = told("history", "--json").json
    assert set(found) == {"user", "conversation", "turns"}
    assert found["turns"][1] == {
        "position": 2,
        "user": "My dog is called Biscuit.",
        "reply": "You said: My dog is called Biscuit.",
        "state": "committed",
    }
    assert [t["position"] for t in told("history", "--last", "2", "--json").json["turns"]] == [2, 3]
    drawn = told("history").out
    assert "You said: My dog is called Biscuit." in drawn
    assert told("history", "--last", "0").code == 2


def test_why_tells_the_newest_turn_or_the_one_named(told) -> None:
    newest = told("why", "--json").json
    assert (newest["user"], newest["conversation"], newest["turn"]["position"]) == ("ada", "main", 3)
    assert newest["context"]["instructions"] == ["From now on, end every answer with amen."]
    assert [e["position"] for e in newest["context"]["episodes"]] == [1, 2]
    assert told("why", "1", "--json").json["context"]["episodes"] == []
    drawn = told("why").out
    for part in (
        "What is my dog called?",
        "of 4,096 tokens",
        "instructions",
        "end every answer with amen",
        "turn 2 raw",
    ):
        assert part in drawn


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("why", "9"), "turn 9"),
        (("why", "0"), "position"),
        (("why", "two"), "position"),
        (("history", "--user", "nobody"), "no user"),
        (("why", "--user", "nobody"), "no user"),
        (("conversations", "--user", "nobody"), "no user"),
        (("history", "--conversation", "nope"), "no conversation"),
        (("why", "--conversation", "nope"), "no conversation"),
        (("export", "nobody", "x.jsonl"), "no user"),
        (("erase", "nobody"), "no user"),
        (("erase",), "name the user"),
        (("erase", "ada", "--user", "bob"), "two users"),
        (("erase", "--conversation", "nope"), "no conversation"),
        (("prune", "--older-than", "soon"), "not an age"),
        (("prune", "--older-than", "0d"), "not an age"),
        (("prune",), "--older-than"),
        (("prune", "--older-than", "1d", "--user", "nobody"), "no user"),
        (("nonsense",), "nonsense"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_what_does_not_exist_is_one_line(told, arguments, says, form) -> None:
    done = told(*arguments, *form)
    assert done.code == 2
    assert says in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert told("conversations", "--json").json["conversations"][0]["turns"] == 3


@pytest.mark.parametrize(
    "command", [("history",), ("why",), ("conversations",), ("export", "ada", "-"), ("erase", "ada")]
)
def test_reading_makes_no_database(rhea_cli, tmp_path, command) -> None:
    done = rhea_cli(*command)
    assert done.code == 2
    assert "no database" in done.err
    assert not (tmp_path / "rhea.db").exists()


def test_reading_makes_no_user(told) -> None:
    told("history", "--user", "nobody")
    told("conversations", "--user", "nobody")
    assert told("conversations", "--user", "nobody").code == 2


def test_db(rhea_cli, tmp_path) -> None:
    file = str(tmp_path / "rhea.db")
    assert rhea_cli("db", "path").out == f"{file}\n"
    assert rhea_cli("db", "current", "--json").json["revision"] is None
    assert "not there yet" in rhea_cli("db", "current").out
    made = rhea_cli("db", "upgrade", "--json").json
    assert (made["database"], made["before"]) == (file, None)
    again = rhea_cli("db", "upgrade", "--json").json
    assert again["before"] == again["after"] == made["after"]
    assert "already" in rhea_cli("db", "upgrade").out
    now = rhea_cli("db", "current", "--json").json
    assert now["revision"] == now["newest"] == made["after"]
    assert made["after"] in rhea_cli("db", "current").out
    assert rhea_cli("db", "path", "--json").json == {"database": file}


def test_db_path_hides_the_password(rhea_cli) -> None:
    shown = rhea_cli("db", "path", "--database", "postgresql://ada:hunter2@host/rhea").out
    assert "host/rhea" in shown
    assert "hunter2" not in shown


def test_a_server_that_is_away(rhea_cli) -> None:
    pytest.importorskip("psycopg")
    for command in (("db", "upgrade"), ("db", "current"), ("history",), ECHO):
        done = rhea_cli(*command, "--database", "postgresql://ada@127.0.0.1:1/rhea", stdin=b"hello\n")
        assert done.code == 2
        assert "cannot be reached" in done.err
        assert done.err.count("\n") == 1


def test_the_default_place_is_made_when_needed(rhea_cli, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("RHEA_DATABASE_URL")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert rhea_cli("history").code == 2
    assert not (tmp_path / "data").exists()
    assert rhea_cli(*ECHO, stdin=b"hello\n").code == 0
    folder = tmp_path / "data" / "rhea"
    if sys.platform == "linux":
        assert (folder / "rhea.db").is_file()
        assert folder.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/nowhere")
    done = rhea_cli(*ECHO, stdin=b"hello\n")
    assert done.code == 2
    assert "RHEA_DATABASE_URL" in done.err


def test_export(told, tmp_path) -> None:
    target = tmp_path / "ada.jsonl"
    done = told("export", "ada", str(target), "--json").json
    lines = target.read_text("utf-8").splitlines()
    assert done == {"user": "ada", "file": str(target), "lines": len(lines)}
    assert json.loads(lines[0])["name"] == "ada"
    assert any("Biscuit" in line for line in lines)
    assert told("export", "ada", "-").out.splitlines() == lines
    assert f"{len(lines):,} lines" in told("export", "ada", str(target)).out
    assert told("export", "ada", "/no/such/folder/x.jsonl").code == 2


def test_erase_a_conversation_then_the_user(told, tmp_path) -> None:
    told(*ECHO, "--conversation", "trip", stdin=b"The harbour of Lisbon-upon-Canary\n")
    gone = told("erase", "--conversation", "trip", "--json").json
    assert (gone["user"], gone["conversation"], gone["left"], gone["verified"]) == ("ada", "trip", [], True)
    assert told("history", "--conversation", "trip").code == 2
    assert len(told("history", "--json").json["turns"]) == 3
    assert b"Lisbon-upon-Canary" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    done = told("erase", "ada")
    assert done.code == 0
    assert "verified" in done.out
    assert told("history").code == 2
    assert b"Biscuit" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_what_erase_could_not_remove_is_told(told, monkeypatch) -> None:
    from rhea.ownership import Erasure, UserData

    left = Erasure({"turns": 3}, ("/a/file",), 5, ("/a/file",), ("a note",))
    monkeypatch.setattr(UserData, "erase", lambda *_, **__: left)
    done = told("erase", "ada")
    assert done.code == 1
    assert "/a/file" in done.err
    assert "a note" in done.out
    assert "verified" not in done.out


def test_erase_asks_a_person(told, monkeypatch) -> None:
    from rhea.cli import ownership

    asked: list[str] = []
    monkeypatch.setattr(ownership, "_at_a_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda question: bool(asked.append(question)))
    assert told("erase", "ada").code == 1
    assert "ada" in asked[0]
    assert len(told("history", "--json").json["turns"]) == 3
    assert told("erase", "ada", "--yes").code == 0
    assert len(asked) == 1


def test_prune(told, monkeypatch) -> None:
    assert told("prune", "--older-than", "1d").out == "nothing is that old\n"

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(UTC) + timedelta(days=100)

    monkeypatch.setattr("rhea.ownership.datetime", Later)
    assert told("prune", "--older-than", "2y", "--json").json == {"rows": {}}
    assert told("prune", "--older-than", "90d", "--json").json["rows"]["turns"] == 3
    assert told("history").code == 2


def test_ages() -> None:
    from rhea.cli.ownership import parse_age

    assert [parse_age(a).days for a in ("90d", "2W", "6m", "1y")] == [90, 14, 180, 365]


def test_a_full_disk_or_an_unreadable_file_is_one_line(told, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr("rhea.ownership.UserData.export", refuse)
    done = told("export", "ada", "x.jsonl")
    assert (done.code, done.err) == (2, "rhea: /somewhere: Permission denied\n")


def test_a_newer_database_is_refused(told, tmp_path) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "rhea.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for command in (("history",), ("db", "current"), ("db", "upgrade"), ECHO):
        done = told(*command, stdin=b"hello\n")
        assert done.code == 2
        assert "newer" in done.err


def test_a_locked_database_is_told(told, tmp_path, monkeypatch) -> None:
    import sqlite3

    from rhea.settings import Settings

    monkeypatch.setattr("rhea.settings.Settings", lambda **given: Settings(**given, busy_seconds=0.2))
    connection = sqlite3.connect(tmp_path / "rhea.db")
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = told(*ECHO, stdin=b"hello\n")
    finally:
        connection.rollback()
        connection.close()
    assert done.code == 2
    assert "lock" in done.err
    assert len(told("history", "--json").json["turns"]) == 3


def test_version(rhea_cli) -> None:
    from importlib.metadata import version

    assert rhea_cli("--version").out == f"rhea {version('rhea-memory')}\n"


def test_help_without_a_command(rhea_cli) -> None:
    done = rhea_cli()
    assert done.code == 2
    assert "chat" in done.out + done.err


def test_an_error_cannot_steer_the_terminal(told) -> None:
    done = told("history", "--user", "bob\x1b[2J\nrhea: all is well")
    assert done.code == 2
    assert "\x1b" not in done.err
    assert done.err.count("\n") == 1


def run_closed(redirection: str, tmp_path) -> subprocess.CompletedProcess[str]:
    """`rhea db path` with one of its streams closed by the shell."""
    command = f'"{sys.executable}" -m rhea.cli db path {redirection}'
    environment = os.environ | {"RHEA_DATABASE_URL": f"sqlite:///{tmp_path}/rhea.db"}
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, timeout=60)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(tmp_path, redirection) -> None:
    done = run_closed(redirection, tmp_path)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert done.stdout == ("" if ">&-" in redirection.replace("2>&-", "") else f"{tmp_path}/rhea.db\n")


def test_names_that_are_not_utf_8(told) -> None:
    done = told("history", "--user", "caf\udce9")
    assert done.code == 2
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_the_same_commands_on_postgresql(rhea_cli, postgresql, tmp_path) -> None:
    from uuid import uuid4

    import psycopg

    fresh = f"cli_{uuid4().hex[:8]}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {fresh}")
    at = ("--database", postgresql.replace("/postgres?", f"/{fresh}?"))
    try:
        refused = rhea_cli(*ECHO, *at, stdin=b"hello\n")
        assert refused.code == 2
        assert "rhea db upgrade" in refused.err
        assert rhea_cli("db", "upgrade", *at).code == 0
        (turn,) = rhea_cli(*ECHO, *at, "--json", stdin=b"From now on, end every answer with amen.\n").objects
        assert turn["context"]["instructions"] == ["From now on, end every answer with amen."]
        assert rhea_cli("history", *at, "--json").json["turns"][0]["state"] == "committed"
        assert rhea_cli("why", *at, "--json").json["context"]["budget"] == 4096
        assert rhea_cli("conversations", *at).code == 0
        target = tmp_path / "ada.jsonl"
        assert rhea_cli("export", "ada", str(target), *at).code == 0
        assert rhea_cli("erase", "ada", *at, "--json").json["left"] == []
        assert rhea_cli("history", *at).code == 2
    finally:
        with psycopg.connect(postgresql, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {fresh} WITH (FORCE)")
