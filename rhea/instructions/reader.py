"""Reads a sentence in its message, and a message beside a rule, with a sentence encoder adapted to the task.

Patterns and the head look at one sentence at a time. What they leave open depends on what stands around it ("no
emojis, please" alone, or under a request for a poem), and which rule a message ends depends on both texts. A
cross-encoder sees both at once: the packaged all-MiniLM-L6-v2 with low-rank adapters that ship with Rhea, made by
`scripts/train_instruction_reader.py`. It stands where the paper asks a small language model YES or NO.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rhea.errors import EmbedderError

if TYPE_CHECKING:
    import torch

__all__ = ["InstructionReader", "Reader", "packaged_reader"]

_LONGEST = 128
"""Tokens of a pair; the longer text is cut first."""
_BATCH = 32


class Reader(Protocol):
    """Says how two texts stand to each other, as log-odds."""

    def stands(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Log-odds that each (sentence, rest of its message) binds later replies, shape (len(pairs),)."""
        ...

    def ends(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Log-odds that each (message, active rule) ends the rule, shape (len(pairs),)."""
        ...


class InstructionReader:
    """The reader that ships with Rhea; loads on first use. Safe to use from several threads.

    Args:
        device: torch device; ``None`` takes cuda where there is one.
    """

    def __init__(self, *, device: str | None = None) -> None:
        self._device = device
        self._lock = Lock()
        self._loaded: tuple[Any, Any, torch.Tensor, torch.Tensor] | None = None

    def stands(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """See :meth:`Reader.stands`."""
        return self._read(pairs, 0)

    def ends(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """See :meth:`Reader.ends`."""
        return self._read(pairs, 1)

    def _read(self, pairs: Sequence[tuple[str, str]], head: int) -> NDArray[np.float32]:
        import torch

        out = np.zeros(len(pairs), dtype=np.float32)
        if not pairs:
            return out
        network, tokenizer, weight, bias = self._load()
        order = sorted(range(len(pairs)), key=lambda k: len(pairs[k][0]) + len(pairs[k][1]))
        with torch.inference_mode():
            for start in range(0, len(order), _BATCH):
                ids = order[start : start + _BATCH]
                seen = tokenizer(
                    [pairs[k][0] for k in ids],
                    [pairs[k][1] for k in ids],
                    truncation="longest_first",
                    max_length=_LONGEST,
                    padding=True,
                    return_token_type_ids=True,
                    return_tensors="pt",
                ).to(weight.device)
                states = network(**seen).last_hidden_state
                mask = seen["attention_mask"].unsqueeze(-1).to(states.dtype)
                pooled = torch.cat([(states * mask).sum(1) / mask.sum(1), states[:, 0]], dim=-1)
                out[ids] = (pooled @ weight[head] + bias[head]).float().cpu().numpy()
        if not np.isfinite(out).all():
            raise EmbedderError("the instruction reader gave a value that is not finite; install Rhea again")
        return out

    def _load(self) -> tuple[Any, Any, torch.Tensor, torch.Tensor]:
        if self._loaded is None:
            with self._lock:
                if self._loaded is None:
                    self._loaded = self._open()
        return self._loaded

    def _open(self) -> tuple[Any, Any, torch.Tensor, torch.Tensor]:
        import torch
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        from rhea.embed import packaged_embedder_path

        device = self._device or ("cuda" if torch.cuda.is_available() else "cpu")
        folder = str(packaged_embedder_path())
        logging.disable_progress_bar()
        try:
            tensors = load_file(str(files("rhea.instructions").joinpath("reader.safetensors")))
            network = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
            _merge(network, tensors)
            weight, bias = tensors["heads.weight"].to(device), tensors["heads.bias"].to(device)
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise EmbedderError(f"the instruction reader cannot be read ({reason}); install Rhea again") from error
        return network.to(device), tokenizer, weight, bias


def _merge(network: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Add each adapter's product to the weight that it belongs to."""
    import torch

    scale = float(tensors["scale"])
    weights = dict(network.named_parameters())
    with torch.no_grad():
        for name, down in tensors.items():
            if name.endswith(".lora_A"):
                stem = name.removesuffix(".lora_A")
                weights[f"{stem}.weight"] += scale * (tensors[f"{stem}.lora_B"].float() @ down.float())


@lru_cache(maxsize=1)
def packaged_reader() -> InstructionReader:
    """One reader for the whole process."""
    return InstructionReader()
