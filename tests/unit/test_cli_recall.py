"""`rhea import`, `search`, `calibrate` and the recall benches, as commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CHAT = {
    "id": "plot",
    "messages": [
        {"id": "m1", "role": "user", "name": "Ada", "text": "Osman grows leeks on plot 31."},
        {"id": "m2", "role": "assistant", "name": "Bo", "text": "Leeks like clay.\x1b[31m"},
        {"id": "m3", "role": "user", "name": "Ada", "text": "The shed leaks too."},
        {"id": "m4", "role": "assistant", "name": "Bo", "text": "Use roofing tape."},
    ],
    "queries": [{"id": "q1", "question": "What does Osman grow?", "evidence": ["m1"]}],
}


@pytest.fixture
def quick_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts without preparing the default model's tokenizer."""
    from rhea.models.counting import FallbackCounter

    monkeypatch.setattr("rhea.models.counting.TokenizerCounter", FallbackCounter)


@pytest.fixture
def chat_file(tmp_path: Path) -> Path:
    path = tmp_path / "chat.jsonl"
    path.write_text(json.dumps(CHAT) + "\n", encoding="utf-8")
    return path


def test_import_then_search(rhea_cli, chat_file: Path) -> None:
    assert rhea_cli("import", str(chat_file), "--json").json == {
        "conversations": 1,
        "turns": 2,
        "known": 0,
        "messages": 4,
        "blank": 0,
    }
    assert "2 turns were there already" in rhea_cli("import", str(chat_file)).out
    found = rhea_cli("search", "leeks", "--json").json
    assert [(f["conversation"], f["position"]) for f in found] == [("plot", 1)]
    assert found[0]["messages"][0] == {"role": "user", "name": "Ada", "text": "Osman grows leeks on plot 31."}
    drawn = rhea_cli("search", "leeks", "--conversation", "plot").out
    assert "Ada: Osman grows leeks" in drawn
    assert "\x1b[31m" not in drawn
    assert rhea_cli("search", "zebra", "--json").json == []
    assert rhea_cli("search", "leeks", "--conversation", "none").code == 2


def test_import_of_what_it_cannot_read_is_one_line(rhea_cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"messages": 3}\n', encoding="utf-8")
    result = rhea_cli("import", str(bad))
    assert result.code == 2
    assert "bad.jsonl, line 1" in result.err
    assert rhea_cli("import", str(tmp_path / "none.jsonl")).code == 2


def test_digest_bench_beats_truncation_on_the_bundled_chats(rhea_cli, quick_counter) -> None:
    from rhea.bench.recall import bundled_file

    report = rhea_cli("bench", "digest", str(bundled_file()), "--share", "0.25", "--json").json
    row = report["shares"]["0.25"]
    assert row["tokens"] <= 0.26
    assert row["digest"] > row["truncation"]


def test_scale_bench_reports_each_size(rhea_cli, tmp_path: Path) -> None:
    plot = tmp_path / "scale.png"
    report = rhea_cli("bench", "recall-scale", "--messages", "60", "--turns", "5", "--plot", str(plot), "--json").json
    (row,) = report["sizes"]
    assert row["messages"] == 60
    assert 0 < row["begin_ms"]["p50"] <= row["begin_ms"]["p95"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_recall_bench_reports_what_was_asked(rhea_cli, quick_counter, tmp_path: Path) -> None:
    chats = tmp_path / "chats.jsonl"
    chats.write_text(json.dumps(CHAT) + "\n", encoding="utf-8")
    plot = tmp_path / "recall.png"
    options = ("--budget", "16", "--budget", "250", "--plot", str(plot), "--json")
    report = rhea_cli("bench", "recall", str(chats), *options).json
    assert (report["queries"], report["messages"]) == (1, 4)
    assert set(report["baselines"]) == {"recency", "dense", "words"}
    assert report["budgets"]["250"] == {
        "recall": 1.0,
        "verbatim": 1.0,
        "tokens_max": report["budgets"]["250"]["tokens_p50"],
        "tokens_p50": report["budgets"]["250"]["tokens_max"],
    }
    assert report["budgets"]["16"]["tokens_max"] <= 16
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_default_embedder_on_the_bundled_chats() -> None:
    from importlib import resources

    from rhea.bench.recall import bundled_file, labelled_conversations, measure_recall
    from rhea.embed import SentenceTransformerEmbedder
    from rhea.recall.calibrate import calibrate

    embedder = SentenceTransformerEmbedder()
    report = measure_recall(bundled_file(), [64, 250], embedder=embedder)
    assert (report["queries"], report["messages"]) == (54, 159)
    for budget, row in report["budgets"].items():
        assert row["tokens_max"] <= int(budget)
        assert row["verbatim"] <= row["recall"]
    assert report["budgets"]["250"]["recall"] >= 0.9
    assert report["budgets"]["250"]["recall"] > max(b["250"] for b in report["baselines"].values())
    shipped = json.loads((resources.files("rhea.recall") / "calibration.json").read_text("utf-8"))
    made = calibrate(labelled_conversations(bundled_file()), embedder)
    assert made.slope == pytest.approx(shipped["slope"], rel=0.02), "the shipped file is what the command makes"
    assert made.offset == pytest.approx(shipped["offset"], abs=0.05)


def test_calibrate_writes_a_file_that_recall_finds(rhea_cli, monkeypatch, tmp_path: Path) -> None:
    from rhea.recall.calibration import calibration_for

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    calibration_for.cache_clear()
    made = rhea_cli("calibrate", "--json").json
    assert made["embedder_id"] == "hash-64"
    assert Path(made["file"]).is_relative_to(tmp_path)
    assert calibration_for("hash-64").slope == made["slope"]
    Path(made["file"]).write_text("{}", encoding="utf-8")
    calibration_for.cache_clear()
    result = rhea_cli("chat", "--model", "echo", stdin=b"hello\n")
    assert result.code == 2
    assert "rhea calibrate" in result.err
    calibration_for.cache_clear()


def test_a_bench_file_without_its_evidence_is_refused(rhea_cli, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text(json.dumps(CHAT | {"queries": [{"question": "?", "evidence": ["m9"]}]}) + "\n", encoding="utf-8")
    result = rhea_cli("bench", "recall", str(bad))
    assert result.code == 2
    assert "no message m9" in result.err
