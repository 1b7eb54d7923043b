"""Days out of free text: when a message was said, and which day, month or year a question names.

Times of imported chats come as their source wrote them ("1:56 pm on 8 May, 2023", "2023-05-08T13:56:00Z").
Only the calendar matters here, and only what is written out: nothing is guessed from the clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

__all__ = ["NamedDate", "asks_for_time", "message_day", "named_dates", "short_day"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    r"|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        r"(?<!\d)" + _YEAR + r"[-/.](?P<number>[01]?\d)[-/.](?P<day>[0-3]?\d)(?!\d)",
        r"(?<!\d)(?P<day>[0-3]?\d)\.(?P<number>[01]?\d)\." + _YEAR + r"(?!\d)",
        r"(?<![\w:])" + _DAY + r"\s+(?:of\s+)?" + _MONTH + r"\b\.?,?(?:\s+" + _YEAR + r")?",
        r"\b" + _MONTH + r"\b\.?\s+" + _DAY + r"\b(?!:),?(?:\s+" + _YEAR + r")?",
        r"\b" + _MONTH + r"\b,?\s+(?:of\s+)?" + _YEAR,
        r"\b(?:in|during|since|last|early|late|mid|by|of)[\s-]+" + _MONTH + r"\b",
        r"(?<!\d)" + _YEAR + r"(?!\d)",
    )
)
_TIME_QUESTION = re.compile(
    r"\b(?:when|how (?:long|old|soon|recently|often)|what (?:time|date|day|week|weekend|month|year|season)"
    r"|which (?:date|day|week|weekend|month|year|season)|how many (?:days|weeks|months|years))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class NamedDate:
    """A date as a text names it; the parts that it leaves out are ``None``."""

    year: int | None
    month: int | None
    day: int | None

    def matches(self, when: date) -> bool:
        """Whether that day is meant."""
        return all(
            wanted is None or wanted == given
            for wanted, given in ((self.year, when.year), (self.month, when.month), (self.day, when.day))
        )


def named_dates(text: str) -> list[NamedDate]:
    """Every date that a text writes out, the most precise reading of each place."""
    found: list[NamedDate] = []
    taken: list[tuple[int, int]] = []
    for form in _FORMS:
        for match in form.finditer(text):
            if any(match.start() < end and start < match.end() for start, end in taken):
                continue
            named = _read(match.groupdict())
            if named is not None:
                taken.append(match.span())
                found.append(named)
    return found


@lru_cache(maxsize=4096)
def message_day(time: str | None) -> int:
    """Day of a message's time as a proleptic ordinal; 0 when the text names no full date."""
    if not time:
        return 0
    named = named_dates(time)
    year, month, day = (
        (
            next((value for value in values if value is not None), None)
            for values in zip(*((n.year, n.month, n.day) for n in named), strict=True)
        )
        if named
        else (None, None, None)
    )
    if year is None or month is None or day is None:
        return 0
    try:
        return date(year, month, day).toordinal()
    except ValueError:
        return 0


def short_day(ordinal: int, year_known: int | None) -> str:
    """A label such as "8 May 2023", or "8 May" when the year was already said."""
    when = date.fromordinal(ordinal)
    label = f"{when.day} {_MONTHS[when.month - 1].capitalize()}"
    return label if when.year == year_known else f"{label} {when.year}"


def asks_for_time(question: str) -> bool:
    """Whether the answer to a question depends on when things were said."""
    return bool(_TIME_QUESTION.search(question)) or bool(named_dates(question))


def _read(parts: dict[str, str | None]) -> NamedDate | None:
    number, name = parts.get("number"), parts.get("month")
    month = int(number) if number else _MONTHS.index(name[:3].lower()) + 1 if name else None
    year, day = (int(parts[key] or 0) or None if key in parts else None for key in ("year", "day"))
    try:
        date(year or 2000, month or 1, day or 1)
    except ValueError:
        return None
    return NamedDate(year, month, day)
