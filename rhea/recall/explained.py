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
from rhea.recall.render import Part, PlannedEpisode
from rhea.recall.score import MessageScores
from rhea.recall.traces import NO_SCORES, TurnScores, rounded
from rhea.types import Decision, EpisodeTrace, RecallMode, TurnRecord

__all__ = ["best_rows", "chosen_episodes", "left_out"]

_NEAREST = 20
"""Omitted turns that have a row in the trace; of the others the score is kept."""
_EXPLAINED = 8
"""Chosen turns whose channels are kept in the trace, best first."""
_NEAREST_EXPLAINED = 4
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
) -> tuple[list[PlannedEpisode], NDArray[np.int64]]:
    """The turns of which something was chosen, with the reasons, and the row of the best chosen message of each.

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
        pairs = [(form, choices[form.key]) for form in forms if form.key in choices]
        if pairs:
            chosen.append((turn, pairs))
            rows = [row for form, _ in pairs if (row := field.row(form.key)) is not None]
            best.append(rows[0] if len(rows) == 1 else max(rows, key=scores.score.item))
    at = np.array(best, dtype=np.int64)
    if not chosen:
        return [], at
    said = {name: np.nan_to_num(values[at], nan=0.0) for name, values in scores.channels.items()}
    score = scores.score[at]
    explained = set(np.argsort(-score, kind="stable")[:_EXPLAINED].tolist())
    reasons = why_chosen(said, calibration)
    names, messages = field.conversations(at), field.message_ids[at].tolist()
    episodes = [
        _episode(
            *chosen[place],
            messages[place],
            rounded(value),
            reasons[place],
            {name: round(float(v[place]), 2) for name, v in said.items()} if place in explained else {},
            names[place],
        )
        for place, value in enumerate(score.tolist())
    ]
    return episodes, at


def _episode(
    turn: TurnRecord,
    pairs: Sequence[tuple[Form, Choice]],
    best: int,
    score: float,
    why: str,
    channels: dict[str, float],
    conversation: str | None,
) -> PlannedEpisode:
    """One turn; ``best`` is the message that its score and reasons come from."""
    form = kept = ""
    tokens, recent, whole = 0, False, len(pairs) == len(turn.messages)
    parts: list[Part] = []
    for f, c in pairs:
        if not kept and ("exchange" in c.reason or c.reason == PINNED):
            kept = c.reason
        if f.key == best:
            form = c.reason
        recent = recent or c.recent
        if c.verbatim or f.digest is None:
            parts.append(f.raw)
            tokens += f.raw_tokens
        else:
            parts.append(f.digest)
            tokens += f.digest_tokens or f.raw_tokens
            whole = False
    decision = Decision.RAW if whole else Decision.COMPRESSED
    reason = kept or (f"{why}; {form}" if form else why)
    return PlannedEpisode(turn, decision, score, channels, reason, tokens, tuple(parts), recent, conversation)


def left_out(
    field: Field, scores: MessageScores, chosen: NDArray[np.int64], mode: RecallMode
) -> tuple[list[EpisodeTrace], TurnScores]:
    """A row for the best omitted turns; position and score of the current conversation's others.

    Args:
        field: the conversations looked at.
        scores: of their messages.
        chosen: int64 of shape (turns,), a row of each chosen turn.
        mode: the recall mode.
    """
    if not len(field):
        return [], NO_SCORES
    # Messages of a turn stand together, and the best of them stands for it.
    begins = np.flatnonzero(np.diff(field.turn_ids, prepend=-1))
    largest = np.maximum.reduceat(scores.score, begins)
    listed = np.zeros(len(begins), dtype=bool)
    listed[np.searchsorted(begins, chosen, side="right") - 1] = True
    left = len(begins) - int(np.count_nonzero(listed))
    places = best_rows(np.where(listed, np.float32(-1.0), largest), min(left, _NEAREST))[:left] if left else begins[:0]
    omitted = _rows_of(field, scores, begins, places, mode)
    listed[places] = True
    own = int(np.searchsorted(begins, len(field.current)))
    if listed[:own].all():
        return omitted, NO_SCORES
    return omitted, (field.current.positions[begins[:own]], np.where(listed[:own], np.float32(0.0), largest[:own]))


def _rows_of(
    field: Field,
    scores: MessageScores,
    begins: NDArray[np.int64],
    places: NDArray[np.int64],
    mode: RecallMode,
) -> list[EpisodeTrace]:
    """The rows of omitted turns, given by their places among ``begins``, the rows at which turns begin."""
    ends = np.append(begins[1:], len(field))
    spans = zip(begins[places].tolist(), ends[places].tolist(), strict=True)
    rows = np.array([low + int(scores.score[low:high].argmax()) for low, high in spans], dtype=np.int64)
    names = list(scores.channels)
    columns = [np.nan_to_num(scores.channels[name][rows[:_NEAREST_EXPLAINED]], nan=0.0).tolist() for name in names]
    said = [{n: round(v, 2) for n, v in zip(names, values, strict=True)} for values in zip(*columns, strict=True)]
    said += [{}] * (len(rows) - len(said))
    return [
        EpisodeTrace(position, Decision.OMITTED, rounded(score), 0, why_omitted(score, mode), channels, conversation)
        for position, score, channels, conversation in zip(
            field.positions[rows].tolist(), scores.score[rows].tolist(), said, field.conversations(rows), strict=True
        )
    ]
