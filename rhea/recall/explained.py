"""What was chosen and what stayed out, with the reasons: the rows of a question's trace.

Worked out for all turns at once from the arrays of scores; a few of the best keep what each channel said of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rhea.recall.calibration import Calibration
from rhea.recall.decide import PINNED, Choice
from rhea.recall.field import Field
from rhea.recall.forms import Form
from rhea.recall.reasons import why_chosen, why_omitted
from rhea.recall.render import PlannedEpisode
from rhea.recall.score import MessageScores
from rhea.recall.traces import NO_SCORES, TurnScores, rounded
from rhea.types import Decision, EpisodeTrace, RecallMode, TurnRecord

__all__ = ["best_rows", "chosen_episodes", "left_out"]

_NEAREST = 20
"""Omitted turns that have a row in the trace; of the others the score is kept."""
_EXPLAINED = 12
"""Chosen turns whose channels are kept in the trace, best first."""
_NEAREST_EXPLAINED = 6
"""Omitted ones, likewise."""


def best_rows(score: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """Rows of the best scores, best first, the earlier row first among equals."""
    n = len(score)
    best = np.argpartition(-score, most - 1)[:most] if most < n else np.arange(n)
    return np.asarray(best[np.lexsort((best, -score[best]))])


def chosen_episodes(
    field: Field,
    scores: MessageScores,
    told: Sequence[tuple[TurnRecord, Sequence[Form]]],
    choices: Mapping[int, Choice],
    calibration: Calibration,
) -> list[PlannedEpisode]:
    """The turns of which something was chosen, with the reasons.

    Args:
        field: the conversations looked at.
        scores: of their messages.
        told: turns in time order, with their forms.
        choices: by message id.
        calibration: whose levels tell what is much.
    """
    chosen: list[tuple[TurnRecord, list[tuple[Form, Choice]]]] = []
    best: list[int] = []
    for turn, forms in told:
        pairs = [(form, choices[form.message.id]) for form in forms if form.message.id in choices]
        if pairs:
            chosen.append((turn, pairs))
            rows = [row for form, _ in pairs if (row := field.row(form.message.id)) is not None]
            best.append(rows[0] if len(rows) == 1 else max(rows, key=scores.score.__getitem__))
    if not chosen:
        return []
    at = np.array(best)
    said = {name: values[at] for name, values in scores.channels.items()}
    score = scores.score[at]
    explained = set(np.argsort(-score, kind="stable")[:_EXPLAINED].tolist())
    reasons = why_chosen(said, calibration)
    names, messages = field.conversations(at), field.message_ids[at].tolist()
    return [
        _episode(
            *chosen[place],
            best=messages[place],
            score=rounded(value),
            why=reasons[place],
            channels={name: round(float(v[place]), 2) for name, v in said.items()} if place in explained else {},
            conversation=names[place],
        )
        for place, value in enumerate(score.tolist())
    ]


def _episode(
    turn: TurnRecord,
    pairs: Sequence[tuple[Form, Choice]],
    *,
    best: int,
    score: float,
    why: str,
    channels: dict[str, float],
    conversation: str | None,
) -> PlannedEpisode:
    parts = tuple([f.raw if c.verbatim else f.digest or f.raw for f, c in pairs])
    whole = len(parts) == len(turn.messages) and all(p.verbatim for p in parts)
    form = kept = ""
    for f, c in pairs:
        if not kept and ("exchange" in c.reason or c.reason == PINNED):
            kept = c.reason
        if f.message.id == best:
            form = c.reason
    return PlannedEpisode(
        turn=turn,
        decision=Decision.RAW if whole else Decision.COMPRESSED,
        score=score,
        channels=channels,
        reason=kept or (f"{why}; {form}" if form else why),
        tokens=sum([f.raw_tokens if c.verbatim else f.digest_tokens or f.raw_tokens for f, c in pairs]),
        parts=parts,
        recent=any(c.recent for _, c in pairs),
        conversation=conversation,
    )


def left_out(
    field: Field, scores: MessageScores, chosen: Sequence[int], mode: RecallMode
) -> tuple[list[EpisodeTrace], TurnScores]:
    """A row for the best omitted turns; position and score of the current conversation's others."""
    if not len(field):
        return [], NO_SCORES
    turn_ids, positions = field.turn_ids, field.positions
    best = best_rows(scores.score, 4 * (_NEAREST + len(chosen)))
    # The best message of each turn stands for it.
    _, at = np.unique(turn_ids[best], return_index=True)
    rows = best[np.sort(at)]
    rows = rows[~np.isin(turn_ids[rows], chosen)][:_NEAREST]
    names = list(scores.channels)
    columns = [scores.channels[name][rows[:_NEAREST_EXPLAINED]].tolist() for name in names]
    said = [{n: round(v, 2) for n, v in zip(names, values, strict=True)} for values in zip(*columns, strict=True)]
    said += [{}] * (len(rows) - len(said))
    omitted = [
        EpisodeTrace(position, Decision.OMITTED, rounded(score), 0, why_omitted(score, mode), channels, conversation)
        for position, score, channels, conversation in zip(
            positions[rows].tolist(), scores.score[rows].tolist(), said, field.conversations(rows), strict=True
        )
    ]
    return omitted, _unlisted(field, scores, np.union1d(chosen, turn_ids[rows]))


def _unlisted(field: Field, scores: MessageScores, told: NDArray[np.int64]) -> TurnScores:
    """Position and score of the current conversation's turns, 0 for those told; nothing when all are."""
    own = field.current
    if not len(own):
        return NO_SCORES
    # Messages of a turn stand together, so a turn begins where the position changes.
    begins = np.flatnonzero(np.diff(own.positions, prepend=-1))
    listed = np.isin(own.turn_ids[begins], told)
    if listed.all():
        return NO_SCORES
    largest = np.maximum.reduceat(scores.score[: len(own)], begins)
    largest[listed] = 0.0
    return own.positions[begins], largest
