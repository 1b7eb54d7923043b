"""The latency benchmark on a tiny shape: contexts bounded, arms measured, bad input named."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from rhea.bench.latency import ARMS, LatencyPlan, _History, load_network, measure_latency, plot_latency
from rhea.errors import InputError

CONFIG = {
    "model_type": "mistral",
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "sliding_window": None,
}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("shape") / "config.json"
    path.write_text(json.dumps({**CONFIG, "architectures": ["MistralForCausalLM"]}))
    return load_network(None, path, "cpu")


def test_the_bounded_context_stays_in_its_budget():
    plan = LatencyPlan(turns=64, budget=2048)
    history = _History(plan, 1000)
    bounded = [len(history.bounded(t).ids) for t in range(1, 65)]
    full = [len(history.full(t).ids) for t in range(1, 65)]
    assert max(bounded) <= 2048
    assert bounded[63] > 2048 - 60 - 8
    assert all(later - earlier == 460 for earlier, later in pairwise(full))


def test_a_small_budget_holds_too():
    plan = LatencyPlan(turns=8, budget=512)
    history = _History(plan, 1000)
    lengths = [len(history.bounded(t).ids) for t in range(1, 9)]
    assert max(lengths) <= 512
    assert lengths[-1] > 200


def test_memory_tokens_are_the_same_from_turn_to_turn():
    history = _History(LatencyPlan(turns=10), 1000)
    earlier, later = history.bounded(8).ids, history.bounded(9).ids
    assert {t for t in earlier if t < 0} < {t for t in later if t < 0}


def test_every_arm_is_measured(network, tmp_path):
    plan = LatencyPlan(turns=9, every=4, user=6, reply=20, instructions=5, new_tokens=4, budget=100)
    seen = []
    report = measure_latency(network, plan, ARMS, report=lambda arm, cost: seen.append((arm, cost.turn)))
    assert seen == [(arm, turn) for arm in ARMS for turn in (4, 8, 9)]
    for arm in report["arms"].values():
        for cost in arm["turns"]:
            assert 0 < cost["first_token"] < cost["total"]
            assert cost["peak_memory"] > 0
    assert set(report["times_slower_than_rhea"]) == set(ARMS) - {"rhea"}
    plot_latency(report, tmp_path / "latency.png")
    assert (tmp_path / "latency.png").read_bytes().startswith(b"\x89PNG")


def test_bad_input_is_named(network, tmp_path):
    with pytest.raises(InputError, match="sideways"):
        measure_latency(network, LatencyPlan(), ["rhea", "sideways"])
    with pytest.raises(InputError, match="window"):
        measure_latency(network, LatencyPlan(turns=64), ["full"])
    broken = tmp_path / "config.json"
    broken.write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        load_network(None, broken, "cpu")
    broken.write_text('{"model_type": "no-such-model"}')
    with pytest.raises(InputError, match="cannot make"):
        load_network(None, broken, "cpu")
