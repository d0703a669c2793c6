"""Which days are complete, due, blocked or skipped, and why: decided from the tables.

Here: what should be there (portfolios that hold something), what is there (refresh_days), whether the symbol batch is
done. Not here: when to start a night or wake a person (automation/), running a day (assets/), the words on a terminal
(cli.py).

A day of a table is compared by number and by the sum of hashes of its portfolios, so a hole is seen wherever it is, without
looking at the rows of 2,500 past days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.store.arrow import LARGEST
from refresh_assets.store.read import DELETED, ENTRY, EXIT, STARTS, day_number, events_source
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


@dataclass(frozen=True)
class Expected:
    """Portfolios that should be accounted for on each of T days: how many, and the sum of their hashes."""

    count: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]


def day_statuses(
    connection: psycopg.Connection[Any], calendar: TradingCalendar, days: Sequence[date], effective: date
) -> list[DayStatus]:
    """The status of each of some trading days, ascending, none later than the effective trading date."""
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
    priced = _days_with_prices(connection, candidates)
    return [
        _status(
            day, int(expected.count[row]), expected.hashes[row], stored.get(day, {}), ready.get(day), priced, effective
        )
        for row, day in enumerate(days)
    ]


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


def expected_portfolios(
    connection: psycopg.Connection[Any], calendar: TradingCalendar, days: Sequence[date]
) -> Expected:
    """Who should be accounted for on each of some trading days, ascending: portfolios that exist, and hold a position or
    sold their last on it."""
    # All trading days between, and the one before: a sale counts on the first trading day on or after it.
    every = calendar.days(calendar.previous(days[0]), days[-1])
    whole = _expected_on(connection, every)
    place = {day: row for row, day in enumerate(every)}
    rows = [place[day] for day in days]
    return Expected(whole.count[rows], whole.hashes[rows])


def _expected_on(connection: psycopg.Connection[Any], days: Sequence[date]) -> Expected:
    """The same for consecutive trading days; only the first may lack some of its sales."""
    events = events_source(connection)
    rows = connection.execute(
        f"""
        with p as (
            -- Of events that the night can use: what it leaves out (read.py) sold nothing.
            select portfolio_id, {ENTRY} as entry, {EXIT} as exit, {DELETED} as deleted, quantity,
                case when quantity = 0 then (
                    select max(least(e.trade_date, date '9999-12-31')) from {events} e where e.position_id = positions.id
                    and abs(e.quantity_closed) <= {LARGEST} and e.trade_date >= coalesce({ENTRY}, date '1900-01-01')
                ) end as sold_out
            from positions
        ), spans as (
            select portfolio_id, entry, deleted, least(exit, deleted, coalesce(sold_out, date '9999-12-31')) as ends,
                least(exit, coalesce(sold_out, date '9999-12-31')) < deleted
                    and coalesce(abs(quantity) <= {LARGEST}, false) as by_sale
            from p where (quantity is distinct from 0 or sold_out is not null)
        ), open_since as (
            select portfolio_id, min(entry) as entry from spans where ends = date '9999-12-31' group by portfolio_id
        ), chosen as (
            select portfolio_id, entry, date '9999-12-31' as ends, date '9999-12-31' as deleted, false as by_sale
            from open_since
            union
            select s.portfolio_id, s.entry, s.ends, s.deleted, s.by_sale from spans s
            left join open_since o using (portfolio_id)
            where s.ends < date '9999-12-31' and s.ends >= s.entry and (o.entry is null or s.entry < o.entry)
        )
        select f.id, greatest(c.entry, {STARTS}) - date '1970-01-01',
            c.ends - date '1970-01-01', c.by_sale,
            least(c.deleted, {DELETED.replace("deleted_at", "f.deleted_at")}) - date '1970-01-01'
        from chosen c join portfolios f on f.id = c.portfolio_id
        """
    ).fetchall()
    if not rows:
        return Expected(np.zeros(len(days), dtype=np.int64), np.zeros(len(days), dtype=np.uint64))
    ids = np.array([row[0].bytes for row in rows], dtype="V16")
    start, ends, by_sale, deleted = (np.array(column) for column in list(zip(*rows, strict=True))[1:])
    grid = np.array([day_number(day) for day in days])
    first = np.searchsorted(grid, start)
    last = np.searchsorted(grid, np.minimum(ends, deleted))
    # A sale counts on the trading day on which, or after which, it was made, if nothing is deleted by then.
    sale = np.searchsorted(grid, ends)
    counts = by_sale & (grid[np.minimum(sale, len(grid) - 1)] < deleted)
    last = np.where(counts, np.maximum(last, sale + 1), last)
    return _swept(ids, first, np.minimum(last, len(grid)), len(grid))


def _swept(ids: npt.NDArray[np.void], first: npt.NDArray[Any], last: npt.NDArray[Any], size: int) -> Expected:
    """Spans of days by portfolio, overlapping or not -> number and hash sum of the portfolios on each day."""
    some = last > first
    hashes, first, last = digest.portfolio_hashes(ids[some]), first[some], last[some]
    _, owner = np.unique(_as_words(ids[some]), axis=0, return_inverse=True)
    owner = owner.ravel()
    order = np.lexsort((first, owner))
    owner, first, last, hashes = owner[order], first[order], last[order], hashes[order]
    # The furthest end so far of the same portfolio: what begins beyond it begins anew.
    reach = np.maximum.accumulate(owner * (size + 1) + last) - owner * (size + 1)
    fresh = np.ones(len(owner), dtype=bool)
    fresh[1:] = (owner[1:] != owner[:-1]) | (first[1:] > reach[:-1])
    starts = np.flatnonzero(fresh)
    stops = np.append(starts[1:], len(owner)) - 1
    count = np.zeros(size + 1, dtype=np.int64)
    total = np.zeros(size + 1, dtype=np.uint64)
    if len(starts):
        np.add.at(count, first[starts], 1)
        np.subtract.at(count, reach[stops], 1)
        with np.errstate(over="ignore"):
            np.add.at(total, first[starts], hashes[starts])
            np.subtract.at(total, reach[stops], hashes[starts])
    with np.errstate(over="ignore"):
        return Expected(np.cumsum(count)[:size], np.cumsum(total, dtype=np.uint64)[:size])


def _as_words(ids: npt.NDArray[np.void]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)


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


def _tracked(connection: psycopg.Connection[Any], first: date, last: date) -> dict[date, str]:
    rows = connection.execute(
        "select target_date, status from batch_run_tracking where batch_type = %s and target_date between %s and %s",
        [SYMBOL_BATCH, first, last],
    ).fetchall()
    return dict(rows)


def _days_with_prices(connection: psycopg.Connection[Any], days: Sequence[date]) -> set[date]:
    rows = connection.execute(
        "select d from unnest(%s::date[]) d where exists (select from market_data_cache m where m.date = d)",
        [list(days)],
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
