"""Promises of inline betas: scikit-learn's Ridge, scipy's OLS, no guess where there is too little data.

Here: fits on random panels, gaps, caps, factors left out, the same bytes in any company, returns of prices and factors. Not
here: which symbols need a beta (store/), exposures (test_factor_exposures.py)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from refresh_assets.core.betas import FittedBetas, fit_betas
from refresh_assets.core.market import Factor, Factors, simple_returns
from refresh_assets.core.money import Floats
from refresh_assets_tests.core.builders import market, weekdays

DAYS = 150


def factor(name: str, joint: bool = False, window: int = 90, minimum: int = 30, proxy: str | None = "X") -> Factor:
    return Factor(name.encode(), name, proxy, None, joint, window, minimum)


SINGLES = [factor("Market"), factor("Spread", window=180, minimum=60)]
JOINTS = [factor(name, joint=True) for name in ("Value", "Growth", "Size")]
ALL = Factors((*SINGLES, *JOINTS))


def ages(days: int = DAYS) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Calendar days from each of the last weekdays to D."""
    every = weekdays(days)
    return np.array([(every[-1] - day).days for day in every])


def panel(seed: int, symbols: int, factors: int = 5, gaps: float = 0.0) -> tuple[Floats, Floats]:
    """(T, K) returns of symbols and (T, F) of correlated factors, some missing."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(DAYS, 1))
    of_factors = 0.01 * (common + rng.normal(size=(DAYS, factors)))
    returns = of_factors @ rng.normal(size=(factors, symbols)) + 0.01 * rng.normal(size=(DAYS, symbols))
    returns[rng.random(returns.shape) < gaps] = np.nan
    of_factors[rng.random(of_factors.shape) < gaps / 4] = np.nan
    return returns, of_factors


def by_scipy(y: Floats, x: Floats, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[float, float, int]:
    both = inside & ~np.isnan(x) & ~np.isnan(y)
    fit = scipy.stats.linregress(x[both], y[both])
    return float(fit.slope), float(fit.rvalue**2), int(both.sum())


def by_sklearn(y: Floats, x: Floats, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> tuple[Floats, float, int]:
    both = inside & ~np.isnan(x).any(axis=1) & ~np.isnan(y)
    scaler = StandardScaler().fit(x[both])
    ridge = Ridge(alpha=1).fit(scaler.transform(x[both]), y[both])
    return ridge.coef_ / scaler.scale_, float(ridge.score(scaler.transform(x[both]), y[both])), int(both.sum())


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.3]))
def test_single_betas_are_scipys_slopes_over_the_factors_own_window(seed: int, gaps: float) -> None:
    """90 and 180 calendar days, pairwise-complete, r squared and days alike."""
    returns, of_factors = panel(seed, 3, gaps=gaps)
    found = fit_betas(returns, of_factors, ages(), ALL)
    for number, one in enumerate(SINGLES):
        for symbol in range(3):
            slope, r_squared, days = by_scipy(returns[:, symbol], of_factors[:, number], ages() <= one.window)
            assert found.observations[symbol, number] == days
            if days >= one.minimum:
                assert found.beta[symbol, number] == pytest.approx(np.clip(slope, -5, 5), rel=1e-9, abs=1e-12)
                assert found.r_squared[symbol, number] == pytest.approx(r_squared, rel=1e-9, abs=1e-12)
            else:
                assert np.isnan(found.beta[symbol, number])


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.3]))
def test_joint_betas_are_scikit_learns_ridge_on_standardised_factors(seed: int, gaps: float) -> None:
    """alpha 1, free intercept, coefficients scaled back, over the days that all of them have."""
    returns, of_factors = panel(seed, 3, gaps=gaps)
    found = fit_betas(returns, of_factors, ages(), ALL)
    assert not found.left_out.any()
    for symbol in range(3):
        inside = ages() <= 90
        days = int((inside & ~np.isnan(of_factors[:, 2:]).any(axis=1) & ~np.isnan(returns[:, symbol])).sum())
        assert found.observations[symbol, 2:].tolist() == [days] * 3
        if days < 30:
            assert np.isnan(found.beta[symbol, 2:]).all()
            continue
        slopes, r_squared, _ = by_sklearn(returns[:, symbol], of_factors[:, 2:], inside)
        np.testing.assert_allclose(found.beta[symbol, 2:], np.clip(slopes, -5, 5), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.r_squared[symbol, 2:], r_squared, rtol=1e-9, atol=1e-12)


def test_a_symbol_that_is_its_factor_twice_has_beta_two() -> None:
    """A textbook line through the origin: slope 2, r squared 1."""
    _, of_factors = panel(1, 1)
    found = fit_betas(2 * of_factors[:, :1], of_factors[:, :1], ages(), Factors((SINGLES[0],)))
    assert found.beta.tolist() == [[pytest.approx(2)]]
    assert found.r_squared.tolist() == [[pytest.approx(1)]]


@pytest.mark.parametrize(("days", "there"), [(29, False), (30, True)])
def test_too_little_data_gives_no_beta_never_zero(days: int, there: bool) -> None:
    """29 common days: nothing, single or joint; what the symbol has is still counted."""
    returns, of_factors = panel(2, 1)
    returns[:-days] = np.nan
    found = fit_betas(returns, of_factors, ages(), ALL)
    assert np.isfinite(found.beta[0]).tolist() == [there, False, there, there, there]
    assert found.observations[0].tolist() == [days] * 5
    assert not found.left_out.any()


def test_a_window_ends_with_its_last_calendar_day() -> None:
    """The return dated exactly D - 90 counts, the one before it does not."""
    returns, of_factors = panel(3, 1)
    inside = ages() <= 90
    assert 90 in ages()
    found = fit_betas(returns, of_factors, ages(), Factors((SINGLES[0],)))
    assert found.observations[0, 0] == inside.sum()
    returns[~inside] = 9
    again = fit_betas(returns, of_factors, ages(), Factors((SINGLES[0],)))
    assert again.beta.tobytes() == found.beta.tobytes()


def test_joint_factors_share_the_longest_window_and_the_largest_minimum() -> None:
    """One regression has one sample: 90 and 40 days, 30 and 20 observations, make 90 and 30."""
    returns, of_factors = panel(4, 1, 2)
    factors = Factors((factor("A", True, 90, 20), factor("B", True, 40, 30)))
    slopes, _, days = by_sklearn(returns[:, 0], of_factors, ages() <= 90)
    found = fit_betas(returns, of_factors, ages(), factors)
    np.testing.assert_allclose(found.beta[0], slopes, rtol=1e-9)
    assert found.observations[0].tolist() == [days, days]
    returns[:-25] = np.nan
    assert np.isnan(fit_betas(returns, of_factors, ages(), factors).beta).all()


@pytest.mark.parametrize("beta", [4.9, 5.1, -7.0])
def test_a_beta_beyond_five_is_capped_and_flagged(beta: float) -> None:
    """The cap keeps its sign, and r squared stays that of the fit."""
    _, of_factors = panel(5, 1)
    rng = np.random.default_rng(5)
    y = beta * of_factors[:, 0] + 0.0001 * rng.normal(size=DAYS)
    found = fit_betas(y[:, None], of_factors[:, :1], ages(), Factors((SINGLES[0],)))
    slope, r_squared, _ = by_scipy(y, of_factors[:, 0], ages() <= 90)
    assert found.beta[0, 0] == pytest.approx(max(-5.0, min(5.0, slope)))
    assert found.capped.tolist() == [[abs(beta) > 5]]
    assert found.r_squared[0, 0] == pytest.approx(r_squared)


@pytest.mark.parametrize("present", [0, 29])
def test_a_joint_factor_without_returns_of_its_own_is_left_out_and_the_others_go_on(present: int) -> None:
    """No proxy, or a proxy of 29 days: named as left out; the rest is the ridge without it."""
    returns, of_factors = panel(6, 2)
    of_factors[: DAYS - present, 3] = np.nan
    found = fit_betas(returns, of_factors, ages(), ALL)
    assert found.left_out.tolist() == [False, False, False, True, False]
    assert np.isnan(found.beta[:, 3]).all()
    slopes, _, _ = by_sklearn(returns[:, 1], of_factors[:, [2, 4]], ages() <= 90)
    np.testing.assert_allclose(found.beta[1, [2, 4]], slopes, rtol=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.0001, 0.001])
def test_a_factor_that_does_not_move_has_no_slope_and_disturbs_no_other(level: float) -> None:
    """What rounding leaves of a constant is no movement: no single beta, and nothing in the joint ones."""
    returns, of_factors = panel(7, 2)
    of_factors[:, 0] = of_factors[:, 3] = (1 + level) ** np.arange(1, DAYS + 1) / (1 + level) ** np.arange(DAYS) - 1
    found = fit_betas(returns, of_factors, ages(), ALL)
    assert np.isnan(found.beta[:, 0]).all()
    slopes, _, _ = by_sklearn(returns[:, 0], of_factors[:, [2, 4]], ages() <= 90)
    np.testing.assert_allclose(found.beta[0, [2, 4]], slopes, rtol=1e-9)
    np.testing.assert_allclose(found.beta[:, 3], 0, atol=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.001])
def test_a_symbol_that_does_not_move_has_beta_zero_and_no_r_squared(level: float) -> None:
    """A suspended stock: nothing to explain, so no share of it that is explained."""
    returns, of_factors = panel(8, 1)
    returns[:, 0] = (1 + level) ** np.arange(1, DAYS + 1) / (1 + level) ** np.arange(DAYS) - 1
    found = fit_betas(returns, of_factors, ages(), ALL)
    np.testing.assert_allclose(found.beta[0], 0, atol=1e-9)
    assert np.isnan(found.r_squared).all()


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.02, 0.2]), st.integers(2, 9))
def test_many_symbols_at_once_have_the_same_bytes_as_one_by_one(seed: int, gaps: float, number: int) -> None:
    """A beta does not depend on which symbols were fitted beside it."""
    returns, of_factors = panel(seed, number, gaps=gaps)
    together = fit_betas(returns, of_factors, ages(), ALL)
    for symbol in range(number):
        alone = fit_betas(returns[:, [symbol]], of_factors, ages(), ALL)
        for name in ("beta", "r_squared", "observations", "capped"):
            assert getattr(together, name)[[symbol]].tobytes() == getattr(alone, name).tobytes()


def test_no_symbol_at_all_gives_no_rows() -> None:
    """Every symbol has its stored betas: nothing to fit, no error."""
    _, of_factors = panel(9, 1)
    found = fit_betas(np.empty((DAYS, 0)), of_factors, ages(), ALL)
    assert found.beta.shape == (0, 5)


def test_no_joint_factor_leaves_the_single_ones() -> None:
    """A set of single factors needs no regression of several."""
    returns, of_factors = panel(10, 2, 2)
    found: FittedBetas = fit_betas(returns, of_factors, ages(), Factors(tuple(SINGLES)))
    assert np.isfinite(found.beta).all()
    assert not found.left_out.any()


def test_a_simple_return_needs_both_its_closes() -> None:
    """110 / 100 - 1; a missing close, or one of 0, loses the returns that start from it or end there."""
    closes = np.array([[100.0], [110.0], [np.nan], [99.0], [0.0], [5.0]])
    found = simple_returns(closes)[:, 0]
    np.testing.assert_allclose(found[:5], [np.nan, 0.1, np.nan, np.nan, -1.0])
    assert np.isnan(found[5])


def returns_of(proxies: Sequence[tuple[str | None, str | None]], symbols: Sequence[str]) -> Floats:
    factors = Factors(tuple(Factor(b"", str(n), p, s, False, 90, 30) for n, (p, s) in enumerate(proxies)))
    closes = np.array([[100.0, 50.0], [110.0, 51.0], [121.0, 51.0]])[:, : len(symbols)]
    return factors.returns(symbols, simple_returns(market(closes, symbols).close))[1:]


def test_a_factors_return_is_its_proxys_less_its_short_proxys() -> None:
    """10 % and 2 %: 8 % for the spread; unknown without a proxy, or where the short proxy is unknown."""
    found = returns_of([("A", None), ("A", "B"), (None, None), ("A", "Z"), ("Z", None)], ["A", "B"])
    np.testing.assert_allclose(found[:, :2], [[0.1, 0.08], [0.1, 0.1]], atol=1e-12)
    assert np.isnan(found[:, 2:]).all()
