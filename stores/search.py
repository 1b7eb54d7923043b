"""Full-text search: the engine finds the owner's messages, and this module ranks them.

SQLite: an FTS5 index over the messages whose first column holds two words, the owner's and the
conversation's, so that a query is answered from the owner's postings alone. PostgreSQL: a ``tsvector``
column under a GIN index, with the same two words in a form that no text can hold. Both take the words as
they are, without stemming, because a conversation may be in any language; each word of three letters or more
also finds longer words that begin with it.

The engines' own ranking weighs a word by how often all users say it: that takes time in proportion to all
they ever said, and it tells something of them. Here the owner's matches are ranked among themselves (BM25),
the same on both engines.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from sqlalchemy import text

from rhea.stores.database import Database
from rhea.stores.rows import turn_query, turns_from
from rhea.stores.tables import conversations, messages, turns
from rhea.types import OwnerId, TurnRecord

__all__ = ["SearchRows", "match_words"]

MOST_WORDS = 32
"""Words of a query that are looked up; more add time and no sharpness."""
MOST_MATCHES = 1000
"""The newest matches, which are ranked; older ones beyond them are not."""

_FTS5 = text(
    "SELECT m.turn_id, m.text FROM message_words JOIN messages m ON m.id = message_words.rowid"
    " WHERE message_words MATCH :match AND m.user_id = :owner ORDER BY message_words.rowid DESC LIMIT :rows"
)
_TSVECTOR = text(
    "SELECT m.turn_id, m.text FROM messages m"
    " WHERE m.words @@ (CAST(:scope AS tsquery) && to_tsquery('simple', :match)) AND m.user_id = :owner"
    " ORDER BY m.id DESC LIMIT :rows"
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
        values: dict[str, object] = {"owner": owner, "rows": MOST_MATCHES}
        if self.database.dialect == "sqlite":
            scope = f"scope:u{owner}" + (f" AND scope:c{conversation_id}" if conversation_id is not None else "")
            wanted = " OR ".join(f'"{word}"{"*" if len(word) > 2 else ""}' for word in words)
            values["match"] = f"{scope} AND text:({wanted})"
            statement = _FTS5
        else:
            values["match"] = " | ".join(f"'{word}'{':*' if len(word) > 2 else ''}" for word in words)
            values["scope"] = f"'@u{owner}'" + (f" & '@c{conversation_id}'" if conversation_id is not None else "")
            statement = _TSVECTOR
        with self.database.read(owner) as connection:
            matched = connection.execute(statement, values).tuples().all()
            best: dict[int, float] = {}
            for (turn_id, _), score in zip(matched, _bm25(words, [said for _, said in matched]), strict=True):
                best[turn_id] = max(score, best.get(turn_id, 0.0))
            ranked = sorted(best.items(), key=lambda entry: (-entry[1], entry[0]))
            chosen = dict(ranked[:limit])
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


def _bm25(words: Sequence[str], texts: Sequence[str]) -> list[float]:
    """How well each text answers the words, by the usual formula (k1 1.2, b 0.75), rare words weighing more."""
    bare = [_plain(word) for word in words]
    found = [[_occurrences(word, _plain(told)) for word in bare] for told in texts]
    lengths = [max(1, told.count(" ") + 1) for told in texts]
    mean = sum(lengths) / max(1, len(lengths))
    rarity = [
        math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
        for df in (sum(counts[column] > 0 for counts in found) for column in range(len(words)))
    ]
    return [
        sum(
            weight * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean))
            for weight, count in zip(rarity, counts, strict=True)
        )
        for counts, length in zip(found, lengths, strict=True)
    ]


def _plain(told: str) -> str:
    """Lower case, letters without their accents, as FTS5 takes them."""
    if told.isascii():
        return told.lower()
    parts = unicodedata.normalize("NFKD", told.lower())
    return "".join(c for c in parts if not unicodedata.combining(c))


def _occurrences(word: str, told: str) -> int:
    end = "" if len(word) > 2 else r"(?![^\W_])"
    return len(re.findall(rf"(?<![^\W_]){re.escape(word)}{end}", told))
