"""Stress tests: what each book would lose or gain if factors moved.

Here: how the market's other factors are expected to move with the shocked ones, the P&L of a book, its cap. Not here:
scenarios and their file (scenarios.py), exposures (factor_exposures.py).

Source: spec section 8. Conditional expectation of a multivariate normal: e.g. Mardia, Kent and Bibby, Multivariate
Analysis, theorem 3.2.4."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refresh_assets.core.money import Bools, Floats

COVARIANCE_DAYS = 252  # trading days on which every factor has a return
MIN_COVARIANCE_DAYS = 30
DECAY = 0.99  # weight of a day against the next younger one
PSEUDO_INVERSE_CUTOFF = 1e-10
LOSS_CAP = 0.99  # fraction of PUBLIC gross exposure


@dataclass(frozen=True)
class StressResults:
    """P&L of P portfolios under K scenarios, USD; NaN where unknown. `capped`: a loss was held at 99 % of gross."""

    direct: Floats
    correlated: Floats
    capped: Bools

    @property
    def effect(self) -> Floats:
        """(P, K) correlated less direct."""
        return self.correlated - self.direct


def factor_covariance(factor_returns: Floats) -> tuple[Floats, Bools]:
    """Covariance of factor returns as of D.

    Args:
        factor_returns: (T, F) simple returns up to D, NaN where missing.

    Returns:
        (F, F) over the last 252 days on which every factor that enters has a return, weights 0.99^age, about the weighted
        mean; NaN for a factor that does not enter. (F,) which enter: those with 30 returns or more in the last 252 days.
    """
    enters = (~np.isnan(factor_returns[-COVARIANCE_DAYS:])).sum(axis=0) >= MIN_COVARIANCE_DAYS
    covariance = np.full((factor_returns.shape[1],) * 2, np.nan)
    complete = np.flatnonzero(~np.isnan(factor_returns[:, enters]).any(axis=1))[-COVARIANCE_DAYS:]
    if not enters.any() or len(complete) < 2:
        return covariance, np.zeros(len(enters), dtype=bool)
    sample = factor_returns[np.ix_(complete, enters)]
    weight = DECAY ** (len(factor_returns) - 1.0 - complete)  # age in trading days: a gap ages what lies before it
    weight /= weight.sum()
    deviation = sample - weight @ sample
    covariance[np.ix_(enters, enters)] = (deviation * weight[:, None]).T @ deviation
    return covariance, enters


def expected_moves(covariance: Floats, shocks: Floats) -> Floats:
    """How every factor is expected to move, given the shocked ones: m = E[f | f_S = s].

    Args:
        covariance: (F, F), NaN for factors that do not enter.
        shocks: (K, F) fraction of return, NaN where the scenario has none.

    Returns:
        (K, F): the shock itself where there is one, C_US C_SS^-1 s elsewhere; NaN for a factor without covariance.
    """
    moves = shocks.copy()
    known = ~np.isnan(np.diagonal(covariance))
    for scenario, shock in enumerate(shocks):
        given = ~np.isnan(shock) & known
        others = np.isnan(shock) & known
        if not given.any():
            continue
        inverse = np.linalg.pinv(covariance[np.ix_(given, given)], rcond=PSEUDO_INVERSE_CUTOFF, hermitian=True)
        moves[scenario, others] = covariance[np.ix_(others, given)] @ (inverse @ shock[given])
    return moves


def stress_results(dollar: Floats, gross: Floats, shocks: Floats, moves: Floats, is_joint: Bools) -> StressResults:
    """P&L of each portfolio under each scenario.

    Args:
        dollar: (P, F) exposures, USD, NaN where unknown.
        gross: (P,) PUBLIC gross exposure, USD.
        shocks, moves: (K, F) as in `expected_moves`.
        is_joint: (F,) only joint betas may be added up: a single beta already holds what moves along with its factor.

    Returns:
        direct: sum over shocked factors of exposure x shock; correlated: sum over joint factors of exposure x move. NaN
        where none of the factors concerned has an exposure.
    """
    direct = _impact(dollar, shocks)
    correlated = _impact(dollar[:, is_joint], moves[:, is_joint])
    floor = -LOSS_CAP * gross[:, None]
    with np.errstate(invalid="ignore"):
        capped = (direct < floor) | (correlated < floor)
    return StressResults(np.maximum(direct, floor), np.maximum(correlated, floor), capped)


def _impact(dollar: Floats, move: Floats) -> Floats:
    """(P, F) x (K, F) -> (P, K), factor by factor in their order: the same bytes for any number of portfolios."""
    total = np.zeros((len(dollar), len(move)))
    known = np.zeros((len(dollar), len(move)), dtype=bool)
    for factor in range(dollar.shape[1]):
        impact = dollar[:, factor][:, None] * move[:, factor][None]
        there = ~np.isnan(impact)
        total += np.where(there, impact, 0.0)
        known |= there
    return np.where(known, total, np.nan)
