"""The fast decoder: the same tokens as ordinary greedy decoding, with and without what it kept."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from rhea.errors import ModelError
from rhea.models.cuda import FastDecoder, supports

FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
}


def make(family: str = "llama", **changes: object) -> torch.nn.Module:
    config, model, own = FAMILIES[family]
    torch.manual_seed(0)
    shape = {
        "vocab_size": 200,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
    }
    return model(config(**{**shape, **own, **changes})).eval()


def greedy(network: torch.nn.Module, ids: list[int], count: int) -> list[int]:
    ids = list(ids)
    start = len(ids)
    for _ in range(count):
        with torch.no_grad():
            ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 200, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_same_tokens_as_greedy(family):
    network = make(family)
    decoder = FastDecoder(network, max_len=640)
    for length in (5, 260, 505):  # within one part of the cache, over two, and over a change of view
        ids = prompt(length, seed=length)
        expected = greedy(network, ids, 12)
        assert list(decoder.generate(ids, max_new_tokens=12)) == expected


def test_what_prompts_share_is_kept_and_changes_nothing():
    network = make()
    decoder = FastDecoder(network, max_len=640)
    ids = prompt(40)
    first = list(decoder.generate(ids, max_new_tokens=10))
    longer = [*ids, *first, *prompt(7, seed=1)]
    seen: list[int] = []
    plain = decoder.decoder.prompt
    decoder.decoder.prompt = lambda embedded, start: seen.append(start) or plain(embedded, start)
    assert list(decoder.generate(longer, max_new_tokens=10)) == greedy(network, longer, 10)
    other = [*ids[:20], *prompt(30, seed=2)]
    assert list(decoder.generate(other, max_new_tokens=10)) == greedy(network, other, 10)
    assert seen[0] == 49  # the prompt and every reply token whose keys were written
    assert seen[1] in (20, 21)


def test_a_reply_given_up_half_way_leaves_the_cache_right():
    network = make()
    decoder = FastDecoder(network, max_len=640)
    ids = prompt(30)
    stream = decoder.generate(ids, max_new_tokens=50)
    started = [next(stream) for _ in range(5)]
    stream.close()
    assert started == greedy(network, ids, 5)
    assert list(decoder.generate([*ids, *started, 3], max_new_tokens=8)) == greedy(network, [*ids, *started, 3], 8)


def test_embeddings_in_place_of_ids():
    network = make()
    decoder = FastDecoder(network, max_len=640)
    ids = prompt(25)
    embedded = network.get_input_embeddings()(torch.tensor([ids])).detach()
    embedded[0, 3:6] = torch.randn(3, 48)  # memory tokens, say
    with torch.no_grad():
        out = network.generate(
            inputs_embeds=embedded,
            attention_mask=torch.ones(1, 25, dtype=torch.long),
            max_new_tokens=6,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=None,
        )
    assert list(decoder.generate(inputs_embeds=embedded, max_new_tokens=6)) == out[0].tolist()
    keys = [*ids[:3], "m0", "m1", "m2", *ids[6:]]
    assert list(decoder.generate(inputs_embeds=embedded, keys=keys, max_new_tokens=6)) == out[0].tolist()
    assert list(decoder.generate(inputs_embeds=embedded, keys=keys, max_new_tokens=6)) == out[0].tolist()


def test_ends_at_an_end_id_and_samples_by_choice():
    network = make()
    ids = prompt(20)
    expected = greedy(network, ids, 8)
    stop = expected[4]
    decoder = FastDecoder(network, max_len=640, end_ids=[stop])
    assert list(decoder.generate(ids, max_new_tokens=8)) == expected[: expected.index(stop)]
    seven = FastDecoder(network, max_len=640)
    assert list(seven.generate(ids, max_new_tokens=3, choose=lambda logits: torch.full((1, 1), 7))) == [7, 7, 7]


def test_too_long_is_refused():
    decoder = FastDecoder(make(), max_len=64)
    with pytest.raises(ModelError, match="do not fit"):
        list(decoder.generate(prompt(60), max_new_tokens=10))


def test_sliding_windows_are_refused():
    network = make("mistral", sliding_window=128)
    assert supports(network, 100)
    assert not supports(network, 512)
    with pytest.raises(ModelError, match="sliding"):
        FastDecoder(network, max_len=512)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("family", FAMILIES)
def test_captured_graphs_give_the_same_tokens(family):
    network = make(family).cuda()
    decoder = FastDecoder(network, max_len=1100)
    decoder.warm_up([512, 1024])
    for length in (40, 505, 900):
        ids = prompt(length, seed=length)
        reference = torch.tensor([ids]).cuda()
        with torch.no_grad():
            out = network.generate(
                reference,
                attention_mask=torch.ones_like(reference),
                max_new_tokens=32,
                do_sample=False,
                pad_token_id=0,
                eos_token_id=None,
            )
        assert list(decoder.generate(ids, max_new_tokens=32)) == out[0, length:].tolist()
