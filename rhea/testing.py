"""Public fakes: test your own chat loop without a model, a network or a file.

>>> from rhea.testing import EchoModel, memory_database
>>> memory = memory_database(model=EchoModel())
>>> memory.conversation("test", user="ada").send("hello")
'You said: hello'
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rhea.errors import GenerationFailed
from rhea.models.counting import FallbackCounter
from rhea.types import ChatMessage

if TYPE_CHECKING:
    from rhea.memory import Rhea

__all__ = ["EchoModel", "HashEmbedder", "memory_database"]

_WORD = re.compile(r"\w+")


class EchoModel:
    """A chat model that answers at once and remembers what it was asked.

    Args:
        reply: text of every reply, or a function of the messages; ``None`` echoes the user's last line.
        fail_after: raise `GenerationFailed` after that many pieces, to test a model that breaks off.
        context_window: tokens, by :class:`rhea.models.FallbackCounter`.
        reserve: tokens kept free for the reply.

    Attributes:
        calls: the messages of every call, in order.
    """

    name = "echo"

    def __init__(
        self,
        reply: str | Callable[[Sequence[ChatMessage]], str] | None = None,
        *,
        fail_after: int | None = None,
        context_window: int = 8192,
        reserve: int = 256,
    ) -> None:
        self._reply = reply
        self._fail_after = fail_after
        self._counter = FallbackCounter()
        self.context_window = context_window
        self.reserve = reserve
        self.calls: list[list[ChatMessage]] = []

    def count_text(self, text: str) -> int:
        """See :class:`rhea.models.TokenCounter`."""
        return self._counter.count_text(text)

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """See :class:`rhea.models.TokenCounter`."""
        return self._counter.count_messages(messages)

    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        """Yield the reply word by word."""
        self.calls.append([ChatMessage(role=m["role"], content=m["content"]) for m in messages])
        for i, piece in enumerate(re.findall(r"\S+\s*|\s+", self._answer(messages))):
            if self._fail_after is not None and i >= self._fail_after:
                raise GenerationFailed(f"the echo model was told to fail after {self._fail_after} pieces")
            yield piece

    def _answer(self, messages: Sequence[ChatMessage]) -> str:
        if callable(self._reply):
            return self._reply(messages)
        if self._reply is not None:
            return self._reply
        *before, last = messages[-1]["content"].rstrip().split("\n\n")
        if before and last.startswith("Remember: "):  # rules stand once more after the question
            last = before[-1]
        return "You said: " + last.splitlines()[-1].removeprefix("Question: ")


class HashEmbedder:
    """An embedder without a model: words hashed to signs and places, so that shared words mean nearness.

    Args:
        dim: length of a vector.
    """

    max_tokens = 256

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.id = f"hash-{dim}"

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dim), rows L2-normalised; the same on every machine."""
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in _WORD.findall(text.lower()) or [text]:
                code = zlib.crc32(word.encode("utf-8", "surrogatepass"))
                row[code % self.dim] += 1.0 if code & 0x8000_0000 else -1.0
            if not row.any():
                row[0] = 1.0
            row /= np.linalg.norm(row)
        return out

    def count(self, text: str) -> int:
        """Words of the text."""
        return len(_WORD.findall(text))


def memory_database(**options: Any) -> Rhea:
    """A `Rhea` on an in-memory SQLite database with a :class:`HashEmbedder`; options as for `Rhea`."""
    from rhea.memory import Rhea

    options.setdefault("embedder", HashEmbedder())
    return Rhea("sqlite://", **options)
