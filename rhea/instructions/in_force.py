"""Which instructions bind one turn, which of them fit, and the words that place them in the prompt.

Rules and roles are always kept: when they alone do not fit, a typed error says which to shorten. Preferences
share a part of the budget; beyond it those nearest the question come first. Small models obey what stands beside
the question, and best what stands after it, so rules enclose the question there (docs/rules.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rhea.errors import InstructionsExceedBudget
from rhea.types import Instruction, InstructionKind, InstructionStatus

if TYPE_CHECKING:
    from rhea.embed import Embedder

__all__ = ["by_turn", "choose", "in_force", "instruction_lines", "render_question", "render_system"]

_SHOWN = 3
"""How many of the largest rules an error names."""


def in_force(instructions: Sequence[Instruction], position: int) -> list[Instruction]:
    """Those that bind the turn at ``position``: active, and given no later than it, and not run out.

    An instruction with ``expires_after`` = n, given in turn s, binds turn s and the n turns after it.
    """
    return [i for i in instructions if i.status is InstructionStatus.ACTIVE and not _over(i, position)]


def _over(instruction: Instruction, position: int) -> bool:
    if instruction.expires_after is None or instruction.source_position is None:
        return False
    return position > instruction.source_position + instruction.expires_after


def choose(
    instructions: Sequence[Instruction],
    question: str,
    count_tokens: Callable[[str], int],
    budget: int,
    share: float,
    embedder: Embedder | None = None,
) -> tuple[list[Instruction], list[Instruction]]:
    """Split the instructions in force into those placed and the preferences left out.

    Args:
        instructions: those in force, oldest first.
        question: the user's message, to rank preferences by.
        count_tokens: tokens of a bare text.
        budget: tokens that all instructions together may take, in one placement.
        share: part of ``budget`` that preferences may take, in [0, 1].
        embedder: ranks preferences by meaning; without one, by shared words, then newest first.

    Returns:
        (kept, left_out), both oldest first.

    Raises:
        InstructionsExceedBudget: rules and roles alone take more than ``budget``.
    """
    binding = [i for i in instructions if i.kind is not InstructionKind.PREFERENCE]
    preferences = [i for i in instructions if i.kind is InstructionKind.PREFERENCE]
    sizes = {i.id: count_tokens(_line(i.text)) + 1 for i in instructions}
    taken = sum(sizes[i.id] for i in binding)
    if taken > budget:
        raise InstructionsExceedBudget(_too_large(binding, sizes, taken, budget))
    allowance = min(budget - taken, int(budget * share))
    kept_ids = {i.id for i in binding}
    for preference in _by_bearing(preferences, question, embedder):
        if sizes[preference.id] <= allowance:
            allowance -= sizes[preference.id]
            kept_ids.add(preference.id)
    return [i for i in instructions if i.id in kept_ids], [i for i in instructions if i.id not in kept_ids]


def _too_large(binding: Sequence[Instruction], sizes: dict[int, int], taken: int, budget: int) -> str:
    largest = sorted(binding, key=lambda i: -sizes[i.id])[:_SHOWN]
    named = "; ".join(f"#{i.id} ({sizes[i.id]} tokens) {_shortened(i.text)}" for i in largest)
    return (
        f"the rules in force take {taken} tokens, {budget} are free for them. Largest: {named}. "
        "Shorten one with `rhea instructions edit ID TEXT`, end one with `rhea instructions revoke ID`, "
        "or give a larger budget"
    )


def _shortened(text: str, length: int = 60) -> str:
    flat = " ".join(text.split())
    return f"“{flat}”" if len(flat) <= length else f"“{flat[: length - 1]}…”"


def _by_bearing(preferences: Sequence[Instruction], question: str, embedder: Embedder | None) -> list[Instruction]:
    """Preferences, those that bear on the question first; equals newest first."""
    from rhea.instructions.topics import same_words

    newest_first = list(reversed(preferences))
    if embedder is None or len(newest_first) < 2:
        return sorted(newest_first, key=lambda i: -same_words(i.text, question))
    from rhea.instructions.vectors import embed_clipped

    vectors = embed_clipped(embedder, [question, *(i.text for i in newest_first)])
    near = vectors[1:] @ vectors[0]
    return [newest_first[k] for k in sorted(range(len(newest_first)), key=lambda k: -float(near[k]))]


def _line(text: str) -> str:
    return f"- {text}"


def instruction_lines(kept: Sequence[Instruction]) -> list[str]:
    """The instructions verbatim, one entry a line; neighbours in one message are joined as they stood there."""
    lines: list[str] = []
    last: Instruction | None = None
    for instruction in kept:
        joins = (
            last is not None
            and last.source_turn_id is not None
            and last.source_turn_id == instruction.source_turn_id
            and last.end is not None
            and instruction.start == last.end + 1
        )
        if joins:
            lines[-1] = f"{lines[-1]} {instruction.text}"
        else:
            lines.append(instruction.text)
        last = instruction
    return lines


def by_turn(kept: Sequence[Instruction]) -> dict[int, str]:
    """The lines of each turn that brought instructions, by its id: what of its text stands in the context."""
    turns = {i.source_turn_id for i in kept if i.source_turn_id is not None}
    return {t: "\n".join(instruction_lines([i for i in kept if i.source_turn_id == t])) for t in turns}


def render_system(kept: Sequence[Instruction]) -> str:
    """The system message's section; ``""`` when nothing is in force."""
    if not kept:
        return ""
    return "\n".join(["Follow these rules in every reply:", *map(_line, instruction_lines(kept))])


def render_question(
    kept: Sequence[Instruction], question: str, earlier: Sequence[str] = (), constraints: Sequence[str] = ()
) -> str:
    """The last user message: instructions, the question verbatim, and rules and roles once more after it.

    What stands last is obeyed most (docs/rules.md has the measured table); preferences inform the answer rather
    than shape it, and stand before the question alone.

    Args:
        kept: instructions in force, in the order in which they are placed.
        question: the user's message.
        earlier: requests that the message goes on with, in the user's own words, oldest first.
        constraints: sentences of these and of the message that bind this reply; said again after the rules.
    """
    binding = instruction_lines([i for i in kept if i.kind is not InstructionKind.PREFERENCE])
    again = list(dict.fromkeys([*binding, *constraints]))
    rules = ["\n".join(instruction_lines(kept))] if kept else []
    reminder = [f"Remember: {' '.join(again)}"] if again else []
    return "\n\n".join([*rules, *earlier, question, *reminder])
