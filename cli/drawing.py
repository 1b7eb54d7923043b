"""Turns, contexts and rules drawn with rich: for `rhea why`, `rhea history` and the terminal chat.

The facts come from `rhea.explain`; this module only gives them colour and places. Where there is no colour
(`NO_COLOR`, a pipe) shapes and letters tell the same things apart.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from rhea.explain import GLYPHS, bar_cells, counts, summary_line, timeline, top_reasons
from rhea.types import Context, ConversationSummary, Decision, Instruction, TurnRecord, TurnState

__all__ = [
    "DECISION_STYLES",
    "SECTION_STYLES",
    "SectionBar",
    "Timeline",
    "commands_view",
    "conversations_view",
    "footer",
    "history_view",
    "make_console",
    "one_line",
    "printable",
    "rules_view",
    "why_view",
]

SECTION_STYLES = {
    "instructions": "magenta",
    "background": "blue",
    "recent": "cyan",
    "question": "green",
    "requests": "yellow",
    "template": "bright_black",
}
DECISION_STYLES = {Decision.RAW: "green", Decision.COMPRESSED: "yellow", Decision.OMITTED: "bright_black"}
_WIDEST = 72
_PIPED_WIDTH = 120
_REASONS = 6
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}
_PICTURES |= {0x7F: "␡"} | dict.fromkeys(range(0x80, 0xA0), "�")
_PICTURES |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "�")  # direction overrides


def make_console(*, stderr: bool = False) -> Console:
    """A console that draws words as they are: no markup, no highlighting, no emoji codes."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH
    return Console(file=stream, stderr=stderr, width=width, markup=False, highlight=False, emoji=False)


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters become pictures of themselves."""
    return text.replace("\r\n", "\n").translate(_PICTURES)


def one_line(text: str, most: int) -> str:
    """The text on one line, cut with an ellipsis."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= most else flat[: most - 1].rstrip() + "…"


class SectionBar:
    """The sections of a context as a bar, the budget being its whole width."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """As wide as there is room, to a readable limit."""
        return Measurement(1, min(_WIDEST, options.max_width))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Coloured blocks; letters where there is no colour."""
        width = min(_WIDEST, options.max_width)
        plain = console.no_color or console.color_system is None
        bar = Text(overflow="crop", no_wrap=True)
        for name, cells in bar_cells(self.context, width).items():
            bar.append((name[0].upper() if plain else "█") * cells, style=SECTION_STYLES.get(name, "white"))
        bar.truncate(width)
        yield bar + Text("░" * (width - len(bar)), style="bright_black")


