"""The learned weights' data file, and what they compute."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
import pytest

from rhea.errors import EmbedderError
from rhea.instructions import weights as weights_module
from rhea.instructions.detect import InstructionDetector
from rhea.instructions.weights import Forest, Linear, packaged_weights
from rhea.instructions.words import SIZE, word_ids
from rhea.testing import HashEmbedder


@pytest.fixture
def _fresh() -> Iterator[None]:
    packaged_weights.cache_clear()
    yield
    packaged_weights.cache_clear()


def test_the_weights_ship_as_plain_arrays() -> None:
    weights = packaged_weights()
    assert weights.stands.words.shape == weights.ends.words.shape == weights.gate.words.shape == (SIZE,)
    assert weights.gate.dense.shape == (384 + 3,)
    assert weights.ends_again.feature.shape == weights.ends_again.value.shape
    assert files("rhea.instructions").joinpath("weights.safetensors").is_file()


def test_a_linear_answer_adds_features_and_words() -> None:
    words = np.zeros(SIZE, dtype=np.float32)
    words[[3, 5]] = 1.0
    answer = Linear(np.array([1.0, -2.0], dtype=np.float32), words, 0.5)
    features = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(answer(features, [[3, 5, 7, 9], []]), [1.5 + 2.0 * 2 / 2, -1.5])


def test_a_forest_walks_every_tree_to_its_leaf() -> None:
    """Two trees: one asks about feature 0 and then 1, the other is a leaf."""
    forest = Forest(
        feature=np.array([[0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]),
        threshold=np.array([[0.5, 0, 2.0, 0, 0], [0, 0, 0, 0, 0]]),
        left=np.array([[1, 1, 3, 3, 4], [0, 1, 2, 3, 4]]),
        right=np.array([[2, 1, 4, 3, 4], [0, 1, 2, 3, 4]]),
        value=np.array([[0, -1.0, 0, 2.0, 4.0], [0.25, 0, 0, 0, 0]]),
        bias=0.5,
        depth=2,
    )
    rows = np.array([[0.5, 9.0], [0.6, 2.0], [0.6, 2.1]], dtype=np.float32)
    np.testing.assert_allclose(forest(rows), [-0.25, 2.75, 4.75])


def test_words_are_hashed_the_same_everywhere() -> None:
    assert word_ids("No emojis!") == word_ids("no  EMOJIS !")
    assert word_ids("No emojis!") != word_ids("emojis no!")
    assert all(0 <= i < SIZE for i in word_ids("Antworte bitte ausschließlich auf Französisch."))
    assert word_ids("") == word_ids("   ")


def test_another_embedder_means_patterns_alone() -> None:
    text = "Fewer adjectives suit me."
    assert InstructionDetector(HashEmbedder()).detect(text, ()) == InstructionDetector().detect(text, ())


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize("data", [b"", b"not a tensor file", b"\x02\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_file_is_told(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    class Folder:
        def joinpath(self, _: str) -> Folder:
            return self

        def read_bytes(self) -> bytes:
            return data

    monkeypatch.setattr(weights_module, "files", lambda _: Folder())
    with pytest.raises(EmbedderError, match="install Rhea again"):
        packaged_weights()
