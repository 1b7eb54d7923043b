"""Does a message go on with the piece of work before it, and which earlier requests belong to it?

"The poem should rhyme." sets no task: the poem was asked for a turn or two ago, and what was asked since still
binds it. Such a message is answered best when the requests it goes on with stand beside it, in the user's own
words. This module finds them; it reads form alone, by the detector's signals, and when in doubt it says no:
a message that stands for itself loses nothing, a wrong opening request would lead the reply astray.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rhea.instructions.sentences import split_sentences
from rhea.instructions.standing import Reading, read_message
from rhea.types import TurnRecord

__all__ = ["MOST_TURNS", "constraints", "earlier_requests", "fewer", "goes_on", "reworks"]

MOST_TURNS = 6
"""Earlier turns that are looked at."""
_LONGEST = 600
"""Characters of a message that can go on with something; a longer one brings its own material."""

_SHORT = 120
"""Characters of a message in which an order may name no object; spares reading most longer ones."""

_TEXT = (
    r"(?:responses?|repl(?:y|ies)|answers?|outputs?|results?|texts?|versions?|drafts?|poems?|stor(?:y|ies)|essays?|"
    r"e-?mails?|letters?|articles?|summar(?:y|ies)|paragraphs?|songs?|lyrics|posts?|lists?|tables?|sentences?|titles?|"
    r"messages?|speech|script|translations?|ending|opening|"
    r"antwort|antworten|text|gedicht|geschichte|brief|liste|absatz|überschrift)"
)
_OF_REPLY = (
    r"(?:your|the|this|that|my|each|every|both|all|deine?[rnm]?|die|der|den|das|diese[rnms]?)"
    rf"(?: of (?:your|the))? (?:[\w-]+ ){{0,2}}{_TEXT}\b"
)
_MUST = re.compile(
    rf"\b{_OF_REPLY} (?:\w+ )?(?:should|must|has to|have to|needs? to|ought to|may not|can(?:no|')?t|"
    r"soll(?:te|en)?|muss|müssen|darf|dürfen)\b",
    re.I,
)
_NAMES_REPLY = re.compile(rf"\b{_OF_REPLY}", re.I)
_POINTS = re.compile(
    r"\b(?:make|keep|turn|put|write|rewrite|rephrase|reword|shorten|expand|extend|change|translate|convert|edit|"
    r"revise|improve|correct|fix|simplify|summari[sz]e|condense|trim|polish|redo|continue|finish|end|start|begin|"
    r"format|reformat|split|wrap|mach|schreib\w*|kürze|übersetze?|formuliere?|fasse|halte) "
    r"(?:\w+ up )?(?:it|this|that|them|these|those|the above|es|das|sie)\b"
    r"(?! (?:way|time|kind|sort|in mind|into account)\b)"
    r"|\b(?:add|insert|include) (?:[\w'-]+ ){1,6}(?:to|in|into|at the \w+ of) (?:it|this|that|them)\b",
    re.I,
)
_SAYINGS = re.compile(
    r"\bkeep (?:it|this|that|them) (?:up|going|coming|real|close|positiv\w+|energy|spirit)\b"
    r"|\bmake (?:it|this|that|them) (?:all )?(?:happen|work|through|count|big|worth|home|up|to|in|last|so)\b"
    r"|\bmake it(?=[ ]*(?:$|[,.!;]))"
    r"|(?:\b(?:i|we|they|he|she|gonna|going to|determined to|hope to|trying to|able to)|'ll|'m|'d) "
    r"(?:just |really |also )?(?:make|keep|put|turn|change|finish|start|end|continue|improve|fix) "
    r"(?:it|this|that|them)\b",
    re.I,
)
"""What points at no reply: "keep it up", "we'll make it"."""
_REWORKS = re.compile(
    r"\b(?:re-?(?:write|phrase|word|state|format|frame|structure|organi[sz]e|do|work|consider|vise|fine|place|move|peat)|"
    r"paraphrase|shorten|lengthen|expand|extend|elaborate|translate|convert|turn|transform|change|edit|improve|correct|"
    r"fix|simplify|summari[sz]e|condense|distill?|trim|polish|continue|adjust|adapt|modify|update|add|delete|insert|swap|"
    r"merge|split|combine|consolidate|present|format|break down|take|cut|drop|leave out|"
    rf"kürze|übersetze?|ändere?|überarbeite|ergänze?|streiche?)\b[^.!?]{{0,60}}?\b{_OF_REPLY}"
    r"|\b(?:again|instead|above|previous|prior|earlier|existing|the same|based on|building on|"
    r"shorter|longer|simpler|briefer|funnier|clearer|(?:more|less|fewer) (?!than\b)\w+|"
    r"kürzer|länger|einfacher|knapper|förmlicher|lockerer|nochmal|noch einmal|stattdessen)\b",
    re.I,
)
"""Works on a text that is there, or compares with it."""
_BARE = re.compile(
    r"^(?:(?:also|and|but|ok(?:ay)?|no|now|next|then|again|please|bitte|und|jetzt)[,!]? )*(?:"
    r"(?:no|without|fewer|less|more|keine?n?|ohne|weniger|mehr) (?:\w+ )?(?:commas?|emojis?|bullet points?|bullets|"
    r"adjectives|adverbs|exclamation (?:marks|points)|headings?|headers?|markdown|rhymes?|capitals?|capital letters|"
    r"formatting|lists?|kommas?|überschriften|aufzählungen)"
    r"|(?:a (?:bit|little|lot)|much|even|etwas|viel|noch)? ?(?:shorter|longer|simpler|briefer|funnier|clearer|"
    r"(?:more|less) (?:formal|casual|concise|detailed|friendly|polite|direct|serious|playful|technical|poetic)|"
    r"kürzer|länger|einfacher|knapper|förmlicher|lockerer)"
    r"|in (?:all )?(?:capitals|capital letters|caps|lower ?case(?: letters)?|upper ?case(?: letters)?|bullet points|"
    r"json|markdown|(?:one|two|three|four|five|\d+) (?:words?|sentences?|paragraphs?|lines?|bullet points)|"
    r"english|german|french|spanish|italian|portuguese|dutch|chinese|japanese|korean|hindi|russian|arabic)"
    r"|there (?:should|must) be [^.!?:]{1,60}?(?:words|sentences|paragraphs|sections|lines|placeholders|"
    r"bullet points)[^.!?]{0,60}"
    r"|auf (?:deutsch|englisch|französisch|spanisch|italienisch)"
    r"|(?:at (?:most|least)|(?:fewer|less|more) than|under|over|exactly|höchstens|mindestens) \w+ "
    r"(?:words|sentences|paragraphs|lines|characters|wörter|sätze|zeilen)"
    r")(?:[,]? (?:please|this time|now|instead|bitte|diesmal))*[.!]*$",
    re.I,
)
"""Orders that name no object, because it is the reply."""
_NEW_TEXT = re.compile(
    r"\b(?:write|compose|create|draft|generate|produce|craft|give|list|tell|suggest|name|explain|describe|invent|"
    r"recommend|plan|want|need|require|(?:would|'d) (?:like|love|appreciate)|"
    r"schreib\w*|erstell\w*|verfass\w*|gib|nenn\w*|brauche)(?: me| us| up| out| mir| uns)? "
    r"(?:a|an|some|another|one|two|three|four|five|six|ten|\d+|your (?:advice|guidance|help)|recommendations|"
    r"examples?|advice|help|tips|eine?[nmr]?|zwei|drei|fünf|zehn)\b"
    r"|\b(?:write|compose|create|draft|generate|produce|craft) (?:the|my|his|her|our|their) "
    r"(?!above\b|previous\b|last\b|same\b)"
    r"|\b(?:i|we)(?:'d| would|'m| am)? (?:\w+ )?"
    r"(?:like to|love to|want to|need to|wish to|keen to|interested in|curious (?:about|how|whether)) "
    r"(?:know|hear|learn|see|read|understand\w*|get|find|explore|discuss|delve|talk|how|what|why|whether)\b"
    r"|\b(?:elucidate|analy[sz]e|discuss|compare|calculate|compute|solve)\b",
    re.I,
)
"""Asks for a text or an answer that was not there before."""
_ASKS = re.compile(
    r"^(?:(?:so|and|but|ok(?:ay)?|now|also|then|well|thanks)[,.!]* )*(?:"
    r"(?:how|what|why|who|which|when|where|wie|was|warum|wer|welche\w*|wann|wo)\b"
    r"|(?:is|are|does|did|was|were|has|have) (?:this|that|these|those|the|it|there|my|your|you|we|they)\b)",
    re.I,
)
"""Questions, also those without their mark."""
_MATERIAL = (
    r"(?:statement|text|sentences?|paragraphs?|passages?|article|e-?mail|letter|code|poem|story|document|message)"
)
_OWN_MATERIAL = re.compile(rf"\bthe following (?:\w+ )?{_MATERIAL}\b|\b{_MATERIAL} below\b", re.I)
_TASK = frozenset({"task", "makes_text", "de_task"})
_ORDER = frozenset({"one_reply", "directive", "de_directive"})
_TELLS = frozenset({"narrative", "reported", "about_reply", "third_party"})


def goes_on(text: str) -> bool:
    """Does the message order something of a reply to an earlier request, and ask for nothing of its own?

    Args:
        text: the user's message.
    """
    if len(text) > _LONGEST or _OWN_MATERIAL.search(text) or not (len(text) < _SHORT or _points_at_reply(text)):
        return False
    own = _own(text)
    return any(map(_orders, own)) and not any(map(_asks, own))


def constraints(text: str) -> list[str]:
    """The sentences that bind this message's reply alone, verbatim; code, quotations and pasted text bring none.

    Args:
        text: the user's message.
    """
    return [r.sentence.text for r in _own(text) if _orders(r) and not _asks(r)]


def reworks(text: str) -> bool:
    """Does the message work on the text of the last reply ("make it shorter"), rather than say what a reply must be?

    What only says what a reply must be ("your answer should have three paragraphs") is obeyed better without the
    reply that did not obey it: small models copy what they said before (docs/rules.md has the figures).

    Args:
        text: a message that goes on with a piece of work.
    """
    readings = _own(text)
    return any("can_you" in r.signs or _points(r.sentence.voice) or _REWORKS.search(r.sentence.voice) for r in readings)


def earlier_requests(turns: Sequence[TurnRecord], text: str) -> list[TurnRecord]:
    """The turns whose requests ``text`` goes on with: the one that set the task, and those that went on with it.

    Args:
        turns: turns of this conversation before the message, in order; abandoned ones are not among them.
        text: the user's message.

    Returns:
        At most `MOST_TURNS`, in order; none when the message stands for itself.
    """
    if not goes_on(text):
        return []
    found: list[TurnRecord] = []
    for turn in reversed(turns[-MOST_TURNS:]):
        said = turn.user
        if not said.strip() or _only_rules(said):
            continue
        found.insert(0, turn)
        if not goes_on(said):
            break
    return found


def fewer(requests: Sequence[TurnRecord]) -> Iterator[Sequence[TurnRecord]]:
    """What may stand where room is short, best first: all, then without the oldest follow-ups, then none.

    Args:
        requests: the opening request and those that went on with it, in order.
    """
    for dropped in range(len(requests)):
        yield [requests[0], *requests[1 + dropped :]]
    yield []


def _own(text: str) -> list[Reading]:
    """Sentences in the user's own voice that are no standing rule."""
    return [r for r in read_message(split_sentences(text)) if not r.sentence.foreign and not r.verdict]


