"""`OpenAIModel` through the official client, against a stand-in server on this machine."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from tiny_models import make_network, make_prompts, make_spec

from rhea import OpenAIModel
from rhea.compress.export import export_reader
from rhea.compress.lazy import MemoryTokens
from rhea.compress.memory_tokens import MemoryTokenCompressor
from rhea.compress.mixed import embed_mixed, render_mixed
from rhea.compress.network import CompressorNetwork
from rhea.compress.recipe import save_compressor
from rhea.errors import GenerationFailed, MissingExtra
from rhea.models.transformers import TransformersModel
from rhea.models.vllm import VLLMModel
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
        chat = self.path.endswith("/chat/completions")
        for piece in ("Lis", "bon", "."):
            said = {"delta": {"content": piece}} if chat else {"text": piece}
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk" if chat else "text_completion",
                "created": 0,
                "model": "m",
                "choices": [{"index": 0, "finish_reason": None, **said}],
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


class TestPromptEmbeddings:
    """What a vLLM server is sent when a context holds memory tokens."""

    @pytest.fixture(scope="class")
    def home(self, tmp_path_factory) -> Path:
        home = tmp_path_factory.mktemp("served")
        network, prompts = make_network(max_position_embeddings=2048), make_prompts()
        network.save_pretrained(home / "model")
        prompts.tokenizer.save_pretrained(home / "model")
        parts = CompressorNetwork(network, make_spec(network, prompts))
        for parameter in parts.adapter_parameters():
            parameter.data.add_(0.05)
        save_compressor(home / "compressor", parts, parts.spec)
        return home

    def test_the_request(self, server: Server, home: Path) -> None:
        local = TransformersModel(str(home / "model"), device="cpu", reserve=24)
        model = VLLMModel("m", local=local, reader="m-reader", base_url=address(server), reserve=24)
        compressor = MemoryTokens(local, home / "compressor")
        (memory,) = compressor.encode_replies([("who?", "marta looks after the boilers")])
        messages = [
            {"role": "user", "content": "who?"},
            {"role": "assistant", "content": "not read"},
            {"role": "user", "content": "since when?"},
        ]
        assert "".join(model.stream_mixed(messages, {1: memory}, compressor.reader)) == "Lisbon."
        (request,) = server.requests
        assert request["path"] == "/v1/completions"
        assert request["model"] == "m-reader"
        assert request["max_tokens"] == 24
        sent = torch.load(io.BytesIO(base64.b64decode(request["prompt_embeds"])), weights_only=True)
        prompt = render_mixed(local.prompts, messages, {1: len(memory)})
        assert torch.equal(sent, embed_mixed(local.network, prompt, {1: torch.tensor(memory)})[0])
        assert len(sent) == model.count_mixed(messages, {1: len(memory)})

    def test_text_goes_as_messages(self, server: Server, home: Path) -> None:
        local = TransformersModel(str(home / "model"), device="cpu")
        model = VLLMModel("m", local=local, reader="m-reader", base_url=address(server))
        assert "".join(model.stream([{"role": "user", "content": "where to?"}])) == "Lisbon."
        assert server.requests[0]["path"] == "/v1/chat/completions"
        assert server.requests[0]["model"] == "m"

    @pytest.mark.filterwarnings("ignore::FutureWarning")  # of PEFT about transformers
    def test_the_reading_adapter_loads_in_peft(self, home: Path, tmp_path: Path) -> None:
        from peft import PeftModel

        export_reader(home / "compressor", tmp_path / "reader")
        local = TransformersModel(str(home / "model"), device="cpu")
        own = MemoryTokenCompressor.load(home / "compressor", local.network, local.prompts)
        ids = torch.tensor([[5, 9, 30, 31]])
        with torch.no_grad():
            expected = own.network(ids).logits
            loaded = PeftModel.from_pretrained(make_network(max_position_embeddings=2048), tmp_path / "reader")
            torch.testing.assert_close(loaded(ids).logits, expected, rtol=1e-3, atol=1e-3)

    def test_a_server_that_refuses_is_named_with_what_it_needs(self, server: Server, home: Path) -> None:
        server.status = 400
        local = TransformersModel(str(home / "model"), device="cpu")
        model = VLLMModel("m", local=local, reader="m-reader", base_url=address(server))
        compressor = MemoryTokens(local, home / "compressor")
        (memory,) = compressor.encode_replies([("who?", "marta")])
        messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}]
        with pytest.raises(GenerationFailed, match="enable-prompt-embeds"):
            list(model.stream_mixed([*messages, messages[0]], {1: memory}, compressor.reader))
