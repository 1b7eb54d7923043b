"""FAISS indexes as a cache of the vectors in SQL: rebuilt whenever missing, stale or damaged.

A scope is everything of one owner, or one conversation of theirs, under one embedder; its index holds
those vectors and no others, so the owner's filter cannot be forgotten. Before each use a scope is
compared with SQL by the number and the checksums of its rows, answered from an index alone, and brought
up to date with the rows that are new.

A file is written to a temporary name, synced and renamed; one that does not verify is deleted and made anew.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import struct
import tempfile
from collections import OrderedDict
from pathlib import Path
from threading import RLock

from sqlalchemy import func, select

from rhea.errors import StorageFull, StoreError
from rhea.stores.database import Database
from rhea.stores.tables import about, conversations, embedders, vectors
from rhea.stores.vector_index import Scope, VectorIndex, add, checksums, decode, empty, encode, header_of
from rhea.types import OwnerId

__all__ = ["FaissCache"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_log = logging.getLogger("rhea.stores.vectors")


class FaissCache:
    """Indexes by scope: in memory under a cap, least recently used first out, and in files.

    Args:
        database: where the vectors are.
        folder: where files are kept; ``None`` for none.
        most_bytes: memory cap; the index in use is kept even when it alone is over it.
    """

    def __init__(self, database: Database, folder: Path | None, *, most_bytes: int = 256 * 2**20) -> None:
        self.database = database
        self.folder = folder
        self.most_bytes = most_bytes
        self._held: OrderedDict[Scope, VectorIndex] = OrderedDict()
        self._identity: str | None = None
        self._lock = RLock()

    def scope(self, owner: OwnerId, embedder_id: str, conversation_id: int | None = None) -> VectorIndex:
        """The index of an owner, or of one conversation of theirs, in step with SQL."""
        wanted = Scope(int(owner), conversation_id, embedder_id)
        with self._lock:
            index = self._held.pop(wanted, None) or self._load(wanted)
            index = self._in_step(wanted, index)
            self._held[wanted] = index
            total = sum(held.nbytes for held in self._held.values())
            while total > self.most_bytes and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                total -= dropped.nbytes
                self._save_quietly(dropped)
            if index.unsaved > max(256, len(index.rows) // 10):
                self._save_quietly(index)
            return index

    def forget(
        self, owner: OwnerId | None = None, conversation_id: int | None = None, embedder_id: str | None = None
    ) -> None:
        """Drop indexes, in memory and on disk: of an owner, a conversation (its owner's too), an embedder, or all."""
        with self._lock:
            for scope in list(self._held):
                if (
                    owner in (None, scope.owner)
                    and (conversation_id is None or scope.conversation in (None, conversation_id))
                    and embedder_id in (None, scope.embedder)
                ):
                    del self._held[scope]
            for path in self._files(owner):
                header = header_of(path)
                if header is None or (
                    (conversation_id is None or header.get("conversation") in (None, conversation_id))
                    and embedder_id in (None, header.get("embedder"))
                ):
                    path.unlink(missing_ok=True)

    def save(self) -> None:
        """Write every index that changed.

        Raises:
            StorageFull: no space; the old files are whole, and SQL has everything.
        """
        with self._lock:
            for scope, index in list(self._held.items()):
                if index.unsaved:
                    self._save(self._in_step(scope, index))

    def close(self) -> None:
        """Write what changed, as far as there is space, and let go of everything."""
        with self._lock:
            for index in self._held.values():
                if index.unsaved:
                    self._save_quietly(index)
            self._held.clear()

    # in step with SQL

    def _in_step(self, scope: Scope, index: VectorIndex | None) -> VectorIndex:
        with self.database.read(OwnerId(scope.owner)) as connection:
            found = connection.execute(
                select(embedders.c.id, embedders.c.dim).where(embedders.c.name == scope.embedder)
            ).one_or_none()
            if found is None:
                return empty(scope, 0)
            mine = select(conversations.c.id).where(conversations.c.user_id == scope.owner)
            if scope.conversation is not None:
                mine = mine.where(conversations.c.id == scope.conversation)
            here = [
                vectors.c.conversation_id.in_(mine),
                vectors.c.embedder_id == found.id,
            ]
            count, total = connection.execute(
                select(func.count(), func.coalesce(func.sum(vectors.c.checksum), 0)).where(*here)
            ).one()
            if index is not None and index.dim == found.dim and checksums(index) == (count, int(total)):
                return index
            known: dict[int, int] = {}
            if index is not None and index.dim == found.dim:
                known = dict(zip(index.rows["message"].tolist(), index.rows["checksum"].tolist(), strict=True))
            truth = dict(
                connection.execute(select(vectors.c.message_id, vectors.c.checksum).where(*here)).tuples().all()
            )
            if index is None or index.dim != found.dim or not known.items() <= truth.items():
                index, known = empty(scope, int(found.dim)), {}
            missing = sorted(truth.keys() - known.keys())
            for start in range(0, len(missing), 5000):
                rows = connection.execute(
                    select(
                        vectors.c.message_id,
                        vectors.c.turn_id,
                        vectors.c.conversation_id,
                        vectors.c.channels,
                        vectors.c.checksum,
                        vectors.c.data,
                    )
                    .where(*here, vectors.c.message_id.in_(missing[start : start + 5000]))
                    .order_by(vectors.c.message_id)
                ).tuples()
                add(index, rows.all())
        return index

    # files

    def _path(self, scope: Scope) -> Path | None:
        if self.folder is None:
            return None
        if self._identity is None:
            with self.database.read() as connection:
                self._identity = connection.scalar(select(about.c.value).where(about.c.key == "database")) or "?"
        name = hashlib.sha256(scope.embedder.encode()).hexdigest()[:16]
        return self.folder / self._identity / str(scope.owner) / f"{scope.conversation or 'all'}-{name}.vectors"

    def _files(self, owner: OwnerId | None) -> list[Path]:
        probe = self._path(Scope(int(owner or 0), None, ""))
        if probe is None:
            return []
        top = probe.parent if owner is not None else probe.parent.parent
        return sorted(top.rglob("*.vectors*")) if top.is_dir() else []

    def _load(self, scope: Scope) -> VectorIndex | None:
        path = self._path(scope)
        if path is None or not path.exists():
            return None
        try:
            return decode(path.read_bytes(), scope)
        except (OSError, ValueError, KeyError, RuntimeError, struct.error) as error:
            _log.warning("vector cache %s is damaged and made anew (%s)", path.name, type(error).__name__)
            path.unlink(missing_ok=True)
            return None

    def _save_quietly(self, index: VectorIndex) -> None:
        """Write an index as SQL has it now: another process may have erased its user since it was used."""
        try:
            self._save(self._in_step(index.scope, index))
        except StoreError as error:
            _log.warning("vector cache not written (%s)", type(error).__name__)

    def _save(self, index: VectorIndex) -> None:
        path = self._path(index.scope)
        if path is None or index.index is None:
            index.unsaved = 0
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(encode(index))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFull(f"no space left for the vector cache {path}: it will be made again later") from None
            _log.warning("vector cache %s not written (%s)", path.name, error.strerror)
            return
        index.unsaved = 0
