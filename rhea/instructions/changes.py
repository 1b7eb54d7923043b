"""From a judgement to changes: each sentence that stands is added, confirmed, or takes the place of what it ends."""

from __future__ import annotations

from collections.abc import Sequence

from rhea.instructions.by_patterns import expiry_in, kind_after
from rhea.instructions.detection import Detection
from rhea.instructions.evidence import MessageEvidence, RuleEvidence
from rhea.instructions.lifecycle import flat, phrases, scope_of, topic_of, until_of
from rhea.instructions.standing import Reading
from rhea.instructions.topics import facets, same_words
from rhea.instructions.weigh import Judgement
from rhea.types import Instruction, InstructionChange, Scope

__all__ = ["changes_from"]

_BELIEVED, _CERTAIN = -1.4, 2.0
"""Log-odds from which a rule ends, with patterns and without: one lost is worse than one kept too long."""
_REPLACES, _WITHDRAWS, _DENIED = -3.0, 2.5, 0.9
"""Log-odds from which a sentence stands that, for patterns, takes a rule's place, only ends one, or binds nothing."""
_IN_DOUBT = -0.85
"""Log-odds (a probability of .3) from which a rule that stays is named in the trace."""
_CONFIRMED = 0.5
"""Cosine from which patterns are believed that a sentence says an active rule again."""
_REPEATED = 0.9
"""Cosine, or share of words, from which a sentence says an active rule again."""


def changes_from(
    readings: Sequence[Reading],
    message: MessageEvidence,
    rules: RuleEvidence | None,
    judged: Judgement,
    first: Detection,
) -> Detection:
    """Changes in the order of the sentences; what is withdrawn without a successor comes first.

    Args:
        readings: every sentence of the message, foreign ones included.
        message: evidence on the user's own.
        rules: evidence on the active rules, ``None`` when there are none.
        judged: log-odds.
        first: what patterns say.
    """
    active = rules.rules if rules is not None else ()
    said = {i for c in first.changes if c.action in ("supersede", "revoke") for i in c.target_ids}
    ended = {k for k, r in enumerate(active) if judged.ends[k] > (_BELIEVED if r.id in said else _CERTAIN)}
    bounds = _bounds(message, active, ended, first)
    standing = [k for k in range(len(message.readings)) if judged.stands[k] > bounds[k]]
    repeated = {k: again for k in standing if (again := _repeats(k, message, rules, first, ended)) is not None}
    ended -= set(repeated.values())
    fresh = _without_echoes([k for k in standing if k not in repeated], message)
    heirs = _heirs(ended, fresh, message, rules)
    changes = _withdrawn(sorted(ended - heirs.keys()), message, rules, judged)
    for k in standing:
        if k in repeated:
            changes.append(_confirmed(k, repeated[k], readings, message, active))
        elif k in fresh:
            places = sorted(place for place, heir in heirs.items() if heir == k)
            why = "takes its place" if places else message.readings[k].reason or "binds later replies"
            changes.append(_added(message.readings[k], readings, [active[p] for p in places], why))
    return Detection(tuple(changes), _notes(active, ended, judged, first))


def _bounds(message: MessageEvidence, active: Sequence[Instruction], ended: set[int], first: Detection) -> list[float]:
    """Log-odds from which each sentence stands; what patterns say shifts them."""
    gone = {active[place].id for place in ended}
    takers = {c.text for c in first.changes if c.action == "supersede" and gone & set(c.target_ids)}
    enders = {c.reason for c in first.changes if c.action == "revoke" and gone & set(c.target_ids)}
    bounds = []
    for reading in message.readings:
        text = reading.sentence.text
        usual = _DENIED if reading.verdict is False else 0.0
        bounds.append(_REPLACES if text in takers else _WITHDRAWS if text in enders else usual)
    return bounds


