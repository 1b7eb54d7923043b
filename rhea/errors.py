"""Every error that Rhea raises, as one tree. Messages name what to do next.

::

    RheaError
    ├── InputError                  the text or option given cannot be used
    │   ├── EmptyMessage
    │   ├── InvalidText             NUL, lone surrogates, not UTF-8
    │   ├── MessageTooLong
    │   ├── SettingsError
    │   └── ImportFormatError       a file that rhea import cannot read
    ├── NotFound
    │   ├── UserNotFound
    │   ├── ConversationNotFound
    │   ├── TurnNotFound
    │   └── InstructionNotFound
    ├── TurnError                   a turn used against its life cycle
    │   ├── TurnAlreadyCommitted
    │   ├── TurnNotPending
    │   └── ConversationBusy
    ├── BudgetError
    │   ├── BudgetTooSmall
    │   └── InstructionsExceedBudget
    ├── ModelError
    │   ├── ModelNotFound
    │   ├── NoModelAttached
    │   └── GenerationFailed
    ├── EmbedderError
    ├── CompressorError
    ├── MissingExtra
    └── StoreError
        ├── DatabaseBusy            a bounded wait for the writer's lock ran out
        ├── DatabaseUnavailable     server away, file unreadable, no permission
        ├── DatabaseInvalid         not a database, or not Rhea's
        ├── DatabaseTooNew
        ├── DatabaseOutdated        a server database that needs `rhea db upgrade`
        ├── StorageFull
        └── ReplyNotSaved           carries the reply, to be committed again
"""

from __future__ import annotations

__all__ = [
    "BudgetError",
    "BudgetTooSmall",
    "CompressorError",
    "ConversationBusy",
    "ConversationNotFound",
    "DatabaseBusy",
    "DatabaseInvalid",
    "DatabaseOutdated",
    "DatabaseTooNew",
    "DatabaseUnavailable",
    "EmbedderError",
    "EmptyMessage",
    "GenerationFailed",
    "ImportFormatError",
    "InputError",
    "InstructionNotFound",
    "InstructionsExceedBudget",
    "InvalidText",
    "MessageTooLong",
    "MissingExtra",
    "ModelError",
    "ModelNotFound",
    "NoModelAttached",
    "NotFound",
    "ReplyNotSaved",
    "RheaError",
    "SettingsError",
    "StorageFull",
    "StoreError",
    "TurnAlreadyCommitted",
    "TurnError",
    "TurnNotFound",
    "TurnNotPending",
    "UserNotFound",
]


class RheaError(Exception):
    """Base of every error that Rhea raises on purpose."""


class InputError(RheaError):
    """The text or option given cannot be used."""


class EmptyMessage(InputError):
    """The message is empty or only white space."""


class InvalidText(InputError):
    """The text holds something that no store can keep: NUL, a lone surrogate, bytes that are not UTF-8."""


class MessageTooLong(InputError):
    """The message is over the cap (64 KiB of UTF-8 by default)."""


class SettingsError(InputError):
    """A setting is unknown or outside its range."""


class ImportFormatError(InputError):
    """A file that is to be imported is not in a known format; the message names the line."""


class NotFound(RheaError):
    """Something that must exist does not, or belongs to another user."""


class UserNotFound(NotFound):
    """No user of that name."""


class ConversationNotFound(NotFound):
    """The user has no conversation of that name."""


class TurnNotFound(NotFound):
    """The conversation has no turn at that position."""


class InstructionNotFound(NotFound):
    """No such instruction in the conversation."""


class TurnError(RheaError):
    """A turn was used against its life cycle."""


class TurnAlreadyCommitted(TurnError):
    """The turn already has another reply; nothing was changed."""


class TurnNotPending(TurnError):
    """The turn was abandoned or interrupted; begin a new one."""


class ConversationBusy(TurnError):
    """Another process is at work on this conversation; try again."""


class BudgetError(RheaError):
    """The context cannot be built inside the token budget."""


class BudgetTooSmall(BudgetError):
    """The question alone does not fit the budget."""


class InstructionsExceedBudget(BudgetError):
    """Rules and roles alone do not fit; the message names the largest and how to shorten them."""


class ModelError(RheaError):
    """The language model cannot be loaded or called."""


class ModelNotFound(ModelError):
    """No model of that name, or a folder without weights."""


class NoModelAttached(ModelError):
    """`send` and `stream` need a model; pass `model=` or use `begin` and `commit`."""


class GenerationFailed(ModelError):
    """The model raised while it answered; the user's message is stored and the turn marked interrupted."""


class EmbedderError(RheaError):
    """The embedder cannot be loaded, or gave vectors that are not finite."""


class CompressorError(RheaError):
    """A compressor folder is damaged, foreign or made for another model, or compressing failed: the message tells."""


class MissingExtra(RheaError):
    """An optional dependency is not installed.

    Args:
        extra: name of the extra that brings it.
        purpose: what it is needed for.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        self.extra = extra
        super().__init__(f"{purpose} needs the extra '{extra}': pip install 'rhea-memory[{extra}]'")


class StoreError(RheaError):
    """The database or its cache failed."""


class DatabaseBusy(StoreError):
    """Another process held the database's writer lock for longer than the bounded wait."""


class DatabaseUnavailable(StoreError):
    """The database cannot be reached, opened or read."""


class DatabaseInvalid(StoreError):
    """The file is not a database, is damaged, or was not made by Rhea."""


class DatabaseTooNew(StoreError):
    """The database was migrated by a newer Rhea; upgrade the package."""


class DatabaseOutdated(StoreError):
    """A server database that needs `rhea db upgrade` before this version can use it."""


class StorageFull(StoreError):
    """No space left for the write; nothing acknowledged was lost."""


class ReplyNotSaved(StoreError):
    """The reply could not be stored; it is handed back here, and `turn.commit(reply)` may be called again.

    Args:
        reply: the reply's text, unsaved.
        cause: what stood in the way, in words.
    """

    def __init__(self, reply: str, cause: str) -> None:
        self.reply = reply
        super().__init__(
            f"the reply was not saved ({cause}); it is in `.reply`: commit it again when the database is back"
        )
