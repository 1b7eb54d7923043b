"""Traces, packed: JSON turned from rows into columns, then deflated.

A trace lists every past turn under the same dozen keys. By column the keys are written once and like stands beside
like, which makes the deflated bytes about a quarter fewer and the deflating faster.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

__all__ = ["pack", "unpack"]

_MARK = "#columns"


def pack(value: dict[str, Any]) -> bytes:
    """The value as bytes; :func:`unpack` gives it back equal."""
    return zlib.compress(json.dumps(_by_column(value), ensure_ascii=False, separators=(",", ":")).encode(), 6)


def unpack(data: bytes) -> dict[str, Any]:
    """The inverse of :func:`pack`."""
    found: dict[str, Any] = _by_row(json.loads(zlib.decompress(data)))
    return found


def _by_column(value: Any) -> Any:
    if isinstance(value, dict):
        # What looks like a mark is wrapped, so that no value can be mistaken for one.
        plain = {key: _by_column(inner) for key, inner in value.items()}
        return {_MARK: None, "values": plain} if _MARK in value else plain
    if not isinstance(value, list):
        return value
    alike = len(value) > 1 and all(isinstance(row, dict) and list(row) == list(value[0]) for row in value)
    if not alike or not value[0]:
        return [_by_column(row) for row in value]
    return {_MARK: list(value[0]), "values": [_by_column([row[key] for row in value]) for key in value[0]]}


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
