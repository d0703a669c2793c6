"""Platform rows as the arrays of core/: portfolios, positions, their events and valuations.

Here: one query each, in columns, from one Snapshot. Not here: closes, betas, factors (read_market.py), what holds on a day
(core/book.py), what is due (days.py), the connection (database.py).

A symbol is a code: its place in the run's sorted list of symbols."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pyarrow as pa

from refresh_assets.core.book import (
    BAD,
    NEVER,
    OPTIONS,
    PRIVATE,
    PUBLIC,
    UNKNOWN_CLASS,
    Decimals,
    Events,
    Ledger,
    Portfolios,
    Positions,
    Rows,
    Valuations,
)
from refresh_assets.core.omissions import Omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store.arrow import days as day_numbers
from refresh_assets.store.arrow import decimals, index_in, uuid_column, uuids
from refresh_assets.store.database import Snapshot, value

if TYPE_CHECKING:
    import psycopg

EPOCH = date(1970, 1, 1)
OCC_SYMBOL = re.compile(r"[A-Z0-9./]{1,6} *(\d{2})(\d{2})(\d{2})[CP]\d{8}")
KINDS = {"PUBLIC": PUBLIC, "OPTIONS": OPTIONS, "PRIVATE": PRIVATE}

# A null date is "always" or "never"; PostgreSQL's infinities are brought into the range that Arrow can hold.
ENTRY = "least(greatest(entry_date, date '1900-01-01'), date '9999-12-31')"
EXIT = "least(greatest(coalesce(exit_date, date '9999-12-31'), date '1900-01-01'), date '9999-12-31')"
DELETED = (
    "least(greatest(coalesce((deleted_at at time zone 'America/New_York')::date, date '9999-12-31'),"
    " date '1900-01-01'), date '9999-12-31')"
)
# The first day on which portfolio f exists: its inception, else its creation; an onboarded one has the close before too.
STARTS = (
    "least(greatest(least(coalesce(f.inception_date, (f.created_at at time zone 'America/New_York')::date,"
    " date '9999-12-31'), coalesce((select first_day from refresh_first_days g where g.portfolio_id = f.id),"
    " date '9999-12-31')), date '1900-01-01'), date '9999-12-31')"
)
# What any day from `first` on, or the trading day before it, may hold; a row of wrong dates is read to be named.
# As subqueries the two days are worked out once a query, not once a row: half of the scan's time.
PREVIOUS, LAST = f"(select {value('previous', 'date')})", f"(select {value('last', 'date')})"
CONCERNED = f"""(exit_date is null or exit_date > {PREVIOUS} or exit_date < entry_date)
    and (entry_date is null or entry_date <= {LAST})
    and (deleted_at is null or (deleted_at at time zone 'America/New_York')::date > {PREVIOUS})"""


def day_number(day: date) -> int:
    return (day - EPOCH).days


def day_of(number: int) -> date:
    return EPOCH + timedelta(days=int(number))


def read_symbols(snapshot: Snapshot, proxies: Collection[str]) -> tuple[list[str], set[str]]:
    """Every symbol that a listed position of the run's days has, and the factors' proxies, sorted by code point.

    Then those among them that a PUBLIC position has: the ones that need betas."""
    held = snapshot.fetch(
        "select symbol, bool_or(investment_class = 'PUBLIC') as public from positions"
        f" where investment_class in ('PUBLIC', 'OPTIONS') and btrim(symbol) <> '' and {CONCERNED} group by symbol"
    )
    symbols = held["symbol"].to_pylist()
    public = {symbol for symbol, is_public in zip(symbols, held["public"].to_pylist(), strict=True) if is_public}
    return sorted({*symbols, *proxies}), public


def read_portfolios(snapshot: Snapshot) -> Portfolios:
    """Every portfolio, in the order of its id."""
    rows = snapshot.fetch(
        f"""
        select id, {STARTS} as start, {DELETED} as deleted
        from portfolios f where id is not null order by id
        """
    )
    ids = uuids(rows["id"])
    once = np.ones(len(ids), dtype=bool)
    once[1:] = ids[1:] != ids[:-1]
    return Portfolios(ids[once], day_numbers(rows["start"])[once], day_numbers(rows["deleted"])[once])


def read_ledger(
    snapshot: Snapshot,
    portfolios: Portfolios,
    bounds: tuple[UUID, UUID],
    symbols: Sequence[str],
    tables: Collection[str],
) -> tuple[Ledger, list[Omission]]:
    """All that the platform knows of the positions of a chunk of portfolios.

    Args:
        snapshot: with `previous` and `last` set: the trading day before the run's first day, and the run's last day.
        portfolios: of the chunk.
        bounds: lowest and highest portfolio_id to read; wider than the chunk, so that positions of nobody are found.
        symbols: the run's.
        tables: the platform's tables that are there (two of them are optional).

    Returns:
        the ledger, and the positions that belong to nobody or stand there twice.
    """
    snapshot.set(low=bounds[0], high=bounds[1])
    rows = snapshot.fetch(
        f"""
        select id, portfolio_id, symbol, investment_class, quantity, entry_price,
            case when exit_date <= {LAST} then exit_price end as exit_price,
            case when investment_class = 'PRIVATE' then market_value end as market_value,
            coalesce({ENTRY}, date '1900-01-01') as entry, {EXIT} as exit, {DELETED} as deleted
        from positions where portfolio_id between {value("low", "uuid")} and {value("high", "uuid")} and {CONCERNED}
        order by portfolio_id, id
        """
    )
    owner = index_in(rows["portfolio_id"], pa.array([bytes(one) for one in portfolios.id], pa.binary(16)))
    ids = uuids(rows["id"])
    again = np.zeros(len(ids), dtype=bool)
    again[1:] = ids[1:] == ids[:-1]
    omissions = [_orphan(one) for one in ids[owner < 0]] + [_duplicate(one) for one in ids[again & (owner >= 0)]]
    keep = np.flatnonzero((owner >= 0) & ~again)
    rows, owner = rows.take(pa.array(keep)), owner[keep]
    positions = _positions(rows, owner, symbols)
    return Ledger(
        portfolios, positions, _events(snapshot, positions, tables), _valuations(snapshot, positions, tables)
    ), omissions


def _positions(rows: pa.Table, owner: Rows, symbols: Sequence[str]) -> Positions:
    kind = np.full(len(owner), UNKNOWN_CLASS, dtype=np.int8)
    names = index_in(rows["investment_class"], pa.array(list(KINDS)))
    kind[names >= 0] = np.array(list(KINDS.values()), dtype=np.int8)[names[names >= 0]]
    symbol = index_in(rows["symbol"], pa.array(symbols, pa.string())).astype(np.int32)
    expiry = np.array([_expiry(name) for name in symbols], dtype=np.int32)
    expires = np.where(symbol >= 0, expiry[np.maximum(symbol, 0)] if len(symbols) else NEVER, NEVER)
    return Positions(
        id=uuids(rows["id"]),
        portfolio=owner,
        symbol=symbol,
        kind=kind,
        quantity=decimals(rows["quantity"]),
        entry_price=decimals(rows["entry_price"], negative_is_bad=True),
        entry=day_numbers(rows["entry"]),
        exit_price=decimals(rows["exit_price"], negative_is_bad=True),
        exit=day_numbers(rows["exit"]),
        deleted=day_numbers(rows["deleted"]),
        market_value=decimals(rows["market_value"]),
        expiry=np.where(kind == OPTIONS, expires, NEVER).astype(np.int32),
    )


def _expiry(symbol: str) -> int:
    """The day in an option's own symbol (OCC form), NEVER where there is none."""
    found = OCC_SYMBOL.fullmatch(symbol)
    if not found:
        return int(NEVER)
    try:
        return day_number(date(2000 + int(found[1]), int(found[2]), int(found[3])))
    except ValueError:
        return int(NEVER)


