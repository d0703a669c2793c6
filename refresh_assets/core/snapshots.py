"""Snapshots: value, cost, P&L and exposure of each portfolio on D.

Here: the exact sums of a snapshot and their one rounding. Not here: which positions are held (book.py), their value
(valuation.py), the day's P&L (daily_pnl.py), why one was left out (omissions.py), the table (store/schema.py).

Source: spec section 4."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refresh_assets.core.book import PRIVATE, Book, Decimals, Uuids
from refresh_assets.core.daily_pnl import Segment, added, count, daily_pnl, starts_among
from refresh_assets.core.market import Prices
from refresh_assets.core.money import (
    MONEY_LIMIT,
    Bools,
    Exact,
    Floats,
    Ints,
    Objects,
    at_scale,
    split_product_sums,
    sums,
    to_cents,
)
from refresh_assets.core.omissions import Omission, leg_omissions, portfolio_omission, position_omissions
from refresh_assets.core.valuation import closes_by_position, is_listed, shares, usable, value_positions
from refresh_assets.errors import ExceptionCode


@dataclass
class Snapshots:
    """Columns of portfolio_snapshots for P portfolios; money in cents (Python integers)."""

    portfolio_id: Uuids
    money: dict[str, Objects]
    pnl_percent: Floats
    daily_return: Floats
    counts: dict[str, Ints]
    is_partial: Bools
    omissions: list[Omission]


def snapshots(book: Book, prices: Prices) -> Snapshots:
    """One snapshot a portfolio of the Book.

    Args:
        book: P portfolios, N positions, as of D.
        prices: with exact closes of D and D'.

    Returns:
        Money exact to the cent, rounded half-even once, each column from its own exact sum; percent and fraction as
        floats, NaN where there is no cost, no exposure on D'.
    """
    valued = value_positions(book, prices).valued
    unpriced = book.held & ~valued
    pnl = daily_pnl(book, prices)
    parts = (*_values(book, prices, valued), *_costs(book, valued), pnl.total, _gross_before(book, prices))
    scale = max(part[1] for part in parts)
    long, short, bought, sold_short, made, before = (at_scale(*part, scale) for part in parts)
    exact = {
        "total_value": long + short,
        "total_cost": bought + sold_short,
        "total_pnl": long + short - bought - sold_short,
        "long_value": long,
        "short_value": short,
        "gross_exposure": long - short,
        "net_exposure": long + short,
        "daily_pnl": made,
    }
    result = Snapshots(
        portfolio_id=book.portfolio_id,
        money={name: to_cents(units, scale) for name, units in exact.items()},
        pnl_percent=_quotients(100 * exact["total_pnl"], bought - sold_short),
        daily_return=_quotients(made, before),
        counts={
            "position_count": count(book, book.held),
            "positions_valued": count(book, valued),
            "positions_unpriced": count(book, unpriced),
            "pnl_legs_missing": pnl.legs_missing,
        },
        is_partial=count(book, unpriced) > 0,
        omissions=position_omissions(book, prices, unpriced) + leg_omissions(book, prices, pnl),
    )
    return _without_overflow(result)


def _values(book: Book, prices: Prices, valued: Bools) -> tuple[Segment, Segment]:
    """Long and short value a portfolio, on D."""
    close, _ = closes_by_position(book, prices, book.day)
    return _long_short(book, valued, book.quantity, close, book.value)


def _gross_before(book: Book, prices: Prices) -> Segment:
    """Gross exposure of what was held on D', at D' prices."""
    close, has_close = closes_by_position(book, prices, book.previous)
    priced = is_listed(book) & has_close & (book.expiry >= book.previous)
    owned = (book.kind == PRIVATE) & book.previous_value.ok
    valued = book.held_before & usable(book) & (priced | owned)
    long, short = _long_short(book, valued, book.previous_quantity, close, book.previous_value)
    return added(long, short, sign=-1)


def _long_short(book: Book, valued: Bools, quantity: Exact, close: Exact, own: Decimals) -> tuple[Segment, Segment]:
    private = book.kind == PRIVATE
    up, down = _by_sign(book, quantity, close, valued & ~private)
    some = np.flatnonzero(valued & private)  # few, so that only those are added up
    value, starts = own.exact.take(some), starts_among(book, some)
    own_up, own_down = (sums(value.where(sign), starts) for sign in (value.sign() > 0, value.sign() < 0))
    return added(up, own_up), added(down, own_down)


def _costs(book: Book, valued: Bools) -> tuple[Segment, Segment]:
    """Cost of what was bought (>= 0) and of what was sold short (<= 0) a portfolio."""
    return _by_sign(book, book.quantity, book.entry_price.exact, valued)


def _by_sign(book: Book, quantity: Exact, price: Exact, keep: Bools) -> tuple[Segment, Segment]:
    """Sums of q x m x price a portfolio: of long positions, of short ones."""
    long = quantity.sign() > 0
    return split_product_sums(shares(book, quantity), price, keep & long, keep & ~long, book.starts)


def _quotients(numerator: Objects, denominator: Objects) -> Floats:
    """Nearest floats of exact quotients, NaN where the denominator is 0."""
    pairs = zip(numerator, denominator, strict=True)
    return np.array([n / d if d else np.nan for n, d in pairs], dtype=np.float64)


def _without_overflow(result: Snapshots) -> Snapshots:
    """A portfolio whose figures do not fit numeric(20,2) has no row, and says so."""
    fits = np.ones(len(result.portfolio_id), dtype=bool)
    for cents in result.money.values():
        fits &= (np.abs(cents) < MONEY_LIMIT).astype(bool)
    if fits.all():
        return result
    fault = "a figure reaches 10^18 USD, which no column holds. Mend: correct the absurd quantity or price among its"
    result.omissions += [
        portfolio_omission(ExceptionCode.VALUE_OVERFLOW, owner, f"{fault} positions, then re-run the day.")
        for owner in result.portfolio_id[~fits]
    ]
    return Snapshots(
        portfolio_id=result.portfolio_id[fits],
        money={name: cents[fits] for name, cents in result.money.items()},
        pnl_percent=result.pnl_percent[fits],
        daily_return=result.daily_return[fits],
        counts={name: number[fits] for name, number in result.counts.items()},
        is_partial=result.is_partial[fits],
        omissions=result.omissions,
    )
