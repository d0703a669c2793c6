"""Who should be accounted for on each trading day: portfolios that exist, and hold a position or sold their last on it.

Here: portfolios and what their positions say, reduced to spans of days; of 2,500 past days at once, for a day of a table is
compared by the sum of hashes of its portfolios. Not here: the scan of the positions (owned.py), what is there, and what a
day is called for it (days.py), the books themselves (core/book.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.core.book import used_rows
from refresh_assets.core.money import FINEST, LARGEST
from refresh_assets.store.dates import DELETED, STARTS
from refresh_assets.store.optional import events_source
from refresh_assets.store.owned import ODD, SOLD_OUT, Owned, read_owned
from refresh_assets.store.scans import NEVER, Rows, as_array, as_days, places_of, rows_of, sent


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

    def to_parts(self) -> list[bytes]:
        return [self.ids.tobytes(), *(one.astype(np.int32).tobytes() for one in (self.start, self.deleted))]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Portfolios:
        ids = rows_of(parts[0], np.dtype("V16"))
        start, deleted = (rows_of(part, np.dtype(np.int32)).astype(np.int64) for part in parts[1:])
        return cls(ids, start, deleted, digest.portfolio_hashes(ids))


def expected_portfolios(
    connection: psycopg.Connection[Any],
    calendar: TradingCalendar,
    days: Sequence[date],
    portfolios: Portfolios | None = None,
    owned: Owned | None = None,
) -> Expected:
    """Who should be accounted for on each of some trading days, ascending: portfolios that exist, and hold a position or
    sold their last on it.

    Args:
        portfolios, owned: as read_portfolios and read_owned(.., first_needed(..)) gave them, if they are the same still."""
    # All trading days between, and the one before: a sale counts on the first trading day on or after it.
    every = calendar.days(first_needed(calendar, days), days[-1])
    whole = _expected_on(
        connection,
        every,
        read_portfolios(connection) if portfolios is None else portfolios,
        read_owned(connection, every[0]) if owned is None else owned,
    )
    rows = np.searchsorted(day_numbers(every), day_numbers(days))
    return Expected(whole.count[rows], whole.hashes[rows])


def first_needed(calendar: TradingCalendar, days: Sequence[date]) -> date:
    """What ended before this day concerns none of some trading days, ascending."""
    return calendar.previous(days[0])


def read_portfolios(connection: psycopg.Connection[Any]) -> Portfolios:
    """All portfolios; of one that stands there twice the row that the night uses."""
    rows = sent(connection, _PORTFOLIOS, [], _PORTFOLIO)
    start, deleted = as_days(rows["start"]), as_days(rows["deleted"])
    used = used_rows(rows["id"], start, deleted)
    ids = rows["id"][used]
    return Portfolios(ids, start[used], deleted[used], digest.portfolio_hashes(ids))


def day_numbers(days: Sequence[date]) -> Rows:
    return np.fromiter((day.toordinal() for day in days), dtype=np.int64) - date(1970, 1, 1).toordinal()


# As fixed-width bytes: a row of Python objects a portfolio would cost as much as the scan.
_PORTFOLIO = np.dtype([("id", "V16"), ("start", ">i4"), ("deleted", ">i4")])

# The day an onboarded portfolio begins, by a join with refresh_first_days g: a look-up a portfolio takes as long again.
JOINED_STARTS = STARTS.replace(
    "(select first_day from refresh_first_days g where g.portfolio_id = f.id)", "g.first_day"
)
assert "select" not in JOINED_STARTS

_PORTFOLIOS = f"""
select string_agg(uuid_send(f.id) || date_send({JOINED_STARTS}) || date_send({DELETED}), '')
from portfolios f left join refresh_first_days g on g.portfolio_id = f.id
"""
# Of events that the night can use: what it leaves out (read.py) sold nothing, and what closed 0 neither.
SOLD = f"abs(e.quantity_closed) <= {LARGEST} and scale(e.quantity_closed) <= {FINEST} and e.quantity_closed <> 0"
_LAST_SALES = """
select p.row, max(least(e.trade_date, date '9999-12-31')) - date '1970-01-01'
from unnest(%s::uuid[], %s::int[]) with ordinality as p(id, entry, row) join {events} e on e.position_id = p.id
where {sold} and e.trade_date >= date '1970-01-01' + p.entry group by p.row
"""


def _expected_on(
    connection: psycopg.Connection[Any], days: Sequence[date], portfolios: Portfolios, owned: Owned
) -> Expected:
    """The same for consecutive trading days; only the first may lack some of its sales."""
    ids, start = portfolios.ids, portfolios.start
    if not len(ids):
        return Expected(np.zeros(len(days), dtype=np.int64), np.zeros(len(days), dtype=np.uint64))
    owners = owned.owners
    since = np.full(len(ids), NEVER)
    row, known = places_of(owners["id"], ids)
    since[row[known]] = as_days(owners["since"][known])
    owner, entry, ends, gone, by_sale = _ended(connection, ids, owned.others, since)
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


def _ended(
    connection: psycopg.Connection[Any], ids: npt.NDArray[np.void], others: npt.NDArray[Any], since: Rows
) -> tuple[Rows, Rows, Rows, Rows, npt.NDArray[np.bool_]]:
    """Positions that were sold or deleted, as far as they say more than those still held: (N,) row of the owner, entry,
    end, deletion, and whether a sale ended it.

    Args:
        ids, since: (P,) of the portfolios; the ids ascending, byte by byte.
        others: of positions whose owner may be nobody."""
    owner, known = places_of(others["owner"], ids)
    entry = as_days(others["entry"])
    chosen = np.flatnonzero(known & (entry < since[owner]))
    others, owner, entry = others[chosen], owner[chosen], entry[chosen]
    exits, gone = as_days(others["exit"]), as_days(others["deleted"])
    zero = np.flatnonzero(others["quantity"] == SOLD_OUT)
    sold_out = np.full(len(others), NEVER)
    never_held = np.zeros(len(others), dtype=bool)
    never_held[zero] = True
    if len(zero):
        query = _LAST_SALES.format(events=events_source(connection), sold=SOLD)
        asked = [as_array(others["id"][zero]), entry[zero].tolist()]
        for row, day in connection.execute(query, asked).fetchall():
            sold_out[zero[row - 1]], never_held[zero[row - 1]] = day, False
    sold = np.minimum(exits, sold_out)
    ends = np.minimum(sold, gone)
    by_sale = (sold < gone) & (others["quantity"] != ODD)
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
