"""Promises of the inputs digest: it sees every input of D, and nothing else.

Here: order, chunks, every field of a position, sale, valuation and close. Not here: what is later than D
(test_look_ahead.py), the whole day's digest (store/)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core import digest
from refresh_assets.core.book import as_of
from refresh_assets.core.market import Prices
from refresh_assets_tests.core.builders import (
    FRIDAY,
    MONDAY,
    SATURDAY,
    TUESDAY,
    Lot,
    Number,
    Owner,
    Sale,
    ledger,
    number_of,
    prices,
)

SYMBOLS = ["AAA", "BBB", "CCC"]
NAMES = np.array([digest.text_hash(symbol.encode()) for symbol in SYMBOLS], dtype=np.uint64)
OTHER = np.array([digest.text_hash(b"price", symbol.encode()) for symbol in SYMBOLS], dtype=np.uint64)
MONTH_AGO = MONDAY - timedelta(days=30)

LISTED = Lot("AAA", "7", "3.5", entry=MONTH_AGO, sales=(Sale(MONDAY, "2", "4"),), id=1)
SHORT = Lot("BBB", "-4", "5", id=2)
FUND = Lot("FUND", "3", "100", "PRIVATE", value="300", valuations=((FRIDAY, "310"), (MONDAY, "320")), id=3)
SOLD = Lot("CCC", "5", "1", entry=MONTH_AGO, exit=MONDAY, exit_price="2", portfolio=1, id=4)
BOOK = [LISTED, SHORT, FUND, SOLD]


def digests(lots: Sequence[Lot], only: list[int] | None = None, owners: int = 4) -> dict[str, int]:
    """Of portfolios 0 to 3, or of those that are named."""
    mask = None if only is None else np.isin(np.arange(owners), only)
    whole = ledger(lots, SYMBOLS, [Owner()] * owners)
    book = as_of(whole, number_of(MONDAY), number_of(FRIDAY), mask)
    return {**digest.book_digest(book, NAMES), **digest.prices_digest(book, OTHER, NAMES)}


def combined(parts: Sequence[dict[str, int]]) -> dict[str, int]:
    return reduce(lambda a, b: {kind: digest.added(a[kind], b[kind]) for kind in a}, parts)


@given(st.permutations(BOOK))
def test_the_order_of_rows_does_not_matter(lots: list[Lot]) -> None:
    """Tables have no order."""
    assert digests(lots) == digests(BOOK)


many = st.lists(
    st.builds(
        replace,
        st.sampled_from(BOOK),
        portfolio=st.integers(0, 3),
        quantity=st.integers(1, 99).map(lambda n: n if n != 50 else "50.000000000000001"),
    ),
    min_size=1,
    max_size=8,
).map(lambda lots: [replace(lot, id=n) for n, lot in enumerate(lots)])


@given(many, st.sets(st.integers(0, 3)))
def test_chunks_of_portfolios_add_up_to_the_whole(lots: list[Lot], some: set[int]) -> None:
    """However portfolios are cut, and however fine a neighbour's decimals are."""
    rest = sorted({0, 1, 2, 3} - some)
    assert combined([digests(lots, sorted(some)), digests(lots, rest)]) == digests(lots)


@given(many)
def test_what_is_taken_off_again_leaves_nothing(lots: list[Lot]) -> None:
    """added(x, negated(x)) is 0, in both lanes."""
    for value in digests(lots).values():
        assert digest.added(value, digest.negated(value)) == 0


