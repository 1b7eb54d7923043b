"""Memory tokens inside a conversation: made after a commit, counted, read by the model, and replaced by digests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import make_network, make_prompts, make_spec

from rhea import Rhea, Settings
from rhea.cli.chat import choose_compressor
from rhea.compress.format import ADAPTER_FILE
from rhea.compress.lazy import MemoryTokens
from rhea.compress.mixed import embed_mixed, render_mixed
from rhea.compress.network import CompressorNetwork
from rhea.compress.recipe import save_compressor
from rhea.errors import CompressorError, SettingsError
from rhea.models.transformers import TransformersModel
from rhea.testing import EchoModel, HashEmbedder

REPLY = "the boilers are looked after by marta and the key hangs beside the door of the cellar"
MESSAGES = [
    {"role": "user", "content": "who looks after the boilers?"},
    {"role": "assistant", "content": REPLY},
    {"role": "user", "content": "and where is the key?"},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A tiny model on disk, and a compressor for it whose adapters do something."""
    home = tmp_path_factory.mktemp("memory-chat")
    network, prompts = make_network(max_position_embeddings=2048), make_prompts()
    network.save_pretrained(home / "model")
    prompts.tokenizer.save_pretrained(home / "model")
    parts = CompressorNetwork(network, make_spec(network, prompts))
    torch.manual_seed(1)
    for parameter in (*parts.adapter_parameters(), *parts.own_parameters()):
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    save_compressor(home / "compressor", parts, parts.spec)
    return home


@pytest.fixture
def model(home) -> TransformersModel:
    return TransformersModel(str(home / "model"), device="cpu", reserve=24)


def opened(model: TransformersModel, compressor: MemoryTokens, url: str = "sqlite://", **settings: object) -> Rhea:
    chosen = Settings(**{"budget": 560, "background": False, "detect": False, **settings})
    return Rhea(url, model=model, compressor=compressor, embedder=HashEmbedder(), settings=chosen)


def remembered(memory: Rhea, name: str = "main"):
    """A conversation of three exchanges that do not fit the budget word for word."""
    chat = memory.conversation(name)
    for number, place in enumerate(("boilers", "harbour", "bakery")):
        chat.begin(f"who looks after the {place}?").commit(f"{REPLY}, number {number}, says the {place} " * 2)
    memory.settle()
    return chat


class TestReading:
    def test_what_the_reader_gets_are_the_hand_built_embeddings(self, home, model, monkeypatch):
        compressor = MemoryTokens(model, home / "compressor")
        (vectors,) = compressor.encode_replies([("who?", REPLY)])
        prompt = render_mixed(model.prompts, MESSAGES, {1: len(vectors)})
        embedded = embed_mixed(compressor.reader, prompt, {1: torch.tensor(vectors)})
        generate, given, said = compressor.reader.generate, {}, []

        def watched(**arguments: object) -> torch.Tensor:
            given.update(arguments)
            said.append(generate(**arguments))
            return said[0]

        monkeypatch.setattr(compressor.reader, "generate", watched)
        text = "".join(model.stream_mixed(MESSAGES, {1: vectors}, compressor.reader))
        assert torch.equal(given["inputs_embeds"], embedded)
        alone = generate(
            inputs_embeds=embedded, attention_mask=torch.ones(1, len(prompt)), max_new_tokens=24, do_sample=False
        )
        assert torch.equal(said[0][:, len(prompt) :], alone)
        assert text == model.prompts.tokenizer.decode(alone[0], skip_special_tokens=True)
        assert model.count_mixed(MESSAGES, {1: len(vectors)}) == len(prompt)

    def test_streaming_can_be_stopped(self, home, model):
        compressor = MemoryTokens(model, home / "compressor")
        (vectors,) = compressor.encode_replies([("who?", REPLY)])
        pieces = model.stream_mixed(MESSAGES, {1: vectors}, compressor.reader)
        next(pieces)
        pieces.close()
        assert not model._generating.locked()


