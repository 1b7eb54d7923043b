"""Fits the instruction weights to the dialogues in `scripts/data`, and writes `rhea/instructions/weights.safetensors`.

    python scripts/train_instruction_weights.py            # fit and write; a minute on two CPU cores
    python scripts/train_instruction_weights.py --check    # fit, compare with the file that is there, write nothing

First answers are logistic regressions on the evidence. Second answers are fitted to what the first ones and the
reader say about writers that they have not seen, so run `train_instruction_reader.py` before. The printed shares are
of the same kind: every dialogue is judged by what was fitted without its writer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from instruction_examples import DATA, FOLDS, TurnExample, examples, pair_key, plain_examples
from scipy.sparse import csr_matrix, hstack
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from rhea.embed import SentenceTransformerEmbedder
from rhea.instructions import weigh
from rhea.instructions.words import SIZE

TARGET = DATA.parent.parent / "rhea" / "instructions" / "weights.safetensors"
BOUND = 9.2
STRENGTH = {"stands": 3.0, "ends": 1.0, "gate": 1.0, "stands_again": 1.0}
"""Inverse of the L2 penalty, chosen by cross-validation over writers."""
TREES = {
    "n_estimators": 120,
    "max_depth": 4,
    "learning_rate": 0.06,
    "min_samples_leaf": 8,
    "subsample": 0.7,
    "random_state": 0,
}


@dataclass
class Table:
    """Rows of one kind: features, hashed words, label, fold."""

    dense: np.ndarray
    words: list[list[int]]
    label: np.ndarray
    fold: np.ndarray

    def matrix(self) -> Any:
        """Dense features, and words as detection weighs them."""
        if not self.words:
            return self.dense
        pointer = np.cumsum([0, *(len(ids) for ids in self.words)])
        values = np.concatenate([np.full(len(ids), 2.0 / max(1, len(ids)) ** 0.5) for ids in self.words])
        words = csr_matrix((values, np.concatenate(self.words), pointer), shape=(len(self.words), SIZE))
        return hstack([csr_matrix(self.dense), words]).tocsr()


def regression(name: str) -> LogisticRegression:
    return LogisticRegression(C=STRENGTH[name], max_iter=5000)


def odds_of(probability: np.ndarray) -> np.ndarray:
    """Log-odds, cut like in detection."""
    p = np.clip(probability, 1e-7, 1 - 1e-7)
    return np.clip(np.log(p / (1 - p)), -BOUND, BOUND).astype(np.float32)


def unseen(name: str, table: Table) -> np.ndarray:
    """Log-odds of every row from a fit without its fold; rows without a label are answered and not learned from."""
    matrix, out = table.matrix(), np.zeros(len(table.label), dtype=np.float32)
    for k in range(FOLDS):
        learn, test = (table.fold != k) & (table.label >= 0), table.fold == k
        fit = trees() if name == "ends_again" else regression(name)
        out[test] = odds_of(fit.fit(matrix[learn], table.label[learn]).predict_proba(matrix[test])[:, 1])
    return out


def trees() -> GradientBoostingClassifier:
    return GradientBoostingClassifier(**TREES)


def _ending(turn: TurnExample) -> list[int]:
    """For each part of the message: does it end any rule?"""
    assert turn.rules is not None
    pairs = zip(turn.rules.pairs, turn.ends, strict=True)
    ending = {part for (part, _), label in pairs if label == 1}
    return [int(p in ending) for p in range(len(turn.rules.parts))]


def first_tables(turns: Sequence[TurnExample]) -> dict[str, Table]:
    """What the first answers are fitted to."""
    ruled = [t for t in turns if t.rules is not None]

    def fold(rows: Sequence[TurnExample], counts: Sequence[int]) -> np.ndarray:
        return np.repeat([t.fold for t in rows], counts)

    gates = [_ending(t) for t in ruled]
    return {
        "stands": Table(
            np.vstack([t.message.dense for t in turns if len(t.stands)]),
            [w for t in turns for w in t.message.words],
            np.concatenate([t.stands for t in turns]),
            fold(turns, [len(t.stands) for t in turns]),
        ),
        "ends": Table(
            np.vstack([t.rules.dense for t in ruled if t.rules]),
            [t.rules.words[p] for t in ruled if t.rules for p, _ in t.rules.pairs],
            np.concatenate([t.ends for t in ruled]),
            fold(ruled, [len(t.ends) for t in ruled]),
        ),
        "gate": Table(
            np.vstack([t.rules.gate for t in ruled if t.rules]),
            [w for t in ruled if t.rules for w in t.rules.words],
            np.array([g for gs in gates for g in gs]),
            fold(ruled, [len(gs) for gs in gates]),
        ),
    }


class Answers:
    """What the reader says about writers it has not seen."""

    def __init__(self, path: Path) -> None:
        data = np.load(path)
        self._odds = dict(zip(data["keys"].tolist(), data["odds"].astype(np.float32).tolist(), strict=True))
        self.missing = 0

    def __call__(self, kind: str, first: str, second: str, otherwise: float) -> float:
        found = self._odds.get(pair_key(kind, first, second))
        self.missing += found is None
        return otherwise if found is None else float(np.clip(found, -BOUND, BOUND))


def second_ends(turns: Sequence[TurnExample], first: np.ndarray, gate: np.ndarray, answers: Answers) -> Table:
    """Features of the second answer about every pair."""
    rows, at, part_at = [], 0, 0
    for turn in turns:
        rules = turn.rules
        if rules is None:
            continue
        for p, (_, text) in enumerate(rules.parts):
            mine = [i for i, (q, _) in enumerate(rules.pairs) if q == p]
            own = first[[at + i for i in mine]]
            asked = [rules.rules[rules.pairs[i][1]].text for i in mine]
            read = [answers("ends", text, rule, odds) for rule, odds in zip(asked, own, strict=True)]
            gated = float(gate[part_at + p])
            rows.append(weigh.ends_features(rules.numbers[mine], own, np.array(read, np.float32), gated))
        at += len(rules.pairs)
        part_at += len(rules.parts)
    ruled = [t for t in turns if t.rules is not None]
    fold = np.repeat([t.fold for t in ruled], [len(t.ends) for t in ruled])
    return Table(np.vstack(rows), [], np.concatenate([t.ends for t in ruled]), fold)


def second_stands(turns: Sequence[TurnExample], first: np.ndarray, ends: np.ndarray, answers: Answers) -> Table:
    """Features of the second answer about every sentence."""
    rows, at, pair_at = [], 0, 0
    for turn in turns:
        message, n = turn.message, len(turn.stands)
        own = first[at : at + n]
        by_sentence = np.full(n, -6.0, dtype=np.float32)
        if turn.rules is not None:
            for i, (p, _) in enumerate(turn.rules.pairs):
                members = list(turn.rules.parts[p][0])
                by_sentence[members] = np.maximum(by_sentence[members], ends[pair_at + i])
            pair_at += len(turn.rules.pairs)
        asked = zip(message.readings, message.around, own, strict=True)
        read = np.array([answers("stands", r.sentence.heard, a, odds) for r, a, odds in asked], np.float32)
        if n:
            rows.append(weigh.stands_features(message, own, read, by_sentence, turn.rules is not None))
        at += n
    fold = np.repeat([t.fold for t in turns], [len(t.stands) for t in turns])
    return Table(np.vstack(rows), [], np.concatenate([t.stands for t in turns]), fold)


def tell(name: str, odds: np.ndarray, label: np.ndarray) -> None:
    known = label >= 0
    yes, no = odds[label == 1] > 0, odds[label == 0] > 0
    right = ((odds > 0) == (label == 1))[known].mean()
    print(
        f"{name:14} {known.sum():6} rows, right {right:.4f}, recall {yes.mean():.3f}, false positives {no.mean():.3f}"
    )


def turns_right(turns: Sequence[TurnExample], stands: np.ndarray, ends: np.ndarray) -> float:
    """Share of dialogues in which every sentence and every rule is judged right."""
    wrong: dict[str, bool] = {}
    at = pair_at = 0
    for t in turns:
        n, m = len(t.stands), len(t.ends)
        bad = ((stands[at : at + n] > 0) != (t.stands == 1))[t.stands >= 0].any()
        bad |= ((ends[pair_at : pair_at + m] > 0) != (t.ends == 1))[t.ends >= 0].any()
        wrong[t.id] = wrong.get(t.id, False) or bool(bad)
        at, pair_at = at + n, pair_at + m
    talks = [w for name, w in wrong.items() if not name.split("-")[0].endswith("m")]
    return 1 - sum(talks) / len(talks)


def forest(fit: GradientBoostingClassifier) -> dict[str, np.ndarray]:
    """The trees as arrays of shape (trees, nodes)."""
    grown = [e.tree_ for e in fit.estimators_[:, 0]]
    size = max(t.node_count for t in grown)
    out = {
        "feature": np.zeros((len(grown), size), np.int16),
        "threshold": np.zeros((len(grown), size), np.float32),
        "left": np.zeros((len(grown), size), np.int16),
        "right": np.zeros((len(grown), size), np.int16),
        "value": np.zeros((len(grown), size), np.float32),
    }
    for k, t in enumerate(grown):
        leaf, own = t.children_left < 0, np.arange(t.node_count)
        out["feature"][k, : t.node_count] = np.where(leaf, 0, t.feature)
        out["threshold"][k, : t.node_count] = np.where(leaf, 0.0, t.threshold)
        out["left"][k, : t.node_count] = np.where(leaf, own, t.children_left)
        out["right"][k, : t.node_count] = np.where(leaf, own, t.children_right)
        out["value"][k, : t.node_count] = np.where(leaf, t.value[:, 0, 0] * fit.learning_rate, 0.0)
    prior = fit.init_.class_prior_[1]
    out["bias"] = np.array(np.log(prior / (1 - prior)), np.float32)
    out["depth"] = np.array(fit.max_depth, np.int16)
    return out


def fitted(tables: dict[str, Table]) -> dict[str, np.ndarray]:
    """Everything that ships, fitted to all folds."""
    out: dict[str, np.ndarray] = {}
    for name, table in tables.items():
        known = table.label >= 0
        matrix = table.matrix()[known]
        if name == "ends_again":
            out |= {f"{name}.{k}": v for k, v in forest(trees().fit(matrix, table.label[known])).items()}
            continue
        fit = regression(name).fit(matrix, table.label[known])
        width = table.dense.shape[1]
        out[f"{name}.dense"] = fit.coef_[0, :width].astype(np.float32)
        if table.words:
            out[f"{name}.words"] = fit.coef_[0, width:].astype(np.float16)
        out[f"{name}.bias"] = np.array(fit.intercept_[0], np.float32)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    from safetensors.numpy import load_file, save_file

    embedder = SentenceTransformerEmbedder(device="cpu")
    turns = [t for t in examples(embedder) if len(t.stands)]
    tables = first_tables([*turns, *(t for t in plain_examples(embedder) if len(t.stands))])
    first = {name: unseen(name, table)[table.fold >= 0] for name, table in tables.items()}
    answers = Answers(DATA / "reader_answers.npz")
    tables["ends_again"] = second_ends(turns, first["ends"], first["gate"], answers)
    first["ends_again"] = unseen("ends_again", tables["ends_again"])
    tables["stands_again"] = second_stands(turns, first["stands"], first["ends_again"], answers)
    first["stands_again"] = unseen("stands_again", tables["stands_again"])
    for name, table in tables.items():
        tell(name, first[name], table.label[table.fold >= 0])
    print(f"questions that the reader was not asked: {answers.missing}")
    share = turns_right(turns, first["stands_again"], first["ends_again"])
    alone = turns_right(turns, first["stands"], first["ends"])
    print(f"dialogues right throughout, by writers not seen: {share:.3f} (first answers alone {alone:.3f})")
    made = fitted(tables)
    if arguments.check:
        there = load_file(TARGET)
        apart = max(float(np.abs(there[k].astype(float) - v.astype(float)).max()) for k, v in made.items())
        print(f"largest difference from {TARGET.name}: {apart:.4f}")
        return int(apart > 0.05)
    save_file(made, TARGET)
    print(f"wrote {TARGET} ({TARGET.stat().st_size:,} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
