"""Is this sentence a standing instruction? Signals from patterns, weighed together with the learned head.

The question is never "does it sound like an order" but "does it bind replies after this one": "end your
answer with a question" binds one reply, "end your answers with a question" all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rhea.instructions.patterns import signals
from rhea.instructions.sentences import Sentence
from rhea.types import InstructionKind

__all__ = ["Reading", "read_message"]

_DURATION = frozenset({"whole_chat", "from_now_on", "every_reply", "de_standing", "romance_standing"})
_WEAK_DURATION = frozenset({"this_chat", "whenever", "always_never", "your_replies"})
_ORDER = frozenset({"directive", "answer_style", "de_directive", "de_style", "romance_directive", "can_you"})
_ASKS = frozenset({"question", "can_you", "one_reply"})
_TASK = frozenset({"task", "makes_text", "de_task"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One sentence, what its patterns show, and what they say about it.

    ``verdict`` is ``True`` (stands), ``False`` (does not, whatever the head says) or ``None`` (the head decides).
    """

    sentence: Sentence
    signs: frozenset[str]
    verdict: bool | None
    kind: InstructionKind
    reason: str


def read_message(sentences: Sequence[Sentence]) -> list[Reading]:
    """Read every sentence in the light of the whole message."""
    signs = [signals(s.voice) for s in sentences]
    readings = []
    for i, (sentence, own) in enumerate(zip(sentences, signs, strict=True)):
        others: frozenset[str] = frozenset().union(*(signs[:i] + signs[i + 1 :]))
        verdict, reason = _verdict(sentence, own, others)
        readings.append(Reading(sentence, own, verdict, _kind(own), reason))
    return _with_headings(readings)


_REQUEST = re.compile(r"^(?:\w+[,!]? )?(?:please )?(?:can|could|would|will|kannst|könntest|würdest) (?:you|du)\b", re.I)
_TITLE = re.compile(
    r"\b(?:rules?|guidelines?|preferences?|instructions?|requirements?|following|these|regeln|vorgaben|folgende\w*)\b",
    re.I,
)


def _with_headings(readings: list[Reading]) -> list[Reading]:
    """A heading that only names rules is none; one that orders ("answer in this form:") takes its items along."""
    out = list(readings)
    for i, reading in enumerate(readings):
        items = [k for k in range(i + 1, len(readings)) if readings[k].sentence.header]
        items = [k for n, k in enumerate(items) if k == i + 1 + n]
        if not items or not reading.sentence.text.endswith(":"):
            continue
        if reading.verdict is False:
            continue
        if _TITLE.search(reading.sentence.voice):
            out[i] = replace(reading, verdict=False, reason="a heading")
        elif reading.verdict:
            out[i] = replace(reading, sentence=_joined(reading.sentence, readings[items[-1]].sentence))
            for k in items:
                out[k] = replace(readings[k], verdict=False, reason="part of the rule above")
    return out


def _joined(first: Sentence, last: Sentence) -> Sentence:
    """Both sentences and all that stands between them."""
    text = first.message[first.start : last.end]
    return replace(first, text=text, end=last.end, voice=text)


def _kind(signs: frozenset[str]) -> InstructionKind:
    if "role" in signs:
        return InstructionKind.ROLE
    if signs & {"dislike", "like", "de_preference"} and not signs & {
        "directive",
        "de_directive",
        "every_reply",
        "whenever",
    }:
        return InstructionKind.PREFERENCE
    return InstructionKind.RULE


def _verdict(sentence: Sentence, signs: frozenset[str], others: frozenset[str]) -> tuple[bool | None, str]:
    """What the patterns say; ``others`` are the signals of the message's other sentences."""
    if sentence.foreign:
        return False, sentence.foreign
    if "why_question" in signs and not _REQUEST.match(sentence.voice):
        return False, "a question"
    if "reported" in signs:
        return False, "somebody else's words"
    orders = bool(signs & _ORDER)
    if signs & _DURATION and (orders or "role" in signs) and not _about_content(signs):
        return True, "names how long it binds"
    if sentence.header and _standing_header(sentence.header):
        return True, "stands under a heading of rules"
    if signs & {"dislike", "de_preference"} and "about_reply" not in signs and "question" not in signs:
        return True, "a lasting preference"
    if signs & _TASK or "one_reply" in signs:
        return (None if signs & (_DURATION | _WEAK_DURATION) else False), "binds one reply"
    if "always_never" in signs and orders and "first_person_always" not in signs:
        return True, "always or never"
    if "your_replies" in signs and orders and "question" not in signs:
        return True, "speaks of replies in general"
    if signs & _WEAK_DURATION and orders:
        return (None if others & _TASK else True), "binds a kind of turn"
    if others & _TASK or (others & _ASKS and orders and "role" not in signs):
        return (None if "role" in signs else False), "belongs to a request"
    if "role" in signs and "question" not in signs:
        return (None if others & _ASKS or "role_once" in signs else True), "a role"
    if signs & {"answer_style", "de_style"} and "question" not in signs:
        return True, "says how to answer"
    return None, ""


def _about_content(signs: frozenset[str]) -> bool:
    """The order makes one text, and the duration is told inside it ("a story in which she always …")."""
    if signs & {"whole_chat", "from_now_on"}:
        return False
    return bool(signs & {"makes_text", "task", "de_task", "one_reply"})


def _standing_header(header: str) -> bool:
    signs = signals(header)
    return bool(signs & (_DURATION | {"this_chat", "your_replies", "whenever", "always_never"})) or any(
        word in header.lower() for word in ("rules", "regeln", "guidelines", "preferences", "vorgaben")
    )
