"""The index in memory: the same however it is filled, exact where it is exact, bounded where it is not."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from rhea.bench.recall_scale import StandInEmbedder, made_up_messages
from rhea.importing import group_turns
from rhea.recall.calibrate import LabelledConversation, calibrate, index_messages
from rhea.recall.calibration import calibration_for
from rhea.recall.field import Field
from rhea.recall.index import ConversationIndex
from rhea.recall.lexicon import Lexicon, window_sums
from rhea.recall.score import Query, fused_scores, raw_channels
from rhea.recall.traces import NO_SCORES, pack_scores, unpack_scores
from rhea.recall.work import vectors_of
from rhea.types import Message, TurnRecord, TurnState


def test_bm25_is_the_textbook_sum() -> None:
    documents = [["a", "b", "b"], ["b", "c"], ["c", "c", "c", "d"], []]
    lexicon = Lexicon()
    for document in documents:
        lexicon.add(document)
    mean = sum(map(len, documents)) / 4

    def expected(document: list[str], term: str) -> float:
        holding = sum(term in d for d in documents)
        count = Counter(document)[term]
        norm = 1.2 * (0.5 + 0.5 * len(document) / mean)
        return math.log(1 + (4 - holding + 0.5) / (holding + 0.5)) * count * 2.2 / (count + norm)

    scores = lexicon.scores({"b": 1.0, "c": 1.0, "z": 1.0})
    assert scores.tolist() == pytest.approx([expected(d, "b") + expected(d, "c") for d in documents], rel=1e-5)


def test_window_sums_are_cut_at_the_ends() -> None:
    assert window_sums(np.array([1, 2, 3, 4], np.float32), 1).tolist() == [3, 6, 9, 7]
    assert window_sums(np.array([5], np.float32), 2).tolist() == [5]


def turns_of(count: int) -> list[TurnRecord]:
    from datetime import UTC, datetime

    number = 0
    turns = []
    for position, said in enumerate(group_turns(made_up_messages(count)), 1):
        kept = []
        for m in said:
            number += 1
            kept.append(Message(m.role, m.text, m.name, m.time, None, number))
        turns.append(TurnRecord(position, 1, position, TurnState.COMMITTED, tuple(kept), datetime.now(UTC)))
    return turns


def test_filled_at_once_or_piece_by_piece_it_scores_the_same() -> None:
    embedder = StandInEmbedder(32)
    turns = turns_of(60)
    before: list[str | None] = [None, *(f"{t.messages[-1].name}: {t.messages[-1].text}" for t in turns[:-1])]
    vectors = vectors_of(turns, before, embedder)
    whole = ConversationIndex(1, 32)
    whole.add_turns(turns)
    for found in vectors:
        whole.add_vectors(found)
    grown = ConversationIndex(1, 32)
    query = Query(turns[7].user, embedder.embed([turns[7].user]), embedder.embed(["lake of tea"]))
    for at in range(0, len(turns), 7):
        grown.add_turns(turns[at : at + 7])
        for found in reversed(vectors[at : at + 7]):  # work is finished in any order
            grown.add_vectors(found)
        raw_channels(grown, query)
        assert grown.complete
    wanted, got = raw_channels(whole, query), raw_channels(grown, query)
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_vectors_that_are_missing_are_asked_for_and_scored_by_words_alone() -> None:
    embedder = StandInEmbedder(32)
    turns = turns_of(10)
    index = ConversationIndex(1, 32)
    index.add_turns(turns)
    assert index.vectors_wanted_after == 0
    vectors = vectors_of(turns, [None] * len(turns), embedder)
    index.add_vectors(vectors[0])
    index.add_vectors(vectors[2])
    assert not index.complete
    assert index.vectors_wanted_after == turns[0].messages[-1].id
    score, found = fused_scores(
        Field([index]),
        Query(turns[3].user, embedder.embed([turns[3].user]), embedder.embed(["x"])),
        calibration_for("x"),
    )
    assert np.isfinite(score).all()
    assert found["words"].argmax() == 6


def test_a_long_conversation_finds_what_a_full_look_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = StandInEmbedder(64)
    index = index_messages(list(made_up_messages(6000)), embedder)
    calibration = calibration_for("all-MiniLM-L6-v2")
    shares = []
    for message in list(made_up_messages(40, seed=3))[::4]:
        vector = embedder.embed([message.text])
        query = Query(message.text, vector, vector)
        quick, _ = fused_scores(Field([index]), query, calibration)
        with monkeypatch.context() as patch:
            patch.setattr("rhea.recall.score._LONG", 10**9)
            full, _ = fused_scores(Field([index]), query, calibration)
        best, wanted = set(np.argsort(-quick)[:50].tolist()), set(np.argsort(-full)[:50].tolist())
        shares.append(len(best & wanted) / 50)
    assert min(shares) >= 0.9


def test_calibration_tells_evidence_apart_and_holds_for_another_scale() -> None:
    class Louder(StandInEmbedder):
        """The same vectors pulled towards one direction: every cosine is high."""

        def embed(self, texts: list[str]) -> np.ndarray:  # type: ignore[override]
            pulled = super().embed(texts) + 2.0 / math.sqrt(self.dim)
            return pulled / np.linalg.norm(pulled, axis=1, keepdims=True)

    messages = list(made_up_messages(80))
    questions = [(messages[i].text.split(".")[0], [i]) for i in range(0, 80, 4)]
    found = LabelledConversation(messages, questions)
    rows = []
    for embedder in (StandInEmbedder(64), Louder(64)):
        made = calibrate([found], embedder)
        assert made.slope > 0
        index = index_messages(messages, embedder)
        scores = [
            made.probability(fused_scores(Field([index]), Query(q, *[embedder.embed([q])] * 2), made)[0])
            for q, _ in questions
        ]
        rows.append([float(s[e[0]]) for s, (_, e) in zip(scores, questions, strict=True)])
        assert np.median(rows[-1]) > 0.5
        assert np.median(np.concatenate(scores)) < 0.05
    assert abs(float(np.median(rows[0])) - float(np.median(rows[1]))) < 0.2


def test_packed_scores_come_back_in_few_bytes() -> None:
    positions = np.array([p for p in range(3, 10_000) if p % 1000])
    values = np.where(positions % 977 == 0, 0.48, 0.01).astype(np.float32)
    packed = pack_scores((positions, values))
    assert len(packed) < 200
    back = unpack_scores(packed)
    assert [p for p, _ in back] == positions.tolist()
    assert max(abs(a - b) for (_, a), b in zip(back, values.tolist(), strict=True)) <= 0.025
    assert [p for p, _ in unpack_scores(packed, listed={4, 9})][:4] == [3, 5, 6, 7]
    assert unpack_scores(pack_scores(NO_SCORES)) == []
    with pytest.raises(ValueError, match="not packed"):
        unpack_scores("1:!!!")
