"""The fast decoder inside `TransformersModel`: the same replies as transformers' own generation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import make_network, make_prompts

from rhea.models.transformers import Sampling, TransformersModel

TALKS = [
    [{"role": "user", "content": "say something about the boilers"}],
    [
        {"role": "user", "content": "say something about the boilers"},
        {"role": "assistant", "content": "they are warm"},
        {"role": "user", "content": "and the key?"},
    ],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fast") / "model"
    make_network(max_position_embeddings=2048).save_pretrained(folder)
    make_prompts().tokenizer.save_pretrained(folder)
    return folder


def model(folder: Path, *, fast: bool, **settings: object) -> TransformersModel:
    return TransformersModel(str(folder), device="cpu", reserve=40, fast=fast, **settings)


def ids_of(chat: TransformersModel, messages: list) -> list[int]:
    """What is said, as ids: random models say bytes that are no text."""
    tokenizer, said = chat.prompts.tokenizer, []
    decode = tokenizer.decode

    def heard(ids: list[int], **_: object) -> str:
        said[:] = ids
        return ""

    tokenizer.decode = heard
    try:
        list(chat.stream(messages))
    finally:
        tokenizer.decode = decode
    return said


@pytest.mark.parametrize("penalty", [1.0, 1.2])
def test_the_same_tokens_as_generate(folder, penalty):
    slow = model(folder, fast=False, repetition_penalty=penalty)
    quick = model(folder, fast=True, repetition_penalty=penalty)
    ends = slow.prompts.tokenizer.eos_token_id
    for talk in (*TALKS, TALKS[0]):  # the second shares its beginning with the first, the third is shorter again
        expected = [i for i in ids_of(slow, talk) if i != ends]
        assert ids_of(quick, talk) == expected
        assert expected


def test_the_same_tokens_from_embeddings(folder):
    slow, quick = model(folder, fast=False), model(folder, fast=True)
    vectors = np.random.default_rng(0).normal(size=(4, 32)).astype(np.float16) * 0.1
    pieces = ["".join(chat.stream_mixed(TALKS[1], {1: vectors}, chat.network)) for chat in (slow, quick)]
    assert pieces[0] == pieces[1]


def test_a_seed_gives_the_same_draw_and_another_seed_another(folder):
    def drawn(seed: int) -> list[int]:
        return ids_of(model(folder, fast=True, sampling=Sampling(temperature=1.5, seed=seed)), TALKS[0])

    assert drawn(1) == drawn(1) != drawn(2)


def test_closing_a_stream_frees_the_model(folder):
    chat = model(folder, fast=True)
    pieces = chat.stream(TALKS[1])
    next(pieces, None)
    pieces.close()
    assert not chat._generating.locked()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_captured_steps_say_the_same(folder):
    quick = TransformersModel(str(folder), device="cuda", dtype="float32", reserve=40)
    slow = TransformersModel(str(folder), device="cuda", dtype="float32", reserve=40, fast=False)
    assert "".join(quick.stream(TALKS[1])) == "".join(slow.stream(TALKS[1]))
