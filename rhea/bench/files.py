"""Reading the JSONL files that benchmarks take, and the small ones that ship with Rhea."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from rhea.errors import ImportFormatError

__all__ = ["bundled", "read_jsonl"]


def bundled(name: str) -> Path:
    """Path of a data file that ships with Rhea (``"adherence.jsonl"``)."""
    return Path(str(files("rhea.bench").joinpath("data", name)))


def read_jsonl(path: Path, fields: Sequence[str] = ("turns",)) -> list[dict[str, Any]]:
    """Every object of a JSONL file; blank lines are skipped.

    Raises:
        ImportFormatError: a line is no JSON object or lacks a field; the message names the line.
        OSError: the file cannot be read.
    """
    rows = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ImportFormatError(f"{path} is not UTF-8 ({error.reason} at byte {error.start})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ImportFormatError(f"{path}, line {number}: no JSON ({error})") from None
        missing = [f for f in fields if not isinstance(row, dict) or f not in row]
        if missing:
            raise ImportFormatError(f"{path}, line {number}: the field {missing[0]!r} is missing")
        rows.append(row)
    return rows
