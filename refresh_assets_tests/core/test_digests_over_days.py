"""The digests of many days in one pass are those of each day by itself.

Here: against the Book of the whole Ledger on each day (hypothesis), and how little is taken again. Not here: the rule of
what holds on a day (test_book.py), that a digest notices a change (test_digest.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.book import Book, as_of
from refresh_assets.core.digest import Sum, book_digest, prices_digest
from refresh_assets.core.digests_over_days import digests_over_days
from refresh_assets_tests.core.builders import MONDAY, Lot, Owner, Sale, ledger, number_of, weekdays

SYMBOLS = ["AAA", "BBB", "CCC"]
DAYS = weekdays(23)
NAMES = np.arange(1, 4, dtype=np.uint64)
near = st.integers(-40, 8).map(lambda back: MONDAY + timedelta(days=back))
amounts = st.integers(1, 10**6).map(lambda n: Decimal(n) / 1000)


@st.composite
def lots(draw: st.DrawFn) -> Lot:
    """A lot of any kind whose dates lie in, before and after the days."""
    kind = draw(st.sampled_from(["PUBLIC", "PUBLIC", "PUBLIC", "OPTIONS", "PRIVATE"]))
    sign = draw(st.sampled_from([1, -1]))
    quantity = draw(st.none() | st.just(Decimal(0)) | amounts)
    private = kind == "PRIVATE"
    return Lot(
        draw(st.sampled_from(SYMBOLS)),
        None if quantity is None else sign * quantity,
        draw(st.none() | amounts),
        kind,
        draw(st.none() | near),
        exit=draw(st.none() | near),
        exit_price=draw(st.none() | amounts),
        deleted=draw(st.none() | near),
        expiry=draw(st.none() | near) if kind == "OPTIONS" else None,
        value=draw(st.none() | amounts) if private else None,
        sales=tuple(
            Sale(day, sign * sold, price)
            for day, sold, price in draw(st.lists(st.tuples(near, amounts, st.none() | amounts), max_size=2))
        ),
        valuations=tuple(draw(st.dictionaries(near, amounts, max_size=3)).items()) if private else (),
        portfolio=draw(st.integers(0, 2)),
    )


owners = st.lists(st.builds(Owner, start=st.none() | near, deleted=st.none() | near), min_size=3, max_size=3)


def sums(book: Book) -> dict[str, Sum]:
    return {**book_digest(book, NAMES), **prices_digest(book, NAMES, NAMES)}


def numbers(days: Sequence[date]) -> tuple[list[int], list[int]]:
    """Days and the trading day before each, as numbers."""
    return [number_of(day) for day in days], [number_of(DAYS[DAYS.index(day) - 1]) for day in days]


@given(st.lists(lots(), min_size=1, max_size=8), owners, st.sets(st.sampled_from(DAYS[1:])))
def test_every_day_of_a_stretch_has_the_digest_of_its_own_book(
    some: list[Lot], theirs: list[Owner], chosen: set[date]
) -> None:
    """Whatever the lots do on the days, also where days are left out between."""
    whole = ledger(some, SYMBOLS, theirs)
    days, previous = numbers(sorted(chosen))

    found = list(digests_over_days(whole, days, previous, sums))

    assert found == [sums(as_of(whole, *one)) for one in zip(days, previous, strict=True)]


@pytest.mark.parametrize("held_all_along", [3, 300])
def test_what_does_not_change_is_taken_once(held_all_along: int) -> None:
    """What was sold and one position that keeps its portfolio due, as before and as on the day, then once more without it."""
    old = DAYS[0] - timedelta(days=30)
    some = [
        *(Lot("AAA", 10, 5, entry=old, portfolio=row % 2) for row in range(held_all_along)),
        Lot("BBB", 10, 5, entry=old, exit=DAYS[6], exit_price=7, portfolio=0),
    ]
    sizes = list[int]()

    def measured(book: Book) -> dict[str, Sum]:
        sizes.append(len(book.id))
        return sums(book)

    list(digests_over_days(ledger(some, SYMBOLS), *numbers(DAYS[1:]), measured))

    assert sizes == [held_all_along + 1, *(2, 2), *(2, 1)]
