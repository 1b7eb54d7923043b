"""Trains the instruction reader: low-rank adapters on the packaged all-MiniLM-L6-v2, and three answers on top.

    python scripts/train_instruction_reader.py            # five folds, then the one that ships
    python scripts/train_instruction_reader.py --fold 2   # one fold, to run several side by side; 5 is what ships
    python scripts/train_instruction_reader.py --join     # put the folds' answers together

Writes `rhea/instructions/reader.safetensors`, and `scripts/data/reader_answers.npz`: what a reader that has not seen
a writer answers about that writer's dialogues, from which `train_instruction_weights.py` learns how far to trust it.
Minutes on a GPU, an hour on two CPU cores. Everything it reads was written for this project.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from instruction_examples import DATA, FOLDS, TurnExample, examples, pair_key, plain_examples
from safetensors.torch import save_file
from torch import nn

from rhea.embed import SentenceTransformerEmbedder, packaged_embedder_path
from rhea.instructions.topics import facets

TARGET = DATA.parent.parent / "rhea" / "instructions" / "reader.safetensors"
KINDS = ("stands", "ends", "repeats")
RANK, RATE, EPOCHS, BATCH = 16, 1e-3, 8, 96
SMOOTH = 0.02
"""Labels are .02 and .98: a few of them are wrong."""
STRANGERS = 2
"""Rules from other dialogues that a message which ends something is read beside: it ends none of them."""

Question = tuple[str, str, str, int, int]
"""Kind, first text, second text, answer, fold."""


def questions(turns: Sequence[TurnExample]) -> list[Question]:
    """Every question with a known answer, in a fixed order."""
    out: list[Question] = []
    for turn in turns:
        for k, reading in enumerate(turn.message.readings):
            if turn.stands[k] >= 0:
                out.append(("stands", reading.sentence.heard, turn.message.around[k], int(turn.stands[k]), turn.fold))
        if turn.rules is None:
            continue
        for (part, place), label in zip(turn.rules.pairs, turn.ends, strict=True):
            if label >= 0:
                out.append(("ends", turn.rules.parts[part][1], turn.rules.rules[place].text, int(label), turn.fold))
        for k, place in np.argwhere(turn.repeats >= 0):
            text = turn.message.readings[k].sentence.text
            out.append(("repeats", text, turn.rules.rules[place].text, int(turn.repeats[k, place]), turn.fold))
    return out


def strangers(turns: Sequence[TurnExample], rng: random.Random) -> list[Question]:
    """Messages that end something, beside rules of other dialogues on other topics."""
    rules = [(r.text, t.fold) for t in turns if t.rules is not None for r in t.rules.rules]
    out: list[Question] = []
    for turn in turns:
        if turn.rules is None or not (turn.ends == 1).any() or ((turn.ends == 1).all() and len(turn.rules.rules) > 1):
            continue
        text = turn.rules.parts[0][1]
        mine = {f.topic for f in facets(text)} | {f.topic for r in turn.rules.rules for f in facets(r.text)}
        for rule, fold in rng.sample(rules, STRANGERS):
            if fold == turn.fold and not mine & {f.topic for f in facets(rule)}:
                out.append(("ends", text, rule, 0, turn.fold))
    return out


class Reading(nn.Module):
    """The encoder with adapters, and one answer for each kind of question."""

    def __init__(self) -> None:
        super().__init__()
        from peft import LoraConfig, inject_adapter_in_model
        from transformers import AutoModel

        encoder = AutoModel.from_pretrained(str(packaged_embedder_path()), dtype=torch.float32)
        names = [n for n, m in encoder.named_modules() if isinstance(m, nn.Linear) and "pooler" not in n]
        settings = LoraConfig(r=RANK, lora_alpha=2 * RANK, lora_dropout=0.05, target_modules=names)
        self.encoder = inject_adapter_in_model(settings, encoder)
        for name, parameter in self.encoder.named_parameters():
            parameter.requires_grad_("lora_" in name)
        self.heads = nn.Linear(2 * encoder.config.hidden_size, len(KINDS))

    def forward(self, seen: Any) -> torch.Tensor:
        states = self.encoder(**seen).last_hidden_state
        mask = seen["attention_mask"].unsqueeze(-1).float()
        return self.heads(torch.cat([(states * mask).sum(1) / mask.sum(1), states[:, 0]], dim=-1))


class Desk:
    """Questions as tensors."""

    def __init__(self, asked: Sequence[Question], device: str) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(str(packaged_embedder_path()))
        self.device = device
        self.rows = [
            self.tokenizer(a, b, truncation="longest_first", max_length=128, return_token_type_ids=True)
            for _, a, b, _, _ in asked
        ]
        self.kinds = torch.tensor([KINDS.index(q[0]) for q in asked])
        self.answers = torch.tensor([float(q[3]) for q in asked])

    def batch(self, ids: Sequence[int]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        seen = self.tokenizer.pad([self.rows[i] for i in ids], return_tensors="pt").to(self.device)
        return seen, self.kinds[ids].to(self.device), self.answers[ids].to(self.device)

    def batches(self, ids: Sequence[int], rng: random.Random | None) -> Iterator[list[int]]:
        """Rows of like length together; in random order for training."""
        order = list(ids)
        if rng is not None:
            rng.shuffle(order)
        window = BATCH * 16 if rng is not None else len(order)
        out = []
        for start in range(0, len(order), max(1, window)):
            near = sorted(order[start : start + window], key=lambda i: len(self.rows[i]["input_ids"]))
            out += [near[k : k + BATCH] for k in range(0, len(near), BATCH)]
        if rng is not None:
            rng.shuffle(out)
        return iter(out)


def train(desk: Desk, ids: Sequence[int], *, epochs: int = EPOCHS) -> Reading:
    """Fit a reader to some of the questions."""
    torch.manual_seed(0)
    rng = random.Random(0)
    reader = Reading().to(desk.device).train()
    parameters = [p for p in reader.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    steps = epochs * (len(ids) // BATCH + 2 + len(ids) // (BATCH * 16))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(epochs):
        for chosen in desk.batches(ids, rng):
            seen, kinds, answers = desk.batch(chosen)
            with torch.autocast(desk.device, torch.bfloat16, enabled=desk.device == "cuda"):
                odds = reader(seen)
            odds = odds.float().gather(1, kinds[:, None])[:, 0]
            loss = nn.functional.binary_cross_entropy_with_logits(odds, answers * (1 - 2 * SMOOTH) + SMOOTH)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
    return reader.eval()


@torch.no_grad()
def answer(reader: Reading, desk: Desk, ids: Sequence[int]) -> dict[int, float]:
    """Log-odds by question."""
    out: dict[int, float] = {}
    for chosen in desk.batches(ids, None):
        seen, kinds, _ = desk.batch(chosen)
        odds = reader(seen).float().gather(1, kinds[:, None])[:, 0].cpu()
        out.update(zip(chosen, odds.tolist(), strict=True))
    return out


def save(reader: Reading, path: Path) -> None:
    """Adapters in float16 under the encoder's own names, the answers' weights in float32."""
    tensors = {
        name.replace(".default.weight", ""): p.detach().half().cpu().contiguous()
        for name, p in reader.encoder.named_parameters()
        if "lora_" in name
    }
    tensors["heads.weight"] = reader.heads.weight.detach().float().cpu().contiguous()
    tensors["heads.bias"] = reader.heads.bias.detach().float().cpu().contiguous()
    tensors["scale"] = torch.tensor(2.0)
    save_file(tensors, path)


def one_fold(fold: int, asked: list[Question], out: Path, epochs: int) -> None:
    """Train without one fold and answer its questions; fold 5 is trained on everything."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    desk = Desk(asked, device)
    started = time.perf_counter()
    reader = train(desk, [i for i, q in enumerate(asked) if q[4] != fold], epochs=epochs)
    took = time.perf_counter() - started
    if fold == FOLDS:
        save(reader, out / "reader.safetensors")
        print(f"trained on {len(asked)} questions in {took:.0f} s")
        return
    ids = [i for i, q in enumerate(asked) if q[4] == fold]
    odds = answer(reader, desk, ids)
    keys = np.array([pair_key(*asked[i][:3]) for i in ids])
    np.savez(out / f"fold{fold}.npz", keys=keys, odds=np.array([odds[i] for i in ids], dtype=np.float32))
    shares = []
    for kind in KINDS:
        right = [(odds[i] > 0) == bool(asked[i][3]) for i in ids if asked[i][0] == kind]
        shares.append(f"{kind} {sum(right)}/{len(right)}")
    print(f"fold {fold}, {took:.0f} s: {', '.join(shares)}", flush=True)


def join(out: Path) -> None:
    """One file of answers, and the reader into the package."""
    parts = [np.load(out / f"fold{k}.npz") for k in range(FOLDS)]
    keys, odds = (np.concatenate([p[name] for p in parts]) for name in ("keys", "odds"))
    keys, first = np.unique(keys, return_index=True)
    np.savez_compressed(DATA / "reader_answers.npz", keys=keys, odds=odds[first].astype(np.float16))
    TARGET.write_bytes((out / "reader.safetensors").read_bytes())
    print(f"{len(keys)} answers; wrote {TARGET}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fold", type=int, choices=range(FOLDS + 1))
    parser.add_argument("--join", action="store_true")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, default=Path("build") / "reader")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.join:
        embedder = SentenceTransformerEmbedder(device="cpu")
        turns = examples(embedder)
        asked = questions([*turns, *plain_examples(embedder)]) + strangers(turns, random.Random(2))
        for fold in range(FOLDS + 1) if arguments.fold is None else [arguments.fold]:
            one_fold(fold, asked, arguments.out, arguments.epochs)
    if arguments.join or arguments.fold is None:
        join(arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
