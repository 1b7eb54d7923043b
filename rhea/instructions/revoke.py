"""Sentences that withdraw a rule: "you can use commas again", "forget the pirate thing", "stop"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rhea.instructions.topics import content_words, facets, same_words
from rhea.types import Instruction

__all__ = ["Withdrawal", "withdrawals", "withdrawn"]

# searched in lower case: ignoring case costs more than twice the time
_CUES = re.compile(
    r"\b(?:you can|you may|you're free to|you are free to|feel free to|it's (?:ok|okay|fine) to|it is (?:ok|okay|fine) to|i don't mind (?:if you|you)|go ahead and|please) (?P<again>[^.!?]*?)\b(?:again|once more|after all|from now on again)\b"
    r"|\b(?:you can|you may|you're free to|feel free to|it's (?:ok|okay|fine) to) (?P<may>stop|drop|quit|forget|ignore|skip|leave out|leave (?:it|them|that|those|these) out|do without)\b(?P<maywhat>[^.!?]*)"
    r"|\b(?:forget|disregard|ignore|drop|scrap|cancel|lift|undo|withdraw|revoke|remove|discard|never mind|nevermind|take back|ditch|abandon|lose|retire|delete|overrule|end|suspend|scratch|strike|skip|nix|take off|take away|waive|relax|take back|kill)\b(?: about| with)? (?P<drop>(?:the|that|this|my|what|everything|both|all|any|about|those|these|your|our|being|using)\b[^.!?]*)"
    r"|\b(?:you )?(?:no longer (?:need|have) to|(?:don't|do not|needn't) (?:need to |have to )?(?P<nowhat>[^.!?]*?) (?:anymore|any more|any longer)|no need (?:to|for)|there's no need (?:to|for)|you needn't)\b(?P<need>[^.!?]*)"
    r"|\b(?:leave|skip|drop|cut|ditch|lose|stop) (?P<them>it|that|this|them|those|these)\b(?: out)?(?: now|,? please| from now on| from here on)*[.! ]*$"
    r"|\b(?:no longer|not)\b (?P<nolonger>[^.!?]*?)(?: anymore| any more| any longer)?[.!]?$"
    r"|^(?:ok(?:ay)?[,.!]? |please |now |and |so |alright[,.]? |thanks[,.!]? )*stop (?P<stop>(?:with |being |doing |using |talking |speaking |writing |answering |replying |responding |acting |calling |adding |ending |starting |saying |pretending |making |giving |the |that |it |all )[^.!?]*)"
    r"|\b(?:enough (?:with|of)|i'm (?:done|tired|bored|fed up) (?:with|of)|i am (?:done|tired) (?:with|of)|that's enough|let's (?:drop|stop|end|quit)) (?P<enough>[^.!?]*)"
    r"|\b(?P<plain>(?:plain|normal|regular|usual|ordinary) (?:answers?|replies|style|text|mode|talk|english|voice))\b[^.!?]*\b(?:again|from now on|now)\b|\b(?:back to|return to|go back to|resume) (?P<normal>(?:normal|your (?:normal|usual|regular|own)|regular|usual|yourself|default|how you)[^.!?]*)|\b(?:answer|talk|speak|write|reply|respond|be) (?P<normally>normally|yourself|regularly|as usual|like (?:you )?normal\w*)\b"
    r"|\b(?:i|we)(?:'m|'ve| am| have)? (?P<iagain>[^.!?]*?)\b(?:again(?:[.!]?$|[,;])|(?:these days|after all|now)[.!]?$)|\bich (?P<de_iagain>[^.!?]*?\bwieder\b[^.!?]*)"
    r"|\b(?:doesn't|does not|don't|no longer) (?P<applies>appl(?:y|ies)|counts?|hold|matters?)\b"
    r"|\b(?:vergiss|ignorier\w*|streich\w*|lass) (?P<de_drop>(?:das|die|den|was|meine|alle|bitte|diese)\b[^.!?]*)|\b(?:du (?:kannst|darfst)|sie (?:können|dürfen)) (?P<de_again>[^.!?]*\b(?:wieder|aufhören)\b[^.!?]*)|\bdu (?:musst|brauchst) (?P<de_need>[^.!?]*\b(?:nicht|kein\w*)\b[^.!?]*\bmehr\b[^.!?]*|nicht mehr [^.!?]*)"
    r"|\b(?:lass|streich\w*) (?P<de_them>sie|es|das|ihn|die)\b(?: bitte| wieder| jetzt)*(?: weg| sein| bleiben)?[.! ]*$|\bhör(?:e)?(?: bitte)? (?:jetzt )?auf(?: mit| damit)?,? ?(?P<de_stop>[^.!?]*)|\b(?:genug|schluss) (?:mit|von) (?P<de_enough>[^.!?]*)|\b(?P<de_nomore>[^.!?]*) gilt nicht mehr\b|\b(?P<de_normal>normal\w*\b[^.!?]*\bwieder|wieder\b[^.!?]*\bnormal)\w*|\bsei wieder (?P<de_self>du selbst)|\b(?:antworte|rede|sprich|schreib\w*)(?: bitte)? wieder (?:ganz |völlig |bitte )*(?P<de_normally>normal|wie (?:sonst|vorher|früher))",
)
_LIFTS = re.compile(
    r"(?:^|[,;] ?)(?P<fine>[^.!?,;]{3,60}?)\b(?:is|are|would be) (?:perfectly |totally |completely |absolutely )?(?:fine|ok(?:ay)?|allowed|welcome|all right|alright|permitted)\b"
    r"|\bi don't mind (?P<mind>[^.!?]*?)\b(?:anymore|any more|any longer|now|after all|again)\b|\b(?:you can|you may) (?P<can>[^.!?]*?)\b(?:now|if you (?:like|want)|after all|whenever you (?:like|want))\b"
    r"|(?:^|[,;] ?)(?P<de_inverse>[^.!?,;]{2,60}?)\b(?:darfst|kannst) du (?:\w+ )*(?:doch|wieder|ruhig|jetzt)\b|\b(?:du|wir|sie) (?:darfst|kannst|können|dürfen) (?P<de_may>[^.!?]*\b(?:doch|wieder|ruhig)\b[^.!?]*)|(?:^|[,;] ?)(?P<de_fine>[^.!?,;]{2,60}?)\b(?:ist|sind) (?:\w+ )*(?:okay|ok|erlaubt|in ordnung)\b",
)
"""Allows what a rule forbids; what the rule is about stands in the groups."""
_ENDS = re.compile(
    r"(?:^|[,;] ?)(?P<off>[^.!?,;]{3,60}?)\b(?:is|are) (?:now )?(?:off|over|void|cancelled|canceled|gone|obsolete|lifted|off the table|history)\b[.! ]*$|(?:\bonly )?(?:^|[,;] ?)(?P<go>[^.!?,;]{3,60}?)\b(?:has|have|needs|need|can|must) (?:to )?go\b[.! ]*$|(?:^|[,;] ?)(?P<unneeded>[^.!?,;]{3,60}?)\b(?:is|are|isn't|aren't)(?: not| no longer| really)* (?:necessary|needed|required|wanted)\b(?: anymore| any more| any longer| now)*[.! ]*$"
    r"|\b(?:can|may) be (?P<aslong>as \w+ as) you (?:like|want|wish|please)\b|(?P<whatever>\b(?:whatever|however|whichever|any)\b[^.!?]*)\byou (?:like|want|wish|please)\b"
    r"|\b(?:you can|you may|let's|we can|feel free to) (?:go |switch |change |move )?(?P<back>back to [^.!?]*)"
    r"|^(?:\W*(?:ok(?:ay)?|please|pls|and|but|so|now|ugh|right)[,. ]+)*(?:no more|quit|cease|cut out|lay off|enough)(?: with| of)? (?P<nomore>[^.!?]*)"
    r"|(?:^|[,;] ?)(?P<de_unneeded>[^.!?,;]{2,60}?)\b(?:brauchst|musst|sollst) du (?:\w+ )*nicht mehr\b|(?:^|[,;] ?)(?P<de_leave>[^.!?,;]{2,60}?)\bkannst du (?:\w+ )*(?:weglassen|lassen|streichen|vergessen|sparen)\b|\blass (?P<de_let>[^.!?]*) (?:weg|sein|bleiben)\b|\bkeine? (?P<de_nomore>[^.!?]*) mehr\b|(?:^|[,;] ?)(?P<de_back>[^.!?,;]{3,60}?)\bnehme ich zurück\b|(?:^|[,;] ?)(?P<de_not>[^.!?,;]{2,60}?)\b(?:ist|sind) nicht mehr (?:nötig|notwendig)\b",
)
"""Ends what a rule asks for."""
_BOTH = re.compile(r"\bboth\b(?: of)?(?: \w+)?(?: rules)?\W*$|\bbeide\w*(?: regeln)?\W*$", re.I)
_EVERYTHING = re.compile(
    r"\b(?:all|every|everything|any)\b[^.!?]{0,30}\b(?:rules?|instructions?|preferences|constraints|guidelines|restrictions|requirements|said|told|asked)\b|\b(?:alle|sämtliche|allen)\b[^.!?]{0,20}\b(?:regeln|vorgaben|anweisungen|vorlieben)\b|\balles,? was ich\b|\breset (?:everything|your instructions|the rules)\b|\bstart (?:over|fresh)\b[^.!?]*\brules?\b",
    re.I,
)
_LAST = re.compile(
    r"^\W*(?:that|this|it|that rule|that one|this rule|the last (?:rule|one|instruction)|my last (?:rule|instruction)|what i just said|that last \w+|das|damit|die letzte regel)\W*$",
    re.I,
)
_PRONOUN = re.compile(
    r"(?:(?:stop|drop|quit|forget|ignore|skip|leave) ?)?(?:it|that|them|those|these|this|sie|es|das|ihn|die|doing (?:it|that)|do without|leave \w+ out|leave out|stop|drop|quit)?(?: (?:now|please|again))*$",
    re.I,
)
_NORMAL = re.compile(
    r"normal|usual|regular|^plain|ordinary|yourself|default|sonst|vorher|früher|du selbst|how you", re.I
)
_MANNER = frozenset({"persona", "form", "tone", "case"})
_MATCH = 0.5
_NEAR = 0.5


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """``about`` is what the sentence withdraws, in its own words; ``firm`` says that it can mean nothing else.

    ``before`` is what the sentence says first, for "they get old, you can leave them out". ``polarity`` narrows the
    rules that can be meant: "ban" (it allows something), "order" (it ends something), or "" for any.
    """

    about: str
    everything: bool = False
    normal: bool = False
    firm: bool = True
    before: str = ""
    polarity: str = ""
    again: bool = False
    """It allows something again, which a rule that allows one thing alone has ruled out."""


_LIMIT = re.compile(r"\b(?:only|nothing but|just|exclusively|solely|nur|ausschließlich|nichts als)\b", re.I)
_MEANT = {"vegetarian": " meat fish", "vegan": " meat fish dairy eggs milk cheese", "teetotal": " alcohol wine beer", "vegetarier": " fleisch fisch", "veganer": " fleisch fisch milch käse eier"}  # fmt: skip


def _implied(rule: str) -> str:
    """What a preference rules out without naming it."""
    low = rule.lower()
    return "".join(words for name, words in _MEANT.items() if name in low)


def withdrawals(voice: str, text: str, *, plain_only: bool = False) -> list[Withdrawal]:
    """What the sentence may withdraw, the plainest reading first; empty when it withdraws nothing.

    Args:
        voice: the sentence with other people's words blanked out, where the withdrawing words must stand.
        text: the sentence itself, of the same length, for what is withdrawn.
        plain_only: leave out the readings that need an active rule to mean anything.
    """
    low = voice.lower().replace("’", "'")
    if len(low) != len(text):  # a letter has a longer lower case, and offsets must fit the text
        low = "".join(c.lower() if len(c.lower()) == 1 else c for c in voice).replace("’", "'")
    plain = _plain_withdrawal(low, text)
    found = [plain] if plain is not None else []
    if plain_only:
        return found
    for pattern, polarity in ((_LIFTS, "ban"), (_ENDS, "order")):
        match = pattern.search(low)
        if match is not None:
            about = " ".join(text[slice(*match.span(k))] for k, v in match.groupdict().items() if v).strip()
            everything = bool(_EVERYTHING.search(about))
            found.append(Withdrawal(about, everything, firm=False, polarity="" if everything else polarity))
    return found


def _plain_withdrawal(low: str, text: str) -> Withdrawal | None:
    match = _CUES.search(low)
    if match is None:
        return (
            Withdrawal("", everything=True)
            if re.search(r"\breset (?:everything|all|the rules|your instructions)", low, re.I)
            else None
        )
    groups = {k: text[slice(*match.span(k))] for k, v in match.groupdict().items() if v}
    if "drop" in groups and re.search(
        r"\b(?:i|we) (?:can't|cannot|don't|won't|will never|always)\b", low[: match.start()], re.I
    ):
        return None
    about = " ".join(groups.values()).strip()
    before = text[: match.start()].strip() if _PRONOUN.match(about) else ""
    normal = bool({"normal", "normally", "de_normal", "de_self", "de_normally"} & set(groups)) or bool(
        _NORMAL.search(about) and len(about.split()) <= 4
    )
    everything = bool(_EVERYTHING.search(low)) and not re.search(r"\babout (?!me\b|it\b)\w+|\bzu[rm]? \w+", about)
    firm = not ({"iagain", "de_iagain", "stop", "nolonger", "nowhat", "de_stop"} & set(groups))
    return Withdrawal(about, everything, normal, firm, before, again="again" in groups or "de_again" in groups)


def withdrawn(
    meant: Withdrawal, active: Sequence[Instruction], nearness: NDArray[np.float32] | None
) -> tuple[list[Instruction], str]:
    """Which active rules it ends, and a note when that is in doubt.

    Args:
        meant: what the sentence withdraws.
        active: rules in force, oldest first.
        nearness: cosine of the withdrawal's sentence with each active rule, shape (len(active),).
    """
    if not active:
        return [], ""
    if meant.everything:
        return list(active), ""
    if _BOTH.search(meant.about):
        return list(active[-2:]), ""
    if content_words(meant.before):
        ended, note = _about(replace(meant, about=meant.before), active, nearness, _MATCH / 3)
        if ended:
            return ended, note
    if _LAST.match(meant.about):
        return [active[-1]], ""
    return _about(meant, active, nearness if not meant.polarity else None)


def _about(
    meant: Withdrawal, active: Sequence[Instruction], nearness: NDArray[np.float32] | None, match: float = _MATCH
) -> tuple[list[Instruction], str]:
    """The active rules that govern what is withdrawn; ``match`` is the share of words that they have in common."""
    topics = {f.topic for f in facets(meant.about)}
    length = {"sentences", "words", "paragraphs", "characters", "lines", "detail"}
    hits = []
    for k, old in enumerate(active):
        words = same_words(meant.about, old.text + _implied(old.text))
        governed = {f.topic for f in facets(old.text)}
        shared = topics & governed or (length & governed if "detail" in topics else set())
        near = float(nearness[k]) if nearness is not None else 0.0
        score = max(words, 0.9 if shared else 0.0) + 0.3 * near
        if words >= match or shared or near >= _NEAR:
            hits.append((score, old))
    if hits:
        best = max(score for score, _ in hits)
        return [old for score, old in hits if score >= best - 0.25], ""
    limits = [i for i in active if _LIMIT.search(i.text)]
    if meant.again and len(limits) == 1:
        return limits, ""
    if meant.normal:
        manners = [i for i in active if i.kind == "role" or _MANNER & {f.topic for f in facets(i.text)}]
        roles = [i for i in manners if i.kind == "role"] or manners or (list(active) if len(active) == 1 else [])
        return roles, "" if roles else "asked to go back to normal, and it is not clear from which rule; all are kept"
    return [], ""
