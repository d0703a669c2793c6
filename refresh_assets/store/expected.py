"""Who should be accounted for on each trading day: portfolios that exist, and hold a position or sold their last on it.

Here: one scan of the platform's positions, reduced to spans of days; of 2,500 past days at once, for a day of a table is
compared by the sum of hashes of its portfolios. Not here: what is there, and what a day is called for it (days.py), the
books themselves (core/book.py).

The scan is most of the gate's look after somebody wrote, so it is read once: positions still held shrink to one date a
portfolio while PostgreSQL scans them (on two cores where it has them), only the others come as rows of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.store.arrow import LARGEST
from refresh_assets.store.read import DELETED, ENTRY, EXIT, STARTS, day_number, events_source

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Expected:
    """Portfolios that should be accounted for on each of T days: how many, and the sum of their hashes."""

    count: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]


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


def plan_for_scans(connection: psycopg.Connection[Any]) -> None:
    """Let the transaction's plans use what makes one short scan of a large table quick.

    Compiling (jit) costs more than such a scan, the planner's price of a parallel worker is that of 1,000 pages, and it
    takes the state of an aggregate for 8 kB a group where most groups have none."""
    connection.execute(
        "select set_config('jit', 'off', true), set_config('parallel_setup_cost', '0', true),"
        " set_config('parallel_tuple_cost', '0', true), set_config('hash_mem_multiplier', '1000', true)"
    )


NEVER = day_number(date(9999, 12, 31))
_SOLD_OUT, _USABLE, _ODD = 0, 1, 2
# As fixed-width bytes: a row of Python objects a portfolio would cost as much as the scan.
_PORTFOLIO = np.dtype([("id", "V16"), ("start", ">i4"), ("deleted", ">i4"), ("since", ">i4")])
_OTHER = np.dtype(
    [("owner", "V16"), ("id", "V16"), ("entry", ">i4"), ("exit", ">i4"), ("deleted", ">i4"), ("quantity", ">i4")]
)


def _number(day: str) -> str:
    """SQL for a date as the bytes of its number."""
    return f"int4send({day} - date '1970-01-01')"


# The day an onboarded portfolio begins, by a join with refresh_first_days g: a look-up a portfolio takes as long again.
JOINED_STARTS = STARTS.replace(
    "(select first_day from refresh_first_days g where g.portfolio_id = f.id)", "g.first_day"
)
assert "select" not in JOINED_STARTS

# `since`: the first entry among the positions that are still held. What ended before the first day concerns none.
_SPANS = f"""
with owned as (
    select portfolio_id,
        min(coalesce(entry_date, date '-infinity'))
            filter (where exit_date is null and deleted_at is null and quantity is distinct from 0) as since,
        string_agg(
            uuid_send(portfolio_id) || uuid_send(coalesce(id, '{UUID(int=0)}')) || {_number(ENTRY)} || {_number(EXIT)}
            || {_number(DELETED)} || int4send(case when quantity = 0 then {_SOLD_OUT}
                when abs(quantity) <= {LARGEST} then {_USABLE} else {_ODD} end), ''
        ) filter (
            where (exit_date is not null or deleted_at is not null or quantity = 0)
            and (exit_date is null or exit_date >= %s)
        ) as others
    from positions group by portfolio_id
)
select string_agg(uuid_send(f.id) || {_number(JOINED_STARTS)} || {_number(DELETED.replace("deleted_at", "f.deleted_at"))}
        || {_number("least(case when since is not null then greatest(since, date '1900-01-01') end, date '9999-12-31')")}, ''),
    string_agg(others, '')
