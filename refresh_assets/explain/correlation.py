"""Correlations of one portfolio: the summary, and one pair down to its closes.

Here: the figures of correlation_calculations, the two return series of a pair, its weight in the weighted figure. Not here:
the correlations themselves (core/correlations.py), p values (the database's own function, stored.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refresh_assets.core.correlations import WINDOW_DAYS, Correlations, correlations, universe
from refresh_assets.errors import RefreshError
from refresh_assets.explain.answer import ROUNDING, Column, Figure, Form, Sheet
from refresh_assets.explain.evidence import Evidence
from refresh_assets.store.dates import day_of

TABLE, PAIRS = "correlation_calculations", "pairwise_correlations"
ENDS = 5
SUMMARY = {
    "overall_correlation": ("overall", "mean |rho| of the defined pairs"),
    "weighted_correlation": ("weighted", "sum of w_i w_j rho_ij / sum of w_i w_j, over the defined pairs"),
    "effective_positions": ("effective", "1 / w'Rw"),
    "correlation_concentration_score": ("concentration", "share of |value| in clusters of |rho| >= 0.7"),
}


def explain_summary(evidence: Evidence, max_symbols: int, stored: Mapping[str, Any]) -> list[Figure]:
    """The figures of correlation_calculations; the pairs themselves are `explain_pair`."""
    result = correlations(evidence.book, evidence.prices, evidence.valuation, max_symbols)
    there = len(result.portfolio_id) > 0
    figures = [
        Figure(TABLE, name, _one(getattr(result, column)), stored[name], Form.RATIO, words)
        for name, (column, words) in SUMMARY.items()
    ]
    quality = result.quality[0] if there else None
    figures.append(Figure(TABLE, "data_quality", quality, stored["data_quality"], Form.TEXT, "sufficient: all defined"))
    for name, counts, words in (
        ("positions_included", result.included, "lots of PUBLIC symbols with a price"),
        ("positions_excluded", result.excluded, "the rest of the positions held"),
    ):
        figures.append(Figure(TABLE, name, int(counts[0]) if there else None, stored[name], Form.COUNT, words))
    return figures


def explain_pair(
    evidence: Evidence,
    max_symbols: int,
    pair: tuple[str, str],
    stored: Mapping[str, Any],
    summary: Mapping[str, Any],
    p_value: Callable[[float | None, int], float | None],
) -> tuple[list[Sheet], list[Figure]]:
    """Sheets `weights` and `returns`, and the figures of a pair of symbols in the order of the alphabet.

    Args:
        stored: the pair's row of pairwise_correlations; `summary` that of correlation_calculations.
        p_value: of a correlation and its number of days.

    Raises RefreshError where the pairs do not add up to the weighted figure of core/."""
    result = correlations(evidence.book, evidence.prices, evidence.valuation, max_symbols)
    returns, common = _returns(evidence, pair)
    weights, share = _weights(evidence, max_symbols, pair, result)
    rho, points = _pair(evidence, pair, result)
    p = p_value(rho, points or 0)
    contribution = None if rho is None or share is None else share * rho
    whole = _one(result.weighted)
    named: list[tuple[str, str, Any, Any, Form, str]] = [
        (PAIRS, "correlation_value", rho, stored["correlation_value"], Form.RATIO, "Pearson over the common days"),
        (PAIRS, "data_points", points, stored["data_points"], Form.COUNT, "days on which both have a return"),
        (PAIRS, "p_value", p, stored["p_value"], Form.RATIO, "two-sided t test, data_points - 2 degrees of freedom"),
        (
            PAIRS,
            "statistical_significance",
            None if p is None else 1 - p,
            stored["statistical_significance"],
            Form.RATIO,
            "1 - p_value",
        ),
        (TABLE, "weighted_correlation", whole, summary["weighted_correlation"], Form.RATIO, _in_whole(contribution)),
    ]
    figures = [Figure(*one) for one in named]
    names = ("a", "b")
    columns = [Column("date", "date")]
    columns += [Column(f"close_{one}", f"close {name}", Form.NUMBER) for one, name in zip(names, pair, strict=True)]
    columns += [Column(f"return_{one}", f"return {name}", Form.RATIO) for one, name in zip(names, pair, strict=True)]
    columns.append(Column("used", "common"))
    title = f"Closes and log returns, {common} common days (the first row is only what the first return begins from)"
    weight_columns = [
        Column("symbol", "symbol"),
        Column("value", "value", Form.MONEY),
        Column("lots", "lots", Form.COUNT),
        Column("weight", "weight", Form.RATIO),
    ]
    sheets = [
        Sheet("weights", "Weights in the weighted correlation: share of |value|, lots netted", weight_columns, weights),
        Sheet("returns", title, columns, returns, ends=ENDS),
    ]
    return sheets, figures


def _in_whole(contribution: float | None) -> str:
    part = "nothing: it is undefined" if contribution is None else f"{contribution:.6f}"
    return f"{SUMMARY['weighted_correlation'][1]}; this pair adds {part}"


def _one(column: np.typing.NDArray[np.float64]) -> float | None:
    return float(column[0]) if len(column) and not np.isnan(column[0]) else None


def _returns(evidence: Evidence, pair: tuple[str, str]) -> tuple[list[dict[str, Any]], int]:
    """A row a trading day of the window, and the one before it: closes, log returns, whether the day is common."""
    prices, first = evidence.prices, evidence.number - WINDOW_DAYS
    window = prices.upto(evidence.number, first)
    codes = [evidence.symbols.index(name) for name in pair]
    logs = np.vstack([np.full(2, np.nan), prices.log_returns(evidence.number, first)[:, codes]])
    rows, common = [], 0
    for row, day in enumerate(window.days):
        close, move = ([_known(one) for one in values] for values in (window.close[row, codes], logs[row]))
        used = None not in move
        common += used
        rows.append(
            {
                "date": day_of(day).isoformat(),
                "close_a": close[0],
                "close_b": close[1],
                "return_a": move[0],
                "return_b": move[1],
                "common": used,
                "used": "" if used else "no",
            }
        )
    return rows, common


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _pair(evidence: Evidence, pair: tuple[str, str], result: Correlations) -> tuple[float | None, int | None]:
    """Correlation and common days of a pair; None where one of the two is no longer among the symbols."""
    names = [evidence.symbols[code] for code in result.symbols]
    if not set(pair) <= set(names):
        return None, None
    i, j = (names.index(name) for name in pair)
    place = i * (2 * len(names) - i - 1) // 2 + j - i - 1
    return _known(float(result.correlations[place])), int(result.data_points[place])


def _weights(
    evidence: Evidence, max_symbols: int, pair: tuple[str, str], result: Correlations
) -> tuple[list[dict[str, Any]], float | None]:
    """The weights of the two symbols, and the pair's share w_i w_j / sum of w_i w_j over the defined pairs."""
    chosen = universe(evidence.book, evidence.valuation, max_symbols)
    names = [evidence.symbols[code] for code in chosen.symbol]
    size = np.abs(chosen.value)
    weight = size / size.sum() if size.sum() > 0 else np.full(len(size), np.nan)
    rows = [
        {
            "symbol": names[row],
            "value": float(chosen.value[row]),
            "lots": int(chosen.lots[row]),
            "weight": _known(weight[row]),
        }
        for row in (names.index(name) for name in pair if name in names)
    ]
    if not len(result.portfolio_id) or not set(pair) <= set(names):
        return rows, None
    upper = np.triu_indices(len(names), 1)
    both, rho = weight[upper[0]] * weight[upper[1]], result.correlations.astype(np.float64)
    known = ~np.isnan(rho)
    defined = float(both[known].sum())
    whole = _one(result.weighted)
    # The pairs are stored with 7 digits, the weighted figure is made before they are rounded to them.
    if whole is not None and abs(float((both * rho)[known].sum()) / defined - whole) > 1e-6 + ROUNDING:
        raise RefreshError("the pairs do not add up to weighted_correlation: a fault of this program. Mend: report it.")
    i, j = (names.index(name) for name in pair)
    return rows, float(weight[i] * weight[j]) / defined if defined > 0 else None
