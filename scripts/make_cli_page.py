"""Writes the reference part of docs/cli.md from the commands themselves.

Run `python scripts/make_cli_page.py` after a change to a command or an option; a test fails while the page
and the commands differ. What stands above the mark is written by hand and stays as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["TARGET", "page"]

TARGET = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
MARK = "<!-- From here on made by scripts/make_cli_page.py; change the commands instead. -->"
ORDER = (
    "chat",
    "conversations",
    "history",
    "why",
    "instructions",
    "search",
    "import",
    "export",
    "erase",
    "prune",
    "db",
)
"""Commands that a reader meets first; the others follow by name."""


def page() -> str:
    """The whole page: the part written by hand, then one section a command."""
    written = TARGET.read_text(encoding="utf-8").partition(MARK)[0]
    return f"{written}{MARK}\n\n" + "\n".join(_sections(_application(), "rhea", 2))


def _application() -> Any:
    from typer.main import get_command

    import rhea.cli

    for name in rhea.cli.COMMAND_MODULES:
        import_module(f"rhea.cli.{name}")
    from rhea.cli.app import app

    return get_command(app)


def _sections(group: Any, path: str, level: int) -> Iterator[str]:
    order = ORDER if level == 2 else ()
    for name in sorted(group.commands, key=lambda n: (order.index(n) if n in order else len(order), n)):
        command = group.commands[name]
        if command.hidden:
            continue
        title = f"{path} {name}"
        yield f"{'#' * level} {title}\n"
        if hasattr(command, "commands"):
            if command.commands:
                yield f"{_prose(command.help)}\n"
                yield from _sections(command, title, level + 1)
            else:
                yield f"{_prose(command.help)}\n"
        else:
            yield _command(command, title)


def _command(command: Any, title: str) -> str:
    arguments = [p for p in command.params if not p.opts[0].startswith("-")]
    options = [p for p in command.params if p.opts[0].startswith("-") and not p.hidden]
    usage = " ".join([title, *(_usage(p) for p in arguments), "[OPTIONS]"])
    rows = [f"| `{_label(p)}` | {_cell(p)} |" for p in (*arguments, *options)]
    return "\n".join([f"```text\n{usage}\n```\n", _prose(command.help), "", "| | |", "|---|---|", *rows, ""])


def _usage(argument: Any) -> str:
    name = _name(argument) + ("..." if argument.nargs == -1 or argument.multiple else "")
    return name if argument.required else f"[{name}]"


def _label(parameter: Any) -> str:
    if not parameter.opts[0].startswith("-"):
        return _name(parameter)
    names = ", ".join((*parameter.opts, *parameter.secondary_opts))
    return names if parameter.is_flag else f"{names} {parameter.metavar or 'VALUE'}"


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]")


def _cell(parameter: Any) -> str:
    text = " ".join(_prose(parameter.help).split()).replace("|", "\\|")
    return " ".join(part for part in (text, _remark(parameter)) if part)


def _remark(parameter: Any) -> str:
    shown = parameter.show_default
    if parameter.required:
        return "Required."
    if isinstance(shown, str):
        return f"Default: {shown}."
    if getattr(parameter, "multiple", False):
        return "May be given several times."
    if shown and not getattr(parameter, "is_flag", False) and parameter.default not in (None, False, (), []):
        return f"Default: `{parameter.default}`."
    return ""


def _prose(text: str | None) -> str:
    """Help as Markdown: paragraphs as they stand, and braces of JSON shown as code."""
    lines = []
    for paragraph in inspect.cleandoc(text or "").replace("\f", "").split("\n\n"):
        head, mark, shape = paragraph.partition("JSON: ")
        if mark and "{" in shape:
            end = shape.rindex("}") + 1
            paragraph = f"{head}JSON: `{' '.join(shape[:end].split())}`{shape[end:]}"
        lines.append(paragraph)
    return "\n\n".join(lines)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
