"""Storage: SQL is the truth, FAISS is a cache of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rhea.stores.schema import current_revision, upgrade
    from rhea.stores.sql import SqlStore, open_store

__all__ = ["SqlStore", "current_revision", "open_store", "upgrade"]

_HOMES = {
    "SqlStore": "rhea.stores.sql",
    "current_revision": "rhea.stores.schema",
    "open_store": "rhea.stores.sql",
    "upgrade": "rhea.stores.schema",
}


def __getattr__(name: str) -> Any:
    # SQLAlchemy takes a while to import: only whoever opens a database pays for it.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