class Timeline:
    """Past turns as a strip, oldest first: raw, compressed, omitted."""

    def __init__(self, context: Context, turns: int) -> None:
        self.context = context
        self.turns = turns

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """A cell a turn, to a readable limit."""
        return Measurement(1, max(1, min(_WIDEST, self.turns, options.max_width)))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One cell a turn, or several turns a cell when there are more than the line holds."""
        strip = Text(overflow="crop", no_wrap=True)
        for decision in timeline(self.context, self.turns, min(_WIDEST, options.max_width)):
            strip.append(GLYPHS[decision], style=DECISION_STYLES[decision])
        yield strip


def why_view(record: TurnRecord, context: Context) -> RenderableType:
    """Everything that `rhea why` shows of one turn."""
    rows = _grid()
    asked = Text(printable(record.user), style="bold")
    asked.truncate(400, overflow="ellipsis")
    rows.add_row(f"turn {record.position}", asked)
    rows.add_row("budget", Group(SectionBar(context), _legend(context)))
    rows.add_row("turns", _turns(record, context))
    if context.instructions:
        rows.add_row("rules", _numbered(context.instructions))
    if context.left_out:
        rows.add_row("no room", _numbered(context.left_out))
    if reasons := top_reasons(context, _REASONS):
        rows.add_row("why", Text(printable("\n".join(reasons))))
    if context.notes:
        rows.add_row("notes", Text(printable("\n".join(context.notes))))
    return rows


def history_view(turns: Iterable[TurnRecord]) -> RenderableType:
    """Turns with what was said, oldest first."""
    parts: list[RenderableType] = []
    for turn in turns:
        if parts:
            parts.append(Text())
        rows = _grid()
        rows.add_row(f"{turn.position}", Text(printable(turn.user), style="bold"))
        if turn.reply is not None:
            rows.add_row("", Text(printable(turn.reply)))
        if turn.state is not TurnState.COMMITTED:
            rows.add_row("", Text(f"({turn.state})", style="yellow"))
        parts.append(rows)
    return Group(*parts) if parts else Text("no turns yet", style="bright_black")


def rules_view(instructions: Sequence[Instruction]) -> RenderableType:
    """Instructions in force, with what `rhea instructions` needs to name them."""
    if not instructions:
        return Text("no rules yet; say one, such as “from now on, answer in one sentence”", style="bright_black")
    rows = _grid()
    for rule in instructions:
        origin = f"turn {rule.source_position}" if rule.source_position is not None else "by hand"
        reach = "all conversations" if rule.scope == "user" else "this conversation"
        text = Text(printable(rule.text))
        text.append(f"\n{rule.kind}, {origin}, {reach}", style="bright_black")
        rows.add_row(f"#{rule.id}", text)
    return rows


def conversations_view(found: Sequence[ConversationSummary]) -> RenderableType:
    """A user's conversations, last used first."""
    if not found:
        return Text("no conversations yet", style="bright_black")
    table = Table(box=None, pad_edge=False, header_style="bright_black")
    table.add_column("conversation", overflow="fold")
    table.add_column("turns", justify="right")
    table.add_column("last used")
    for summary in found:
        used = summary.updated_at.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(Text(printable(summary.name)), f"{summary.turns:,}", used)
    return table


def commands_view(commands: Mapping[str, str]) -> RenderableType:
    """Names and what they do, in two columns."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="cyan", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, meaning in commands.items():
        rows.add_row(name, meaning)
    return rows


def footer(context: Context, seconds: float, *, interrupted: bool) -> Text:
    """The dim line under a reply in the terminal."""
    parts = [f"{context.tokens:,} of {context.budget:,} tokens"]
    if context.instructions:
        parts.append("1 rule" if len(context.instructions) == 1 else f"{len(context.instructions)} rules")
    if context.episodes:
        parts.append(f"past turns: {summary_line(context)}")
    parts.append(f"{seconds:.1f} s")
    line = Text(" · ".join(parts), style="bright_black")
    return Text("interrupted, kept · ", style="yellow") + line if interrupted else line


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bright_black", justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _numbered(texts: Sequence[str]) -> Text:
    return Text("\n".join(f"{n}. {printable(text)}" for n, text in enumerate(texts, 1)))


def _legend(context: Context) -> Text:
    share = context.tokens / max(context.budget, 1)
    legend = Text(f"{context.tokens:,} of {context.budget:,} tokens ({share:.0%}): ")
    named = [(name, n) for name, n in context.sections.items() if n]
    for place, (name, tokens) in enumerate(named):
        legend.append(", " if place else "")
        legend.append(f"{name} {tokens:,}", style=SECTION_STYLES.get(name, "white"))
    return legend


def _turns(record: TurnRecord, context: Context) -> RenderableType:
    past = record.position - 1
    if not context.episodes:
        return Text("none before this one" if not past else f"none of the {past:,} before this one")
    found = counts(context)
    found[Decision.OMITTED] += max(0, past - sum(1 for e in context.episodes if e.conversation is None))
    legend = Text()
    for decision, number in found.items():
        legend.append("  " if legend else "")
        legend.append(f"{GLYPHS[decision]} {number:,} {decision}", style=DECISION_STYLES[decision])
    return Group(Timeline(context, past), legend)
