"""Promises of the day's P&L: leg by leg, to the cent, from positions and prices alone.

Here: hand-computed legs, missing prices, the sum over days. Not here: value and cost (test_snapshots.py), which legs there
are (test_book.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.daily_pnl import DailyPnl, daily_pnl
from refresh_assets.core.market import Prices
from refresh_assets.core.snapshots import snapshots
from refresh_assets.errors import ExceptionCode as Code
from refresh_assets_tests.core.builders import FRIDAY, MONDAY, SATURDAY, TUESDAY, Lot, Number, Sale, book, prices

CLOSES: dict[date, dict[str, Number]] = {FRIDAY: {"AAA": "10.25", "BBB": "4"}, MONDAY: {"AAA": "11.5", "CCC": "8"}}
"""AAA is complete, BBB has no close on D, CCC none on D'."""


def fund(**fields: Any) -> Lot:
    """A PRIVATE lot."""
    return Lot("FUND", kind="PRIVATE", **fields)


def pnl(lots: Sequence[Lot], market: Prices | None = None) -> DailyPnl:
    return daily_pnl(book([*lots, Lot("AAA", quantity="0.000000000001", id=99)]), market or prices(CLOSES))


def dollars(lots: Sequence[Lot]) -> Decimal:
    """The P&L of the only portfolio, less that of the speck that keeps it due."""
    units, scale = pnl(lots).total
    return Decimal(int(units[0])).scaleb(-scale) - Decimal("0.000000000001") * Decimal("1.25")


@pytest.mark.parametrize(
    ("lot", "expected"),
    [
        pytest.param(Lot(quantity="100"), 100 * Decimal("1.25"), id="kept"),
        pytest.param(Lot(quantity="-100"), -100 * Decimal("1.25"), id="kept short"),
        pytest.param(Lot(quantity="3", kind="OPTIONS"), 3 * 100 * Decimal("1.25"), id="3 contracts are 300 shares"),
        pytest.param(Lot(quantity="100", price="11", entry=MONDAY), 100 * Decimal("0.5"), id="entered on D"),
        pytest.param(Lot(quantity="100", price="11", entry=SATURDAY), 100 * Decimal("0.5"), id="entered on a Saturday"),
        pytest.param(Lot(quantity="100", exit=MONDAY, exit_price="12"), 100 * Decimal("1.75"), id="sold on D"),
        pytest.param(Lot(quantity="100", exit=SATURDAY, exit_price="12"), 100 * Decimal("1.75"), id="sold on Saturday"),
        pytest.param(Lot(quantity="-7", exit=MONDAY, exit_price="12"), -7 * Decimal("1.75"), id="short bought back"),
        pytest.param(
            Lot(quantity="60", sales=(Sale(MONDAY, "40", "12"),)),
            60 * Decimal("1.25") + 40 * Decimal("1.75"),
            id="40 of 100 sold",
        ),
        pytest.param(
            Lot(quantity="60", price="11", entry=MONDAY, sales=(Sale(MONDAY, "40", "12"),)),
            60 * Decimal("0.5") + 40 * Decimal("1"),
            id="entered on D, 40 of 100 sold again",
        ),
        pytest.param(
            Lot(quantity="100", price="11", entry=MONDAY, exit=MONDAY, exit_price="10"), Decimal(-100), id="day trade"
        ),
        pytest.param(
            Lot(quantity="2", kind="OPTIONS", price="11", entry=MONDAY, exit=MONDAY, exit_price="10"),
            Decimal(-200),
            id="day trade of options",
        ),
        pytest.param(
            Lot(quantity="1", kind="OPTIONS", sales=(Sale(MONDAY, "2", "12"),)),
            100 * Decimal("1.25") + 200 * Decimal("1.75"),
            id="2 of 3 contracts sold",
        ),
        pytest.param(Lot(deleted=MONDAY), Decimal(0), id="deleted on D: no leg"),
        pytest.param(fund(valuations=((FRIDAY, "500"), (MONDAY, "650"))), Decimal(150), id="PRIVATE revalued"),
        pytest.param(fund(valuations=((FRIDAY, "500"),)), Decimal(0), id="PRIVATE unchanged"),
        pytest.param(fund(value="500"), Decimal(0), id="PRIVATE undated: no change"),
        pytest.param(
            fund(quantity="4", price="100", entry=MONDAY, valuations=((MONDAY, "430"),)),
            Decimal(30),
            id="PRIVATE entered: v - q e",
        ),
        pytest.param(
            fund(quantity="4", exit=MONDAY, exit_price="130", valuations=((FRIDAY, "500"),)),
            Decimal(20),
            id="PRIVATE sold: q x - v(D')",
        ),
        pytest.param(
            fund(quantity="3", sales=(Sale(MONDAY, "1", "130"),), valuations=((FRIDAY, "400"), (MONDAY, "330"))),
            Decimal(60),
            id="PRIVATE sold in part: 330 left, 130 got, 400 before",
        ),
        pytest.param(
            fund(quantity="2", price="10", entry=MONDAY, exit=MONDAY, exit_price="12"),
            Decimal(4),
            id="PRIVATE day trade",
        ),
    ],
)
def test_a_leg_makes_what_it_makes_by_hand(lot: Lot, expected: Decimal) -> None:
    """Each kind of leg, in dollars, and none of them counts as missing."""
    assert dollars([lot]) == expected
    assert pnl([lot]).legs_missing.tolist() == [0]


