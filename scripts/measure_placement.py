"""Where should a rule stand? Measures wordings on the bundled conversations, one rule and one question at a time.

    python scripts/measure_placement.py [--model NAME] [--max-new-tokens N] [--questions N]

No history is given, so that the place alone differs. `docs/rules.md` quotes what this prints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rhea.bench.checkers import obeys
from rhea.bench.files import bundled, read_jsonl
from rhea.bench.generation import BatchedModel
from rhea.types import ChatMessage


def user(text: str) -> list[ChatMessage]:
    return [{"role": "user", "content": text}]


def system(rule: str, text: str) -> list[ChatMessage]:
    return [{"role": "system", "content": rule}, *user(text)]


PLACES: dict[str, Callable[[str, str], list[ChatMessage]]] = {
    "before the question": lambda rule, text: user(f"{rule}\n\n{text}"),
    "after the question": lambda rule, text: user(f"{text}\n\n{rule}"),
    "before and after": lambda rule, text: user(f"{rule}\n\n{text}\n\n{rule}"),
    "before, and after as a reminder": lambda rule, text: user(f"{rule}\n\n{text}\n\nRemember: {rule}"),
    "after, as a reminder": lambda rule, text: user(f"{text}\n\nRemember: {rule}"),
    "system message and after": lambda rule, text: system(rule, f"{text}\n\n{rule}"),
    "system message, before and after": lambda rule, text: system(rule, f"{rule}\n\n{text}\n\n{rule}"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None)
    parser.add_argument("--max-new-tokens", type=int, default=144)
    parser.add_argument("--questions", type=int, default=10)
    given = parser.parse_args()
    model = BatchedModel(given.model, max_new_tokens=given.max_new_tokens)
    asked = [
        (row["turns"][0]["user"], turn["user"], turn["checks"])
        for row in read_jsonl(bundled("adherence.jsonl"))
        for turn in row["turns"][1 : 1 + given.questions]
    ]
    for name, place in PLACES.items():
        replies = model.replies([place(rule, text) for rule, text, _ in asked])
        obeyed = [obeys(reply, checks) for reply, (_, _, checks) in zip(replies, asked, strict=True)]
        print(f"{name:34} {sum(obeyed) / len(obeyed):.3f} of {len(obeyed)}", flush=True)


if __name__ == "__main__":
    main()
