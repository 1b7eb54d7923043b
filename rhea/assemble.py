"""Assembly: sections in a stable order under one hard token budget, counted on the final prompt.

::

    system     instructions, placed there on request   stable: a server's prefix cache keeps it
    user       ┐ recent: the last exchange,
    assistant  ┘ as real messages
    user         background: past turns in time order, marked as such
                 instructions                          measured: nearness to the question decides
                 the question
                 rules and roles once more             what stands last counts most

Instructions and question are fixed first; recall gets what is left. The sum is then counted on the rendered
prompt, and the least valuable episodes go until it fits. Paper: Priority attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rhea.errors import BudgetTooSmall, InstructionsExceedBudget
from rhea.instructions.in_force import render_question, render_system
from rhea.models.base import TokenCounter
from rhea.recall.plan import RecallPlan
from rhea.recall.render import Part, PlannedEpisode, render_background
from rhea.recall.traces import pack_scores
from rhea.types import ChatMessage, Context, Instruction, Placement, TurnRecord

__all__ = ["BACKGROUND_TITLE", "Assembled", "assemble", "check_question"]

BACKGROUND_TITLE = "Background from earlier in this conversation:"
USER_BACKGROUND_TITLE = "Background from earlier conversations and this one:"
_MARGIN = 4
"""Tokens kept back for what joining texts may add at their seams."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Messages for the model, and the context that explains them."""

    messages: list[ChatMessage]
    context: Context


@dataclass(frozen=True, slots=True)
class _Draft:
    messages: list[ChatMessage]
    sections: dict[str, int]
    tokens: int

    @property
    def remembered(self) -> int:
        return self.sections["background"] + self.sections["recent"]


def check_question(text: str, limit: int, counter: TokenCounter) -> None:
    """Refuse a question that cannot fit before anything is stored.

    Raises:
        BudgetTooSmall: question and chat template alone are over the limit.
    """
    tokens = counter.count_messages([{"role": "user", "content": text}])
    if tokens > limit:
        raise BudgetTooSmall(
            f"the question takes {tokens:,} tokens with the chat template, the budget is {limit:,}; "
            "raise the budget or shorten the message"
        )


def assemble(
    record: TurnRecord,
    kept: Sequence[Instruction],
    left_out: Sequence[Instruction],
    plan: Callable[[int], RecallPlan],
    *,
    limit: int,
    placement: Placement,
    counter: TokenCounter,
    recall_budget: int | None = None,
    notes: Sequence[str] = (),
) -> Assembled:
    """Build the messages of one turn.

    Args:
        record: the pending turn that asks.
        kept: instructions in force, in the order in which they are placed.
        left_out: preferences that did not fit their share.
        plan: gives the recall decisions for a number of tokens.
        limit: most tokens of the rendered prompt.
        placement: where instructions stand.
        counter: counts with the attached model's tokenizer, or the fallback.
        recall_budget: most tokens for background and recent together; ``None`` for all that is left.
        notes: doubts worth telling in the trace.

    Raises:
        InstructionsExceedBudget: question and instructions alone are over the limit.
    """

    def draft(background: Sequence[PlannedEpisode], recent: Sequence[PlannedEpisode], days: bool) -> _Draft:
        return _draft(record, kept, background, recent, days=days, placement=placement, counter=counter)

    bare = draft((), (), False)
    if bare.tokens > limit:
        raise _instructions_too_long(kept, bare.tokens, limit, counter)
    room = limit - bare.tokens
    if recall_budget is not None:
        room = min(room, recall_budget)
    frame = counter.count_text(f"{BACKGROUND_TITLE}\n\n\nQuestion: ") + _MARGIN
    chosen = plan(max(0, room - frame))
    built = draft(*_sections(chosen))
    while built.tokens > limit or (recall_budget is not None and built.remembered > recall_budget):
        if not chosen.shrink():
            built = bare
            break
        built = draft(*_sections(chosen))
    context = Context(
        budget=limit,
        tokens=built.tokens,
        sections=built.sections,
        instructions=tuple(i.text for i in kept),
        episodes=chosen.trace(),
        left_out=tuple(i.text for i in left_out),
        notes=tuple(notes),
        others=pack_scores(chosen.others),
    )
    return Assembled(built.messages, context)


def _sections(plan: RecallPlan) -> tuple[list[PlannedEpisode], list[PlannedEpisode], bool]:
    """Recent episodes become real messages when they start with the user's; else they are background too."""
    recent = [e for e in plan.recent if e.parts[0].role == "user" and _only_speakers(e.parts)]
    return [e for e in plan.episodes if e not in recent], recent, plan.days


def _only_speakers(parts: Sequence[Part]) -> bool:
    return all(p.role in ("user", "assistant") for p in parts)


def _draft(
    record: TurnRecord,
    kept: Sequence[Instruction],
    background: Sequence[PlannedEpisode],
    recent: Sequence[PlannedEpisode],
    *,
    days: bool,
    placement: Placement,
    counter: TokenCounter,
) -> _Draft:
    system = render_system(kept) if kept and placement != "question" else ""
    # a rule that the question itself states needs no second copy beside it
    beside = [i for i in kept if i.source_turn_id != record.id] if placement != "system" else []
    asked = render_question(beside, record.user) if beside else record.user
    remembered = render_background(background, days=days)
    if remembered:
        lead = "" if beside else "Question: "
        elsewhere = any(e.conversation for e in background)
        remembered = f"{USER_BACKGROUND_TITLE if elsewhere else BACKGROUND_TITLE}\n{remembered}"
        asked = f"{remembered}\n\n{lead}{asked}"
    messages: list[ChatMessage] = [{"role": "system", "content": system}] if system else []
    spoken = _as_messages(recent)
    messages += spoken
    messages.append({"role": "user", "content": asked})
    tokens = counter.count_messages(messages)
    question = counter.count_text(record.user)
    sections = {
        "instructions": (counter.count_text(system) if system else 0)
        + (max(0, counter.count_text(render_question(beside, record.user)) - question) if beside else 0),
        "background": counter.count_text(remembered) if remembered else 0,
        "recent": sum(counter.count_text(m["content"]) for m in spoken),
        "question": question,
    }
    sections["template"] = tokens - sum(sections.values())
    return _Draft(messages, sections, tokens)


def _as_messages(recent: Sequence[PlannedEpisode]) -> list[ChatMessage]:
    """Roles alternate, as chat templates demand: neighbours of one role are joined by a newline."""
    messages: list[ChatMessage] = []
    for part in (part for episode in recent for part in episode.parts):
        if messages and messages[-1]["role"] == part.role:
            messages[-1]["content"] += "\n" + part.text
        else:
            messages.append({"role": part.role, "content": part.text})
    if messages and messages[-1]["role"] == "user":
        messages.append({"role": "assistant", "content": "(no reply)"})  # the turn was interrupted
    return messages


def _instructions_too_long(
    kept: Sequence[Instruction], tokens: int, limit: int, counter: TokenCounter
) -> InstructionsExceedBudget | BudgetTooSmall:
    if not kept:
        return BudgetTooSmall(f"the question takes {tokens:,} tokens, the budget is {limit:,}; raise the budget")
    largest = sorted(kept, key=lambda i: -counter.count_text(i.text))[:3]
    named = "; ".join(f"#{i.id} ({counter.count_text(i.text)} tokens) {i.text[:60]!r}" for i in largest)
    return InstructionsExceedBudget(
        f"instructions and question take {tokens:,} tokens, the budget is {limit:,}. Largest: {named}. "
        "Raise the budget, or shorten or revoke one: `rhea instructions edit|revoke ID`"
    )
