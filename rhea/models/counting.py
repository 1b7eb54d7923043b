"""Token counters for when no model is attached.

`TokenizerCounter` counts with a real tokenizer and its chat template. `FallbackCounter` needs none: it is
documented to count high, so that a context built with it fits models whose tokenizer it cannot see.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from rhea.errors import ModelNotFound
from rhea.models.packaged import DEFAULT_MODEL_NAME, packaged_model_path, prepared_folder
from rhea.models.prompts import PromptEncoder
from rhea.types import ChatMessage

__all__ = ["FallbackCounter", "TokenizerCounter", "load_tokenizer"]

_LETTERS = string.ascii_letters.encode()
_BLANKS = bytes([*range(9, 14), *range(28, 33)])
_ONLY_LETTERS = bytes(code if code in _LETTERS else 32 for code in range(256))
"""Translates everything but Latin letters to blanks."""
_SPACE = re.compile(rb"[\t-\r\x1c- ]{2,}|[\t-\r\x1c-\x1f]")
"""White space that counts, a token a character: all but a single blank."""
_EDGES = _BLANKS.decode()
_PER_MESSAGE = 8
"""Role marks and separators that a template writes around one message."""


@lru_cache(maxsize=16_384)
def _of_line(text: str) -> int:
    data = text.encode("utf-8", "surrogatepass")
    total = len(data.translate(None, _LETTERS + _BLANKS)) + sum(map(len, _SPACE.findall(data)))
    return total + sum([(len(run) + 3) >> 2 for run in data.translate(_ONLY_LETTERS).split()])


class FallbackCounter:
    """Counts without a tokenizer, on the high side.

    A run of Latin letters counts a token per four letters, a digit or mark one, any other character as many
    as its bytes of UTF-8 (the worst that a byte-level tokenizer can do), a message eight more.
    """

    name = "fallback"

    def count_text(self, text: str) -> int:
        """Estimated tokens of bare text."""
        if "\n" not in text:
            return _of_line(text)
        # Whole contexts are counted several times a turn, and most of their lines stood in the last one too. White
        # space around a line break is one run and counts in full, whatever the lines beside it are.
        first, *middle, last = text.split("\n")
        lines = [first.rstrip(_EDGES), *[line.strip(_EDGES) for line in middle], last.lstrip(_EDGES)]
        return len(text) - sum(map(len, lines)) + sum(map(_of_line, lines))

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """Estimated tokens of a prompt, role marks included."""
        return _PER_MESSAGE + sum(_PER_MESSAGE + self.count_text(m["content"]) for m in messages)


class TokenizerCounter:
    """Counts with a model's own tokenizer and chat template, without loading its weights.

    Args:
        model: hub name, local folder or GGUF file; ``None`` for the packaged default.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self.name = model or DEFAULT_MODEL_NAME

    @cached_property
    def prompts(self) -> PromptEncoder:
        """The encoder behind the counts; loads on first use."""
        return load_tokenizer(self._model)

    def count_text(self, text: str) -> int:
        """Tokens of bare text."""
        return self.prompts.count_text(text)

    def count_messages(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the final prompt."""
        return self.prompts.count_messages(messages)


def load_tokenizer(model: str | None) -> PromptEncoder:
    """Load a tokenizer by hub name, folder or GGUF file; ``None`` means the packaged default.

    Raises:
        ModelNotFound: no such model in reach, or a folder without a tokenizer.
        ModelError: it has no chat template.
    """
    from transformers import AutoTokenizer

    source = resolve_source(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(
            f"no tokenizer for {model or DEFAULT_MODEL_NAME!r} ({str(error).splitlines()[0]}); "
            "give a hub name in reach, a local folder or a .gguf file"
        ) from error
    return PromptEncoder(tokenizer, model or DEFAULT_MODEL_NAME)


def resolve_source(model: str | None) -> str:
    """What transformers loads from: a hub name as it is, a folder, or the prepared folder of a GGUF file."""
    if model is None:
        return str(prepared_folder(packaged_model_path()))
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelNotFound(f"no such GGUF file: {model}")
        return str(prepared_folder(path))
    if path.is_dir():
        return str(path)
    if path.exists() or model.startswith((".", "/", "~")):
        raise ModelNotFound(f"{model} is not a model folder or a .gguf file")
    return model
