"""What patterns alone say a message does: the first opinion, and the only one without the packaged embedder.

Sentence by sentence: someone else's words are set aside, patterns say whether the sentence stands, and its topic
and words say what it changes among the active rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rhea.instructions.detection import Detection
from rhea.instructions.lifecycle import expiry, relate, scope_of, topic_of, until_of
from rhea.instructions.revoke import Withdrawal, withdrawals, withdrawn
from rhea.instructions.standing import Reading
from rhea.instructions.topics import content_words, facets, same_words
from rhea.instructions.vectors import embed_clipped
from rhea.types import Instruction, InstructionChange, InstructionKind

if TYPE_CHECKING:
    from rhea.embed import Embedder

__all__ = ["PatternPass", "expiry_in", "kind_after", "one_time", "replaces"]

_ONE_TIME = re.compile(
    r"\bjust this once\b|\bonly this (?:once|time)\b|\bthis one time\b|\bjust (?:for )?(?:this|now)\b|\bfor this (?:one|answer|reply|question|time)\b|\bnur (?:dieses|dies) (?:eine )?mal\b|\bausnahmsweise\b|\bdiesmal\b",
    re.I,
)
_REPLACES = re.compile(
    r"\binstead\b|\bmake (?:that|those)\b|\bchange (?:that|it|the|my|this|from)\b|\b(?:let's|can we|could we) make (?:it|that)\b|\bmake it\b[^.!?]*\b(?:from now on|in future|every time)\b|\brather\b|\bon second thoughts?\b|\bactually\b|\bno longer\b|\bstattdessen\b|\bstatt\b|\banstatt\b|\blieber\b|\bdoch lieber\b|\bmach(?:e)? daraus\b|\bnun doch\b|\bswitch(?:ing)? (?:to|from|over)\b|\bscratch that\b|\btoo (?:many|much|few|little|long|short)\b|\bzu (?:viele?|wenige?|lang|kurz)\b",
    re.I,
)
_STOPS = re.compile(
    r"^(?:ok(?:ay)?|please|now|alright|bitte|so|and)?[,!. ]*(?:you can |you may |du kannst )?(?:stop|halt|enough|stopp|genug|schluss|aufhören)(?: (?:now|it|that|please|jetzt|bitte|damit))*[.! ]*$",
    re.I,
)


class PatternPass:
    """One message on its way through detection; holds what earlier sentences of it have changed."""

    def __init__(
        self, readings: Sequence[Reading], active: Sequence[Instruction], embedder: Embedder | None = None
    ) -> None:
        self._embedder = embedder
        self._readings = readings
        self._active = list(active)
        self._changes: list[InstructionChange] = []
        self._notes: list[str] = []

    def run(self) -> Detection:
        for reading in self._readings:
            if not reading.sentence.foreign:
                self._read(reading)
        return Detection(tuple(self._changes), tuple(dict.fromkeys(self._notes)))

    def _read(self, reading: Reading) -> None:
        text = reading.sentence.text
        if one_time(text):
            if self._active:
                self._notes.append(f"“{text}” is taken as an exception for one reply; the rules stay")
            return
        if self._withdraws(reading):
            return
        instead = replaces(text)
        if reading.verdict or (instead and _may_replace(reading) and self._touches(text)):
            self._take(reading, instead)

    def _touches(self, text: str) -> bool:
        """An explicit replacement on a topic that an active rule governs."""
        mine = {f.topic for f in facets(text)}
        return any(
            mine & {f.topic for f in facets(old.text)}
            or (old.kind is InstructionKind.PREFERENCE and same_words(text, old.text) >= 0.5)
            for old in self._active
        )

    def _withdraws(self, reading: Reading) -> bool:
        text = reading.sentence.voice
        if _STOPS.match(text):
            ended = [
                i
                for i in self._active
                if i.until is not None and re.search(r"stop|enough|halt|genug|otherwise|anders", i.until, re.I)
            ]
            if ended:
                self._revoke(ended, text)
            return True
        self._end_by_condition(text)
        readings = withdrawals(text, reading.sentence.text, plain_only=not self._active)
        for meant in readings:
            ended, note = withdrawn(meant, self._active, self._nearness(reading.sentence.text))
            ended = [i for i in ended if _may_end(meant, reading.sentence.text, i.text)]
            if note:
                self._notes.append(note)
            if ended:
                self._revoke(ended, reading.sentence.text)
                return True
        return any(meant.firm for meant in readings) and reading.verdict is not True

    def _end_by_condition(self, text: str) -> None:
        """A rule "until we finish the essay" ends when the user says "we finished the essay"."""
        ended = [
            i
            for i in self._active
            if i.until and len(text) < 120 and text.strip() != i.text.strip() and _comes_true(i.until, text)
        ]
        if ended:
            self._revoke(ended, text)

    def _revoke(self, ended: Sequence[Instruction], text: str) -> None:
        ids = tuple(i.id for i in ended if i.id)
        if ids:
            self._changes.append(InstructionChange("revoke", target_ids=ids, reason=text))
        self._active = [i for i in self._active if i not in ended]

    def _nearness(self, text: str) -> NDArray[np.float32] | None:
        if self._embedder is None or not self._active:
            return None
        vectors = embed_clipped(self._embedder, [text, *(i.text for i in self._active)])
        return np.asarray(vectors[1:] @ vectors[0], dtype=np.float32)

    def _take(self, reading: Reading, instead: bool) -> None:
        sentence, kind = reading.sentence, reading.kind
        scope = scope_of(sentence.text)
        if any(_repeats(sentence.text, c.text) for c in self._changes if c.text):
            return
        outcome = relate(
            sentence.text, kind, self._active, self._nearness(sentence.text), replaces=instead, scope=scope
        )
        self._notes += outcome.notes
        if outcome.action == "confirm":
            self._changes.append(InstructionChange("confirm", target_ids=outcome.target_ids, reason=outcome.reason))
            return
        change = InstructionChange(
            "supersede" if outcome.action == "supersede" else "add",
            text=sentence.text,
            kind=kind_after(kind, outcome.target_ids, self._active),
            scope=scope,
            start=sentence.start,
            end=sentence.end,
            expires_after=expiry_in(reading, self._readings),
            until=until_of(sentence.text),
            topic=topic_of(sentence.text, kind),
            target_ids=outcome.target_ids,
            reason=outcome.reason or reading.reason,
        )
        self._changes.append(change)
        self._active = [i for i in self._active if i.id not in outcome.target_ids]


def expiry_in(reading: Reading, readings: Sequence[Reading]) -> int | None:
    """Turns after this one; a message that also asks something has its first answer in this turn."""
    text = reading.sentence.text
    turns = expiry(text)
    if turns is None:
        return None
    asks = any(r.signs & {"question", "task", "de_task", "makes_text"} and r.sentence.text != text for r in readings)
    return turns - 1 if asks else turns


def one_time(text: str) -> bool:
    """Does the sentence make an exception for one reply ("just this once")?"""
    return bool(_ONE_TIME.search(text))


def replaces(text: str) -> bool:
    """Does the sentence say that it replaces something ("instead", "make that")?"""
    return bool(_REPLACES.search(text))


_MAKE_THAT = re.compile(
    r"^(?:(?:no|ok(?:ay)?|actually|sorry|and|now|please|let's|can we|could we)[,. ]+)*(?:make (?:that|those|them)|change (?:the|my|that))\b|^(?:let's|can we|could we) make it\b",
    re.I,
)
_OVER = re.compile(r"\b(?:over|finished|done|ended|ends|complete|through|vorbei|fertig|beendet|zu ende)\b", re.I)


def _comes_true(until: str, text: str) -> bool:
    """Does the user say that the condition is met: "we finished the essay", or "the lesson is over" for its end?"""
    if same_words(until, text) >= 0.99:
        return True
    end = re.match(r"(?:the|zum) end[e]? (?:of|der|des) (?:the |this |our |my |dieser |dieses )?(\w+)", until, re.I)
    return end is not None and end.group(1).lower() in text.lower() and bool(_OVER.search(text))


def _may_replace(reading: Reading) -> bool:
    """Say whether it may speak of a rule: "make that three" does, "make it shorter" and tasks do not."""
    return reading.verdict is not False or bool(_MAKE_THAT.match(reading.sentence.text))


def _repeats(text: str, earlier: str) -> bool:
    """Does a sentence say again what the same message has said already?"""
    first, again = content_words(earlier), content_words(text)
    return text == earlier or (bool(first) and first <= again and len(again - first) <= 1)


def kind_after(kind: InstructionKind, targets: tuple[int, ...], active: Sequence[Instruction]) -> InstructionKind:
    """A replacement keeps the kind of what it replaces when it says less ("make that a butler")."""
    old = next((i for i in active if i.id in targets), None)
    return old.kind if old is not None and kind is InstructionKind.RULE and old.kind is InstructionKind.ROLE else kind


_STOP_WORDS = re.compile(
    r"n't\b|\b(?:not|no|never|avoid|stop|without|refrain|don't|kein\w*|nicht|nie\w*|ohne|hör)\b", re.I
)


def _may_end(meant: Withdrawal, text: str, rule: str) -> bool:
    """Does "stop using emojis" mean this rule? It ends "use emojis", and repeats "never use emojis"."""
    bans = bool(_STOP_WORDS.search(rule))
    if meant.polarity:
        return bans == (meant.polarity == "ban")
    return meant.firm or not bans or not _STOP_WORDS.search(text)
