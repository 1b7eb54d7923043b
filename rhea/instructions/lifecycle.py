"""What a standing sentence does to the rules already there: add, confirm, supersede or revoke.

When it is not certain that a new rule replaces an old one, both stay, newest last, and a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rhea.instructions.topics import EXCLUSIVE, Facet, content_words, facets, same_words
from rhea.types import Instruction, InstructionKind, Scope

__all__ = ["Outcome", "expiry", "flat", "phrases", "relate", "scope_of", "topic_of", "until_of"]

_SAME_VECTOR = 0.93
"""Cosine above which two rules without a known topic say the same."""
_REWORDED = 0.7
"""Cosine above which two rules of the same words say the same."""
_NEAR_VECTOR = 0.62
"""Cosine above which two rules may concern one thing: both are kept, with a note."""
_USER_SCOPE = re.compile(
    r"\b(?:in|across|for|through|throughout|during) (?:all|every|each|any)(?: of)?(?: (?:my|our|your|the|future|other|and|coming))* (?:chats?|conversations?|sessions?|dialogues?|threads?)\b"
    r"|\b(?:all|every|each|any)(?: of)?(?: (?:my|our|future|other))* (?:chats?|conversations?|sessions?)\b|\bnot (?:just|only) (?:in |for )?this (?:chat|conversation|one|session)|\b(?:every|each|any) ?time we (?:talk|chat|speak)"
    r"|\bwhenever we (?:talk|chat|speak)|\bwherever we (?:talk|chat)|\bin (?:allen|jedem|jeder)(?: (?:unseren?|unserer|meinen?|künftigen|weiteren))* (?:chats?|gesprächen?|unterhaltungen?|sitzungen?)|\bnicht nur in diese[mr] (?:chat|gespräch|unterhaltung)|\bchatübergreifend",
    re.I,
)
_COUNTS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "couple of": 2,
    "few": 3,
}
_COUNTS |= {
    "ein": 1,
    "eine": 1,
    "zwei": 2,
    "drei": 3,
    "vier": 4,
    "fünf": 5,
    "sechs": 6,
    "sieben": 7,
    "acht": 8,
    "neun": 9,
    "zehn": 10,
    "paar": 3,
}
_COUNT = r"(\d+|" + "|".join(_COUNTS) + ")"
_TURNS = (
    r"(?:answers?|repl(?:y|ies)|responses?|messages?|turns?|questions?|exchanges?|antworten|nachrichten|fragen|runden)"
)
_EXPIRY = re.compile(
    r"\b(?:next|coming|following|nächsten?|kommenden?|folgenden?) " + _COUNT + r"?\s*(?:of )?(?:your |my |deiner |meiner )?"
    r"(?:\w+ )?" + _TURNS + r"\b|\b(?:for|für) (?:just |only |nur )?" + _COUNT + r" (?:\w+ )?" + _TURNS + r"\b|\b" + _COUNT + " " + _TURNS + r" lang\b", re.I)  # fmt: skip
_UNTIL = re.compile(
    r"\b(?:until|till|unless and until|bis|solange bis) ((?:i|we|you|ich|wir|du|the|my|tomorrow|tonight|further|next|told|monday|zum|auf weiteres|morgen)\b[^.!?;,]*)",
    re.I,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a new rule stands to the active ones."""

    action: str
    """One of "add", "confirm" and "supersede"."""
    target_ids: tuple[int, ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)


def scope_of(text: str) -> Scope:
    """Conversation, unless the sentence speaks of all the user's conversations."""
    return Scope.USER if _USER_SCOPE.search(text.replace("’", "'")) else Scope.CONVERSATION


def expiry(text: str) -> int | None:
    """Turns after the source for which it binds: "for the next three answers" is 3."""
    match = _EXPIRY.search(text)
    word = next((g.lower() for g in match.groups() if g), "") if match else ""
    if not word:
        return None
    return int(word) if word.isdigit() else _COUNTS[word]


def until_of(text: str) -> str | None:
    """The user's own condition for its end, verbatim: "until I say stop" gives "I say stop"."""
    match = _UNTIL.search(text)
    return match.group(1).strip() if match else None


def topic_of(text: str, kind: InstructionKind) -> str | None:
    """The topic stored with a rule: its first facet, value included ("language=german")."""
    if kind is InstructionKind.PREFERENCE:
        return None
    found = facets(text)
    return f"{found[0].topic}={found[0].value}" if found else None


def relate(
    text: str,
    kind: InstructionKind,
    active: Sequence[Instruction],
    nearness: NDArray[np.float32] | None,
    *,
    replaces: bool,
    scope: Scope = Scope.CONVERSATION,
) -> Outcome:
    """Compare a new rule with the active ones.

    Args:
        text: the new rule, verbatim.
        kind: its kind.
        active: the rules in force, oldest first.
        nearness: cosine of the new rule with each active one, shape (len(active),); ``None`` without vectors.
        replaces: the sentence says that it replaces something ("instead", "make that").
        scope: the new rule's scope.
    """
    mine = facets(text)
    conflicts: list[int] = []
    doubts: list[str] = []
    for k, old in enumerate(active):
        near = float(nearness[k]) if nearness is not None else 0.0
        how = _compare(text, mine, kind, old, near)
        if how == "same":
            wider = scope is Scope.USER and old.scope is not Scope.USER
            if wider or old.expires_after is not None or old.until is not None:
                return Outcome("supersede", (old.id,), "said again, for longer or more widely")
            return Outcome("confirm", (old.id,), "said before")
        if how == "conflict":
            conflicts.append(old.id)
        elif how == "doubt":
            doubts.append(f"“{flat(text)}” may replace “{flat(old.text)}” (#{old.id}); both are kept, newest last")
    if not conflicts and replaces and active:
        best = _best(text, active, nearness)
        if best is not None:
            return Outcome("supersede", (active[best].id,), "says that it replaces an earlier rule")
    if conflicts:
        return Outcome("supersede", tuple(conflicts), "another value for the same thing", tuple(doubts))
    return Outcome("add", (), "", tuple(doubts))


