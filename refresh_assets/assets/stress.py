"""Phase 6: stress tests of each portfolio.

Here: the asset. Not here: the figures (core/stress.py), the scenarios (core/scenarios.py, stress_scenarios.toml)."""

from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from refresh_assets.assets.analytic import Compute, Part, Shocks, analytic, writes
from refresh_assets.assets.books import ValuedBook
from refresh_assets.assets.factor_exposures import factor_exposures
from refresh_assets.assets.night import Night
from refresh_assets.assets.refresh import NIGHTLY, Refresh, in_turn
from refresh_assets.assets.upstream import market_data_cache
from refresh_assets.core.omissions import Omission
from refresh_assets.core.stress import COVARIANCE_DAYS, stress_results
from refresh_assets.errors import ExceptionCode
from refresh_assets.store.dates import day_number
from refresh_assets.store.extras import write_shocks
from refresh_assets.store.tables import stress_rows
from refresh_assets.store.write import Written

YEAR = dg.TimeWindowPartitionMapping(start_offset=-COVARIANCE_DAYS, allow_nonexistent_upstream_partitions=True)


@dg.asset(
    deps=[factor_exposures, dg.AssetDep(market_data_cache, partition_mapping=YEAR)],
    op_tags=in_turn("stress_test_results"),
    **NIGHTLY,
)
def stress_test_results(context: dg.AssetExecutionContext, refresh: Refresh) -> None:
    """P&L of each portfolio under each active scenario, USD: from the shocks alone, and with what moves along.

    `stress_factor_shocks` holds what was applied, the view `stress_factor_impacts` the P&L by factor: it adds up to the
    result. A loss is capped at 99 % of PUBLIC gross exposure."""
    refresh.write_days(context, partial(Night.written, asset="stress_test_results"))


@analytic("stress_test_results")
def compute_stress(night: Night, day: date) -> Compute:
    """Stress results of a chunk."""
    number, betas, shocks = day_number(day), night.betas(day).betas, night.shocks(day)
    is_joint = night.inputs.factors.is_joint

    def compute(valued: ValuedBook) -> Part:
        held = valued.exposures(betas)
        result = stress_results(held.dollar, held.gross, shocks.shocks, shocks.moves, is_joint)
        rows = stress_rows(number, held.portfolio_id, result, shocks.scenarios)
        return Part(rows, held.portfolio_id, held.omissions)

    return compute


@writes("stress_test_results")
def write_stress(night: Night, day: date) -> Written:
    """Compute and write the stress results of a day, and the shocks behind them."""
    night.require_prices(day)
    shocks = night.shocks(day)

    def extra(connection: Any) -> None:
        named = [(factor.id, factor.is_joint) for factor in night.inputs.factors]
        write_shocks(connection, day, shocks.scenarios, named, shocks.shocks, shocks.moves)

    return night.replace(day, "stress_test_results", extra, lambda: unmapped(shocks))


def unmapped(shocks: Shocks) -> list[Omission]:
    """Shocks on factors that no position has a beta to."""
    return [
        Omission(
            ExceptionCode.SHOCK_UNMAPPED,
            f"scenario {scenario}: the shock on {factor!r} meets no exposure on the day, so it adds nothing."
            " Mend: activate the factor in factor_definitions, or take the shock out of the scenario file.",
        )
        for scenario, factor in shocks.unmapped
    ]
