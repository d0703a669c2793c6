"""Who should be accounted for on each trading day: portfolios that exist, and hold a position or sold their last on it.

Here: one scan of the platform's positions, reduced to spans of days; of 2,500 past days at once, for a day of a table is
compared by the sum of hashes of its portfolios. Not here: what is there, and what a day is called for it (days.py), the
books themselves (core/book.py).

The scan is most of the gate's look after somebody wrote, so it is read once: positions still held shrink to one date a
portfolio while PostgreSQL scans them (on two cores where it has them), and only what ended and began before that comes as
rows of their own."""

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


@dataclass(frozen=True)
class Portfolios:
    """P portfolios, each once: ids ascending byte by byte, numbers of the days on which they begin and are deleted, hashes."""

    ids: npt.NDArray[np.void]
    start: Rows
    deleted: Rows
    hashes: npt.NDArray[np.uint64]


def expected_portfolios(
    connection: psycopg.Connection[Any],
    calendar: TradingCalendar,
    days: Sequence[date],
    portfolios: Portfolios | None = None,
) -> Expected:
    """Who should be accounted for on each of some trading days, ascending: portfolios that exist, and hold a position or
    sold their last on it.

    Args:
        portfolios: as read_portfolios gave them, if they are the same still."""
    # All trading days between, and the one before: a sale counts on the first trading day on or after it.
    every = calendar.days(calendar.previous(days[0]), days[-1])
    plan_for_scans(connection)
    whole = _expected_on(connection, every, read_portfolios(connection) if portfolios is None else portfolios)
    rows = np.searchsorted(day_numbers(every), day_numbers(days))
    return Expected(whole.count[rows], whole.hashes[rows])


def read_portfolios(connection: psycopg.Connection[Any]) -> Portfolios:
    """All portfolios; one that stands there twice counts once, as for the night."""
    rows = _sent(connection, _PORTFOLIOS, [], _PORTFOLIO)
    _, first = np.unique(rows["id"].view("S16"), return_index=True)
    rows = rows[first]
    return Portfolios(
        rows["id"], _numbers(rows["start"]), _numbers(rows["deleted"]), digest.portfolio_hashes(rows["id"])
    )


def plan_for_scans(connection: psycopg.Connection[Any]) -> None:
    """Let the transaction's plans use what makes one short scan of a large table quick.

    Compiling (jit) costs more than such a scan, the planner's price of a parallel worker is that of 1,000 pages, and it
    takes the state of an aggregate for 8 kB a group where most groups have none."""
    connection.execute(
        "select set_config('jit', 'off', true), set_config('parallel_setup_cost', '0', true),"
        " set_config('parallel_tuple_cost', '0', true), set_config('hash_mem_multiplier', '1000', true)"
    )


def day_numbers(days: Sequence[date]) -> Rows:
    return np.fromiter((day.toordinal() for day in days), dtype=np.int64) - date(1970, 1, 1).toordinal()


NEVER = day_number(date(9999, 12, 31))
_SOLD_OUT, _USABLE, _ODD = 0, 1, 2
# As fixed-width bytes: a row of Python objects a portfolio would cost as much as the scan.
_PORTFOLIO = np.dtype([("id", "V16"), ("start", ">i4"), ("deleted", ">i4")])
_OWNER = np.dtype([("id", "V16"), ("since", ">i4"), ("earliest", ">i4")])
_OTHER = np.dtype(
    [("owner", "V16"), ("id", "V16"), ("entry", ">i4"), ("exit", ">i4"), ("deleted", ">i4"), ("quantity", ">i4")]
)


_MILLENNIUM = day_number(date(2000, 1, 1))  # PostgreSQL counts from there


def _numbers(sent: npt.NDArray[Any]) -> Rows:
    """Numbers of dates as `date_send` gives them; infinite ones too, which no calendar reaches."""
    return np.clip(sent.astype(np.int64) + _MILLENNIUM, day_number(date(1900, 1, 1)), NEVER)


# The day an onboarded portfolio begins, by a join with refresh_first_days g: a look-up a portfolio takes as long again.
JOINED_STARTS = STARTS.replace(
    "(select first_day from refresh_first_days g where g.portfolio_id = f.id)", "g.first_day"
)
assert "select" not in JOINED_STARTS

# `since`: the first entry among the positions that are still held; `earliest`: among all. Two dates pass from one of
# PostgreSQL's processes to another for little; the rows that ended do not, and most begin no earlier than what is held.
_OWNERS = """
select string_agg(uuid_send(portfolio_id) || date_send(coalesce(since, date 'infinity')) || date_send(earliest), '')
from (
    select portfolio_id, min(coalesce(entry_date, date '-infinity')) as earliest,
        min(coalesce(entry_date, date '-infinity'))
            filter (where exit_date is null and deleted_at is null and quantity is distinct from 0) as since
    from positions group by portfolio_id
) owned
"""
# What ended before the first day concerns none.
_OTHERS = f"""
select string_agg(
    uuid_send(portfolio_id) || uuid_send(coalesce(id, '{UUID(int=0)}')) || date_send({ENTRY}) || date_send({EXIT})
    || date_send({DELETED}) || int4send(case when quantity = 0 then {_SOLD_OUT}
        when abs(quantity) <= {LARGEST} then {_USABLE} else {_ODD} end), '')
from positions where portfolio_id = any(%s::uuid[])
    and (exit_date is not null or deleted_at is not null or quantity = 0) and (exit_date is null or exit_date >= %s)
"""
_PORTFOLIOS = f"""
select string_agg(uuid_send(f.id) || date_send({JOINED_STARTS}) || date_send({DELETED}), '')
from portfolios f left join refresh_first_days g on g.portfolio_id = f.id
"""
# Of events that the night can use: what it leaves out (read.py) sold nothing.
_LAST_SALES = """
select p.row, max(least(e.trade_date, date '9999-12-31')) - date '1970-01-01'
from unnest(%s::uuid[], %s::int[]) with ordinality as p(id, entry, row) join {events} e on e.position_id = p.id
where abs(e.quantity_closed) <= {largest} and e.trade_date >= date '1970-01-01' + p.entry group by p.row
"""


