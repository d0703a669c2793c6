"""Runs that live, die or never start, and looks of the sensor at them.

Here: runs in Dagster's books with and without a sign of life, a command that is killed with -9, what a look says. Not here:
what must follow (test_liveness.py)."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from refresh_assets.assets.run_days import range_tags
from refresh_assets.automation.runs import JOB, SILENT_FOR
from refresh_assets.automation.sensor import sensor_look
from refresh_assets.calendar import TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.demo.world import symbol_batch
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.liveness import SIGN_TAG, sign_of_life, signs_of_life
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests.worlds import awaited, execute, table_rows

CALENDAR = TradingCalendar()
DAYS = CALENDAR.days(date(2020, 2, 18), date(2020, 2, 21))
MIDDLE = DAYS[2]
ROOT = Path(__file__).parents[2]


def stands_mixed(database: Database, day: date) -> None:
    """All tables of a day stand, one of them of other inputs."""
    row = "insert into refresh_days values (%s, %s, 'complete', 0, 0, 0, 0, 0, %s, '{}', 'run', '1', now())"
    for number, table in enumerate(DAY_TABLES):
        execute(database, row, day, table, "new" if number == 0 else "old")


def killed_in_the_middle(database: Database, instance: dg.DagsterInstance) -> str:
    """The id of a run of the command over all days, killed with -9 while it writes the middle one."""
    command = [sys.executable, "-m", "refresh_assets.cli", "run", "--from", str(DAYS[0]), "--to", str(DAYS[-1])]
    with database.connect() as claims:
        claims.execute(
            "select pg_advisory_xact_lock(hashtext(%s), %s)", ["refresh stress_test_results", day_number(MIDDLE)]
        )
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            # The middle day is begun before the days in front of it are complete.
            waits = (
                "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
                " and (select max(calculation_date) from refresh_complete_days) >= %s"
            )
            before = DAYS[DAYS.index(MIDDLE) - 1]
            awaited(lambda: execute(database, waits, before) == [(True,)] or process.poll() is not None, 60)
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            (run,) = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
            assert held(database, run.run_id)
            process.send_signal(signal.SIGKILL)
            assert process.wait(10) == -signal.SIGKILL
    awaited(lambda: not held(database, run.run_id))
    return run.run_id


def died(database: Database, instance: dg.DagsterInstance, **values: Any) -> dg.DagsterRun:
    """A started run that gave its sign, and gives it no more."""
    run = started(instance, **values)
    with sign_of_life(database, run.run_id) as sign:
        instance.add_run_tags(run.run_id, {SIGN_TAG: sign})
    return run


@contextmanager
def living(database: Database, instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    """A started run that gives its sign within the block."""
    run = started(instance)
    with sign_of_life(database, run.run_id) as sign:
        instance.add_run_tags(run.run_id, {SIGN_TAG: sign})
        yield run


def started(
    instance: dg.DagsterInstance,
    tags: dict[str, str] | None = None,
    job: str = JOB,
    status: DagsterRunStatus = DagsterRunStatus.STARTED,
    **values: Any,
) -> dg.DagsterRun:
    """A run of a job over all days, in Dagster's books alone."""
    return instance.create_run_for_job(
        defs.resolve_job_def(job), tags={**range_tags(DAYS), **(tags or {})}, status=status, **values
    )


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> DagsterRunStatus:
    """What Dagster says of a run now."""
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def materialized(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    """The run that a look asks for."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    return defs.resolve_job_def(JOB).execute_in_process(
        instance=instance, tags=dict(request.tags), run_config={**request.run_config, **quiet}
    )


def look(instance: dg.DagsterInstance, now: datetime, cursor: str | None = None) -> dg.SensorResult:
    """One look of the sensor."""
    return sensor_look(load(), instance, now, cursor)


def look_twice(instance: dg.DagsterInstance, now: datetime) -> str | None:
    """Two looks, far enough apart to find a run dead; the cursor after them."""
    return look(instance, now + SILENT_FOR, look(instance, now).cursor).cursor


def words(result: dg.SensorResult) -> str:
    """Why a look starts nothing."""
    assert isinstance(result.skip_reason, dg.SkipReason | str)
    return result.skip_reason if isinstance(result.skip_reason, str) else result.skip_reason.skip_message or ""


def held(database: Database, run_id: str) -> bool:
    """Whether somebody holds the sign of a run."""
    with database.connect() as connection:
        return signs_of_life(connection, [run_id])[run_id].held


def last_message(instance: dg.DagsterInstance, run_id: str) -> str:
    """What the failure of a run says."""
    (event,) = [one for one in instance.all_logs(run_id) if one.dagster_event and one.dagster_event.is_run_failure]
    assert event.dagster_event is not None
    return event.dagster_event.message or ""


def load_batches(database: Database) -> None:
    """The symbol batches of all days."""
    with database.connect() as connection:
        for day in DAYS:
            symbol_batch(connection, day)


def all_rows(database: Database) -> dict[tuple[str, date], list[str]]:
    """Every row of every day."""
    return {(table, day): table_rows(database, table, day) for table in DAY_TABLES for day in DAYS}
