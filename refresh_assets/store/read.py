"""Platform rows as the arrays of core/: portfolios, positions, their events and valuations.

Here: one query each, in columns, from one Snapshot. Not here: closes, betas, factors (read_market.py), what holds on a day
(core/book.py), what is due (days.py), the connection (database.py).

A symbol is a code: its place in the run's sorted list of symbols."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
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
    Uuids,
    Valuations,
)
from refresh_assets.core.omissions import Omission, portfolio_omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store import packed
from refresh_assets.store.arrow import FINEST, LARGEST, decimals, index_in, uuid_column, uuids
from refresh_assets.store.arrow import days as day_numbers
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.packed import Day, End, Text, Uuid, number

if TYPE_CHECKING:
    import psycopg

EPOCH = date(1970, 1, 1)
OCC_SYMBOL = re.compile(r"[A-Z0-9./]{1,6} *(\d{2})(\d{2})(\d{2})[CP]\d{8}")
LONGEST_SYMBOL = 200  # characters; no index entry holds some thousands of them, and no exchange has them
SYMBOL = f"case when octet_length(symbol) <= {4 * LONGEST_SYMBOL} then symbol end"
"""Read from a row: a longer one is none of the run's symbols, and would only fill memory."""
KINDS = {"PUBLIC": PUBLIC, "OPTIONS": OPTIONS, "PRIVATE": PRIVATE}
KNOWN_KINDS = ", ".join(f"'{kind}'" for kind in KINDS)

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
        f" where investment_class in ('PUBLIC', 'OPTIONS') and btrim(symbol) <> ''"
        f" and length(symbol) <= {LONGEST_SYMBOL} and {CONCERNED} group by symbol"
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


@dataclass(frozen=True)
class Named:
    """An omission of no portfolio's book, and the dates (numbers) of the row that it names: a range of days reads more
    rows than one of its days alone, which should tell of its own."""

    omission: Omission
    entry: int = -int(NEVER)
    exit: int = int(NEVER)
    deleted: int = int(NEVER)

    def concerns(self, day: int, previous: int) -> bool:
        """Whether a run of D alone reads the row: as CONCERNED says it."""
        in_time = self.exit > previous or self.exit < self.entry
        return in_time and self.entry <= day and self.deleted > previous


def read_bad_portfolios(snapshot: Snapshot) -> list[Omission]:
    """Portfolios that stand there twice, and those without any date from which they would exist."""
    rows = snapshot.fetch(
        "select id, count(*) as times from portfolios where id is not null group by id"
        " having count(*) > 1 or bool_and(inception_date is null and created_at is null) order by id"
    )
    found = []
    for one, times in zip(uuids(rows["id"]), rows["times"].to_pylist(), strict=True):
        if times > 1:
            what = "its id stands there twice, only one row is used. Mend: make id unique in portfolios"
            code = ExceptionCode.DUPLICATE_ROW
        else:
            what = "inception_date and created_at are null, so it never exists. Mend: enter one of them"
            code = ExceptionCode.BAD_DATES
        found.append(portfolio_omission(code, one, f"{what}, then re-run the day."))
    return found


@dataclass(frozen=True)
class Trades:
    """Realized events and dated valuations of a range of portfolios, as PostgreSQL gives them."""

    events: pa.Table
    valuations: pa.Table


Bounds = tuple[UUID, UUID]
"""Lowest and highest portfolio_id of a range."""


def read_positions(snapshot: Snapshot, bounds: Bounds | None) -> pa.Table:
    """Rows of positions that any day of the run may hold, in no order.

    Args:
        bounds: of the portfolios; None: all of them.
        snapshot: `previous` and `last` are set: the trading day before the run's first day, and the run's last day."""
    mine = "portfolio_id is not null"
    if bounds is not None:
        snapshot.set(low=bounds[0], high=bounds[1])
        # For an index: a scan of all rows would work the two values out for each of them.
        mine = f"portfolio_id between {value('low', 'uuid')} and {value('high', 'uuid')}"
    return packed.fetch(
        snapshot,
        {
            "id": Uuid("id"),
            "portfolio_id": Uuid("portfolio_id"),
            "symbol": Text(SYMBOL),
            "investment_class": Text(f"case when investment_class in ({KNOWN_KINDS}) then investment_class end"),
            "quantity": number("quantity"),
            "entry_price": number("entry_price"),
            "exit_price": number(f"case when exit_date <= {LAST} then exit_price end"),
            "market_value": number("case when investment_class = 'PRIVATE' then market_value end"),
            "entry": Day(f"coalesce({ENTRY}, date '1900-01-01')"),
            "exit": End(EXIT, of="exit_date"),
            "deleted": End(DELETED, of="deleted_at"),
        },
        f"""
        from positions where {mine} and {CONCERNED}
        """,
    )


def rows_between(rows: pa.Table, bounds: Bounds) -> pa.Table:
    """Those of `read_positions` whose portfolio_id lies within bounds that are narrower than it was asked for."""
    high, low = _words_of(uuids(rows["portfolio_id"]))
    chosen = np.ones(len(rows), dtype=bool)
    for bound, is_lowest in zip(bounds, (True, False), strict=True):
        (most,), (least,) = _words_of(np.frombuffer(bound.bytes, dtype="V16"))
        beyond = (high > most) | ((high == most) & (low >= least))
        at = (high == most) & (low == least)
        chosen &= beyond if is_lowest else ~beyond | at
    return rows.filter(pa.array(chosen))


