"""Pending work in the background: a turn that begins need not wait until all of it is done."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import exc

from rhea import Settings
from rhea.errors import InvalidText, StoreError
from rhea.stores.database import Database, translate
from rhea.testing import HashEmbedder, memory_database
from rhea.types import Message


class Held(HashEmbedder):
    """Waits in the first call, so that a turn surely begins while a batch is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.working, self.go = Event(), Event()

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.working.set()
        assert self.go.wait(20)
        return super().embed(texts)


def test_a_turn_comes_in_between_two_batches() -> None:
    embedder = Held()
    memory = memory_database(embedder=embedder, settings=Settings(background=False, detect=False))
    chat = memory.conversation("new", user="ada")
    store = memory.store
    other = store.ensure_user("bob")
    long = store.ensure_conversation(other, "long")
    store.append_turns(
        other, long, [[Message("user", f"Note {i}."), Message("assistant", "Yes.")] for i in range(3000)]
    )
    thread = Thread(target=memory.settle)
    thread.start()
    assert embedder.working.wait(20)
    embedder.go.set()
    turn = chat.begin("Hello?")
    left = store.pending_work(other)
    thread.join()
    assert turn.position == 1
    assert left.get("vectors", 0) > 0, "the turn waited until every piece was done"
    assert store.pending_work(other).get("vectors", 0) == 0


def test_a_broken_constraint_is_not_blamed_on_the_text() -> None:
    database = Database("sqlite://")
    broken = exc.IntegrityError("insert", {}, sqlite3.IntegrityError("NOT NULL constraint failed: turns.state"))
    assert type(translate(broken, database)) is StoreError
    nul = exc.DataError("insert", {}, ValueError("PostgreSQL text fields cannot contain NUL (0x00) bytes"))
    assert type(translate(nul, database)) is InvalidText


def test_background_from_other_conversations_says_so() -> None:
    memory = memory_database(settings=Settings(recall="user", background=False))
    memory.conversation("pets", user="ada").begin("My dog is called Biscuit.").commit("A fine name.")
    asked = memory.conversation("other", user="ada").begin("What is my dog called?").messages[-1]["content"]
    assert asked.startswith("Background from earlier conversations")
    assert "Biscuit" in asked
