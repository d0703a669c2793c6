"""Dagster's front door: what there is, put together.

Here: assets, the job, resources. Not here: any of them (assets/, automation/). Assets are found by loading the package, so a
new one needs no line here."""

from __future__ import annotations

import dagster as dg

from refresh_assets import assets
from refresh_assets.assets import refresh


def build_defs() -> dg.Definitions:
    """The definitions, from the environment's settings."""
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(assets, include_specs=True),
        jobs=[portfolio_refresh_job],
        resources={"refresh": refresh.Refresh()},
        executor=dg.in_process_executor,
    )


portfolio_refresh_job = dg.define_asset_job(
    "portfolio_refresh",
    selection=dg.AssetSelection.groups(refresh.GROUP),
    executor_def=dg.in_process_executor,
    description="The night: every table of one trading day or of a range of days, in one process.",
)

defs = build_defs()
