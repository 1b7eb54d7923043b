"""A conversation as a list of messages: what both adapters stand on.

Frameworks hand over single messages and expect them back unchanged. The text goes where Rhea's text goes, so
it is searched, recalled and looked through for standing instructions; whatever else a message holds travels
beside it as JSON. The conversation is looked up on every call: another process may have cleared it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rhea import turn as steps
from rhea.types import ChatMessage, Message, TurnState

if TYPE_CHECKING:
    from rhea.memory import Conversation, Rhea

__all__ = ["MessageList", "beside", "carried"]

_LISTED = (TurnState.PENDING, TurnState.COMMITTED, TurnState.INTERRUPTED)
_BLANK = "(no text)"


def carried(kind: str, rest: Mapping[str, Any], message: Message) -> Message:
    """The message with what the framework holds beside the text; ``kind`` names the framework."""
    body = json.dumps({kind: rest}, ensure_ascii=False, separators=(",", ":"))
    return replace(message, text=message.text if message.text.strip() else _BLANK, source_id=body)


def beside(kind: str, message: Message) -> dict[str, Any] | None:
    """What `carried` put beside the text; ``None`` for a message that came another way."""
    if not message.source_id or not message.source_id.startswith("{"):
        return None
    try:
        held = json.loads(message.source_id)
    except ValueError:
        return None
    rest = held.get(kind) if isinstance(held, dict) else None
    return rest if isinstance(rest, dict) else None


class MessageList:
    """One conversation, message by message.

    Args:
        memory: where it is.
        conversation: its name; made when it is not there.
        user: whose.
    """

    def __init__(self, memory: Rhea, conversation: str, user: str) -> None:
        self.memory = memory
        self.name = conversation
        self.user = user

    def all(self, limit: int | None = None) -> list[Message]:
        """Messages in order; with ``limit`` the newest."""
        if limit is not None and limit <= 0:
            return []
        chat = self._chat()
        store = self.memory._services.store
        if limit is None:
            found = store.turns(chat._owner, chat._id, states=_LISTED)
        else:
            found = store.last_turns(chat._owner, chat._id, limit, states=_LISTED)
        said = [m for turn in found for m in turn.messages]
        return said if limit is None else said[-limit:]

    def add(self, said: Sequence[Message]) -> None:
        """Append messages; standing instructions in what the user says take effect.

        Raises:
            InputError: a text that no store can hold; nothing was stored.
        """
        from rhea.intake import accept

        if not said:
            return
        services, chat = self.memory._services, self._chat()
        for message in said:
            accept(message.text, services.settings.max_message_bytes)
        touched = services.store.append_messages(chat._owner, chat._id, said)
        for turn, new in touched:
            if not new:  # the index in memory took this turn for finished
                services.recall.cache.drop(chat._owner, chat._id)
            elif turn.user.strip():
                active = services.store.instructions(chat._owner, chat._id)
                found = steps.detect(services, turn.user, active)
                if found.changes:
                    services.store.change_instructions(chat._owner, chat._id, found.changes, turn_id=turn.id)
        self.memory._wake()

    def pop(self) -> Message | None:
        """Remove the newest message; ``None`` when there is none."""
        services, chat = self.memory._services, self._chat()
        gone = services.store.remove_last_message(chat._owner, chat._id)
        services.recall.cache.drop(chat._owner, chat._id)
        return gone

    def clear(self) -> None:
        """Erase the conversation with its rules, digests and vectors. Rules of scope "user" stay."""
        services, chat = self.memory._services, self._chat()
        services.store.delete_rows(chat._owner, chat._id)
        services.recall.cache.drop(chat._owner, chat._id)

    def context(self, question: str, budget: int | None = None) -> list[ChatMessage]:
        """What a model should see for a question: rules in force, recalled turns, the question. Nothing is kept.

        Args:
            question: the user's next message, or the newest one when it was added already and has no reply.
            budget: most tokens; ``None`` for the setting.

        Raises:
            BudgetError: question or instructions do not fit.
        """
        chat = self._chat()
        services = self.memory._services
        open_turn = services.store.last_turns(chat._owner, chat._id, 1, states=_LISTED)
        if open_turn and open_turn[0].reply is None and open_turn[0].user == question:
            steps.digest_pending(services, chat._owner, chat._id)
            limit = steps.token_limit(services, budget)
            active = services.store.instructions(chat._owner, chat._id)
            return steps.build(services, chat._owner, chat._id, open_turn[0], active, limit, ()).messages
        turn = chat.begin(question, budget=budget)
        try:
            return turn.messages
        finally:
            turn.abandon()

    def _chat(self) -> Conversation:
        return self.memory.conversation(self.name, user=self.user)
