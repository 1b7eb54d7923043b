"""One remembered turn on the real embedder and the real model, across two processes' worth of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rhea import Rhea, SentenceTransformerEmbedder, TransformersModel
from rhea.errors import EmbedderError
from rhea.types import Decision

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("smollm2")]


def test_a_chat_that_remembers_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chats.db'}"
    rule = "From now on, end every answer with the word amen."
    with Rhea(url, model=TransformersModel(reserve=24, device="cpu")) as memory:
        chat = memory.conversation("main", user="ada")
        assert chat.send(rule).strip()
        assert chat.send("My dog is called Biscuit. What should I feed him?").strip()
    with Rhea(url) as memory:
        turn = memory.conversation("main", user="ada").begin("What is my dog called?")
        assert turn.context.instructions == (rule,)
        assert {e.position: e.decision for e in turn.context.episodes}[2] in (Decision.RAW, Decision.COMPRESSED)
        assert any("Biscuit" in m["content"] for m in turn.messages)


def test_the_packaged_embedder_sees_meaning() -> None:
    embedder = SentenceTransformerEmbedder()
    vectors = embedder.embed(["My dog is called Biscuit.", "What is the name of my puppy?", "Interest rates rose."])
    assert vectors.shape == (3, embedder.dim)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert np.array_equal(vectors[:1], embedder.embed(["My dog is called Biscuit."]))
    assert embedder.count("hello world") == 2
    assert embedder.max_tokens == 254


def test_an_unknown_embedder_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="cannot load"):
        SentenceTransformerEmbedder(str(tmp_path)).embed(["x"])
