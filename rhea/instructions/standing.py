"""Is this sentence a standing instruction? Signals from patterns, weighed with the learned part.

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

__all__ = ["PART_OF_ANOTHER", "REASONS", "Reading", "read_message"]

_DURATION = frozenset({"whole_chat", "from_now_on", "every_reply", "de_standing", "other_standing"})
_WEAK_DURATION = frozenset({"this_chat", "whenever", "user_event", "always_never", "your_replies"})
_LASTS = _DURATION | {"always_never"}
_ORDER = frozenset({"directive", "answer_style", "de_directive", "de_style", "other_directive", "can_you"})
_ONE = frozenset({"one_reply", "one_text"})
_PREFERS = frozenset({"dislike", "de_preference", "other_preference"})
_ASKS = frozenset({"question", "can_you"}) | _ONE
_TASK = frozenset({"task", "makes_text", "de_task"})


PART_OF_ANOTHER = "part of the rule above"
REASONS = (
    "", "a heading", "a lasting preference", "a question", "a role", "always or never", "asks for one thing",
    "belongs to a question", "belongs to a request", "binds a kind of turn", "binds one reply",
    "names how long it binds", "one of the rules announced", PART_OF_ANOTHER, "says how to address the user",
    "says how to answer", "somebody else's words", "speaks of one reply", "speaks of replies in general",
    "stands under a heading of rules", "told inside the text that is asked for",
)  # fmt: skip
"""Every reason that a reading of the user's own words can give; the learned weights count them in this order."""


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
    # a sentence that stands by itself asks for nothing that the others could belong to
    asking = [frozenset() if _verdict(s, own, frozenset())[0] else own for s, own in zip(sentences, signs, strict=True)]
    readings, announced = [], False
    for i, (sentence, own) in enumerate(zip(sentences, signs, strict=True)):
        others: frozenset[str] = frozenset().union(*(asking[:i] + asking[i + 1 :]))
        verdict, reason = _verdict(sentence, own, others)
        if announced and verdict is not True and _follows(own, sentence):
            verdict, reason = True, "one of the rules announced"
        announced = announced or bool(_ANNOUNCES.search(sentence.voice) and not own & (_TASK | {"question"}))
        readings.append(Reading(sentence, own, verdict, _kind(own, sentence.voice), reason))
    return _with_headings(readings)


_ANNOUNCES = re.compile(
    r"\b(?:one|two|three|four|five|a few|some|several|a couple of) (?:(?:ground )?rules|requests|wishes|preferences|conditions|things (?:before|first|to (?:keep in mind|note|remember)|(?:that )?i (?:want|ask|expect)))\b"
    r"|\bground rules\b|\b(?:how|here's how|this is how) i (?:want|like|need|prefer|would like|'d like) you\b|\b(?:when|while) (?:working|talking|chatting) (?:with|to) me\b"
    r"|\b(?:ein paar|einige|zwei|drei|vier) (?:regeln|wünsche|bitten|(?:dinge|sachen) (?:vorab|vorweg|zuerst|bevor))\b|\bso (?:sollst|möchte ich)\b",
    re.I,
)
"""Says that rules follow."""


def _follows(signs: frozenset[str], sentence: Sentence) -> bool:
    """Can the sentence be one of the rules announced before it? Orders can; questions, tasks and stories cannot."""
    if sentence.foreign or signs & (_TASK | _ONE | {"question", "narrative", "reported", "third_party"}):
        return False
    return bool(signs & _ORDER or sentence.header or sentence.voice.lower().startswith(("if ", "wenn ", "no ", "kein")))


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
                out[k] = replace(readings[k], verdict=False, reason=PART_OF_ANOTHER)
    return out


def _joined(first: Sentence, last: Sentence) -> Sentence:
    """Both sentences and all that stands between them."""
    text = first.message[first.start : last.end]
    return replace(first, text=text, end=last.end, voice=text)


_OF_REPLIES = re.compile(
    r"\b(?:answers?|repl(?:y|ies)|responses?|explanations?|messages?|you|your|tone|antwort\w*|du|deine?\w*)\b", re.I
)


