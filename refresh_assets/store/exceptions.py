"""What a day of a table left out, on its way into refresh_exceptions.

Here: a few thousand omissions at a time, counted, ordered, copied. Not here: the words of one (core/omissions.py), the rows
of the day itself and the transaction (write.py).

A million portfolios leave some 240,000 exceptions, each with a sentence: kept until the end of the day they were 300 MB."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Identifier

from refresh_assets.core.omissions import Omission
from refresh_assets.store.dates import day_number
from refresh_assets.store.tables import exception_rows

EXCEPTIONS_KEPT = 8192
"""Omissions that wait for the end of the day; more are copied in between, which costs the rows' own COPY an end."""


class Exceptions:
    """The omissions of a day of a table, to be given in the order of their portfolios.

    Attributes:
        codes: how many of each code were given."""

    def __init__(self, connection: psycopg.Connection[Any], day: date, table: str, adds: bool) -> None:
        self._connection, self._day, self._table, self._adds = connection, day, table, adds
        self._waiting: list[Omission] = []
        self._named: list[UUID] = []
        self._replaced = adds
        self.codes: dict[str, int] = {}

    @property
    def are_many(self) -> bool:
        return len(self._waiting) >= EXCEPTIONS_KEPT

    def add(self, omissions: Sequence[Omission], named: Sequence[UUID]) -> None:
        """Omissions; `named`: every portfolio of whom those that stand there are replaced, where the day is added to."""
        self._waiting += omissions
        self._named += named
        for one in omissions:
            self.codes[one.code.value] = self.codes.get(one.code.value, 0) + 1

    def copy(self) -> None:
        """Copy those that wait; the first time, what an earlier run left goes."""
        if not self._replaced:
            self._connection.execute(
                "delete from refresh_exceptions where calculation_date = %s and asset = %s", [self._day, self._table]
            )
            self._replaced = True
        elif self._adds and self._named:
            self._connection.execute(
                "delete from refresh_exceptions where calculation_date = %s and asset = %s and portfolio_id = any(%s)",
                [self._day, self._table, self._named],
            )
        copy_exceptions(self._connection, self._day, self._table, self._waiting)
        self._waiting, self._named = [], []


def copy_exceptions(connection: psycopg.Connection[Any], day: date, asset: str, omissions: Sequence[Omission]) -> None:
    """Rows of refresh_exceptions, portfolio by portfolio: the same omissions give the same rows in the same order."""
    if omissions:
        copy_rows(
            connection, "refresh_exceptions", exception_rows(day_number(day), asset, sorted(omissions, key=_place))
        )


def _place(one: Omission) -> tuple[bool, bytes, str, bytes, str]:
    """Chunks come in the order of portfolios, so this order does not depend on how many are copied at once."""
    return one.portfolio is None, one.portfolio or b"", one.code, one.position or b"", one.symbol or ""


def copy_rows(connection: psycopg.Connection[Any], table: str, rows: pa.RecordBatch) -> None:
    """Binary COPY of rows into a table, columns by name."""
    import pgpq

    encoder = pgpq.ArrowToPostgresBinaryEncoder(rows.schema)
    columns = SQL(", ").join(Identifier(name) for name in rows.schema.names)
    with connection.cursor().copy(
        SQL("copy {} ({}) from stdin (format binary)").format(Identifier(table), columns)
    ) as copy:
        copy.write(encoder.write_header() + encoder.write_batch(rows) + encoder.finish())
