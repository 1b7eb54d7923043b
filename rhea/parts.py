"""Puts the parts of a `Rhea` together from what the user gave and the defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rhea.settings import Settings, cache_directory
from rhea.turn import Services

if TYPE_CHECKING:
    from rhea.compress.base import Compressor
    from rhea.embed import Embedder
    from rhea.models.base import ChatModel, TokenCounter

__all__ = ["make_services"]


def make_services(
    url: str,
    *,
    model: ChatModel | None,
    embedder: Embedder | None,
    previous_embedder: Embedder | None = None,
    compressor: Compressor | None,
    counter: TokenCounter | None,
    settings: Settings,
) -> Services:
    """Open the store and fill every gap with a default.

    Raises:
        StoreError: the database cannot be opened.
        MissingExtra: the packaged embedder is asked for and not installed.
    """
    from rhea.compress.text import TextCompressor
    from rhea.embed import SentenceTransformerEmbedder
    from rhea.instructions.detect import InstructionDetector
    from rhea.models.counting import FallbackCounter
    from rhea.recall.plan import Recall
    from rhea.reembedding import SwitchingRecall
    from rhea.stores import open_store

    vectors = embedder or SentenceTransformerEmbedder()
    previous = previous_embedder if previous_embedder is not None and previous_embedder.id != vectors.id else None
    store = open_store(url, cache_dir=cache_directory() / "vectors", busy_seconds=settings.busy_seconds)
    return Services(
        store=store,
        embedder=vectors,
        compressor=compressor or TextCompressor(),
        detector=InstructionDetector(vectors),
        recall=Recall(store, vectors) if previous is None else SwitchingRecall(store, vectors, previous),
        counter=counter or model or FallbackCounter(),
        model=model,
        settings=settings,
    )
