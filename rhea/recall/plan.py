"""Recall, end to end: from a question to the episodes that enter the context, and the trace of the rest.

Reads the conversation through `rhea.recall.cache`, scores with `score`, chooses with `decide`, and turns
choices into episodes whose rendered text is counted by the attached model's tokenizer. It knows nothing of
instructions or of the rest of the prompt: the budget given is what background and recent may take.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rhea.embed import Embedder
from rhea.observe import step
from rhea.recall.cache import IndexCache
from rhea.recall.calibration import Calibration, calibration_for
from rhea.recall.chunks import split_to_fit
from rhea.recall.dates import asks_for_time
from rhea.recall.decide import PINNED, Candidate, Choice, Kept, decide
from rhea.recall.field import Field
from rhea.recall.index import ConversationIndex
from rhea.recall.planned import RecallPlan
from rhea.recall.reasons import why_chosen, why_omitted
from rhea.recall.render import Part, PlannedEpisode, day_of, raw_part, render_part
from rhea.recall.score import MessageScores, Query, score_messages, wordings
from rhea.recall.traces import NO_SCORES, TurnScores
from rhea.stores.base import Store
from rhea.types import Decision, EpisodeTrace, Message, OwnerId, RecallMode, RecallScope, TurnRecord

__all__ = ["Recall", "RecallPlan"]

_DAY_COST = 8
"""Tokens of a line such as "[8 May 2023]", at most."""
_DAYS_FROM = 1500
"""From this budget on days are always shown; below, only when the question asks for a time."""
_CHEAPEST = 8
"""A message hardly ever takes fewer tokens: bounds how many can fit."""
_CHARACTERS_A_TOKEN = 5
"""On the high side of what tokenizers give, so that too many messages are looked at rather than too few."""
_LABEL = 4
"""Tokens of a label and a line break."""
_SURPLUS = 1.25
"""How far over the budget the shortlist goes, for what does not fit and is passed over."""
_FEWEST = 16
_TRACED = 100
"""Omitted turns that are traced channel by channel; of the others the score is kept."""
_NEAR = 64
"""Nearest vectors of the user's other conversations that decide which of these are looked at."""
_OTHERS = 8
"""Most other conversations that one question looks at."""
_COUNTS_KEPT = 65_536
_PINNED_CHARACTERS = 300
"""A message that brought an instruction in force is kept whole up to this length; of a longer one the rule stands."""


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
        self._counts: OrderedDict[tuple[str, int, bool], int] = OrderedDict()

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
            measured = self._candidates(field, scores, rows, turns, count, counter, pinned or {})
            choices = decide(measured, budget, mode, day_cost=_DAY_COST if days else 0)
            return _assemble(field, scores, turns, choices, measured, days, self.calibration, mode)

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
        self,
        field: Field,
        scores: MessageScores,
        rows: Sequence[int],
        turns: dict[int, TurnRecord],
        count: Callable[[str], int],
        counter: str,
        pinned: Mapping[int, str],
    ) -> list[Candidate]:
        wanted = set(rows)
        found: list[Candidate] = []
        for order, turn in enumerate(_in_time(field, turns)):
            kept = _kept(field.current, turn)
            digests = {m.id: _digest_part(turn, m) for m in turn.messages}
            brings = any(d is not None for d in digests.values())
            for message in turn.messages:
                row = field.row(message.id)
                # A digest brings its user text, whatever that scores itself.
                if row is None or not (row in wanted or (brings and message.role == "user")):
                    continue
                digest = digests[message.id]
                raw = self._tokens(raw_part(message), count, counter)
                small = self._tokens(digest, count, counter) if digest is not None else None
                found.append(
                    Candidate(
                        key=message.id,
                        turn=turn.id,
                        order=order,
                        score=float(scores.score[row]),
                        raw=raw,
                        is_reply=message.role == "assistant",
                        digest=small if small is not None and small < raw else None,
                        day=day_of(raw_part(message)),
                        kept=kept,
                        pinned=turn.id in pinned and _stays_whole(message, pinned[turn.id]),
                    )
                )
        return found

    def _tokens(self, part: Part, count: Callable[[str], int], counter: str) -> int:
        """Tokens of one rendered part and its line break, remembered by message and form."""
        key = (counter, part.message_id, part.verbatim)
        known = self._counts.get(key) if counter and part.verbatim else None
        if known is None:
            known = count(render_part(part) + "\n")
            self._counts[key] = known
            if len(self._counts) > _COUNTS_KEPT:
                self._counts.popitem(last=False)
        return known


def _digest_part(turn: TurnRecord, message: Message) -> Part | None:
    """The reply's digest, standing for the first reply of its turn; ``None`` when there is none."""
    replies = [m for m in turn.messages if m.role == "assistant"]
    if turn.digest is None or len(replies) != 1 or message is not replies[0] or turn.digest == message.text:
        return None
    return Part(message.id, message.role, turn.digest, False, message.name, message.time)


