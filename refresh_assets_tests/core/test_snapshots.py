"""Promises of a snapshot: every column by hand, to the cent.

Here: value, cost, P&L, exposure, counts, omissions. Not here: the day's P&L leg by leg (test_daily_pnl.py), what is held
(test_book.py), exact sums (test_money.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.snapshots import Snapshots, snapshots
from refresh_assets.errors import ExceptionCode as Code
from refresh_assets_tests.core.builders import FRIDAY, MONDAY, TUESDAY, Lot, Number, Owner, Sale, book, prices

CLOSES: dict[date, dict[str, Number]] = {FRIDAY: {"AAA": "10.25", "BBB": "20"}, MONDAY: {"AAA": "11.5", "BBB": "19"}}
MONEY = (
    *("total_value", "total_cost", "total_pnl", "long_value", "short_value"),
    *("gross_exposure", "net_exposure", "daily_pnl"),
)
FLIPPED = ("total_value", "total_cost", "total_pnl", "net_exposure", "daily_pnl")


def snap(lots: Sequence[Lot], closes: dict[date, dict[str, Number]] | None = None, owners: int = 0) -> Snapshots:
    return snapshots(book(lots, owners=[Owner()] * owners or None), prices(closes or CLOSES))


def money(found: Snapshots, row: int = 0) -> dict[str, Decimal]:
    return {name: Decimal(int(cents[row])) / 100 for name, cents in found.money.items()}


def amounts(*texts: str) -> dict[str, Decimal]:
    return dict(zip(MONEY, map(Decimal, texts), strict=True))


def test_a_long_short_book_with_options_and_a_fund_by_hand() -> None:
    """Value, cost, P&L, exposures, percent and return of a book of every class."""
    lots = [
        Lot("AAA", quantity="100", price="9"),  # 1150, cost 900, made 125
        Lot("BBB", quantity="-10", price="22"),  # -190, cost -220, made 10
        Lot("AAA", quantity="2", price="3", kind="OPTIONS"),  # 2300, cost 600, made 250
        Lot("FUND", quantity="4", price="100", kind="PRIVATE", valuations=((FRIDAY, "450"), (MONDAY, "460.5"))),
    ]
    found = snap(lots)
    assert money(found) == amounts("3720.5", "1680", "2040.5", "3910.5", "-190", "4100.5", "3720.5", "395.5")
    assert found.pnl_percent.tolist() == [100 * 2040.5 / (900 + 220 + 600 + 400)]
    assert found.daily_return.tolist() == [395.5 / (1025 + 200 + 2050 + 450)]
    assert {name: number.tolist() for name, number in found.counts.items()} == {
        "position_count": [4],
        "positions_valued": [4],
        "positions_unpriced": [0],
        "pnl_legs_missing": [0],
    }
    assert found.is_partial.tolist() == [False]
    assert found.omissions == []


def test_a_part_sold_on_the_day_leaves_its_rest_in_value_and_all_of_it_in_the_return() -> None:
    """70 left of 100: value of 70, P&L of 70 kept and 30 sold, return on the 100 of the day before."""
    found = snap([Lot(quantity="70", price="9", sales=(Sale(MONDAY, "30", "12"),))])
    assert money(found) == amounts("805", "630", "175", "805", "0", "805", "805", "140")
    assert found.daily_return.tolist() == [140 / 1025]


def test_a_book_that_sold_its_last_has_a_row_of_zeros_and_the_days_pnl() -> None:
    """No value, no cost, no percent, but what the sale made and its return."""
    found = snap([Lot(quantity="100", exit=MONDAY, exit_price="10")])
    assert money(found) == amounts("0", "0", "0", "0", "0", "0", "0", "-25")
    assert np.isnan(found.pnl_percent).all()
    assert found.daily_return.tolist() == [-25 / 1025]
    assert found.counts["position_count"].tolist() == [0]


def test_a_book_entered_on_the_day_has_no_return() -> None:
    """There was no exposure the day before to divide by: null, not zero."""
    found = snap([Lot(quantity="100", price="11", entry=MONDAY)])
    assert money(found) == amounts("1150", "1100", "50", "1150", "0", "1150", "1150", "50")
    assert np.isnan(found.daily_return).all()


def test_a_free_book_has_no_percent() -> None:
    """Shares got for nothing: no cost, so no percent."""
    found = snap([Lot(quantity="100", price="0")])
    assert money(found)["total_pnl"] == 1150
    assert np.isnan(found.pnl_percent).all()


@pytest.mark.parametrize(
    ("lot", "code"),
    [
        pytest.param(Lot("CCC"), Code.NO_PRICE, id="no close on D"),
        pytest.param(Lot("DDD"), Code.NO_SYMBOL, id="a symbol that is null, so of no code"),
        pytest.param(Lot(price=None), Code.NO_ENTRY_PRICE, id="no entry price"),
        pytest.param(Lot(price="NaN"), Code.BAD_ENTRY_PRICE, id="an unreadable entry price"),
        pytest.param(Lot(quantity=None), Code.BAD_QUANTITY, id="no quantity"),
        pytest.param(Lot(kind="STOCK"), Code.UNKNOWN_CLASS, id="unknown class"),
        pytest.param(Lot("FUND", kind="PRIVATE"), Code.NO_VALUATION, id="PRIVATE without a value"),
        pytest.param(Lot("FUND", kind="PRIVATE", price=None, value="9"), Code.NO_ENTRY_PRICE, id="PRIVATE, no cost"),
        pytest.param(Lot(kind="OPTIONS", expiry=FRIDAY), Code.OPTION_EXPIRED, id="expired option"),
    ],
)
def test_what_cannot_be_valued_is_left_out_of_value_and_cost_alike_counted_and_named(lot: Lot, code: Code) -> None:
    """The rest of the book is untouched, the snapshot is partial, the position is named with the reason."""
    rest = Lot("BBB", quantity="10", price="15", id=99)
    found = snap([replace(lot, id=1), rest])
    alone = snap([rest])
    for name in MONEY[:-1]:
        assert found.money[name].tolist() == alone.money[name].tolist()
    assert found.pnl_percent.tolist() == alone.pnl_percent.tolist()
    assert [found.counts[name][0] for name in ("position_count", "positions_valued", "positions_unpriced")] == [2, 1, 1]
    assert found.is_partial.tolist() == [True]
    named = [one for one in found.omissions if one.code is code]
    assert [int.from_bytes(one.position or b"", "big") for one in named] == [1]


def test_an_option_on_its_last_day_is_still_worth_its_close() -> None:
    """It expires after the close of D, not before."""
    found = snap([Lot(quantity="1", price="9", kind="OPTIONS", expiry=MONDAY)])
    assert money(found)["total_value"] == 1150


def test_an_option_that_expired_since_counts_in_the_exposure_of_the_day_before() -> None:
    """On D' it was alive: what the book makes on D is made on that exposure."""
    found = snap([Lot(quantity="100", price="9"), Lot(quantity="1", price="9", kind="OPTIONS", expiry=FRIDAY)])
    assert found.daily_return.tolist() == [125 / (1025 + 1025)]