def _events(snapshot: Snapshot, positions: Positions, tables: Collection[str]) -> Events:
    """Realized events after D' of the run's first day: those before are in no quantity as of a day of the run."""
    source = "position_realized_events" if "position_realized_events" in tables else NO_EVENTS
    rows = snapshot.fetch(
        f"""
        select e.position_id, case when e.trade_date is not null then
                least(greatest(e.trade_date, date '1900-01-01'), date '9999-12-31') end as trade_date,
            e.quantity_closed, e.price
        from {source} e join positions p on p.id = e.position_id
        where p.portfolio_id between {value("low", "uuid")} and {value("high", "uuid")}
        and (e.trade_date is null or e.trade_date > {value("previous", "date")})
        order by e.position_id, e.trade_date, e.id
        """
    )
    position = index_in(rows["position_id"], _ids(positions))
    order = np.argsort(position, kind="stable")
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
        position, day.astype(np.int32), Decimals(quantity.exact.where(state == 0), state), decimals(rows["price"])
    )


NO_EVENTS = (
    "(select null::uuid as id, null::uuid as position_id, null::date as trade_date, null::numeric as quantity_closed,"
    " null::numeric as price limit 0)"
)


def events_source(connection: psycopg.Connection[Any]) -> str:
    """SQL for the realized events, where other statements need them: the table is optional."""
    found = connection.execute("select to_regclass('position_realized_events') is not null").fetchone()
    return "position_realized_events" if found and found[0] else NO_EVENTS


