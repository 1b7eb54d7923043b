"""What a turn costs on one machine, turn by turn: Rhea's bounded context beside the full history.

Speed does not depend on what the tokens say, so the conversation is made of random ids and the weights may be
random: any model shape can be measured. The arms:

``rhea``          a context of at most ``budget`` tokens: instructions, the first and the last exchange raw,
                  earlier turns as raw user text and memory tokens, newest first; fast decoder
``full``          the whole history, computed anew every turn; fast decoder
``full-kept``     the whole history with the KV cache kept between turns; fast decoder
``full-eager``    the whole history, computed anew, decoded by ordinary eager transformers
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.errors import InputError, MissingExtra
from rhea.models.cuda import FastDecoder

if TYPE_CHECKING:
    import torch

__all__ = [
    "ARMS",
    "LatencyPlan",
    "TurnCost",
    "load_network",
    "measure_latency",
    "plot_latency",
    "random_network",
    "read_bandwidth",
]

ARMS = ("rhea", "full", "full-kept", "full-eager")
_FIRST_ID = 3


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """The synthetic conversation and what is measured of it; lengths are in tokens.

    ``every`` measures each so-manieth turn, and always turns 8 and the last.
    """

    turns: int = 64
    user: int = 60
    reply: int = 400
    instructions: int = 60
    new_tokens: int = 128
    budget: int = 2048
    memory_tokens: int = 8
    every: int = 8
    seed: int = 0

    def measured(self) -> list[int]:
        """The turns to measure."""
        chosen = {t for t in range(1, self.turns + 1) if t % self.every == 0}
        return sorted(chosen | {t for t in (8, self.turns) if t <= self.turns})


@dataclass(frozen=True, slots=True)
class TurnCost:
    """One measured turn; times in seconds, memory in bytes."""

    turn: int
    context_tokens: int
    first_token: float
    a_token: float
    total: float
    peak_memory: int


@dataclass(frozen=True, slots=True)
class _Context:
    """A prompt as ids; negative ids are memory tokens, the same id for the same memory."""

    ids: tuple[int, ...]


def random_network(config: dict[str, Any], *, device: str, dtype: str = "bfloat16") -> Any:
    """A causal LM of a configuration's shape with random weights.

    Raises:
        InputError: the configuration names no causal LM that transformers knows.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        shape = AutoConfig.for_model(**config)
        with torch.device(device):
            network: Any = AutoModelForCausalLM.from_config(shape, dtype=getattr(torch, dtype))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"cannot make a model of this configuration: {error}") from error
    return network.eval()


