"""Promises of stress tests: expected moves of a normal, P&L that adds up and counts nothing twice.

Here: covariance, moves, P&L, cap, and a book of the market itself on real prices. Not here: scenarios (test_scenarios.py),
impacts as a view (test_agreement.py)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.betas import fit_betas
from refresh_assets.core.factor_exposures import exposures
from refresh_assets.core.market import Betas, Factor, Factors, simple_returns
from refresh_assets.core.money import Floats, Ints
from refresh_assets.core.stress import expected_moves, factor_covariance, stress_results
from refresh_assets.core.valuation import value_positions
from refresh_assets.demo.world import FACTORS as DEMO_FACTORS
from refresh_assets.demo.world import close_rows
from refresh_assets_tests.core.builders import Lot, book, market, number_of
from refresh_assets_tests.reference import dev_world

NAN = float("nan")
DEV_FOLDER = Path(__file__).parents[3] / "shared" / "data" / "dev"


def returns(seed: int, days: int = 300, factors: int = 4) -> Floats:
    rng = np.random.default_rng(seed)
    return 0.01 * rng.normal(size=(days, factors)) @ (np.eye(factors) + rng.normal(size=(factors, factors)))


def by_numpy(sample: Floats, age: Floats | Ints) -> Floats:
    return np.atleast_2d(np.cov(sample, rowvar=False, aweights=0.99**age, ddof=0))


@given(st.integers(0, 2**32), st.integers(60, 400))
def test_covariance_is_the_weighted_one_of_the_last_252_days(seed: int, days: int) -> None:
    """Weights 0.99^age about the weighted mean, as numpy's aweights."""
    sample = returns(seed, days)
    covariance, enters = factor_covariance(sample)
    last = sample[-252:]
    np.testing.assert_allclose(covariance, by_numpy(last, np.arange(len(last))[::-1]), rtol=1e-9, atol=1e-15)
    assert enters.all()


def test_a_day_that_one_factor_lacks_is_no_day_and_ages_those_before_it() -> None:
    """252 complete days are taken from further back; the gap counts as age."""
    sample = returns(1, 400)
    gaps = [10, 300, 350, 399]
    sample[gaps, [0, 1, 2, 3]] = NAN
    days = np.array([day for day in range(400) if day not in gaps])[-252:]
    covariance, _ = factor_covariance(sample)
    np.testing.assert_allclose(covariance, by_numpy(sample[days], 399.0 - days), rtol=1e-9)


@pytest.mark.parametrize(("present", "enters"), [(0, False), (29, False), (30, True)])
def test_a_factor_with_too_few_returns_does_not_take_the_others_with_it(present: int, enters: bool) -> None:
    """Below 30 returns it stays out, NaN, and the others keep their 252 days."""
    sample = returns(2)
    sample[: 300 - present, 1] = NAN
    covariance, found = factor_covariance(sample)
    assert found.tolist() == [True, enters, True, True]
    assert np.isnan(covariance[1]).all() == (not enters)
    if not enters:
        rest = [0, 2, 3]
        expected = by_numpy(sample[-252:][:, rest], np.arange(252)[::-1])
        np.testing.assert_allclose(covariance[np.ix_(rest, rest)], expected, rtol=1e-9)


def test_without_any_history_there_is_no_covariance() -> None:
    """One day, or none: unknown, no error."""
    for days in (0, 1):
        covariance, enters = factor_covariance(returns(3, days))
        assert np.isnan(covariance).all()
        assert not enters.any()


@given(st.integers(0, 2**32), st.sets(st.integers(0, 3), min_size=1, max_size=4))
def test_expected_moves_are_the_conditional_mean_of_a_normal(seed: int, shocked: set[int]) -> None:
    """Against the regression of the others on the shocked ones: E[f | f_S = s] is its prediction."""
    covariance, _ = factor_covariance(returns(seed))
    shocks = np.full((1, 4), NAN)
    chosen = sorted(shocked)
    shocks[0, chosen] = np.random.default_rng(seed + 1).uniform(-0.3, 0.3, len(chosen))
    moves = expected_moves(covariance, shocks)[0]
    others = [n for n in range(4) if n not in shocked]
    np.testing.assert_array_equal(moves[chosen], shocks[0, chosen])
    slopes = np.linalg.solve(covariance[np.ix_(chosen, chosen)], covariance[np.ix_(chosen, others)])
    np.testing.assert_allclose(moves[others], shocks[0, chosen] @ slopes, rtol=1e-6, atol=1e-9)