POSITION_CHANGES = [
    pytest.param(LISTED, replace(LISTED, id=77), id="id"),
    pytest.param(LISTED, replace(LISTED, symbol="CCC"), id="symbol"),
    pytest.param(LISTED, replace(LISTED, kind="OPTIONS"), id="class"),
    pytest.param(LISTED, replace(LISTED, kind="STOCK"), id="class unknown"),
    pytest.param(LISTED, replace(LISTED, quantity="7.000000000001"), id="quantity, the finest decimal"),
    pytest.param(LISTED, replace(LISTED, quantity="7.0000000000000000001"), id="quantity, a finer one"),
    pytest.param(LISTED, replace(LISTED, quantity="-7", sales=()), id="sign"),
    pytest.param(LISTED, replace(LISTED, quantity=None), id="quantity null"),
    pytest.param(LISTED, replace(LISTED, price="3.51"), id="entry price"),
    pytest.param(LISTED, replace(LISTED, price=None), id="entry price null"),
    pytest.param(replace(LISTED, price="0"), replace(LISTED, price=None), id="entry price null is not 0"),
    pytest.param(replace(LISTED, price="NaN"), replace(LISTED, price=None), id="unreadable is not null"),
    pytest.param(LISTED, replace(LISTED, entry=MONDAY), id="entered on D"),
    pytest.param(replace(LISTED, entry=SATURDAY), replace(LISTED, entry=FRIDAY), id="entered on D'"),
    pytest.param(LISTED, replace(LISTED, exit=MONDAY, exit_price="4"), id="sold on D"),
    pytest.param(LISTED, replace(LISTED, deleted=MONDAY), id="deleted on D"),
    pytest.param(LISTED, replace(LISTED, portfolio=1), id="moved to another portfolio"),
    pytest.param(replace(LISTED, kind="OPTIONS"), replace(LISTED, kind="OPTIONS", expiry=FRIDAY), id="expired"),
    pytest.param(LISTED, replace(LISTED, sales=(Sale(MONDAY, "2", "4.1"),)), id="price of a sale"),
    pytest.param(LISTED, replace(LISTED, sales=(Sale(MONDAY, "2", None),)), id="price of a sale null"),
    pytest.param(
        replace(LISTED, sales=(Sale(MONDAY, "2", "0"),)),
        replace(LISTED, sales=(Sale(MONDAY, "2", None),)),
        id="price of a sale null is not 0",
    ),
    pytest.param(LISTED, replace(LISTED, sales=(Sale(MONDAY, "2.5", "4"),)), id="quantity of a sale"),
    pytest.param(
        replace(LISTED, deleted=MONDAY), replace(LISTED, deleted=MONDAY, sales=()), id="quantity on D', deleted since"
    ),
    pytest.param(LISTED, replace(LISTED, sales=(Sale(FRIDAY, "2", "4"),)), id="day of a sale"),
    pytest.param(LISTED, replace(LISTED, sales=()), id="no sale"),
    pytest.param(LISTED, replace(LISTED, sales=(Sale(MONDAY, "2", "4"), Sale(MONDAY, "NaN", "4"))), id="a bad event"),
    pytest.param(SOLD, replace(SOLD, exit_price="2.01"), id="exit price"),
    pytest.param(SOLD, replace(SOLD, exit=TUESDAY), id="exit date"),
]
VALUATION_CHANGES = [
    pytest.param(FUND, replace(FUND, valuations=((FRIDAY, "310"), (MONDAY, "320.01"))), id="value on D"),
    pytest.param(FUND, replace(FUND, valuations=((FRIDAY, "310.01"), (MONDAY, "320"))), id="value on D'"),
    pytest.param(FUND, replace(FUND, valuations=()), id="only the undated one"),
    pytest.param(replace(FUND, valuations=()), replace(FUND, valuations=(), value="300.01"), id="the undated one"),
    pytest.param(replace(FUND, valuations=()), replace(FUND, valuations=(), value=None), id="none at all"),
    pytest.param(replace(FUND, valuations=()), replace(FUND, valuations=((MONTH_AGO, "300"),)), id="dated, as much"),
]


@pytest.mark.parametrize(("before", "after"), POSITION_CHANGES)
def test_every_field_of_a_position_is_seen(before: Lot, after: Lot) -> None:
    """A change of any input of D changes the digest of positions; valuations stay as they were."""
    rest = [SHORT, replace(SHORT, id=5, portfolio=1)]
    was, now = digests([before, *rest]), digests([after, *rest])
    assert was["positions"] != now["positions"]
    assert was["valuations"] == now["valuations"]


@pytest.mark.parametrize(("before", "after"), VALUATION_CHANGES)
def test_every_field_of_a_valuation_is_seen(before: Lot, after: Lot) -> None:
    """A change of a hand-entered value changes the digest of valuations; positions stay as they were."""
    was, now = digests([before, LISTED]), digests([after, LISTED])
    assert was["valuations"] != now["valuations"]
    assert was["positions"] == now["positions"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(LISTED, replace(LISTED, exit_price="9"), id="a price of an exit that is not there"),
        pytest.param(LISTED, replace(LISTED, entry=MONTH_AGO - timedelta(days=9)), id="entered even earlier"),
        pytest.param(LISTED, replace(LISTED, value="9"), id="the market value that we write ourselves"),
        pytest.param(LISTED, replace(LISTED, quantity="7.000"), id="the same number in other words"),
        pytest.param(FUND, replace(FUND, value="301"), id="an undated value beside a dated one"),
        pytest.param(FUND, replace(FUND, valuations=(*FUND.valuations, (MONTH_AGO, "1"))), id="an older valuation"),
        pytest.param(FUND, replace(FUND, symbol="AAA"), id="a name of a fund that happens to be a symbol of the run"),
    ],
)
def test_what_no_figure_of_the_day_uses_is_not_seen(before: Lot, after: Lot) -> None:
    """So nothing is called stale that would come out the same."""
    assert digests([before, SHORT]) == digests([after, SHORT])