def _repeats(
    k: int, message: MessageEvidence, rules: RuleEvidence | None, first: Detection, ended: set[int]
) -> int | None:
    """The active rule that sentence ``k`` says again."""
    if rules is None:
        return None
    text = message.readings[k].sentence.text
    confirmed = {i for c in first.changes if c.action == "confirm" and c.reason for i in c.target_ids}
    for place, rule in enumerate(rules.rules):
        if rule.id in confirmed and rules.nearness[k, place] >= _CONFIRMED:
            return place
        if place in ended or phrases(text) != phrases(rule.text):  # two rules that differ in a quoted word are two
            continue
        if rules.nearness[k, place] >= _REPEATED:
            return place
        if min(same_words(text, rule.text), same_words(rule.text, text)) >= _REPEATED:
            return place
    return None


def _without_echoes(standing: list[int], message: MessageEvidence) -> list[int]:
    """Leave out a sentence that the same message has said before in the same words."""
    texts = [message.readings[k].sentence.text for k in standing]
    return [k for n, k in enumerate(standing) if texts[n] not in texts[:n]]


def _heirs(
    ended: set[int], fresh: Sequence[int], message: MessageEvidence, rules: RuleEvidence | None
) -> dict[int, int]:
    """For each ended rule the new sentence that takes its place: about the same thing, or the nearest by far."""
    if rules is None or not fresh:
        return {}
    heirs = {}
    for place in ended:
        theirs = {f.topic for f in facets(rules.rules[place].text)}
        scores = {}
        for k in fresh:
            shared = theirs & {f.topic for f in facets(message.readings[k].sentence.text)}
            scores[k] = float(rules.nearness[k, place]) + 0.3 * bool(shared)
        best = max(scores, key=lambda k: scores[k])
        if scores[best] >= 0.25:
            heirs[place] = best
    return heirs


def _withdrawn(
    places: Sequence[int], message: MessageEvidence, rules: RuleEvidence | None, judged: Judgement
) -> list[InstructionChange]:
    """What ends without a successor, the sentence nearest to it as the reason."""
    if rules is None:
        return []
    reasons: dict[str, list[int]] = {}
    for place in places:
        members = rules.parts[judged.part[place]][0]
        nearest = max(members, key=lambda k: float(rules.nearness[k, place]))
        reasons.setdefault(message.readings[nearest].sentence.text, []).append(rules.rules[place].id)
    return [InstructionChange("revoke", target_ids=tuple(ids), reason=reason) for reason, ids in reasons.items()]


def _confirmed(
    k: int, place: int, readings: Sequence[Reading], message: MessageEvidence, active: Sequence[Instruction]
) -> InstructionChange:
    """A rule said again is confirmed; said for longer or more widely it takes its own place."""
    rule, reading = active[place], message.readings[k]
    wider = scope_of(reading.sentence.text) is Scope.USER and rule.scope is not Scope.USER
    if wider or rule.expires_after is not None or rule.until is not None:
        return _added(reading, readings, [rule], "said again, for longer or more widely")
    return InstructionChange("confirm", target_ids=(rule.id,), reason="said before")


def _added(
    reading: Reading, readings: Sequence[Reading], replaced: Sequence[Instruction], reason: str
) -> InstructionChange:
    """The sentence as a new instruction, in the place of ``replaced``."""
    sentence, targets = reading.sentence, tuple(rule.id for rule in replaced)
    return InstructionChange(
        "supersede" if targets else "add",
        text=sentence.text,
        kind=kind_after(reading.kind, targets, replaced),
        scope=scope_of(sentence.text),
        start=sentence.start,
        end=sentence.end,
        expires_after=expiry_in(reading, readings),
        until=until_of(sentence.text),
        topic=topic_of(sentence.text, reading.kind),
        target_ids=targets,
        reason=reason,
    )


def _notes(active: Sequence[Instruction], ended: set[int], judged: Judgement, first: Detection) -> tuple[str, ...]:
    """What patterns were in doubt about, and rules that may have been meant and stay."""
    doubts = [
        f"“{flat(rule.text)}” (#{rule.id}) may be meant to end here; it stays"
        for place, rule in enumerate(active)
        if place not in ended and judged.ends[place] > _IN_DOUBT
    ]
    return tuple(dict.fromkeys([*first.notes, *doubts]))
