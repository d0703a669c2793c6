"""Betas by hand: scipy's OLS for single factors, scikit-learn's Ridge for joint ones (contract section 7).

Here: betas of the held PUBLIC symbols that the symbol batch left out on the day. Not here: what a book's exposure to a
factor is (exposures.py)."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from .world import (
    Closes,
    Row,
    World,
    active_factors,
    closes_of,
    exists_on,
    factor_returns,
    factor_symbols,
    held_on,
    is_constant,
    is_number,
    portfolios_with_a_row,
    window_returns,
)

BETA_CAP = 5.0
BetaKey = tuple[str, str]


def stored_betas(world: World, day: dt.date) -> dict[BetaKey, float]:
    """Betas dated exactly the day, by (symbol, factor name); one that is no number counts as missing."""
    names = {row["id"]: row["name"] for row in world.factor_definitions}
    rows = [row for row in world.symbol_factor_exposures if row["calculation_date"] == day]
    good = [row for row in rows if row["factor_id"] in names and is_number(row["beta_value"])]
    return {(row["symbol"], names[row["factor_id"]]): float(row["beta_value"]) for row in good}


def held_symbols(world: World, day: dt.date) -> list[str]:
    """PUBLIC symbols held on the day by portfolios that exist, priced on it or not."""
    if not portfolios_with_a_row(world, day):
        return []
    existing = {portfolio["id"] for portfolio in world.portfolios if exists_on(portfolio, day)}
    held = [p for p in world.positions if p["portfolio_id"] in existing and held_on(world, p, day)]
    return sorted({p["symbol"] for p in held if p["investment_class"] == "PUBLIC" and (p["symbol"] or "").strip()})


def betas(world: World, day: dt.date) -> dict[BetaKey, Row]:
    """Beta of each held PUBLIC symbol to each active factor that has no stored beta of the day.

    Returns:
        by (symbol, factor name): beta (capped at +-5), r_squared (None where the symbol did not move), observations,
        capped. Too little data: no entry."""
    closes = closes_of(world)
    stored = stored_betas(world, day)
    factors = active_factors(world)
    found: dict[BetaKey, Row] = {}
    for symbol in held_symbols(world, day):
        estimated = {row["name"]: single_beta(world, closes, symbol, row, day) for row in factors if is_single(row)}
        estimated |= joint_betas(world, closes, symbol, [row for row in factors if not is_single(row)], day)
        for name, estimate in estimated.items():
            if estimate is not None and (symbol, name) not in stored:
                found[symbol, name] = estimate
    return found


def is_single(factor: Row) -> bool:
    """Estimated alone, not together with others."""
    return bool(factor["estimation"] == "single")


def estimate_row(slope: float, r_squared: float | None, observations: int) -> Row:
    """An estimate with the cap applied; r_squared stays that of the uncapped regression."""
    capped = abs(slope) > BETA_CAP
    beta = math.copysign(BETA_CAP, slope) if capped else slope
    return {"beta": beta, "r_squared": r_squared, "observations": observations, "capped": capped}


def single_beta(world: World, closes: Closes, symbol: str, factor: Row, day: dt.date) -> Row | None:
    """OLS slope of the symbol's simple return on the factor's, or None."""
    if not factor["proxy"]:
        return None
    symbols = factor_symbols([factor]) | {symbol}
    returns = window_returns(world, symbols, day, factor["window_days"], closes, log=False)
    common = pd.DataFrame({"x": factor_returns(returns, [factor])[factor["name"]], "y": returns[symbol]}).dropna()
    if len(common) < max(2, factor["min_observations"]) or is_constant(common["x"]):
        return None
    fit = scipy.stats.linregress(common["x"], common["y"])
    moved = not is_constant(common["y"])
    return estimate_row(float(fit.slope), float(fit.rvalue) ** 2 if moved else None, len(common))


def joint_betas(world: World, closes: Closes, symbol: str, factors: list[Row], day: dt.date) -> dict[str, Row]:
    """Ridge(alpha=1) on standardised factor returns, all usable joint factors together; {} with too little data."""
    if not factors:
        return {}
    window_days = max(row["window_days"] for row in factors)
    min_observations = max(row["min_observations"] for row in factors)
    returns = window_returns(world, factor_symbols(factors) | {symbol}, day, window_days, closes, log=False)
    of_factors = factor_returns(returns, factors)
    usable = [name for name in of_factors if of_factors[name].count() >= min_observations]
    if not usable:
        return {}
    common = of_factors[usable].assign(**{"its own return": returns[symbol]}).dropna()
    if len(common) < min_observations:
        return {}
    x, y = common[usable].to_numpy(), common["its own return"].to_numpy()
    scaler = StandardScaler().fit(x)
    ridge = Ridge(alpha=1).fit(scaler.transform(x), y)
    residual = y - ridge.predict(scaler.transform(x))
    total = float(np.sum((y - y.mean()) ** 2))
    r_squared = 1 - float(np.sum(residual**2)) / total if not is_constant(y) else None
    slopes = ridge.coef_ / scaler.scale_
    return {
        name: estimate_row(float(slope), r_squared, len(common)) for name, slope in zip(usable, slopes, strict=True)
    }
