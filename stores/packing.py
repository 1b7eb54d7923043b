"""Traces, packed: rows turned into columns, each column into as few bytes as hold it, then deflated.

A trace lists past turns under the same dozen keys. By column the keys are written once, whole numbers and
decimals of a few digits take a byte or two each, and a text that comes back takes its number. Whatever JSON a value
is made of comes back equal; what fits no such column stays JSON. Deflating starts from the words that most traces
have in common, so that a short one is not mostly words.

First byte 0x78: the earlier form, columns in JSON; it is still read.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise, repeat
from math import copysign
from operator import eq
from typing import Any

__all__ = ["ABSENT", "Columns", "pack", "unpack"]

_MARK = "#columns"
_MAGIC = b"R2"
_SCALES = (250, 100, 10_000)
"""Decimals are looked for as whole multiples of one part in so many: scores, cosines, anything of four digits."""
_DIGITS = 4
_WORDS = (
    b'others were worth more, and the budget is full","little in common with the question","little in common with the '
    b"question, but there was room; room for the whole reply; reply compressed; brought an instruction in force; the "
    b"first exchange, user text; the first exchange, reply compressed; the last exchange, what fits its share; below "
    b"the threshold; did not fit the final count; said by the one whom the question names; said at a time that the "
    b"question names; shares words with the question, stands among messages that share words with the question; "
    b"shares words with the question, a sentence of it is near in meaning; near in meaning after the message before "
    b"it, stands among messages on the same topic; near in meaning, "
    b'"sentence","message","pair","sentence_bare","message_bare","pair_bare","block","words","block_words","speaker",'
    b'"date"],{"value":{"budget":4096,"tokens":,"sections":{"instructions":0,"background":,"recent":,"question":,'
    b'"template":},"instructions":[],"left_out":[],"notes":[],"others":"1:eJxj","episodes":null},"order":["budget",'
    b'"tokens","sections","instructions","left_out","notes","others","episodes"],"tables":{"episodes":[["channels","mapping",'
    b'[[],["words","block_words","message","message_bare","sentence","sentence_bare","pair","pair_bare","block",'
    b'"speaker","date"]],"B",{"words":[100,"H"],"block_words":[100,"H"],"message":[100,"B"],"message_bare":[100,"B"],'
    b'"sentence":[100,"B"],"sentence_bare":[100,"B"],"pair":[100,"B"],"pair_bare":[100,"B"],"block":[100,"B"],'
    b'"speaker":[250,"B"],"date":[250,"B"]}]]],["position","steps","B"],["decision","text",["omitted","compressed",'
    b'"raw"],"B"],["score","decimal",250,"B"],["tokens","number","B"],["reason","text",["'
)
"""What deflating starts from. Part of the format: what is stored can only be read with it, so it never changes."""


class _Absent:
    """The value of a key that a row does not have."""


ABSENT = _Absent()


class Columns(Sequence[dict[str, Any]]):
    """Rows under the same keys, held by column; reads as a list of dicts.

    Args:
        names: the keys, in order.
        columns: for each key its values, one a row; `ABSENT` where a row lacks the key.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[Sequence[Any]]) -> None:
        self.names = tuple(names)
        self.columns = tuple(columns)

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Columns | None:
        """The columns of some rows; ``None`` when they are no dicts, or no order of keys is true of all."""
        if not rows or not all(isinstance(row, dict) for row in rows):
            return None
        sizes = [len(row) for row in rows]
        names = list(rows[sizes.index(max(sizes))])
        if not names or any(list(row) != [n for n in names if n in row] for row in rows):
            return None
        return cls(names, [[row.get(name, ABSENT) for row in rows] for name in names])

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.columns[0]) if self.columns else 0

    def __getitem__(self, place: Any) -> Any:
        """One row, or a list of them for a slice."""
        if isinstance(place, slice):
            return [self[n] for n in range(*place.indices(len(self)))]
        values = zip(self.names, (column[place] for column in self.columns), strict=True)
        return {name: value for name, value in values if value is not ABSENT}

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Row by row."""
        return (self[n] for n in range(len(self)))


def pack(value: dict[str, Any]) -> bytes:
    """The value as bytes; :func:`unpack` gives it back equal (`Columns` as lists of dicts)."""
    plain = dict(value)
    tables: dict[str, list[list[Any]]] = {}
    blocks: list[bytes] = []
    for key, held in value.items():
        table = held if isinstance(held, Columns) else Columns.of(held) if isinstance(held, list) else None
        if table is None or not len(table):
            plain[key] = held if table is None else []
            continue
        packed = [_encode(name, column, len(table)) for name, column in zip(table.names, table.columns, strict=True)]
        plain[key], tables[key] = len(table), [head for head, _ in packed]
        blocks += [block for _, block in packed]
    head = json.dumps({"value": plain, "tables": tables}, ensure_ascii=False, separators=(",", ":")).encode()
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=_WORDS)
    body = deflate.compress(len(head).to_bytes(4, "little") + head + b"".join(blocks)) + deflate.flush()
    return _MAGIC + body


def unpack(data: bytes) -> dict[str, Any]:
    """The inverse of :func:`pack`.

    Raises:
        ValueError: the bytes were not made by it, or are damaged.
    """
    data = bytes(data)
    try:
        if not data.startswith(_MAGIC):
            found: dict[str, Any] = _by_row(json.loads(zlib.decompress(data)))
            return found
        body = zlib.decompressobj(-15, zdict=_WORDS).decompress(data[len(_MAGIC) :])
    except zlib.error as error:
        raise ValueError(f"not a packed trace: {error}") from None
    end = 4 + int.from_bytes(body[:4], "little")
    head = json.loads(body[4:end])
    value: dict[str, Any] = head["value"]
    reader = _Reader(body, end)
    for key, heads in head["tables"].items():
        count = value[key]
        value[key] = list(Columns([h[0] for h in heads], [_decode(h, count, reader) for h in heads]))
    return value


class _Reader:
    def __init__(self, body: bytes, place: int) -> None:
        self._body = body
        self._place = place

    def numbers(self, code: str, count: int) -> list[int]:
        found = array(code)
        size = count * found.itemsize
        found.frombytes(self._body[self._place : self._place + size])
        self._place += size
        return _little(found).tolist()


def _encode(name: str, column: Sequence[Any], count: int) -> tuple[list[Any], bytes]:
    """How a column is kept, and its bytes; one that no other way fits is kept in the head, as JSON."""
    kinds = set(map(type, column))
    if kinds == {int} and (found := _numbers(column)) is not None:
        steps = [b - a for a, b in pairwise([0, *column])]
        closer = _numbers(steps) if min(steps) >= 0 else None
        return ([name, "number", *found[:1]], found[1]) if closer is None else ([name, "steps", closer[0]], closer[1])
    if kinds == {float} and (decimal := _decimals(column)) is not None:
        return [name, "decimal", decimal[0], decimal[1]], decimal[2]
    if kinds <= {str, _Absent}:
        table = list(dict.fromkeys(column))
        code, block = _required(_numbers(list(map({v: n for n, v in enumerate(table)}.__getitem__, column))))
        return [name, "text", [None if v is ABSENT else v for v in table], code], block
    if kinds == {dict} and (mapping := _mappings(name, column)) is not None:
        return mapping
    return [name, "json", [[] if v is ABSENT else [v] for v in column]], b""


def _mappings(name: str, column: Sequence[dict[str, Any]]) -> tuple[list[Any], bytes] | None:
    """Dicts of decimals: which keys each row has, then key by key the values of the rows that have it."""
    keys = [tuple(row) for row in column]
    table = list(dict.fromkeys(keys))
    places = {k: n for n, k in enumerate(table)}
    code, block = _required(_numbers([places[k] for k in keys]))
    kept: dict[str, tuple[int, str]] = {}
    for key in dict.fromkeys(key for row in table for key in row):
        values = [row[key] for row in column if key in row]
        found = _decimals(values) if set(map(type, values)) == {float} else None
        if found is None:
            return None
        kept[key] = found[0], found[1]
        block += found[2]
    return [name, "mapping", table, code, kept], block


def _decode(head: list[Any], count: int, reader: _Reader) -> list[Any]:
    kind, rest = head[1], head[2:]
    if kind == "number":
        return reader.numbers(rest[0], count)
    if kind == "steps":
        return list(accumulate(reader.numbers(rest[0], count)))
    if kind == "decimal":
        return [_decimal(n, rest[0]) for n in reader.numbers(rest[1], count)]
    if kind == "text":
        return [ABSENT if rest[0][n] is None else rest[0][n] for n in reader.numbers(rest[1], count)]
    if kind == "mapping":
        keys = [rest[0][n] for n in reader.numbers(rest[1], count)]
        values = {
            key: iter([_decimal(n, scale) for n in reader.numbers(code, sum(key in row for row in keys))])
            for key, (scale, code) in rest[2].items()
        }
        return [{key: next(values[key]) for key in row} for row in keys]
    return [v[0] if v else ABSENT for v in rest[0]]


_CODES = (("B", 0, 2**8), ("b", -(2**7), 2**7), ("H", 0, 2**16), ("h", -(2**15), 2**15), ("q", -(2**63), 2**63))


def _numbers(values: Sequence[int]) -> tuple[str, bytes] | None:
    low, high = min(values), max(values)
    for code, least, bound in _CODES:
        if least <= low and high < bound:
            return code, _little(array(code, values)).tobytes()
    return None


def _little(numbers: array[int]) -> array[int]:
    """The numbers as a little-endian machine keeps them: a database may be moved."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _required(found: tuple[str, bytes] | None) -> tuple[str, bytes]:
    assert found is not None, "places in a table always fit"
    return found


