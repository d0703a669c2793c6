"""Correlations by hand: pandas `.corr(min_periods=30)` and sums over pairs (contract section 5).

Here: the columns of `correlation_calculations`, and the p value of a pair. Not here: returns, holdings (world.py)."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from decimal import Decimal

import numpy as np
import pandas as pd
import scipy.sparse.csgraph
import scipy.stats

from .world import (
    Closes,
    Row,
    World,
    closes_of,
    held_on,
    is_constant,
    portfolios_with_a_row,
    positions_of,
    public_values,
    window_returns,
)

DURATION_DAYS = 90
MIN_COMMON_RETURNS = 30
CLUSTER_THRESHOLD = 0.7


def p_value(rho: float | None, n: int) -> float | None:
    """Two-sided p value of a Pearson correlation over n days: t test with n - 2 degrees of freedom."""
    if rho is None or math.isnan(rho) or n <= 2:
        return None
    if abs(rho) >= 1:
        return 0.0
    t = rho * math.sqrt((n - 2) / (1 - rho * rho))
    return float(2 * scipy.stats.t.sf(abs(t), n - 2))


def universe(lots: list[tuple[Row, Decimal]], max_symbols: int) -> dict[str, Decimal]:
    """Net value of each symbol, at most the `max_symbols` largest by |value| (a tie: the earlier symbol)."""
    net: dict[str, Decimal] = {}
    for position, value in lots:
        net[position["symbol"]] = net.get(position["symbol"], Decimal(0)) + value
    largest = sorted(net, key=lambda symbol: (-abs(net[symbol]), symbol))[:max_symbols]
    return {symbol: net[symbol] for symbol in sorted(largest)}


def correlations(world: World, day: dt.date, max_symbols: int = 100) -> list[Row]:
    """One row a portfolio with 2 or more priced PUBLIC symbols: the columns of `correlation_calculations`."""
    closes = closes_of(world)
    rows = [_row(world, closes, portfolio, day, max_symbols) for portfolio in portfolios_with_a_row(world, day)]
    return [row for row in rows if row is not None]


def pearson(returns: pd.DataFrame) -> pd.DataFrame:
    """Pairwise-complete Pearson correlations; NaN with under 30 common days, or where either is constant on them."""
    rho = returns.corr(min_periods=MIN_COMMON_RETURNS)
    values, present = returns.to_numpy(), returns.notna().to_numpy()
    for i, j in itertools.combinations(range(len(rho)), 2):
        common = present[:, i] & present[:, j]
        if is_constant(values[common, i]) or is_constant(values[common, j]):
            rho.iloc[i, j] = rho.iloc[j, i] = math.nan
    return rho


def _row(world: World, closes: Closes, portfolio: Row, day: dt.date, max_symbols: int) -> Row | None:
    lots = public_values(world, closes, portfolio, day)
    net = universe(lots, max_symbols)
    if len(net) < 2:
        return None
    held = [position for position in positions_of(world, portfolio) if held_on(world, position, day)]
    included = [position for position, _ in lots if position["symbol"] in net]
    returns = window_returns(world, net, day, DURATION_DAYS, closes, log=True)
    rho = pearson(returns)
    present = returns.notna().astype(int)
    counts = present.T @ present
    pairs = list(itertools.combinations(net, 2))
    defined = [pair for pair in pairs if not math.isnan(rho.loc[pair])]
    return {
        "calculation_date": day,
        "portfolio_id": portfolio["id"],
        "symbols": list(net),
        "correlations": [float(rho.loc[pair]) if pair in defined else None for pair in pairs],
        "data_points": [int(counts.loc[pair]) for pair in pairs],
        **_figures(net, rho, defined),
        "data_quality": _quality(len(defined), len(pairs)),
        "positions_included": len(included),
        "positions_excluded": len(held) - len(included),
        "duration_days": DURATION_DAYS,
    }


def _quality(defined: int, pairs: int) -> str:
    if defined == 0:
        return "insufficient"
    return "sufficient" if defined == pairs else "limited"


def _figures(net: dict[str, Decimal], rho: pd.DataFrame, defined: list[tuple[str, str]]) -> Row:
    """The four figures of a book; None where nothing is defined, or the values net to nothing."""
    figures: Row = {
        "overall_correlation": float(np.mean([abs(rho.loc[pair]) for pair in defined])) if defined else None,
        "weighted_correlation": None,
        "effective_positions": None,
        "correlation_concentration_score": None,
    }
    total = sum(abs(value) for value in net.values())
    if total == 0:
        return figures
    weight = {symbol: float(abs(value) / total) for symbol, value in net.items()}
    divisor = sum(weight[a] * weight[b] for a, b in defined)
    if divisor > 0:
        figures["weighted_correlation"] = (
            float(sum(weight[a] * weight[b] * rho.loc[a, b] for a, b in defined)) / divisor
        )
    complete = rho.fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(complete, 1.0)
    w = np.array([weight[symbol] for symbol in net])
    variance = float(w @ complete @ w)
    if variance > 1e-12:
        figures["effective_positions"] = 1 / variance
    _, cluster = scipy.sparse.csgraph.connected_components(np.abs(complete) >= CLUSTER_THRESHOLD, directed=False)
    clustered = [i for i in range(len(w)) if (cluster == cluster[i]).sum() >= 2]
    figures["correlation_concentration_score"] = float(sum(w[i] for i in clustered))
    return figures
