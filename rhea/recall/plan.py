"""Recall, end to end: from a question to the episodes that enter the context, and the trace of the rest.

Reads the conversation through `rhea.recall.cache`, scores with `score`, chooses with `decide`, and turns
choices into episodes whose rendered text is counted by the attached model's tokenizer. It knows nothing of
instructions or of the rest of the prompt: the budget given is what background and recent may take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rhea.embed import Embedder
from rhea.observe import step
from rhea.recall.cache import IndexCache
from rhea.recall.calibration import Calibration, calibration_for
from rhea.recall.chunks import split_to_fit
from rhea.recall.dates import asks_for_time
from rhea.recall.decide import Candidate, Kept, decide
from rhea.recall.explained import best_rows, chosen_episodes, left_out
from rhea.recall.field import Field
from rhea.recall.forms import Form, FormCache
from rhea.recall.index import ConversationIndex
from rhea.recall.planned import RecallPlan
from rhea.recall.score import MessageScores, Query, score_messages, wordings
from rhea.stores.base import Store
from rhea.types import Message, OwnerId, RecallMode, RecallScope, TurnRecord

__all__ = ["Recall", "RecallPlan"]

_DAY_COST = 8
"""Tokens of a line such as "[8 May 2023]", at most."""
_DAYS_FROM = 1500
"""From this budget on days are always shown; below, only when the question asks for a time."""
_AS_MESSAGES = 12
"""What a chat template writes around a user's message and a reply, on the high side."""
_CHEAPEST = 8
"""A message hardly ever takes fewer tokens: bounds how many can fit."""
_CHARACTERS_A_TOKEN = 5
"""On the high side of what tokenizers give, so that too many messages are looked at rather than too few."""
_LABEL = 4
"""Tokens of a label and a line break."""
_SURPLUS = 1.25
"""How far over the budget the shortlist goes, for what does not fit and is passed over."""
_FEWEST = 16
_NEAR = 64
"""Nearest vectors of the user's other conversations that decide which of these are looked at."""
_OTHERS = 8
"""Most other conversations that one question looks at."""
_PINNED_CHARACTERS = 300
"""A message that brought an instruction in force is kept whole up to this length; of a longer one the rule stands."""


Told = list[tuple[TurnRecord, Sequence[Form]]]
"""Turns in time order, with the forms that their messages can take."""


class Recall:
    """Plans the episodic part of a context.

    Args:
        store: where turns and vectors are.
        embedder: for the question; must be the one that made the stored vectors.
        calibration: of the embedder; the shipped one by default.
        cache_bytes: memory cap of the indexes.
    """

    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        *,
        calibration: Calibration | None = None,
        cache_bytes: int = 512 * 2**20,
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._given_calibration = calibration
        self._cache_bytes = cache_bytes
        self._cache: IndexCache | None = None
        self._forms = FormCache()

    @property
    def cache(self) -> IndexCache:
        """The indexes in memory; made on first use, when the embedder's dimension is known."""
        if self._cache is None:
            self._cache = IndexCache(self._store, self._embedder.id, self._embedder.dim, most_bytes=self._cache_bytes)
        return self._cache

    @property
    def calibration(self) -> Calibration:
        """The calibration in use."""
        return self._given_calibration or calibration_for(self._embedder.id)

    def ask(self, text: str, speakers: Sequence[str]) -> Query:
        """The question and its vectors: as asked, and without the names of the speakers."""
        asked, bare = wordings(text, speakers)
        vectors = self._vectors(asked)
        return Query(text, vectors, vectors if bare == asked else self._vectors(bare))

    def _vectors(self, text: str) -> NDArray[np.float32]:
        if not text.strip():
            return np.zeros((0, self._embedder.dim), np.float32)
        return self._embedder.embed(split_to_fit(text, self._embedder.max_tokens, self._embedder.count))

    def plan(
        self,
        owner: OwnerId,
        conversation_id: int,
        query: str,
        *,
        budget: int,
        count: Callable[[str], int],
        counter: str = "",
        mode: RecallMode = "budget",
        scope: RecallScope = "conversation",
        before_position: int | None = None,
        pinned: Mapping[int, str] | None = None,
        memory: Callable[[Sequence[int]], Mapping[int, int]] | None = None,
    ) -> RecallPlan:
        """Choose what of the past enters the context of one question.

        Args:
            owner: the user.
            conversation_id: the conversation.
            query: the user's text of this turn.
            budget: most tokens that background and recent may take together, as rendered.
            count: tokens of a text, as the attached model counts.
            counter: name of the tokenizer, under which counts are remembered.
            mode: `budget` or `paper`.
            scope: this conversation, or all of the user's.
            before_position: position of this turn; only earlier ones are recalled.
            pinned: turns that brought an instruction in force, by id, and what of their text stands in the context
                anyway; the user's text of a short one is kept whole.
            memory: gives for ids of turns how many memory tokens their replies have; they stand for digests.
        """
        field = self._field(owner, conversation_id, query, scope, before_position)
        with step("embed"):
            asked = self.ask(query, field.speakers)
        with self.cache.lock:
            scores = score_messages(field, asked, self.calibration)
            rows = _shortlist(field, scores.score, budget, mode, list(pinned or ()))
            ids = np.unique(field.turn_ids[rows]).tolist()
            turns = {t.id: t for t in self._store.turns_by_id(owner, ids)}
            if len(turns) < len(ids):
                # Turns were erased since the indexes were made; the next question gets new ones.
                self.cache.drop(owner)
            days = asks_for_time(query) or budget >= _DAYS_FROM
            told: Told = [(turn, self._forms.of(turn, count, counter)) for turn in _in_time(field, turns)]
            if memory is not None:
                told = _with_memory(told, memory(ids))
            measured = _candidates(field, scores, rows, told, pinned or {})
            choices = decide(measured, budget, mode, day_cost=_DAY_COST if days else 0)
            episodes, best = chosen_episodes(field, scores, told, choices, self.calibration)
            omitted, others = left_out(field, scores, best, mode)
            return RecallPlan(episodes, days, {k: c.rank for k, c in choices.items()}, omitted, others)

    def _field(self, owner: OwnerId, conversation_id: int, query: str, scope: RecallScope, before: int | None) -> Field:
        """This conversation; with scope "user" also those of the user's others that have near messages."""
        current = self.cache.get(owner, conversation_id, before=before)
        if scope == "conversation":
            return Field([current])
        asked = self._vectors(query)
        hits = (
            self._store.nearest(owner, self._embedder.id, asked, limit=_NEAR, exclude_conversation=conversation_id)
            if len(asked)
            else []
        )
        near = sorted(dict.fromkeys(hit.conversation_id for hit in hits[:_NEAR]))[:_OTHERS]
        names = {c.id: c.name for c in self._store.list_conversations(owner)}
        others = [self.cache.get(owner, other) for other in near if other in names]
        return Field([current, *others], [None, *(names[o.conversation_id] for o in others)])


