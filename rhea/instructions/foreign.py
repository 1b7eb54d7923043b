"""Which parts of a message are not the user's own words: code, quotations, pasted documents, transcripts.

Only what a user says in their own voice may become an instruction. This module marks the rest as
character ranges; it judges form alone (fences, quotation marks, headers, "translate this: …"), never meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ForeignRange", "foreign_ranges"]


@dataclass(frozen=True, slots=True)
class ForeignRange:
    """Characters ``start`` to ``end`` are somebody else's words; ``why`` names the kind."""

    start: int
    end: int
    why: str


_BLOCKS: tuple[tuple[str, re.Pattern[str]], ...] = (
    # An unclosed fence runs to the end of the message, as a renderer would show it.
    ("code", re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[ \t]*$|\Z)", re.S | re.M)),
    ("code", re.compile(r"```.*?(?:```|\Z)", re.S)),
    ("code", re.compile(r"`[^`\n]+`")),
    ("quotation", re.compile(r"^[ \t]*(?:>|&gt;).*$", re.M)),
    ("document", re.compile(r"\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)", re.S)),
    ("document", re.compile(r"<([A-Za-z][\w:-]*)(?:\s[^<>]*)?>.*?(?:</\1\s*>)", re.S)),
    ("document", re.compile(r"<!--.*?(?:-->|\Z)", re.S)),
    ("document", re.compile(r"<\|[^|<>]{1,40}\|>.*?(?=<\|[^|<>]{1,40}\|>|\Z)", re.S)),
    ("document", re.compile(r"\[/?INST\].*?(?:\[/INST\]|\Z)|<<SYS>>.*?(?:<</SYS>>|\Z)", re.S | re.I)),
    ("document", re.compile(r"^(-{3,}|={3,}|\*{3,}|_{3,}|#{3,})[ \t]*\n.*?^\1[ \t]*$", re.S | re.M)),
    ("document", re.compile(r"^[-=*#]{2,}[ ]*BEGIN\b.*?(?:^[-=*#]{2,}[ ]*END\b.*?$|\Z)", re.S | re.M | re.I)),
    ("document", re.compile(r"^\{\s*\n?\s*\".*?(?:^\}\s*$|\}\s*\Z)|^\[\s*\{.*?\}\s*\]", re.S | re.M)),
)
_TRANSCRIPT = re.compile(
    r"^[ \t]*[\[(*#]*(?:system|assistant|ai|bot|chatbot|chatgpt|gpt(?:-\w+)?|model|tool|function|human|user|me|"
    r"agent|customer|interviewer|narrator|teacher|student|boss|system message|system prompt|"
    r"tool output|tool result|function result|result|output|response|reply|answer|assistentin|assistent)[\])*]*[ \t]*:.*$",
    re.I | re.M,
)
_HEADER = re.compile(
    r"^(?:from|to|cc|subject|date|sent|forwarded message|von|an|betreff|datum|gesendet)[ \t]*:.*$", re.I | re.M
)
_LOG = re.compile(
    r"^(?:\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d|\[?\d\d:\d\d:\d\d\]?|(?:\[)?(?:INFO|WARN|WARNING|ERROR|DEBUG|TRACE)\b).*$",
    re.M,
)
_INTRODUCES = re.compile(
    r"\b(?:translate|translation|summari[sz]e|summary|proofread|rewrite|rephrase|paraphrase|correct|edit|improve|"
    r"polish|analy[sz]e|classify|review|critique|explain|convert|shorten|expand|continue|complete|fix|check|read|"
    r"following|below|this|here(?:'s| is| are| goes)|pasted|copied|says|said|wrote|writes|reads|states|text|passage|article|"
    r"e-?mail|letter|document|paragraph|essay|excerpt|prompt|note|memo|message|story|poem|review|review|quote|"
    r"übersetze|übersetz|fasse|zusammenfass\w*|korrigiere|korrigier|überarbeite|folgende\w*|hier ist|hier kommt|lautet|schrieb|"
    r"schreibt|sagt|sagte|steht|text|absatz|brief|dokument)\b[^.!?\n:]{0,100}:[ \t]*(?=\S|\n)",
    re.I,
)
_OWN_MARKS = re.compile(r"\s*(?:```|~~~|>|\"\"\"|'''|<\w)")
"""A paste with marks of its own ends where they say."""
_OWN_INTRO = re.compile(
    r"\b(?:rules?|instructions?|guidelines?|preferences?|requirements?|conditions?|always|never|from now on|for (?:this|our|the)"
    r"|regeln?|vorgaben|bitte beachte|ab jetzt|ab sofort)\b[^.!?\n:]{0,60}:[ \t]*$",
    re.I,
)
_QUOTES = re.compile(
    r"\"[^\"\n]{1,2000}\"|“[^”]{1,2000}”|„[^“”\"]{1,2000}[“”\"]|«[^»]{1,2000}»|»[^«]{1,2000}«|‘[^’\n]{2,2000}’(?!\w)|(?<!\w)'[^'\n]{2,300}'(?!\w)"
)
_QUOTED_SELF = re.compile(r"\s*[\"“„](?:I|I'm|I’m|Ich|My|Mein\w*)\b[^\"”“]*[\"”“]\s*")
"""A whole message in quotation marks that speaks of its writer: people quote themselves."""
_INDENTED = re.compile(r"(?:(?<=\n\n)|(?<=\A))(?:(?: {4}|\t).*(?:\n|\Z)){2,}")


def foreign_ranges(text: str) -> list[ForeignRange]:
    """Every range of ``text`` that is not the user's own voice, sorted; ranges may overlap."""
    found = [ForeignRange(m.start(), m.end(), why) for why, pattern in _BLOCKS for m in pattern.finditer(text)]
    found += [ForeignRange(m.start(), m.end(), "code") for m in _INDENTED.finditer(text)]
    found += _transcripts(text)
    found += [ForeignRange(m.start(), m.end(), "log") for m in _LOG.finditer(text)]
    found += _pasted(text)
    if not _QUOTED_SELF.fullmatch(text):
        found += [ForeignRange(m.start(), m.end(), "quotation") for m in _QUOTES.finditer(text)]
    return sorted(found, key=lambda r: (r.start, r.end))


def _transcripts(text: str) -> Iterator[ForeignRange]:
    """Lines that begin with a speaker's name; two mail headers make the rest of the message a mail."""
    for match in _TRANSCRIPT.finditer(text):
        end = text.find("\n\n", match.start())
        yield ForeignRange(match.start(), len(text) if end < 0 else end, "transcript")
    headers = list(_HEADER.finditer(text))
    if len(headers) >= 2:
        yield ForeignRange(headers[0].start(), len(text), "document")


def _pasted(text: str) -> Iterator[ForeignRange]:
    """What follows "translate this:" or "here is the mail:", to the end of its paragraph or of the message.

    A text that begins on the colon's own line ends with that line; one that begins on the next line ends with
    the message, since a pasted document may hold blank lines. A header of the user's own rules is no such cue.
    """
    for match in _INTRODUCES.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.end()]
        if _OWN_INTRO.search(line):
            continue
        rest = text[match.end() :]
        if not rest.strip() or _OWN_MARKS.match(rest):
            continue
        if rest.startswith("\n"):
            yield ForeignRange(match.end(), len(text), "document")
        else:
            stop = rest.find("\n")
            yield ForeignRange(match.end(), len(text) if stop < 0 else match.end() + stop, "document")
