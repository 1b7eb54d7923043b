"""`rhea import` of a file that `rhea export` wrote: the same memory again, under the same or another name."""

from __future__ import annotations

from pathlib import Path

import pytest

ECHO = ("chat", "--model", "echo")


@pytest.fixture
def exported(rhea_cli, tmp_path: Path) -> Path:
    assert rhea_cli(*ECHO, stdin=b"From now on, end every answer with amen.\nMy dog is called Biscuit.\n").code == 0
    assert rhea_cli("export", "ada", str(tmp_path / "ada.jsonl")).code == 0
    return tmp_path / "ada.jsonl"


def test_an_export_comes_back_as_it_was(rhea_cli, exported: Path, tmp_path: Path) -> None:
    assert rhea_cli("erase", "ada", "--yes").code == 0
    assert rhea_cli("import", str(exported), "--json").json == {"user": "ada", "restored": True}
    assert [t["user"] for t in rhea_cli("history", "--json").json["turns"]][1] == "My dog is called Biscuit."
    assert (
        rhea_cli("instructions", "list", "--json").json["instructions"][0]["text"]
        == "From now on, end every answer with amen."
    )
    assert rhea_cli("export", "ada", str(tmp_path / "again.jsonl")).code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == exported.read_bytes()


def test_another_name_makes_a_copy_and_what_exists_is_never_overwritten(rhea_cli, exported: Path) -> None:
    assert "copy is restored" in rhea_cli("import", str(exported), "--user", "copy").out
    refused = rhea_cli("import", str(exported), "--user", "copy")
    assert refused.code == 2
    assert "already" in refused.err


def test_a_conversation_cannot_be_named_for_an_export(rhea_cli, exported: Path) -> None:
    assert rhea_cli("import", str(exported), "--conversation", "main").code == 2
