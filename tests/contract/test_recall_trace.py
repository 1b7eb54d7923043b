"""The same conversation gives the same context and the same trace on every engine, and on a second run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rhea import Settings
from rhea.bench.recall_scale import made_up_messages
from rhea.importing import import_conversation
from rhea.memory import Rhea
from rhea.testing import HashEmbedder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgresql")]


def contexts(url: str, scope: str) -> list[dict[str, Any]]:
    options = Settings(recall_budget=700, recall=scope, background=False)  # type: ignore[arg-type]
    found = []
    with Rhea(url, embedder=HashEmbedder(), settings=options) as memory:
        for name, seed in (("one", 1), ("two", 2)):
            messages = list(made_up_messages(150, seed=seed))
            import_conversation(memory, messages, user="ada", name=name, where="test")
        memory.settle()
        chat = memory.conversation("one", user="ada")
        for message in list(made_up_messages(60, seed=5))[::6]:
            turn = chat.begin(message.text)
            found.append({"messages": turn.messages, "context": turn.context.to_dict()})
            turn.commit("Noted: " + message.text[::-1])
            chat.settle()
    return found


@pytest.mark.parametrize("scope", ["conversation", "user"])
def test_same_trace_on_both_engines_and_on_two_runs(new_database: Callable[[str], str], scope: str) -> None:
    first = contexts(new_database("sqlite"), scope)
    assert contexts(new_database("sqlite"), scope) == first
    assert contexts(new_database("postgresql"), scope) == first
    assert any(e["decision"] != "omitted" for e in first[-1]["context"]["episodes"])