def test_an_undated_value_counts_and_is_named() -> None:
    """It is used, but a later edit would change past days: so it says."""
    found = snap([Lot("FUND", quantity="1", price="5", kind="PRIVATE", value="8")])
    assert money(found)["total_value"] == 8
    assert [one.code for one in found.omissions] == [Code.UNDATED_VALUATION]
    assert found.is_partial.tolist() == [False]


def test_an_omission_names_row_field_and_mend() -> None:
    """The whole text, as a person reads it in refresh_exceptions."""
    (omission,) = snap([Lot("CCC", id=1, entry=MONDAY), Lot(id=2)]).omissions
    assert omission.detail == (
        "positions row 00000000-0000-0000-0000-000000000001 (CCC): close_price is missing for the day."
        " Mend: have the symbol batch load it, then re-run the day."
    )
    assert omission.symbol == "CCC"


@pytest.mark.parametrize(
    ("closes", "expected"),
    [(["0.005"], "0"), (["0.015"], "0.02"), (["0.005", "0.005"], "0.01"), (["0.005", "0.01"], "0.02")],
)
def test_a_half_cent_goes_to_the_even_cent_once_at_the_end(closes: list[str], expected: str) -> None:
    """Positions are summed exactly before anything is rounded; long and short alike."""
    symbols = ["AAA", "BBB"]
    day: dict[str, Number] = dict(zip(symbols, closes, strict=False))
    lots = [Lot(symbol, quantity="1", price="0") for symbol in symbols[: len(closes)]]
    assert money(snap(lots, {FRIDAY: day, MONDAY: day}))["total_value"] == Decimal(expected)
    shorts = [replace(lot, quantity="-1") for lot in lots]
    assert money(snap(shorts, {FRIDAY: day, MONDAY: day}))["total_value"] == -Decimal(expected)


