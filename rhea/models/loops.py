"""Notices a model that has fallen into a loop: greedy decoding of small models repeats one phrase for good.

What is repeated carries nothing, costs seconds a line, and would stand in later contexts as the last reply.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["is_looping"]

_LONGEST = 48
"""Longest phrase, in tokens, that is looked for."""
_TOKENS = 96
"""A loop is called one when it fills at least this many tokens …"""
_TIMES = 4
"""… and says its phrase at least this often."""


def is_looping(ids: Sequence[int]) -> bool:
    """Whether the reply so far ends in one phrase over and over.

    Args:
        ids: token ids of the reply, prompt left out.
    """
    if len(ids) < _TOKENS:
        return False
    for length in range(1, _LONGEST + 1):
        span = length * max(_TIMES, -(-_TOKENS // length))
        if span > len(ids):
            continue
        tail = list(ids[-span:])
        if tail[length:] == tail[:-length]:
            return True
    return False