from portfolios f join owned on owned.portfolio_id = f.id left join refresh_first_days g on g.portfolio_id = f.id
"""
# Of events that the night can use: what it leaves out (read.py) sold nothing.
_LAST_SALES = """
select p.row, max(least(e.trade_date, date '9999-12-31')) - date '1970-01-01'
from unnest(%s::uuid[], %s::int[]) with ordinality as p(id, entry, row) join {events} e on e.position_id = p.id
where abs(e.quantity_closed) <= {largest} and e.trade_date >= date '1970-01-01' + p.entry group by p.row
"""


def _expected_on(connection: psycopg.Connection[Any], days: Sequence[date]) -> Expected:
    """The same for consecutive trading days; only the first may lack some of its sales."""
    plan_for_scans(connection)
    row = connection.execute(_SPANS, [days[0]], binary=True).fetchone()
    portfolios = np.frombuffer(row[0] if row and row[0] else b"", dtype=_PORTFOLIO)
    _, first = np.unique(portfolios["id"].view("S16"), return_index=True)
    portfolios = portfolios[first]  # one that stands there twice counts once, as for the night
    others = np.frombuffer(row[1] if row and row[1] else b"", dtype=_OTHER)
    if not len(portfolios):
        return Expected(np.zeros(len(days), dtype=np.int64), np.zeros(len(days), dtype=np.uint64))
    start, deleted, since = (portfolios[name].astype(np.int64) for name in ("start", "deleted", "since"))
    owner, entry, ends, gone, by_sale = _ended(connection, portfolios["id"], others, since)
    held = np.flatnonzero(since < NEVER)
    owner = np.concatenate([held, owner])
    entry = np.maximum(np.concatenate([since[held], entry]), start[owner])
    ends, gone, by_sale = (
        np.concatenate([np.full(len(held), fill, dtype=array.dtype), array])
        for fill, array in ((NEVER, ends), (NEVER, gone), (False, by_sale))
    )
    gone = np.minimum(gone, deleted[owner])
    grid = np.array([day_number(day) for day in days])
    first_day, last = np.searchsorted(grid, entry), np.searchsorted(grid, np.minimum(ends, gone))
    # A sale counts on the trading day on which, or after which, it was made, if nothing is deleted by then.
    sale = np.searchsorted(grid, ends)
    counts = by_sale & (grid[np.minimum(sale, len(grid) - 1)] < gone)
    last = np.where(counts, np.maximum(last, sale + 1), last)
    return _swept(digest.portfolio_hashes(portfolios["id"]), owner, first_day, np.minimum(last, len(grid)), len(grid))


def _ended(
    connection: psycopg.Connection[Any], ids: npt.NDArray[np.void], others: npt.NDArray[Any], since: Rows
) -> tuple[Rows, Rows, Rows, Rows, npt.NDArray[np.bool_]]:
    """Positions that were sold or deleted, as far as they say more than those still held: (N,) row of the owner, entry,
    end, deletion, and whether a sale ended it.

    Args:
        ids, since: (P,) of the portfolios; the ids ascending, byte by byte.
        others: of positions whose owner may be there twice, or nobody."""
    owner = np.searchsorted(ids.view("S16"), others["owner"].view("S16"))
    entry = others["entry"].astype(np.int64)
    chosen = np.flatnonzero(entry < since[np.minimum(owner, len(ids) - 1)])
    others, owner, entry = others[chosen], owner[chosen], entry[chosen]
    exits, gone = others["exit"].astype(np.int64), others["deleted"].astype(np.int64)
    zero = np.flatnonzero(others["quantity"] == _SOLD_OUT)
    sold_out = np.full(len(others), NEVER)
    never_held = np.zeros(len(others), dtype=bool)
    never_held[zero] = True
    if len(zero):
        query = _LAST_SALES.format(events=events_source(connection), largest=LARGEST)
        asked = [[UUID(bytes=one.tobytes()) for one in others["id"][zero]], entry[zero].tolist()]
        for row, day in connection.execute(query, asked).fetchall():
            sold_out[zero[row - 1]], never_held[zero[row - 1]] = day, False
    sold = np.minimum(exits, sold_out)
    ends = np.minimum(sold, gone)
    by_sale = (sold < gone) & (others["quantity"] != _ODD)
    some = ~never_held & (ends >= entry)
    return owner[some], entry[some], ends[some], gone[some], by_sale[some]


def _swept(hashes: npt.NDArray[np.uint64], owner: Rows, first: Rows, last: Rows, size: int) -> Expected:
    """Spans of days by portfolio, overlapping or not -> number and hash sum of the portfolios on each day."""
    order = np.lexsort((first, owner))
    order = order[last[order] > first[order]]
    owner, first, last = owner[order], first[order], last[order]
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
            np.add.at(total, first[starts], hashes[owner[starts]])
            np.subtract.at(total, reach[stops], hashes[owner[starts]])
    with np.errstate(over="ignore"):
        return Expected(np.cumsum(count)[:size], np.cumsum(total, dtype=np.uint64)[:size])
