"""In which form each past message enters the context: the paper's rules, then the budget.

`paper` decides turn by turn with two thresholds: omitted below the first, user text raw and reply
compressed between them, both raw above the second; first and last exchange kept (paper: Heuristic
Context Retrieval). `budget` keeps the same three forms, but message by message and by value: the best
scored messages come first, a reply that has a shorter digest enters as the digest with its user text, and
what is left over turns digests into raw replies. Both are pure functions of their candidates: the same
input gives the same choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from rhea.types import RecallMode

__all__ = ["PINNED", "T_COMPRESSED", "T_RAW", "Candidate", "Choice", "decide"]

T_COMPRESSED = 0.5
T_RAW = 0.7
"""The paper's thresholds, on the calibrated score."""

_LAST_SHARE = 0.10
"""Share of a small budget that the last exchange may take; grows to `_LAST_SHARE_MOST`."""
_LAST_SHARE_MOST = 0.40
_LAST_SHARE_GROWTH = 8192
_FIRST_SHARE = 0.05
_FIRST_USER_SHARE = 0.15
"""Share for the user's own text of the first exchange: it often says what the whole conversation is about."""

Kept = Literal["", "first", "last"]
_PINNED_SHARE = 0.33
"""Share for messages that brought instructions in force, newest first; their rules stand beside the question anyway."""
_PINNED_RANK = 2.5
_KEPT_RANK: dict[Kept, float] = {"last": 2.0, "first": 1.5}
"""What is kept whatever its score is also the last to go when the final count is over the budget."""
PINNED = "brought an instruction in force"
"""The reason given for a message that is kept for its instruction."""


@dataclass(slots=True)
class Candidate:
    """One past message that might enter the context. Not frozen, because hundreds are made for one question."""

    key: int
    """Message id."""
    turn: int
    """Turn id; candidates of one turn stand together in the order given."""
    order: int
    """Place in time, larger is later."""
    score: float
    raw: int
    """Tokens verbatim, label and line break included."""
    is_reply: bool
    digest: int | None = None
    """Tokens as a digest, when there is one that is shorter."""
    day: int = 0
    kept: Kept = ""
    pinned: bool = False
    """The user's short message that brought an instruction in force: it stands whole where it fits its share."""


@dataclass(slots=True)
class Choice:
    """The form of one message that enters the context."""

    key: int
    verbatim: bool
    reason: str
    """What decided, where it was not the score alone: an exchange that is kept, a form; else ""."""
    recent: bool
    rank: float
    """Worth: the lowest is dropped first when the final count is over the budget."""


@dataclass(slots=True)
class _Basket:
    """What was taken so far, under the budget."""

    budget: int
    day_cost: int
    used: int = 0
    chosen: dict[int, Choice] = field(default_factory=dict)
    days: set[int] = field(default_factory=set)

    def cost(self, items: Sequence[tuple[Candidate, bool]]) -> int:
        """Tokens that these would add, days not yet shown included."""
        if len(items) == 1:
            ((candidate, verbatim),) = items
            if candidate.key in self.chosen:
                return 0
            shown = not self.day_cost or not candidate.day or candidate.kept == "last" or candidate.day in self.days
            form = candidate.raw if verbatim or candidate.digest is None else candidate.digest
            return form if shown else form + self.day_cost
        days: set[int] = set()
        total = 0
        for candidate, verbatim in items:
            if candidate.key in self.chosen:
                continue
            total += candidate.raw if verbatim or candidate.digest is None else candidate.digest
            if self.day_cost and candidate.day and candidate.kept != "last" and candidate.day not in self.days:
                days.add(candidate.day)
        return total + self.day_cost * len(days)

    def take(self, items: Sequence[tuple[Candidate, bool]], reason: str, *, limit: int | None = None) -> bool:
        """Take all of these, or none when they do not fit the budget (or the ``limit``)."""
        cost = self.cost(items)
        if self.used + cost > self.budget or (limit is not None and cost > limit):
            return False
        for candidate, verbatim in items:
            if candidate.key in self.chosen:
                continue
            recent = candidate.kept == "last"
            rank = _PINNED_RANK if candidate.pinned else _KEPT_RANK.get(candidate.kept, candidate.score)
            self.chosen[candidate.key] = Choice(
                candidate.key, verbatim or candidate.digest is None, reason, recent, rank
            )
            if self.day_cost and candidate.day and not recent:
                self.days.add(candidate.day)
        self.used += cost
        return True

    def expand(self, candidate: Candidate, reason: str) -> bool:
        """Turn a digest that was taken into the raw reply, if that fits."""
        held = self.chosen[candidate.key]
        more = candidate.raw - (candidate.digest or candidate.raw)
        if held.verbatim or self.used + more > self.budget:
            return False
        self.chosen[candidate.key] = Choice(candidate.key, True, reason, held.recent, held.rank)
        self.used += more
        return True


