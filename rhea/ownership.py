"""What belongs to a user: listed, exported, restored, erased, pruned by age.

The export is JSONL, one object a line, in a fixed order (docs/erasing.md lists every field): an export that
is imported and exported again gives the same bytes. Vectors are left out: they are made again from the text.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhea.errors import ImportFormatError, StorageFull
from rhea.types import ConversationSummary, OwnerId

if TYPE_CHECKING:
    from rhea.stores.base import Store

__all__ = ["Erasure", "UserData", "is_export", "prune", "restore"]

FORMAT = 1
_MOMENTS = ("created_at", "updated_at", "at")
_MOST_CANARIES = 2000


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure did, and how far it was checked."""

    rows: dict[str, int]
    """Deleted rows by table."""
    searched: tuple[str, ...]
    """Files that were searched for pieces of the erased texts."""
    pieces: int
    """Number of pieces of erased text that were looked for."""
    left: tuple[str, ...] = ()
    """Files in which a piece was still found; must be empty."""
    notes: tuple[str, ...] = field(default=())

    @property
    def verified(self) -> bool:
        """Whether files were searched and nothing was found."""
        return bool(self.searched) and not self.left


class UserData:
    """Everything of one user. Made by `Rhea.user`."""

    def __init__(self, store: Store, owner: OwnerId, name: str) -> None:
        self._store = store
        self._owner = owner
        self.name = name

    def conversations(self) -> list[ConversationSummary]:
        """The user's conversations, last used first."""
        return self._store.list_conversations(self._owner)

    def export(self, path: str | Path) -> int:
        """Write everything to a JSONL file, readable by its user alone; returns the number of lines.

        Raises:
            StorageFull: no space for the file; nothing is left of it.
        """
        target = Path(path)
        handle, temporary = tempfile.mkstemp(dir=target.parent or Path(), prefix=f".{target.name}.")
        try:
            count = 0
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                for line in self.lines():
                    file.write(line + "\n")
                    count += 1
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise StorageFull(f"the export could not be written to {target} ({error.strerror})") from None
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        return count

    def lines(self) -> Iterator[str]:
        """The lines of the export, without line ends."""
        for kind, values in self._store.user_rows(self._owner):
            head: dict[str, Any] = {"rhea": FORMAT, "type": kind} if kind == "user" else {"type": kind}
            yield json.dumps(head | {key: _plain(value) for key, value in values.items()}, ensure_ascii=False)

    def erase(self, conversation: str | None = None, *, compact: bool = True) -> Erasure:
        """Delete one conversation, or the user with everything, and look for what is left of it in the files.

        Args:
            conversation: name of the conversation; ``None`` for all and the user.
            compact: rewrite the database's files without the deleted bytes. ``False`` leaves that, and
                the search, for later (`prune` and several erasures in a row).

        Raises:
            ConversationNotFound: the user has no such conversation.
            DatabaseBusy: the rows are gone, but another process kept the files from being rewritten.
        """
        store = self._store
        target = None if conversation is None else store.find_conversation(self._owner, conversation)
        pieces = _pieces(store.texts(self._owner, target)) if compact else []
        rows = store.delete_rows(self._owner, target)
        if not compact:
            return Erasure(rows, (), 0, notes=("the files were not rewritten: deleted bytes may remain in free pages",))
        notes: list[str] = []
        if not store.compact():
            notes.append("this role does not own the tables: have their owner run VACUUM FULL to rewrite them")
        if store.dialect == "postgresql":
            notes.append("the server's write-ahead log, archives and backups keep their copies until they rotate")
        found = store.search_files([piece.encode() for piece in pieces])
        left = [str(path) for path, hits in found.items() if any(not store.still_said(hit.decode()) for hit in hits)]
        return Erasure(rows, tuple(map(str, store.files())), len(pieces), tuple(left), tuple(notes))


def prune(store: Store, older_than: timedelta, *, user: str | None = None) -> dict[str, int]:
    """Erase conversations that were last used longer ago than this, of one user or of all.

    Returns:
        Deleted rows by table; empty when nothing was that old.

    Raises:
        UserNotFound: no such user.
    """
    owner = None if user is None else store.find_user(user)
    gone = store.prune(datetime.now(UTC) - older_than, owner=owner)
    if gone:
        store.compact()
    return gone


def is_export(path: str | Path) -> bool:
    """Whether a file is an export of Rhea's, by its first line."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            first = json.loads(file.readline(1 << 16))
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and "rhea" in first and first.get("type") == "user"


def restore(store: Store, path: str | Path, *, user: str | None = None) -> str:
    """Put an export back, exactly, in one transaction; returns the user's name.

    Args:
        store: where to.
        path: a file that `UserData.export` wrote.
        user: another name for the user.

    Raises:
        ImportFormatError: not such a file, or a conversation of that name exists; nothing was stored.
    """
    names: list[str] = []

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for kind, values in _read(Path(path)):
            if kind == "user":
                names.append(user or str(values.get("name")))
            yield kind, values

    store.restore_rows(rows(), user=user)
    return names[0]


def _read(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, 1):
                try:
                    values = json.loads(line)
                    if number == 1 and values.pop("rhea") != FORMAT:
                        raise ImportFormatError(f"{path}: written by a newer version: upgrade the package")
                    kind = values.pop("type")
                    for key in _MOMENTS:
                        if values.get(key) is not None:
                            values[key] = datetime.fromisoformat(values[key])
                except (ValueError, KeyError, AttributeError, TypeError):
                    raise ImportFormatError(f"{path}, line {number}: not a line of an export") from None
                if kind not in {"user", "conversation", "turn", "instruction", "event"}:
                    raise ImportFormatError(f"{path}, line {number}: unknown type '{kind}'")
                yield kind, values
    except UnicodeDecodeError:
        raise ImportFormatError(f"{path} is not UTF-8") from None
    except OSError as error:
        raise ImportFormatError(f"{path} cannot be read ({error.strerror})") from None


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def _pieces(texts: Iterator[str]) -> list[str]:
    """A telling piece of every text, evenly thinned when there are very many: what a search must not find."""
    found: list[str] = []
    step, seen = 1, 0
    for text in texts:
        seen += 1
        if seen % step:
            continue
        words = re.findall(r"\S+", text)
        piece = max(words, key=len) if words and max(map(len, words)) >= 12 else text.strip()[:32]
        if len(piece) >= 8:
            found.append(piece[:48])
        if len(found) >= 2 * _MOST_CANARIES:
            found, step = found[::2], step * 2
    return list(dict.fromkeys(found))
