"""Three users, one canary each, every public method in any order: nobody ever sees another's canary."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rhea import Rhea
from rhea.errors import RheaError
from rhea.memory import Conversation
from rhea.ownership import prune, restore
from rhea.settings import Settings
from rhea.testing import EchoModel, HashEmbedder

CANARIES = {"ada": "aardvarkish", "bob": "bumblebeeish", "cyd": "cormorantish"}
VOCABULARY = ["dog", "answer", "sentence", "French", "name", "weather", "short", "Berlin", "always"]
NAMES = st.sampled_from(sorted(CANARIES))
CHATS = st.sampled_from(["main", "trip"])
WORDS = st.lists(
    st.sampled_from(["dog", "answer", "sentence", "French", "name", "weather", "short", "Berlin", "always"]), min_size=1
)
RULES = st.sampled_from(
    ["From now on, answer in French about {}.", "Always end with the word {}.", "You can stop mentioning {}.", "{}"]
)


class Isolation(RuleBasedStateMachine):
    """Steps over the public API; what each returns is searched for the other users' canaries."""

    url: ClassVar[str] = "sqlite://"
    steps: ClassVar[int] = 0
    seen: ClassVar[int] = 0
    scope: ClassVar[Any] = "user"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="rhea-isolation-"))
        # On a server all examples share one database: users of other examples only add to the crowd.
        self.suffix = uuid4().hex[:6]
        self.memory = Rhea(
            self.url,
            model=EchoModel(),
            embedder=HashEmbedder(32),
            settings=Settings(background=False, recall=self.scope, budget=600),
        )
        self.store = self.memory._services.store

    @initialize()
    def everyone_has_said_something(self) -> None:
        for user in CANARIES:
            self.chat(user, "main").send(f"My canary is {CANARIES[user]}.")

    def chat(self, user: str, name: str) -> Conversation:
        return self.memory.conversation(name, user=f"{user}-{self.suffix}")

    def look(self, user: str, *found: Any) -> None:
        """The step's results may hold the user's own canary and no other."""
        text = repr(found)
        type(self).steps += 1
        type(self).seen += CANARIES[user] in text
        for other, canary in CANARIES.items():
            assert other == user or canary not in text, f"{user} saw the canary of {other}: {text[:2000]}"

    @rule(user=NAMES, name=CHATS, words=WORDS, form=RULES)
    def say(self, user: str, name: str, words: list[str], form: str) -> None:
        chat = self.chat(user, name)
        turn = chat.begin(form.format(CANARIES[user]) + " " + " ".join(words))
        self.look(user, turn.messages, turn.context, str(turn.context))
        turn.commit(f"I heard {CANARIES[user]} and {words[0]}")

    @rule(user=NAMES, name=CHATS, words=WORDS, other=NAMES)
    def ask_for_anothers_canary(self, user: str, name: str, words: list[str], other: str) -> None:
        # The stem alone: the question must not hold the canary that it looks for.
        turn = self.chat(user, name).begin(f"What is the canary of {other}? {CANARIES[other][:6]} {' '.join(words)}")
        self.look(user, turn.messages, turn.context)
        turn.abandon()

    @rule(user=NAMES, name=CHATS, words=WORDS)
    def send(self, user: str, name: str, words: list[str]) -> None:
        self.look(user, self.chat(user, name).send(" ".join(words)))

    @rule(user=NAMES, name=CHATS)
    def break_off(self, user: str, name: str) -> None:
        reply = self.chat(user, name).stream(f"tell me of {CANARIES[user]}")
        said = next(reply)
        reply.close()
        self.look(user, said)

    @rule(user=NAMES, name=CHATS)
    def leave_pending(self, user: str, name: str) -> None:
        self.look(user, self.chat(user, name).begin(f"pending {CANARIES[user]}").context)

    @rule(user=NAMES, name=CHATS, position=st.integers(1, 5))
    def read(self, user: str, name: str, position: int) -> None:
        chat = self.chat(user, name)
        self.look(user, chat.history(), chat.history(last=2), chat.summary)
        try:
            self.look(user, chat.why(), chat.why(position))
        except RheaError as error:
            self.look(user, str(error))

    @rule(user=NAMES, name=CHATS, words=WORDS, other=NAMES)
    def search(self, user: str, name: str, words: list[str], other: str) -> None:
        for query in (" ".join(words), CANARIES[other], CANARIES[other][:3], "canary"):
            owner = self.store.find_user(f"{user}-{self.suffix}") if self.exists(user) else None
            self.look(user, self.chat(user, name).search(query))
            if owner is not None:
                self.look(user, self.store.search_text(owner, query))

    def exists(self, user: str) -> bool:
        return f"{user}-{self.suffix}" in self.memory.users()

    @rule(user=NAMES, other=NAMES)
    def nearest(self, user: str, other: str) -> None:
        owner = self.store.ensure_user(f"{user}-{self.suffix}")
        query = HashEmbedder(32).embed([f"My canary is {CANARIES[other]}."])
        hits = self.store.nearest(owner, "hash-32", query, limit=10)
        turns = self.store.turns_by_id(owner, [hit.turn_id for hit in hits])
        assert {hit.turn_id for hit in hits} == {turn.id for turn in turns}, "a hit is not the owner's"
        self.look(user, turns)

    @rule(user=NAMES, name=CHATS, other=NAMES, scope=st.sampled_from(["user", "conversation"]))
    def rules_by_hand(self, user: str, name: str, other: str, scope: str) -> None:
        mine, theirs = self.chat(user, name).instructions, self.chat(other, name).instructions
        added = mine.add(f"mention {CANARIES[user]} in {scope}", scope=scope)
        self.look(user, added, mine.list(every=True), mine.history())
        if other != user:
            for forbidden in (lambda: theirs.revoke(added.id), lambda: theirs.edit(added.id, "hijacked")):
                with pytest.raises(RheaError):
                    forbidden()
            assert added in mine.list()
            self.look(other, theirs.list(every=True), theirs.history())

    @rule(user=NAMES, name=CHATS)
    def revoke(self, user: str, name: str) -> None:
        mine = self.chat(user, name).instructions
        for instruction in mine.list()[:1]:
            mine.revoke(instruction.id)
        self.look(user, mine.list(), mine.history())

    @rule(user=NAMES)
    def settle(self, user: str) -> None:
        self.look(user, self.memory.settle())

    @rule(user=NAMES)
    def list_and_export(self, user: str) -> None:
        if self.exists(user):
            data = self.memory.user(f"{user}-{self.suffix}")
            self.look(user, data.conversations(), list(data.lines()))
            data.export(self.folder / f"{user}.jsonl")

    @rule(user=NAMES)
    def restore_an_export_under_the_same_user(self, user: str) -> None:
        file = self.folder / f"{user}.jsonl"
        if file.exists():
            name = f"{user}-{self.suffix}"
            if self.exists(user):
                self.memory.user(name).erase(compact=False)
            restore(self.store, file)
            self.look(user, list(self.memory.user(name).lines()))

    @rule(user=NAMES, name=CHATS)
    def erase_a_conversation(self, user: str, name: str) -> None:
        self.chat(user, name)
        self.look(user, self.memory.user(f"{user}-{self.suffix}").erase(name, compact=False))

    @rule(user=NAMES)
    def erase_a_user(self, user: str) -> None:
        if self.exists(user):
            others = {u: self.count(u) for u in CANARIES if u != user}
            self.look(user, self.memory.user(f"{user}-{self.suffix}").erase(compact=False))
            assert {u: self.count(u) for u in others} == others, "erasing one user took rows of another"

    def count(self, user: str) -> int:
        return len(list(self.memory.user(f"{user}-{self.suffix}").lines())) if self.exists(user) else 0

    @rule(user=NAMES)
    def prune_nothing(self, user: str) -> None:
        if self.exists(user):
            assert prune(self.store, timedelta(days=1), user=f"{user}-{self.suffix}") == {}
            type(self).steps += 1

    @invariant()
    def every_row_has_the_owner_of_its_conversation(self) -> None:
        from sqlalchemy import text

        with self.store.database.read() as connection:
            for table in ("turns", "messages", "vectors", "work"):
                strays = connection.scalar(
                    text(
                        f"SELECT count(*) FROM {table} x JOIN conversations c ON c.id = x.conversation_id"
                        " WHERE x.user_id <> c.user_id"
                    )
                )
                assert strays == 0, table

    def teardown(self) -> None:
        self.memory.close()
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()


