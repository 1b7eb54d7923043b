"""What every store must do, proven on each engine: one suite, no engine named in a test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from rhea.errors import (
    ConversationNotFound,
    EmbedderError,
    InstructionNotFound,
    InvalidText,
    TurnAlreadyCommitted,
    TurnNotFound,
    TurnNotPending,
    UserNotFound,
)
from rhea.stores import SqlStore, open_store
from rhea.stores.base import MessageVectors, WorkItem, WorkKind
from rhea.types import InstructionChange, InstructionStatus, Message, OwnerId, Scope, TurnState


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def ada(store: SqlStore) -> OwnerId:
    return store.ensure_user("ada")


@pytest.fixture
def trip(store: SqlStore, ada: OwnerId) -> int:
    return store.ensure_conversation(ada, "trip")


def say(store: SqlStore, owner: OwnerId, conversation: int, text: str, reply: str | None = None) -> int:
    turn = store.begin_turn(owner, conversation, Message("user", text), [])
    if reply is not None:
        store.commit_turn(owner, turn.id, reply)
    return turn.id


def unit(*numbers: float) -> np.ndarray:
    vector = np.array(numbers, dtype=np.float32)
    return vector / np.linalg.norm(vector)


def embed(
    store: SqlStore, owner: OwnerId, vectors: dict[int, np.ndarray], embedder: str = "e1", kind: WorkKind = "vectors"
) -> None:
    """Finish the owner's pending vectors: the given ones by turn, for the turn's first message."""
    for item in store.claim_work([kind], limit=10_000, owner=owner):
        turn = store.turns_by_id(owner, [item.turn_id])[0]
        block = np.atleast_2d(vectors[item.turn_id])
        entry = MessageVectors(turn.messages[0].id, turn.id, turn.position, ("message",) * len(block), block)
        store.finish_vectors([(item, [entry])], embedder)


# users and conversations


def test_a_user_and_a_conversation_are_made_once(store: SqlStore) -> None:
    ada = store.ensure_user("ada")
    assert store.ensure_user("ada") == store.find_user("ada") == ada
    assert store.ensure_conversation(ada, "trip") == store.find_conversation(ada, "trip")
    assert store.ensure_user("bob") != ada
    assert store.list_users() == ["ada", "bob"]
    with pytest.raises(UserNotFound):
        store.find_user("eve")


def test_two_users_may_name_a_conversation_alike(store: SqlStore, ada: OwnerId, trip: int) -> None:
    bob = store.ensure_user("bob")
    with pytest.raises(ConversationNotFound):
        store.find_conversation(bob, "trip")
    assert store.ensure_conversation(bob, "trip") != trip


def test_conversations_are_listed_last_used_first(store: SqlStore, ada: OwnerId, trip: int) -> None:
    store.ensure_conversation(ada, "work")
    say(store, ada, trip, "hello", "hi")
    found = store.list_conversations(ada)
    assert [(c.name, c.turns, c.user) for c in found] == [("trip", 1, "ada"), ("work", 0, "ada")]
    assert found[0].created_at.tzinfo is not None


# turns


def test_a_turn_from_begin_to_commit(store: SqlStore, ada: OwnerId, trip: int) -> None:
    before = datetime.now(UTC)
    turn = store.begin_turn(ada, trip, Message("user", "Grüße 👋🏽, world"), [])
    assert (turn.position, turn.state, turn.reply) == (1, TurnState.PENDING, None)
    assert before - timedelta(seconds=1) < turn.created_at < datetime.now(UTC) + timedelta(seconds=1)
    done = store.commit_turn(ada, turn.id, "hello", trace={"budget": 7, "notes": ["é"]})
    assert (done.user, done.reply, done.state) == ("Grüße 👋🏽, world", "hello", TurnState.COMMITTED)
    assert store.turn_at(ada, trip, 1) == done
    assert store.load_trace(ada, turn.id) == {"budget": 7, "notes": ["é"]}
    assert store.pending_work(ada) == {"digest": 1, "vectors": 1}


def test_commit_is_idempotent_and_never_changes_a_reply(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello", "hi")
    assert store.commit_turn(ada, turn, "hi").reply == "hi"
    with pytest.raises(TurnAlreadyCommitted):
        store.commit_turn(ada, turn, "another")
    assert [m.text for m in store.turn_at(ada, trip, 1).messages] == ["hello", "hi"]
    assert store.pending_work(ada) == {"digest": 1, "vectors": 1}


def test_an_interrupted_reply_is_kept_and_may_be_confirmed_as_whole(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello")
    assert store.commit_turn(ada, turn, "hal", interrupted=True).state is TurnState.INTERRUPTED
    assert store.commit_turn(ada, turn, "hal", interrupted=True).reply == "hal"
    with pytest.raises(TurnAlreadyCommitted):
        store.commit_turn(ada, turn, "hallo")
    assert store.commit_turn(ada, turn, "hal").state is TurnState.COMMITTED


def test_a_turn_without_a_reply_is_interrupted_and_still_takes_a_late_one(
    store: SqlStore, ada: OwnerId, trip: int
) -> None:
    turn = say(store, ada, trip, "hello")
    store.interrupt_turn(ada, turn)
    assert store.turn_at(ada, trip, 1).state is TurnState.INTERRUPTED
    assert store.pending_work(ada) == {"vectors": 1}
    assert store.commit_turn(ada, turn, "late").state is TurnState.COMMITTED


def test_an_abandoned_turn_keeps_its_position_and_takes_no_reply(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello")
    store.abandon_turn(ada, turn)
    store.abandon_turn(ada, turn)
    with pytest.raises(TurnNotPending):
        store.commit_turn(ada, turn, "hi")
    with pytest.raises(TurnNotPending):
        store.interrupt_turn(ada, turn)
    committed = say(store, ada, trip, "again", "hi")
    assert [t.position for t in store.turns(ada, trip)] == [1, 2]
    with pytest.raises(TurnAlreadyCommitted):
        store.abandon_turn(ada, committed)


def test_positions_have_no_gap_after_a_begin_that_failed(store: SqlStore, ada: OwnerId, trip: int) -> None:
    say(store, ada, trip, "one", "1")
    with pytest.raises(InstructionNotFound):
        store.begin_turn(ada, trip, Message("user", "two"), [InstructionChange("revoke", target_ids=(999,))])
    say(store, ada, trip, "three", "3")
    assert [(t.position, t.user) for t in store.turns(ada, trip)] == [(1, "one"), (2, "three")]
    assert store.list_conversations(ada)[0].turns == 2


@pytest.mark.parametrize("text", ["nul \0 inside", "lone \ud800 surrogate"])
def test_text_that_no_store_can_hold_is_refused_and_nothing_stored(
    store: SqlStore, ada: OwnerId, trip: int, text: str
) -> None:
    with pytest.raises(InvalidText):
        store.begin_turn(ada, trip, Message("user", text), [])
    turn = say(store, ada, trip, "fine")
    with pytest.raises(InvalidText):
        store.commit_turn(ada, turn, text)
    assert [t.user for t in store.turns(ada, trip)] == ["fine"]


def test_ranges_of_turns(store: SqlStore, ada: OwnerId, trip: int) -> None:
    ids = [say(store, ada, trip, f"t{n}", "r" if n % 2 else None) for n in range(1, 8)]

    def texts(found: list) -> list[str]:
        return [t.user for t in found]

    assert texts(store.turns(ada, trip, after=2, before=5)) == ["t3", "t4"]
    assert texts(store.turns(ada, trip, after=2, limit=2)) == ["t3", "t4"]
    assert texts(store.last_turns(ada, trip, 2)) == ["t6", "t7"]
    assert texts(store.last_turns(ada, trip, 2, before=4)) == ["t2", "t3"]
    assert texts(store.last_turns(ada, trip, 9, states=[TurnState.COMMITTED])) == ["t1", "t3", "t5", "t7"]
    assert texts(store.turns(ada, trip, states=[TurnState.PENDING])) == ["t2", "t4", "t6"]
    assert store.last_turns(ada, trip, 0) == []
    assert [t.id for t in store.turns_by_id(ada, [ids[4], ids[0], 10**6])] == [ids[0], ids[4]]
    assert store.turns_by_id(ada, []) == []
    with pytest.raises(TurnNotFound):
        store.turn_at(ada, trip, 8)


def test_imported_turns_are_stored_once(store: SqlStore, ada: OwnerId, trip: int) -> None:
    chat = [
        [Message("user", "a", "Ada", "2024-05-01", "D1:1"), Message("user", "b"), Message("assistant", "c")],
        [Message("assistant", "unasked")],
    ]
    first = store.append_turns(ada, trip, chat, source="file")
    assert [t.position for t in first] == [1, 2]
    assert first[0].messages[0].name == "Ada"
    assert first[0].messages[0].source_id == "D1:1"
    assert first[0].messages[0].time == "2024-05-01"
    assert store.append_turns(ada, trip, chat, source="file") == []
    more = store.append_turns(ada, trip, [*chat, [Message("user", "new")]], source="file")
    assert [(t.position, t.user) for t in more] == [(3, "new")]
    assert [t.position for t in store.append_turns(ada, trip, chat)] == [4, 5]
    assert store.pending_work(ada)["vectors"] == 5


def test_a_large_import_keeps_its_order(store: SqlStore, ada: OwnerId, trip: int) -> None:
    chat = ([Message("user", f"q{n}"), Message("assistant", f"a{n}")] for n in range(1203))
    assert len(store.append_turns(ada, trip, chat)) == 1203
    found = store.turns(ada, trip)
    assert [t.position for t in found] == list(range(1, 1204))
    assert [t.reply for t in found] == [f"a{n}" for n in range(1203)]


def test_traces_replace_each_other(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello")
    assert store.load_trace(ada, turn) is None
    store.save_trace(ada, turn, {"a": 1})
    store.save_trace(ada, turn, {"a": 2})
    assert store.load_trace(ada, turn) == {"a": 2}


# ownership of every row


def test_nothing_of_another_user_is_read_or_changed(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "my canary", "sweet canary")
    pending = say(store, ada, trip, "pending canary")
    store.save_trace(ada, turn, {"a": 1})
    rule = store.change_instructions(ada, trip, [InstructionChange("add", "rule canary", scope=Scope.USER)])[0]
    embed(store, ada, {turn: unit(1, 0)})
    bob = store.ensure_user("bob")
    assert store.turns(bob, trip) == store.last_turns(bob, trip, 5) == store.turns_by_id(bob, [turn]) == []
    assert store.load_trace(bob, turn) is None
    assert store.search_text(bob, "canary") == store.search_text(bob, "canary", conversation_id=trip) == []
    assert store.instructions(bob, trip) == [] == store.instruction_history(bob, trip)
    assert store.vectors(bob, trip, "e1") == [] == store.nearest(bob, "e1", unit(1, 0), limit=5)
    assert store.list_conversations(bob) == []
    assert store.claim_work(["digest", "vectors"], limit=9, owner=bob) == []
    assert store.memory(bob, [turn], "m") == {}
    for forbidden in (
        lambda: store.begin_turn(bob, trip, Message("user", "x"), []),
        lambda: store.append_turns(bob, trip, [[Message("user", "x")]]),
        lambda: store.change_instructions(bob, trip, [InstructionChange("add", "x")]),
    ):
        with pytest.raises(ConversationNotFound):
            forbidden()
    for forbidden in (
        lambda: store.turn_at(bob, trip, 1),
        lambda: store.commit_turn(bob, pending, "x"),
        lambda: store.abandon_turn(bob, pending),
        lambda: store.interrupt_turn(bob, pending),
        lambda: store.save_trace(bob, turn, {}),
    ):
        with pytest.raises(TurnNotFound):
            forbidden()
    here = store.ensure_conversation(bob, "trip")
    for action in ("revoke", "confirm", "supersede"):
        with pytest.raises(InstructionNotFound):
            store.change_instructions(bob, here, [InstructionChange(action, "x", target_ids=(rule.id,))])
    assert store.delete_rows(bob, trip) == {}
    assert len(store.turns(ada, trip)) == 2


# full-text search


def test_search_finds_words_and_their_beginnings_best_first(store: SqlStore, ada: OwnerId, trip: int) -> None:
    work = store.ensure_conversation(ada, "work")
    say(store, ada, trip, "My dog is called Biscuit", "Biscuit is a lovely name for a dog")
    say(store, ada, trip, "The cat has no name", "Poor cat")
    say(store, ada, work, "Ship the DOGS release", "Done")
    found = store.search_text(ada, "dog")
    assert {(t.position, name) for t, name, _ in found} == {(1, "trip"), (1, "work")}
    assert [score for _, _, score in found] == sorted((score for _, _, score in found), reverse=True)
    assert [name for _, name, _ in store.search_text(ada, "dog", conversation_id=work)] == ["work"]
    assert store.search_text(ada, "biscuit")[0][0].reply == "Biscuit is a lovely name for a dog"
    assert len(store.search_text(ada, "dog cat", limit=2)) == 2
    assert store.search_text(ada, "zebra") == []


@pytest.mark.parametrize(
    "query",
    ["", "  ", '"', "*", "AND OR NOT", "scope:u1", "text:(", "a-b", "don't", "'; DROP TABLE users; --", "NEAR(", "\\"],
)
def test_no_query_is_an_operator(store: SqlStore, ada: OwnerId, trip: int, query: str) -> None:
    say(store, ada, trip, "plain words", "nothing else")
    store.search_text(ada, query)
    assert store.list_users() == ["ada"]


def test_search_forgets_what_was_deleted(store: SqlStore, ada: OwnerId, trip: int) -> None:
    say(store, ada, trip, "secret pineapple", "ok")
    store.delete_rows(ada, trip)
    assert store.search_text(ada, "pineapple") == []


# instructions


def test_an_instructions_life(store: SqlStore, ada: OwnerId, trip: int) -> None:
    change = InstructionChange("add", "answer in German", start=0, end=16, topic="language", reason="pattern")
    turn = store.begin_turn(ada, trip, Message("user", "answer in German"), [change])
    rule = store.instructions(ada, trip)[0]
    assert (rule.text, rule.source_turn_id, rule.source_position, rule.start, rule.end) == (
        "answer in German",
        turn.id,
        1,
        0,
        16,
    )
    new = store.change_instructions(ada, trip, [InstructionChange("supersede", "in French", target_ids=(rule.id,))])[0]
    assert [i.text for i in store.instructions(ada, trip)] == ["in French"]
    old = store.instructions(ada, trip, active_only=False)[0]
    assert (old.status, old.replaced_by) == (InstructionStatus.SUPERSEDED, new.id)
    store.change_instructions(ada, trip, [InstructionChange("confirm", target_ids=(new.id,), reason="said again")])
    store.change_instructions(ada, trip, [InstructionChange("revoke", target_ids=(new.id,), reason="by hand")])
    assert store.instructions(ada, trip) == []
    history = [(e.instruction_id, e.action, e.position) for e in store.instruction_history(ada, trip)]
    assert history == [
        (rule.id, "add", 1),
        (new.id, "add", None),
        (rule.id, "supersede", None),
        (new.id, "confirm", None),
        (new.id, "revoke", None),
    ]
    assert [e.reason for e in store.instruction_history(ada, trip, new.id)][-1] == "by hand"
    with pytest.raises(InstructionNotFound):
        store.instruction_history(ada, trip, 999)
    with pytest.raises(InstructionNotFound):
        store.change_instructions(ada, trip, [InstructionChange("revoke", target_ids=(new.id,))])


def test_scope_user_reaches_every_conversation_and_scope_conversation_only_its_own(
    store: SqlStore, ada: OwnerId, trip: int
) -> None:
    work = store.ensure_conversation(ada, "work")
    store.change_instructions(
        ada, trip, [InstructionChange("add", "everywhere", scope=Scope.USER), InstructionChange("add", "here")]
    )
    assert [i.text for i in store.instructions(ada, trip)] == ["everywhere", "here"]
    assert [i.text for i in store.instructions(ada, work)] == ["everywhere"]
    store.delete_rows(ada, trip)
    assert [i.text for i in store.instructions(ada, work)] == ["everywhere"]


def test_abandoning_undoes_what_the_turn_changed(store: SqlStore, ada: OwnerId, trip: int) -> None:
    kept, ended = store.change_instructions(ada, trip, [InstructionChange("add", "A"), InstructionChange("add", "B")])
    turn = store.begin_turn(
        ada,
        trip,
        Message("user", "x"),
        [
            InstructionChange("supersede", "A2", target_ids=(kept.id,)),
            InstructionChange("revoke", target_ids=(ended.id,)),
        ],
    )
    assert [i.text for i in store.instructions(ada, trip)] == ["A2"]
    store.abandon_turn(ada, turn.id)
    assert [(i.text, i.replaced_by) for i in store.instructions(ada, trip)] == [("A", None), ("B", None)]
    assert [e.action for e in store.instruction_history(ada, trip)][-3:] == ["undo"] * 3


def test_undoing_leaves_a_later_replacement_in_force(store: SqlStore, ada: OwnerId, trip: int) -> None:
    first = store.change_instructions(ada, trip, [InstructionChange("add", "one")])[0]
    turn = store.begin_turn(
        ada, trip, Message("user", "x"), [InstructionChange("supersede", "two", target_ids=(first.id,))]
    )
    second = store.instructions(ada, trip)[0]
    third = store.change_instructions(ada, trip, [InstructionChange("supersede", "three", target_ids=(second.id,))])[0]
    store.abandon_turn(ada, turn.id)
    assert [i.text for i in store.instructions(ada, trip)] == ["three"]
    assert store.instructions(ada, trip, active_only=False)[0].replaced_by == third.id


# pending work


def test_work_is_claimed_by_one_and_finished_once(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello", "hi")
    (item,) = store.claim_work(["digest"], limit=5)
    assert item == WorkItem(item.id, "digest", ada, trip, turn)
    assert store.claim_work(["digest"], limit=5) == []
    store.finish_digests([(item, "short", "text-1")])
    store.finish_digests([(item, "second finisher", "text-2")])
    assert store.turn_at(ada, trip, 1).digest == "short"
    assert store.pending_work() == {"vectors": 1}


def test_a_few_pieces_are_done_unclaimed_and_the_second_to_finish_stores_nothing(
    store: SqlStore, ada: OwnerId, trip: int
) -> None:
    assert store.due_work(["digest", "vectors"], limit=4) == []
    turn = say(store, ada, trip, "hello", "a reply")
    found = [store.due_work(["digest", "vectors"], limit=4, owner=ada, conversation_id=trip) for _ in range(2)]
    assert found[0] == found[1], "looking claims nothing"
    assert found[0] is not None
    digest, vectors = found[0]
    assert (digest.kind, vectors.kind) == ("digest", "vectors")
    (record,) = store.turns_by_id(ada, [turn])
    for said, row in (("first", unit(1, 0)), ("second", unit(0, 1))):
        entries = [MessageVectors(m.id, turn, 1, ("message",), row[None]) for m in record.messages]
        store.finish_work([(digest, said, "t")], [(vectors, entries)], "e1")
    assert store.turn_at(ada, trip, 1).digest == "first"
    assert [e.vectors.tolist() for e in store.vectors(ada, trip, "e1")] == [[[1.0, 0.0]]] * 2
    assert store.pending_work() == {}


def test_what_is_much_or_in_other_hands_is_to_be_claimed(store: SqlStore, ada: OwnerId, trip: int) -> None:
    bob = store.ensure_user("bob")
    for n in range(3):
        say(store, ada, trip, f"t{n}", "r")
    assert store.due_work(["digest"], limit=2) is None
    assert len(store.due_work(["digest"], limit=3) or ()) == 3
    assert store.due_work(["digest"], limit=3, owner=bob) == []
    store.claim_work(["digest"], limit=1)
    assert store.due_work(["digest"], limit=3) is None


def test_finished_work_is_stored_whole_or_not_at_all(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello", "a reply")
    digest, vectors = store.due_work(["digest", "vectors"], limit=4) or ()
    (record,) = store.turns_by_id(ada, [turn])
    bad = np.array([[np.nan, 1.0]], dtype=np.float32)
    with pytest.raises(EmbedderError):
        store.finish_work(
            [(digest, "d", "t")], [(vectors, [MessageVectors(record.messages[0].id, turn, 1, ("message",), bad)])], "e1"
        )
    assert store.pending_work() == {"digest": 1, "vectors": 1}
    assert store.turn_at(ada, trip, 1).digest is None


def test_a_turn_read_before_is_given_as_it_stands_now(
    store: SqlStore, ada: OwnerId, trip: int, database_url: str
) -> None:
    turn = say(store, ada, trip, "hello", None)
    elsewhere = open_store(database_url)  # another process, for all this one knows
    (first,) = store.turns_by_id(ada, [turn])
    assert store.turns_by_id(ada, [turn])[0] is first, "what did not change is not built again"
    elsewhere.commit_turn(ada, turn, "a reply")
    assert store.turns_by_id(ada, [turn])[0].reply == "a reply"
    (item,) = elsewhere.claim_work(["digest"], limit=1)
    elsewhere.finish_digests([(item, "short", "t")])
    assert store.turns_by_id(ada, [turn])[0].digest == "short"
    elsewhere.append_messages(ada, trip, [Message("assistant", "and more")])
    assert [m.text for m in store.turns_by_id(ada, [turn])[0].messages] == ["hello", "a reply", "and more"]
    assert store.turns_by_id(store.ensure_user("eve"), [turn]) == []
    elsewhere.delete_rows(ada, trip)
    assert store.turns_by_id(ada, [turn]) == []
    elsewhere.close()


def test_a_digest_that_is_the_reply_itself_is_not_stored_twice(store: SqlStore, ada: OwnerId, trip: int) -> None:
    say(store, ada, trip, "hello", "a short reply")
    assert store.turn_at(ada, trip, 1).digest is None
    store.finish_digests([(item, "a short reply", "t") for item in store.claim_work(["digest"], limit=1)])
    assert store.turn_at(ada, trip, 1).digest == "a short reply"
    with store.database.read() as connection:
        assert connection.exec_driver_sql("SELECT digest, digest_id FROM turns").one() == (None, "t")


def test_released_and_overdue_work_is_claimed_again(store: SqlStore, ada: OwnerId, trip: int) -> None:
    say(store, ada, trip, "hello", "hi")
    items = store.claim_work(["digest"], limit=5)
    store.release_work(items)
    assert [i.id for i in store.claim_work(["digest"], limit=5, lease_seconds=-1)] == [items[0].id]
    assert [i.id for i in store.claim_work(["digest"], limit=5)] == [items[0].id]


def test_work_is_claimed_oldest_first_within_its_filters(store: SqlStore, ada: OwnerId, trip: int) -> None:
    bob = store.ensure_user("bob")
    other = store.ensure_conversation(bob, "b")
    turns = [say(store, ada, trip, f"t{n}", "r") for n in range(3)]
    say(store, bob, other, "mine", "r")
    assert [i.turn_id for i in store.claim_work(["vectors"], limit=2, owner=ada)] == turns[:2]
    assert {i.owner for i in store.claim_work(["vectors"], limit=9, conversation_id=other)} == {bob}
    assert store.pending_work(bob) == {"digest": 1, "vectors": 1}
    assert store.pending_work() == {"digest": 4, "vectors": 4}


def test_a_commit_of_an_interrupted_turn_notes_its_work_once(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello")
    store.interrupt_turn(ada, turn)
    store.commit_turn(ada, turn, "hi")
    assert store.pending_work() == {"digest": 1, "vectors": 1}


# vectors


def test_vectors_come_back_in_half_precision_in_order_of_message(store: SqlStore, ada: OwnerId, trip: int) -> None:
    rng = np.random.default_rng(1)
    turn = say(store, ada, trip, "hello", "hi")
    record = store.turns_by_id(ada, [turn])[0]
    (item,) = store.claim_work(["vectors"], limit=5)
    entries = [
        MessageVectors(m.id, turn, 1, ("sentence", "sentence", "message"), rng.normal(size=(3, 8)).astype(np.float32))
        for m in record.messages
    ]
    store.finish_vectors([(item, entries)], "e1")
    found = store.vectors(ada, trip, "e1")
    assert [(e.message_id, e.turn_id, e.position, e.channels) for e in found] == [
        (e.message_id, e.turn_id, e.position, e.channels) for e in entries
    ]
    for got, put in zip(found, entries, strict=True):
        assert got.vectors.dtype == np.float32
        np.testing.assert_array_equal(got.vectors, put.vectors.astype(np.float16).astype(np.float32))
    assert [e.message_id for e in store.vectors(ada, trip, "e1", after_message_id=entries[0].message_id)] == [
        entries[1].message_id
    ]
    assert store.vectors(ada, trip, "another") == []
    assert store.pending_work() == {"digest": 1}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_not_finite_are_refused_and_the_work_stays(
    store: SqlStore, ada: OwnerId, trip: int, bad: float
) -> None:
    turn = say(store, ada, trip, "hello", "hi")
    with pytest.raises(EmbedderError):
        embed(store, ada, {turn: np.array([1.0, bad], dtype=np.float32)})
    assert store.pending_work()["vectors"] == 1
    with pytest.raises(EmbedderError):
        store.nearest(ada, "e1", np.array([1.0, bad], dtype=np.float32), limit=1)


def test_an_embedder_keeps_its_size(store: SqlStore, ada: OwnerId, trip: int) -> None:
    first, second = say(store, ada, trip, "a", "b"), say(store, ada, trip, "c", "d")
    embed(store, ada, {first: unit(1, 0), second: unit(0, 1)})
    third = say(store, ada, trip, "e", "f")
    with pytest.raises(EmbedderError):
        embed(store, ada, {third: unit(1, 0, 0)})
    with pytest.raises(EmbedderError):
        store.nearest(ada, "e1", unit(1, 0, 0), limit=1)


def test_nearest_ranks_over_all_of_an_owners_conversations(store: SqlStore, ada: OwnerId, trip: int) -> None:
    work = store.ensure_conversation(ada, "work")
    turns = [say(store, ada, trip, "a", "r"), say(store, ada, work, "b", "r"), say(store, ada, work, "c", "r")]
    embed(store, ada, {turns[0]: unit(1, 0), turns[1]: unit(1, 0.5), turns[2]: unit(0, 1)})
    hits = store.nearest(ada, "e1", unit(1, 0.1), limit=2)
    assert [h.turn_id for h in hits] == turns[:2]
    assert hits[0].score == pytest.approx(float(unit(1, 0.1) @ unit(1, 0)), abs=1e-3)
    assert (hits[0].conversation_id, hits[0].channel) == (trip, "message")
    assert [h.turn_id for h in store.nearest(ada, "e1", unit(1, 0), limit=9, exclude_conversation=trip)] == turns[1:]
    both = store.nearest(ada, "e1", np.stack([unit(1, 0), unit(0, 1)]), limit=3)
    assert {h.turn_id for h in both[:2]} == {turns[0], turns[2]}
    assert store.nearest(ada, "unknown", unit(1, 0), limit=2) == []
    later = say(store, ada, trip, "d", "r")
    embed(store, ada, {later: unit(1, 0.1)})
    assert store.nearest(ada, "e1", unit(1, 0.1), limit=1)[0].turn_id == later
    store.delete_rows(ada, trip)
    assert [h.turn_id for h in store.nearest(ada, "e1", unit(1, 0), limit=9)] == turns[1:]


def test_a_change_of_embedder_keeps_the_old_vectors_until_the_new_are_there(
    store: SqlStore, ada: OwnerId, trip: int
) -> None:
    turns = [say(store, ada, trip, f"t{n}", "r") for n in range(3)]
    embed(store, ada, {t: unit(1, n) for n, t in enumerate(turns)}, "old")
    assert store.request_vectors("new") == 3
    assert store.request_vectors("new") == 3
    assert store.pending_work()["reembed"] == 3
    assert not store.described(ada, trip, "new", "old")
    assert len(store.vectors(ada, trip, "old")) == 3
    assert [h.turn_id for h in store.nearest(ada, "old", unit(1, 0), limit=1)] == turns[:1]
    embed(store, ada, {t: unit(n, 1, 1) for n, t in enumerate(turns)}, "new", kind="reembed")
    assert store.described(ada, trip, "new", "old")
    assert store.vector_coverage(ada) == {"old": 3, "new": 3}
    assert store.drop_vectors("old") == 3
    assert store.drop_vectors("old") == 0
    assert store.vector_coverage() == {"new": 3}
    assert store.nearest(ada, "old", unit(1, 0), limit=1) == []


# memory tokens


def test_memory_tokens_come_back_in_half_precision(store: SqlStore, ada: OwnerId, trip: int) -> None:
    turn = say(store, ada, trip, "hello", "hi")
    say(store, ada, trip, "no reply yet")
    assert store.request_memory("m1") == 1
    (item,) = store.claim_work(["memory"], limit=5)
    tokens = np.random.default_rng(2).normal(size=(8, 16)).astype(np.float32)
    store.finish_memory([(item, tokens)], "m1")
    np.testing.assert_array_equal(store.memory(ada, [turn], "m1")[turn], tokens.astype(np.float16))
    assert store.memory(ada, [turn], "m2") == {}
    assert store.request_memory("m1") == 0


# deletion


def test_deleting_a_user_takes_everything_and_nothing_else(store: SqlStore, ada: OwnerId, trip: int) -> None:
    bob = store.ensure_user("bob")
    theirs = store.ensure_conversation(bob, "trip")
    mine, other = say(store, ada, trip, "a", "b"), say(store, bob, theirs, "c", "d")
    store.change_instructions(ada, trip, [InstructionChange("add", "rule")])
    embed(store, ada, {mine: unit(1, 0)})
    embed(store, bob, {other: unit(1, 0)})
    gone = store.delete_rows(ada)
    assert gone == {
        "users": 1,
        "conversations": 1,
        "turns": 1,
        "messages": 2,
        "instructions": 1,
        "instruction_events": 1,
        "vectors": 1,
        "work": 1,
    }
    assert store.list_users() == ["bob"]
    assert [t.user for t in store.turns(bob, theirs)] == ["c"]
    assert [h.turn_id for h in store.nearest(bob, "e1", unit(1, 0), limit=3)] == [other]
    assert list(store.texts(ada)) == []


def test_work_finished_after_its_conversation_was_erased_stores_nothing(
    store: SqlStore, ada: OwnerId, trip: int
) -> None:
    turn = say(store, ada, trip, "a", "b")
    record = store.turns_by_id(ada, [turn])[0]
    digest, vectors = store.claim_work(["digest", "vectors"], limit=5)
    store.delete_rows(ada, trip)
    store.finish_digests([(digest, "d", "x")])
    entry = MessageVectors(record.messages[0].id, turn, 1, ("message",), np.ones((1, 2), dtype=np.float32))
    store.finish_vectors([(vectors, [entry])], "e1")
    assert store.vector_coverage() == {}
    assert store.pending_work() == {}


# size on disk


EXCHANGES = 200


@pytest.mark.parametrize("length", [80, 400])
def test_an_exchange_costs_at_most_twice_its_text_and_its_vectors(tmp_path: Path, length: int) -> None:
    """As the embedder gives them, in single precision: what the store saves there pays for its indexes."""
    store = open_store(tmp_path / "chats.db")
    ada = store.ensure_user("ada")
    trip = store.ensure_conversation(ada, "trip")
    rng = np.random.default_rng(5)
    words = ["".join(rng.choice(list("abcdefghijklmnop"), size=rng.integers(2, 9))) for _ in range(3000)]
    empty = store.database.path.stat().st_size
    text = vectors = 0
    for _ in range(EXCHANGES):
        said, answered = (" ".join(rng.choice(words, size=size // 6)) for size in (length, 4 * length))
        turn = store.begin_turn(ada, trip, Message("user", said), [])
        trace = {"budget": 4096, "episodes": [{"position": n, "score": 0.5} for n in range(8)]}
        record = store.commit_turn(ada, turn.id, answered, trace=trace)
        text += len(said) + len(answered)
        digests = [(item, answered[: length // 2], "t") for item in store.claim_work(["digest"], limit=9)]
        store.finish_digests(digests)
        for item in store.claim_work(["vectors"], limit=9):
            entries = []
            for message in record.messages:
                block = rng.normal(size=(2, 384)).astype(np.float32)
                vectors += block.nbytes
                entries.append(MessageVectors(message.id, turn.id, turn.position, ("message", "pair"), block))
            store.finish_vectors([(item, entries)], "e1")
    store.compact()
    size = store.database.path.stat().st_size - empty
    store.close()
    print(
        f"{size / EXCHANGES:.0f} bytes an exchange of {text / EXCHANGES:.0f} of text,"
        f" {vectors / EXCHANGES:.0f} of vectors"
    )
    assert size <= 2 * text + vectors
