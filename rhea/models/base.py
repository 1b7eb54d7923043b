"""What Rhea asks of a language model and of a token counter: two small protocols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

from rhea.types import ChatMessage

__all__ = ["ChatModel", "MemoryReader", "TokenCounter", "reads_memory"]


@runtime_checkable
class TokenCounter(Protocol):
    """Counts tokens as the attached model will see them."""

    @property
    def name(self) -> str:
        """Identity of the tokenizer, under which counts are remembered."""
        ...

    def count_text(self, text: str) -> int:
        """Tokens of bare text, control tokens in it counted as plain text."""
        ...

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the final prompt: chat template and generation prompt included."""
        ...


@runtime_checkable
class ChatModel(TokenCounter, Protocol):
    """A causal language model behind a chat template or a server."""

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply may take together."""
        ...

    @property
    def reserve(self) -> int:
        """Tokens kept free for the reply."""
        ...

    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        """Yield the reply's text piece by piece. Closing the iterator stops the generation.

        Raises:
            GenerationFailed: the model or its server failed.
        """
        ...


class MemoryReader(ChatModel, Protocol):
    """A model that also reads replies as memory tokens."""

    def count_mixed(self, messages: Sequence[ChatMessage], slots: Mapping[int, int]) -> int:
        """As `count_messages`, some messages being so many memory tokens instead of their text."""
        ...

    def stream_mixed(self, messages: Sequence[ChatMessage], memory: Mapping[int, Any], reader: Any) -> Iterator[str]:
        """As `stream`, some messages given as memory tokens.

        Args:
            messages: as for `stream`; the text of a message in ``memory`` is not read.
            memory: index of a message → its vectors, (tokens, hidden).
            reader: the network that reads them.
        """
        ...


def reads_memory(model: object) -> TypeGuard[MemoryReader]:
    """Whether a model reads memory tokens; asks its class, so that nothing is loaded for the answer."""
    return callable(getattr(type(model), "stream_mixed", None))
