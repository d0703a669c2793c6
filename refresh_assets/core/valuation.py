"""What each position of a Book is worth on D.

Here: closes by position, contracts to shares, which positions enter the sums, values as floats for the analytics that
need no cents. Not here: exact sums (snapshots.py), the day's P&L (daily_pnl.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refresh_assets.core.book import OK, OPTION_MULTIPLIER, OPTIONS, PRIVATE, PUBLIC, Book
from refresh_assets.core.market import Prices
from refresh_assets.core.money import Bools, Exact, Floats


@dataclass(frozen=True)
class Valuation:
    """Values on D.

    Attributes:
        priced: (N,) held on D, with a value: it carries risk, so it enters correlations and exposures.
        valued: (N,) priced, with a usable entry price too: it enters value and cost.
        value: (N,) USD, signed, nearest float; NaN where not priced.
    """

    priced: Bools
    valued: Bools
    value: Floats


def value_positions(book: Book, prices: Prices) -> Valuation:
    """Value of every position held on D: quantity x close x multiplier; a PRIVATE one's hand-entered value.

    Args:
        book: N positions.
        prices: with exact closes of D.

    Source: spec section 4.
    """
    close, has_close = closes_by_position(book, prices, book.day)
    listed = is_listed(book) & has_close & (book.expiry >= book.day)
    owned = (book.kind == PRIVATE) & book.value.ok
    priced = book.held & (book.quantity_state == OK) & (listed | owned)
    multiplier = np.where(book.kind == OPTIONS, OPTION_MULTIPLIER, 1)
    market = book.quantity.to_float() * close.to_float() * multiplier
    value = np.where(owned, book.value.exact.to_float(), market)
    return Valuation(priced, priced & book.entry_price.ok, np.where(priced, value, np.nan))


def is_listed(book: Book) -> Bools:
    """(N,) PUBLIC or OPTIONS with a symbol: what a close can value."""
    return ((book.kind == PUBLIC) | (book.kind == OPTIONS)) & (book.symbol >= 0)


def usable(book: Book) -> Bools:
    """(N,) quantity and entry price can be read: without either, a position is left out of value and cost."""
    return (book.quantity_state == OK) & book.entry_price.ok


def closes_by_position(book: Book, prices: Prices, day: int) -> tuple[Exact, Bools]:
    """(N,) exact close of each position's symbol on a day, 0 where there is none; and where there is one."""
    closes = prices.exact[day]
    if not closes.exact.size:
        return Exact.zeros(len(book.symbol)), np.zeros(len(book.symbol), dtype=bool)
    code = np.maximum(book.symbol, 0)
    has_close = closes.ok[code] & (book.symbol >= 0)
    return closes.exact.take(code).where(has_close), has_close


def shares(book: Book, quantity: Exact) -> Exact:
    """(N,) quantity times the multiplier: contracts to shares."""
    options = book.kind == OPTIONS
    if not options.any():
        return quantity
    multiplier = np.where(options, OPTION_MULTIPLIER, 1)
    # A limb times 100 passes 2^31; adding it to nothing carries it.
    return Exact.zeros(quantity.size).plus(Exact(quantity.limbs * multiplier, quantity.scale))
