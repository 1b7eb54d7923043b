"""A vLLM server that reads memory tokens: contexts that hold any are sent as prompt embeddings.

The server applies no chat template to embeddings, so the whole prompt is rendered and embedded here, with the local
copy of the model's embeddings. It must run with ``--enable-prompt-embeds`` and serve the compressor's reading adapter
(`rhea compressor reader`) under a name of its own. Contexts without memory tokens go as ordinary messages.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rhea.errors import GenerationFailed
from rhea.models.openai import OpenAIModel
from rhea.types import ChatMessage

if TYPE_CHECKING:
    import torch

    from rhea.models.transformers import TransformersModel

__all__ = ["VLLMModel"]


class VLLMModel(OpenAIModel):
    """A model served by vLLM, with a local copy for its tokenizer, its embeddings and the compressor.

    Args:
        model: the name that the server knows it by.
        local: the same model here; on the CPU will do, it never generates.
        reader: the name under which the server has the reading adapter.
        base_url: the server's address, such as ``http://127.0.0.1:8000/v1``.
        **settings: as for :class:`rhea.OpenAIModel`.
    """

    def __init__(
        self, model: str, *, local: TransformersModel, reader: str, base_url: str | None = None, **settings: Any
    ) -> None:
        super().__init__(model, base_url=base_url, **settings)
        self._local = local
        self._reader = reader
        self._counter = local

    def count_mixed(self, messages: Sequence[ChatMessage], slots: Mapping[int, int]) -> int:
        """Tokens of the final prompt with memory tokens in place of some messages."""
        return self._local.count_mixed(messages, slots)

    def stream_mixed(self, messages: Sequence[ChatMessage], memory: Mapping[int, Any], reader: Any) -> Iterator[str]:
        """As `TransformersModel.stream_mixed`; ``reader`` gives the embeddings, the server does the reading.

        Raises:
            CompressorError: the vectors do not fit the model.
            GenerationFailed: the server is away or refused the request.
        """
        embedded = self._local.embed(messages, memory, reader)
        client = self.client
        from openai import OpenAIError

        try:
            with client.completions.create(
                model=self._reader,
                prompt="",
                max_tokens=self.reserve,
                temperature=self.temperature,
                stream=True,
                extra_body={"prompt_embeds": encode_tensor(embedded)},
            ) as chunks:
                for chunk in chunks:
                    if chunk.choices and (piece := chunk.choices[0].text):
                        yield piece
        except OpenAIError as error:
            raise GenerationFailed(
                f"the server of {self.name} failed on prompt embeddings: {error}; it needs --enable-prompt-embeds, and "
                f"the reading adapter under the name {self._reader}"
            ) from error


def encode_tensor(tensor: torch.Tensor) -> str:
    """A tensor as vLLM takes it in JSON: its file, base64."""
    import torch

    buffer = io.BytesIO()
    torch.save(tensor.cpu(), buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
