"""Promises of factor exposures: sums of value times beta, what is unknown said to be unknown.

Here: dollars, fraction, coverage by hand. Not here: betas (test_betas.py), shocks (test_stress.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.factor_exposures import Exposures, exposures
from refresh_assets.core.market import Betas
from refresh_assets.core.money import Floats
from refresh_assets.core.valuation import value_positions
from refresh_assets.errors import ExceptionCode
from refresh_assets_tests.core.builders import FRIDAY, MONDAY, TUESDAY, Lot, Owner, book, prices

SYMBOLS = ["AAA", "BBB", "CCC", "DDD"]
CLOSES = {FRIDAY: dict.fromkeys(SYMBOLS, "10"), MONDAY: {"AAA": "10", "BBB": "20", "CCC": "5"}}
NAN = float("nan")
BETAS = np.array([[1.0, 0.5, NAN], [2.0, NAN, NAN], [-1.0, 3.0, NAN], [9.0, 9.0, NAN]])
"""AAA and CCC have betas to two factors, BBB to one, nobody to the third; DDD has no close on D."""


def run(lots: Sequence[Lot], betas: Floats = BETAS, owners: int = 0) -> Exposures:
    found = book(lots, SYMBOLS, owners=[Owner()] * owners or None)
    return exposures(found, value_positions(found, prices(CLOSES, SYMBOLS)), Betas(betas))


def test_exposures_of_a_long_short_book_by_hand() -> None:
    """1000 of AAA, -400 of BBB, two lots of CCC worth 100: dollars, fractions of 1500, coverage."""
    lots = [Lot("AAA", "100"), Lot("BBB", "-20"), Lot("CCC", "15"), Lot("CCC", "5"), Lot("DDD", "7")]
    found = run(lots)
    assert found.gross.tolist() == [1500]
    np.testing.assert_allclose(found.dollar, [[1000 - 800 - 100, 500 + 300, NAN]])
    np.testing.assert_allclose(found.value, [[100 / 1500, 800 / 1500, NAN]])
    np.testing.assert_allclose(found.coverage, [[1, 1100 / 1500, 0]])


def test_private_and_options_carry_no_beta() -> None:
    """Neither their value nor their symbol's beta enters, not even the divisor."""
    extra = [Lot("BBB", "3", kind="OPTIONS"), Lot("FUND", kind="PRIVATE", value="1000000")]
    assert run([Lot("AAA"), *extra]).dollar.tobytes() == run([Lot("AAA")]).dollar.tobytes()
    assert run([Lot("AAA"), *extra]).gross.tolist() == [100]


@pytest.mark.parametrize(
    "lots",
    [
        pytest.param([Lot("FUND", kind="PRIVATE", value="5")], id="PRIVATE only"),
        pytest.param([Lot("AAA", kind="OPTIONS")], id="options only"),
        pytest.param([Lot("DDD")], id="no close on D"),
        pytest.param([Lot("AAA", exit=MONDAY)], id="sold on D"),
    ],
)
def test_a_book_without_public_value_has_no_rows_and_is_named(lots: list[Lot]) -> None:
    """The portfolio beside it has its rows."""
    found = run([*lots, Lot("AAA", portfolio=1)])
    assert [int.from_bytes(one.tobytes(), "big") for one in found.portfolio_id] == [1001]
    assert [one.code for one in found.omissions] == [ExceptionCode.NO_PUBLIC_VALUE]


def test_a_book_without_any_beta_has_unknown_exposures_not_zero() -> None:
    """Null, coverage 0, one row a factor."""
    found = run([Lot("AAA")], np.full((4, 3), NAN))
    assert np.isnan(found.dollar).all()
    assert np.isnan(found.value).all()
    assert found.coverage.tolist() == [[0, 0, 0]]


def test_a_beta_of_zero_is_known() -> None:
    """Zero dollars, full coverage."""
    found = run([Lot("AAA")], np.zeros((4, 3)))
    assert found.dollar.tolist() == [[0, 0, 0]]
    assert found.coverage.tolist() == [[1, 1, 1]]


