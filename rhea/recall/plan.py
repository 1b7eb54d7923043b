"""Recall, end to end: from a question to the episodes that enter the context, and the trace of the rest.

Reads the conversation through `rhea.recall.cache`, scores with `score`, chooses with `decide`, and turns
choices into episodes whose rendered text is counted by the attached model's tokenizer. It knows nothing of
instructions or of the rest of the prompt: the budget given is what background and recent may take.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rhea.embed import Embedder
from rhea.observe import step
from rhea.recall.cache import IndexCache
from rhea.recall.calibration import Calibration, calibration_for
from rhea.recall.chunks import split_to_fit
from rhea.recall.dates import asks_for_time
from rhea.recall.decide import Candidate, Choice, Kept, decide
from rhea.recall.index import ConversationIndex
from rhea.recall.render import Part, PlannedEpisode, day_of, raw_part, render_background, render_part
from rhea.recall.score import MessageScores, Query, score_messages, wordings
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
_PASSED_OVER = "others were worth more, and the budget is full"
_COUNTS_KEPT = 65_536


@dataclass
class RecallPlan:
    """What enters the context, in time order, and why everything else does not."""

    episodes: list[PlannedEpisode]
    """Chosen episodes in time order; those marked ``recent`` are the last exchange."""
    days: bool
    """Whether the background names the days of its messages."""
    ranks: Mapping[int, float]
    """Worth by message id: what `shrink` drops first is the lowest."""
    omitted: list[EpisodeTrace]
    """The best scored omitted turns."""
    others: NDArray[np.uint8]
    """Score times 255 of every turn that was looked at, by position, from ``first_position`` on."""
    first_position: int

    @property
    def background(self) -> list[PlannedEpisode]:
        """Episodes of the background, in time order."""
        return [e for e in self.episodes if not e.recent]

    @property
    def recent(self) -> list[PlannedEpisode]:
        """The last exchange, as far as it has room."""
        return [e for e in self.episodes if e.recent]

    def background_text(self) -> str:
        """The background as it stands in the prompt, without a heading."""
        return render_background(self.background, days=self.days)

    def trace(self) -> list[EpisodeTrace]:
        """A row for each episode and each traced omitted turn, by position."""
        chosen = [
            EpisodeTrace(e.turn.position, e.decision, e.score, e.tokens, e.reason, e.channels, e.conversation)
            for e in self.episodes
        ]
        return sorted([*chosen, *self.omitted], key=lambda t: (t.conversation or "", t.position))

    def shrink(self) -> bool:
        """Drop the least valuable message; ``False`` when nothing is left to drop."""
        parts = [
            (self.ranks[p.message_id], p.message_id, place) for place, e in enumerate(self.episodes) for p in e.parts
        ]
        if not parts:
            return False
        _, worst, place = min(parts)
        episode = self.episodes[place]
        left = tuple(p for p in episode.parts if p.message_id != worst)
        if left:
            self.episodes[place] = replace(episode, parts=left, decision=Decision.COMPRESSED)
            return True
        del self.episodes[place]
        self.omitted.append(
            EpisodeTrace(
                episode.turn.position,
                Decision.OMITTED,
                episode.score,
                0,
                "did not fit the final count",
                episode.channels,
                episode.conversation,
            )
        )
        return True


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

    def ask(self, index: ConversationIndex, text: str) -> Query:
        """The question and its vectors: as asked, and without the names of the conversation's speakers."""
        asked, bare = wordings(text, index.speakers)
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
        _again: bool = False,
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
        """
        index = self.cache.get(owner, conversation_id, before=before_position)
        with step("embed"):
            asked = self.ask(index, query)
        with self.cache.lock:
            scores = score_messages(index, asked, self.calibration)
            rows = _shortlist(index, scores.score, budget, mode)
            turns = {t.id: t for t in self._store.turns_by_id(owner, np.unique(index.turn_ids[rows]).tolist())}
            if len(turns) < len(np.unique(index.turn_ids[rows])) and not _again:
                # Turns were erased since the index was made: make it anew.
                self.cache.drop(owner, conversation_id)
                return self.plan(
                    owner,
                    conversation_id,
                    query,
                    budget=budget,
                    count=count,
                    counter=counter,
                    mode=mode,
                    scope=scope,
                    before_position=before_position,
                    _again=True,
                )
            days = asks_for_time(query) or budget >= _DAYS_FROM
            measured = self._candidates(index, scores, rows, turns, count, counter)
            choices = decide(measured, budget, mode, day_cost=_DAY_COST if days else 0)
            return _assemble(index, scores, turns, choices, measured, days)

    def _candidates(
        self,
        index: ConversationIndex,
        scores: MessageScores,
        rows: Sequence[int],
        turns: dict[int, TurnRecord],
        count: Callable[[str], int],
        counter: str,
    ) -> list[Candidate]:
        first, last = int(index.positions[0]) if len(index) else 0, index.last_position
        wanted = set(rows)
        found: list[Candidate] = []
        for turn in sorted(turns.values(), key=lambda t: t.position):
            kept: Kept = "last" if turn.position == last else "first" if turn.position == first else ""
            digests = {m.id: _digest_part(turn, m) for m in turn.messages}
            brings = any(d is not None for d in digests.values())
            for place, message in enumerate(turn.messages):
                row = index.row(message.id)
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
                        order=turn.position * 1000 + place,
                        score=float(scores.score[row]),
                        raw=raw,
                        is_reply=message.role == "assistant",
                        digest=small if small is not None and small < raw else None,
                        day=day_of(raw_part(message)),
                        kept=kept,
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


def _shortlist(index: ConversationIndex, score: NDArray[np.float32], budget: int, mode: RecallMode) -> list[int]:
    """Rows that can matter: the best messages, well over what fits, and the first and the last exchange.

    Token counts are not known yet, so length in characters stands for them, on the low side.
    """
    n = len(index)
    if n == 0:
        return []
    most = min(n, max(_FEWEST, budget // _CHEAPEST))
    best = np.argpartition(-score, most - 1)[:most] if most < n else np.arange(n)
    best = best[np.lexsort((best, -score[best]))]
    cost = np.cumsum(_LABEL + index.lengths[best] // _CHARACTERS_A_TOKEN)
    best = best[: max(_FEWEST, int(np.searchsorted(cost, _SURPLUS * budget)) + 1)]
    positions = index.positions
    ends = np.flatnonzero((positions == positions[0]) | (positions == positions[-1]))
    if mode == "paper":
        # The paper decides on whole turns.
        ends = np.union1d(ends, np.flatnonzero(np.isin(positions, positions[best])))
    rows: list[int] = np.union1d(best, ends).tolist()
    return rows


def _assemble(
    index: ConversationIndex,
    scores: MessageScores,
    turns: dict[int, TurnRecord],
    choices: dict[int, Choice],
    measured: Sequence[Candidate],
    days: bool,
) -> RecallPlan:
    tokens = {c.key: c for c in measured}
    background: list[PlannedEpisode] = []
    recent: list[PlannedEpisode] = []
    for turn in sorted(turns.values(), key=lambda t: t.position):
        chosen = [(m, choices[m.id]) for m in turn.messages if m.id in choices]
        if not chosen:
            continue
        parts = tuple(raw_part(m) if c.verbatim else _digest_part(turn, m) or raw_part(m) for m, c in chosen)
        whole = len(parts) == len(turn.messages) and all(p.verbatim for p in parts)
        row = max((r for r in (index.row(m.id) for m, _ in chosen) if r is not None), key=lambda r: scores.score[r])
        cost = sum(tokens[m.id].raw if c.verbatim else tokens[m.id].digest or tokens[m.id].raw for m, c in chosen)
        episode = PlannedEpisode(
            turn=turn,
            decision=Decision.RAW if whole else Decision.COMPRESSED,
            score=float(scores.score[row]),
            channels={name: float(values[row]) for name, values in scores.channels.items()},
            reason=choices[int(index.message_ids[row])].reason,
            tokens=cost,
            parts=parts,
            recent=any(c.recent for _, c in chosen),
        )
        (recent if episode.recent else background).append(episode)
    episodes = sorted((*background, *recent), key=lambda e: e.turn.position)
    omitted, others, first = _left_out(index, scores, {e.turn.position for e in episodes})
    return RecallPlan(episodes, days, {k: c.rank for k, c in choices.items()}, omitted, others, first)


def _left_out(
    index: ConversationIndex, scores: MessageScores, chosen: set[int]
) -> tuple[list[EpisodeTrace], NDArray[np.uint8], int]:
    """The best omitted turns in full, and one byte for every turn."""
    n = len(index)
    if n == 0:
        return [], np.zeros(0, np.uint8), 1
    positions = index.positions
    first = int(positions[0])
    by_turn = np.zeros(index.last_position - first + 1, np.float32)
    np.maximum.at(by_turn, positions - first, scores.score)
    most = min(n, 4 * (_TRACED + len(chosen)))
    best = np.argpartition(-scores.score, most - 1)[:most] if most < n else np.arange(n)
    best = best[np.lexsort((best, -scores.score[best]))]
    # The best message of each turn stands for it.
    _, at = np.unique(positions[best], return_index=True)
    rows = best[np.sort(at)]
    rows = rows[~np.isin(positions[rows], sorted(chosen))][:_TRACED]
    names = list(scores.channels)
    columns = zip(*(scores.channels[name][rows].tolist() for name in names), strict=True)
    omitted = [
        EpisodeTrace(position, Decision.OMITTED, score, 0, _PASSED_OVER, dict(zip(names, said, strict=True)))
        for position, score, said in zip(positions[rows].tolist(), scores.score[rows].tolist(), columns, strict=True)
    ]
    return omitted, np.rint(by_turn * 255).astype(np.uint8), first
