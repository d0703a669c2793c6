"""Ledgers, books and prices from a few plain values, so that a test reads like the case it is about.

Here: `Lot` (one position with its sales and valuations), `ledger`, `book`, `prices`, `market`. Not here: any expectation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Context, Decimal

import numpy as np

from refresh_assets.core.book import (
    ALWAYS,
    BAD,
    MISSING,
    NEVER,
    OK,
    OPTIONS,
    PRIVATE,
    PUBLIC,
    UNKNOWN_CLASS,
    Book,
    Decimals,
    Events,
    Ledger,
    Portfolios,
    Positions,
    Uuids,
    Valuations,
    as_of,
)
from refresh_assets.core.market import Prices
from refresh_assets.core.money import SCALE, Exact, Floats

KINDS = {"PUBLIC": PUBLIC, "OPTIONS": OPTIONS, "PRIVATE": PRIVATE}
EPOCH = date(1970, 1, 1)
FRIDAY, SATURDAY, MONDAY, TUESDAY = date(2024, 3, 8), date(2024, 3, 9), date(2024, 3, 11), date(2024, 3, 12)
"""D is MONDAY and D' is FRIDAY unless a test says otherwise."""

Number = str | Decimal | int | None
WIDE = Context(prec=200)


@dataclass(frozen=True)
class Sale:
    """A realized event; `quantity` has the sign of the position."""

    day: date
    quantity: Number
    price: Number


@dataclass(frozen=True)
class Lot:
    """One position. `quantity` is today's, as the platform has it: its sales have already shrunk it."""

    symbol: str | None = "AAA"
    quantity: Number = "10"
    price: Number = "1"
    kind: str = "PUBLIC"
    entry: date | None = None
    exit: date | None = None
    exit_price: Number = None
    deleted: date | None = None
    value: Number = None
    sales: tuple[Sale, ...] = ()
    valuations: tuple[tuple[date, Number], ...] = ()
    expiry: date | None = None
    portfolio: int = 0
    id: int | None = None


@dataclass(frozen=True)
class Owner:
    """One portfolio: the first day it exists, the day from which it is deleted."""

    start: date | None = None
    deleted: date | None = None


