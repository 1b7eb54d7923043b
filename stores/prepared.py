"""Statements of every turn, compiled once: SQLAlchemy writes them, the driver runs them.

Executing a statement object costs SQLAlchemy four times what the engine needs to run it (cache keys, parameters
by position, result metadata). Here its SQL is compiled once for each engine and set of parameters, and what runs is
text. Values are bound as the columns' types say; what comes back is what the driver gives, so a moment is the integer
that is stored (:func:`rhea.stores.rows.moment_from`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, BindParameter, Connection, CursorResult, bindparam
from sqlalchemy.sql import ClauseElement

__all__ = ["Prepared", "PreparedIn"]

_LENGTHS = (1, 2, 4, 8, 16)
_STEP = 32
_FEW = 4
_Convert = Callable[[Any], Any]


class _Text:
    """A statement's SQL for one engine and one set of parameters."""

    def __init__(self, statement: ClauseElement, connection: Connection, keys: tuple[str, ...]) -> None:
        dialect = connection.dialect
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(keys))
        self.sql = str(compiled)
        self.order: list[str] | None = list(compiled.positiontup) if compiled.positional else None
        self.fixed = {k: v for k, v in compiled.params.items() if k not in keys}
        """Values that the statement itself holds."""
        self.converts: dict[str, _Convert] = {}
        for parameter, name in compiled.bind_names.items():
            convert = parameter.type.dialect_impl(dialect).bind_processor(dialect)
            if convert is not None:
                self.converts[name] = convert
        for name in self.converts.keys() & self.fixed.keys():
            self.fixed[name] = self.converts[name](self.fixed[name])

    def arguments(self, values: Mapping[str, Any]) -> Any:
        given = {**self.fixed, **values}
        for name, convert in self.converts.items():
            if name in values:
                given[name] = convert(values[name])
        return given if self.order is None else tuple([given[name] for name in self.order])


class Prepared:
    """One statement, run with named values.

    Args:
        statement: with a `bindparam` for each value; an insert takes its columns' names. For a list see
            :class:`PreparedIn`.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[tuple[str, tuple[str, ...]], _Text] = {}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[*tuple[Any, ...]]:
        """Run it once."""
        text = self._text(connection, values)
        return connection.exec_driver_sql(text.sql, text.arguments(values))

    def rows(self, connection: Connection, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run it once; all its rows, as the driver's own tuples."""
        text = self._text(connection, values)
        if connection.dialect.name == "sqlite" and not connection.engine.dispatch.before_cursor_execute:
            # Nobody watches the statements, and what the driver raises is translated where the transaction ends.
            driver: Any = connection.connection.driver_connection
            found: list[tuple[Any, ...]] = driver.execute(text.sql, text.arguments(values)).fetchall()
            return found
        result = connection.exec_driver_sql(text.sql, text.arguments(values))
        found = [] if result.cursor is None or not result.returns_rows else list(result.cursor.fetchall())
        result.close()
        return found

    def one(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """Run it once; the single value of its single row."""
        ((value,),) = self.rows(connection, values)
        return value

    def run_many(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run it for each of the rows, which have the same keys; for none nothing happens."""
        if rows:
            text = self._text(connection, rows[0])
            for row in rows[:_FEW] if len(rows) <= _FEW else ():
                self.rows(connection, row)
            if len(rows) > _FEW:
                connection.exec_driver_sql(text.sql, [text.arguments(row) for row in rows])

    def _text(self, connection: Connection, values: Mapping[str, Any]) -> _Text:
        key = connection.dialect.name, tuple(values)
        if (found := self._texts.get(key)) is None:
            found = self._texts[key] = _Text(self._statement, connection, tuple(values))
        return found


class PreparedIn:
    """A statement over a list of whole numbers, compiled for a few lengths: a shorter list repeats its last number.

    Args:
        make: gives the statement for the parameters that stand in its list.
    """

    def __init__(self, make: Callable[[list[BindParameter[int]]], ClauseElement]) -> None:
        self._make = make
        self._of_length: dict[int, Prepared] = {}

    def run(
        self, connection: Connection, wanted: Sequence[int], values: Mapping[str, Any] | None = None
    ) -> CursorResult[*tuple[Any, ...]]:
        """Run it for a list that is not empty."""
        prepared, given = self._for(wanted)
        return prepared.run(connection, {**given, **(values or {})})

    def rows(
        self, connection: Connection, wanted: Sequence[int], values: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run it for a list that is not empty; all its rows, as the driver's own tuples."""
        prepared, given = self._for(wanted)
        return prepared.rows(connection, {**given, **(values or {})})

    def _for(self, wanted: Sequence[int]) -> tuple[Prepared, dict[str, int]]:
        length = next((n for n in _LENGTHS if n >= len(wanted)), -(-len(wanted) // _STEP) * _STEP)
        if (prepared := self._of_length.get(length)) is None:
            names = [bindparam(f"listed_{n}", type_=BigInteger) for n in range(length)]
            prepared = self._of_length[length] = Prepared(self._make(names))
        padded = [*wanted, *[wanted[-1]] * (length - len(wanted))]
        return prepared, {f"listed_{n}": v for n, v in enumerate(padded)}