def _candidates(
    field: Field,
    scores: MessageScores,
    rows: Sequence[int],
    told: Sequence[tuple[TurnRecord, Sequence[Form]]],
    pinned: Mapping[int, str],
) -> list[Candidate]:
    """The shortlisted messages with their sizes, in time order."""
    wanted = set(rows)
    ends = _ends(field.current)
    row_of, score = field.row, scores.score
    found: list[Candidate] = []
    for order, (turn, forms) in enumerate(told):
        kept = ends.get(turn.id, "")
        brings = False
        for form in forms:
            brings = brings or form.digest is not None
        standing = pinned.get(turn.id)
        for form in forms:
            row = row_of(form.key)
            # A digest brings its user text, whatever that scores itself.
            if row is None or not (row in wanted or (brings and form.is_user)):
                continue
            whole = standing is not None and _stays_whole(form.message, standing)
            found.append(
                Candidate(
                    form.key,
                    turn.id,
                    order,
                    score.item(row),
                    form.raw_tokens,
                    form.is_reply,
                    form.digest_tokens,
                    form.day,
                    kept,
                    whole,
                )
            )
    return found


def _with_memory(told: Sequence[tuple[TurnRecord, Sequence[Form]]], sizes: Mapping[int, int]) -> Told:
    """Where a reply has memory tokens and they are shorter than itself, they are its compressed form."""

    def form(turn: TurnRecord, held: Form) -> Form:
        size = sizes.get(turn.id, 0)
        if held.message.role != "assistant" or not size or size + _AS_MESSAGES >= held.raw_tokens:
            return held
        text = held.digest or replace(held.raw, verbatim=False)
        return replace(held, digest=replace(text, memory=size), digest_tokens=size + _AS_MESSAGES)

    return [(turn, [form(turn, f) for f in forms] if len(turn.messages) == 2 else forms) for turn, forms in told]


def _in_time(field: Field, turns: Mapping[int, TurnRecord]) -> list[TurnRecord]:
    """Other conversations first, each in its order, then the current one: what is nearest comes last."""
    current = field.current.conversation_id
    return sorted(turns.values(), key=lambda t: (t.conversation_id == current, t.conversation_id, t.position))


def _ends(current: ConversationIndex) -> dict[int, Kept]:
    """The first and the last turn of the current conversation, by id."""
    if not len(current):
        return {}
    return {int(current.turn_ids[0]): "first", int(current.turn_ids[-1]): "last"}


def _stays_whole(message: Message, standing: str) -> bool:
    """A short message of the user's that holds more than the instructions taken from it."""
    text = message.text.strip()
    return message.role == "user" and len(text) <= _PINNED_CHARACTERS and text not in standing


def _shortlist(
    field: Field, score: NDArray[np.float32], budget: int, mode: RecallMode, pinned: Sequence[int]
) -> list[int]:
    """Rows that can matter: the best messages, well over what fits, the first and last exchange, the pinned turns.

    Token counts are not known yet, so length in characters stands for them, on the low side.
    """
    n = len(field)
    if n == 0:
        return []
    best = best_rows(score, max(_FEWEST, budget // _CHEAPEST))
    cost = np.cumsum(_LABEL + field.lengths[best] // _CHARACTERS_A_TOKEN)
    best = best[: max(_FEWEST, int(np.searchsorted(cost, _SURPLUS * budget)) + 1)]
    own = field.current.positions
    rows = np.union1d(best, np.flatnonzero((own == own[0]) | (own == own[-1])) if len(own) else best)
    if pinned:
        rows = np.union1d(rows, np.flatnonzero(np.isin(field.turn_ids, pinned)))
    if mode == "paper":
        # The paper decides on whole turns.
        rows = np.union1d(rows, np.flatnonzero(np.isin(field.turn_ids, field.turn_ids[best])))
    return [int(row) for row in rows]