@pytest.mark.parametrize(
    ("lot", "missing", "codes"),
    [
        pytest.param(Lot("BBB"), 1, {Code.NO_PRICE}, id="kept, no close on D"),
        pytest.param(Lot("CCC"), 1, {Code.NO_PREVIOUS_PRICE}, id="kept, no close on D'"),
        pytest.param(Lot("CCC", price="3", entry=MONDAY), 0, set(), id="entered on D needs no close on D'"),
        pytest.param(Lot(price=None, entry=MONDAY), 1, {Code.NO_ENTRY_PRICE}, id="entered on D without entry price"),
        pytest.param(Lot(price=None), 0, {Code.NO_ENTRY_PRICE}, id="kept without entry price: the leg needs none"),
        pytest.param(Lot(exit=MONDAY), 1, {Code.NO_EXIT_PRICE}, id="sold without a price"),
        pytest.param(Lot("BBB", exit=MONDAY, exit_price="5"), 0, set(), id="sold needs no close on D"),
        pytest.param(Lot("CCC", exit=MONDAY, exit_price="5"), 1, {Code.NO_PREVIOUS_PRICE}, id="sold, no close on D'"),
        pytest.param(
            Lot(price=None, entry=MONDAY, exit=MONDAY, exit_price="5"),
            1,
            {Code.NO_ENTRY_PRICE},
            id="day trade without entry price",
        ),
        pytest.param(
            Lot(price="NaN", entry=MONDAY, exit=MONDAY, exit_price="5"),
            1,
            {Code.BAD_ENTRY_PRICE},
            id="day trade with an unreadable entry price",
        ),
        pytest.param(
            Lot("CCC", sales=(Sale(MONDAY, "1", "5"),)),
            2,
            {Code.NO_PREVIOUS_PRICE},
            id="both legs of a partial sale lack D', the position is named once",
        ),
        pytest.param(fund(), 1, {Code.NO_VALUATION}, id="PRIVATE without any value"),
        pytest.param(fund(valuations=((MONDAY, "7"),)), 1, {Code.NO_PREVIOUS_PRICE}, id="PRIVATE first valued on D"),
        pytest.param(fund(valuations=((FRIDAY, "7"),), exit=MONDAY), 1, {Code.NO_EXIT_PRICE}, id="PRIVATE, no price"),
        pytest.param(fund(exit=MONDAY, exit_price="7"), 1, {Code.NO_PREVIOUS_PRICE}, id="PRIVATE sold, never valued"),
        pytest.param(
            fund(price=None, entry=MONDAY, exit=MONDAY, exit_price="7"),
            1,
            {Code.NO_ENTRY_PRICE},
            id="PRIVATE day trade without entry price",
        ),
        pytest.param(
            Lot(kind="OPTIONS", expiry=FRIDAY), 0, {Code.OPTION_EXPIRED}, id="an expired option has no leg to miss"
        ),
        pytest.param(Lot(quantity="NaN"), 0, {Code.BAD_QUANTITY}, id="a quantity that cannot be read has no leg"),
        pytest.param(Lot(kind="STOCK"), 0, {Code.UNKNOWN_CLASS}, id="an unknown class has no leg"),
    ],
)
def test_a_leg_that_cannot_be_computed_is_counted_and_named(lot: Lot, missing: int, codes: set[Code]) -> None:
    """It adds nothing, `pnl_legs_missing` counts it, and one omission says why."""
    found = snapshots(book([lot, Lot("AAA", quantity="0.000000000001", id=99)]), prices(CLOSES))
    assert found.counts["pnl_legs_missing"].tolist() == [missing]
    assert {one.code for one in found.omissions} == codes
    assert len(found.omissions) == len(codes)


