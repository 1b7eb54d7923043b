"""Contexts that hold memory tokens: raw text and slots for vectors in one sequence.

A slot's place is fixed by the message it stands in, never by its text: before rendering, the content of a
slot's message, and every control token in the others, is replaced by a mark drawn for this one call and
checked to occur in no message. The rendered prompt falls apart at the marks, so no user can write a slot.
Between the marks the ids are those of the ordinary prompt.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rhea.errors import CompressorError, ModelError
from rhea.types import ChatMessage

if TYPE_CHECKING:
    import torch

    from rhea.models.prompts import PromptEncoder

__all__ = ["SLOT", "MixedPrompt", "Slot", "embed_mixed", "render_mixed"]

SLOT = -1
"""The id that stands for one memory token; no tokenizer has it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One message's memory tokens in a prompt: which message, where they start, how many."""

    message: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class MixedPrompt:
    """A prompt's ids, `SLOT` where a memory token goes; its length is its exact count of tokens."""

    ids: tuple[int, ...]
    slots: tuple[Slot, ...]

    def __len__(self) -> int:
        return len(self.ids)


def render_mixed(
    prompts: PromptEncoder,
    messages: Sequence[ChatMessage],
    slots: Mapping[int, int],
    *,
    generation_prompt: bool = True,
) -> MixedPrompt:
    """Render messages, the contents of some replaced by memory-token slots.

    Args:
        prompts: tokenizer and chat template.
        messages: as for the model; the content of a message in ``slots`` is ignored.
        slots: index of the message → number of memory tokens in its place.
        generation_prompt: end with the header of the reply to come.

    Raises:
        CompressorError: a slot names no message, or the template does not render its content exactly once.
        ModelError: the template refuses the messages.
    """
    from jinja2 import TemplateError

    if wrong := [i for i, length in slots.items() if not 0 <= i < len(messages) or length < 1]:
        raise CompressorError(f"memory-token slots name messages that are not there: {wrong}")
    mark = _fresh_mark(messages)
    controls = sorted({t.content for t in prompts.tokenizer.added_tokens_decoder.values()}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, controls)) or "(?!)")
    found: list[str] = []

    def hide(match: re.Match[str]) -> str:
        found.append(match.group())
        return f"{mark}c{len(found) - 1}{mark}"

    marked: list[ChatMessage] = [
        {"role": m["role"], "content": f"{mark}s{i}{mark}" if i in slots else pattern.sub(hide, m["content"])}
        for i, m in enumerate(messages)
    ]
    try:
        text = prompts.tokenizer.apply_chat_template(
            prompts.shape(marked), tokenize=False, add_generation_prompt=generation_prompt
        )
    except TemplateError as error:
        raise ModelError(f"the chat template of {prompts.name} refuses these messages ({error})") from error
    return _assemble(prompts, text.split(mark), slots, found)


def embed_mixed(network: Any, prompt: MixedPrompt, vectors: Mapping[int, torch.Tensor]) -> torch.Tensor:
    """Input embeddings of a mixed prompt, of shape (1, length, hidden), on the network's device.

    Args:
        network: the causal LM; its own embeddings serve the text.
        prompt: from :func:`render_mixed`.
        vectors: index of the message → its memory tokens, of shape (slot length, hidden).

    Raises:
        CompressorError: vectors are missing or do not fit their slot.
    """
    import torch

    table = network.get_input_embeddings()
    device = table.weight.device
    ids = torch.tensor(prompt.ids, device=device)
    embedded: torch.Tensor = table(ids.clamp(min=0))
    for slot in prompt.slots:
        memory = vectors.get(slot.message)
        needed = (slot.length, embedded.shape[-1])
        if memory is None or tuple(memory.shape) != needed:
            got = "none" if memory is None else f"shape {tuple(memory.shape)}"
            raise CompressorError(f"the slot of message {slot.message} needs vectors of shape {needed}, got {got}")
        embedded[slot.start : slot.start + slot.length] = memory.to(device=device, dtype=embedded.dtype)
    return embedded.unsqueeze(0)


def _fresh_mark(messages: Sequence[ChatMessage]) -> str:
    while True:
        mark = f"\ue000{secrets.token_hex(16)}\ue001"
        if not any(mark in m["content"] for m in messages):
            return mark


def _assemble(prompts: PromptEncoder, pieces: list[str], slots: Mapping[int, int], found: list[str]) -> MixedPrompt:
    """Odd pieces lie between two marks: a slot (``s3``) or a hidden control token (``c0``)."""
    ids: list[int] = []
    placed: list[Slot] = []
    for position, piece in enumerate(pieces):
        if position % 2 == 0:
            ids += _encode_piece(prompts, piece, first=position == 0)
        elif piece[0] == "s":
            message = int(piece[1:])
            placed.append(Slot(message, len(ids), slots[message]))
            ids += [SLOT] * slots[message]
        else:
            ids += _encode_piece(prompts, found[int(piece[1:])], first=position == 0, plain=True)
    if sorted(s.message for s in placed) != sorted(slots):
        raise CompressorError(f"the chat template of {prompts.name} does not render each memory-token slot once")
    return MixedPrompt(tuple(ids), tuple(placed))


def _encode_piece(prompts: PromptEncoder, text: str, *, first: bool, plain: bool = False) -> list[int]:
    if not text:
        return []

    def encode(value: str) -> list[int]:
        ids: list[int] = prompts.tokenizer.encode(value, add_special_tokens=False, split_special_tokens=plain)
        return ids

    if first:
        return encode(text)
    # SentencePiece puts a space before whatever comes first; a line break in front takes it away
    lead, ids = encode("\n"), encode(f"\n{text}")
    return ids[len(lead) :] if ids[: len(lead)] == lead else encode(text)
