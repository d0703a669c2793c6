"""Which days are complete, due, blocked or skipped, and why: decided from the tables.

Here: what is there (refresh_days), against what should be there; whether the symbol batch is done. Not here: what should
be there (expected.py), when to start a night or wake a person (automation/), running a day (assets/), the words on a
terminal (cli.py).

A day of a table is compared by number and by the sum of hashes of its portfolios, so a hole is seen wherever it is, without
looking at the rows of 2,500 past days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.store.dates import HAS_CLOSES
from refresh_assets.store.expected import expected_portfolios
from refresh_assets.store.schema_names import DAY_TABLES

SYMBOL_BATCH = "symbol_batch"


class State(StrEnum):
    """What a trading day is."""

    COMPLETE = "complete"
    DUE = "due"
    BLOCKED = "blocked"
    SKIPPED = "skipped"
    MIXED = "mixed"
    EMPTY = "empty"


@dataclass(frozen=True)
class DayStatus:
    """A trading day: its state, why, what to do; portfolios due, and accounted for in each table."""

    day: date
    state: State
    why: str
    mend: str = ""
    portfolios: int = 0
    tables: Mapping[str, int] = field(default_factory=dict)
    exceptions: int = 0
    failed: int = 0


def day_statuses(
    connection: psycopg.Connection[Any],
    calendar: TradingCalendar,
    days: Sequence[date],
    effective: date,
    min_price_coverage: float = 0.0,
) -> list[DayStatus]:
    """The status of each of some trading days, ascending, none later than the effective trading date.

    Args:
        min_price_coverage: a day with a smaller share of closes than this is blocked, as the gate holds it."""
    if not days:
        return []
    expected = expected_portfolios(connection, calendar, days)
    stored = _stored_days(connection, days[0], days[-1])
    ready = _tracked(connection, days[0], days[-1])
    candidates = [
        day
        for row, day in enumerate(days)
        if expected.count[row] and not _accounts_for_all(stored.get(day, {}), expected.hashes[row])
    ]
    priced = days_with_closes(connection, candidates)
    found = [
        _status(
            day, int(expected.count[row]), expected.hashes[row], stored.get(day, {}), ready.get(day), priced, effective
        )
        for row, day in enumerate(days)
    ]
    due = [one.day for one in found if one.state is State.DUE and ready.get(one.day) == "completed"]
    short = _half_loaded(connection, calendar, due, min_price_coverage) if due and min_price_coverage else {}
    return [
        replace(one, state=State.BLOCKED, why=short[one.day], mend=_LOAD_OR_RUN.format(one.day))
        if one.day in short
        else one
        for one in found
    ]


_LOAD_OR_RUN = "have the symbol batch load the missing closes; or as it is: refresh-assets run --date {}"


def _half_loaded(
    connection: psycopg.Connection[Any], calendar: TradingCalendar, days: Sequence[date], least: float
) -> dict[date, str]:
    """Those of some days whose batch completed with too few closes, as the gate holds them, and why in words."""
    from refresh_assets.store.coverage import counted  # mostly no day is due, and it loads Arrow

    return {
        day: f"half-loaded: {priced} of {held} symbols held have a close, {least:.0%} are asked for"
        for day, (held, priced) in counted(connection, calendar, days).items()
        if priced < least * held
    }


def _accounts_for_all(tables: Mapping[str, Any], hashes: np.uint64) -> bool:
    return all(table in tables and tables[table]["accounted"] == int(hashes.view(np.int64)) for table in DAY_TABLES)


def _status(
    day: date,
    portfolios: int,
    hashes: np.uint64,
    tables: Mapping[str, dict[str, Any]],
    batch: str | None,
    priced: set[date],
    effective: date,
) -> DayStatus:
    complete = {name: row for name, row in tables.items() if row["status"] == "complete"}
    figures: dict[str, Any] = {
        "portfolios": portfolios,
        "tables": {name: complete[name]["portfolios"] if name in complete else 0 for name in DAY_TABLES},
        "exceptions": sum(row["exceptions"] for row in complete.values()),
        "failed": max((row["failed"] for row in complete.values()), default=0),
    }
    if portfolios == 0:
        return DayStatus(day, State.EMPTY, "no portfolio holds anything", **figures)
    if _accounts_for_all(complete, hashes):
        if len({(row["inputs_digest"], row["code_version"]) for row in complete.values()}) > 1:
            why = "its tables were computed from different inputs"
            return DayStatus(day, State.MIXED, why, f"refresh-assets run --date {day}", **figures)
        why = "every portfolio is accounted for"
        if figures["failed"]:
            why += f"; {figures['failed']} failed"
        return DayStatus(day, State.COMPLETE, why, **figures)
    blocked = _why_not_ready(day, batch, day in priced, effective)
    if blocked is not None:
        state = (
            State.SKIPPED if batch in (None, "completed") and day not in priced and day < effective else State.BLOCKED
        )
        return DayStatus(day, state, blocked[0], blocked[1], **figures)
    lacking = [name for name in DAY_TABLES if name not in complete]
    why = f"missing: {', '.join(lacking)}" if lacking else "portfolios are missing"
    return DayStatus(day, State.DUE, why, f"refresh-assets run --date {day} --scope missing", **figures)


def _why_not_ready(day: date, batch: str | None, has_prices: bool, effective: date) -> tuple[str, str] | None:
    """Spec section 3: ready iff the symbol batch completed; or an earlier day without any tracking row, with prices."""
    if batch == "completed":
        return None if has_prices else ("not one close", "have the symbol batch load the day")
    if batch is not None:
        return f"the symbol batch says {batch}", "wait for it, or run it again"
    if day >= effective:
        return "the symbol batch has not run", "wait for it, or run it"
    return None if has_prices else ("not one close", "have the symbol batch load the day")


def _stored_days(connection: psycopg.Connection[Any], first: date, last: date) -> dict[date, dict[str, dict[str, Any]]]:
    rows = connection.execute(
        "select calculation_date, table_name, status, portfolios, exceptions, failed, accounted, inputs_digest,"
        " code_version from refresh_days where calculation_date between %s and %s",
        [first, last],
    ).fetchall()
    names = ("status", "portfolios", "exceptions", "failed", "accounted", "inputs_digest", "code_version")
    stored: dict[date, dict[str, dict[str, Any]]] = {}
    for day, table, *values in rows:
        stored.setdefault(day, {})[table] = dict(zip(names, values, strict=True))
    return stored


def complete_days(connection: psycopg.Connection[Any], first: date, last: date) -> list[date]:
    """Days from `first` to `last` on which every table is complete and of one set of inputs, ascending."""
    rows = connection.execute(
        "select calculation_date from refresh_complete_days where calculation_date between %s and %s order by 1",
        [first, last],
    ).fetchall()
    return [row[0] for row in rows]


def standing_tables(connection: psycopg.Connection[Any], days: Sequence[date]) -> dict[date, set[str]]:
    """The tables that stand complete on each of some days; days without one are left out."""
    rows = connection.execute(
        "select calculation_date, table_name from refresh_days where calculation_date = any(%s) and status = 'complete'",
        [list(days)],
    ).fetchall()
    standing: dict[date, set[str]] = {}
    for day, table in rows:
        standing.setdefault(day, set()).add(table)
    return standing


def stored_inputs(connection: psycopg.Connection[Any], day: date) -> dict[str, Any] | None:
    """Digests of the inputs that a day's snapshots were computed from; None where this version of the figures did not."""
    row = connection.execute(
        "select inputs from refresh_days where calculation_date = %s and table_name = 'portfolio_snapshots'"
        " and code_version = %s",
        [day, CODE_VERSION],
    ).fetchone()
    return row[0] if row else None


