"""Promises of pairs of series: pandas' pairwise Pearson to nine decimals whatever is missing, each group for itself.

Here: gaps, jumps on days that another series misses, constant series. Not here: windows, universes, figures of a book
(test_correlations.py)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core import pairwise
from refresh_assets.core.money import Floats
from refresh_assets.core.pairwise import Series

DAYS = 61


@pytest.fixture(
    scope="module", params=[None, np.inf, -1], ids=["either way", "rows put right", "whole groups"], autouse=True
)
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Which of the two ways a group takes is a matter of speed alone."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("MANY_INCOMPLETE", "MANY_GAPS"):
            patch.setattr(pairwise, limit, getattr(pairwise, limit) if request.param is None else request.param)
        yield


def noise(symbols: int, days: int = DAYS, seed: int = 0) -> Floats:
    """(days, symbols) returns that have something in common."""
    rng = np.random.default_rng(seed)
    return 0.01 * rng.normal(size=(days, symbols)) @ rng.normal(size=(symbols, symbols)) + 0.001


def pairs(returns: Floats, groups: npt.ArrayLike) -> tuple[Floats, npt.NDArray[np.int16]]:
    """Correlations and common days of groups of as many symbols."""
    symbols = np.array(groups, dtype=np.int32)
    return Series.of(returns, np.unique(symbols)).pairs(symbols, np.triu_indices(symbols.shape[1], 1))


def assert_as_pandas(returns: Floats, atol: float = 1e-9) -> Floats:
    """All symbols as one group: what pandas says, which is given back."""
    size = returns.shape[1]
    upper = np.triu_indices(size, 1)
    frame = pd.DataFrame(returns)
    expected: Floats = frame.corr(min_periods=30).to_numpy()[upper]
    present = frame.notna().to_numpy().astype(int)
    rho, common = pairs(returns, [range(size)])
    np.testing.assert_allclose(rho[0], expected, atol=atol, rtol=0)
    assert common[0].tolist() == (present.T @ present)[upper].tolist()
    return expected


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([], []),
        ([10, 11], []),
        ([10, 11], [10, 11]),
        ([10, 11], [11, 12]),
        ([0], [60]),
        ([10, 11], [20, 21, 22, 40]),
        (range(31), []),
        (range(15), range(46, 61)),
        (range(20), [30]),
    ],
)
def test_gaps_of_one_and_of_two_on_the_same_and_on_other_days(first: list[int], second: list[int]) -> None:
    """Of five series two have gaps: what they have with each other and with the complete ones."""
    returns = noise(5)
    returns[list(first), 1] = np.nan
    returns[list(second), 3] = np.nan
    assert np.isfinite(assert_as_pandas(returns)).all()


@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.1, 0.25, 0.5]), st.integers(30, 140))
def test_many_gaps_over_any_number_of_days(seed: int, share: float, days: int) -> None:
    """Up to pairs with fewer than 30 common days; more than 64 and 128 days, too."""
    returns = noise(7, days, seed)
    returns[np.random.default_rng(seed).random(returns.shape) < share] = np.nan
    assert_as_pandas(returns)


@pytest.mark.parametrize("jump", [0.1, 3.0, 30.0, 1e3, 1e5])
@pytest.mark.parametrize("also", [[], [10], [30, 31]])
def test_a_jump_on_a_day_that_the_other_series_misses(jump: float, also: list[int]) -> None:
    """The jump is nearly all of the first one's variance and none of what both have in common; `also` is missing in it."""
    returns = noise(4)
    returns[20, 0] = jump
    returns[20, 1:3] = np.nan
    returns[also, 0] = np.nan
    expected = assert_as_pandas(returns)
    assert abs(expected[0]) > 0.05  # not lost in the jump


def test_jumps_of_both_on_days_that_the_other_misses() -> None:
    """Two incomplete series, neither of whose own mean or variance says anything of their common days."""
    returns = noise(3)
    returns[20, 0], returns[20, 1] = 50.0, np.nan
    returns[40, 1], returns[40, 0] = -50.0, np.nan
    assert_as_pandas(returns)


@pytest.mark.parametrize("level", [0.0, 0.001, 1 / 3])
def test_a_series_that_only_moves_where_the_other_is_missing_has_no_correlation_with_it(level: float) -> None:
    """It varies, and over the common days it does not; with the third it has a correlation."""
    returns = noise(3)
    returns[:, 0] = level
    returns[20, 0] = 7.0
    returns[20, 1] = np.nan
    rho, common = pairs(returns, [[0, 1, 2]])
    assert np.isnan(rho[0]).tolist() == [True, False, False]
    assert common[0].tolist() == [60, 61, 60]


@pytest.mark.parametrize("days", [0, 1, 29, 30])
def test_thirty_days_are_needed(days: int) -> None:
    """No day at all is a window, too."""
    rho, common = pairs(noise(3, days), [[0, 1, 2]])
    assert np.isnan(rho[0]).tolist() == [days < 30] * 3
    assert common[0].tolist() == [days] * 3


@given(st.integers(0, 2**32), st.sampled_from([0.02, 0.2]), st.integers(2, 8))
def test_a_group_has_the_same_bytes_in_any_batch(seed: int, share: float, size: int) -> None:
    """With jumps, long gaps and constant series among its neighbours, and the table of series wider or narrower."""
    rng = np.random.default_rng(seed)
    returns = noise(12, DAYS, seed)
    returns[rng.random(returns.shape) < share] = np.nan
    returns[rng.integers(DAYS), rng.integers(12, size=3)] = 100.0
    returns[:30, 5] = np.nan
    returns[:, 7] = 0.002
    groups = [np.sort(rng.permutation(12)[:size]).tolist() for _ in range(9)]
    rho, common = pairs(returns, groups)
    for row, group in enumerate(groups):
        alone, days = pairs(returns, [group])
        assert (rho[row].tobytes(), common[row].tobytes()) == (alone.tobytes(), days.tobytes())


@given(st.integers(0, 2**32))
def test_the_order_of_a_pair_does_not_matter(seed: int) -> None:
    """Two incomplete series, one of them with a jump: the same number either way round."""
    returns = noise(2, DAYS, seed)
    returns[[5, 20], 0], returns[[20, 21], 1] = [np.nan, 40.0], np.nan
    rho, _ = pairs(returns, [[0, 1], [1, 0]])
    assert rho[0].tobytes() == rho[1].tobytes()