def test_each_column_is_rounded_from_its_own_exact_sum() -> None:
    """Value 0.025 and cost 0.005 round to 0.02 and 0.00; their difference is exactly 0.02."""
    day: dict[str, Number] = {"AAA": "0.025"}
    found = money(snap([Lot(quantity="1", price="0.005")], {FRIDAY: day, MONDAY: day}))
    assert (found["total_value"], found["total_cost"], found["total_pnl"]) == (
        Decimal("0.02"),
        Decimal(0),
        Decimal("0.02"),
    )


def test_a_book_beyond_the_column_has_no_row_and_says_so() -> None:
    """10^18 USD do not fit numeric(20,2): the other portfolios are written as ever."""
    lots = [Lot(quantity="99999999999999999", price="1"), Lot("BBB", quantity="1", portfolio=1)]
    found = snap(lots, owners=2)
    assert [int.from_bytes(one.tobytes(), "big") for one in found.portfolio_id] == [1001]
    assert money(found)["total_value"] == 19
    (omission,) = found.omissions
    assert (omission.code, int.from_bytes(omission.portfolio or b"", "big")) == (Code.VALUE_OVERFLOW, 1000)
    assert omission.detail == (
        "portfolios row 00000000-0000-0000-0000-0000000003e8: a figure reaches 10^18 USD, which no column holds."
        " Mend: correct the absurd quantity or price among its positions, then re-run the day."
    )


def test_a_book_just_within_the_column_is_exact() -> None:
    """A trillion shares with 12 decimals at a price with 8 is exact to the cent."""
    quantity, close = Decimal("999999999999.123456789012"), Decimal("987.12345678")
    day: dict[str, Number] = {"AAA": close}
    found = money(snap([Lot(quantity=quantity, price="0")], {FRIDAY: day, MONDAY: day}))
    assert found["total_value"] == round(quantity * close, 2)


quantities = st.integers(-(10**15), 10**15).filter(bool).map(lambda n: Decimal(n).scaleb(-9))
close_texts = st.integers(1, 10**9).map(lambda n: Decimal(n).scaleb(-5))


@st.composite
def random_lots(draw: st.DrawFn) -> Lot:
    """Long and short lots of every class, some without a price, an entry price, a value; some traded on D."""
    kind = draw(st.sampled_from(["PUBLIC", "PUBLIC", "OPTIONS", "PRIVATE"]))
    quantity = draw(quantities)
    value = draw(st.none() | close_texts)
    sold = draw(st.booleans()) and kind != "PRIVATE"
    return Lot(
        draw(st.sampled_from(["AAA", "BBB", "CCC"])),
        quantity,
        draw(st.none() | close_texts),
        kind,
        draw(st.sampled_from([None, FRIDAY, MONDAY, TUESDAY])),
        exit=draw(st.sampled_from([None, None, MONDAY, TUESDAY])) if kind != "PRIVATE" else None,
        exit_price=draw(st.none() | close_texts),
        value=None if value is None or kind != "PRIVATE" else value.copy_sign(quantity),
        sales=(Sale(MONDAY, draw(quantities).copy_sign(quantity), draw(st.none() | close_texts)),) if sold else (),
        portfolio=draw(st.integers(0, 3)),
    )


books = st.lists(random_lots(), min_size=1, max_size=10).map(
    lambda lots: [
        # An event before the entry cannot be: reading the platform leaves it out.
        replace(lot, id=n, sales=() if lot.entry == TUESDAY else lot.sales)
        for n, lot in enumerate(lots)
    ]
)
random_closes = st.lists(close_texts, min_size=4, max_size=4).map(
    lambda c: {FRIDAY: {"AAA": c[0], "BBB": c[1]}, MONDAY: {"AAA": c[2], "BBB": c[3]}}
)