def _decimals(values: Sequence[float]) -> tuple[int, str, bytes] | None:
    """The scale, the width and the bytes; ``None`` when the values have more digits than a scale holds."""
    if not all([-1e9 < v < 1e9 for v in values]):  # noqa: C419 - twice as fast as a generator, for every trace
        return None
    if any([v == 0.0 and copysign(1.0, v) < 0 for v in values]):  # noqa: C419 - likewise
        return None
    for scale in _SCALES:
        whole = [round(v * scale) for v in values]
        if all(map(eq, map(_decimal, whole, repeat(scale)), values)):
            code, block = _required(_numbers(whole))
            return scale, code, block
    return None


@lru_cache(maxsize=8_192)
def _decimal(number: int, scale: int) -> float:
    return round(number / scale, _DIGITS)


def _by_row(value: Any) -> Any:
    if isinstance(value, list):
        return [_by_row(row) for row in value]
    if not isinstance(value, dict):
        return value
    if _MARK not in value:
        return {key: _by_row(inner) for key, inner in value.items()}
    if value[_MARK] is None:
        return {key: _by_row(inner) for key, inner in value["values"].items()}
    columns = [_by_row(column) for column in value["values"]]
    return [dict(zip(value[_MARK], row, strict=True)) for row in zip(*columns, strict=True)]
