"""A compressor on disk: a folder with ``config.json`` and ``adapter.safetensors``. Never pickle.

The config names the base model the adapter was trained on, and the adapter file carries a handful of that
model's weights, so that a compressor put beside another model, or a damaged one, is refused with the
difference named rather than answering nonsense.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.errors import CompressorError

if TYPE_CHECKING:
    import torch

__all__ = [
    "ADAPTER_FILE",
    "CONFIG_FILE",
    "BaseModel",
    "CompressorSpec",
    "check_base",
    "describe_base",
    "dialogue_key",
    "file_digest",
    "fingerprint",
    "read_folder",
    "read_spec",
    "write_folder",
]

CONFIG_FILE = "config.json"
ADAPTER_FILE = "adapter.safetensors"
_FORMAT = "rhea-memory-tokens"
_VERSION = 1
_SAMPLED_ROWS = 16
_SAMPLED_COLUMNS = 16
_TOLERANCE = 0.02
"""Weights stored as bfloat16, float16 and float32 differ by less than this, relative to the largest."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What must agree between the model a compressor was trained on and the model it is used with."""

    name: str
    model_type: str
    hidden_size: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate_size: int
    vocabulary: int
    template: str
    """SHA-256 of the chat template, its first 16 characters."""


@dataclass(frozen=True, slots=True)
class CompressorSpec:
    """Everything about a compressor but its tensors.

    Args:
        base: the model it was trained on.
        tokens: memory tokens a group used by default.
        trained_tokens: group sizes it was trained with, each with memory-token embeddings of its own.
        cut: reply tokens that one group stands for at most.
        user_tail: tokens of the user's message, counted from its end, that the encoder sees before the reply.
        encoder_rank: rank of the adapter that reads replies; the scale is alpha over rank.
        decoder_rank: rank of the adapter that reads memory tokens.
        adapter_sha256: digest of the adapter file, filled in when written.
        training: how it was made and what was measured: data, licences, seed, steps, losses.
        trained_on: keys (`dialogue_key`) of the dialogues it saw, so that measuring can leave them out.
    """

    base: BaseModel
    tokens: int = 8
    trained_tokens: tuple[int, ...] = (8,)
    cut: int = 512
    user_tail: int = 64
    encoder_rank: int = 16
    encoder_alpha: int = 32
    decoder_rank: int = 16
    decoder_alpha: int = 32
    adapter_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Identity stored with every memory: base model, adapter and tokens a group."""
        return f"memory:{self.base.name}:{self.adapter_sha256[:16]}:{self.tokens}"


def dialogue_key(dialogue_id: str) -> str:
    """Short stable key of a dialogue's id: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(dialogue_id.encode()).hexdigest()[:12]


def describe_base(network: Any, name: str, template: str | None) -> BaseModel:
    """Read off a loaded network what a compressor depends on."""
    config = network.config.get_text_config()
    return BaseModel(
        name=name,
        model_type=str(config.model_type),
        hidden_size=int(config.hidden_size),
        layers=int(config.num_hidden_layers),
        heads=int(config.num_attention_heads),
        key_value_heads=int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads),
        intermediate_size=int(config.intermediate_size),
        vocabulary=int(config.vocab_size),
        template=hashlib.sha256((template or "").encode()).hexdigest()[:16],
    )


def fingerprint(network: Any) -> torch.Tensor:
    """Weights at fixed places of the embeddings and of the first and the last linear layer, float32, flat."""
    import torch

    linear = [m.weight for m in network.modules() if isinstance(m, torch.nn.Linear) and m.weight.ndim == 2]
    sampled = []
    for weight in (network.get_input_embeddings().weight, linear[0], linear[-2 if len(linear) > 1 else -1]):
        rows = torch.linspace(0, weight.shape[0] - 1, _SAMPLED_ROWS, device=weight.device).long()
        columns = torch.linspace(0, weight.shape[1] - 1, _SAMPLED_COLUMNS, device=weight.device).long()
        sampled.append(weight.detach()[rows][:, columns].float().flatten().cpu())
    return torch.cat(sampled)


def check_base(spec: CompressorSpec, saved: torch.Tensor, network: Any, template: str | None) -> None:
    """Refuse a model that the compressor was not trained on.

    Raises:
        CompressorError: the message names every difference.
    """
    here = asdict(describe_base(network, spec.base.name, template))
    differing = [f"{key} is {here[key]!r} here, {value!r} there" for key, value in asdict(spec.base).items()
                 if here[key] != value]  # fmt: skip
    if not differing:
        own = fingerprint(network)
        if own.shape != saved.shape or (own - saved.float()).abs().max() > _TOLERANCE * own.abs().max():
            differing = ["the weights are others, though the shapes agree"]
    if differing:
        raise CompressorError(
            f"the compressor was trained on {spec.base.name}, not on this model: {'; '.join(differing)}; "
            "train one for this model with `rhea compressor train`"
        )


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_folder(folder: Path, spec: CompressorSpec, tensors: Mapping[str, torch.Tensor]) -> CompressorSpec:
    """Write a compressor; returns the spec with the adapter's digest filled in."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    target, staging = folder / ADAPTER_FILE, folder / f".{ADAPTER_FILE}.part"
    save_file({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, staging)
    spec = replace(spec, adapter_sha256=file_digest(staging))
    staging.replace(target)
    config = {"format": _FORMAT, "version": _VERSION, **asdict(spec)}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return spec


def read_spec(folder: Path) -> CompressorSpec:
    """Read ``config.json``.

    Raises:
        CompressorError: no such folder, not a compressor's, or of a newer version.
    """
    path = folder / CONFIG_FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CompressorError(f"{folder} is no compressor: it has no {CONFIG_FILE}") from None
    except (OSError, ValueError) as error:
        raise CompressorError(f"{path} cannot be read ({error}); copy the folder again") from error
    if not isinstance(data, dict) or data.pop("format", None) != _FORMAT:
        raise CompressorError(f"{path} does not describe a memory-token compressor")
    if (version := data.pop("version", None)) != _VERSION:
        raise CompressorError(f"{folder} has format version {version}, this Rhea reads {_VERSION}; upgrade the package")
    try:
        base = BaseModel(**data.pop("base"))
        sequences: dict[str, Any] = {key: _sequence(data.pop(key)) for key in ("trained_tokens", "trained_on")}
        return CompressorSpec(base=base, **sequences, **data)
    except (KeyError, TypeError) as error:
        raise CompressorError(f"{path} is incomplete or has unknown entries ({error})") from error


def read_folder(folder: Path) -> tuple[CompressorSpec, dict[str, torch.Tensor]]:
    """Read and check a compressor.

    Raises:
        CompressorError: something is missing or damaged; the message names the file and what differs.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    spec = read_spec(folder)
    path = folder / ADAPTER_FILE
    if not path.is_file():
        raise CompressorError(f"{folder} has no {ADAPTER_FILE}; copy the folder again")
    if (digest := file_digest(path)) != spec.adapter_sha256:
        raise CompressorError(
            f"{path} is damaged or from another compressor: its SHA-256 starts {digest[:12]}, "
            f"{CONFIG_FILE} says {spec.adapter_sha256[:12]}"
        )
    try:
        return spec, load_file(path)
    except (SafetensorError, OSError) as error:
        raise CompressorError(f"{path} cannot be read ({error})") from error


def _sequence(value: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(value, str):
        raise TypeError(f"a list is needed, not {value!r}")
    return tuple(value)