def _tracked(connection: psycopg.Connection[Any], first: date, last: date) -> dict[date, str]:
    rows = connection.execute(
        "select target_date, status::text from batch_run_tracking where batch_type = %s and target_date between %s and %s",
        [SYMBOL_BATCH, first, last],
    ).fetchall()
    return dict(rows)


def days_with_closes(connection: psycopg.Connection[Any], days: Sequence[date]) -> set[date]:
    """Those of some days that have a close of any symbol: what the night asks too before it skips a day."""
    # As the text of one array: as a list each of thousands of days would be looked at by the driver first.
    rows = connection.execute(
        f"select d from unnest(%s::date[]) d where {HAS_CLOSES.format(day='d')}", [f"{{{','.join(map(str, days))}}}"]
    ).fetchall()
    return {row[0] for row in rows}


def stretches(days: Sequence[date], all_days: Sequence[date]) -> list[list[date]]:
    """Days as stretches of consecutive trading days, oldest first."""
    place = {day: number for number, day in enumerate(all_days)}
    found: list[list[date]] = []
    for day in sorted(days):
        if found and place[day] == place[found[-1][-1]] + 1:
            found[-1].append(day)
        else:
            found.append([day])
    return found


@dataclass(frozen=True)
class LeftOut:
    """One row of refresh_exceptions, with the portfolio's name."""

    asset: str
    code: str
    portfolio: str | None
    symbol: str | None
    detail: str


def exceptions_of(connection: psycopg.Connection[Any], day: date) -> list[LeftOut]:
    """Everything left out of a day, by name."""
    rows = connection.execute(
        "select e.asset, e.code, coalesce(p.name, e.portfolio_id::text), e.symbol, e.detail from refresh_exceptions e"
        " left join portfolios p on p.id = e.portfolio_id where e.calculation_date = %s"
        " order by e.asset, e.code, 3, e.symbol, e.detail",
        [day],
    ).fetchall()
    return [LeftOut(*row) for row in rows]