def decide(candidates: Sequence[Candidate], budget: int, mode: RecallMode, *, day_cost: int = 0) -> dict[int, Choice]:
    """Choose forms under a hard budget.

    Args:
        candidates: past messages, those of the first and last exchange marked ``kept``.
        budget: most tokens that all chosen forms take together.
        mode: `paper` or `budget`.
        day_cost: tokens of the line that names a day, 0 when days are not shown.

    Returns:
        Choices by message id; what is not in it is omitted.
    """
    basket = _Basket(max(budget, 0), day_cost)
    _pin(candidates, basket)
    if mode == "paper":
        _by_thresholds(candidates, basket)
    else:
        _by_value(candidates, basket)
    return basket.chosen


def _pin(candidates: Sequence[Candidate], basket: _Basket) -> None:
    """Messages that brought instructions in force, newest first, inside their share."""
    share = int(basket.budget * _PINNED_SHARE)
    for candidate in sorted((c for c in candidates if c.pinned), key=lambda c: -c.order):
        before = basket.used
        if basket.take([(candidate, True)], PINNED, limit=share):
            share -= basket.used - before


def _by_thresholds(candidates: Sequence[Candidate], basket: _Basket) -> None:
    turns: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        turns.setdefault(candidate.turn, []).append(candidate)
    scores = {turn: max(c.score for c in members) for turn, members in turns.items()}
    # The kept exchanges first (last before first), then the best turns: the order in which room is given.
    rank = {"last": 0, "first": 1, "": 2}
    for turn, members in sorted(turns.items(), key=lambda t: (rank[t[1][0].kept], -scores[t[0]], -t[1][0].order)):
        kept = members[0].kept
        if not kept and scores[turn] < T_COMPRESSED:
            continue
        raw = [(c, True) for c in members]
        small = [(c, not c.is_reply) for c in members]
        if (kept or scores[turn] > T_RAW) and basket.take(raw, f"the {kept} exchange" if kept else ""):
            continue
        basket.take(small, f"the {kept} exchange, reply compressed" if kept else "reply compressed")


def _by_value(candidates: Sequence[Candidate], basket: _Basket) -> None:
    _keep_ends(candidates, basket)
    ranked = sorted((c for c in candidates), key=lambda c: (-c.score, -c.order))
    users: dict[int, list[Candidate]] = {}
    for candidate in candidates:
        if not candidate.is_reply:
            users.setdefault(candidate.turn, []).append(candidate)
    strong = [c for c in ranked if c.score >= T_COMPRESSED]
    weak = [c for c in ranked if c.score < T_COMPRESSED]
    for group in (strong, weak):
        for candidate in group:
            _take_small(candidate, users, basket)
        for candidate in group:
            if candidate.key in basket.chosen:
                basket.expand(candidate, "room for the whole reply")


def _take_small(candidate: Candidate, users: dict[int, list[Candidate]], basket: _Basket) -> None:
    """Take one message in its smallest form; a digest brings its user text."""
    if candidate.key in basket.chosen:
        return
    if candidate.digest is None:
        basket.take([(candidate, True)], "")
        return
    companions = [(c, True) for c in users.get(candidate.turn, [])]
    basket.take([*companions, (candidate, False)], "reply compressed")


def _keep_ends(candidates: Sequence[Candidate], basket: _Basket) -> None:
    """The last and the first exchange, each inside its share; newest messages of the last one first."""
    growing = basket.budget / _LAST_SHARE_GROWTH
    last = int(basket.budget * min(_LAST_SHARE_MOST, max(_LAST_SHARE, growing)))
    opening = [(c, True) for c in candidates if c.kept == "first" and not c.is_reply]
    basket.take(opening, "the first exchange, user text", limit=int(basket.budget * _FIRST_USER_SHARE))
    for kept, share in (("last", last), ("first", int(basket.budget * _FIRST_SHARE))):
        members = [c for c in candidates if c.kept == kept]
        why = f"the {kept} exchange"
        if not members or basket.take([(c, True) for c in members], why, limit=share):
            continue
        if basket.take([(c, not c.is_reply) for c in members], f"{why}, reply compressed", limit=share):
            continue
        for candidate in reversed(members) if kept == "last" else members:
            before = basket.used
            if basket.take([(candidate, False)], f"{why}, what fits its share", limit=share):
                share -= basket.used - before