def test_a_missing_leg_leaves_the_others_alone() -> None:
    """AAA makes its 12.50 beside a BBB without a close and a sale without a price."""
    lots = [Lot(quantity="10"), Lot("BBB", quantity="1000"), Lot(quantity="50", exit=MONDAY)]
    assert dollars(lots) == Decimal("12.5")
    assert pnl(lots).legs_missing.tolist() == [2]


def test_a_saturdays_sale_counts_on_monday_only() -> None:
    """On Tuesday it is over."""
    lot = Lot(quantity="60", sales=(Sale(SATURDAY, "40", "12"),))
    market = prices({**CLOSES, TUESDAY: {"AAA": "11.5"}})
    units, _ = daily_pnl(book([lot], day=TUESDAY, previous=MONDAY), market).total
    assert units.tolist() == [0]


WEEK = [date(2024, 3, 4) + timedelta(days=n) for n in (0, 1, 2, 3, 4, 7, 8, 9)]
ALL_DAYS = [WEEK[0] + timedelta(days=n) for n in range(1, 10)]
cents = st.integers(1, 10**6).map(lambda n: Decimal(n) / 100)


@st.composite
def traded_lots(draw: st.DrawFn) -> Lot:
    """A listed lot that may be entered, sold in part and sold whole on any day of two weeks, weekend included."""
    sign, kind = draw(st.sampled_from([1, -1])), draw(st.sampled_from(["PUBLIC", "OPTIONS"]))
    entry = draw(st.none() | st.sampled_from(ALL_DAYS))
    exit_ = draw(st.none() | st.sampled_from([day for day in ALL_DAYS if entry is None or day >= entry]))
    sales = draw(st.lists(st.tuples(st.sampled_from(ALL_DAYS), cents, cents), max_size=3))
    lawful = [
        Sale(day, sign * quantity, price)
        for day, quantity, price in sales
        if (entry is None or day >= entry) and (exit_ is None or day <= exit_)
    ]
    quantity = sign * draw(cents)
    return Lot(
        draw(st.sampled_from(["AAA", "BBB"])),
        quantity,
        draw(cents),
        kind,
        entry,
        exit_,
        draw(cents),
        sales=tuple(lawful),
    )


@given(st.lists(traded_lots(), min_size=1, max_size=5), st.lists(cents, min_size=16, max_size=16))
def test_daily_pnl_adds_up_to_the_change_of_value_plus_flows(lots: list[Lot], closes: list[Decimal]) -> None:
    """Over a fully priced listed book: sum of daily P&L = value at the end - at the start - bought + sold.

    Flows are counted here from the lots themselves, in Decimal."""
    market = prices({day: {"AAA": closes[n], "BBB": closes[n + 8]} for n, day in enumerate(WEEK)})
    made = Decimal(0)
    for previous, day in pairwise(WEEK):
        units, scale = daily_pnl(book(lots, day=day, previous=previous), market).total
        made += sum((Decimal(int(one)).scaleb(-scale) for one in units), Decimal(0))
    expected = Decimal(0)
    for lot in lots:
        size = 100 if lot.kind == "OPTIONS" else 1
        column = closes[:8] if lot.symbol == "AAA" else closes[8:]
        sold = sum((Decimal(sale.quantity or 0) for sale in lot.sales), Decimal(0))
        left, whole = Decimal(lot.quantity or 0), Decimal(lot.quantity or 0) + sold
        start = -whole * column[0] if lot.entry is None else -whole * Decimal(lot.price or 0)
        end = left * (column[-1] if lot.exit is None else Decimal(lot.exit_price or 0))
        proceeds = sum((Decimal(sale.quantity or 0) * Decimal(sale.price or 0) for sale in lot.sales), Decimal(0))
        expected += size * (start + proceeds + end)
    assert made == expected


@given(st.lists(traded_lots(), min_size=1, max_size=5), st.sampled_from(range(1, 8)))
def test_shorting_every_lot_flips_the_days_pnl(lots: list[Lot], number: int) -> None:
    """The other side of each trade makes what this one loses."""
    market = prices({day: {"AAA": str(7 + n), "BBB": str(9 - n)} for n, day in enumerate(WEEK)})
    flipped = [
        replace(
            lot,
            quantity=-Decimal(lot.quantity or 0),
            sales=tuple(replace(sale, quantity=-Decimal(sale.quantity or 0)) for sale in lot.sales),
        )
        for lot in lots
    ]
    units, scale = daily_pnl(book(lots, day=WEEK[number], previous=WEEK[number - 1]), market).total
    other, other_scale = daily_pnl(book(flipped, day=WEEK[number], previous=WEEK[number - 1]), market).total
    assert scale == other_scale
    assert units.tolist() == [-one for one in other]
