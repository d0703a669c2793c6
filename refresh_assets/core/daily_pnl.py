"""What each book made on D, from positions and prices alone.

Here: the legs of the day's P&L, their exact sum a portfolio, and which were left out. Not here: value and cost
(snapshots.py). Nothing reads yesterday's snapshot, so days are independent.

Source: spec section 4. D' is the trading day before D; a trade between them (a Saturday's) counts on D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refresh_assets.core.book import OPTION_MULTIPLIER, OPTIONS, PRIVATE, UNKNOWN_CLASS, Book, Rows
from refresh_assets.core.market import Prices
from refresh_assets.core.money import Bools, Exact, Ints, Objects, at_scale, product_sums, sums
from refresh_assets.core.valuation import closes_by_position, is_listed, shares

Segment = tuple[Objects, int]
"""(P,) integers and their scale."""


@dataclass(frozen=True)
class DailyPnl:
    """The day's P&L of P portfolios.

    Attributes:
        total: exact, USD.
        legs_missing: (P,) legs left out for want of a price.
        no_reference: positions with a leg that has no close, or (PRIVATE) no value, on D' to be measured from.
        no_sale_price: positions sold without a price.
        no_cost: positions entered and sold again on D without an entry price.
    """

    total: Segment
    legs_missing: Ints
    no_reference: Rows
    no_sale_price: Rows
    no_cost: Rows


def daily_pnl(book: Book, prices: Prices) -> DailyPnl:
    """P&L of D a portfolio: legs kept and entered, sold, and PRIVATE.

    Args:
        book: P portfolios, N positions.
        prices: with exact closes of D and D'.
    """
    start, has_start = _reference_price(book, prices)
    held = _held_legs(book, prices, start, has_start)
    sold = _sold_legs(book, start, has_start)
    own = _private_legs(book)
    total = added(added(held.total, sold.total), own.total)
    start_lacks = held.no_start | sold.no_start | own.no_start
    return DailyPnl(
        total,
        held.missing + sold.missing + own.missing,
        no_reference=np.flatnonzero(start_lacks & ~book.entered),
        no_sale_price=np.flatnonzero(sold.no_price | own.no_price),
        # One that is still held is named with the snapshot: it has no cost either.
        no_cost=np.flatnonzero(start_lacks & book.entered & ~book.held),
    )


@dataclass(frozen=True)
class _Legs:
    """Legs of one kind: their sum, how many a portfolio lacks, (N,) which positions lack what for theirs."""

    total: Segment
    missing: Ints
    no_start: Bools
    no_price: Bools


def added(left: Segment, right: Segment, sign: int = 1) -> Segment:
    """left + sign x right, exactly."""
    scale = max(left[1], right[1])
    return at_scale(*left, scale) + sign * at_scale(*right, scale), scale


def count(book: Book, which: Bools) -> Ints:
    """(N,) -> (P,) how many of each portfolio's positions."""
    return np.bincount(book.portfolio[which], minlength=book.size).astype(np.int64)


def _reference_price(book: Book, prices: Prices) -> tuple[Exact, Bools]:
    """What a listed leg's gain is measured from: P(D'), or the entry price of a position entered since."""
    before, had_close = closes_by_position(book, prices, book.previous)
    start = book.entry_price.exact.where(book.entered).plus(before.where(~book.entered))
    return start, np.where(book.entered, book.entry_price.ok, had_close)


def _held_legs(book: Book, prices: Prices, start: Exact, has_start: Bools) -> _Legs:
    """q(D) x m x (P(D) - reference) of what is still held."""
    close, has_close = closes_by_position(book, prices, book.day)
    readable = (book.kind != PRIVATE) & (book.kind != UNKNOWN_CLASS) & (book.quantity_state == 0)
    legs = book.held & (book.held_before | book.entered) & readable
    legs &= book.expiry >= book.day
    sound = legs & is_listed(book) & has_close
    complete = sound & has_start
    total = _gain(book.starts, shares(book, book.quantity.where(complete)), close, start)
    return _Legs(total, count(book, legs & ~complete), sound & ~has_start, np.zeros(len(book.id), dtype=bool))


def _sold_legs(book: Book, start: Exact, has_start: Bools) -> _Legs:
    """q_sold x m x (sale price - reference) of what was sold since D'."""
    sales = book.sales
    order = np.argsort(sales.position, kind="stable")
    row, price = sales.position[order], sales.price.take(order)
    legs = ((book.kind != PRIVATE) & (book.kind != UNKNOWN_CLASS))[row]
    sound = legs & is_listed(book)[row]
    complete = sound & price.ok & has_start[row]
    # Contracts to shares: a limb times 100 passes 2^31, adding it to nothing carries it.
    weight = np.where(book.kind[row] == OPTIONS, OPTION_MULTIPLIER, 1) * complete
    quantity = sales.quantity.take(order)
    quantity = Exact.zeros(len(row)).plus(Exact(quantity.limbs * weight, quantity.scale))
    total = _gain(starts_among(book, row), quantity, price.exact, start.take(row))
    missing = np.bincount(book.portfolio[row[legs & ~complete]], minlength=book.size)
    return _Legs(
        total, missing, _marked(book, row[sound & price.ok & ~has_start[row]]), _marked(book, row[sound & ~price.ok])
    )


def _private_legs(book: Book) -> _Legs:
    """v(D) of what is held, plus what its sales brought, less v(D') or, for what was entered since, its cost.

    A partial sale takes its share of v(D') along, so kept and sold legs add up to this whatever the share; one leg a
    position, left out where any part of it is unknown."""
    private = (book.kind == PRIVATE) & (book.quantity_state == 0)
    order = np.argsort(book.sales.position, kind="stable")
    row, price = book.sales.position[order], book.sales.price.take(order)
    sold, unpriced = _marked(book, row), _marked(book, row[~price.ok])
    legs = private & ((book.held & (book.held_before | book.entered)) | sold)
    ends = legs & ~unpriced & (book.value.ok | ~book.held)
    begins = (book.entry_price.ok | ~book.entered) & (book.previous_value.ok | ~book.held_before)
    complete = ends & begins
    # Few positions are PRIVATE: only those are added up.
    some, sale = np.flatnonzero(complete), np.flatnonzero(complete[row])
    starts, row = starts_among(book, some), row[sale]
    quantity = book.sales.quantity.take(order[sale])
    now = sums(book.value.exact.take(some).where(book.held[some]), starts)
    then = sums(book.previous_value.exact.take(some).where(book.held_before[some]), starts)
    bought = book.quantity.take(some).where(book.entered[some])
    bought = bought.plus_at(np.searchsorted(some, row), quantity.where(book.entered[row]))
    cost = product_sums(bought, book.entry_price.exact.take(some), starts)
    proceeds = product_sums(quantity, price.exact.take(sale), starts_among(book, row))
    total = added(added(now, proceeds), added(then, cost), sign=-1)
    return _Legs(total, count(book, legs & ~complete), ends & ~begins, legs & unpriced)


def _marked(book: Book, rows: Rows) -> Bools:
    """(N,) the positions that `rows` names."""
    marked = np.zeros(len(book.id), dtype=bool)
    marked[rows] = True
    return marked


def starts_among(book: Book, row: Rows) -> Ints:
    """(P,) the first of each portfolio among some positions, ascending, or their sales."""
    return np.searchsorted(book.portfolio[row], np.arange(book.size))


def _gain(starts: Ints, quantity: Exact, price: Exact, reference: Exact) -> Segment:
    """Exact sum of q x (price - reference) a segment."""
    return added(product_sums(quantity, price, starts), product_sums(quantity, reference, starts), sign=-1)
