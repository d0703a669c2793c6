"""Dagster's front door: what there is, put together.

Here: assets, their checks, the jobs, schedule and sensor, resources. Not here: any of them (assets/, automation/). Assets
and checks are found by loading the package, so a new one needs no line here."""

from __future__ import annotations

import dagster as dg

from refresh_assets import assets
from refresh_assets.assets import refresh
from refresh_assets.automation import telemetry
from refresh_assets.automation.alerts import alert_after_run
from refresh_assets.automation.schedule import portfolio_refresh_schedule
from refresh_assets.automation.sensor import symbol_batch_sensor


def build_defs() -> dg.Definitions:
    """The definitions, from the environment's settings."""
    refresh.at_run_end(alert_after_run)
    refresh.at_record(telemetry.record)
    return dg.Definitions(
        assets=dg.load_assets_from_package_module(assets, include_specs=True),
        asset_checks=dg.load_asset_checks_from_package_module(assets),
        jobs=[portfolio_refresh_job, onboard_portfolio_job],
        schedules=[portfolio_refresh_schedule],
        sensors=[symbol_batch_sensor],
        resources={"refresh": refresh.Refresh()},
        executor=dg.in_process_executor,
    )


portfolio_refresh_job = dg.define_asset_job(
    "portfolio_refresh",
    selection=dg.AssetSelection.groups(refresh.GROUP),
    executor_def=dg.in_process_executor,
    description="The night: every table of one trading day or of a range of days, in one process.",
)


onboard_portfolio_job = dg.define_asset_job(
    refresh.ONBOARDING_JOB,
    # What the night promises of whole days is not asked again for one portfolio's rows.
    selection=dg.AssetSelection.groups(refresh.GROUP).without_checks(),
    executor_def=dg.in_process_executor,
    description="One new portfolio's rows, on the days that the night has done; every other row stays as it is. Without a"
    " partition: from its inception date to the last close. Run config:"
    " `resources: {refresh: {config: {portfolio: uuid or exact name}}}`.",
)

defs = build_defs()
