"""Factor exposures by hand (contract section 6).

Here: dollars of exposure, its fraction of gross, and coverage, one row a portfolio and active factor. Not here: where a
beta comes from (betas.py)."""

from __future__ import annotations

import datetime as dt

from .betas import BetaKey, betas, stored_betas
from .world import Row, World, active_factors, closes_of, portfolios_with_a_row, public_values


def betas_in_force(world: World, day: dt.date) -> dict[BetaKey, float]:
    """Stored betas dated exactly the day, and the inline ones for whatever is missing."""
    inline = {key: float(estimate["beta"]) for key, estimate in betas(world, day).items()}
    return inline | stored_betas(world, day)


def exposures(world: World, day: dt.date) -> list[Row]:
    """Rows of `factor_exposures`: portfolio_id, factor (name), exposure_dollar (USD), exposure_value, coverage.

    A portfolio without PUBLIC value has no rows; a factor to which no position has a beta is None, with coverage 0."""
    closes = closes_of(world)
    beta = betas_in_force(world, day)
    rows = []
    for portfolio in portfolios_with_a_row(world, day):
        lots = [(position["symbol"], float(v)) for position, v in public_values(world, closes, portfolio, day)]
        gross = sum(abs(value) for _, value in lots)
        if not lots:
            continue
        for factor in active_factors(world):
            known = [(value, beta[s, factor["name"]]) for s, value in lots if (s, factor["name"]) in beta]
            dollar = sum(value * b for value, b in known) if known else None
            rows.append(
                {
                    "calculation_date": day,
                    "portfolio_id": portfolio["id"],
                    "factor_id": factor["id"],
                    "factor": factor["name"],
                    "exposure_dollar": dollar,
                    "exposure_value": dollar / gross if dollar is not None and gross else None,
                    "coverage": sum(abs(value) for value, _ in known) / gross if gross else 0.0,
                }
            )
    return rows
