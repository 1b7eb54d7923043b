"""Writes docs/reference/settings.md and docs/reference/errors.md from the code that they describe.

Run `python scripts/make_reference.py` after a change to `rhea/settings.py` or `rhea/errors.py`; a test fails
while a page and the code differ.
"""

from __future__ import annotations

import ast
import inspect
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_args

import rhea.errors
import rhea.settings
from rhea.settings import Settings
from rhea.types import Placement, RecallMode, RecallScope

__all__ = ["pages"]

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_CHOICES = {"Placement": Placement, "RecallMode": RecallMode, "RecallScope": RecallScope}


def pages() -> dict[Path, str]:
    """Each generated page and its text."""
    return {FOLDER / "settings.md": settings_page(), FOLDER / "errors.md": errors_page()}


def settings_page() -> str:
    """Every field of `Settings` with its type, default and meaning."""
    notes = _attribute_notes(Settings)
    rows = [
        f"| `{f.name}` | {_values(str(f.type))} | `{f.default!r}` | {_cell(notes[f.name])} |" for f in fields(Settings)
    ]
    return f"""# Settings

<!-- Made by scripts/make_reference.py from rhea/settings.py; change it there. -->

```python
from rhea import Rhea, Settings

memory = Rhea("sqlite:///chats.db", settings=Settings(budget=2048, placement="both"))
print(memory.settings.budget)
```

```output
2048
```

A value outside its range raises `SettingsError` at once.

| Setting | Values | Default | Meaning |
|---|---|---|---|
{chr(10).join(rows)}

## Where the database is

The first of these that is given:

1. the argument of `Rhea(…)`, or `--database` on the command line: an SQLAlchemy URL or a file path;
2. the environment variable `{rhea.settings.DATABASE_VARIABLE}`;
3. a file `rhea.db` in the user data folder of the operating system.

An embedded database (SQLite) is created and migrated on first use. A server database asks for `rhea db upgrade`.

What can be made again (converted models, vector files) lies in the user cache folder and may be deleted at any time.

## Other environment variables

| Variable | Read by | Meaning |
|---|---|---|
| `OPENAI_API_KEY` | `OpenAIModel` | the key of a server that asks for one |
| `HF_HUB_OFFLINE` | transformers | `1`: never ask a model hub, use what is on the disk |
| `NO_COLOR` | the command line | no colours; shapes tell the same things apart |
"""


def errors_page() -> str:
    """The tree of errors and what each one means."""
    tree = inspect.getdoc(rhea.errors) or ""
    drawn = "\n".join(line[4:] for line in tree.split("::\n", 1)[1].splitlines()).strip("\n")
    rows = [f"| `{cls.__name__}` | `{cls.__mro__[1].__name__}` | {_cell(_summary(cls))} |" for cls in _classes()]
    return f"""# Errors

<!-- Made by scripts/make_reference.py from rhea/errors.py; change it there. -->

Every error that Rhea raises on purpose is a `RheaError`. Its message says what to do next. On the command line it is
one line on stderr, and the exit code is 2.

```text
{drawn}
```

Catch the branch that you can do something about:

```python
from rhea.errors import BudgetError, InputError, StoreError
from rhea.testing import memory_database

chat = memory_database().conversation("main", user="ada")
try:
    turn = chat.begin("   ")
except InputError as problem:      # the user can correct it
    print(problem)
except BudgetError as problem:     # question or rules are too long for the budget
    print(problem)
except StoreError as problem:      # the database is away, busy or full
    print(problem)
```

```output
the message is empty; say something
```

| Error | Kind of | Meaning |
|---|---|---|
{chr(10).join(rows)}

`ReplyNotSaved` has the unsaved text in `.reply`; `MissingExtra` has the name of the extra in `.extra`.
"""


def _classes() -> list[type[rhea.errors.RheaError]]:
    """In the order of the module, which is that of the tree."""
    found = [v for v in vars(rhea.errors).values() if inspect.isclass(v) and issubclass(v, rhea.errors.RheaError)]
    return sorted(found, key=lambda cls: inspect.getsourcelines(cls)[1])


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").split("\n\n", 1)[0]


def _values(annotation: str) -> str:
    choices = _CHOICES.get(annotation)
    return " or ".join(f"`{v!r}`" for v in get_args(choices)) if choices else f"`{annotation}`".replace(" | ", "` or `")


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|")


def _attribute_notes(cls: type) -> dict[str, str]:
    """The string below each attribute of a class."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    notes = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            notes[before.target.id] = str(after.value.value)
    return notes


if __name__ == "__main__":
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.name}\n")