def number_of(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def uuid_array(numbers: Sequence[int]) -> Uuids:
    """(N,) ids of 16 bytes that sort as their numbers do."""
    return np.frombuffer(b"".join(one.to_bytes(16, "big") for one in numbers), dtype="V16")


def decimals(numbers: Sequence[Number]) -> Decimals:
    """A column; None is MISSING, "NaN" and "Infinity" are BAD."""
    state, found = np.full(len(numbers), OK, dtype=np.int8), []
    for row, number in enumerate(numbers):
        value = Decimal(0) if number is None else Decimal(number)
        if number is None:
            state[row] = MISSING
        elif not value.is_finite():
            state[row], value = BAD, Decimal(0)
        found.append(value)
    return Decimals(exact(found), state)


def exact(numbers: Sequence[Decimal]) -> Exact:
    """Decimals as an Exact, at their own finest scale where it is above 12."""
    scale = max([SCALE, *(-int(number.as_tuple().exponent) for number in numbers)])
    return Exact.from_integers([int(number.scaleb(scale, WIDE)) for number in numbers], scale)


def ledger(lots: Sequence[Lot], symbols: Sequence[str], owners: Sequence[Owner] | None = None) -> Ledger:
    """A Ledger of portfolios 0, 1, ... with these lots, sorted as one is.

    Args:
        symbols: the run's, sorted; a lot's symbol that is not among them has code -1.
    """
    owners = owners or [Owner()] * (max([lot.portfolio for lot in lots], default=0) + 1)
    numbered = [(lot.portfolio, lot.id if lot.id is not None else row, lot) for row, lot in enumerate(lots, start=1)]
    rows = [lot for _, _, lot in sorted(numbered, key=lambda one: one[:2])]
    ids = [identity for _, identity, _ in sorted(numbered, key=lambda one: one[:2])]
    kinds = [KINDS.get(lot.kind, UNKNOWN_CLASS) for lot in rows]
    positions = Positions(
        id=uuid_array(ids),
        portfolio=np.array([lot.portfolio for lot in rows], dtype=np.int64),
        symbol=np.array([_code(lot.symbol, symbols) for lot in rows], dtype=np.int32),
        kind=np.array(kinds, dtype=np.int8),
        quantity=decimals([lot.quantity for lot in rows]),
        entry_price=decimals([lot.price for lot in rows]),
        entry=_days([lot.entry for lot in rows], ALWAYS),
        exit_price=decimals([lot.exit_price for lot in rows]),
        exit=_days([lot.exit for lot in rows], NEVER),
        deleted=_days([lot.deleted for lot in rows], NEVER),
        market_value=decimals([lot.value for lot in rows]),
        expiry=_days([lot.expiry for lot in rows], NEVER),
    )
    sales = [(row, sale) for row, lot in enumerate(rows) for sale in sorted(lot.sales, key=lambda one: one.day)]
    dated = [(row, *one) for row, lot in enumerate(rows) for one in sorted(lot.valuations, key=lambda one: one[0])]
    return Ledger(
        Portfolios(
            uuid_array([1000 + row for row in range(len(owners))]),
            _days([owner.start for owner in owners], ALWAYS),
            _days([owner.deleted for owner in owners], NEVER),
        ),
        positions,
        Events(
            np.array([row for row, _ in sales], dtype=np.int64),
            _days([sale.day for _, sale in sales], NEVER),
            decimals([sale.quantity for _, sale in sales]),
            decimals([sale.price for _, sale in sales]),
        ),
        Valuations(
            np.array([row for row, _, _ in dated], dtype=np.int64),
            _days([day for _, day, _ in dated], NEVER),
            decimals([value for _, _, value in dated]),
        ),
    )


def book(
    lots: Sequence[Lot],
    symbols: Sequence[str] = ("AAA", "BBB", "CCC"),
    day: date = MONDAY,
    previous: date = FRIDAY,
    owners: Sequence[Owner] | None = None,
) -> Book:
    """The Book of D."""
    return as_of(ledger(lots, symbols, owners), number_of(day), number_of(previous))


def prices(closes: Mapping[date, Mapping[str, Number]], symbols: Sequence[str] = ("AAA", "BBB", "CCC")) -> Prices:
    """Closes of consecutive trading days; a symbol that a day does not mention has none on it."""
    days = sorted(closes)
    by_day = {number_of(day): decimals([closes[day].get(symbol) for symbol in symbols]) for day in days}
    table = np.array([np.where(one.ok, one.exact.to_float(), np.nan) for one in by_day.values()])
    return Prices(np.array([number_of(day) for day in days], dtype=np.int32), list(symbols), table, by_day)


def _code(symbol: str | None, symbols: Sequence[str]) -> int:
    return list(symbols).index(symbol) if symbol is not None and symbol in symbols else -1


def _days(days: Sequence[date | None], otherwise: np.int32) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array([otherwise if day is None else number_of(day) for day in days], dtype=np.int32)


def weekdays(number: int, last: date = MONDAY) -> list[date]:
    """The last `number` weekdays up to a day, ascending: trading days of a year without holidays."""
    days, day = list[date](), last
    while len(days) < number:
        if day.weekday() < 5:
            days.append(day)
        day -= timedelta(days=1)
    return days[::-1]


def market(closes: Floats, symbols: Sequence[str], last: date = MONDAY) -> Prices:
    """Prices of the last T weekdays up to a day from a (T, S) table of floats; NaN is a missing close.

    The last two days are exact too, as D and D' are."""
    days = weekdays(len(closes), last)
    rows: dict[date, Sequence[Number]] = {
        day: [None if np.isnan(close) else Decimal(repr(float(close))) for close in row]
        for day, row in zip(days[-2:], closes[-2:], strict=True)
    }
    by_day = {number_of(day): decimals(row) for day, row in rows.items()}
    return Prices(np.array([number_of(day) for day in days], dtype=np.int32), list(symbols), closes, by_day)
