"""Closes of past days that are no longer those that the days used.

Here: marks against today's market_data_cache, closes that came late, which of it is one and the same change, how large it
is and in whose books. Not here: the other inputs (stale.py), whether a ratio is a split's (core/splits.py), words
(terminal_restatements.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.money import FINEST, LARGEST
from refresh_assets.core.splits import SPLITS, split_rows
from refresh_assets.errors import ExceptionCode
from refresh_assets.store.dates import DELETED, ENTRY, EXIT, STARTS, day_number, day_of
from refresh_assets.store.optional import events_source
from refresh_assets.store.read import LISTED

BATCH_DAYS = 20
"""Days compared by one statement: 20 x 5,000 marks take 0.05 s, 250 days at once 1.2 s, as their hash no longer fits."""
MEASURED = 5_000
"""Changes whose size in USD is worked out: one of every symbol of a large platform. The others are only named."""

# What the night takes for a close: others count as missing (store/arrow.py).
USABLE = f"case when c.close_price between 0 and {LARGEST} and scale(c.close_price) <= {FINEST} then c.close_price end"


@dataclass(frozen=True)
class PriceChange:
    """Closes of one symbol that changed alike.

    Attributes:
        days: the complete days whose close changed, ascending.
        old, new: USD, of the latest of the days; None where there was, or is, no close.
        low, high: the least and the greatest new / old of the days; None where a close is missing.
        split: such as "4-for-1 split", where every ratio is that of a usual split; else None.
        split_from: the first trading day after the latest of the days: that on which the split took effect, unless
            `reaches_last`: the latest of the days is the last that was compared, so it may have been later.
        portfolios: that hold the symbol as of the latest of the days; None where it was not worked out.
        usd: of the positions in it on that day, sum of |quantity x multiplier x (new - old)|.
        portfolio, portfolio_usd: the name of the portfolio that changes most, and by how much (signed).
    """

    symbol: str
    days: tuple[date, ...]
    old: float | None
    new: float | None
    low: float | None
    high: float | None
    split: str | None = None
    split_from: date | None = None
    reaches_last: bool = False
    portfolios: int | None = None
    usd: float | None = None
    portfolio: str | None = None
    portfolio_usd: float | None = None


@dataclass(frozen=True)
class ChangedCloses:
    """N closes that changed: day (number), symbol, USD before and now (NaN: none)."""

    day: np.ndarray[tuple[int], np.dtype[np.int64]]
    symbol: np.ndarray[tuple[int], np.dtype[np.object_]]
    old: np.ndarray[tuple[int], np.dtype[np.float64]]
    new: np.ndarray[tuple[int], np.dtype[np.float64]]


def changed_closes(connection: psycopg.Connection[Any], days: Sequence[date]) -> ChangedCloses:
    """Every close of some complete days, ascending, that is not what the day used."""
    found: list[tuple[int, str, float | None, float | None]] = []
    wanted = {day_number(day) for day in days}
    for begin in range(0, len(days), BATCH_DAYS):
        some = days[begin : begin + BATCH_DAYS]
        found += [row for row in _of_batch(connection, some[0], some[-1]) if row[0] in wanted]
    found.sort(key=lambda row: row[:2])
    columns = list(zip(*found, strict=True)) or [(), (), (), ()]
    old, new = (np.array([np.nan if one is None else one for one in column], dtype=float) for column in columns[2:])
    return ChangedCloses(np.array(columns[0], dtype=np.int64), np.array(columns[1], dtype=object), old, new)


def _of_batch(connection: psycopg.Connection[Any], first: date, last: date) -> list[Any]:
    corrected = connection.execute(
        f"""
        select m.calculation_date - date '1970-01-01', m.symbol, m.close_price::float8, ({USABLE})::float8
        from refresh_marks m left join market_data_cache c
            on c.symbol::text = m.symbol and c.date = m.calculation_date and c.date between %(first)s and %(last)s
        where m.calculation_date between %(first)s and %(last)s and m.close_price is distinct from {USABLE}
        """,
        {"first": first, "last": last},
    ).fetchall()
    # A close that was missing, or could not be used, has no mark: the day named it instead.
    late = connection.execute(
        f"""
        select e.calculation_date - date '1970-01-01', e.symbol, null::float8, max({USABLE})::float8
        from (
            select distinct calculation_date, symbol from refresh_exceptions
            where calculation_date between %(first)s and %(last)s and asset = 'portfolio_snapshots' and code = any(%(codes)s)
        ) e join market_data_cache c
            on c.symbol::text = e.symbol and c.date = e.calculation_date and c.date between %(first)s and %(last)s
        where not exists (
            select from refresh_marks m where m.calculation_date = e.calculation_date and m.symbol = e.symbol
        )
        group by e.calculation_date, e.symbol having count(*) = 1 and max({USABLE}) is not null
        """,
        {"first": first, "last": last, "codes": [ExceptionCode.NO_PRICE.value, ExceptionCode.BAD_PRICE.value]},
    ).fetchall()
    return corrected + late


def price_changes(
    connection: psycopg.Connection[Any], calendar: TradingCalendar, days: Sequence[date], closes: ChangedCloses
) -> list[PriceChange]:
    """The changed closes put together: one entry for a split over all past days, largest in USD first.

    Args:
        days: the complete days that were compared, ascending.
    """
    groups = [_one_change(calendar, closes, rows, days[-1]) for rows in _alike(days, closes)]
    latest = sorted(groups, key=lambda one: one.days[-1], reverse=True)
    measured = _measured(connection, latest[:MEASURED]) + latest[MEASURED:]
    return sorted(measured, key=lambda one: (-(one.usd or 0.0), one.symbol, one.days))


def _alike(days: Sequence[date], closes: ChangedCloses) -> Iterable[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """Rows of one symbol that one split explains, on whatever days, or that follow each other day by day."""
    if not len(closes.day):
        return []
    label = split_rows(closes.old, closes.new)
    place = np.searchsorted([day_number(day) for day in days], closes.day)
    order = np.lexsort((place, label, closes.symbol))
    symbol, label, place = closes.symbol[order], label[order], place[order]
    begins = (symbol[1:] != symbol[:-1]) | (label[1:] != label[:-1]) | ((label[1:] < 0) & (np.diff(place) > 1))
    return np.split(order, np.flatnonzero(begins) + 1)


def _one_change(calendar: TradingCalendar, closes: ChangedCloses, rows: Any, compared: date) -> PriceChange:
    last = rows[-1]
    ratios = [float(one) for one in closes.new[rows] / np.where(closes.old[rows] > 0, closes.old[rows], np.nan)]
    known = [one for one in ratios if not np.isnan(one)]
    label = int(split_rows(closes.old[[last]], closes.new[[last]])[0])
    days = tuple(day_of(number) for number in closes.day[rows])
    return PriceChange(
        symbol=closes.symbol[last],
        days=days,
        old=_known(closes.old[last]),
        new=_known(closes.new[last]),
        low=min(known, default=None),
        high=max(known, default=None),
        split=str(SPLITS[label]) if label >= 0 else None,
        split_from=calendar.next_on_or_after(day_of(closes.day[last] + 1)) if label >= 0 else None,
        reaches_last=days[-1] == compared,
    )


def _known(close: float) -> float | None:
    return None if np.isnan(close) else float(close)


def _measured(connection: psycopg.Connection[Any], changes: Sequence[PriceChange]) -> list[PriceChange]:
    """The same changes with their size: who holds the symbol as of the latest of its days, and how much it moves them."""
    if not changes:
        return []
    rows = connection.execute(
        f"""
        with changed as (
            select * from unnest(%s::int[], %s::text[], %s::date[], %s::float8[]) as c(place, symbol, day, move)
        ), held as (
            select id, portfolio_id, symbol::text as symbol, quantity, {ENTRY} as entry, {EXIT} as exit, {DELETED} as deleted,
                case investment_class::text when 'OPTIONS' then 100 else 1 end as multiplier
            from positions where {LISTED} and abs(quantity) <= {LARGEST}
            and symbol::text in (select symbol from changed)
        ), sold as (
            select c.place, h.id, sum(e.quantity_closed) as quantity
            from {events_source(connection)} e join held h on h.id = e.position_id join changed c using (symbol)
            where e.trade_date > c.day and abs(e.quantity_closed) <= {LARGEST}
            and sign(e.quantity_closed) is distinct from -sign(h.quantity) group by 1, 2
        ), moved as (
            select c.place, h.portfolio_id,
                round(h.quantity + coalesce(sold.quantity, 0), {FINEST}) * h.multiplier * c.move as usd
            from changed c join held h using (symbol) join portfolios f on f.id = h.portfolio_id
            left join sold on sold.place = c.place and sold.id = h.id
            where h.entry <= c.day and c.day < h.exit and c.day < h.deleted
            and {STARTS} <= c.day and c.day < {DELETED.replace("deleted_at", "f.deleted_at")}
        ), by_portfolio as (
            select place, portfolio_id, sum(usd) as usd, sum(abs(usd)) as gross from moved where usd <> 0 group by 1, 2
        ), ranked as (
            select *, row_number() over (partition by place order by abs(usd) desc, portfolio_id) as rank,
                count(*) over (partition by place) as portfolios, sum(gross) over (partition by place) as total
            from by_portfolio
        )
        select r.place, r.portfolios, r.total, coalesce(f.name, f.id::text), r.usd
        from ranked r join portfolios f on f.id = r.portfolio_id where r.rank = 1
        """,
        [
            list(range(len(changes))),
            [one.symbol for one in changes],
            [one.days[-1] for one in changes],
            [(one.new or 0.0) - (one.old or 0.0) for one in changes],
        ],
    ).fetchall()
    found = [replace(one, portfolios=0, usd=0.0) for one in changes]
    for place, portfolios, total, name, usd in rows:
        found[place] = replace(
            found[place], portfolios=portfolios, usd=float(total), portfolio=name, portfolio_usd=float(usd)
        )
    return found
