"""A factor exposure: value x beta, position by position, and where each beta is from.

Here: the rows of one factor and its figures. Not here: the betas (betas.py), exposures themselves
(core/factor_exposures.py), which the rows must add up to."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from refresh_assets.core.book import PUBLIC
from refresh_assets.core.factor_exposures import Exposures, exposures
from refresh_assets.core.market import Factor
from refresh_assets.explain.answer import Column, Figure, Form, Sheet, require_sum
from refresh_assets.explain.betas import INLINE, DayBetas
from refresh_assets.explain.evidence import Evidence

TABLE = "factor_exposures"


def explain_exposure(
    evidence: Evidence, betas: DayBetas, factor: int, stored: Mapping[str, Any]
) -> tuple[list[Sheet], list[Figure]]:
    """Sheet `exposures` of a factor (its place among the active ones), and its three figures.

    Raises RefreshError where the rows do not add up to the figures of core/: then nothing is shown."""
    result = exposures(evidence.book, evidence.valuation, betas.betas)
    rows = _rows(evidence, betas, factor)
    dollar, gross, value, coverage = _figures(result, factor)
    covered = coverage * gross if coverage is not None and gross is not None else None
    require_sum("exposures", [row["exposure"] for row in rows], dollar)
    require_sum("gross exposure", [row["size"] for row in rows], gross)
    require_sum("covered value", [row["size"] for row in rows if row["beta"] is not None], covered)
    columns = [
        Column("symbol", "symbol"),
        Column("value", "value", Form.MONEY),
        Column("beta", "beta", Form.RATIO),
        Column("exposure", "value x beta", Form.MONEY),
        Column("from", "beta from"),
        Column("observations", "days", Form.COUNT),
        Column("r_squared", "R squared", Form.RATIO),
    ]
    sums = {"value": float(np.sum([row["value"] for row in rows])) if rows else 0.0, "exposure": dollar}
    sheet = Sheet("exposures", f"Exposure to {evidence.factors.factors[factor].name}, USD", columns, rows, sums)
    shown = "unknown" if gross is None else f"{Decimal(repr(gross)):,.2f}"
    figures = [
        Figure(TABLE, "exposure_dollar", dollar, stored["exposure_dollar"], Form.MONEY, "sum of value x beta"),
        Figure(
            TABLE,
            "exposure_value",
            value,
            stored["exposure_value"],
            Form.RATIO,
            f"exposure_dollar / {shown}, the gross exposure of PUBLIC positions",
        ),
        Figure(TABLE, "coverage", coverage, stored["coverage"], Form.RATIO, "share of PUBLIC |value| that has a beta"),
    ]
    return [sheet], figures


def _rows(evidence: Evidence, betas: DayBetas, factor: int) -> list[dict[str, Any]]:
    """A row for each PUBLIC position with a value; beta and exposure None where it has no beta."""
    book, valuation, rows = evidence.book, evidence.valuation, []
    for row in np.flatnonzero(valuation.priced & (book.kind == PUBLIC) & (book.symbol >= 0)).tolist():
        code, value = int(book.symbol[row]), float(valuation.value[row])
        beta, origin = float(betas.betas.beta[code, factor]), betas.origins.get((code, factor))
        known = origin is not None and not np.isnan(beta)
        rows.append(
            {
                "symbol": evidence.symbols[code],
                "position": evidence.position(row),
                "value": value,
                "size": abs(value),
                "beta": beta if known else None,
                "exposure": value * beta if known else None,
                "from": _from(origin.origin, origin.method, origin.capped) if known and origin else "none",
                "origin": origin.origin if known and origin else None,
                "method": origin.method if known and origin else None,
                "observations": origin.observations if known and origin else None,
                "r_squared": origin.r_squared if known and origin else None,
                "capped": origin.capped if known and origin else None,
            }
        )
    return rows


def _from(origin: str, method: str | None, capped: bool) -> str:
    words = origin if method in (None, origin) else f"{origin} ({method})"
    return f"{words}, capped" if capped else words


def _figures(result: Exposures, factor: int) -> tuple[float | None, float | None, float | None, float | None]:
    """Dollar, gross, fraction and coverage; None where unknown, or where there is no PUBLIC value."""
    if not len(result.portfolio_id):
        return None, None, None, None
    found = [result.dollar[0, factor], result.gross[0], result.value[0, factor], result.coverage[0, factor]]
    dollar, gross, value, coverage = (None if np.isnan(one) else float(one) for one in found)
    return dollar, gross, value, coverage


def factor_words(factor: Factor) -> str:
    """How a factor is made, in one sentence."""
    if factor.proxy is None:
        return f"{factor.name} has no proxy: only stored betas are used."
    series = f"the return of {factor.proxy}" + (f" less that of {factor.short_proxy}" if factor.short_proxy else "")
    how = "ridge with the other joint factors" if factor.is_joint else "OLS on it alone"
    return (
        f"{factor.name} is {series}. An inline beta is estimated by {how}, over {factor.window} days, from"
        f" {factor.minimum} common returns on."
    )


def changed_betas(evidence: Evidence, betas: DayBetas, only: int | None = None) -> list[str]:
    """Inline betas (to one factor, or to all) that are no longer what the night wrote, in words."""
    found = []
    for (code, column), origin in sorted(betas.origins.items()):
        if only is not None and column != only:
            continue
        beta = float(betas.betas.beta[code, column])
        if origin.origin == INLINE and (origin.written is None or abs(origin.written - beta) > 1e-9):
            name = evidence.factors.factors[column].name
            was = "missing" if origin.written is None else f"{origin.written:.6f}"
            found.append(
                f"the inline beta of {evidence.symbols[code]} to {name} was {was}, it is {beta:.6f} from today's closes"
            )
    return found
