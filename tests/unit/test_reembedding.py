"""A change of embedder: old vectors serve until the new ones are there, whatever happens in between."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rhea import Rhea
from rhea.errors import EmbedderError
from rhea.reembedding import SwitchingRecall, reembed
from rhea.settings import Settings
from rhea.testing import EchoModel, HashEmbedder

QUIET = Settings(background=False, budget=300)


class Watched(HashEmbedder):
    """Counts what it is asked; may fail on demand."""

    def __init__(self, dim: int, fail: bool = False) -> None:
        super().__init__(dim)
        self.asked = 0
        self.fail = fail

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if self.fail:
            raise EmbedderError("told to fail")
        self.asked += len(texts)
        return super().embed(texts)


def talk(database: Path, turns: int = 40) -> None:
    with Rhea(database, model=EchoModel(), embedder=HashEmbedder(32), settings=QUIET) as memory:
        chat = memory.conversation("chat", user="ada")
        for n in range(turns):
            chat.send(f"Fact {n} is about animal{n}.")
        memory.settle()


def test_the_old_vectors_serve_until_the_new_ones_are_there(tmp_path: Path) -> None:
    talk(tmp_path / "chats.db")
    old, new = Watched(32), Watched(48)
    memory = Rhea(tmp_path / "chats.db", model=EchoModel(), embedder=new, previous_embedder=old, settings=QUIET)
    store = memory._services.store
    owner = store.find_user("ada")
    assert store.pending_work() == {"reembed": 40}
    chat = memory.conversation("chat", user="ada")
    turn = chat.begin("Tell me about animal7 again.")
    assert "animal7" in str(turn.messages)
    assert old.asked > 0, "the question must be asked in the old embedder's space"
    turn.abandon()
    steps: list[int] = []
    assert reembed(store, new, limit=30, progress=steps.append) == 30
    assert sum(steps) == 30
    assert store.pending_work()["reembed"] == 10
    assert not store.described(owner, chat._id, new.id, old.id)
    assert reembed(store, new) == 10
    assert store.described(owner, chat._id, new.id, old.id)
    before = old.asked
    turn = chat.begin("Tell me about animal9 again.")
    assert "animal9" in str(turn.messages)
    turn.abandon()
    assert old.asked == before, "once changed over, the old embedder is not asked any more"
    coverage = store.vector_coverage(owner)
    assert coverage[new.id] >= coverage[old.id] == 80
    assert store.drop_vectors(old.id) == 80
    memory.close()


def test_it_happens_in_the_background(tmp_path: Path) -> None:
    talk(tmp_path / "chats.db")
    memory = Rhea(
        tmp_path / "chats.db",
        embedder=HashEmbedder(48),
        previous_embedder=HashEmbedder(32),
        settings=Settings(budget=300),
    )
    deadline = time.monotonic() + 20
    while memory._services.store.pending_work() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert memory._services.store.vector_coverage()["hash-48"] == 80
    memory.close()


def test_an_embedder_that_fails_leaves_the_work_and_the_old_vectors(tmp_path: Path) -> None:
    talk(tmp_path / "chats.db", 5)
    memory = Rhea(
        tmp_path / "chats.db", embedder=Watched(48, fail=True), previous_embedder=HashEmbedder(32), settings=QUIET
    )
    store = memory._services.store
    with pytest.raises(EmbedderError):
        reembed(store, memory._services.embedder)
    assert store.pending_work() == {"reembed": 5}
    assert len(store.claim_work(["reembed"], limit=9)) == 5, "given back, to be claimed again at once"
    assert store.vector_coverage() == {"hash-32": 10}
    memory.close()


def test_naming_the_same_embedder_twice_changes_nothing(tmp_path: Path) -> None:
    talk(tmp_path / "chats.db", 2)
    memory = Rhea(tmp_path / "chats.db", embedder=HashEmbedder(32), previous_embedder=HashEmbedder(32), settings=QUIET)
    assert memory._services.store.pending_work() == {}
    assert not isinstance(memory._services.recall, SwitchingRecall)
    memory.close()


def test_without_the_old_embedder_everything_is_embedded_again_when_next_used(tmp_path: Path) -> None:
    talk(tmp_path / "chats.db", 10)
    with Rhea(tmp_path / "chats.db", embedder=HashEmbedder(48), settings=QUIET) as memory:
        assert memory.settle() == 10
        assert memory._services.store.vector_coverage() == {"hash-32": 20, "hash-48": 20}
        assert memory.settle() == 0


def test_from_a_terminal(rhea_cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk(tmp_path / "rhea.db", 6)
    monkeypatch.setattr("rhea.embed.SentenceTransformerEmbedder", lambda *_: HashEmbedder(48))
    assert rhea_cli("db", "reembed", "--json").json == {"embedder": "hash-48", "turns": 6, "dropped": {}}
    again = rhea_cli("db", "reembed", "--drop")
    assert again.out.splitlines() == ["0 turns embedded by hash-48", "12 messages' vectors of hash-32 deleted"]
    with Rhea(tmp_path / "rhea.db", embedder=HashEmbedder(48), settings=QUIET) as memory:
        assert memory.store.vector_coverage() == {"hash-48": 12}
        assert memory.store.embedder_names() == {"hash-48"}
        assert "animal4" in str(memory.conversation("chat", user="ada").begin("Tell me about animal4.").messages)