def read_bandwidth(device: torch.device, *, size: int = 1 << 31, repeats: int = 10) -> float:
    """Bytes a second of a copy within the device's memory, read and written bytes counted."""
    import torch

    source = torch.empty(size, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    times = []
    for _ in range(repeats):
        began = _now(device)
        target.copy_(source)
        times.append(_now(device) - began)
    return 2 * size / sorted(times)[repeats // 2]


def measure_latency(
    network: Any, plan: LatencyPlan, arms: Sequence[str], *, report: Callable[[str, TurnCost], None] | None = None
) -> dict[str, Any]:
    """Measure every arm; the result is what ``rhea bench latency`` prints.

    Raises:
        InputError: an arm that is not known, or a conversation longer than the model's window.
    """
    import torch

    if unknown := sorted(set(arms) - set(ARMS)):
        raise InputError(f"unknown arms {unknown}; choose from {', '.join(ARMS)}")
    history = _History(plan, int(network.config.get_text_config().vocab_size))
    longest = max(len(history.full(plan.turns).ids), plan.budget) + plan.new_tokens + 1
    window = network.config.get_text_config().max_position_embeddings
    if any(a != "rhea" for a in arms) and longest > window:
        raise InputError(f"{plan.turns} turns take {longest} tokens, the model's window holds {window}; fewer --turns")
    costs: dict[str, list[TurnCost]] = {}
    for arm in arms:
        runner = _runner(arm, network, plan, history, longest)
        costs[arm] = []
        runner(plan.measured()[0])  # first use of kernels and memory is not what a turn costs
        for turn in plan.measured():
            cost = runner(turn)
            costs[arm].append(cost)
            if report:
                report(arm, cost)
        del runner
        if network.device.type == "cuda":
            torch.cuda.empty_cache()
    return _summary(network, plan, costs)


class _History:
    """The synthetic conversation, and its contexts by turn."""

    def __init__(self, plan: LatencyPlan, vocabulary: int) -> None:
        rng = random.Random(plan.seed)  # noqa: S311

        def words(count: int) -> tuple[int, ...]:
            return tuple(rng.randrange(_FIRST_ID, vocabulary) for _ in range(count))

        self.plan = plan
        self.rules = words(plan.instructions)
        self.exchanges = [(words(plan.user), words(plan.reply)) for _ in range(plan.turns)]

    def full(self, turn: int) -> _Context:
        past = [t for user, reply in self.exchanges[: turn - 1] for t in (*user, *reply)]
        return _Context((*self.rules, *past, *self.exchanges[turn - 1][0]))

    def bounded(self, turn: int) -> _Context:
        """Instructions, first exchange, compressed turns newest first, last exchange, question; inside the budget."""
        question = self.exchanges[turn - 1][0]
        room = self.plan.budget - len(self.rules) - len(question)
        forms: dict[int, tuple[int, ...]] = {}
        whole = sorted({0, turn - 2} & set(range(turn - 1)), reverse=True)
        for i in (*whole, *range(turn - 3, 0, -1)):
            user, reply = self.exchanges[i]
            memory = tuple(-(i * self.plan.memory_tokens + j + 1) for j in range(self.plan.memory_tokens))
            choices = ((*user, *reply), (*user, *memory)) if i in whole else ((*user, *memory),)
            form = next((f for f in choices if len(f) <= room), None)
            if form is None:
                break
            forms[i] = form
            room -= len(form)
        past = [t for i in sorted(forms) for t in forms[i]]
        return _Context((*self.rules, *past, *question))


def _runner(arm: str, network: Any, plan: LatencyPlan, history: _History, longest: int) -> Callable[[int], TurnCost]:
    if arm == "full-eager":
        return lambda turn: _timed(network, turn, history.full(turn), plan, lambda c: _eager(network, c, plan))
    length = plan.budget + plan.new_tokens + 1 if arm == "rhea" else longest
    decoder = FastDecoder(network, max_len=length)
    decoder.warm_up([n for n in (512 << i for i in range(12)) if n < 2 * length])

    def run(turn: int) -> TurnCost:
        context = history.bounded(turn) if arm == "rhea" else history.full(turn)
        keep = arm != "full"
        if keep and turn > 1:  # what the turn before left in the cache
            left = history.bounded(turn - 1) if arm == "rhea" else _Context(context.ids[: -plan.user])
            for _ in _fast(network, decoder, left, 2, keep=True):
                pass
        return _timed(network, turn, context, plan, lambda c: _fast(network, decoder, c, plan.new_tokens, keep=keep))

    return run


def _timed(
    network: Any, turn: int, context: _Context, plan: LatencyPlan, generate: Callable[[_Context], Iterator[int]]
) -> TurnCost:
    import torch

    cuda = network.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    began = _now(network.device)
    stream = generate(context)
    next(stream)
    first = _now(network.device, wait=False) - began
    count = 1 + sum(1 for _ in stream)
    total = _now(network.device) - began
    peak = torch.cuda.max_memory_allocated() if cuda else _resident()
    each = (total - first) / max(1, count - 1)
    return TurnCost(turn, len(context.ids), round(first, 5), round(each, 6), round(total, 5), peak)


def _fast(network: Any, decoder: FastDecoder, context: _Context, new: int, *, keep: bool) -> Iterator[int]:
    import torch

    ids = torch.tensor(context.ids, device=network.device)
    # random rows of the embedding table stand in for memory tokens: the cost is the same
    embedded = network.get_input_embeddings()(ids.abs() % network.config.get_text_config().vocab_size)
    keys: Sequence[Hashable] | None = context.ids if keep else None
    yield from decoder.generate(inputs_embeds=embedded[None], keys=keys, max_new_tokens=new)


def _eager(network: Any, context: _Context, plan: LatencyPlan) -> Iterator[int]:
    import torch

    cache = None
    ids = torch.tensor([context.ids], device=network.device)
    for _ in range(plan.new_tokens):
        with torch.inference_mode():
            out = network(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, ids = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
        yield int(ids)


def _summary(network: Any, plan: LatencyPlan, costs: dict[str, list[TurnCost]]) -> dict[str, Any]:
    import torch

    result: dict[str, Any] = {"plan": asdict(plan), "arms": {}}
    for arm, turns in costs.items():
        mean = sum(c.total for c in turns) / len(turns)
        result["arms"][arm] = {"mean_total": round(mean, 4), "turns": [asdict(c) for c in turns]}
    rhea = costs.get("rhea")
    if rhea:
        by_turn = {c.turn: c for c in rhea}
        if 8 in by_turn:
            result["first_token_growth"] = round(by_turn[plan.turns].first_token / by_turn[8].first_token, 3)
        own = result["arms"]["rhea"]["mean_total"]
        others = {arm: round(v["mean_total"] / own, 3) for arm, v in result["arms"].items() if arm != "rhea"}
        result["times_slower_than_rhea"] = others
    if network.device.type == "cuda":
        bandwidth = read_bandwidth(network.device)
        table = network.get_input_embeddings().weight
        tied = network.get_output_embeddings().weight.data_ptr() == table.data_ptr()
        weights = sum(p.numel() * p.element_size() for p in network.parameters())
        floor = (weights - (0 if tied else table.numel() * table.element_size())) / bandwidth
        result |= {
            "device": torch.cuda.get_device_name(network.device),
            "bandwidth": round(bandwidth / 1e12, 3),
            "weights_read": round(floor, 6),
        }
        for arm in result["arms"].values():
            arm["a_token_over_floor"] = round(min(c["a_token"] for c in arm["turns"]) / floor, 3)
            arm["a_token_over_floor_last"] = round(arm["turns"][-1]["a_token"] / floor, 3)
    return result


def _now(device: torch.device, *, wait: bool = True) -> float:
    import torch

    if wait and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _resident() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def load_network(model: str | None, random_weights: Path | None, device: str | None) -> Any:
    """The network to measure: a model by name, or random weights of a configuration's shape.

    Raises:
        ModelNotFound: no such model.
        InputError: the configuration cannot be read, or names no causal LM.
    """
    from rhea.models.transformers import TransformersModel

    if random_weights is None:
        return TransformersModel(model, device=device).network
    try:
        config = json.loads(random_weights.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the configuration {random_weights} ({error})") from error
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    config.pop("architectures", None)
    return random_network(config, device=device, dtype="bfloat16" if device.startswith("cuda") else "float32")


def plot_latency(report: dict[str, Any], path: Path) -> None:
    """Draw the total latency of each measured turn, a line an arm.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("bench", "drawing") from None
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for arm, result in report["arms"].items():
        axes.plot([c["turn"] for c in result["turns"]], [c["total"] for c in result["turns"]], marker="o", label=arm)
    axes.set_xlabel("turn")
    axes.set_ylabel(f"seconds for {report['plan']['new_tokens']} new tokens")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(path)
