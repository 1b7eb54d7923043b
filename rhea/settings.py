"""Settings of one `Rhea`, and where the database and the caches live.

Every field has a default that works; the reference page lists them from this module.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rhea.errors import DatabaseUnavailable, SettingsError
from rhea.types import Placement, RecallMode, RecallScope

__all__ = ["DATABASE_VARIABLE", "Settings", "cache_directory", "database_url"]

DATABASE_VARIABLE = "RHEA_DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Settings:
    """How contexts are built and turns are stored.

    Raises:
        SettingsError: a value is outside its range.
    """

    budget: int = 4096
    """Most tokens that a context may take, chat template included. A model's own window lowers it."""
    recall_budget: int | None = None
    """Most tokens for remembered turns (background and recent); ``None`` for all that the budget leaves."""
    placement: Placement = "question"
    """Where instructions stand: the system message, beside the question (measured best), or both."""
    recall: RecallScope = "conversation"
    """Recall past turns of this conversation, or of all of the user's conversations."""
    recall_mode: RecallMode = "budget"
    """`paper` keeps what its two thresholds say; `budget` also fills the budget by value."""
    detect: bool = True
    """Look for standing instructions in what the user says."""
    preference_share: float = 0.25
    """Share of the budget that preferences may take; rules and roles are always in force."""
    max_message_bytes: int = 65_536
    """Largest message accepted, in bytes of UTF-8."""
    busy_seconds: float = 5.0
    """Longest wait for another process's write before `DatabaseBusy`."""
    background: bool = True
    """Make digests and vectors in a background thread after each reply; else at the next `begin` or `settle`."""

    def __post_init__(self) -> None:
        checks = {
            "budget": self.budget >= 16,
            "recall_budget": self.recall_budget is None or self.recall_budget >= 0,
            "placement": self.placement in get_args(Placement),
            "recall": self.recall in get_args(RecallScope),
            "recall_mode": self.recall_mode in get_args(RecallMode),
            "preference_share": 0.0 <= self.preference_share <= 1.0,
            "max_message_bytes": self.max_message_bytes >= 1,
            "busy_seconds": self.busy_seconds >= 0.0,
        }
        for name, ok in checks.items():
            if not ok:
                raise SettingsError(
                    f"setting {name}={getattr(self, name)!r} is out of range; see the settings reference"
                )


def database_url(given: str | None = None, *, create: bool = False) -> str:
    """The database in use: the one given, else ``RHEA_DATABASE_URL``, else a file in the user data folder.

    Args:
        given: URL or path; ``None`` for the others.
        create: make the user data folder when it is needed and not there, for its user's eyes alone.

    Raises:
        DatabaseUnavailable: the folder cannot be made.
    """
    url = given or os.environ.get(DATABASE_VARIABLE)
    if url:
        return url
    import platformdirs

    folder = Path(platformdirs.user_data_dir("rhea", appauthor=False))
    if create:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(
                f"the folder {folder} cannot be made ({error.strerror}); name a database with {DATABASE_VARIABLE}"
            ) from None
    return f"sqlite:///{folder / 'rhea.db'}"


def cache_directory() -> Path:
    """Folder for what can be made again: converted model files and FAISS caches."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("rhea", appauthor=False))
