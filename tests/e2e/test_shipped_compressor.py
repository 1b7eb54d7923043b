"""The compressor that ships, on the packaged model: whole, small, and it carries what was said."""

from __future__ import annotations

import pytest

from rhea.bench.compression import Scorer
from rhea.bench.compression_probe import cloze, reconstruction
from rhea.compress.memory_tokens import MemoryTokenCompressor, bundled_compressor, describe
from rhea.compress.samples import Exchange, Frame
from rhea.models.transformers import TransformersModel

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> TransformersModel:
    return TransformersModel(None, device="cpu")


@pytest.fixture(scope="module")
def compressor(model) -> MemoryTokenCompressor:
    return MemoryTokenCompressor.load(None, model.network, model.prompts)


def test_it_is_no_larger_than_promised():
    assert sum(f.stat().st_size for f in bundled_compressor().glob("*.safetensors")) <= 20_000_000
    described = describe(bundled_compressor())
    assert described["training"]["measured"]["gain"]["memory_8"] > described["training"]["measured"]["gain"]["text_32"]


def test_a_reply_is_read_from_its_own_memory_and_no_other(model, compressor):
    replies = [
        ("Where do we meet?", "We meet at the north gate of the botanical garden at a quarter past nine."),
        ("What did the vet say?", "The vet found a thorn in her left paw and prescribed an ointment for ten days."),
        ("How was the concert?", "The violins were a little sharp, but the second half with the choir was splendid."),
    ]
    encode = model.prompts.encode_text
    exchanges = [Exchange(tuple(encode(u)), tuple(encode(r))) for u, r in replies]
    scorer = Scorer(model.network, Frame.of(model.prompts), compressor.parts)
    found = reconstruction(scorer, model.prompts, exchanges, tokens=8)
    assert found["own"] < 0.5 * found["none"]
    assert found["own"] < 0.5 * found["anothers"]
    assert found["accuracy"]["own"] > 0.8 > found["accuracy"]["anothers"]


def test_facts_survive(model, compressor):
    scorer = Scorer(model.network, Frame.of(model.prompts), compressor.parts)
    found = cloze(scorer, model.prompts, tokens=8)
    assert found["memory"] > found["omitted"]
