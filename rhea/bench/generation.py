"""Greedy replies for many conversations at once: left-padded batches on one causal LM, bf16 on a GPU.

For measuring only: no streaming, no sampling. Prompts go through the same encoder as `TransformersModel`, so that
text never becomes a control token here either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rhea.types import ChatMessage

if TYPE_CHECKING:
    from rhea.models.prompts import PromptEncoder

__all__ = ["BatchedModel"]

_PADDED_TOKENS = {"cuda": 1_048_576, "cpu": 24_576}
"""Prompt tokens, padding and reply included, that one batch may hold."""


class BatchedModel:
    """One causal LM that answers many prompts together, greedily.

    Args:
        model: hub name, local folder, GGUF file, or ``None`` for the packaged default.
        device: torch device; ``None`` takes cuda where there is one.
        max_new_tokens: longest reply.

    Raises:
        ModelNotFound: the model is not in reach or holds no weights.
    """

    def __init__(self, model: str | None = None, *, device: str | None = None, max_new_tokens: int = 512) -> None:
        import torch

        from rhea.models.transformers import TransformersModel

        self._torch = torch
        self._inner = TransformersModel(model, device=device, reserve=max_new_tokens)
        self.max_new_tokens = max_new_tokens
        self.name = self._inner.name
        self.context_window = self._inner.context_window
        self.reserve = max_new_tokens

    @property
    def prompts(self) -> PromptEncoder:
        """Tokenizer and chat template."""
        return self._inner.prompts

    def count_text(self, text: str) -> int:
        """See :class:`rhea.models.base.TokenCounter`."""
        return self._inner.count_text(text)

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """See :class:`rhea.models.base.TokenCounter`."""
        return self._inner.count_messages(messages)

    def stream(self, messages: Sequence[ChatMessage]) -> Iterator[str]:
        """One reply, as a single piece."""
        yield self.replies([messages])[0]

    def replies(self, prompts: Sequence[Sequence[ChatMessage]]) -> list[str]:
        """One reply a prompt, in order; prompts that are equal are answered once."""
        encoded = [tuple(self.prompts.encode(list(p))) for p in prompts]
        different = sorted(dict.fromkeys(encoded), key=len)
        answered: dict[tuple[int, ...], str] = {}
        for batch in self._batches(different):
            texts = self._generate([different[k] for k in batch])
            answered.update(zip((different[k] for k in batch), texts, strict=True))
        return [answered[ids] for ids in encoded]

    def _batches(self, encoded: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Runs of neighbours in length whose padded size stays under the limit."""
        limit = _PADDED_TOKENS["cuda" if self._device.type == "cuda" else "cpu"]
        batch: list[int] = []
        for k, ids in enumerate(encoded):
            if batch and (len(batch) + 1) * (len(ids) + self.max_new_tokens) > limit:
                yield batch
                batch = []
            batch.append(k)
        if batch:
            yield batch

    @property
    def _device(self) -> Any:
        return self._inner.network.device

    def _generate(self, encoded: Sequence[Sequence[int]]) -> list[str]:
        torch = self._torch
        model, tokenizer = self._inner.network, self.prompts.tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        width = max(len(ids) for ids in encoded)
        ids = torch.full((len(encoded), width), pad, dtype=torch.long)
        mask = torch.zeros((len(encoded), width), dtype=torch.long)
        for row, one in enumerate(encoded):
            ids[row, width - len(one) :] = torch.tensor(one, dtype=torch.long)
            mask[row, width - len(one) :] = 1
        with torch.inference_mode():
            done = model.generate(
                input_ids=ids.to(self._device),
                attention_mask=mask.to(self._device),
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                pad_token_id=pad,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        return [tokenizer.decode(row[width:], skip_special_tokens=True).strip() for row in done]
