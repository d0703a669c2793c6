"""Platform rows as the arrays of core/: portfolios and positions.

Here: one query each, in columns, from one Snapshot; a chunk's Ledger. Not here: events and valuations (read_trades.py), closes,
betas, factors (read_market.py), what holds on a day (core/book.py), what is due (days.py), the connection (database.py).

A symbol is a code: its place in the run's sorted list of symbols."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from refresh_assets.core.book import (
    NEVER,
    OPTIONS,
    PRIVATE,
    PUBLIC,
    UNKNOWN_CLASS,
    Ledger,
    Portfolios,
    Positions,
    Rows,
    used_rows,
)
from refresh_assets.core.omissions import Omission, portfolio_omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store import packed
from refresh_assets.store.arrow import by_content, decimals, index_in, upper_and_lower, uuids
from refresh_assets.store.arrow import days as day_numbers
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.dates import CONCERNED, DELETED, ENTRY, EXIT, LAST, STARTS, day_number
from refresh_assets.store.packed import Day, End, Text, Uuid, number
from refresh_assets.store.read_trades import Bounds, Trades, events_of, read_trades, valuations_of

OCC_SYMBOL = re.compile(r"[A-Z0-9./]{1,6} *(\d{2})(\d{2})(\d{2})[CP]\d{8}")
LONGEST_SYMBOL = 200  # characters; no index entry holds some thousands of them, and no exchange has them
SYMBOL = f"case when octet_length(symbol::text) <= {4 * LONGEST_SYMBOL} then symbol::text end"
"""Read from a row: a longer one is none of the run's symbols, and would only fill memory. As text: a `char(n)` is padded with
blanks to its length, which are no part of a symbol."""
KINDS = {"PUBLIC": PUBLIC, "OPTIONS": OPTIONS, "PRIVATE": PRIVATE}
KNOWN_KINDS = ", ".join(f"'{kind}'" for kind in KINDS)
LISTED = "investment_class::text in ('PUBLIC', 'OPTIONS')"
"""As text: PostgreSQL refuses to compare an enum with what is none of its values. Of a text column the cast costs nothing."""


def read_symbols(snapshot: Snapshot, proxies: Collection[str]) -> tuple[list[str], set[str]]:
    """Every symbol that a listed position of the run's days has, and the factors' proxies, sorted by code point.

    Then those among them that a PUBLIC position has: the ones that need betas."""
    held = snapshot.fetch(
        "select symbol::text as symbol, bool_or(investment_class::text = 'PUBLIC') as public from positions"
        f" where {LISTED} and btrim(symbol) <> ''"
        f" and length(symbol) <= {LONGEST_SYMBOL} and {CONCERNED} group by symbol::text"
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
    return portfolios_of(rows)


def portfolios_of(rows: pa.Table) -> Portfolios:
    """Rows of id, start and deleted, each id once."""
    ids, start, deleted = uuids(rows["id"]), day_numbers(rows["start"]), day_numbers(rows["deleted"])
    used = used_rows(ids, start, deleted)
    return Portfolios(ids[used], start[used], deleted[used])


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


def read_positions(snapshot: Snapshot, some: str = "true") -> pa.Table:
    """Rows of positions that any day of the run may hold, in no order.

    Args:
        snapshot: `previous` and `last` are set: the trading day before the run's first day, and the run's last day.
        some: SQL that chooses among them."""
    return packed.fetch(
        snapshot,
        {
            "id": Uuid("id"),
            "portfolio_id": Uuid("portfolio_id"),
            "symbol": Text(SYMBOL),
            "investment_class": Text(f"case when investment_class::text in ({KNOWN_KINDS}) then investment_class end"),
            "quantity": number("quantity"),
            "entry_price": number("entry_price"),
            "exit_price": number(f"case when exit_date <= {LAST} then exit_price end"),
            "market_value": number("case when investment_class::text = 'PRIVATE' then market_value end"),
            "entry": Day(f"coalesce({ENTRY}, date '1900-01-01')"),
            "exit": End(EXIT, of="exit_date"),
            "deleted": End(DELETED, of="deleted_at"),
        },
        f"""
        from positions where portfolio_id is not null and {some} and {CONCERNED}
        """,
    )


def read_positions_between(snapshot: Snapshot, bounds: Bounds) -> pa.Table:
    """Those of the portfolios between two ids."""
    snapshot.set(low=bounds[0], high=bounds[1])
    # For an index: a scan of all rows would work the two values out for each of them.
    return read_positions(snapshot, f"portfolio_id between {value('low', 'uuid')} and {value('high', 'uuid')}")


def rows_between(rows: pa.Table, bounds: Bounds) -> pa.Table:
    """Those of `read_positions` whose portfolio_id lies within bounds that are narrower than it was asked for."""
    high, low = upper_and_lower(uuids(rows["portfolio_id"]))
    chosen = np.ones(len(rows), dtype=bool)
    for bound, is_lowest in zip(bounds, (True, False), strict=True):
        (most,), (least,) = upper_and_lower(np.frombuffer(bound.bytes, dtype="V16"))
        beyond = (high > most) | ((high == most) & (low >= least))
        at = (high == most) & (low == least)
        chosen &= beyond if is_lowest else ~beyond | at
    return rows.filter(pa.array(chosen))


def read_ledger(
    snapshot: Snapshot, portfolios: Portfolios, bounds: Bounds, symbols: Sequence[str], tables: Collection[str]
) -> tuple[Ledger, list[Named]]:
    """A chunk's rows, read and decoded at once: for who wants a single chunk."""
    return ledger_of(
        portfolios, read_positions_between(snapshot, bounds), read_trades(snapshot, bounds, tables), symbols
    )


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
    high, low = upper_and_lower(ids)
    order = np.lexsort((low, high, owner))
    owner, ids = owner[order], ids[order]
    again = np.zeros(len(ids), dtype=bool)
    again[1:] = (ids[1:] == ids[:-1]) & (owner[1:] == owner[:-1])
    order = by_content(_compared(rows), order, again, _USED_FIRST) if again.any() else order
    nobodys, twice = np.flatnonzero(owner < 0), np.flatnonzero(again & (owner >= 0))
    named = _named(rows, order[nobodys], _orphan) + _named(rows, order[twice], _duplicate)
    keep = np.flatnonzero((owner >= 0) & ~again)
    rows, owner = rows.take(pa.array(order[keep])), owner[keep]
    positions = _positions(rows, owner, symbols)
    return Ledger(
        portfolios, positions, events_of(trades.events, positions), valuations_of(trades.valuations, positions)
    ), named


# Of rows with one id: one that has a quantity, since the gate expects its portfolio; the one that ends last, of these the one
# that begins first. A run over several days reads more of them than a run over one, and chooses the same as long as that
# one had begun. The price of an exit comes last, for it is read only from the exit on.
_USED_FIRST = {
    "is_nothing": "ascending",
    "end": "descending",
    **dict.fromkeys(
        (
            "entry",
            "exit",
            "deleted",
            "investment_class",
            "symbol",
            "quantity",
            "entry_price",
            "market_value",
            "exit_price",
        ),
        "ascending",
    ),
}


def _compared(rows: pa.Table) -> pa.Table:
    """With what else decides which of the rows with one id is used."""
    is_nothing = pc.fill_null(pc.match_substring_regex(rows["quantity"], "^0[.0]*$"), False)
    rows = rows.append_column("is_nothing", is_nothing.cast(pa.int8()))
    return rows.append_column("end", pc.min_element_wise(rows["exit"], rows["deleted"]))


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
        f"positions row {UUID(bytes=one)}: its id stands there twice, only one row is used."
        " Mend: make id unique in positions, then re-run the day."
    )
    return Omission(ExceptionCode.DUPLICATE_ROW, detail, position=one)
