"""Phase 5: factor exposures of each portfolio.

Here: the asset. Not here: the figures (core/factor_exposures.py), betas (inline_betas.py)."""

from datetime import date
from functools import partial

import dagster as dg
import numpy as np

from refresh_assets.assets.analytic import Compute, Part, analytic, writes
from refresh_assets.assets.books import ValuedBook
from refresh_assets.assets.inline_betas import inline_symbol_betas
from refresh_assets.assets.night import Night
from refresh_assets.assets.refresh import NIGHTLY, Refresh, in_turn
from refresh_assets.assets.upstream import market_data_cache, portfolios, positions, symbol_factor_exposures
from refresh_assets.core.money import Floats
from refresh_assets.store.dates import day_number
from refresh_assets.store.tables import exposure_rows
from refresh_assets.store.write import Written


@dg.asset(
    deps=[inline_symbol_betas, symbol_factor_exposures, market_data_cache, portfolios, positions],
    op_tags=in_turn("factor_exposures"),
    **NIGHTLY,
)
def factor_exposures(context: dg.AssetExecutionContext, refresh: Refresh) -> None:
    """Exposure of each portfolio to each active factor, in USD and as a fraction of PUBLIC gross exposure.

    One row a portfolio, day and factor, also where no position has a beta: null then, as unknown is not zero. A low
    `coverage` means missing betas."""
    refresh.write_days(context, partial(Night.written, asset="factor_exposures"))


@analytic("factor_exposures")
def compute_exposures(night: Night, day: date) -> Compute:
    """Exposures of a chunk; its note: each portfolio's lowest coverage of a factor."""
    number, betas = day_number(day), night.betas(day).betas

    def compute(valued: ValuedBook) -> Part:
        result = valued.exposures(betas)
        covered = result.coverage.min(axis=1) if result.coverage.size else None
        rows = exposure_rows(number, result, night.inputs.factors)
        return Part(rows, result.portfolio_id, result.omissions, covered)

    return compute


@writes("factor_exposures")
def write_exposures(night: Night, day: date) -> Written:
    """Compute and write the factor exposures of a day."""
    night.require_prices(day)
    covered: list[Floats] = []
    written = night.replace(day, "factor_exposures", note=covered.append)
    written.coverage = float(np.concatenate(covered).mean()) if covered else None
    return written