class TestConversation:
    def test_older_replies_are_read_as_memory_tokens(self, home, model):
        with opened(model, MemoryTokens(model, home / "compressor")) as memory:
            chat = remembered(memory)
            reply = chat.stream("who looks after the boilers?")
            turn = reply.turn
            read = turn._prepared.memory
            assert read, turn.context
            assert all(turn.messages[index]["role"] == "assistant" for index in read)
            counted = model.count_mixed(turn.messages, {index: len(v) for index, v in read.items()})
            assert counted == turn.context.tokens <= turn.context.budget
            assert sum(turn.context.sections.values()) == turn.context.tokens
            assert any("memory tokens" in note for note in turn.context.notes)

    def test_a_loop_of_ones_own_gets_text_alone(self, home, model):
        with opened(model, MemoryTokens(model, home / "compressor")) as memory:
            turn = remembered(memory).begin("who looks after the boilers?")
            assert not turn._prepared.memory
            assert model.count_messages(turn.messages) == turn.context.tokens <= turn.context.budget

    def test_another_compressor_s_memories_are_not_read_and_made_again(self, home, model, tmp_path):
        url = f"sqlite:///{tmp_path}/rhea.db"
        with opened(model, MemoryTokens(model, home / "compressor"), url) as memory:
            chat = remembered(memory)
            first = memory._services.memory.memory_id
        with opened(model, MemoryTokens(model, home / "compressor", tokens=2), url) as memory:
            chat = memory.conversation("main")
            assert memory._services.memory.memory_id != first
            reply = chat.stream("who looks after the boilers?")
            assert not reply.turn._prepared.memory
            reply.close()
            assert memory.settle() > 0
            read = chat.stream("who looks after the boilers?").turn._prepared.memory
            groups = {-(-len(turn.reply) // 32) for turn in chat.history() if turn.reply}
            assert {len(vectors) for vectors in read.values()} <= {2 * count for count in groups}
            assert read

    @pytest.mark.parametrize("fault", ["damaged", "missing", "another model"])
    def test_a_compressor_that_does_not_load_leaves_text_digests(self, home, model, tmp_path, fault):
        folder = tmp_path / "compressor"
        if fault != "missing":
            shutil.copytree(home / "compressor", folder)
        if fault == "damaged":
            (folder / ADAPTER_FILE).write_bytes((folder / ADAPTER_FILE).read_bytes()[:-40])
        if fault == "another model":
            make_network(seed=5, max_position_embeddings=2048).save_pretrained(tmp_path / "model")
            make_prompts().tokenizer.save_pretrained(tmp_path / "model")
            model = TransformersModel(str(tmp_path / "model"), device="cpu", reserve=24)
        compressor = MemoryTokens(model, folder)
        with opened(model, compressor) as memory:
            chat = remembered(memory)
            assert not compressor.ready()
            assert compressor.problem
            reply = chat.stream("who looks after the boilers?")
            assert not reply.turn._prepared.memory
            assert reply.turn.context.tokens <= reply.turn.context.budget
            reply.close()
        with pytest.raises(CompressorError):
            compressor.encode_replies([("a", "b")])

    def test_a_failing_encoder_leaves_the_work_for_later(self, home, model, monkeypatch):
        compressor = MemoryTokens(model, home / "compressor")
        with opened(model, compressor) as memory:
            memory.conversation("main").begin("who looks after the boilers?").commit(REPLY)

            def out_of_memory(exchanges: object) -> list:
                raise RuntimeError("out of memory")

            with monkeypatch.context() as patched:
                patched.setattr(compressor, "encode_replies", out_of_memory)
                with pytest.raises(CompressorError, match="out of memory"):
                    memory.settle()
            assert memory.store.pending_work() == {"memory": 1}
            assert memory.settle() == 1
            assert memory.store.pending_work() == {}


class TestChoice:
    def test_what_the_chat_takes(self, home, model):
        assert choose_compressor(None, model, packaged=False) is None
        assert choose_compressor("text", model, packaged=True) is None
        assert choose_compressor(None, EchoModel(), packaged=False) is None
        assert choose_compressor(None, model, packaged=True) is not None
        named = choose_compressor(str(home / "compressor"), model, packaged=False)
        assert named is not None
        assert named.ready()
        with pytest.raises(SettingsError, match="runs here"):
            choose_compressor(str(home / "compressor"), EchoModel(), packaged=False)
