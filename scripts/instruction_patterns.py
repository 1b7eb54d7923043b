"""Sentences from the patterns in `scripts/data/detection_sentences.md`, slots filled: short and plain."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

DATA = Path(__file__).parent / "data"
STANDING = {"rule", "role", "preference"}
COPIES = 6
"""Sentences drawn from one pattern with slots."""


def read_patterns() -> list[tuple[str, str]]:
    """(label, pattern) in the order of the file."""
    patterns, label = [], ""
    for line in (DATA / "detection_sentences.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            label = line[2:].strip()
        elif label and line.strip():
            patterns.append((label, line.strip()))
    return patterns


def fill(pattern: str, slots: dict[str, list[str]], rng: random.Random) -> str:
    """The pattern with every slot filled, first letter upper case as users write it most of the time."""
    text = re.sub(r"\{(\w+)\}", lambda m: rng.choice(slots[m.group(1)]), pattern)
    return text[0].upper() + text[1:] if rng.random() < 0.8 else text[0].lower() + text[1:]


def sentences() -> tuple[list[str], list[int], list[int]]:
    """Texts, labels (1 = standing) and the pattern each came from."""
    rng = random.Random(20)
    slots = json.loads((DATA / "detection_slots.json").read_text(encoding="utf-8"))
    texts, labels, groups = [], [], []
    for group, (label, pattern) in enumerate(read_patterns()):
        copies = COPIES if "{" in pattern else 1
        for text in dict.fromkeys(fill(pattern, slots, rng) for _ in range(copies)):
            texts.append(text)
            labels.append(int(label in STANDING))
            groups.append(group)
    return texts, labels, groups
