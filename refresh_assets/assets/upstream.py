"""What others write and the night reads: the symbol batch's tables and the platform's.

Here: external assets, so that lineage starts where the data does. Not here: reading them (store/read.py)."""

import dagster as dg

from refresh_assets.assets.refresh import NIGHTLY

market_data_cache = dg.AssetSpec(
    "market_data_cache",
    group_name="symbol_batch",
    partitions_def=NIGHTLY["partitions_def"],
    description="Split-adjusted closes, USD, one a symbol and day. Written by the symbol batch at 21:00 New York.",
    kinds={"postgres"},
)
symbol_factor_exposures = dg.AssetSpec(
    "symbol_factor_exposures",
    group_name="symbol_batch",
    partitions_def=NIGHTLY["partitions_def"],
    description="Factor betas of symbols, one a symbol, factor and day. Written by the symbol batch.",
    kinds={"postgres"},
)
portfolios = dg.AssetSpec(
    "portfolios", group_name="platform", description="The platform's portfolios.", kinds={"postgres"}
)
positions = dg.AssetSpec(
    "positions",
    group_name="platform",
    description="The platform's positions, with their sales and dated valuations.",
    kinds={"postgres"},
)
