"""`rhea bench adherence`: are instructions obeyed, checked by program, on each arm's own history?

Arms: ``rhea`` builds each context through the public API; ``full`` gives all turns that fit the window;
``window`` gives the last exchange. All conversations and arms answer one turn together, in batches.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

from rhea.bench.checkers import obeys
from rhea.bench.files import read_jsonl
from rhea.errors import SettingsError
from rhea.types import ChatMessage, Placement

if TYPE_CHECKING:
    from rhea.bench.generation import BatchedModel
    from rhea.memory import Conversation, Rhea, Turn

__all__ = ["ARMS", "measure_adherence"]

ARMS = ("rhea", "full", "window")


class _Arm(Protocol):
    """How one arm remembers one conversation."""

    def prompt(self, text: str) -> list[ChatMessage]: ...
    def commit(self, reply: str) -> None: ...


class _Exchanges:
    """Earlier turns as messages: the newest ``keep`` exchanges, or as many as fit the window."""

    def __init__(self, model: BatchedModel, keep: int | None) -> None:
        self._model = model
        self._keep = keep
        self._said: list[tuple[str, str]] = []
        self._text = ""

    def prompt(self, text: str) -> list[ChatMessage]:
        self._text = text
        said = self._said if self._keep is None else self._said[-self._keep :]
        room = self._model.context_window - self._model.reserve
        while said and self._model.count_messages(_messages(said, text)) > room:
            said = said[1:]
        return _messages(said, text)

    def commit(self, reply: str) -> None:
        self._said.append((self._text, reply))


def _messages(said: Sequence[tuple[str, str]], text: str) -> list[ChatMessage]:
    messages: list[ChatMessage] = []
    for user, reply in said:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
    return [*messages, {"role": "user", "content": text}]


class _Remembered:
    """The arm under test: one conversation of a `Rhea`."""

    def __init__(self, chat: Conversation) -> None:
        self._chat = chat
        self._turn: Turn | None = None

    def prompt(self, text: str) -> list[ChatMessage]:
        self._turn = self._chat.begin(text)
        return self._turn.messages

    def commit(self, reply: str) -> None:
        if self._turn is not None:
            self._turn.commit(reply or "…")  # an empty reply cannot be stored


def measure_adherence(
    path: Path,
    model: BatchedModel,
    *,
    arms: Sequence[str] = ARMS,
    limit: int | None = None,
    turns: int | None = None,
    budget: int = 4096,
    placement: Placement = "question",
    replies: Path | None = None,
) -> dict[str, Any]:
    """Share of scored replies that satisfy all their checks, by arm and by turn.

    Args:
        path: conversations with checks.
        model: answers every prompt, greedily.
        arms: some of ``rhea``, ``full``, ``window``.
        limit: conversations at most.
        turns: turns of a conversation at most, given ones included.
        budget: tokens of a context in the arm ``rhea``.
        placement: where instructions stand in the arm ``rhea``.
        replies: file to write every reply to, one ``{"arm", "id", "turn", "reply"}`` a line; ``turn`` is the
            index in the conversation's ``turns``, from 0.

    Raises:
        SettingsError: an arm is unknown.
    """
    for arm in arms:
        if arm not in ARMS:
            raise SettingsError(f"no arm is called {arm!r}; arms: {', '.join(ARMS)}")
    from rhea.memory import Rhea
    from rhea.settings import Settings

    rows = [r | {"turns": r["turns"][:turns]} for r in read_jsonl(path, ("id", "turns"))[:limit]]
    settings = Settings(
        budget=min(budget, model.context_window - model.reserve),
        background=False,
        placement=placement,
        max_message_bytes=1 << 20,
    )
    with (
        TemporaryDirectory() as folder,
        Rhea(f"sqlite:///{folder}/rhea.db", counter=model, settings=settings) as memory,
    ):
        talks = [(arm, k, _open(arm, model, memory, f"{k}")) for arm in arms for k in range(len(rows))]
        said = _talk(rows, talks, model)
    if replies is not None:
        lines = [{"arm": a, "id": rows[k]["id"], "turn": t, "reply": r} for (a, k, t), r in said.items()]
        replies.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return _score(rows, said, arms)


def _open(arm: str, model: BatchedModel, memory: Rhea, name: str) -> _Arm:
    if arm == "rhea":
        return _Remembered(memory.conversation(name, user="bench"))
    return _Exchanges(model, None if arm == "full" else 1)


_Said = dict[tuple[str, int, int], str]
"""Reply by arm, conversation and turn."""


def _talk(rows: Sequence[dict[str, Any]], talks: Sequence[tuple[str, int, _Arm]], model: BatchedModel) -> _Said:
    """Turn after turn, all conversations of all arms together."""
    said: _Said = {}
    for t in range(max((len(r["turns"]) for r in rows), default=0)):
        under_way = [(a, k, arm) for a, k, arm in talks if t < len(rows[k]["turns"])]
        prompts = [arm.prompt(rows[k]["turns"][t]["user"]) for _, k, arm in under_way]
        asked = [i for i, (_, k, _arm) in enumerate(under_way) if rows[k]["turns"][t].get("generate", True)]
        answers = dict(zip(asked, model.replies([prompts[i] for i in asked]), strict=True))
        for i, (a, k, arm) in enumerate(under_way):
            reply = answers[i] if i in answers else str(rows[k]["turns"][t].get("reply") or "")
            arm.commit(reply)
            said[a, k, t] = reply
    return said


def _score(rows: Sequence[dict[str, Any]], said: _Said, arms: Sequence[str]) -> dict[str, Any]:
    """Scored turns are those that are generated and have checks; the n-th of a conversation counts as turn n."""
    results: dict[str, list[list[bool]]] = {arm: [] for arm in arms}
    for (arm, k, t), reply in sorted(said.items(), key=lambda item: item[0][2]):
        turns = rows[k]["turns"]
        if not (turns[t].get("generate", True) and turns[t].get("checks")):
            continue
        nth = sum(bool(u.get("generate", True) and u.get("checks")) for u in turns[:t])
        by_turn = results[arm]
        while len(by_turn) <= nth:
            by_turn.append([])
        by_turn[nth].append(obeys(reply, turns[t]["checks"]))
    scored = sum(len(b) for b in results[arms[0]]) if arms else 0
    return {
        "scored": scored,
        "arms": {
            arm: {
                "adherence": round(sum(map(sum, by)) / scored, 4) if scored else None,
                "by_turn": [round(sum(b) / len(b), 4) for b in by],
            }
            for arm, by in results.items()
        },
    }
