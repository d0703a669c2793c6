"""Phase 4: correlations inside each portfolio.

Here: the asset and the one of its view. Not here: the figures (core/correlations.py), p values (the view itself)."""

from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from refresh_assets.assets.analytic import Compute, Part, analytic, writes
from refresh_assets.assets.books import ValuedBook
from refresh_assets.assets.night import Night
from refresh_assets.assets.refresh import NIGHTLY, Refresh, in_turn
from refresh_assets.assets.upstream import market_data_cache, portfolios, positions
from refresh_assets.core.correlations import correlations
from refresh_assets.store.dates import day_number
from refresh_assets.store.extras import pairs_of
from refresh_assets.store.tables import correlation_rows
from refresh_assets.store.write import Written

# 90 calendar days hold at most 64 trading days; the first return uses the close before them.
WINDOW = dg.TimeWindowPartitionMapping(start_offset=-65, allow_nonexistent_upstream_partitions=True)


@dg.asset(
    deps=[dg.AssetDep(market_data_cache, partition_mapping=WINDOW), portfolios, positions],
    op_tags=in_turn("correlation_calculations"),
    **NIGHTLY,
)
def correlation_calculations(context: dg.AssetExecutionContext, refresh: Refresh) -> None:
    """Correlations of 90 days of log returns inside every portfolio with two PUBLIC symbols or more.

    One row a portfolio and day; the pairs are arrays in it (`pairwise_correlations` shows them one by one). A pair with
    fewer than 30 common days is undefined, not zero."""
    refresh.write_days(context, partial(Night.written, asset="correlation_calculations"))


@dg.asset(deps=[correlation_calculations], **NIGHTLY)
def pairwise_correlations(context: dg.AssetExecutionContext, refresh: Refresh) -> None:
    """One row an unordered pair of symbols of a portfolio and day, with p value: a view over correlation_calculations.

    Nothing is written here; this counts what the view shows."""
    refresh.write_days(context, count_pairs)


@analytic("correlation_calculations")
def compute_correlations(night: Night, day: date) -> Compute:
    """Correlations of a chunk."""
    number, prices, symbols = day_number(day), night.inputs.prices, night.inputs.symbols

    def compute(valued: ValuedBook) -> Part:
        result = correlations(valued.book, prices, valued.valuation, night.max_symbols)
        return Part(correlation_rows(number, result, symbols), result.portfolio_id, result.omissions)

    return compute


@writes("correlation_calculations")
def write_correlations(night: Night, day: date) -> Written:
    """Compute and write the correlations of a day."""
    night.require_prices(day)
    return night.replace(day, "correlation_calculations")


def count_pairs(night: Night, day: date) -> dict[str, Any]:
    """Pairs of a day, and those with a correlation."""
    with night.database.connect() as connection:
        pairs, defined = pairs_of(connection, day)
    return {"pairs": pairs, "pairs_defined": defined, "dagster/partition_row_count": pairs}
