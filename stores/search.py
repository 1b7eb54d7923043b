"""Full-text search by the engine, the owner's filter inside the search.

SQLite: an FTS5 index over the messages whose first column holds two words, the owner's and the
conversation's, so that a query is answered from the owner's postings alone. PostgreSQL: a ``tsvector``
column under a GIN index, with the same two words in a form that no text can hold. Both take the words as
they are, without stemming, because a conversation may be in any language; each word of the query also finds
longer words that begin with it.
"""

from __future__ import annotations

import unicodedata

from sqlalchemy import text

from rhea.stores.database import Database
from rhea.stores.rows import turn_query, turns_from
from rhea.stores.tables import conversations, messages, turns
from rhea.types import OwnerId, TurnRecord

__all__ = ["SearchRows", "match_words"]

MOST_WORDS = 32
"""Words of a query that are looked up; more add time and no sharpness."""

_FTS5 = text(
    "SELECT m.turn_id, -bm25(message_words, 0.0, 1.0) AS score FROM message_words"
    " JOIN messages m ON m.id = message_words.rowid"
    " WHERE message_words MATCH :match AND m.user_id = :owner ORDER BY bm25(message_words, 0.0, 1.0), m.id LIMIT :rows"
)
_TSVECTOR = text(
    "SELECT m.turn_id, ts_rank(m.words, to_tsquery('simple', :match), 1) AS score FROM messages m"
    " WHERE m.words @@ (CAST(:scope AS tsquery) && to_tsquery('simple', :match)) AND m.user_id = :owner"
    " ORDER BY score DESC, m.id LIMIT :rows"
)


class SearchRows:
    """The part of a store that finds turns by their words."""

    database: Database

    def search_text(
        self, owner: OwnerId, query: str, *, conversation_id: int | None = None, limit: int = 20
    ) -> list[tuple[TurnRecord, str, float]]:
        """Turns in which any word of the query occurs: (turn, conversation name, score), best first."""
        words = match_words(query)
        if not words or limit < 1:
            return []
        # Several messages of one turn may match: twice as many rows leave enough turns.
        values: dict[str, object] = {"owner": owner, "rows": limit * 4}
        if self.database.dialect == "sqlite":
            scope = f"scope:u{owner}" + (f" AND scope:c{conversation_id}" if conversation_id is not None else "")
            values["match"] = f"{scope} AND text:(" + " OR ".join(f'"{word}"*' for word in words) + ")"
            statement = _FTS5
        else:
            values["match"] = " | ".join(f"'{word}':*" for word in words)
            values["scope"] = f"'@u{owner}'" + (f" & '@c{conversation_id}'" if conversation_id is not None else "")
            statement = _TSVECTOR
        with self.database.read(owner) as connection:
            best: dict[int, float] = {}
            for turn_id, score in connection.execute(statement, values).tuples():
                best.setdefault(turn_id, float(score))
            chosen = dict(list(best.items())[:limit])
            found = turns_from(
                connection.execute(
                    turn_query()
                    .where(turns.c.id.in_(chosen), turns.c.user_id == owner)
                    .order_by(turns.c.id, messages.c.seq)
                )
            )
            names = {
                row.id: row.name
                for row in connection.execute(
                    conversations.select().where(
                        conversations.c.id.in_({turn.conversation_id for turn in found}),
                        conversations.c.user_id == owner,
                    )
                )
            }
        found.sort(key=lambda turn: (-chosen[turn.id], turn.id))
        return [(turn, names[turn.conversation_id], chosen[turn.id]) for turn in found]


def match_words(query: str) -> list[str]:
    """The distinct words of a query: letters and digits only, so that no character of it is an operator.

    Characters younger than Unicode 3.2 part words, as FTS5's tokenizer may not know them: what it would take
    for two words is a phrase to it, and the index keeps no places of words.
    """
    known = "".join(c if unicodedata.ucd_3_2_0.category(c)[0] in "LN" else " " for c in query.lower())
    return list(dict.fromkeys(known.split()))[:MOST_WORDS]
