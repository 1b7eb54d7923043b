"""LangChain's and LangGraph's chat message history on Rhea. Needs the extra ``langchain``.

history = RheaChatMessageHistory("trip", memory=Rhea("chats.db"), user="ada")
history.add_user_message("From now on answer in one sentence.")
history.messages                                  # everything, as LangChain expects
history.context("Where should I go in May?")      # what fits the budget, rules first
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rhea.adapters.listing import MessageList, beside, carried
from rhea.errors import MissingExtra
from rhea.types import Message, Role

try:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.messages import (
        AIMessage,
        BaseMessage,
        HumanMessage,
        SystemMessage,
        message_to_dict,
        messages_from_dict,
    )
except ModuleNotFoundError:
    raise MissingExtra("langchain", "the LangChain chat message history") from None

if TYPE_CHECKING:
    from rhea.memory import Rhea

__all__ = ["RheaChatMessageHistory"]

_KIND = "langchain"
_ROLES: dict[str, Role] = {"human": "user", "ai": "assistant", "system": "system"}
_CLASSES: dict[str, type[BaseMessage]] = {"user": HumanMessage, "assistant": AIMessage, "system": SystemMessage}


class RheaChatMessageHistory(BaseChatMessageHistory):  # type: ignore[misc, unused-ignore]
    """A session's messages in a Rhea conversation.

    Args:
        session_id: name of the conversation.
        memory: where it is kept.
        user: whose it is.
    """

    def __init__(self, session_id: str, *, memory: Rhea, user: str = "default") -> None:
        self.session_id = session_id
        self._list = MessageList(memory, session_id, user)

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override, unused-ignore]
        """Every message, oldest first, as it was added."""
        return [_from_stored(m) for m in self._list.all()]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages. Rules in what the human says take effect at once."""
        self._list.add([_to_stored(m) for m in messages])

    def clear(self) -> None:
        """Erase the conversation, rules, digests and vectors with it."""
        self._list.clear()

    def context(self, question: str, *, budget: int | None = None) -> list[BaseMessage]:
        """The prompt for a question inside the token budget: rules, recalled turns, the question.

        Args:
            question: the next human message; it is not added.
            budget: most tokens; ``None`` for the memory's setting.
        """
        return [_CLASSES[m["role"]](m["content"]) for m in self._list.context(question, budget)]


def _to_stored(message: BaseMessage) -> Message:
    data = message_to_dict(message)
    text = message.content if isinstance(message.content, str) else _text_of(message.content)
    role: Role = _ROLES.get(message.type, "tool")
    if role == "assistant" and not text.strip():
        role = "tool"  # a bare tool call is not yet a reply
    plain = isinstance(message.content, str) and type(message) in _CLASSES.values() and not _holds_more(data["data"])
    if plain and text.strip():
        return Message(role, text)
    return carried(_KIND, data, Message(role, text))


def _text_of(content: Sequence[Any]) -> str:
    return "\n".join(p if isinstance(p, str) else str(p.get("text") or "") for p in content).strip()


def _holds_more(data: dict[str, Any]) -> bool:
    """Whether a message holds anything but its text and its type."""
    return any(value for key, value in data.items() if key not in ("content", "type"))


def _from_stored(message: Message) -> BaseMessage:
    held = beside(_KIND, message)
    if held is not None:
        restored: BaseMessage = messages_from_dict([held])[0]
        return restored
    return _CLASSES.get(message.role, AIMessage)(message.text)
