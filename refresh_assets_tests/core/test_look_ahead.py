"""No look-ahead: what is dated after D changes nothing that is computed for D.

Here: books, prices, figures and digests of two platforms that agree up to D (hypothesis). Not here: the same through SQL
(store/), the rules themselves (test_book.py)."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.book import Book, as_of
from refresh_assets.core.correlations import correlations
from refresh_assets.core.digest import book_digest, price_hashes, prices_digest
from refresh_assets.core.market import Prices
from refresh_assets.core.snapshots import snapshots
from refresh_assets.core.valuation import value_positions
from refresh_assets_tests.core.builders import FRIDAY, MONDAY, Lot, Number, Sale, ledger, number_of, prices

SYMBOLS = ["AAA", "BBB", "CCC"]
past_days = st.integers(-6, 0).map(lambda back: MONDAY + timedelta(days=back))
later_days = st.integers(1, 400).map(lambda ahead: MONDAY + timedelta(days=ahead))
amounts = st.integers(1, 10**6).map(lambda n: Decimal(n) / 1000)


@st.composite
def lots(draw: st.DrawFn) -> Lot:
    """A lot of which everything is dated up to D."""
    kind = draw(st.sampled_from(["PUBLIC", "PUBLIC", "OPTIONS", "PRIVATE"]))
    sign = draw(st.sampled_from([1, -1]))
    entry = draw(st.none() | past_days)
    sales = draw(st.lists(st.tuples(past_days, amounts, st.none() | amounts), max_size=2))
    return Lot(
        draw(st.sampled_from(SYMBOLS)),
        sign * draw(amounts),
        draw(st.none() | amounts),
        kind,
        entry,
        exit=draw(st.none() | past_days),
        exit_price=draw(st.none() | amounts),
        value=draw(st.none() | amounts) if kind == "PRIVATE" else None,
        sales=tuple(
            Sale(day, sign * quantity, price) for day, quantity, price in sales if entry is None or day >= entry
        ),
        valuations=tuple(draw(st.dictionaries(past_days, amounts, max_size=2)).items()) if kind == "PRIVATE" else (),
        portfolio=draw(st.integers(0, 2)),
    )


@st.composite
def with_a_future(draw: st.DrawFn, lot: Lot) -> Lot:
    """The same lot after D, as a platform changes it: sold in part (quantity shrunk in place), revalued, deleted, closed."""
    quantity, sales = Decimal(lot.quantity or 0), list(lot.sales)
    for share in draw(st.lists(st.integers(1, 4), max_size=2)):
        sold = quantity / 4 * share
        sales.append(Sale(draw(later_days), sold, draw(st.none() | amounts)))
        quantity -= sold
        if not quantity:
            break
    dated: tuple[tuple[date, Number], ...] = ()
    if lot.kind == "PRIVATE":
        dated = tuple(draw(st.dictionaries(later_days, amounts, max_size=2)).items())
    closed = lot.exit or draw(st.none() | later_days)
    return replace(
        lot,
        quantity=quantity,
        sales=tuple(sale for sale in sales if sale.quantity),
        valuations=lot.valuations + dated,
        exit=closed,
        exit_price=lot.exit_price if lot.exit else draw(st.none() | amounts),
        deleted=draw(st.none() | later_days),
    )


@st.composite
def platforms(draw: st.DrawFn) -> tuple[list[Lot], list[Lot]]:
    """Lots up to D, and the same platform later: with what happened since, and positions entered since."""
    now = [replace(lot, id=number) for number, lot in enumerate(draw(st.lists(lots(), min_size=1, max_size=6)))]
    later = [draw(with_a_future(lot)) for lot in now]
    new = draw(st.lists(st.tuples(lots(), later_days), max_size=2))
    # Entered after D: whatever was dated before goes.
    later += [
        replace(lot, id=100 + n, entry=day, exit=None, sales=(), valuations=()) for n, (lot, day) in enumerate(new)
    ]
    return now, later


def as_lists(thing: object) -> object:
    """Arrays and dataclasses as plain values: compared as numbers, not as limbs."""
    if hasattr(thing, "to_integers"):
        number = thing.rescaled(60) if hasattr(thing, "rescaled") else thing
        return [int(one) for one in number.to_integers()]
    if is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: as_lists(getattr(thing, field.name)) for field in fields(thing)}
    return thing.tolist() if isinstance(thing, np.ndarray) else thing


def book_of(some: list[Lot]) -> Book:
    return as_of(ledger(some, SYMBOLS, None), number_of(MONDAY), number_of(FRIDAY))


def closes_with(rng_seed: int, later: bool) -> Prices:
    """40 trading days up to D; `later` adds days after it and other closes there."""
    rng = np.random.default_rng(rng_seed)
    days = [MONDAY - timedelta(days=n) for n in range(80) if (MONDAY - timedelta(days=n)).weekday() < 5][::-1]
    table = {day: {s: str(round(100 * float(np.exp(rng.normal(0, 0.02))), 4)) for s in SYMBOLS} for day in days}
    if later:
        table |= {MONDAY + timedelta(days=n): dict.fromkeys(SYMBOLS, "7") for n in range(1, 4)}
    return prices(table, SYMBOLS)


@given(platforms())
def test_the_book_of_a_day_does_not_change_when_something_later_happens(pair: tuple[list[Lot], list[Lot]]) -> None:
    """Sales after D shrink quantity in place, and their events bring it back; the rest is simply later."""
    now, later = pair
    assert as_lists(book_of(now)) == as_lists(book_of(later))


@given(platforms(), st.integers(0, 2**32))
def test_snapshots_correlations_and_digest_of_a_day_do_not_change_either(
    pair: tuple[list[Lot], list[Lot]], seed: int
) -> None:
    """Neither later positions nor later closes reach a figure of D, or the digest of its inputs."""
    names, first = np.arange(1, 4, dtype=np.uint64), np.full(3, number_of(MONDAY) - 60, dtype=np.int32)
    found = []
    for some, market in zip(pair, (closes_with(seed, later=False), closes_with(seed, later=True)), strict=True):
        book = book_of(some)
        hashes = price_hashes(market, number_of(MONDAY), number_of(FRIDAY), first, range(3))
        digests = {**book_digest(book, names), **prices_digest(book, hashes, names)}
        figures = snapshots(book, market)
        rho = correlations(book, market, value_positions(book, market))
        found.append(
            [
                *(digests, {name: cents.tolist() for name, cents in figures.money.items()}, figures.omissions),
                *(column.tobytes() for column in (rho.correlations, rho.data_points, rho.overall, rho.effective)),
            ]
        )
    assert found[0] == found[1]


def test_a_later_close_is_not_among_the_closes_up_to_a_day() -> None:
    """`upto` cuts days and exact closes alike."""
    market = closes_with(1, later=True).upto(number_of(MONDAY))
    assert market.days[-1] == number_of(MONDAY)
    assert max(market.exact) == number_of(MONDAY)
    assert len(market.close) == len(market.days)
