"""From a model and files of dialogues to a compressor folder: what `rhea compressor train` does.

One dialogue in ten is kept out of training by a hash of its id, for measuring; of the rest, one in 25 is kept
for validation, by which the best state is chosen. The keys of every dialogue seen go into the config.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.compress.format import CompressorSpec, describe_base, dialogue_key, fingerprint, write_folder
from rhea.compress.generate import GenerationPlan, generate_dialogues
from rhea.compress.memory_tokens import FINGERPRINT
from rhea.compress.network import CompressorNetwork
from rhea.compress.samples import Dialogue, Frame, Mix, held_out, read_dialogues, tokenize
from rhea.compress.train import Progress, TrainingPlan, train
from rhea.errors import CompressorError

if TYPE_CHECKING:
    from rhea.models.transformers import TransformersModel

__all__ = ["Split", "group_sizes", "split_dialogues", "train_compressor", "write_generated"]

_GENERATED = "generated-"


@dataclass(frozen=True, slots=True)
class Split:
    """Dialogues by what they are for."""

    training: list[Dialogue]
    validation: list[Dialogue]
    held_out: list[Dialogue]


def split_dialogues(dialogues: Sequence[Dialogue]) -> Split:
    """Split by hashes of the ids: 10 % held out, 4 % of the rest for validation."""
    kept = [d for d in dialogues if not held_out(d.id)]
    return Split(
        training=[d for d in kept if not held_out(d.id, salt="validation:", parts=25)],
        validation=[d for d in kept if held_out(d.id, salt="validation:", parts=25)],
        held_out=[d for d in dialogues if held_out(d.id)],
    )


def group_sizes(tokens: int) -> dict[int, float]:
    """Group sizes to train together, and their shares: ``tokens`` most, half and up to four times as many a little."""
    others = {size for size in (tokens // 2, tokens * 2, tokens * 4) if size >= 1 and size != tokens}
    return {**dict.fromkeys(sorted(others), 0.24 / len(others)), tokens: 0.76}


def train_compressor(
    model: TransformersModel,
    data: Sequence[Path],
    output: Path,
    *,
    tokens: int = 8,
    rank: int = 16,
    plan: TrainingPlan,
    resume: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> CompressorSpec:
    """Train on files of dialogues, those that a model generated among them, and write the folder.

    Args:
        model: what to compress for.
        data: JSONL files of ``{"id", "turns": [{"user", "reply"}]}``; ids that begin with ``generated-`` are
            the model's own dialogues.
        output: folder to write; checkpoints go there too.
        tokens: memory tokens a group.
        rank: of both adapters.
        plan: how to train.
        resume: go on from the folder's checkpoint.
        report: called with each line of the log.

    Raises:
        CompressorError: unreadable data, too little of it, or no checkpoint to resume from.
    """
    prompts, network = model.prompts, model.network
    dialogues = read_dialogues(data)
    own = [d for d in dialogues if d.id.startswith(_GENERATED)]
    split = split_dialogues([d for d in dialogues if not d.id.startswith(_GENERATED)])
    if not split.training and not own:
        raise CompressorError("the files hold no dialogue to train on")
    sizes = group_sizes(tokens)
    spec = CompressorSpec(
        base=describe_base(network, model.name, prompts.tokenizer.chat_template),
        tokens=tokens,
        trained_tokens=tuple(sorted(sizes)),
        encoder_rank=rank,
        encoder_alpha=2 * rank,
        decoder_rank=rank,
        decoder_alpha=2 * rank,
        trained_on=tuple(sorted(dialogue_key(d.id) for d in (*split.training, *split.validation))),
    )
    early = Mix(next=0.35, repeat=0.5, continued=0.1, omitted=0.05, tokens=sizes)
    late = Mix(next=0.7, repeat=0.12, continued=0.1, omitted=0.08, tokens=sizes)
    plan = replace(plan, mix=early, late_mix=late)
    parts = CompressorNetwork(network, spec, seed=plan.seed)
    log = train(
        parts,
        prompts,
        tokenize(prompts, split.training),
        tokenize(prompts, own),
        plan,
        validate=_validator(parts, network, prompts, split.validation),
        folder=output,
        resume=resume,
        report=report,
    )
    training = {"data": [p.name for p in data], "dialogues": len(split.training), "generated": len(own),
                "plan": asdict(plan), "log": [asdict(entry) for entry in log]}  # fmt: skip
    return save_compressor(output, parts, replace(spec, training=training))


def save_compressor(folder: Path, parts: CompressorNetwork, spec: CompressorSpec) -> CompressorSpec:
    """Write a trained pair as a folder, in float16."""
    import torch

    tensors = parts.state(torch.float16)
    return write_folder(folder, spec, {**tensors, FINGERPRINT: fingerprint(parts.plain)})


def write_generated(
    model: TransformersModel, prompts_from: Sequence[Path], output: Path, *, dialogues: int, plan: GenerationPlan
) -> int:
    """Let the model write dialogues and append them to a JSONL file; returns how many exchanges.

    Raises:
        CompressorError: unreadable data, or a template that dialogues cannot be drawn with.
    """
    seeds = [d.turns[0][0] for d in split_dialogues(read_dialogues(prompts_from)).training if d.turns]
    frame = Frame.of(model.prompts)
    encoded = [tuple(model.prompts.encode_text(text)) for text in seeds]
    rounds = max(1, -(-dialogues // plan.rows))
    drawn = generate_dialogues(model.network, frame, encoded, plan, batches=rounds)
    exchanges = 0
    with output.open("a", encoding="utf-8") as file:
        for number, turns in enumerate([d for d in drawn if d][:dialogues]):
            decode = model.prompts.tokenizer.decode
            texts = [{"user": decode(e.user), "reply": decode(e.reply)} for e in turns]
            line = {"id": f"{_GENERATED}{plan.seed}-{number}", "source": model.name, "turns": texts}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            exchanges += len(turns)
    return exchanges


def _validator(
    parts: CompressorNetwork, network: Any, prompts: Any, dialogues: Sequence[Dialogue]
) -> Callable[[], float] | None:
    from rhea.bench.compression import pairs_of, validator

    pairs = pairs_of(tokenize(prompts, dialogues))
    return validator(network, Frame.of(prompts), pairs, parts) if pairs else None
