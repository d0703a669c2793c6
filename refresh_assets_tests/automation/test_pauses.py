"""How long a day waits after its runs: which of them count, and from when.

Here: failed_runs over a real Dagster instance. Not here: what the gate makes of it (test_gate.py), a look that waits
(test_sensor.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg
import pytest
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.events import DagsterEvent, DagsterEventType

from refresh_assets.assets.run_days import range_tags
from refresh_assets.automation.sensor import JOB, RUNS_AT_ONCE, failed_runs
from refresh_assets.calendar import TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.store.gate_facts import FailedRuns

CALENDAR = TradingCalendar()
DAYS = CALENDAR.days(date(2020, 2, 18), date(2020, 2, 21))
WHOLE = range_tags(DAYS)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own."""
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def ended_run(instance: dg.DagsterInstance, event: DagsterEventType, nights: dict[str, str]) -> datetime:
    """A run of the job that has just ended so; when it did."""
    run = instance.create_run_for_job(defs.resolve_job_def(JOB), tags=nights, status=DagsterRunStatus.STARTED)
    instance.report_dagster_event(DagsterEvent(event.value, JOB), run.run_id)
    ended = instance.get_run_records(RunsFilter(run_ids=[run.run_id]))[0].end_time
    assert ended is not None
    return datetime.fromtimestamp(ended, UTC)


def test_a_failure_that_a_later_run_made_good_does_not_delay_a_new_hole(instance: dg.DagsterInstance) -> None:
    """Of the days that the later run covers; a failure after it counts, from 1 again."""
    ended_run(instance, DagsterEventType.RUN_FAILURE, WHOLE)
    before = ended_run(instance, DagsterEventType.RUN_FAILURE, WHOLE)
    good = ended_run(instance, DagsterEventType.RUN_SUCCESS, range_tags(DAYS[:2]))
    assert failed_runs(instance, CALENDAR, good) == {day: FailedRuns(2, before) for day in DAYS[2:]}

    after = ended_run(instance, DagsterEventType.RUN_FAILURE, range_tags(DAYS[:1]))
    assert failed_runs(instance, CALENDAR, after)[DAYS[0]] == FailedRuns(1, after)


def test_a_day_that_is_due_after_many_runs_that_succeeded_is_left_for_a_while(instance: dg.DagsterInstance) -> None:
    """Some runs follow each other at once, for somebody new may be due; then the pauses are those of failures."""
    for _ in range(RUNS_AT_ONCE - 1):
        good = ended_run(instance, DagsterEventType.RUN_SUCCESS, WHOLE)
    assert failed_runs(instance, CALENDAR, good) == {}
    good = ended_run(instance, DagsterEventType.RUN_SUCCESS, range_tags(DAYS[:1]))
    assert failed_runs(instance, CALENDAR, good) == {DAYS[0]: FailedRuns(1, good, succeeded=True)}
    good = ended_run(instance, DagsterEventType.RUN_SUCCESS, range_tags(DAYS[:1]))
    assert failed_runs(instance, CALENDAR, good) == {DAYS[0]: FailedRuns(2, good, succeeded=True)}
    failed = ended_run(instance, DagsterEventType.RUN_FAILURE, range_tags(DAYS[:1]))
    assert failed_runs(instance, CALENDAR, failed) == {DAYS[0]: FailedRuns(1, failed)}
