"""Replies that are still to become memory tokens: claimed from the store, encoded in batches, put back.

No turn waits for it: until a reply's memory is there, its text digest stands in. After a change of compressor
replies are asked for again as questions come near them, and made anew in the background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rhea.errors import CompressorError

if TYPE_CHECKING:
    from rhea.compress.base import MemoryCompressor
    from rhea.stores.base import Store

__all__ = ["BATCH", "remember_replies"]

BATCH = 16
"""Replies encoded together."""
_LEASE_SECONDS = 300.0


def remember_replies(store: Store, compressor: MemoryCompressor, *, limit: int = BATCH) -> int:
    """Make the memory tokens of some replies that wait for them; returns how many were done.

    Raises:
        CompressorError: the compressor failed; the replies keep waiting.
    """
    if not compressor.ready():
        return 0
    items = store.claim_work(("memory",), limit=limit, lease_seconds=_LEASE_SECONDS)
    if not items:
        return 0
    try:
        exchanges = {}
        for owner in dict.fromkeys(item.owner for item in items):
            for turn in store.turns_by_id(owner, [i.turn_id for i in items if i.owner == owner]):
                if turn.reply:
                    exchanges[turn.id] = turn.user, turn.reply
        made = dict(zip(exchanges, compressor.encode_replies(list(exchanges.values())), strict=True))
    except BaseException as error:
        store.release_work(items)
        if isinstance(error, RuntimeError):  # torch's: no memory left, say
            raise CompressorError(f"replies could not be made memory tokens of: {error}") from error
        raise
    store.finish_memory([(i, made[i.turn_id]) for i in items if i.turn_id in made], compressor.memory_id)
    return len(items)
