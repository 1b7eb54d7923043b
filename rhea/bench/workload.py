"""Conversations made from a seed, for measurements of size and speed: distinct, chat-like, never from a data set."""

from __future__ import annotations

import random
from collections.abc import Iterator

__all__ = ["exchanges", "questions"]

# fmt: off
_TOWNS = [
    "Almere", "Bergen", "Cadaqués", "Dundee", "Esbjerg", "Faro", "Genoa", "Hobart", "Izmir", "Jaffa", "Kotor",
    "Lerwick", "Malmö", "Naxos", "Odense", "Piran", "Quimper", "Rostock", "Setúbal", "Trogir", "Umeå", "Visby",
    "Wismar", "Ystad", "Zadar",
]
_THINGS = [
    "the tide table", "the bakery on the quay", "the ferry timetable", "the old lighthouse", "the sailing course",
    "the fish market", "the harbour crane", "the night train", "the weather station", "the chess club",
    "the botanical garden", "the bicycle repair shop", "the school library", "the salt works", "the observatory",
    "the pottery class", "the tram line", "the beekeeping society",
]
# fmt: on
_ASKS = (
    "What did you find out about {thing} in {town}?",
    "Could you help me plan a visit to {thing} in {town} on day {day}?",
    "I talked to someone at {thing} in {town}; they mentioned the number {day}. What should I make of it?",
    "Compare {thing} in {town} with what we said before, please.",
    "How much time do I need for {thing} when I am in {town} with {day} other people?",
)
_ANSWERS = (
    "In {town}, {thing} opens at {hour} in the morning and closes when the last visitor leaves.",
    "Count on about {day} minutes, and a little more in bad weather.",
    "The people there are friendly, but they answer the telephone only on weekdays.",
    "A ticket is {hour} crowns; children pay half, and groups of {day} get a guide of their own.",
    "If you come by train, leave at the second stop and follow the canal for {hour} minutes.",
    "Note down the number {day}: it is the one that the office asks for.",
    "There is a small café next door where you can wait and read.",
    "I would not go in the week after the fair, because {thing} is closed for repairs then.",
)


def exchanges(count: int, *, seed: int = 7) -> Iterator[tuple[str, str]]:
    """User text and reply of ``count`` exchanges, about 20 and 70 words; the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    for number in range(1, count + 1):
        names = _names(draw, number)
        ask = draw.choice(_ASKS).format(**names)
        answer = " ".join(draw.sample(_ANSWERS, 4)).format(**names)
        yield f"{ask} This is my note {number}.", answer


def questions(count: int, *, seed: int = 11) -> list[str]:
    """Questions about what such exchanges hold."""
    draw = random.Random(seed)  # noqa: S311 - not for secrets
    return [draw.choice(_ASKS).format(**_names(draw, number)) for number in range(1, count + 1)]


def _names(draw: random.Random, number: int) -> dict[str, object]:
    return {
        "thing": draw.choice(_THINGS),
        "town": draw.choice(_TOWNS),
        "day": 3 + number % 89,
        "hour": 6 + number % 7,
    }
