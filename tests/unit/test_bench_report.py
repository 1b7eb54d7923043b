"""The report of every measurement: what is planned, what is written, what happens when one fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rhea.bench import report
from rhea.bench.report import MEASUREMENTS, flattened, planned, run_all
from rhea.cli import main
from rhea.cli.app import bench_app
from rhea.errors import SettingsError


def test_every_bench_command_is_in_the_report(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rhea", "bench", "--help"])
    with pytest.raises(SystemExit):
        main()
    capsys.readouterr()
    commands = {c.name for c in bench_app.registered_commands}
    assert commands - {"all"} <= {m.name for m in MEASUREMENTS}


def test_files_of_the_users_folder_are_taken_one_run_each(tmp_path):
    for name in ("recall/a.jsonl", "recall/b.jsonl", "dialogues/d.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    runs = {r.label: r.arguments for r in planned(tmp_path, "none")}
    assert runs["recall-a"][0] == str(tmp_path / "recall" / "a.jsonl")
    assert runs["quality-b"][:2] == ("--recall", str(tmp_path / "recall" / "b.jsonl"))
    assert runs["digest-d"][0].endswith("d.jsonl")
    assert runs["overhead"][:2] == ("--peers", "none")
    assert "instructions" in runs


def test_wrong_names_and_folders_are_typed_errors(tmp_path):
    with pytest.raises(SettingsError, match="nonsense"):
        planned(None, "all", ["nonsense"])
    with pytest.raises(SettingsError, match="not a folder"):
        planned(tmp_path / "missing", "all")


def test_one_failure_is_told_and_the_rest_is_written(tmp_path, monkeypatch):
    said = "import sys, json; sys.exit('no model here') if 'recall' in sys.argv else print(json.dumps({'a': [1, 2.5]}))"
    monkeypatch.setattr(report, "_COMMAND", [__import__("sys").executable, "-c", said])
    result = run_all(tmp_path / "out", peers="none", only=["recall", "instructions"])
    assert result["runs"]["recall"]["error"] == "no model here"
    written = json.loads((tmp_path / "out" / "instructions.json").read_text(encoding="utf-8"))
    assert written == {"a": [1, 2.5]}
    text = Path(result["report"]).read_text(encoding="utf-8")
    assert "Not measured: no model here" in text
    assert "| a | 1, 2.5 |" in text


def test_a_result_becomes_rows_of_dotted_names():
    value = {"a": {"b": 1234, "c": [1, 2]}, "d": [{"e": 0.12345}], "f": "x|y", "g": None, "h": True}
    assert dict(flattened(value)) == {
        "a.b": "1,234",
        "a.c": "1, 2",
        "d[0].e": "0.1235",
        "f": "x\\|y",
        "g": "None",
        "h": "True",
    }
