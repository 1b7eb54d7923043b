"""The measuring side of the pipe: starts a peer's process, asks, and hands it vectors."""

from __future__ import annotations

import base64
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rhea.bench.peers.environment import PeerUnavailable

__all__ = ["EmbedTexts", "PeerProcess"]

EmbedTexts = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to float32 vectors of shape (n, dim), rows L2-normalised."""

_HERE = Path(__file__).parent


class PeerProcess:
    """One peer at work in a folder of its own.

    Args:
        python: interpreter of its environment.
        driver: file name of the driver, or a path.
        folder: where it may write.
        embed: gives it vectors.
        dim: length of a vector.
        options: environment variables, such as which embedder the driver of Rhea names.

    Raises:
        PeerUnavailable: it did not start.
    """

    def __init__(
        self,
        python: Path,
        driver: str,
        folder: Path,
        embed: EmbedTexts,
        dim: int,
        *,
        options: dict[str, str] | None = None,
        start_timeout: float = 180.0,
    ) -> None:
        self._embed = embed
        folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [str(python), "-P", str(_HERE / "serve.py"), str(_HERE / driver), str(folder), str(dim)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder.parent / f"{folder.name}.log").open("w"),
            text=True,
            encoding="utf-8",
            env=_environment(folder, options or {}, own_home=str(python) != sys.executable),
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            ready = self._answer(time.monotonic() + start_timeout)
        except BaseException:
            self.stop()
            raise
        self.versions: dict[str, str] = ready["ready"]
        self.resident_at_start: int = ready["resident"]

    def ask(self, op: str, *, timeout: float = 600.0, **request: Any) -> dict[str, Any]:
        """One request, and its answer.

        Raises:
            PeerUnavailable: it failed, ended, or took longer than ``timeout`` seconds.
        """
        self._send({"op": op, **request})
        return self._answer(time.monotonic() + timeout)

    def close(self) -> None:
        """End it in good order."""
        try:
            self.ask("close", timeout=60.0)
        finally:
            self.stop()

    def stop(self) -> None:
        """End it now."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _send(self, value: Any) -> None:
        if self._process.stdin is None or self._process.poll() is not None:
            raise PeerUnavailable("its process has ended")
        try:
            self._process.stdin.write(json.dumps(value) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerUnavailable("its process has ended") from None

    def _answer(self, deadline: float) -> dict[str, Any]:
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise PeerUnavailable("no answer in time") from None
            if line is None:
                raise PeerUnavailable(f"its process ended (exit {self._process.wait()})")
            answer: dict[str, Any] = json.loads(line)
            if "embed" in answer:
                rows = np.ascontiguousarray(self._embed(answer["embed"]), dtype="<f4")
                self._send({"vectors": base64.b64encode(rows.tobytes()).decode("ascii")})
            elif "error" in answer:
                raise PeerUnavailable(str(answer["error"]).strip().splitlines()[-1][:300])
            else:
                return answer

    def _listen(self) -> None:
        pipe = self._process.stdout
        if pipe is not None:
            for line in pipe:
                self._lines.put(line)
        self._lines.put(None)


def _environment(folder: Path, options: dict[str, str], *, own_home: bool) -> dict[str, str]:
    """The process's variables: no telemetry, no network, one thread; a home of its own for a peer."""
    home = folder.resolve().with_name(f"{folder.name}.home")
    home.mkdir(exist_ok=True)
    return {
        **os.environ,
        **({"HOME": str(home)} if own_home else {}),
        "MEM0_DIR": str(home / "mem0"),
        "MEM0_TELEMETRY": "False",
        "OPENAI_API_KEY": "unused",
        "OPENAI_AGENTS_DISABLE_TRACING": "1",
        "ANONYMIZED_TELEMETRY": "False",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **options,
    }
