"""Batches of the measuring model: every prompt has its reply, and none is asked for twice."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from rhea.bench import generation
from rhea.bench.generation import BatchedModel


class Counting(BatchedModel):
    """Encodes a prompt as its characters and answers with them, remembering what was asked."""

    def __init__(self) -> None:
        self.max_new_tokens = 4
        self.asked: list[str] = []

    @property
    def prompts(self) -> Any:
        return SimpleNamespace(encode=lambda messages: [ord(c) for c in messages[-1]["content"]])

    @property
    def _device(self) -> Any:
        return SimpleNamespace(type="cpu")

    def _generate(self, encoded: Sequence[Sequence[int]]) -> list[str]:
        texts = ["".join(map(chr, ids)) for ids in encoded]
        self.asked += texts
        return [text.upper() for text in texts]


def answers(model: Counting, *texts: str) -> list[str]:
    return model.replies([[{"role": "user", "content": text}] for text in texts])


def test_equal_prompts_are_answered_once_and_replies_keep_their_order() -> None:
    model = Counting()
    assert answers(model, "longer", "abc", "longer", "b", "abc") == ["LONGER", "ABC", "LONGER", "B", "ABC"]
    assert sorted(model.asked) == ["abc", "b", "longer"]


def test_small_batches_answer_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_PADDED_TOKENS", {"cpu": 12})
    assert answers(Counting(), "abcdef", "x", "yz", "abcdef") == ["ABCDEF", "X", "YZ", "ABCDEF"]


def test_no_prompts_no_replies() -> None:
    assert answers(Counting()) == []
