"""The benches on instructions: what their figures count."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rhea.bench.adherence import measure_adherence
from rhea.bench.files import bundled, read_jsonl
from rhea.bench.instructions import measure_detection
from rhea.bench.retention import measure_retention
from rhea.bench.scenarios import expected_state, held_out, measure_scenarios
from rhea.errors import ImportFormatError, SettingsError
from rhea.memory import Conversation
from rhea.models.counting import FallbackCounter
from rhea.settings import Settings
from rhea.testing import HashEmbedder, memory_database
from rhea.types import ChatMessage


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def test_detection_counts_a_text_once_and_skips_what_has_no_label(tmp_path: Path) -> None:
    turns = [
        {"user": "Always answer in French.", "rule": True},
        {"user": "Always answer in French.", "rule": True},
        {"user": "The sky is blue today.", "rule": True},
        {"user": "From now on be brief.", "rule": False},
        {"user": "Write a poem.", "rule": False},
        {"user": "Never mention prices.", "rule": None},
    ]
    found = measure_detection(
        [written(tmp_path / "a.jsonl", [{"source": "s", "turns": turns}])], embedder=HashEmbedder()
    )
    assert found["sources"] == {"s": {"recall": 0.5, "false_positive_rate": 0.5, "positives": 2, "negatives": 2}}
    assert (found["precision"], found["recall"], found["f1"]) == (0.5, 0.5, 0.5)
    assert found["ms_per_message"] > 0


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"source": "s", "turns": []}\n{oops\n', encoding="utf-8")
    with pytest.raises(ImportFormatError, match="line 2"):
        measure_detection([path], embedder=HashEmbedder())


def test_retention_keeps_every_instruction_inside_a_small_budget() -> None:
    found = measure_retention(
        bundled("retention.jsonl"),
        bundled("filler.jsonl"),
        tokens=1500,
        budget=512,
        limit=3,
        embedder=HashEmbedder(),
        counter=FallbackCounter(),
    )
    assert found["conversations"] == 3
    assert found["verbatim"] == 1.0
    assert found["filler_tokens"] >= 1500
    assert found["largest_context"] <= 512


def test_retention_misses_what_was_never_taken_as_an_instruction(tmp_path: Path) -> None:
    long = "The weather in our village was fine and the harvest was better than ever. " * 6
    rows = [{"id": "a", "turns": [{"user": "Hello.", "reply": "Hi."}, {"user": long, "reply": "Ok.", "rule": True}]}]
    found = measure_retention(
        written(tmp_path / "a.jsonl", rows),
        bundled("filler.jsonl"),
        tokens=3000,
        budget=600,
        embedder=HashEmbedder(),
        counter=FallbackCounter(),
    )
    assert found["verbatim"] == 0.0


LATER = "Our harbour has two piers. From now on answer in one sentence. The ferry leaves from the northern one."


def rule_in_the_third_turn(path: Path) -> Path:
    turns = [{"user": f"What is written on stone number {n}?", "reply": f"Number {n}."} for n in range(2)]
    return written(path, [{"id": "a", "turns": [*turns, {"user": LATER, "reply": "Aye.", "rule": True}]}])


def test_retention_finds_the_whole_of_a_short_message_that_came_later(tmp_path: Path) -> None:
    found = measure_retention(
        rule_in_the_third_turn(tmp_path / "a.jsonl"),
        bundled("filler.jsonl"),
        tokens=3000,
        budget=512,
        embedder=HashEmbedder(),
        counter=FallbackCounter(),
    )
    assert found["verbatim"] == 1.0
    assert found["largest_context"] <= 512


def context_after(chat: Conversation) -> str:
    for number in range(30):
        chat.begin(f"A few words about lighthouse number {number} and its keeper, please.").commit("Tall. " * 30)
    return "\n".join(m["content"] for m in chat.begin("A few words about lighthouse number 30, please.").messages)


def test_a_message_stands_whole_as_long_as_its_rule_is_in_force_and_not_twice() -> None:
    with memory_database(settings=Settings(budget=400, background=False)) as memory:
        kept = memory.conversation("kept", user="ada")
        kept.begin("Hello.").commit("Hi.")
        kept.begin(LATER).commit("Aye.")
        assert LATER in context_after(kept)
        (rule,) = kept.instructions.list()
        kept.instructions.revoke(rule.id)
        assert LATER not in context_after(kept)
        bare = memory.conversation("bare", user="ada")
        bare.begin("Hello.").commit("Hi.")
        bare.begin("From now on answer in one sentence.").commit("Aye.")
        assert context_after(bare).count("User: From now on answer in one sentence.") == 0


class Parrot(FallbackCounter):
    """A batched model whose replies say which rules it can see."""

    context_window = 400
    reserve = 50

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[list[ChatMessage]] = []

    def replies(self, prompts: Sequence[Sequence[ChatMessage]]) -> list[str]:
        self.prompts += [list(p) for p in prompts]
        return ["shouting" if any("small letters" in m["content"] for m in p) else "SHOUTING" for p in prompts]


def conversation(turns: int) -> dict[str, Any]:
    lower = [{"type": "change_case:lowercase", "args": {}}]
    first = {"user": "From now on use small letters only.", "reply": "ok", "generate": False, "checks": []}
    return {"id": "c", "turns": [first, *({"user": f"Question {n}?", "checks": lower} for n in range(turns))]}


def test_adherence_scores_each_arm_by_turn_and_writes_every_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rhea.embed.SentenceTransformerEmbedder", HashEmbedder)
    path = written(tmp_path / "a.jsonl", [conversation(3)])
    found = measure_adherence(path, Parrot(), replies=tmp_path / "replies.jsonl", budget=300)  # type: ignore[arg-type]
    assert found["scored"] == 3
    assert found["arms"]["rhea"] == {"adherence": 1.0, "by_turn": [1.0, 1.0, 1.0]}
    assert found["arms"]["full"]["by_turn"] == [1.0, 1.0, 1.0]
    assert found["arms"]["window"]["by_turn"] == [1.0, 0.0, 0.0]  # the rule has left the last exchange
    lines = read_jsonl(tmp_path / "replies.jsonl", ("arm", "id", "turn", "reply"))
    assert len(lines) == 12
    assert {line["turn"] for line in lines} == {0, 1, 2, 3}


def test_full_history_drops_its_oldest_turns_when_the_window_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rhea.embed.SentenceTransformerEmbedder", HashEmbedder)
    model = Parrot()
    measure_adherence(written(tmp_path / "a.jsonl", [conversation(40)]), model, arms=["full"])  # type: ignore[arg-type]
    assert max(model.count_messages(p) for p in model.prompts) <= model.context_window - model.reserve


def test_an_unknown_arm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="half"):
        measure_adherence(written(tmp_path / "a.jsonl", []), Parrot(), arms=["half"])  # type: ignore[arg-type]


def test_a_third_of_the_dialogues_is_kept_aside_whatever_their_order() -> None:
    names = [row["id"] for row in read_jsonl(bundled("scenarios.jsonl"), ("id",))]
    kept = held_out(names)
    assert len(names) >= 90
    assert len(kept) == len(names) // 3
    assert kept == held_out(list(reversed(names)))


@pytest.mark.slow
def test_the_scenarios_end_as_they_should() -> None:
    found = measure_scenarios(bundled("scenarios.jsonl"))
    assert found["tuning"]["right"] >= 0.95
    assert found["held_out"]["right"] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", ["held_out", "second_sight", "third_sight"])
def test_dialogues_that_were_once_unseen_stay_right(name: str) -> None:
    found = measure_scenarios(bundled(f"scenarios_{name}.jsonl"))
    assert min(found["tuning"]["right"], found["held_out"]["right"]) >= 0.9, found["wrong"]


@pytest.mark.slow
def test_the_bundled_messages_are_told_apart() -> None:
    found = measure_detection([bundled("instructions.jsonl")])
    assert found["f1"] >= 0.95
    assert found["sources"]["rhea-passing"]["false_positive_rate"] <= 0.02


def test_what_should_stand_follows_from_the_turns() -> None:
    turns = [
        {"user": "…", "adds": ["Be brief.", "Rhyme for two replies."], "lasts": {"Rhyme for two replies.": 2}},
        {"user": "…"},
        {"user": "…", "adds": ["Be thorough."], "ends": ["Be brief."]},
    ]
    states = [expected_state({"turns": turns[:n]}) for n in (1, 2, 3)]
    assert states == [["Be brief.", "Rhyme for two replies."], ["Be brief."], ["Be thorough."]]
    assert expected_state({"turns": ["a", "b"], "active": ["x"]}) == ["x"]