def _kind(signs: frozenset[str], voice: str) -> InstructionKind:
    if "role" in signs:
        return InstructionKind.ROLE
    if signs & _PREFERS and not signs & {"every_reply", "address"} and not _OF_REPLIES.search(voice):
        return InstructionKind.PREFERENCE
    if signs & (_PREFERS | {"like"}) and not signs & {
        "directive",
        "de_directive",
        "every_reply",
        "whenever",
        "user_event",
        "address",
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
    if _plainly_asks(signs) and not signs & (_DURATION | _PREFERS | {"address"}):
        return False, "a question"
    orders = bool(signs & _ORDER)
    if "first_person_always" in signs:
        signs -= {"always_never"}
    if signs & _TASK and signs & _LASTS and _told_inside(sentence.voice):
        return False, "told inside the text that is asked for"
    if signs & _DURATION and (orders or "role" in signs) and not _about_content(sentence.voice, signs):
        return True, "names how long it binds"
    if sentence.header and _standing_header(sentence.header):
        return True, "stands under a heading of rules"
    if "address" in signs and not signs & (_TASK | {"question"}):
        return True, "says how to address the user"
    if "user_event" in signs and "question" not in signs:
        return True, "binds a kind of turn"
    if signs & _PREFERS and "about_reply" not in signs and not _only_asks(sentence.voice, signs):
        return True, "a lasting preference"
    if "always_never" in signs and orders and not signs & (_TASK | {"one_text"}):
        return True, "always or never"
    if signs & (_TASK | _ONE):
        lasts = signs & (_DURATION | _WEAK_DURATION) and not _plainly_asks(signs)
        return (None if lasts else False), "binds one reply"
    if "your_replies" in signs and orders and "question" not in signs:
        return True, "speaks of replies in general"
    if "question" in signs and not signs & (_DURATION | _WEAK_DURATION | {"answer_style", "de_style"}):
        return False, "asks for one thing"
    if "about_reply" in signs and not signs & _WEAK_DURATION:
        return False, "speaks of one reply"
    if signs & _WEAK_DURATION and orders and not _plainly_asks(signs):
        return (None if others & _TASK else True), "binds a kind of turn"
    if others & _TASK or (others & _ASKS and orders and "role" not in signs):
        return (None if "role" in signs else False), "belongs to a request"
    if "role" in signs and "question" not in signs:
        return (None if others & _ASKS or "role_once" in signs else True), "a role"
    if signs & {"answer_style", "de_style"} and "question" not in signs:
        return True, "says how to answer"
    if "why_question" in others and not orders and not _FIRST_PERSON.search(sentence.voice):
        return False, "belongs to a question"
    return None, ""


_LEAD = 40
"""Characters in which a sentence that begins with its duration has told it."""
_FIRST_PERSON = re.compile(r"\b(?:i|i'm|i’m|my|me|we|our|ich|mir|mich|mein\w*|wir)\b", re.I)
_CONTENT_CLAUSE = re.compile(
    r"^.{4,80}?(?:\b(?:that|who|which|where|whose|saying|asking|telling|explaining|announcing|about|to)\b|:|, (?:dass|in de[mr]|wo|wie|der|die|das)\b)", re.I)  # fmt: skip


def _plainly_asks(signs: frozenset[str]) -> bool:
    """A question that is no request in the form of one ("could you always …?")."""
    return "question" in signs and "can_you" not in signs


def _only_asks(voice: str, signs: frozenset[str]) -> bool:
    """A question, unless the preference is told before it asks ("I don't eat pork, what else is there?")."""
    if "question" not in signs:
        return False
    told, comma, _ = voice.rpartition(",")
    return not comma or not signals(told) & _PREFERS


def _told_inside(voice: str) -> bool:
    """Does the text asked for come first, and only what it is to say names a duration ("a mail that from now on …")?"""
    clause = _CONTENT_CLAUSE.match(voice)
    return clause is not None and not signals(voice[: clause.end()]) & _LASTS


def _about_content(voice: str, signs: frozenset[str]) -> bool:
    """The order makes one text, and the duration is told inside it ("a story in which she always …")."""
    leads = "task" not in signs and bool(signals(voice[:_LEAD]) & _DURATION)
    if leads or signs & {"whole_chat", "from_now_on"}:
        return False
    return bool(signs & (_TASK | _ONE))


def _standing_header(header: str) -> bool:
    signs = signals(header)
    return bool(
        signs & (_DURATION | {"this_chat", "your_replies", "whenever", "always_never"}) or _ANNOUNCES.search(header)
    ) or any(word in header.lower() for word in ("rules", "regeln", "guidelines", "preferences", "vorgaben"))
