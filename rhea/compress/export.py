"""The reading adapter of a compressor, in the layout of PEFT: for servers that load adapters by folder."""

from __future__ import annotations

import json
from pathlib import Path

from rhea.compress.format import read_folder

__all__ = ["export_reader"]

_SIDE = "decoder."


def export_reader(folder: Path, output: Path) -> Path:
    """Write ``adapter_config.json`` and ``adapter_model.safetensors`` of the adapter that reads memory tokens.

    Args:
        folder: a compressor.
        output: folder to write.

    Raises:
        CompressorError: the compressor is damaged.
    """
    from safetensors.torch import save_file

    spec, tensors = read_folder(folder)
    read = {name.removeprefix(_SIDE): t for name, t in tensors.items() if name.startswith(_SIDE)}
    output.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"base_model.model.{name}.weight": t.contiguous() for name, t in read.items()},
        output / "adapter_model.safetensors",
    )
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": spec.base.name,
        "r": spec.decoder_rank,
        "lora_alpha": spec.decoder_alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted({name.split(".")[-2] for name in read}),
    }
    (output / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return output
