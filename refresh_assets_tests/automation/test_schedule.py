"""The schedule: when it fires, and what it says and starts then.

Here: 21:30 New York on either side of the clock changes, non-trading days, one night. Not here: each rule of the gate
(test_gate.py), late batches and alerts (test_sensor.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from refresh_assets.automation.schedule import portfolio_refresh_schedule
from refresh_assets.automation.sensor import sensor_look
from refresh_assets.calendar import NEW_YORK
from refresh_assets.definitions import defs
from refresh_assets.demo.world import symbol_batch
from refresh_assets.settings import load
from refresh_assets.store.database import Database

EVENING = datetime(2020, 2, 18, 21, 30, tzinfo=NEW_YORK)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own."""
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as local:
        yield local


def ticks(after: datetime) -> Iterator[datetime]:
    """When Dagster's daemon fires the schedule."""
    zone = portfolio_refresh_schedule.execution_timezone
    return schedule_execution_time_iterator(after.timestamp(), portfolio_refresh_schedule.cron_schedule, zone)


def fired(instance: dg.DagsterInstance, now: datetime) -> list[dg.RunRequest] | dg.SkipReason:
    """What the schedule gives at its tick."""
    with dg.build_schedule_context(instance=instance, scheduled_execution_time=now) as context:
        result = portfolio_refresh_schedule(context)
    assert isinstance(result, list | dg.SkipReason)
    return result


def test_what_is_ready_at_half_past_nine_starts(demo_database: Database, instance: dg.DagsterInstance) -> None:
    """The same request that the sensor makes of the same facts."""
    with demo_database.connect() as connection:
        symbol_batch(connection, EVENING.date())

    requests = fired(instance, EVENING)

    assert isinstance(requests, list)
    assert [request.tags["nights"] for request in requests] == ["2020-02-18"]
    assert requests == sensor_look(load(), instance, EVENING, None).run_requests


@pytest.mark.usefixtures("demo_database")
def test_what_is_not_ready_is_left_to_the_sensor_in_words(instance: dg.DagsterInstance) -> None:
    """Nothing starts, and the reason says what is waited for."""
    assert fired(instance, EVENING) == dg.SkipReason(
        "waiting for the symbol batch of 2020-02-18 since 21:30, 0 of 60 minutes"
    )


def test_a_holiday_is_skipped_in_words(instance: dg.DagsterInstance) -> None:
    """Cron knows weekdays, not holidays; the coming night is named."""
    assert fired(instance, datetime(2026, 11, 26, 21, 30, tzinfo=NEW_YORK)) == dg.SkipReason(
        "2026-11-26 is no trading day (Thanksgiving Day): the next night is that of 2026-11-27"
    )


@pytest.mark.parametrize(
    ("day", "utc"),
    [
        (date(2026, 3, 6), "2026-03-07T02:30"),
        (date(2026, 3, 9), "2026-03-10T01:30"),
        (date(2026, 10, 30), "2026-10-31T01:30"),
        (date(2026, 11, 2), "2026-11-03T02:30"),
    ],
)
def test_it_fires_at_half_past_nine_in_new_york_summer_and_winter(day: date, utc: str) -> None:
    """Dagster's own ticks on either side of both clock changes."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=NEW_YORK)

    tick = next(ticks(noon))

    assert tick == datetime.fromisoformat(f"{utc}+00:00")
    assert tick.astimezone(NEW_YORK) == datetime(day.year, day.month, day.day, 21, 30, tzinfo=NEW_YORK)


def test_it_fires_on_weekdays_only_and_is_born_running() -> None:
    """Friday's tick is followed by Monday's; definitions hold schedule and sensor under the spec's names."""
    coming = ticks(datetime(2026, 11, 20, 12, tzinfo=NEW_YORK))

    assert [next(coming).astimezone(NEW_YORK).date() for _ in range(2)] == [date(2026, 11, 20), date(2026, 11, 23)]
    assert portfolio_refresh_schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    assert defs.resolve_schedule_def("portfolio_refresh_schedule").job_name == "portfolio_refresh"
    assert defs.resolve_sensor_def("symbol_batch_sensor").job_name == "portfolio_refresh"
