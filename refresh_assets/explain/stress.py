"""A stress result, factor by factor: exposure x shock, exposure x expected move, the cap.

Here: the rows of one scenario and its figures. Not here: what a scenario means (core/stress.py), its file
(core/scenarios.py), exposures by position (exposure.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np

from refresh_assets.core.factor_exposures import exposures
from refresh_assets.core.money import Floats
from refresh_assets.core.stress import LOSS_CAP, expected_moves, factor_covariance, stress_results
from refresh_assets.explain.answer import Column, Figure, Form, Sheet, require_sum
from refresh_assets.explain.betas import DayBetas, factor_returns
from refresh_assets.explain.evidence import HISTORY_DAYS, Evidence

TABLE = "stress_test_results"
Stored = Mapping[UUID, Mapping[str, Any]]


def explain_stress(
    evidence: Evidence,
    betas: DayBetas,
    shocks: Mapping[str, float],
    stored: Mapping[str, Any],
    stored_shocks: Stored,
) -> tuple[list[Sheet], list[Figure]]:
    """Sheets `direct` and `correlated`, and the four figures of a scenario.

    Args:
        shocks: factor name -> fraction of return, of the scenario.
        stored, stored_shocks: the portfolio's result, and what was applied on the day by factor.

    Raises RefreshError where the rows do not add up to the figures of core/: then nothing is shown."""
    factors = evidence.factors
    held = exposures(evidence.book, evidence.valuation, betas.betas)
    shock = np.array([[shocks.get(name, np.nan) for name in factors.names]])
    covariance, _ = factor_covariance(factor_returns(evidence)[-HISTORY_DAYS:])
    moves = expected_moves(covariance, shock)
    result = stress_results(held.dollar, held.gross, shock, moves, factors.is_joint)
    direct, correlated, effect = (_first(one) for one in (result.direct, result.correlated, result.effect))
    dollar = held.dollar[0] if len(held.portfolio_id) else np.full(len(factors), np.nan)
    floor = -LOSS_CAP * float(held.gross[0]) if len(held.gross) else None
    unmapped = [(name, value) for name, value in shocks.items() if name not in factors.names]
    direct_rows = _rows(evidence, dollar, shock[0], ~np.isnan(shock[0]), "shock", stored_shocks)
    direct_rows += [_row(name, None, value, "shock", None) for name, value in unmapped]
    correlated_rows = _rows(evidence, dollar, moves[0], factors.is_joint, "expected_move", stored_shocks)
    sheets = [
        _sheet("direct", "Direct P&L, USD", direct_rows, direct, floor, "shock", "shock"),
        _sheet("correlated", "Correlated P&L, USD", correlated_rows, correlated, floor, "expected_move", "move"),
    ]
    capped = bool(result.capped[0, 0]) if len(result.capped) else None
    named: list[tuple[str, float | None, str]] = [
        ("direct_pnl", direct, "sum of exposure x shock, no lower than the cap"),
        ("correlated_pnl", correlated, "sum over joint factors of exposure x expected move, no lower than the cap"),
        ("correlation_effect", effect, "correlated_pnl less direct_pnl"),
    ]
    figures = [Figure(TABLE, name, value, stored[name], Form.MONEY, words) for name, value, words in named]
    cap = "no PUBLIC value" if floor is None else f"a loss is held at {floor:,.2f}, {LOSS_CAP:.0%} of PUBLIC gross"
    figures.append(Figure(TABLE, "is_capped", capped, stored["is_capped"], Form.TEXT, cap))
    return sheets, figures


def _first(column: Floats) -> float | None:
    return float(column[0, 0]) if len(column) and not np.isnan(column[0, 0]) else None


def _rows(
    evidence: Evidence,
    dollar: Floats,
    move: Floats,
    which: np.typing.NDArray[np.bool_],
    key: str,
    stored: Stored,
) -> list[dict[str, Any]]:
    rows = []
    for column in np.flatnonzero(which).tolist():
        factor = evidence.factors.factors[column]
        exposure, moved = (None if np.isnan(one[column]) else float(one[column]) for one in (dollar, move))
        used = stored.get(UUID(bytes=factor.id), {}).get(key)
        rows.append(_row(factor.name, exposure, moved, key, used))
    return rows


def _row(name: str, exposure: float | None, move: float | None, key: str, used: float | None) -> dict[str, Any]:
    impact = None if exposure is None or move is None else exposure * move
    note = "no exposure: adds nothing" if exposure is None else "no covariance: adds nothing" if move is None else ""
    if used is not None and (move is None or abs(used - move) > 1e-9):
        note = f"the night used {100 * used:+.4f} %"
    return {"factor": name, "exposure": exposure, key: move, f"stored_{key}": used, "impact": impact, "note": note}


def _sheet(
    name: str,
    title: str,
    rows: list[dict[str, Any]],
    result: float | None,
    floor: float | None,
    key: str,
    heading: str,
) -> Sheet:
    """The rows, a line for what the cap took off where it did, and the result as their sum."""
    whole = float(np.sum([row["impact"] for row in rows if row["impact"] is not None]))
    if result is not None and floor is not None and result == floor and whole < floor:
        rows = [*rows, {**_row("cap", None, None, key, None), "impact": result - whole, "note": "loss beyond the cap"}]
    require_sum(name, [row["impact"] for row in rows], result)
    columns: Sequence[Column] = [
        Column("factor", "factor"),
        Column("exposure", "exposure", Form.MONEY),
        Column(key, heading, Form.PERCENT),
        Column("impact", f"exposure x {heading}", Form.MONEY),
    ]
    if any(row["note"] for row in rows):
        columns = [*columns, Column("note", "note")]
    return Sheet(name, title, columns, rows, {"impact": result})
