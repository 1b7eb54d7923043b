"""The learned head's data file, and that nothing but it is trusted."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest

from rhea.errors import EmbedderError
from rhea.instructions import head as head_module
from rhea.instructions.detect import InstructionDetector
from rhea.instructions.head import packaged_head, signal_features
from rhea.instructions.patterns import SIGNALS
from rhea.testing import HashEmbedder


def test_the_head_ships_as_plain_json_for_the_packaged_embedder() -> None:
    data = json.loads(files("rhea.instructions").joinpath("head.json").read_text(encoding="utf-8"))
    assert data["embedder"] == "all-MiniLM-L6-v2"
    assert len(data["vector_weights"]) == 384
    assert list(data["signal_weights"]) == list(SIGNALS)


def test_probabilities_follow_the_coefficients() -> None:
    head = packaged_head()
    towards = head.weights[: head.dim] / np.linalg.norm(head.weights[: head.dim])
    vectors = np.stack([towards, -towards]).astype(np.float32)
    high, low = head.probabilities(vectors, [frozenset(), frozenset()])
    assert high > 0.9
    assert low < 0.1


def test_signals_become_ones_in_their_order() -> None:
    names = list(SIGNALS)
    row = signal_features([frozenset({names[0], names[-1]})])[0]
    assert row[0] == row[-1] == 1.0
    assert row.sum() == 2.0


def test_another_embedder_means_patterns_alone() -> None:
    text = "Fewer adjectives suit me."
    assert InstructionDetector(HashEmbedder()).detect(text, ()) == InstructionDetector().detect(text, ())


def test_a_damaged_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    packaged_head.cache_clear()
    monkeypatch.setattr(head_module.json, "loads", lambda _: {"embedder": "x"})
    with pytest.raises(EmbedderError, match="install Rhea again"):
        packaged_head()
    packaged_head.cache_clear()
