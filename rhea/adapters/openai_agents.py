"""An openai-agents `Session` on Rhea. Needs the extra ``agents``.

session = RheaSession("trip", memory=Rhea("chats.db"), user="ada")
await Runner.run(agent, "Where should I go in May?", session=session)                  # the whole history
config = RunConfig(session_input_callback=session.recalled)
await Runner.run(agent, "Where should I go in May?", session=session, run_config=config)   # inside the budget
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rhea.adapters.listing import MessageList, beside, carried
from rhea.errors import MissingExtra
from rhea.types import Message, Role

if importlib.util.find_spec("agents") is None:
    raise MissingExtra("agents", "the openai-agents session")

if TYPE_CHECKING:
    from agents.items import TResponseInputItem
    from agents.memory import SessionSettings
    from agents.run import CallModelData, ModelInputData

    from rhea.memory import Rhea

__all__ = ["RheaSession"]

_KIND = "openai-agents"
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class RheaSession:
    """A session's items in a Rhea conversation; the database is asked in a thread, the event loop stays free.

    Args:
        session_id: name of the conversation.
        memory: where it is kept.
        user: whose it is.
        session_settings: openai-agents' own, such as a default ``limit``.
        budget: most tokens of what `within_budget` gives; ``None`` for the memory's setting.
    """

    def __init__(
        self,
        session_id: str,
        *,
        memory: Rhea,
        user: str = "default",
        session_settings: SessionSettings | None = None,
        budget: int | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings = session_settings
        self._list = MessageList(memory, session_id, user)
        self._budget = budget

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Items in order; with ``limit`` (or the setting's) the newest."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        return [_from_stored(m) for m in await asyncio.to_thread(self._list.all, limit)]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items. Rules in what the user says take effect at once."""
        await asyncio.to_thread(self._list.add, [_to_stored(dict(item)) for item in items])

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the newest item and give it back; ``None`` when there is none."""
        gone = await asyncio.to_thread(self._list.pop)
        return None if gone is None else _from_stored(gone)

    async def clear_session(self) -> None:
        """Erase the conversation, rules, digests and vectors with it."""
        await asyncio.to_thread(self._list.clear)

    async def within_budget(self, data: CallModelData[Any]) -> ModelInputData:
        """For `RunConfig.call_model_input_filter`: recalled turns in place of all the history, inside the budget.

        What the user asks now and what this run did since (calls of tools, their outputs) stays as it is;
        rules in force and what Rhea recalls for the question stand before it. The session itself is not touched.

        Raises:
            BudgetError: question or instructions do not fit.
        """
        from agents.run import ModelInputData

        given = data.model_data
        items = list(given.input)
        asked = max((i for i, item in enumerate(items) if dict(item).get("role") == "user"), default=None)
        question = "" if asked is None else _text_of(dict(items[asked]))
        if not question.strip():
            return ModelInputData(input=items, instructions=given.instructions)
        found = await asyncio.to_thread(self._list.context, question, self._budget)
        before, _, after = found[-1]["content"].rpartition(question)
        beside = "\n\n".join(part for part in (before.strip(), after.strip()) if part)
        lead: list[Any] = [{"role": m["role"], "content": m["content"]} for m in found[:-1]]
        if beside:
            lead.append({"role": "user", "content": beside})
        return ModelInputData(input=[*lead, *items[asked:]], instructions=given.instructions)


def _to_stored(item: dict[str, Any]) -> Message:
    text = _text_of(item)
    role: Role = _ROLES.get(str(item.get("role")), "tool")
    if role != "tool" and set(item) == {"role", "content"} and isinstance(item["content"], str) and text.strip():
        return Message(role, text) if item["role"] == role else carried(_KIND, item, Message(role, text))
    return carried(_KIND, item, Message(role, text))


def _text_of(item: dict[str, Any]) -> str:
    content = item.get("content", item.get("output", item.get("arguments")))
    if isinstance(content, str):
        return content
    parts: Sequence[Any] = content if isinstance(content, list) else []
    return "\n".join(str(p["text"]) for p in parts if isinstance(p, dict) and p.get("text"))


def _from_stored(message: Message) -> Any:
    held = beside(_KIND, message)
    return held if held is not None else {"role": message.role, "content": message.text}
