"""Promises of what is held, sold and entered as of a day: spec section 3, rule by rule.

Here: Ledger to Book, hand-made cases. Not here: that nothing later matters (test_look_ahead.py), the date in New York of a
deletion (test_agreement.py: SQL reads it), worth (test_snapshots.py)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple

import numpy as np
import pytest

from refresh_assets.core.book import PRIVATE, Book, as_of
from refresh_assets_tests.core.builders import (
    FRIDAY,
    MONDAY,
    SATURDAY,
    TUESDAY,
    Lot,
    Number,
    Owner,
    Sale,
    book,
    ledger,
    number_of,
)

THURSDAY, LONG_AGO, LATER = date(2024, 3, 7), date(2020, 1, 2), date(2024, 6, 3)
ANCHOR = Lot("BBB", id=99)
"""Held on every day, so that the portfolio is due whatever the lot under test does."""


class Seen(NamedTuple):
    """What the Book of MONDAY says of one lot."""

    held: bool
    held_before: bool
    entered: bool
    quantity: Decimal
    sold: list[tuple[Decimal, Decimal | None]]


NOTHING = Seen(False, False, False, Decimal(0), [])


def seen(lot: Lot, owner: Owner | None = None) -> Seen:
    found = book([lot, ANCHOR], owners=[owner or Owner()])
    rows = np.flatnonzero(found.symbol == 0).tolist()
    if not rows:
        return NOTHING
    (row,) = rows
    quantities = _decimals(found.quantity.to_integers(), found.quantity.scale)
    return Seen(
        bool(found.held[row]),
        bool(found.held_before[row]),
        bool(found.entered[row]),
        quantities[row],
        _sold(found, row),
    )


def _sold(found: Book, row: int) -> list[tuple[Decimal, Decimal | None]]:
    sales = found.sales
    quantities = _decimals(sales.quantity.to_integers(), sales.quantity.scale)
    prices = _decimals(sales.price.exact.to_integers(), sales.price.exact.scale)
    legs = [(quantities[leg], prices[leg] if sales.price.ok[leg] else None) for leg in range(len(quantities))]
    return [leg for at, leg in zip(sales.position, legs, strict=True) if at == row]


def _decimals(units: np.ndarray[tuple[int], np.dtype[np.object_]], scale: int) -> list[Decimal]:
    return [Decimal(int(unit)).scaleb(-scale) for unit in units]


@pytest.mark.parametrize(
    ("lot", "expected"),
    [
        pytest.param(Lot(), Seen(True, True, False, Decimal(10), []), id="no entry date: always"),
        pytest.param(Lot(entry=MONDAY), Seen(True, False, True, Decimal(10), []), id="entered on D"),
        pytest.param(Lot(entry=TUESDAY), NOTHING, id="entered the day after"),
        pytest.param(Lot(entry=FRIDAY), Seen(True, True, False, Decimal(10), []), id="entered on D'"),
        pytest.param(Lot(entry=SATURDAY), Seen(True, False, True, Decimal(10), []), id="entered on a Saturday"),
        pytest.param(
            Lot(entry=FRIDAY, exit=TUESDAY), Seen(True, True, False, Decimal(10), []), id="exit the day after: held"
        ),
        pytest.param(
            Lot(entry=FRIDAY, exit=MONDAY, exit_price="3"),
            Seen(False, True, False, Decimal(0), [(Decimal(10), Decimal(3))]),
            id="exit on D: sold",
        ),
        pytest.param(
            Lot(exit=SATURDAY, exit_price="3"),
            Seen(False, True, False, Decimal(0), [(Decimal(10), Decimal(3))]),
            id="sold on a Saturday: counts on Monday",
        ),
        pytest.param(Lot(exit=FRIDAY, exit_price="3"), NOTHING, id="sold on D': over"),
        pytest.param(
            Lot(entry=MONDAY, exit=MONDAY, exit_price="3"),
            Seen(False, False, True, Decimal(0), [(Decimal(10), Decimal(3))]),
            id="entered and sold on D",
        ),
        pytest.param(
            Lot(entry=SATURDAY, exit=MONDAY, exit_price="3"),
            Seen(False, False, True, Decimal(0), [(Decimal(10), Decimal(3))]),
            id="entered on Saturday, sold on D",
        ),
        pytest.param(
            Lot(exit=MONDAY), Seen(False, True, False, Decimal(0), [(Decimal(10), None)]), id="sold without a price"
        ),
        pytest.param(Lot(deleted=MONDAY), Seen(False, True, False, Decimal(0), []), id="deleted on D: not sold, gone"),
        pytest.param(Lot(deleted=FRIDAY), NOTHING, id="deleted before"),
        pytest.param(Lot(deleted=TUESDAY), Seen(True, True, False, Decimal(10), []), id="deleted the day after"),
        pytest.param(
            Lot(deleted=MONDAY, sales=(Sale(MONDAY, "4", "2"),)),
            Seen(False, True, False, Decimal(0), []),
            id="deleted and sold in part on D: its sale is gone with it",
        ),
        pytest.param(Lot(deleted=MONDAY, exit=MONDAY), Seen(False, True, False, Decimal(0), []), id="deleted and sold"),
        pytest.param(Lot(quantity="0"), NOTHING, id="quantity 0"),
        pytest.param(
            Lot(quantity="-0.000000000001"),
            Seen(True, True, False, Decimal("-0.000000000001"), []),
            id="the smallest short",
        ),
        pytest.param(
            Lot(quantity="7", sales=(Sale(MONDAY, "3", "2"),)),
            Seen(True, True, False, Decimal(7), [(Decimal(3), Decimal(2))]),
            id="3 of 10 sold on D",
        ),
        pytest.param(
            Lot(quantity="7", sales=(Sale(TUESDAY, "3", "2"),)),
            Seen(True, True, False, Decimal(10), []),
            id="3 of 10 sold the day after: 10 on D",
        ),
        pytest.param(
            Lot(quantity="7", sales=(Sale(FRIDAY, "3", "2"),)),
            Seen(True, True, False, Decimal(7), []),
            id="3 of 10 sold on D': 7 on D",
        ),
        pytest.param(
            Lot(quantity="7", sales=(Sale(SATURDAY, "3", "2"),)),
            Seen(True, True, False, Decimal(7), [(Decimal(3), Decimal(2))]),
            id="3 of 10 sold on a Saturday",
        ),
        pytest.param(
            Lot(quantity="0", sales=(Sale(MONDAY, "4", "2"), Sale(TUESDAY, "6", "3"))),
            Seen(True, True, False, Decimal(6), [(Decimal(4), Decimal(2))]),
            id="all sold by the day after, quantity 0 today",
        ),
        pytest.param(
            Lot(quantity="0", sales=(Sale(MONDAY, "10", "2"),)),
            Seen(False, True, False, Decimal(0), [(Decimal(10), Decimal(2))]),
            id="all sold on D by an event",
        ),
        pytest.param(
            Lot(quantity="0", exit=MONDAY, exit_price="9", sales=(Sale(MONDAY, "10", "2"),)),
            Seen(False, True, False, Decimal(0), [(Decimal(10), Decimal(2))]),
            id="event and exit date name one sale: counted once, at the event's price",
        ),
        pytest.param(
            Lot(quantity="6", exit=MONDAY, exit_price="9", sales=(Sale(MONDAY, "4", "2"),)),
            Seen(False, True, False, Decimal(0), [(Decimal(4), Decimal(2)), (Decimal(6), Decimal(9))]),
            id="4 by an event, the rest at the exit price",
        ),
        pytest.param(
            Lot(quantity="-6", sales=(Sale(MONDAY, "-4", "2"),)),
            Seen(True, True, False, Decimal(-6), [(Decimal(-4), Decimal(2))]),
            id="part of a short bought back",
        ),
        pytest.param(
            Lot(quantity="6", exit=SATURDAY, exit_price="9", sales=(Sale(MONDAY, "4", "2"),)),
            Seen(False, True, False, Decimal(0), [(Decimal(10), Decimal(9))]),
            id="an event after the exit sells nothing once more",
        ),
        pytest.param(
            Lot(quantity="6", exit=THURSDAY, exit_price="9", sales=(Sale(MONDAY, "4", "2"),)),
            NOTHING,
            id="an event long after the exit is no sale of D",
        ),
        pytest.param(
            Lot(quantity="6", sales=(Sale(MONDAY, "NaN", "2"), Sale(TUESDAY, "NaN", "2"))),
            Seen(True, True, False, Decimal(6), []),
            id="events that cannot be read change nothing",
        ),
        pytest.param(
            Lot(quantity="6", sales=(Sale(MONDAY, "4", None),)),
            Seen(True, True, False, Decimal(6), [(Decimal(4), None)]),
            id="a sale without a price is still a sale",
        ),
    ],
)
def test_what_a_lot_is_on_monday(lot: Lot, expected: Seen) -> None:
    """Held on D, held on D', entered since, quantity and sales follow the spec's rule for each case."""
    assert seen(lot) == expected


@pytest.mark.parametrize(
    ("owner", "exists"),
    [
        pytest.param(Owner(start=MONDAY), True, id="begins on D"),
        pytest.param(Owner(start=TUESDAY), False, id="begins the day after"),
        pytest.param(Owner(deleted=MONDAY), False, id="deleted on D"),
        pytest.param(Owner(deleted=TUESDAY), True, id="deleted the day after"),
    ],
)
def test_a_portfolio_exists_from_its_start_until_it_is_deleted(owner: Owner, exists: bool) -> None:
    """A deletion counts from its date, a portfolio from its first day on, both included."""
    assert book([Lot()], owners=[owner]).size == (1 if exists else 0)


def test_a_portfolio_that_holds_and_sold_nothing_is_not_in_the_book() -> None:
    """Empty, not yet entered, long gone: no row; sold its last on D: a row."""
    lots = [
        Lot(portfolio=1, entry=TUESDAY),
        Lot(portfolio=2, exit=FRIDAY),
        Lot(portfolio=3, exit=MONDAY),
        Lot(portfolio=4, quantity="0", sales=(Sale(SATURDAY, "5", "1"),)),
        Lot(portfolio=5),
    ]
    found = book(lots, owners=[Owner()] * 6)
    assert [int.from_bytes(one.tobytes(), "big") - 1000 for one in found.portfolio_id] == [3, 4, 5]
    assert found.starts.tolist() == [0, 1, 2]
    assert found.portfolio.tolist() == [0, 1, 2]


def test_a_position_deleted_on_the_day_does_not_make_its_portfolio_due() -> None:
    """It was held on D', but neither held nor sold on D."""
    assert book([Lot(deleted=MONDAY)]).size == 0


