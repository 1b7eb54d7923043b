"""Users and their conversations."""

from __future__ import annotations

from sqlalchemy import select

from rhea.errors import ConversationNotFound, UserNotFound
from rhea.stores.database import Database
from rhea.stores.rows import insert_new, now, storable
from rhea.stores.tables import conversations, users
from rhea.types import ConversationSummary, OwnerId

__all__ = ["ConversationRows"]


class ConversationRows:
    """The part of a store that keeps users and conversations."""

    database: Database

    def ensure_user(self, name: str) -> OwnerId:
        """The user of that name, made when missing."""
        find = select(users.c.id).where(users.c.name == name)
        with self.database.read() as connection:
            found = connection.scalar(find)
        if found is None:
            with self.database.write() as connection:
                insert_new(connection, users, [{"name": storable(name), "created_at": now()}])
                found = connection.scalar(find)
        assert found is not None
        return OwnerId(found)

    def find_user(self, name: str) -> OwnerId:
        """The user of that name.

        Raises:
            UserNotFound: there is none.
        """
        with self.database.read() as connection:
            found = connection.scalar(select(users.c.id).where(users.c.name == name))
        if found is None:
            raise UserNotFound(f"no user '{name}'")
        return OwnerId(found)

    def list_users(self) -> list[str]:
        """All names, in order of name."""
        with self.database.read() as connection:
            return sorted(connection.scalars(select(users.c.name)))

    def ensure_conversation(self, owner: OwnerId, name: str) -> int:
        """The owner's conversation of that name, made when missing."""
        find = select(conversations.c.id).where(conversations.c.user_id == owner, conversations.c.name == name)
        with self.database.read(owner) as connection:
            found = connection.scalar(find)
        if found is None:
            with self.database.write(owner) as connection:
                moment = now()
                new = {"user_id": owner, "name": storable(name), "turns": 0, "created_at": moment, "updated_at": moment}
                insert_new(connection, conversations, [new])
                found = connection.scalar(find)
        assert found is not None
        return int(found)

    def find_conversation(self, owner: OwnerId, name: str) -> int:
        """The owner's conversation of that name.

        Raises:
            ConversationNotFound: there is none, or it belongs to another user.
        """
        with self.database.read(owner) as connection:
            found = connection.scalar(
                select(conversations.c.id).where(conversations.c.user_id == owner, conversations.c.name == name)
            )
        if found is None:
            raise ConversationNotFound(f"no conversation '{name}'")
        return int(found)

    def list_conversations(self, owner: OwnerId) -> list[ConversationSummary]:
        """The owner's conversations, last used first."""
        query = (
            select(conversations, users.c.name.label("user"))
            .join(users, users.c.id == conversations.c.user_id)
            .where(conversations.c.user_id == owner)
            .order_by(conversations.c.updated_at.desc(), conversations.c.id.desc())
        )
        with self.database.read(owner) as connection:
            return [
                ConversationSummary(row.id, row.name, row.user, row.turns, row.created_at, row.updated_at)
                for row in connection.execute(query)
            ]
