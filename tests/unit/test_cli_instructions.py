"""`rhea instructions …` on a real database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rhea.cli import COMMAND_MODULES
from rhea.testing import HashEmbedder


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    from rhea import Rhea

    monkeypatch.setattr("rhea.embed.SentenceTransformerEmbedder", HashEmbedder)
    where = f"sqlite:///{tmp_path}/rhea.db"
    with Rhea(where, embedder=HashEmbedder()) as memory:
        memory.conversation("main", user="ada").begin("From now on answer in French.").commit("Bien.")
    return where


def rhea(*arguments: str) -> int:
    from importlib import import_module

    for name in COMMAND_MODULES:
        import_module(f"rhea.cli.{name}")
    from rhea.cli.app import run

    return run(["instructions", *arguments])


def test_a_rule_lives_and_ends_by_hand(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--user", "ada", "--database", url, "--json"]
    assert rhea("list", *common) == 0
    (said,) = json.loads(capsys.readouterr().out)["instructions"]
    assert (said["text"], said["source_position"], said["start"]) == ("From now on answer in French.", 1, 0)
    assert rhea("add", "Call me Ada.", "--scope", "user", *common) == 0
    added = json.loads(capsys.readouterr().out)
    assert added["scope"] == "user"
    assert rhea("edit", str(said["id"]), "Answer in Italian.", *common) == 0
    edited = json.loads(capsys.readouterr().out)
    assert rhea("revoke", str(added["id"]), *common) == 0
    assert json.loads(capsys.readouterr().out) == {"revoked": added["id"]}
    assert rhea("list", *common) == 0
    assert [i["id"] for i in json.loads(capsys.readouterr().out)["instructions"]] == [edited["id"]]
    assert rhea("list", "--all", *common) == 0
    states = {i["id"]: i["status"] for i in json.loads(capsys.readouterr().out)["instructions"]}
    assert states == {said["id"]: "superseded", added["id"]: "revoked", edited["id"]: "active"}
    assert rhea("history", *common) == 0
    events = json.loads(capsys.readouterr().out)["events"]
    assert {e["action"] for e in events} >= {"add", "supersede", "revoke"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["revoke", "99"], "no instruction 99"),
        (["add", "  "], "empty"),
        (["add", "x", "--kind", "wish"], "kinds"),
        (["add", "x", "--turns", "0"], "out of range"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    url: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rhea(*arguments, "--user", "ada", "--database", url) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_an_ended_rule_cannot_be_ended_again(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--user", "ada", "--database", url]
    assert rhea("revoke", "1", *common) == 0
    assert rhea("revoke", "1", *common) == 2
    assert "revoked already" in capsys.readouterr().err


def test_people_read_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rhea("list", "--user", "ada", "--database", url) == 0
    assert "From now on answer in French.  [rule] (turn 1)" in capsys.readouterr().out