def test_two_equal_rows_do_not_cancel() -> None:
    """Sums, not exclusive ors: a second equal sale counts."""
    sale = Sale(MONDAY, "2", "4")
    three, one = (replace(SHORT, quantity="9", sales=(sale,) * number) for number in (3, 1))
    assert digests([three])["positions"] != digests([one])["positions"]


def test_a_platform_of_private_positions_alone_has_a_digest() -> None:
    """No symbol at all in the run."""
    book = as_of(ledger([FUND], []), number_of(MONDAY), number_of(FRIDAY))
    nothing = np.zeros(0, dtype=np.uint64)
    assert digest.book_digest(book, nothing)["valuations"] != 0
    assert digest.prices_digest(book, nothing, nothing) == {"prices": 0, "betas": 0}


THURSDAY = date(2024, 3, 7)
CLOSES: dict[date, dict[str, Number]] = {
    THURSDAY: {"AAA": "1", "BBB": "2"},
    FRIDAY: {"AAA": "1.5", "BBB": "2.5"},
    MONDAY: {"AAA": "1.25", "BBB": "2.25"},
    TUESDAY: {"AAA": "9", "BBB": "9"},
}


def hashed(closes: dict[date, dict[str, Number]], first: date = THURSDAY) -> list[int]:
    found: Prices = prices(closes, SYMBOLS)
    start = np.full(3, number_of(first), dtype=np.int32)
    return [int(one) for one in digest.price_hashes(found, number_of(MONDAY), number_of(FRIDAY), start, range(3))]


@pytest.mark.parametrize(
    ("day", "close"),
    [(THURSDAY, "1.01"), (FRIDAY, "1.51"), (MONDAY, "1.26"), (MONDAY, None), (MONDAY, "1.2500000000000000001")],
)
def test_every_close_of_the_window_is_seen_and_only_for_its_symbol(day: date, close: Number) -> None:
    """A corrected, a vanished, a finer close: AAA's hash changes, BBB's does not."""
    was, now = hashed(CLOSES), hashed({**CLOSES, day: {**CLOSES[day], "AAA": close}})
    assert [a != b for a, b in zip(was, now, strict=True)] == [True, False, False]


def test_closes_outside_the_window_are_not_seen() -> None:
    """A close after D; one more than a trading day before the window's first day."""
    assert hashed({**CLOSES, TUESDAY: {"AAA": "5"}}) == hashed(CLOSES)
    assert hashed({**CLOSES, THURSDAY: {"AAA": "5"}}, first=MONDAY) == hashed(CLOSES, first=MONDAY)
    assert hashed({**CLOSES, THURSDAY: {"AAA": "5"}}, first=FRIDAY) != hashed(CLOSES, first=FRIDAY)


def test_prices_and_betas_are_counted_once_for_each_listed_position() -> None:
    """A fund has neither; a changed price of a symbol that nobody holds changes nothing."""
    book = as_of(ledger([LISTED, FUND], SYMBOLS), number_of(MONDAY), number_of(FRIDAY))
    was = digest.prices_digest(book, OTHER, NAMES)
    assert digest.prices_digest(book, OTHER + np.array([0, 1, 1], dtype=np.uint64), NAMES) == was
    assert digest.prices_digest(book, OTHER + np.array([1, 0, 0], dtype=np.uint64), NAMES)["prices"] != was["prices"]
    assert digest.prices_digest(book, OTHER, NAMES + np.array([1, 0, 0], dtype=np.uint64))["betas"] != was["betas"]


def test_parts_of_a_text_hash_are_not_run_together() -> None:
    """("ab", "c") and ("a", "bc") are two things."""
    assert digest.text_hash(b"ab", b"c") != digest.text_hash(b"a", b"bc")


@pytest.mark.parametrize("rows", [0, 1, 5])
@pytest.mark.parametrize("width", [0, 1, 63])
def test_many_rows_are_hashed_as_each_by_itself(rows: int, width: int) -> None:
    """Whatever lies between the numbers of a row in memory, and for rows of nothing."""
    numbers = np.arange(rows * width, dtype=np.float64).reshape(width, rows).T / 7
    words = np.arange(rows, dtype=np.uint64)[:, None]
    expected = [int(digest.text_hash(numbers[row].tobytes(), words[row].tobytes())) for row in range(rows)]
    assert digest.text_hashes(numbers, words).tolist() == expected