def play(machine: type[Isolation], examples: int, steps: int) -> None:
    Isolation.steps = Isolation.seen = 0
    machine.steps = machine.seen = 0
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            # A failing example is long but readable as it is, and shrinking one takes minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_no_step_shows_another_users_canary() -> None:
    play(Isolation, 40, 25)
    assert Isolation.seen > 100, "the owners' own canaries must be seen, or the machine looks at nothing"


@pytest.mark.slow
@pytest.mark.xdist_group("postgresql")
def test_no_step_shows_another_users_canary_on_postgresql(new_database: Any) -> None:
    machine = type("OnPostgresql", (Isolation,), {"url": new_database("postgresql")})
    play(machine, 12, 25)
    assert machine.seen > 0


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_five_thousand_steps_show_no_other_canary(new_database: Any) -> None:
    on_server = type("OnPostgresql", (Isolation,), {"url": new_database("postgresql")})
    print("\nisolation: engine, recall, steps, own canaries seen, leaks")
    for machine, examples in ((Isolation, 150), (on_server, 30)):
        for scope in ("user", "conversation"):
            machine.scope = scope
            play(machine, examples, 50)
            print(f"  {machine.__name__:14} {scope:12} {machine.steps:6} {machine.seen:6} 0")
            if machine is Isolation:
                assert machine.steps >= 5_000
