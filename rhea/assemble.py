"""Assembly: sections in a stable order under one hard token budget, counted on the final prompt.

::

    system     instructions, placed there on request   stable: a server's prefix cache keeps it
    user       ┐ past turns whose replies are memory tokens, where the model reads such,
    assistant  ┘ and the last exchange, as real messages
    user         background: past turns in time order, marked as such
                 instructions                          measured: nearness to the question decides
                 requests that the question goes on with
                 the question
                 rules, roles, and what was asked of this reply, once more: what stands last counts most

Instructions and question are fixed first; recall gets what is left. The sum is then counted on the rendered
prompt, and the least valuable episodes go until it fits. Paper: Priority attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rhea.errors import BudgetTooSmall, InstructionsExceedBudget
from rhea.instructions.in_force import render_question, render_system
from rhea.instructions.piece import constraints, fewer, reworks
from rhea.models.base import TokenCounter, reads_memory
from rhea.recall.plan import RecallPlan
from rhea.recall.render import Part, PlannedEpisode, render_background
from rhea.recall.traces import pack_scores
from rhea.types import ChatMessage, Context, Instruction, Placement, TurnRecord

__all__ = ["BACKGROUND_TITLE", "Assembled", "assemble", "check_question"]

BACKGROUND_TITLE = "Background from earlier in this conversation:"
USER_BACKGROUND_TITLE = "Background from earlier conversations and this one:"
_MARGIN = 4
"""Tokens kept back for what joining texts may add at their seams."""
_REQUESTS_SHARE = 0.25
"""Part of the budget that requests which the question goes on with may take."""


_Said = tuple[Sequence[str], Sequence[str]]
"""Requests that the question goes on with, in the user's words, and the sentences that bind the reply."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Messages for the model, and the context that explains them."""

    messages: list[ChatMessage]
    context: Context
    memory: Mapping[int, int] = field(default_factory=dict)
    """Index of a message → the turn whose memory tokens stand for its text."""


@dataclass(frozen=True, slots=True)
class _Draft:
    messages: list[ChatMessage]
    sections: dict[str, int]
    tokens: int
    memory: dict[int, int]

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
    earlier: Sequence[TurnRecord] = (),
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
        earlier: turns whose requests the question goes on with, in order; dropped where there is no room.

    Raises:
        InstructionsExceedBudget: question and instructions alone are over the limit.
    """
    bound = {turn.id: constraints(turn.user) for turn in (*earlier, record)} if earlier else {}

    def said(requests: Sequence[TurnRecord]) -> _Said:
        turns = [*requests, record] if requests else []
        return [turn.user for turn in requests], [c for turn in turns for c in bound[turn.id]]

    def draft(background: Sequence[PlannedEpisode], recent: Sequence[PlannedEpisode], days: bool) -> _Draft:
        return _draft(record, kept, said(requests), background, recent, days=days, placement=placement, counter=counter)

    def fits(requests: Sequence[TurnRecord]) -> bool:
        alone = _draft(record, kept, said(requests), (), (), days=False, placement=placement, counter=counter)
        return alone.tokens <= limit and alone.sections.get("requests", 0) <= limit * _REQUESTS_SHARE

    requests: Sequence[TurnRecord] = next(filter(fits, fewer(earlier)), ()) if earlier else ()
    bare = draft((), (), False)
    if bare.tokens > limit:
        raise _instructions_too_long(kept, bare.tokens, limit, counter)
    room = limit - bare.tokens
    if recall_budget is not None:
        room = min(room, recall_budget)
    frame = counter.count_text(f"{BACKGROUND_TITLE}\n\n\nQuestion: ") + _MARGIN
    chosen = plan(max(0, room - frame))
    chosen.restate([turn.id for turn in requests], counter.count_text, keep_last=reworks(record.user))
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
        notes=(*notes, *_goes_on_with(requests), *_as_memory(built)),
        others=pack_scores(chosen.others),
    )
    return Assembled(built.messages, context, built.memory)


def _sections(plan: RecallPlan) -> tuple[list[PlannedEpisode], list[PlannedEpisode], bool]:
    """Recent episodes, and those in memory tokens, become real messages: what the user said and a reply."""
    recent = [e for e in plan.background if e.remembered and e.conversation is None]
    recent += [e for e in plan.recent if _whole(e.parts)]
    return [e for e in plan.episodes if e not in recent], recent, plan.days


def _whole(parts: Sequence[Part]) -> bool:
    """From the user's words to a reply; a question left open would be taken for the one to answer."""
    ends = parts[0].role == "user" and parts[-1].role == "assistant"
    return ends and all(p.role in ("user", "assistant") for p in parts)


def _draft(
    record: TurnRecord,
    kept: Sequence[Instruction],
    said: _Said,
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
    ruled, asked = render_question(beside, record.user), render_question(beside, record.user, *said)
    requested = {"requests": max(0, counter.count_text(asked) - counter.count_text(ruled))} if said[0] else {}
    remembered = render_background(background, days=days)
    if remembered:
        lead = "" if beside else "Question: "
        elsewhere = any(e.conversation for e in background)
        remembered = f"{USER_BACKGROUND_TITLE if elsewhere else BACKGROUND_TITLE}\n{remembered}"
        asked = f"{remembered}\n\n{lead}{asked}"
    messages: list[ChatMessage] = [{"role": "system", "content": system}] if system else []
    spoken, memory = _as_messages(recent)
    slots = {len(messages) + place: part.memory for place, (_, part) in memory.items()}
    turns = {len(messages) + place: turn_id for place, (turn_id, _) in memory.items()}
    messages += spoken
    messages.append({"role": "user", "content": asked})
    tokens = _count(counter, messages, slots)
    question = counter.count_text(record.user)
    sections = {
        "instructions": (counter.count_text(system) if system else 0)
        + (max(0, counter.count_text(ruled) - question) if beside else 0),
        "background": counter.count_text(remembered) if remembered else 0,
        "recent": sum(counter.count_text(m["content"]) for i, m in enumerate(spoken) if i not in memory)
        + sum(slots.values()),
        "question": question,
    } | requested
    sections["template"] = tokens - sum(sections.values())
    return _Draft(messages, sections, tokens, turns)


def _as_memory(built: _Draft) -> list[str]:
    count = len(built.memory)
    return [f"{count} {'reply is' if count == 1 else 'replies are'} read as memory tokens"] if count else []


def _goes_on_with(requests: Sequence[TurnRecord]) -> list[str]:
    return [f"goes on with turn {turn.position}: {' '.join(turn.user.split())[:60]}" for turn in requests[:1]]


def _count(counter: TokenCounter, messages: Sequence[ChatMessage], slots: Mapping[int, int]) -> int:
    if slots and reads_memory(counter):
        return counter.count_mixed(messages, slots)
    return counter.count_messages(messages)


def _as_messages(recent: Sequence[PlannedEpisode]) -> tuple[list[ChatMessage], dict[int, tuple[int, Part]]]:
    """Roles alternate, as chat templates demand: neighbours of one role are joined by a newline.

    Also returned: which messages are memory tokens, with the turn and the part that they stand for.
    """
    messages: list[ChatMessage] = []
    memory: dict[int, tuple[int, Part]] = {}
    for episode in recent:
        for part in episode.parts:
            if messages and messages[-1]["role"] == part.role:
                messages[-1]["content"] += "\n" + part.text
            else:
                messages.append({"role": part.role, "content": part.text})
            if episode.remembered and part.memory:
                memory[len(messages) - 1] = episode.turn.id, part
    return messages, memory


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
