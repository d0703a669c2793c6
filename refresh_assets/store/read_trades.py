"""What was sold of positions, and what PRIVATE ones were said to be worth, as the arrays of core/.

Here: realized events and dated valuations, whose tables are optional; which are read, and which belong to a chunk's positions.
Not here: the positions (read.py), what was held on a day (core/book.py)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from refresh_assets.core.book import BAD, NEVER, PRIVATE, Decimals, Events, Positions, Valuations
from refresh_assets.core.money import FINEST, LARGEST
from refresh_assets.store.arrow import by_content, decimals, index_in, upper_and_lower, uuid_column, uuids
from refresh_assets.store.arrow import days as day_numbers
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.dates import EPOCH, LAST, PREVIOUS
from refresh_assets.store.optional import NO_EVENTS

Bounds = tuple[UUID, UUID]
"""Lowest and highest portfolio_id of a range."""


@dataclass(frozen=True)
class Trades:
    """Realized events and dated valuations of a range of portfolios, as PostgreSQL gives them."""

    events: pa.Table
    valuations: pa.Table


def read_trades(snapshot: Snapshot, bounds: Bounds | None, tables: Collection[str]) -> Trades:
    """Realized events and dated valuations that the run may need.

    Args:
        bounds: of the portfolios; None: all of them, which needs no look at positions.
        tables: the platform's tables that are there: these two are optional."""
    mine = ""
    if bounds is not None:
        snapshot.set(low=bounds[0], high=bounds[1])
        mine = f"""and position_id in (select p.id from positions p
            where p.portfolio_id between {value("low", "uuid")} and {value("high", "uuid")})"""
    return Trades(_read_events(snapshot, mine, tables), _read_valuations(snapshot, mine, tables))


def owned_events(snapshot: Snapshot, tables: Collection[str]) -> Iterator[pa.Table]:
    """Realized events of all portfolios, with the portfolio_id of their position; some at a time."""
    source = "position_realized_events" if "position_realized_events" in tables else NO_EVENTS
    yield from _owned(snapshot, _events(source, ""), source)


def owned_valuations(snapshot: Snapshot, tables: Collection[str]) -> Iterator[pa.Table]:
    """Dated valuations likewise."""
    if "private_valuations" in tables:
        yield from _owned(snapshot, _valuations(""), "private_valuations")
    else:
        yield from _owned(snapshot, NO_VALUATIONS, f"({NO_VALUATIONS})")


def _owned(snapshot: Snapshot, rows: str, source: str) -> Iterator[pa.Table]:
    # A position that stands there twice is one owner of its rows, as for who asks portfolio by portfolio.
    yield from snapshot.batches(
        f"""
        select rows.*, owner.portfolio_id from ({rows}) rows join (
            select distinct p.id, p.portfolio_id from positions p
            where p.portfolio_id is not null and p.id in (select s.position_id from {source} s)
        ) owner on owner.id = rows.position_id
        """
    )


def _read_events(snapshot: Snapshot, mine: str, tables: Collection[str]) -> pa.Table:
    source = "position_realized_events" if "position_realized_events" in tables else NO_EVENTS
    return snapshot.fetch(_events(source, mine))


def _events(source: str, mine: str) -> str:
    """Those after D' of the run's first day: those before are in no quantity as of a day of the run."""
    return f"""
        select e.id, e.position_id, case when e.trade_date is not null then
            least(greatest(e.trade_date, date '1900-01-01'), date '9999-12-31') end as trade_date,
            e.quantity_closed, e.price
        from {source} e where (e.trade_date is null or e.trade_date > {PREVIOUS}) {mine}
        """


def _read_valuations(snapshot: Snapshot, mine: str, tables: Collection[str]) -> pa.Table:
    return snapshot.fetch(_valuations(mine) if "private_valuations" in tables else NO_VALUATIONS)


def _valuations(mine: str) -> str:
    """Those of PRIVATE positions: of the run's days, and the last usable one before."""
    return f"""
        select position_id, as_of, market_value from (
            select v.*, max(as_of) filter (
                where as_of <= {PREVIOUS} and market_value between -{LARGEST} and {LARGEST} and scale(market_value) <= {FINEST}
            ) over (partition by position_id) as settled
            from private_valuations v where as_of <= {LAST} {mine}
        ) known where settled is null or as_of >= settled
        """


NO_VALUATIONS = "select null::uuid as position_id, null::date as as_of, null::numeric as market_value limit 0"


def events_of(rows: pa.Table, positions: Positions) -> Events:
    position = index_in(rows["position_id"], uuid_column(positions.id))
    high, low = upper_and_lower(uuids(rows["id"]))
    order = _settled(rows, (low, high, day_numbers(rows["trade_date"].fill_null(EPOCH)), position), _EVENT)
    order = order[position[order] >= 0]
    rows, position = rows.take(pa.array(order)), position[order]
    quantity, day = decimals(rows["quantity_closed"]), day_numbers(rows["trade_date"].fill_null(EPOCH))
    sign = positions.quantity.exact.sign()[position]
    wrong = rows["trade_date"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
    wrong |= (sign != 0) & (quantity.exact.sign() == -sign)
    wrong |= day < positions.entry[position]
    # An event without a date concerns every day: it is named on each.
    day = np.where(rows["trade_date"].combine_chunks().is_null().to_numpy(zero_copy_only=False), NEVER, day)
    state = np.where(wrong, BAD, quantity.state).astype(np.int8)
    return Events(
        position,
        day.astype(np.int32),
        Decimals(quantity.exact.where(state == 0), state),
        decimals(rows["price"], negative_is_bad=True),
    )


def valuations_of(rows: pa.Table, positions: Positions) -> Valuations:
    position = index_in(rows["position_id"], uuid_column(positions.id))
    position = np.where(positions.kind[position] == PRIVATE, position, -1) if len(positions.id) else position
    order = _settled(rows, (day_numbers(rows["as_of"]), position), _VALUE)
    order = order[position[order] >= 0]
    rows = rows.take(pa.array(order))
    return Valuations(position[order], day_numbers(rows["as_of"]), decimals(rows["market_value"]))


# What tells two events of one id and day apart, and two valuations of one position and day.
_EVENT, _VALUE = {"quantity_closed": "ascending", "price": "ascending"}, {"market_value": "ascending"}


def _settled(rows: pa.Table, keys: tuple[npt.NDArray[Any], ...], others: Mapping[str, str]) -> npt.NDArray[np.int64]:
    """The order of some keys, the last one first; of rows that share them all, that of their other columns."""
    order = np.lexsort(keys)
    again = np.zeros(len(order), dtype=bool)
    again[1:] = True
    for key in keys:
        again[1:] &= key[order[1:]] == key[order[:-1]]
    return by_content(rows, order, again, others)
