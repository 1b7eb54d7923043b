"""`OpenAIModel` through the official client, against a stand-in server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from rhea import OpenAIModel
from rhea.errors import GenerationFailed, MissingExtra
from rhea.testing import memory_database

pytest.importorskip("openai")


class Server(ThreadingHTTPServer):
    requests: list[dict[str, object]]
    status = 200


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append({"path": self.path, **body})
        self.send_response(self.server.status)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if self.server.status != 200:
            return
        for piece in ("Lis", "bon", "."):
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 0,
                "model": "m",
                "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}],
            }
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(("127.0.0.1", 0), Handler)
    running.requests = []
    thread = Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


def test_a_reply_is_streamed_from_the_server(server: Server) -> None:
    model = OpenAIModel("m", base_url=address(server), reserve=99)
    chat = memory_database(model=model).conversation("c")
    assert "".join(chat.stream("Where to?")) == "Lisbon."
    (request,) = server.requests
    assert request["path"] == "/v1/chat/completions"
    assert request["model"] == "m"
    assert request["messages"] == [{"role": "user", "content": "Where to?"}]
    assert request["max_tokens"] == 99
    assert request["temperature"] == 0.0
    assert request["stream"] is True


def test_a_server_that_refuses(server: Server) -> None:
    server.status = 400
    chat = memory_database(model=OpenAIModel("m", base_url=address(server))).conversation("c")
    with pytest.raises(GenerationFailed, match="server of m failed"):
        chat.send("Where to?")
    assert chat.history()[0].user == "Where to?"


def test_no_key_and_no_server_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(GenerationFailed, match="cannot start"):
        next(OpenAIModel("m").stream([{"role": "user", "content": "x"}]))


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(MissingExtra, match=r"rhea-memory\[openai\]"):
        next(OpenAIModel("m").stream([{"role": "user", "content": "x"}]))
