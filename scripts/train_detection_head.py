"""Trains the detection head from the sentences in `scripts/data`, and writes `rhea/instructions/head.json`.

Only text written for this project is used, so that everyone can make the head again:

    python scripts/train_detection_head.py            # train and write
    python scripts/train_detection_head.py --check    # train, compare with the file that is there, write nothing
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold

from rhea.embed import SentenceTransformerEmbedder
from rhea.instructions.head import signal_features
from rhea.instructions.patterns import NEUTRAL, SIGNALS, signals
from rhea.instructions.sentences import split_sentences

HERE = Path(__file__).parent
TARGET = HERE.parent / "rhea" / "instructions" / "head.json"
STANDING = {"rule", "role", "preference"}
COPIES = 6
"""Sentences drawn from one pattern with slots."""
STRENGTH = 3.0
"""Inverse of the L2 penalty, chosen by cross-validation over patterns."""


def read_patterns() -> list[tuple[str, str]]:
    """(label, pattern) in the order of the file."""
    patterns, label = [], ""
    for line in (HERE / "data" / "detection_sentences.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            label = line[2:].strip()
        elif label and line.strip():
            patterns.append((label, line.strip()))
    return patterns


def fill(pattern: str, slots: dict[str, list[str]], rng: random.Random) -> str:
    """The pattern with every slot filled, first letter upper case as users write it half of the time."""
    text = re.sub(r"\{(\w+)\}", lambda m: rng.choice(slots[m.group(1)]), pattern)
    return text[0].upper() + text[1:] if rng.random() < 0.8 else text[0].lower() + text[1:]


def sentences() -> tuple[list[str], list[int], list[int]]:
    """Texts, labels (1 = standing) and the pattern each came from."""
    rng = random.Random(20)
    slots = json.loads((HERE / "data" / "detection_slots.json").read_text(encoding="utf-8"))
    texts, labels, groups = [], [], []
    for group, (label, pattern) in enumerate(read_patterns()):
        copies = COPIES if "{" in pattern else 1
        for text in dict.fromkeys(fill(pattern, slots, rng) for _ in range(copies)):
            texts.append(text)
            labels.append(int(label in STANDING))
            groups.append(group)
    return texts, labels, groups


def features(texts: list[str], embedder: SentenceTransformerEmbedder) -> np.ndarray:
    """Vector and signals of every sentence, shape (n, dim + signals)."""
    vectors = embedder.embed(texts)
    signs = []
    for text in texts:
        voices = [s.voice for s in split_sentences(text)]
        signs.append(frozenset().union(*map(signals, voices)))
    return np.hstack([vectors, signal_features(signs)])


def model() -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=5000, tol=1e-8)


def cross_validated(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Probability of each sentence from a model that saw no sentence of its pattern."""
    out = np.zeros(len(y))
    for train, test in GroupKFold(5).split(x, y, groups):
        out[test] = model().fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    texts, labels, groups = sentences()
    embedder = SentenceTransformerEmbedder(device="cpu")
    x, y = features(texts, embedder), np.array(labels)
    held_out = cross_validated(x, y, np.array(groups))
    grid = np.round(np.arange(0.3, 0.95, 0.01), 2)
    # patterns veto most of what passes here: the mildest threshold that lets 4 % of these hard sentences through
    threshold = float(next((t for t in grid if (held_out[y == 0] >= t).mean() <= 0.04), grid[-1]))
    speaks = np.array([name not in NEUTRAL for name in SIGNALS])
    bare = ~x[:, embedder.dim :][:, speaks].any(axis=1)
    # no pattern speaks for such a sentence: the head alone must be surer
    bare_grid = grid[grid >= threshold]
    bare_threshold = float(
        next((t for t in bare_grid if (held_out[(y == 0) & bare] >= t).mean() <= 0.01), bare_grid[-1])
    )
    print(
        f"{bare.sum()} sentences without a sign ({y[bare].sum()} standing): recall "
        f"{(held_out[(y == 1) & bare] >= bare_threshold).mean():.3f}, false positives "
        f"{(held_out[(y == 0) & bare] >= bare_threshold).mean():.3f} at {bare_threshold}"
    )
    print(
        f"{len(y)} sentences ({y.sum()} standing) from {groups[-1] + 1} patterns; by pattern held out: "
        f"F1 {f1_score(y, held_out >= threshold):.3f}, recall {(held_out[y == 1] >= threshold).mean():.3f}, "
        f"false positives {(held_out[y == 0] >= threshold).mean():.3f} at {threshold}"
    )
    fitted = model().fit(x, y)
    weights = [round(float(w), 4) for w in fitted.coef_[0]]
    head = {
        "embedder": embedder.id,
        "threshold": threshold,
        "bare_threshold": bare_threshold,
        "bias": round(float(fitted.intercept_[0]), 4),
        "signal_weights": dict(zip(SIGNALS, weights[embedder.dim :], strict=True)),
        "vector_weights": weights[: embedder.dim],
    }
    if arguments.check:
        there = json.loads(TARGET.read_text(encoding="utf-8"))
        apart = float(np.abs(np.array(there["vector_weights"]) - np.array(head["vector_weights"])).max())
        print(f"largest difference from {TARGET.name}: {apart:.4f}")
        return int(apart > 0.01)
    TARGET.write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