def _in_time(field: Field, turns: Mapping[int, TurnRecord]) -> list[TurnRecord]:
    """Other conversations first, each in its order, then the current one: what is nearest comes last."""
    current = field.current.conversation_id
    return sorted(turns.values(), key=lambda t: (t.conversation_id == current, t.conversation_id, t.position))


def _kept(current: ConversationIndex, turn: TurnRecord) -> Kept:
    if turn.conversation_id != current.conversation_id:
        return ""
    if turn.position == current.last_position:
        return "last"
    return "first" if turn.position == int(current.positions[0]) else ""


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
    best = _best(score, max(_FEWEST, budget // _CHEAPEST))
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


def _best(score: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Rows of the best scores, best first, the earlier row first among equals."""
    n = len(score)
    best = np.argpartition(-score, most - 1)[:most] if most < n else np.arange(n)
    return np.asarray(best[np.lexsort((best, -score[best]))])


def _assemble(
    field: Field,
    scores: MessageScores,
    turns: Mapping[int, TurnRecord],
    choices: Mapping[int, Choice],
    measured: Sequence[Candidate],
    days: bool,
    calibration: Calibration,
    mode: RecallMode,
) -> RecallPlan:
    tokens = {c.key: c for c in measured}
    episodes: list[PlannedEpisode] = []
    for turn in _in_time(field, turns):
        chosen = [(m, choices[m.id]) for m in turn.messages if m.id in choices]
        if not chosen:
            continue
        parts = tuple(raw_part(m) if c.verbatim else _digest_part(turn, m) or raw_part(m) for m, c in chosen)
        whole = len(parts) == len(turn.messages) and all(p.verbatim for p in parts)
        row = max((r for r in (field.row(m.id) for m, _ in chosen) if r is not None), key=lambda r: scores.score[r])
        said = {name: float(values[row]) for name, values in scores.channels.items()}
        kept = next((c.reason for _, c in chosen if "exchange" in c.reason or c.reason == PINNED), None)
        reason = kept or why_chosen(said, calibration, choices[int(field.message_ids[row])].reason)
        cost = sum(tokens[m.id].raw if c.verbatim else tokens[m.id].digest or tokens[m.id].raw for m, c in chosen)
        episodes.append(
            PlannedEpisode(
                turn=turn,
                decision=Decision.RAW if whole else Decision.COMPRESSED,
                score=float(scores.score[row]),
                channels=said,
                reason=reason,
                tokens=cost,
                parts=parts,
                recent=any(c.recent for _, c in chosen),
                conversation=field.conversation(row),
            )
        )
    omitted, others = _left_out(field, scores, [e.turn.id for e in episodes], mode)
    return RecallPlan(episodes, days, {k: c.rank for k, c in choices.items()}, omitted, others)


def _left_out(
    field: Field, scores: MessageScores, chosen: Sequence[int], mode: RecallMode
) -> tuple[list[EpisodeTrace], TurnScores]:
    """The best omitted turns in full; position and score of the current conversation's others."""
    if not len(field):
        return [], NO_SCORES
    turn_ids, positions = field.turn_ids, field.positions
    best = _best(scores.score, 4 * (_TRACED + len(chosen)))
    # The best message of each turn stands for it.
    _, at = np.unique(turn_ids[best], return_index=True)
    rows = best[np.sort(at)]
    rows = rows[~np.isin(turn_ids[rows], chosen)][:_TRACED]
    names = list(scores.channels)
    columns = zip(*(scores.channels[name][rows].tolist() for name in names), strict=True)
    omitted = [
        EpisodeTrace(
            position,
            Decision.OMITTED,
            score,
            0,
            why_omitted(score, mode),
            dict(zip(names, said, strict=True)),
            field.conversation(row),
        )
        for row, position, score, said in zip(
            rows.tolist(), positions[rows].tolist(), scores.score[rows].tolist(), columns, strict=True
        )
    ]
    return omitted, _unlisted(field, scores, np.union1d(chosen, turn_ids[rows]))


def _unlisted(field: Field, scores: MessageScores, told: NDArray[np.int64]) -> TurnScores:
    """Position and score of the current conversation's turns that are not among those told."""
    own = field.current
    if not len(own):
        return NO_SCORES
    # Messages of a turn stand together, so a turn begins where the position changes.
    begins = np.flatnonzero(np.diff(own.positions, prepend=-1))
    largest = np.maximum.reduceat(scores.score[: len(own)], begins)
    rest = ~np.isin(own.turn_ids[begins], told)
    return own.positions[begins][rest], largest[rest]