@pytest.mark.parametrize("quantity", [None, "NaN", "Infinity"])
def test_a_quantity_that_cannot_be_read_is_held_not_lost(quantity: Number) -> None:
    """It is counted and can be named; its quantity is 0 in every sum."""
    found = book([Lot(quantity=quantity)])
    assert found.held.tolist() == [True]
    assert found.quantity.to_integers().tolist() == [0]
    assert found.quantity_state[0] != 0


def test_an_exit_before_the_entry_is_never_held_and_is_named() -> None:
    """The row is kept only to say what is wrong with it."""
    found = book([Lot(entry=FRIDAY, exit=THURSDAY, exit_price="3"), ANCHOR])
    assert found.wrong_dates.tolist() == [True, False]
    assert found.held.tolist() == [False, True]
    assert len(found.sales.position) == 0


@pytest.mark.parametrize(
    ("valuations", "value", "expected", "undated"),
    [
        (((FRIDAY, "5"), (MONDAY, "7")), None, "7", False),
        (((FRIDAY, "5"), (TUESDAY, "7")), None, "5", False),
        (((SATURDAY, "6"),), None, "6", False),
        (((LONG_AGO, "4"), (MONDAY, "NaN")), "9", "4", False),
        (((TUESDAY, "7"),), "9", "9", True),
        ((), "9", "9", True),
        ((), None, None, False),
        ((), "NaN", None, False),
        (((FRIDAY, "-5"),), "9", "-5", False),
    ],
)
def test_a_private_value_is_the_latest_dated_one_and_else_the_undated(
    valuations: tuple[tuple[date, Number], ...], value: Number, expected: str | None, undated: bool
) -> None:
    """Dated after D: not yet there. Unreadable: as if it were not there."""
    found = book([Lot("FUND", kind="PRIVATE", valuations=valuations, value=value)])
    assert found.kind.tolist() == [PRIVATE]
    assert found.value.ok.tolist() == [expected is not None]
    if expected is not None:
        assert _decimals(found.value.exact.to_integers(), found.value.exact.scale) == [Decimal(expected)]
    assert found.undated.tolist() == [undated]


