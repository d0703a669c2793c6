"""Betas of symbols that the symbol batch left out, from daily returns.

Here: OLS slopes on single factors, ridge on the joint ones, both over all symbols at once. Not here: which symbols lack a
beta (store/read.py), what a book's exposure is (factor_exposures.py).

Source: spec section 7. The joint fit is scikit-learn's Ridge(alpha=1) after StandardScaler, per symbol; here symbols with
the same days share one factorisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refresh_assets.core.market import Factors
from refresh_assets.core.money import Bools, Floats, Ints

RIDGE_ALPHA = 1.0
BETA_CAP = 5.0
CONSTANT = 1e-9
"""Returns whose standard deviation is below this fraction of their mean are constant: what is left is rounding."""


@dataclass(frozen=True)
class FittedBetas:
    """Betas of K symbols to F factors.

    Attributes:
        beta: (K, F) return per unit of factor return, within +-5; NaN where there is too little data.
        r_squared: (K, F) of the fit, before the cap.
        observations: (K, F) common days.
        capped: (K, F) the slope was beyond +-5.
        left_out: (F,) joint factors without a proxy or with too few returns of their own.
    """

    beta: Floats
    r_squared: Floats
    observations: Ints
    capped: Bools
    left_out: Bools


def fit_betas(returns: Floats, factor_returns: Floats, ages: Ints, factors: Factors) -> FittedBetas:
    """Betas on D.

    Args:
        returns: (T, K) simple returns of symbols, NaN where missing.
        factor_returns: (T, F) of factors.
        ages: (T,) calendar days from each return's day to D, 0 for D: a factor's window is its ages up to `window`.
        factors: F definitions.
    """
    shape = (returns.shape[1], len(factors))
    beta, r_squared = np.full(shape, np.nan), np.full(shape, np.nan)
    observations = np.zeros(shape, dtype=np.int64)
    for number, factor in enumerate(factors):
        if factor.is_joint:
            continue
        inside = ages <= factor.window
        fit = _slopes(returns[inside], factor_returns[inside, number], factor.minimum)
        beta[:, number], r_squared[:, number], observations[:, number] = fit
    usable, inside, minimum = joint_sample(factor_returns, ages, factors)
    if usable.any():
        fitted = _ridges(returns[inside], factor_returns[inside][:, usable], minimum)
        beta[:, usable], r_squared[:, usable], observations[:, usable] = fitted
    capped = np.abs(beta) > BETA_CAP
    return FittedBetas(np.clip(beta, -BETA_CAP, BETA_CAP), r_squared, observations, capped, factors.is_joint & ~usable)


def joint_sample(factor_returns: Floats, ages: Ints, factors: Factors) -> tuple[Bools, Bools, int]:
    """Which joint factors enter the regression, which days, and how many common days it needs.

    Joint factors share one regression, so one window: the longest of theirs, and the largest of their minimums."""
    joint = [factor for factor in factors if factor.is_joint]
    if not joint:
        return np.zeros(len(factors), dtype=bool), np.zeros(len(ages), dtype=bool), 0
    inside = ages <= max(factor.window for factor in joint)
    minimum = max(factor.minimum for factor in joint)
    enough = (~np.isnan(factor_returns[inside])).sum(axis=0) >= minimum
    return factors.is_joint & enough, inside, minimum


def _slopes(returns: Floats, factor: Floats, minimum: int) -> tuple[Floats, Floats, Ints]:
    """(T, K) on (T,): OLS slopes over the days that both have, r squared, days."""
    # One symbol a row, sums along rows: the same bytes whichever symbols are fitted together.
    y = np.ascontiguousarray(returns.T)
    present = ~np.isnan(y) & ~np.isnan(factor)
    number = present.sum(axis=1)
    x, y = np.where(present, factor, 0.0), np.where(present, y, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        x_mean, y_mean = x.sum(axis=1) / number, y.sum(axis=1) / number
        # Two passes: deviations from the mean over the common days, then their products.
        x = np.where(present, x - x_mean[:, None], 0.0)
        y = np.where(present, y - y_mean[:, None], 0.0)
        xx, yy, xy = (x * x).sum(axis=1), (y * y).sum(axis=1), (x * y).sum(axis=1)
        enough = (number >= minimum) & (number >= 2) & _varies(xx, number, x_mean)
        slope = np.where(enough, xy / xx, np.nan)
        r_squared = np.where(enough & _varies(yy, number, y_mean), xy * xy / (xx * yy), np.nan)
    return slope, r_squared, number


def _varies(squares: Floats, number: Ints | int, mean: Floats) -> Bools:
    """Whether a sum of squared deviations is more than what rounding leaves of a constant."""
    return squares > number * (CONSTANT * mean) ** 2


def _ridges(returns: Floats, factor_returns: Floats, minimum: int) -> tuple[Floats, Floats, Ints]:
    """(T, K) on (T, J): ridge coefficients (K, J) in units of return, r squared (K, 1), days (K, 1)."""
    width = factor_returns.shape[1]
    beta = np.full((returns.shape[1], width), np.nan)
    r_squared = np.full((returns.shape[1], 1), np.nan)
    present = ~np.isnan(returns) & ~np.isnan(factor_returns).any(axis=1, keepdims=True)
    number = present.sum(axis=0)
    patterns, which = np.unique(present, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        days, symbols = patterns[:, pattern], np.flatnonzero(which.ravel() == pattern)
        if days.sum() < max(minimum, 2):
            continue
        beta[symbols], r_squared[symbols, 0] = _ridge(factor_returns[days], returns[np.ix_(days, symbols)].T)
    return beta, r_squared, number[:, None]


def _ridge(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """(n, J), (K, n): Ridge(alpha=1) of each y on standardised x, intercept free; coefficients (K, J) and r squared (K,)."""
    mean = x.mean(axis=0)
    deviation = x - mean
    squares = (deviation**2).sum(axis=0)
    # A factor that does not vary is not scaled up: what is left of it is rounding, and takes no coefficient.
    scale = np.where(_varies(squares, len(x), mean), np.sqrt(squares / len(x)), 1.0)
    z, y = deviation / scale, np.ascontiguousarray(y)
    own_mean = y.mean(axis=1)
    target = y - own_mean[:, None]
    # One symbol at a time in the products: the same bytes whichever symbols are fitted together.
    gram = z.T @ z + RIDGE_ALPHA * np.eye(x.shape[1])
    moments = np.stack([z.T @ row for row in target])
    inverse = np.linalg.inv(gram)
    coefficients = (inverse[None] * moments[:, None, :]).sum(axis=2)
    residual = target - np.stack([z @ row for row in coefficients])
    total = (target**2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r_squared = np.where(_varies(total, len(x), own_mean), 1.0 - (residual**2).sum(axis=1) / total, np.nan)
    return coefficients / scale, r_squared
