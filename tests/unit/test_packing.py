"""Packed traces come back as they were, whatever JSON they hold, and are small."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhea.stores.packing import ABSENT, Columns, pack, unpack

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


def test_a_trace_packed_by_an_earlier_version_is_still_read() -> None:
    earlier = (
        "eJxdjcEOwiAMht+lXhsCJnrYqxAOCI2SIF3ocIeFdxezw9RD2/9vv7YbnALn9iwCU2k5I7x8bjTcBrcW77TAdNUavzCDQHMSjjt1DCzMLGlJXAAhUkiy"
        "SwlcadTw8KVQFnDHF2sNnh1aqH4dyCcPp5VBrUb/9/zKNf5vqwuOcK673vsbagZCsA=="
    )
    episodes = [{"position": n, "decision": "raw", "score": n / 10, "channels": {"words": 1.5}} for n in (1, 2)]
    assert unpack(base64.b64decode(earlier)) == {"budget": 600, "#columns": 1, "episodes": episodes}


def test_columns_read_as_rows_and_are_stored_as_rows() -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": "x", "c": {"d": -0.25}}, {"a": 2**40, "b": "y"}]
    columns = Columns(("a", "b", "c"), [[1, 2, 2**40], ["x", "x", "y"], [ABSENT, {"d": -0.25}, ABSENT]])
    assert list(columns) == rows
    assert columns[1:] == rows[1:]
    assert Columns.of(rows) is not None
    assert pack({"episodes": columns}) == pack({"episodes": rows})
    assert unpack(pack({"episodes": columns})) == {"episodes": rows}
    assert unpack(pack({"episodes": Columns(("a",), [[]])})) == {"episodes": []}


ROWS = st.fixed_dictionaries(
    {
        "position": st.integers(0, 70_000),
        "score": st.integers(0, 250).map(lambda n: round(n / 250, 4)),
        "channels": st.dictionaries(st.sampled_from("abc"), st.integers(-99, 4000).map(lambda n: n / 100)),
    },
    optional={"conversation": st.none() | st.text(max_size=3)},
)


@given(st.lists(ROWS, max_size=9))
def test_rows_of_a_trace_come_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    assert json.dumps(unpack(pack({"episodes": rows}))) == json.dumps({"episodes": rows})


def test_damaged_bytes_are_told() -> None:
    with pytest.raises(ValueError, match="packed trace"):
        unpack(b"R2\xff\xff\xff")
    with pytest.raises(ValueError, match="packed trace"):
        unpack(b"what is this")