def _words_of(ids: Uuids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """(N,) ids as their upper and lower 64 bits, which sort as the ids do."""
    both = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]


def read_ledger(
    snapshot: Snapshot, portfolios: Portfolios, bounds: Bounds, symbols: Sequence[str], tables: Collection[str]
) -> tuple[Ledger, list[Named]]:
    """A chunk's rows, read and decoded at once: for who wants a single chunk."""
    return ledger_of(portfolios, read_positions(snapshot, bounds), read_trades(snapshot, bounds, tables), symbols)


def ledger_of(
    portfolios: Portfolios, rows: pa.Table, trades: Trades, symbols: Sequence[str]
) -> tuple[Ledger, list[Named]]:
    """All that the platform knows of the positions of a chunk of portfolios.

    Args:
        portfolios: of the chunk.
        rows: of positions; of a range wider than the chunk, so that positions of nobody are found.
        trades: of the chunk, or of more.
        symbols: the run's.

    Returns:
        the ledger, and the positions that belong to nobody or stand there twice.
    """
    owner = index_in(rows["portfolio_id"], pa.array([bytes(one) for one in portfolios.id], pa.binary(16)))
    ids = uuids(rows["id"])
    high, low = _words_of(ids)
    order = np.lexsort((low, high, owner))
    owner, ids = owner[order], ids[order]
    again = np.zeros(len(ids), dtype=bool)
    again[1:] = (ids[1:] == ids[:-1]) & (owner[1:] == owner[:-1])
    nobodys, twice = np.flatnonzero(owner < 0), np.flatnonzero(again & (owner >= 0))
    named = _named(rows, order[nobodys], _orphan) + _named(rows, order[twice], _duplicate)
    keep = np.flatnonzero((owner >= 0) & ~again)
    rows, owner = rows.take(pa.array(order[keep])), owner[keep]
    positions = _positions(rows, owner, symbols)
    return Ledger(
        portfolios, positions, _events(trades.events, positions), _valuations(trades.valuations, positions)
    ), named


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


def _events(rows: pa.Table, positions: Positions) -> Events:
    position = index_in(rows["position_id"], _ids(positions))
    high, low = _words_of(uuids(rows["id"]))
    order = np.lexsort((low, high, day_numbers(rows["trade_date"].fill_null(EPOCH)), position))
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


NO_EVENTS = (
    "(select null::uuid as id, null::uuid as position_id, null::date as trade_date, null::numeric as quantity_closed,"
    " null::numeric as price limit 0)"
)


def events_source(connection: psycopg.Connection[Any]) -> str:
    """SQL for the realized events, where other statements need them: the table is optional."""
    found = connection.execute("select to_regclass('position_realized_events') is not null").fetchone()
    return "position_realized_events" if found and found[0] else NO_EVENTS


def _valuations(rows: pa.Table, positions: Positions) -> Valuations:
    position = index_in(rows["position_id"], _ids(positions))
    position = np.where(positions.kind[position] == PRIVATE, position, -1) if len(positions.id) else position
    order = np.lexsort((day_numbers(rows["as_of"]), position))
    order = order[position[order] >= 0]
    rows = rows.take(pa.array(order))
    return Valuations(position[order], day_numbers(rows["as_of"]), decimals(rows["market_value"]))


def _ids(positions: Positions) -> pa.Array:
    return uuid_column(positions.id)


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


def _read_events(snapshot: Snapshot, mine: str, tables: Collection[str]) -> pa.Table:
    """Those after D' of the run's first day: those before are in no quantity as of a day of the run."""
    source = "position_realized_events" if "position_realized_events" in tables else NO_EVENTS
    return snapshot.fetch(
        f"""
        select e.id, e.position_id, case when e.trade_date is not null then
            least(greatest(e.trade_date, date '1900-01-01'), date '9999-12-31') end as trade_date,
            e.quantity_closed, e.price
        from {source} e where (e.trade_date is null or e.trade_date > {PREVIOUS}) {mine}
        """
    )


def _read_valuations(snapshot: Snapshot, mine: str, tables: Collection[str]) -> pa.Table:
    """Those of PRIVATE positions: of the run's days, and the last usable one before."""
    if "private_valuations" not in tables:
        return snapshot.fetch(
            "select null::uuid as position_id, null::date as as_of, null::numeric as market_value limit 0"
        )
    return snapshot.fetch(
        f"""
        select position_id, as_of, market_value from (
            select v.*, max(as_of) filter (
                where as_of <= {PREVIOUS} and market_value between -{LARGEST} and {LARGEST} and scale(market_value) <= {FINEST}
            ) over (partition by position_id) as settled
            from private_valuations v where as_of <= {LAST} {mine}
        ) known where settled is null or as_of >= settled
        """
    )


def read_ownerless(snapshot: Snapshot) -> list[Named]:
    """Positions whose portfolio_id is null."""
    rows = snapshot.fetch(
        f"select id, coalesce({ENTRY}, date '1900-01-01') as entry, {EXIT} as exit, {DELETED} as deleted"
        f" from positions where portfolio_id is null and {CONCERNED} order by id"
    )
    return _named(rows, np.arange(len(rows)), _orphan)


def _named(rows: pa.Table, chosen: Rows, words: Callable[[np.void], Omission]) -> list[Named]:
    if not len(chosen):
        return []
    some = rows.take(pa.array(chosen))
    dates = [day_numbers(some[name]).tolist() for name in ("entry", "exit", "deleted")]
    return [Named(words(one), *when) for one, *when in zip(uuids(some["id"]), *dates, strict=True)]


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