def test_lots_that_net_to_nothing_still_have_gross_exposure() -> None:
    """+100 and -100 of AAA: no dollars of exposure, 200 of gross, full coverage."""
    found = run([Lot("AAA", "10"), Lot("AAA", "-10")])
    assert found.gross.tolist() == [200]
    assert found.dollar[0, :2].tolist() == [0, 0]
    assert found.coverage[0, :2].tolist() == [1, 1]


def test_a_book_worth_nothing_has_rows_and_no_fraction() -> None:
    """A close of 0 is a value of 0: exposure 0, as a fraction of nothing it is undefined."""
    found = book([Lot("AAA")], SYMBOLS)
    worthless = prices({FRIDAY: {"AAA": "1"}, MONDAY: {"AAA": "0"}}, SYMBOLS)
    result = exposures(found, value_positions(found, worthless), Betas(BETAS))
    assert result.dollar[0, 0] == 0
    assert np.isnan(result.value[0, 0])
    assert result.coverage.tolist() == [[0, 0, 0]]


betas = st.lists(st.none() | st.floats(-5, 5), min_size=12, max_size=12).map(
    lambda flat: np.array([NAN if one is None else one for one in flat]).reshape(4, 3)
)
lots = st.lists(
    st.builds(
        Lot,
        st.sampled_from(SYMBOLS),
        st.integers(-1000, 1000).filter(bool).map(lambda n: Decimal(n) / 8),
        kind=st.sampled_from(["PUBLIC", "PUBLIC", "OPTIONS"]),
        exit=st.sampled_from([None, None, MONDAY, TUESDAY]),
        portfolio=st.integers(0, 3),
    ),
    min_size=1,
    max_size=12,
).map(lambda some: [replace(lot, id=number) for number, lot in enumerate(some)])


@given(lots, betas)
def test_shorting_the_whole_book_flips_every_exposure(some: list[Lot], beta: Floats) -> None:
    """Dollars and fractions change sign, gross and coverage stay."""
    here, there = run(some, beta), run([replace(lot, quantity=-Decimal(lot.quantity or 0)) for lot in some], beta)
    np.testing.assert_array_equal(here.dollar, -there.dollar)
    np.testing.assert_array_equal(here.value, -there.value)
    np.testing.assert_array_equal(here.gross, there.gross)
    np.testing.assert_array_equal(here.coverage, there.coverage)


@given(lots, betas)
def test_exposures_equal_plain_sums(some: list[Lot], beta: Floats) -> None:
    """A loop over lots says the same; coverage lies between 0 and 1."""
    found = run(some, beta, owners=4)
    for row, owner in enumerate(found.portfolio_id):
        mine = [lot for lot in some if 1000 + lot.portfolio == int.from_bytes(owner.tobytes(), "big")]
        held = [lot for lot in mine if lot.kind == "PUBLIC" and lot.exit != MONDAY and lot.symbol != "DDD"]
        values = [(float(lot.quantity or 0) * float(CLOSES[MONDAY][str(lot.symbol)]), str(lot.symbol)) for lot in held]
        gross = sum(abs(value) for value, _ in values)
        assert found.gross[row] == pytest.approx(gross)
        for column in range(3):
            known = [(v, beta[SYMBOLS.index(s), column]) for v, s in values]
            known = [(v, b) for v, b in known if not np.isnan(b)]
            expected = sum(v * b for v, b in known) if known else NAN
            assert found.dollar[row, column] == pytest.approx(expected, rel=1e-9, abs=1e-9 * gross, nan_ok=True)
            assert found.coverage[row, column] == pytest.approx(sum(abs(v) for v, _ in known) / gross)
            assert 0 <= found.coverage[row, column] <= 1


@given(lots, betas)
def test_many_portfolios_at_once_have_the_same_bytes_as_one_by_one(some: list[Lot], beta: Floats) -> None:
    """A row does not depend on which portfolios were computed beside it."""
    together = run(some, beta, owners=4)
    alone = [run([lot for lot in some if lot.portfolio == owner], beta, owners=4) for owner in range(4)]
    for name in ("dollar", "value", "gross", "coverage"):
        assert getattr(together, name).tobytes() == b"".join(getattr(one, name).tobytes() for one in alone)