def _only_rules(text: str) -> bool:
    """Does the message do nothing but give standing rules? It sets no task, and what it says is in force anyway."""
    readings = read_message(split_sentences(text))
    return bool(readings) and all(r.verdict for r in readings)


def _points(voice: str) -> bool:
    return bool(_POINTS.search(_SAYINGS.sub("_", voice)))


def _points_at_reply(voice: str) -> bool:
    return bool(_NAMES_REPLY.search(voice)) or _points(voice)


def _orders(reading: Reading) -> bool:
    """Does the sentence order something of a reply?"""
    voice, signs = reading.sentence.voice, reading.signs
    if "reported" in signs:
        return False
    if _BARE.match(voice) or _MUST.search(voice):
        return True
    if signs & _TELLS and not signs & {"directive", "de_directive"}:
        return False
    if "question" in signs and "can_you" not in signs:
        return False
    return bool(signs & _ORDER or ("one_text" in signs and _points(voice))) and _points_at_reply(voice)


def _asks(reading: Reading) -> bool:
    """Does the sentence set a task of its own, or ask something?"""
    voice, signs = reading.sentence.voice, reading.signs
    if "why_question" in signs or "question" in signs:
        return "can_you" not in signs or not _points_at_reply(voice) or bool(_NEW_TEXT.search(voice))
    if _ASKS.match(voice) or _NEW_TEXT.search(voice):
        return True
    return bool(signs & _TASK) and not _points_at_reply(voice) and not _BARE.match(voice)