def by_portfolio(found: Snapshots) -> dict[bytes, tuple[object, ...]]:
    """Every column of every row, floats as bytes."""
    return {
        one.tobytes(): (
            tuple(cents[row] for cents in found.money.values()),
            found.pnl_percent[row].tobytes(),
            found.daily_return[row].tobytes(),
            tuple(number[row] for number in found.counts.values()),
            found.is_partial[row],
        )
        for row, one in enumerate(found.portfolio_id)
    }


@given(books, random_closes)
def test_shorting_the_whole_book_flips_every_sign_that_has_one(
    lots: list[Lot], closes: dict[date, dict[str, Number]]
) -> None:
    """Value, cost, P&L and net change sign, long and short change places, gross, percent's size and counts stay."""
    flipped = [
        replace(
            lot,
            quantity=-Decimal(lot.quantity or 0),
            value=None if lot.value is None else -Decimal(lot.value),
            sales=tuple(replace(sale, quantity=-Decimal(sale.quantity or 0)) for sale in lot.sales),
        )
        for lot in lots
    ]
    here, there = snap(lots, closes), snap(flipped, closes)
    for name in FLIPPED:
        assert here.money[name].tolist() == [-one for one in there.money[name]]
    assert here.money["long_value"].tolist() == [-one for one in there.money["short_value"]]
    assert here.money["short_value"].tolist() == [-one for one in there.money["long_value"]]
    assert here.money["gross_exposure"].tolist() == there.money["gross_exposure"].tolist()
    np.testing.assert_array_equal(here.pnl_percent, -there.pnl_percent)
    np.testing.assert_array_equal(here.daily_return, -there.daily_return)
    for name, number in here.counts.items():
        assert number.tolist() == there.counts[name].tolist()


@given(books, random_closes, st.integers(1, 9))
def test_splitting_every_lot_in_two_changes_no_figure(
    lots: list[Lot], closes: dict[date, dict[str, Number]], tenths: int
) -> None:
    """Only the counts know how many lots there are."""
    halves = []
    for lot in lots:
        for share, number in ((Decimal(tenths) / 10, 0), (1 - Decimal(tenths) / 10, 100)):
            halves.append(
                replace(
                    lot,
                    id=(lot.id or 0) + number,
                    quantity=Decimal(lot.quantity or 0) * share,
                    value=None if lot.value is None else Decimal(lot.value) * share,
                    sales=tuple(replace(sale, quantity=Decimal(sale.quantity or 0) * share) for sale in lot.sales),
                )
            )
    whole, split = snap(lots, closes), snap(halves, closes)
    for name in MONEY:
        assert whole.money[name].tolist() == split.money[name].tolist()
    assert whole.pnl_percent.tobytes() == split.pnl_percent.tobytes()
    assert whole.daily_return.tobytes() == split.daily_return.tobytes()
    for name, lots_before in whole.counts.items():
        assert (2 * lots_before).tolist() == split.counts[name].tolist()


@given(books, random_closes)
def test_many_portfolios_at_once_equal_one_by_one(lots: list[Lot], closes: dict[date, dict[str, Number]]) -> None:
    """A row does not depend on which portfolios were computed beside it."""
    together = by_portfolio(snap(lots, closes, owners=4))
    alone: dict[bytes, tuple[object, ...]] = {}
    for number in range(4):
        alone |= by_portfolio(snap([lot for lot in lots if lot.portfolio == number], closes, owners=4))
    assert together == alone


@given(books, random_closes)
def test_the_columns_of_a_row_hang_together(lots: list[Lot], closes: dict[date, dict[str, Number]]) -> None:
    """Long is not below 0, short not above; sums and differences hold to a cent of rounding."""
    found = snap(lots, closes)
    for row in range(len(found.portfolio_id)):
        m = {name: int(cents[row]) for name, cents in found.money.items()}
        assert m["long_value"] >= 0 >= m["short_value"]
        assert m["total_value"] == m["net_exposure"]
        assert abs(m["long_value"] + m["short_value"] - m["net_exposure"]) <= 1
        assert abs(m["long_value"] - m["short_value"] - m["gross_exposure"]) <= 1
        assert abs(m["total_value"] - m["total_cost"] - m["total_pnl"]) <= 1
        c = {name: int(number[row]) for name, number in found.counts.items()}
        assert c["positions_valued"] + c["positions_unpriced"] == c["position_count"]
