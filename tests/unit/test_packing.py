"""Packed traces come back as they were, whatever JSON they hold, and are small."""

from __future__ import annotations

import json
import zlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rhea.stores.packing import pack, unpack

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
KEYS = st.sampled_from(["a", "b", "#columns", "values", ""])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_any_value_comes_back_equal(value: dict[str, Any]) -> None:
    assert unpack(pack(value)) == value
    assert json.dumps(unpack(pack(value))) == json.dumps(value), "the order of keys, too"


def test_a_trace_is_smaller_than_when_deflated_row_by_row() -> None:
    channels = ("words", "message", "pair", "block")
    episodes = [
        {
            "position": n,
            "decision": "omitted",
            "score": (n * 7919 % 997) / 1000,
            "reason": "others were worth more",
            "channels": {name: (n * 31 * place % 89) / 100 for place, name in enumerate(channels, 1)},
        }
        for n in range(200)
    ]
    trace = {"budget": 4096, "episodes": episodes}
    by_row = zlib.compress(json.dumps(trace, separators=(",", ":")).encode(), 6)
    assert unpack(pack(trace)) == trace
    assert len(pack(trace)) < 0.9 * len(by_row)
