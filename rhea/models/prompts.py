"""From messages to token ids, with the model's own chat template and no way for text to become control.

Invariant: only the template writes control tokens. ``<|im_start|>system`` typed by a user, written by a
model or kept as an instruction is encoded as plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rhea.errors import ModelError
from rhea.types import ChatMessage

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PromptEncoder"]

_ROLES = frozenset({"system", "user", "assistant"})


class PromptEncoder:
    """Renders and counts prompts with one tokenizer.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        name: identity under which counts may be remembered.

    Raises:
        ModelError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        if not tokenizer.chat_template:
            raise ModelError(f"the tokenizer of {name} has no chat template; use an instruction-tuned model")
        self.name = name
        self.tokenizer: Any = tokenizer
        if getattr(tokenizer, "chat_control_tokens", None) is None:
            # every added token counts as control, also those that the template does not mention
            self.tokenizer.chat_control_tokens = [t.content for t in self.tokenizer.added_tokens_decoder.values()]
        self._takes_system = self._accepts([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}])
        self.count_text = lru_cache(maxsize=65_536)(self._count_text)

    def encode(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Token ids of the prompt, generation prompt included.

        Raises:
            ModelError: a role that chat templates do not know, or a template that refuses the messages.
        """
        for message in messages:
            if message["role"] not in _ROLES:
                raise ModelError(f"a prompt cannot hold the role {message['role']!r}")
        return self._render(self.shape(messages))

    def shape(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """The messages as the template takes them: system text in front of the first user message if need be."""
        return list(messages) if self._takes_system else _fold_system(messages)

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """Length of :meth:`encode`."""
        return len(self.encode(messages))

    def encode_text(self, text: str) -> list[int]:
        """Token ids of bare text; control tokens in it stay plain text."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
        return ids

    def _count_text(self, text: str) -> int:
        return len(self.encode_text(text))

    def control_ids(self) -> frozenset[int]:
        """Ids that only the template may write."""
        return frozenset(self.tokenizer.added_tokens_decoder)

    def _render(self, messages: Sequence[ChatMessage]) -> list[int]:
        from jinja2 import TemplateError

        try:
            encoded = self.tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, sanitize_control_tokens=True, return_dict=True
            )
        except TemplateError as error:
            raise ModelError(f"the chat template of {self.name} refuses these messages ({error})") from error
        ids: list[int] = encoded["input_ids"]
        return ids

    def _accepts(self, messages: Sequence[ChatMessage]) -> bool:
        try:
            self._render(messages)
        except ModelError:
            return False
        return True


def _fold_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """For templates without a system role: its text goes in front of the first user message."""
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [m for m in messages if m["role"] != "system"]
    if not system or not rest:
        return rest
    first = rest[0]
    return [{"role": first["role"], "content": f"{system}\n\n{first['content']}"}, *rest[1:]]