def _valuations(snapshot: Snapshot, positions: Positions, tables: Collection[str]) -> Valuations:
    """Dated valuations of PRIVATE positions: those of the run's days, and the last usable one before."""
    private = "private_valuations" in tables
    rows = snapshot.fetch(
        f"""
        select v.position_id, v.as_of, v.market_value
        from positions p join private_valuations v on v.position_id = p.id
        where p.portfolio_id between {value("low", "uuid")} and {value("high", "uuid")}
        and p.investment_class = 'PRIVATE' and v.as_of <= {value("last", "date")} and v.as_of >= coalesce((
            select max(u.as_of) from private_valuations u where u.position_id = p.id
            and u.as_of <= {value("previous", "date")} and u.market_value > '-Infinity' and u.market_value < 'Infinity'
        ), date '1900-01-01')
        order by v.position_id, v.as_of
        """
        if private
        else "select null::uuid as position_id, null::date as as_of, null::numeric as market_value limit 0"
    )
    position = index_in(rows["position_id"], _ids(positions))
    order = np.lexsort((day_numbers(rows["as_of"]), position))
    order = order[position[order] >= 0]
    rows = rows.take(pa.array(order))
    return Valuations(position[order], day_numbers(rows["as_of"]), decimals(rows["market_value"]))


def _ids(positions: Positions) -> pa.Array:
    return uuid_column(positions.id)


def read_ownerless(snapshot: Snapshot) -> list[Omission]:
    """Positions whose portfolio_id is null."""
    rows = snapshot.fetch(f"select id from positions where portfolio_id is null and {CONCERNED} order by id")
    return [_orphan(one) for one in uuids(rows["id"])]


def _orphan(position: np.void) -> Omission:
    one = position.tobytes()
    detail = (
        f"positions row {UUID(bytes=one)}: portfolio_id names no row of portfolios, so it belongs to nobody."
        " Mend: correct portfolio_id, then re-run the day."
    )
    return Omission(ExceptionCode.ORPHAN_POSITION, detail, position=one)


def _duplicate(position: np.void) -> Omission:
    one = position.tobytes()
    detail = (
        f"positions row {UUID(bytes=one)}: its id stands there twice, only the first row is used."
        " Mend: make id unique in positions, then re-run the day."
    )
    return Omission(ExceptionCode.DUPLICATE_ROW, detail, position=one)