def test_a_factor_and_its_double_do_not_break_the_moves() -> None:
    """A singular block has a pseudo-inverse: shocking a factor and its exact double moves the rest as one shock does."""
    sample = returns(4, factors=3)
    sample = np.column_stack([sample, 2 * sample[:, 0]])
    covariance, _ = factor_covariance(sample)
    one, both = expected_moves(covariance, np.array([[-0.1, NAN, NAN, NAN], [-0.1, NAN, NAN, -0.2]]))
    np.testing.assert_allclose(one, both, rtol=1e-6)
    assert one[3] == pytest.approx(-0.2)


def test_a_factor_without_covariance_moves_only_when_it_is_told_to() -> None:
    """Unshocked it is unknown; shocked it moves as told, and moves nothing along."""
    sample = returns(5)
    sample[:, 0] = NAN
    covariance, _ = factor_covariance(sample)
    moves = expected_moves(covariance, np.array([[NAN, -0.1, NAN, NAN], [0.2, NAN, NAN, NAN]]))
    assert np.isnan(moves[0]).tolist() == [True, False, False, False]
    assert moves[1, 0] == 0.2
    assert np.isnan(moves[1, 1:]).all()


DOLLAR = np.array([[1000.0, -500.0, 200.0], [NAN, 300.0, NAN], [NAN, NAN, NAN]])
GROSS = np.array([2000.0, 300.0, 50.0])
SHOCKS = np.array([[-0.1, NAN, NAN], [NAN, 0.2, 0.1]])
MOVES = np.array([[-0.1, -0.05, 0.02], [0.07, 0.2, 0.1]])
JOINT = np.array([False, True, True])


def test_pnl_by_hand_only_joint_factors_move_along() -> None:
    """Direct: exposure x shock; correlated: joint exposures x moves, never the single one's a second time."""
    found = stress_results(DOLLAR, GROSS, SHOCKS, MOVES, JOINT)
    np.testing.assert_allclose(found.direct, [[-100.0, -100.0 + 20], [NAN, 60.0], [NAN, NAN]])
    np.testing.assert_allclose(found.correlated, [[25.0 + 4, -100.0 + 20], [-15.0, 60.0], [NAN, NAN]])
    np.testing.assert_allclose(found.effect, [[129.0, 0.0], [NAN, 0.0], [NAN, NAN]])
    assert not found.capped.any()


def test_a_scenario_that_meets_no_exposure_is_unknown_not_zero() -> None:
    """Every shock on factors that nobody has a beta to: null in both."""
    found = stress_results(
        np.array([[NAN, 10.0]]), np.array([5.0]), np.array([[-0.1, NAN]]), np.array([[-0.1, NAN]]), JOINT[:2]
    )
    assert np.isnan(found.direct).all()
    assert np.isnan(found.correlated).all()


@pytest.mark.parametrize(
    ("dollar", "direct", "capped"),
    [(9.8, -98.0, False), (9.9, -99.0, False), (9.91, -99.0, True), (-30.0, 300.0, False)],
)
def test_a_loss_is_held_at_99_percent_of_gross_a_gain_is_not(dollar: float, direct: float, capped: bool) -> None:
    """Gross 100, a shock of -10: losses beyond 99 are cut and flagged."""
    found = stress_results(
        np.array([[dollar, 0.0]]), np.array([100.0]), np.array([[-10.0, NAN]]), np.array([[-10.0, 0.0]]), JOINT[:2]
    )
    assert found.direct.tolist() == [[pytest.approx(direct)]]
    assert found.capped.tolist() == [[capped]]


def test_a_correlated_loss_is_capped_and_flagged_as_well() -> None:
    """The direct figure is within the cap, the correlated one is not."""
    found = stress_results(
        np.array([[1.0, 900.0]]), np.array([100.0]), np.array([[-0.1, NAN]]), np.array([[-0.1, -0.2]]), JOINT[:2]
    )
    assert found.direct.tolist() == [[pytest.approx(-0.1)]]
    assert found.correlated.tolist() == [[pytest.approx(-99)]]
    assert found.capped.tolist() == [[True]]