def flat(text: str) -> str:
    """On one line, and short enough for a note."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 60 else flat[:59] + "…"


def _compare(text: str, mine: Sequence[Facet], kind: InstructionKind, old: Instruction, near: float) -> str:
    """Give "same", "conflict", "doubt" or nothing."""
    if _plain(text) == _plain(old.text):
        return "same"
    if (kind is InstructionKind.PREFERENCE) != (old.kind is InstructionKind.PREFERENCE):
        return ""
    if kind is InstructionKind.PREFERENCE:
        return _compare_preferences(text, old.text, near)
    theirs = {f.topic: f.value for f in facets(old.text)}
    shared = [(f, theirs[f.topic]) for f in mine if f.topic in theirs]
    clashes = [f for f, value in shared if f.value and value and f.value != value and _excludes(f, value)]
    if clashes:
        return "conflict"
    agrees = [f for f, value in shared if f.value and f.value == value]
    others = {f.topic for f in mine} ^ set(theirs)
    if (
        agrees
        and not others
        and (near >= _SAME_VECTOR or same_words(text, old.text) >= 0.5 or agrees[0].topic in EXCLUSIVE)
    ):
        return "same"
    if near >= _SAME_VECTOR and not others:
        return "same"
    fresh, known = content_words(text), content_words(old.text)
    if len(fresh) > 1 and len(fresh - known) <= 1 and known <= fresh and near >= _REWORDED and not others:
        return "same"
    if _lengths_apart(mine, theirs) or (near >= _NEAR_VECTOR and shared):
        return "doubt"
    return ""


def _excludes(facet: Facet, old_value: str) -> bool:
    """Can the two values not hold at once? "not a list" and "not a table" can."""
    if facet.topic not in EXCLUSIVE and {facet.value, old_value} != {"yes", "no"}:
        return False
    return not (facet.value.startswith("not ") and old_value.startswith("not ")) and not (
        (facet.value.startswith("not ") or old_value.startswith("not "))
        and facet.value.removeprefix("not ") != old_value.removeprefix("not ")
    )


_LENGTHS = frozenset({"sentences", "words", "paragraphs", "characters", "lines", "detail"})


def _lengths_apart(mine: Sequence[Facet], theirs: dict[str, str]) -> bool:
    """Both limit the length, in different units: they may or may not hold together."""
    left, right = {f.topic for f in mine} & _LENGTHS, set(theirs) & _LENGTHS
    return bool(left and right and not left & right)


_NEGATIVE = re.compile(
    r"n't\b|\b(?:not|no|never|avoid|dislike|hate|refuse|can ?not|detest|despise|kein\w*|nicht|nie\w*|stopped|quit|against|allergic|allergisch)\b",
    re.I,
)


def _compare_preferences(text: str, old: str, near: float) -> str:
    overlap = same_words(text, old)
    diets = _diet(text), _diet(old)
    if all(diets) and diets[0] != diets[1]:
        return "conflict"
    if near >= _SAME_VECTOR and bool(_NEGATIVE.search(text)) == bool(_NEGATIVE.search(old)):
        return "same"
    flips = bool(_NEGATIVE.search(text)) != bool(_NEGATIVE.search(old))
    if flips and overlap >= 0.99 and content_words(text):
        return "conflict"
    if not flips and overlap >= 0.99 and near >= 0.8:
        return "same"
    return "doubt" if flips and (overlap >= 0.5 or near >= 0.75) else ""


_DIET = re.compile(r"\b(vegan|vegetar|pescatarian|pescetarian|keto|carnivore|omnivore|flexitarian)\w*", re.I)


def _diet(text: str) -> str:
    """The way of eating that a preference names, one of which can hold at a time; "" for none."""
    found = _DIET.search(text)
    return found.group(1).lower() if found and not _NEGATIVE.search(text) else ""


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def phrases(text: str) -> list[str]:
    """What stands in quotation marks, in lower case."""
    return [m.lower() for m in re.findall(r"[\"“„'‘«]([^\"”“'’»]{2,60})[\"”“'’»]", text)]


def _best(text: str, active: Sequence[Instruction], nearness: NDArray[np.float32] | None) -> int | None:
    """The one active rule that an explicit replacement means; ``None`` when nothing is near enough."""
    mine = {f.topic for f in facets(text)}
    scores = []
    for k, old in enumerate(active):
        score = float(nearness[k]) if nearness is not None else 0.0
        score += 0.5 * same_words(text, old.text) + 0.5 * bool(mine & {f.topic for f in facets(old.text)})
        if any(phrase in text.lower() for phrase in phrases(old.text)):
            score += 0.5  # it names what the old rule has in quotation marks
        scores.append(score)
    best = int(np.argmax(scores))
    return best if scores[best] >= 0.75 else None
