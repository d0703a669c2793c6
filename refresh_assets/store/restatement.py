"""A recomputed day against the one that stood there, and the records of it.

Here: which rows differ, bringing only those into place, the largest change, the closes behind it, the list of records. Not
here: the transaction around it and the refresh_days row (write.py), days that are not computed again yet (stale.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.sql import SQL, Identifier, Literal

from refresh_assets.store.stale_prices import changed_closes

NEW_ROWS = "new_rows"
"""The temporary table that the recomputed day is copied into."""

LARGEST_OF = {
    "portfolio_snapshots": ("total_value", "total_cost", "daily_pnl", "long_value", "short_value"),
    "correlation_calculations": ("weighted_correlation", "overall_correlation", "effective_positions"),
    "factor_exposures": ("exposure_dollar",),
    "stress_test_results": ("direct_pnl", "correlated_pnl"),
}
"""Columns in which the largest change is looked for: dollars, but for correlations, which have none."""

NEVER_NULL = {
    "portfolio_snapshots": "total_value",
    "correlation_calculations": "symbols",
    "factor_exposures": "coverage",
    "stress_test_results": "is_capped",
}
"""A column outside the key that is never null: null on one side of a full join says that the row is not there."""

NAMED_PRICES = 20
"""Closes that a record names; their number it always has."""

PricesChanged = dict[str, Any]
"""`count` of symbols, and `largest`: [symbol, old, new] of those that moved furthest, None where there was or is no close."""


@dataclass(frozen=True)
class Restatement:
    """What a recomputed day changed; `column`, `portfolio`, `old`, `new` are of the largest change.

    `inputs_changed` are the kinds of input that differ, `prices_changed` the closes of the day among them."""

    rows: int
    portfolios: int
    column: str | None = None
    portfolio: UUID | None = None
    old: float | None = None
    new: float | None = None
    inputs_changed: tuple[str, ...] = ()
    prices_changed: PricesChanged | None = None

    @property
    def largest(self) -> float | None:
        """USD (for correlations: as the column), signed; None where no row differs."""
        return None if self.column is None else (self.new or 0.0) - (self.old or 0.0)


class Statements:
    """Statements about one day of one table, with its names filled in; values are quoted by psycopg."""

    def __init__(self, connection: Any, table: str, key: tuple[str, ...], day_column: str, day: Any) -> None:
        self.connection, self.table, self.key = connection, table, key
        self.names = {
            "table": Identifier(table),
            "name": Literal(table),
            "key": SQL(", ").join(Identifier(name) for name in key),
            "day": Identifier(day_column),
            "value": Literal(day),
            "new": Identifier(NEW_ROWS),
        }

    def run(self, statement: str, **parts: Any) -> Any:
        """Execute; {table}, {name}, {key}, {day}, {value}, {new} and `parts` may stand in the statement."""
        return self.connection.execute(SQL(statement).format(**{**self.names, **parts}))


def replace_day(statements: Statements) -> Restatement:
    """Rewrite the rows of the day that differ from those in new_rows: changed, gone and new ones."""
    columns = LARGEST_OF[statements.table]
    kept = SQL(", ").join(
        SQL("o.{0} as {1}, n.{0} as {2}").format(Identifier(name), Identifier(f"old {name}"), Identifier(f"new {name}"))
        for name in columns
    )
    statements.run(
        "create temp table changed on commit drop as"
        " select {key}, o.{proof} is not null as stood, n.{proof} is not null as stands, {kept}"
        " from (select * from {table} where {day} = {value}) o full join {new} n using ({key})"
        " where row(o.*) is distinct from row(n.*)",
        kept=kept,
        proof=Identifier(NEVER_NULL[statements.table]),
    )
    same = SQL(" and ").join(SQL("t.{0} = c.{0}").format(Identifier(name)) for name in statements.key)
    statements.run("delete from {table} t using changed c where c.stood and {same}", same=same)
    statements.run("insert into {table} select t.* from {new} t join changed c on {same} where c.stands", same=same)
    return _largest_change(statements, columns)


def _largest_change(statements: Statements, columns: tuple[str, ...]) -> Restatement:
    rows, portfolios = statements.run("select count(*), count(distinct portfolio_id) from changed").fetchone()
    pairs = SQL(", ").join(
        SQL("({}, {}::float8, {}::float8)").format(Literal(name), Identifier(f"old {name}"), Identifier(f"new {name}"))
        for name in columns
    )
    row = statements.run(
        "select v.name, portfolio_id, v.old, v.new from changed, lateral (values {pairs}) v(name, old, new)"
        " order by abs(coalesce(v.new, 0) - coalesce(v.old, 0)) desc, portfolio_id, v.name limit 1",
        pairs=pairs,
    ).fetchone()
    return Restatement(rows, portfolios, *(row or ()))


def prices_changed(connection: psycopg.Connection[Any], day: date) -> PricesChanged | None:
    """The closes of a day that are no longer its marks; None where all are (an earlier close of a window differs)."""
    found = changed_closes(connection, [day])
    if not len(found.day):
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.abs(np.log(found.new / found.old))
    # A close that came or went comes first.
    order = np.argsort(-np.nan_to_num(moved, nan=np.inf), kind="stable")[:NAMED_PRICES]
    largest = [[found.symbol[row], *(_known(one[row]) for one in (found.old, found.new))] for row in order]
    return {"count": len(found.day), "largest": largest}


def _known(close: float) -> float | None:
    return None if np.isnan(close) else float(close)


@dataclass(frozen=True)
class Record:
    """One row of refresh_restatements, with the name of the portfolio of the largest change."""

    day: date
    table: str
    restated_at: datetime
    run_id: str
    rows: int
    portfolios: int
    largest: float | None
    column: str | None
    portfolio: str | None
    old: float | None
    new: float | None
    old_digest: str
    new_digest: str
    inputs_changed: Sequence[str]
    prices_changed: PricesChanged | None


def records(connection: psycopg.Connection[Any], day: date | None = None) -> list[Record]:
    """Restatements of a day, or of every day, newest first."""
    rows = connection.execute(
        "select r.calculation_date, r.table_name, r.restated_at, r.run_id, r.rows_changed, r.portfolios_changed,"
        " r.largest_change, r.largest_change_column, coalesce(p.name, r.largest_change_portfolio::text), r.old_value,"
        " r.new_value, r.old_digest, r.new_digest, r.inputs_changed, r.prices_changed from refresh_restatements r"
        " left join portfolios p on p.id = r.largest_change_portfolio"
        " where %(day)s::date is null or r.calculation_date = %(day)s"
        " order by r.restated_at desc, r.calculation_date desc, r.table_name",
        {"day": day},
    ).fetchall()
    return [Record(*row) for row in rows]