def test_valuations_of_one_position_are_never_taken_for_its_neighbours() -> None:
    """Three PRIVATE positions: one without, one with, one undated."""
    lots = [
        Lot("F", kind="PRIVATE"),
        Lot("G", kind="PRIVATE", valuations=((FRIDAY, "5"), (MONDAY, "6"))),
        Lot("H", kind="PRIVATE", value="8"),
    ]
    found = book(lots)
    assert found.value.ok.tolist() == [False, True, True]
    assert _decimals(found.value.exact.to_integers(), found.value.exact.scale) == [0, 6, 8]
    assert found.previous_value.ok.tolist() == [False, True, True]
    assert _decimals(found.previous_value.exact.to_integers(), found.previous_value.exact.scale) == [0, 5, 8]


def test_a_bad_event_or_valuation_is_known_to_the_book() -> None:
    """What was left out can be named, on the days that it concerns."""
    bad_sale = Lot(sales=(Sale(MONDAY, "NaN", "1"),))
    bad_value = Lot("F", kind="PRIVATE", value="1", valuations=((FRIDAY, "NaN"),))
    later = Lot("B", sales=(Sale(LATER, "NaN", "1"),), valuations=((LATER, "NaN"),))
    found = book([bad_sale, bad_value, later])
    assert found.bad_events.tolist() == [0]
    assert found.bad_valuations.tolist() == [1]


def test_a_bad_valuation_is_settled_by_a_later_usable_one_from_the_day_after_it() -> None:
    """Older rows that a range of days brings along change nothing: one day alone does not even read them."""
    settled = Lot("F", kind="PRIVATE", valuations=((THURSDAY, "NaN"), (FRIDAY, "5")))
    same_day = Lot("G", kind="PRIVATE", valuations=((FRIDAY, "NaN"), (MONDAY, "5")))
    earlier = Lot("H", kind="PRIVATE", valuations=((THURSDAY, "5"), (FRIDAY, "NaN")))
    assert book([settled, same_day, earlier]).bad_valuations.tolist() == [1, 2]


def test_only_the_wanted_portfolios_are_in_the_book() -> None:
    """The mask of `only` leaves the others out and changes nothing of those that stay."""
    lots = [Lot(portfolio=0), Lot("BBB", quantity="3", portfolio=1), Lot(portfolio=2)]
    whole = ledger(lots, ["AAA", "BBB"])
    found = as_of(whole, number_of(MONDAY), number_of(FRIDAY), only=np.array([False, True, False]))
    assert found.size == 1
    assert found.symbol.tolist() == [1]
    assert _decimals(found.quantity.to_integers(), found.quantity.scale) == [3]
