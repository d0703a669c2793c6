"""What seeds have found, each as its smallest case.

Here: the case alone, on a real PostgreSQL. Not here: the rules (automation/), whole quarters (test_quarter.py)."""

from __future__ import annotations

from datetime import datetime

import dagster as dg

from refresh_assets.automation.sensor import sensor_look
from refresh_assets.demo.world import NIGHTS
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets_tests.simulation.kinds import NEW_YORK
from refresh_assets_tests.worlds import execute


def test_a_batch_that_completes_without_one_close_wakes_a_person(demo_database: Database) -> None:
    """0 of N is the extreme of half-loaded: held and alerted on its own night, given up after the deadline."""
    execute(
        demo_database,
        "insert into batch_run_tracking (batch_type, target_date, status) values ('symbol_batch', %s, 'completed')",
        NIGHTS.first,
    )
    late = datetime(NIGHTS.first.year, NIGHTS.first.month, NIGHTS.first.day, 22, 31, tzinfo=NEW_YORK)

    with dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as instance:
        found = sensor_look(load(), instance, late, None)

    assert found.run_requests == []
    assert execute(demo_database, "select kind, day from refresh_alerts") == [("low_price_coverage", NIGHTS.first)]
    assert execute(demo_database, "select status from batch_run_tracking where batch_type = 'portfolio_refresh'") == [
        ("aborted",)
    ]
