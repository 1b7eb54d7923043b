"""Runs inside a peer's environment: requests come in as JSON lines on stdin, answers go out on stdout.

    python -P serve.py DRIVER FOLDER DIM

The driver file defines ``DISTRIBUTIONS`` (names whose versions are reported) and ``Driver(folder, embedder)``
with ``write(user, reply)``, ``load(exchanges)``, ``read(query, budget)`` and ``close()``; ``facts()`` and
``after_read()`` are optional. Vectors are asked for over the same pipe, and the wait for them is taken off
every time, so that all memories see the same vectors and none pays for the embedder. Standard library and
numpy only: nothing here may lean on Rhea.
"""

from __future__ import annotations

import base64
import gc
import importlib.util
import json
import os
import resource
import sys
import threading
import time
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["PipeEmbedder", "main"]


class PipeEmbedder:
    """Asks the measuring process for vectors; `clock` runs only outside of those waits.

    Args:
        requests: where lines come from.
        answers: where lines go to.
        dim: length of a vector.
    """

    def __init__(self, requests: TextIO, answers: TextIO, dim: int) -> None:
        self._requests = requests
        self._answers = answers
        self._lock = threading.Lock()
        self.dim = dim
        self.waited = 0.0
        self.texts = 0

    def embed(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors of shape (len(texts), dim), rows L2-normalised."""
        began = time.perf_counter()
        with self._lock:
            send(self._answers, {"embed": texts})
            answer = json.loads(self._requests.readline())
        rows = np.frombuffer(base64.b64decode(answer["vectors"]), dtype="<f4").reshape(-1, self.dim).copy()
        self.texts += len(texts)
        self.waited += time.perf_counter() - began
        return rows

    def clock(self) -> float:
        """Seconds, without those spent waiting for vectors."""
        return time.perf_counter() - self.waited


def send(answers: TextIO, value: Any) -> None:
    """Write one line."""
    answers.write(json.dumps(value, ensure_ascii=True) + "\n")
    answers.flush()


def load_driver(path: str) -> ModuleType:
    """The driver's module, from its file."""
    spec = importlib.util.spec_from_file_location("peer_driver", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no driver at {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer_driver"] = module
    spec.loader.exec_module(module)
    return module


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions by distribution."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def resident() -> tuple[int, int]:
    """Resident memory now and at its peak, in bytes; 0 for now where the system has no /proc."""
    scale = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    try:
        fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE"), peak
    except OSError:
        return 0, peak


def checkpoint(folder: Path) -> None:
    """Fold write-ahead logs into their databases, so that sizes on disk are comparable."""
    import sqlite3

    for log in folder.rglob("*-wal"):
        connection = sqlite3.connect(str(log)[: -len("-wal")], timeout=5.0)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.close()


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


class Server:
    """Answers the requests of one measuring process."""

    def __init__(self, driver: Any, embedder: PipeEmbedder, folder: Path) -> None:
        self.driver = driver
        self.embedder = embedder
        self.folder = folder

    def write(self, request: dict[str, Any]) -> dict[str, Any]:
        """Store exchanges one by one, each timed; stops at ``limit`` seconds."""
        seconds: list[float] = []
        parts: list[dict[str, float]] = []
        deadline = time.perf_counter() + request.get("limit", 1e9)
        for user, reply in request["exchanges"]:
            began = self.embedder.clock()
            named = self.driver.write(user, reply)
            seconds.append(self.embedder.clock() - began)
            parts.append(named or {})
            if time.perf_counter() > deadline:
                break
        return {"seconds": seconds, "parts": parts}

    def load(self, request: dict[str, Any]) -> dict[str, Any]:
        """Store exchanges in bulk, untimed; an exchange is a list of messages with role and text."""
        self.driver.load(request["exchanges"])
        return {}

    def read(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask each query, timed; gives back how much came, and the texts when wanted."""
        answer: dict[str, Any] = {"seconds": [], "parts": [], "items": [], "characters": [], "texts": []}
        deadline = time.perf_counter() + request.get("limit", 1e9)
        for query in request["queries"]:
            began = self.embedder.clock()
            texts, named = self.driver.read(query, request.get("budget"))
            answer["seconds"].append(self.embedder.clock() - began)
            answer["parts"].append(named or {})
            answer["items"].append(len(texts))
            answer["characters"].append(sum(map(len, texts)))
            if request.get("texts"):
                answer["texts"].append(texts)
            if callable(after := getattr(self.driver, "after_read", None)):
                after()
            if time.perf_counter() > deadline:
                break
        return answer

    def state(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Memory and size on disk now, and what the driver says of itself."""
        gc.collect()
        checkpoint(self.folder)
        now, peak = resident()
        facts = self.driver.facts() if hasattr(self.driver, "facts") else {}
        return {"resident": now, "peak": peak, "disk": size_of(self.folder), "facts": facts}


def main() -> None:
    """Serve until stdin ends or `close` is asked for."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a peer prints goes to stderr, not into the answers
    sys.stdout = sys.stderr
    requests = sys.stdin
    path, folder, dim = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    embedder = PipeEmbedder(requests, answers, dim)
    try:
        module = load_driver(path)
        driver = module.Driver(folder, embedder)
        send(answers, {"ready": versions(module.DISTRIBUTIONS), "resident": resident()[0]})
    except Exception:
        send(answers, {"error": traceback.format_exc().strip().splitlines()[-1]})
        return
    server = Server(driver, embedder, folder)
    while line := requests.readline():
        request = json.loads(line)
        if request["op"] == "close":
            driver.close()
            send(answers, {"closed": True})
            return
        try:
            send(answers, getattr(server, request["op"])(request))
        except Exception:
            send(answers, {"error": traceback.format_exc()[-2000:]})


if __name__ == "__main__":
    main()
