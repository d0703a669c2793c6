"""Stress tests by hand: expected moves given the shocked factors, and the P&L of each book (contract section 8).

Here: the covariance of factor returns, the moves of a scenario, the columns of `stress_test_results`. Not here:
exposures (exposures.py), or reading a scenario file."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .exposures import exposures
from .world import (
    Row,
    World,
    active_factors,
    close_frame,
    closes_of,
    factor_returns,
    factor_symbols,
    portfolios_with_a_row,
    public_values,
)

COVARIANCE_DAYS = 252
DECAY = 0.99
PSEUDO_INVERSE_CUTOFF = 1e-10
LOSS_CAP = 0.99


def factor_covariance(world: World, day: dt.date) -> pd.DataFrame:
    """Weighted covariance of simple factor returns, by factor name; a factor without any return is not in it.

    The latest 252 trading days up to the day on which all of them have a return; weight 0.99^age, age in trading days
    before the day; about the weighted mean."""
    factors = active_factors(world)
    closes = closes_of(world)
    symbols = factor_symbols(factors)
    dates = [date for symbol, date in closes if symbol in symbols and date <= day]
    if not dates:
        return pd.DataFrame()
    frame = close_frame(world, symbols, min(dates), day, closes)
    returns = factor_returns(frame / frame.shift(1) - 1, factors).dropna(axis="columns", how="all")
    age = np.arange(len(returns))[::-1]
    complete = returns.notna().all(axis="columns").to_numpy()
    latest = np.flatnonzero(complete)[-COVARIANCE_DAYS:]
    if len(latest) < 2 or returns.shape[1] == 0:
        return pd.DataFrame()
    covariance = np.cov(returns.to_numpy()[latest], rowvar=False, aweights=DECAY ** age[latest], ddof=0)
    return pd.DataFrame(np.atleast_2d(covariance), index=returns.columns, columns=returns.columns)


def expected_moves(covariance: pd.DataFrame, shocks: Mapping[str, float]) -> dict[str, float]:
    """m = E[f | f_S = s]: shocked factors move as told, the others by C_US C_SS^-1 s; fractions of return."""
    moves = dict(shocks)
    shocked = [name for name in shocks if name in covariance.columns]
    others = [name for name in covariance.columns if name not in shocks]
    if shocked and others:
        inverse = np.linalg.pinv(covariance.loc[shocked, shocked].to_numpy(), rcond=PSEUDO_INVERSE_CUTOFF)
        expected = covariance.loc[others, shocked].to_numpy() @ inverse @ np.array([shocks[name] for name in shocked])
        moves |= {name: float(move) for name, move in zip(others, expected, strict=True)}
    return moves


def stress(world: World, day: dt.date, scenarios: list[dict[str, Any]]) -> tuple[list[Row], list[Row]]:
    """What each scenario does to each portfolio with PUBLIC value, and how each factor moves in it.

    Args:
        scenarios: each with `id` and `shocks`, {factor name: fraction of return}.

    Returns:
        results: calculation_date, portfolio_id, scenario_id, direct_pnl, correlated_pnl, correlation_effect (USD,
            unrounded; None where there is no exposure), is_capped, unmapped (shocked factors without exposure).
        moves: calculation_date, scenario_id, factor_id, factor, shock, expected_move; one a scenario and factor."""
    factors = active_factors(world)
    covariance = factor_covariance(world, day)
    closes = closes_of(world)
    gross = {
        portfolio["id"]: sum(abs(float(value)) for _, value in public_values(world, closes, portfolio, day))
        for portfolio in portfolios_with_a_row(world, day)
    }
    dollars: dict[object, dict[str, float | None]] = {}
    for row in exposures(world, day):
        dollars.setdefault(row["portfolio_id"], {})[row["factor"]] = row["exposure_dollar"]
    joint = [row["name"] for row in factors if row["estimation"] == "joint"]
    results, moves = [], []
    for scenario in scenarios:
        known = {name: s for name, s in scenario["shocks"].items() if name in {row["name"] for row in factors}}
        move = expected_moves(covariance, known)
        for row in factors:
            figures = {"shock": known.get(row["name"]), "expected_move": move.get(row["name"])}
            identity = {"calculation_date": day, "scenario_id": scenario["id"]}
            moves.append({**identity, "factor_id": row["id"], "factor": row["name"], **figures})
        for portfolio_id, of_portfolio in dollars.items():
            result = {"calculation_date": day, "portfolio_id": portfolio_id, "scenario_id": scenario["id"]}
            result |= _result(of_portfolio, scenario["shocks"], move, joint, gross[portfolio_id])
            results.append(result)
    return results, moves


def _result(
    dollars: dict[str, float | None],
    shocks: Mapping[str, float],
    move: dict[str, float],
    joint: list[str],
    gross: float,
) -> Row:
    """P&L of one portfolio under one scenario, a loss capped at 99 % of its PUBLIC gross exposure."""
    direct = _total({name: dollars.get(name) for name in shocks}, shocks)
    correlated = _total({name: dollars.get(name) for name in joint}, move)
    floor = -LOSS_CAP * gross
    is_capped = any(pnl is not None and pnl < floor for pnl in (direct, correlated))
    direct = None if direct is None else max(direct, floor)
    correlated = None if correlated is None else max(correlated, floor)
    return {
        "direct_pnl": direct,
        "correlated_pnl": correlated,
        "correlation_effect": None if direct is None or correlated is None else correlated - direct,
        "is_capped": is_capped,
        "unmapped": sorted(name for name in shocks if dollars.get(name) is None),
    }


def _total(dollars: dict[str, float | None], move: Mapping[str, float]) -> float | None:
    """Sum of exposure times move over the factors that have both; None if none has."""
    parts = [dollar * move[name] for name, dollar in dollars.items() if dollar is not None and name in move]
    return sum(parts) if parts else None
