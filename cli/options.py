"""Options that the commands share, and the one place where a command opens a `Rhea`.

::

    @app.command()
    def search(text: str, user: User, conversation: Conversation = DEFAULT_CONVERSATION, database: Database = None):
        with reported(), opened(database) as memory:
            chat = memory.conversation(conversation, user=user, create=False)

A command that only reads passes ``create=False`` and meets a typed error for what is not there; only `chat`
and `import` make a database, a user or a conversation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rhea.memory import Rhea

__all__ = [
    "DEFAULT_CONVERSATION",
    "Budget",
    "Conversation",
    "Database",
    "Json",
    "User",
    "login_name",
    "opened",
    "quiet",
    "require_database",
]

DEFAULT_CONVERSATION = "main"


def login_name() -> str:
    """The login name; ``default`` where the system has none for this process."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "default"


def _named(value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise typer.BadParameter("a name cannot be blank")
    return value


User = Annotated[
    str,
    typer.Option(
        "--user",
        metavar="NAME",
        help="Whose memory.",
        default_factory=login_name,
        show_default="login name",
        callback=_named,
    ),
]
Conversation = Annotated[str, typer.Option("--conversation", metavar="NAME", help="Which one.", callback=_named)]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="URL or file; else $RHEA_DATABASE_URL, else a file in the user data folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Budget = Annotated[
    int | None,
    typer.Option("--budget", metavar="TOKENS", help="Most tokens that a context takes.", show_default="4096"),
]


@contextmanager
def opened(database: str | None, *, create: bool = False, **options: Any) -> Iterator[Rhea]:
    """A `Rhea` on the database given (option, environment, default), closed at the end.

    Args:
        database: what ``--database`` holds.
        create: make an embedded database that is not there yet; else that is an error.
        **options: as for `Rhea`: ``model``, ``settings`` and so on.

    Raises:
        DatabaseUnavailable: there is no such file and ``create`` is false.
        StoreError: it cannot be opened.
    """
    from rhea.memory import Rhea
    from rhea.settings import database_url

    quiet()
    url = database_url(database, create=create)
    if not create:
        require_database(url)
    with Rhea(url, **options) as memory:
        yield memory


def require_database(url: str) -> None:
    """Refuse an embedded database whose file is not there: a command that reads makes no files.

    Raises:
        DatabaseUnavailable: no such file.
    """
    from rhea.errors import DatabaseUnavailable
    from rhea.stores.database import parse_url

    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in {None, "", ":memory:"}:
        return
    from pathlib import Path

    if not Path(str(parsed.database)).exists():
        raise DatabaseUnavailable(f"there is no database at {parsed.database} yet; `rhea chat` makes one")


def quiet() -> None:
    """Keep the libraries below from writing to the terminal: stdout is for replies, stderr for Rhea.

    Warnings that were asked for (``python -W``, ``PYTHONWARNINGS``) still come through.
    """
    import logging
    import os
    import sys
    import warnings

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
