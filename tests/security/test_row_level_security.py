"""PostgreSQL's row-level security: a role that owns nothing sees only the rows of the owner that is named."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import numpy as np
import pytest

from rhea.ownership import UserData
from rhea.stores import open_store
from rhea.stores.base import MessageVectors
from rhea.stores.tables import owned_tables
from rhea.types import InstructionChange, Message

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgresql")]


def test_a_role_that_owns_nothing_sees_no_rows_of_others(new_database: Callable[[str], str], postgresql: str) -> None:
    import psycopg

    url = new_database("postgresql")
    store = open_store(url)
    for name in ("ada", "bob"):
        owner = store.ensure_user(name)
        here = store.ensure_conversation(owner, "trip")
        turn = store.begin_turn(owner, here, Message("user", f"canary of {name}"), [InstructionChange("add", "rule")])
        store.commit_turn(owner, turn.id, "reply", trace={"a": 1})
        (item,) = store.claim_work(["vectors"], limit=1, owner=owner)
        vector = np.ones((1, 4), dtype=np.float32)
        store.finish_vectors([(item, [MessageVectors(turn.messages[0].id, turn.id, 1, ("message",), vector)])], "e1")
    ada = store.find_user("ada")
    role = f"guest_{uuid4().hex[:8]}"
    names = [table.name for table in owned_tables if table.name != "memory_tensors"] + ["users", "vector_rows"]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        with psycopg.connect(url, user=role, autocommit=True) as guest:
            for name in names:
                assert guest.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,), name
                guest.execute("SELECT set_config('rhea.owner', '', false)")
                assert guest.execute(f"SELECT count(*) FROM {name}").fetchone() == (0,), name
            assert guest.execute("UPDATE messages SET text = 'changed'").rowcount == 0
            assert guest.execute("DELETE FROM turns").rowcount == 0
            guest.execute("SELECT set_config('rhea.owner', %s, false)", (str(ada),))
            for name in names:
                seen = guest.execute(f"SELECT count(*) FROM {name}").fetchone()
                column = "id" if name == "users" else "user_id"
                mine = guest.execute(f"SELECT count(*) FROM {name} WHERE {column} = {ada}").fetchone()
                assert seen == mine != (0,), name
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                guest.execute("INSERT INTO users (name, created_at) VALUES ('eve', 0)")
        with psycopg.connect(url) as owner_connection:
            assert owner_connection.execute("SELECT count(*) FROM messages WHERE text = 'changed'").fetchone() == (0,)
    finally:
        store.close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")


def test_a_service_under_a_role_that_owns_nothing_works(new_database: Callable[[str], str]) -> None:
    """The store names the owner in every transaction, so the policies let its own rows through and no others."""
    import psycopg

    url = new_database("postgresql")
    role = f"service_{uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")
        connection.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
    store = open_store(url.replace("postgres:@", f"{role}:@"))
    try:
        ada, bob = store.ensure_user("ada"), store.ensure_user("bob")
        here = store.ensure_conversation(ada, "trip")
        turn = store.begin_turn(ada, here, Message("user", "hello pineapple"), [InstructionChange("add", "rule")])
        store.commit_turn(ada, turn.id, "reply")
        assert store.turns(ada, here)[0].reply == "reply"
        assert len(store.search_text(ada, "pineapple")) == 1
        assert store.turns(bob, here) == []
        (item,) = store.claim_work(["vectors"], limit=1)
        vector = np.ones((1, 4), dtype=np.float32)
        store.finish_vectors([(item, [MessageVectors(turn.messages[0].id, turn.id, 1, ("message",), vector)])], "e1")
        assert len(store.nearest(ada, "e1", vector[0], limit=3)) == 1
        assert store.list_users() == ["ada", "bob"]
        done = UserData(store, ada, "ada").erase()
        assert not done.verified
        assert "VACUUM FULL" in done.notes[0], "what the role may not do is said"
        assert store.list_users() == ["bob"]
    finally:
        store.close()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE {role}")
