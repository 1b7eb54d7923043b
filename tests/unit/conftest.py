"""`rhea` command lines run inside the test process: what was printed where, and the exit code."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from rhea.testing import HashEmbedder


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Outcome]


@pytest.fixture
def rhea_cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs one command line on a database of this test, as the user ada, with an embedder that loads nothing."""
    import rhea.cli
    import rhea.cli.chat
    from rhea.cli.app import run

    for name in rhea.cli.COMMAND_MODULES:
        import_module(f"rhea.cli.{name}")
    monkeypatch.setattr(rhea.cli.chat, "default_embedder", HashEmbedder)
    monkeypatch.setattr("rhea.embed.SentenceTransformerEmbedder", HashEmbedder)
    for variable in (
        "TRANSFORMERS_VERBOSITY",
        "HF_HUB_DISABLE_PROGRESS_BARS",
        "TOKENIZERS_PARALLELISM",
        "TQDM_DISABLE",
    ):
        monkeypatch.setenv(variable, "1" if variable != "TRANSFORMERS_VERBOSITY" else "error")
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("RHEA_DATABASE_URL", f"sqlite:///{tmp_path / 'rhea.db'}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def command(*arguments: str, stdin: bytes = b"") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfd.readouterr()
        code = run([*arguments])
        printed = capfd.readouterr()
        return Outcome(code, printed.out, printed.err)

    return command