def _expected_on(connection: psycopg.Connection[Any], days: Sequence[date], portfolios: Portfolios) -> Expected:
    """The same for consecutive trading days; only the first may lack some of its sales."""
    ids, start = portfolios.ids, portfolios.start
    if not len(ids):
        return Expected(np.zeros(len(days), dtype=np.int64), np.zeros(len(days), dtype=np.uint64))
    owners = _sent(connection, _OWNERS, [], _OWNER)
    more = owners["id"][owners["earliest"] < owners["since"]]
    others = _sent(connection, _OTHERS, [_array(more), days[0]], _OTHER)
    since = np.full(len(ids), NEVER)
    row, known = _rows_of(owners["id"], ids)
    since[row[known]] = _numbers(owners["since"][known])
    owner, entry, ends, gone, by_sale = _ended(connection, ids, others, since)
    held = np.flatnonzero(since < NEVER)
    owner = np.concatenate([held, owner])
    entry = np.maximum(np.concatenate([since[held], entry]), start[owner])
    ends, gone, by_sale = (
        np.concatenate([np.full(len(held), fill, dtype=array.dtype), array])
        for fill, array in ((NEVER, ends), (NEVER, gone), (False, by_sale))
    )
    gone = np.minimum(gone, portfolios.deleted[owner])
    grid = day_numbers(days)
    first_day, last = _places(grid, entry), _places(grid, np.minimum(ends, gone))
    # A sale counts on the trading day on which, or after which, it was made, if nothing is deleted by then.
    sale = _places(grid, ends)
    counts = by_sale & (grid[np.minimum(sale, len(grid) - 1)] < gone)
    last = np.where(counts, np.maximum(last, sale + 1), last)
    return _swept(portfolios.hashes, owner, first_day, np.minimum(last, len(grid)), len(grid))


def _sent(
    connection: psycopg.Connection[Any], query: str, asked: Sequence[object], form: np.dtype[Any]
) -> npt.NDArray[Any]:
    """The one value of a query: bytes, many fixed-width rows; null is none of them."""
    row = connection.execute(query, asked, binary=True).fetchone()
    return np.frombuffer(row[0] if row and row[0] else b"", dtype=form)


def _array(ids: npt.NDArray[np.void]) -> str:
    """As PostgreSQL writes an array: a UUID as an object, and its way back to bytes, cost as much as a query."""
    return f"{{{','.join(one.tobytes().hex() for one in ids)}}}"


def _rows_of(wanted: npt.NDArray[np.void], ids: npt.NDArray[np.void]) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Where some ids stand among others, which ascend byte by byte; and whether they stand there at all."""
    of, among = wanted.view("S16"), ids.view("S16")
    row = np.minimum(np.searchsorted(among, of), len(among) - 1)
    return row, among[row] == of


def _ended(
    connection: psycopg.Connection[Any], ids: npt.NDArray[np.void], others: npt.NDArray[Any], since: Rows
) -> tuple[Rows, Rows, Rows, Rows, npt.NDArray[np.bool_]]:
    """Positions that were sold or deleted, as far as they say more than those still held: (N,) row of the owner, entry,
    end, deletion, and whether a sale ended it.

    Args:
        ids, since: (P,) of the portfolios; the ids ascending, byte by byte.
        others: of positions whose owner may be nobody."""
    owner, known = _rows_of(others["owner"], ids)
    entry = _numbers(others["entry"])
    chosen = np.flatnonzero(known & (entry < since[owner]))
    others, owner, entry = others[chosen], owner[chosen], entry[chosen]
    exits, gone = _numbers(others["exit"]), _numbers(others["deleted"])
    zero = np.flatnonzero(others["quantity"] == _SOLD_OUT)
    sold_out = np.full(len(others), NEVER)
    never_held = np.zeros(len(others), dtype=bool)
    never_held[zero] = True
    if len(zero):
        query = _LAST_SALES.format(events=events_source(connection), largest=LARGEST)
        asked = [_array(others["id"][zero]), entry[zero].tolist()]
        for row, day in connection.execute(query, asked).fetchall():
            sold_out[zero[row - 1]], never_held[zero[row - 1]] = day, False
    sold = np.minimum(exits, sold_out)
    ends = np.minimum(sold, gone)
    by_sale = (sold < gone) & (others["quantity"] != _ODD)
    some = ~never_held & (ends >= entry)
    return owner[some], entry[some], ends[some], gone[some], by_sale[some]


def _places(grid: Rows, days: Rows) -> Rows:
    """Where days belong among ascending ones: searchsorted, by a table of all days between."""
    table: Rows = np.searchsorted(grid, np.arange(grid[0], grid[-1] + 2))
    return table[np.clip(days, grid[0], grid[-1] + 1) - grid[0]]


def _swept(hashes: npt.NDArray[np.uint64], owner: Rows, first: Rows, last: Rows, size: int) -> Expected:
    """Spans of days by portfolio, overlapping or not -> number and hash sum of the portfolios on each day."""
    order = np.argsort(owner * (size + 1) + first)
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
