"""Any server that speaks the OpenAI chat protocol (vLLM, llama.cpp, Ollama and others), through the official client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rhea.errors import GenerationFailed, MissingExtra
from rhea.models.base import TokenCounter
from rhea.models.counting import FallbackCounter, TokenizerCounter
from rhea.types import ChatMessage

if TYPE_CHECKING:
    from openai import OpenAI

__all__ = ["OpenAIModel"]


class OpenAIModel:
    """A model behind an OpenAI-compatible server.

    Args:
        model: the name that the server knows it by.
        base_url: the server's address, such as ``http://127.0.0.1:8000/v1``.
        api_key: ``None`` reads ``OPENAI_API_KEY``; servers without keys take anything.
        context_window: tokens that prompt and reply may take together on that server.
        reserve: longest reply.
        tokenizer: hub name or folder of the model's tokenizer, for exact counts; without it
            :class:`FallbackCounter` counts on the high side.
        temperature: 0 for the likeliest reply.
        timeout: seconds to wait for the server.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        context_window: int = 8192,
        reserve: int = 512,
        tokenizer: str | None = None,
        temperature: float = 0.0,
        timeout: float = 120.0,
    ) -> None:
        self.name = model
        self.context_window = context_window
        self.reserve = reserve
        self.temperature = temperature
        self._base_url = base_url
        self._api_key = api_key
        self._timeout = timeout
        self._counter: TokenCounter = TokenizerCounter(tokenizer) if tokenizer else FallbackCounter()

    @cached_property
    def client(self) -> OpenAI:
        """The official client.

        Raises:
            MissingExtra: it is not installed.
        """
        try:
            from openai import OpenAI, OpenAIError
        except ImportError:
            raise MissingExtra("openai", "a model behind an OpenAI-compatible server") from None
        try:
            key = self._api_key or ("unused" if self._base_url else None)
            return OpenAI(base_url=self._base_url, api_key=key, timeout=self._timeout)
        except OpenAIError as error:
            raise GenerationFailed(f"the OpenAI client cannot start: {error}") from error

    def count_text(self, text: str) -> int:
        """Tokens of bare text, by the tokenizer given or the fallback."""
        return self._counter.count_text(text)

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the prompt, by the tokenizer given or the fallback."""
        return self._counter.count_messages(messages)

    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        """Yield the reply piece by piece.

        Raises:
            GenerationFailed: the server is away or refused the request.
        """
        client = self.client
        from openai import OpenAIError

        payload: Any = list(messages)
        try:
            with client.chat.completions.create(
                model=self.name,
                messages=payload,
                max_tokens=self.reserve,
                temperature=self.temperature,
                stream=True,
            ) as chunks:
                for chunk in chunks:
                    if chunk.choices and (piece := chunk.choices[0].delta.content):
                        yield piece
        except OpenAIError as error:
            raise GenerationFailed(f"the server of {self.name} failed: {error}") from error
