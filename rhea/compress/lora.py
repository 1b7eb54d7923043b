"""Low-rank adapters on a network whose weights stay where they are.

The paper reads a reply with one adapter and the compressed reply with another. Both need the same frozen
weights, and the plain model must stay usable beside them, so each adapter gets its own tree of modules over
the *same* weight tensors: nothing is switched between an encoder's and a decoder's pass, and the memory of the
backbone is paid once.
"""

from __future__ import annotations

import copy
from itertools import chain
from typing import TYPE_CHECKING, Any

from rhea.errors import CompressorError, MissingExtra

if TYPE_CHECKING:
    import torch

__all__ = ["adapter_tensors", "add_adapter", "load_adapter", "share_weights"]

_MARK = ".lora_"
_NAME = "default"


def share_weights(network: Any) -> Any:
    """A second module tree over the same parameters and buffers as ``network``, frozen."""
    kept = {id(t): t for t in chain(network.parameters(), network.buffers())}
    twin = copy.deepcopy(network, kept)
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


def add_adapter(network: Any, *, rank: int, alpha: int, dropout: float = 0.0) -> Any:
    """Put a LoRA adapter on every linear layer but the output head, in place.

    Adapter weights are float32 whatever the backbone's type: they are what is trained.

    Raises:
        MissingExtra: PEFT is not installed.
        CompressorError: the network has no linear layers to adapt.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtra("train", "a memory-token compressor") from None
    import torch

    head = network.get_output_embeddings()
    targets = [name for name, part in network.named_modules() if isinstance(part, torch.nn.Linear) and part is not head]
    if not targets:
        raise CompressorError("the model has no linear layers that an adapter could go on")
    settings = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=targets)
    adapted = inject_adapter_in_model(settings, network)
    for name, parameter in adapted.named_parameters():
        if _MARK in name:
            parameter.data = parameter.data.float()
        parameter.requires_grad_(_MARK in name)
    return adapted


def adapter_tensors(network: Any) -> dict[str, torch.nn.Parameter]:
    """The adapter's parameters by a short name: ``<module>.lora_A`` of shape (r, in), ``<module>.lora_B`` (out, r)."""
    return {_short(name): p for name, p in network.named_parameters() if _MARK in name}


def load_adapter(network: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Copy saved adapter tensors into an adapted network.

    Raises:
        CompressorError: a tensor is missing, unknown or of another shape; the message names it.
    """
    own = adapter_tensors(network)
    if missing := sorted(own.keys() - tensors.keys()):
        raise CompressorError(f"the adapter lacks {len(missing)} tensors, among them {missing[0]}")
    if unknown := sorted(tensors.keys() - own.keys()):
        raise CompressorError(f"the adapter holds {len(unknown)} tensors that the model has no place for: {unknown[0]}")
    for name, parameter in own.items():
        if parameter.shape != tensors[name].shape:
            shapes = f"{tuple(tensors[name].shape)}, the model needs {tuple(parameter.shape)}"
            raise CompressorError(f"the adapter tensor {name} has the shape {shapes}")
        parameter.data.copy_(tensors[name])


def _short(name: str) -> str:
    return name.replace(f".{_NAME}.weight", "")