exposure_tables = st.lists(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=6)


@given(exposure_tables)
def test_shorting_flips_every_result_while_nothing_is_capped(table: list[list[float | None]]) -> None:
    """What one side loses the other makes."""
    dollar = np.array([[NAN if one is None else one for one in row] for row in table])
    gross = np.full(len(table), 1e9)
    here = stress_results(dollar, gross, SHOCKS, MOVES, JOINT)
    there = stress_results(-dollar, gross, SHOCKS, MOVES, JOINT)
    np.testing.assert_array_equal(here.direct, -there.direct)
    np.testing.assert_array_equal(here.correlated, -there.correlated)


@given(exposure_tables)
def test_many_portfolios_at_once_have_the_same_bytes_as_one_by_one(table: list[list[float | None]]) -> None:
    """A row does not depend on which portfolios were computed beside it."""
    dollar = np.array([[NAN if one is None else one for one in row] for row in table])
    gross = np.abs(np.nan_to_num(dollar)).sum(axis=1)
    together = stress_results(dollar, gross, SHOCKS, MOVES, JOINT)
    for row in range(len(table)):
        alone = stress_results(dollar[[row]], gross[[row]], SHOCKS, MOVES, JOINT)
        assert together.direct[[row]].tobytes() == alone.direct.tobytes()
        assert together.correlated[[row]].tobytes() == alone.correlated.tobytes()


def demo_closes() -> pd.DataFrame:
    rows = [(day, symbol, float(close)) for symbol, day, close in close_rows(to=date(2020, 2, 18))]
    return pd.DataFrame(rows, columns=["date", "symbol", "close"]).pivot(index="date", columns="symbol", values="close")


def dev_closes() -> pd.DataFrame:
    rows = pd.read_parquet(DEV_FOLDER / "prices.parquet")
    return rows.pivot(index="date", columns="symbol", values="close")


def factors_of(rows: list[tuple[str, str, str | None, bool, int, int]]) -> Factors:
    return Factors(tuple(Factor(b"", *row) for row in rows))


DEMO = factors_of([(name, proxy, None, estimation == "joint", 90, 30) for name, _, proxy, estimation in DEMO_FACTORS])
DEFAULT = factors_of(
    [
        (name, proxy, short, how == "joint", days, least)
        for name, _, proxy, short, how, days, least in dev_world.DEFAULT_FACTORS
    ]
)
WORLDS = [pytest.param(demo_closes, DEMO, "SP500", id="demo")]
if DEV_FOLDER.exists():
    WORLDS.append(pytest.param(dev_closes, DEFAULT, "SPY", id="dev"))


@pytest.mark.parametrize(("closes", "factors", "symbol"), WORLDS)
def test_a_book_of_the_market_alone_loses_what_the_market_loses(
    closes: Callable[[], pd.DataFrame], factors: Factors, symbol: str
) -> None:
    """Market -10 % on real prices: 10 % in the direct figure, close to 10 % in the correlated one."""
    symbols = sorted({*factors.proxies(), symbol})
    prices = market(closes()[symbols].to_numpy(dtype=np.float64, copy=True)[-380:], symbols)
    day, previous = (date.fromordinal(719163 + int(number)) for number in prices.days[[-1, -2]])
    held = book([Lot(symbol, Decimal(1000))], symbols, day, previous)
    found = factors.returns(symbols, simple_returns(prices.close))
    ages = (number_of(day) - prices.days).astype(np.int64)
    betas = fit_betas(simple_returns(prices.close), found, ages, factors)
    exposure = exposures(held, value_positions(held, prices), Betas(betas.beta))
    shocks = np.full((1, len(factors)), NAN)
    shocks[0, factors.names.index("Market")] = -0.10
    moves = expected_moves(factor_covariance(found)[0], shocks)
    result = stress_results(exposure.dollar, exposure.gross, shocks, moves, factors.is_joint)
    assert result.direct[0, 0] / exposure.gross[0] == pytest.approx(-0.10, abs=1e-9)
    assert result.correlated[0, 0] / exposure.gross[0] == pytest.approx(-0.10, abs=0.01)
