"""Dagster's runs of the night: which they are, which days they cover, and which of them have died.

Here: reporting a run as failed whose process is gone, and what it committed; the alert where that happens again and again.
Not here: the sign of life itself (store/liveness.py), which days are in flight or failed (sensor.py), what starts (gate.py).

Dagster notices a dead worker only while the code server that started it lives: not after a container restarts, and not
where a run of the command line is killed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG

from refresh_assets.assets.refresh import ONBOARDING_JOB
from refresh_assets.assets.run_days import NIGHTS, SINGLE, days_of
from refresh_assets.automation.alerts import NIGHT_FAILED, raise_alert
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.store.alerts import day_results
from refresh_assets.store.database import Database
from refresh_assets.store.days import stretches
from refresh_assets.store.liveness import (
    SIGN_TAG,
    Sign,
    committed_by,
    end_tracking,
    mixed_days,
    running_rows,
    signs_of_life,
)
from refresh_assets.store.schema_names import DAY_TABLES

JOB = "portfolio_refresh"
START_UP = timedelta(seconds=60)
"""So long a run may be started without having given a sign: its process loads the code, then takes the lock."""
SILENT_FOR = timedelta(seconds=15)
"""Between two looks that both find no sign. Who lives takes a lost lock again within some seconds."""
UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
ENDED_BADLY = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
KILLED_OFTEN = 3
"""Runs of a day killed within `FAILURES_COUNT_FOR`: the first one and both retries of dagster.yaml. Then a person is woken."""
FAILURES_COUNT_FOR = timedelta(days=1)
RUNS_READ = 500

log = logging.getLogger(__name__)


def writes_the_night(run: dg.DagsterRun) -> bool:
    """Whether a run writes the night's tables: of a job of ours, or of a person who materializes one of them."""
    if run.job_name in (JOB, ONBOARDING_JOB):
        return True
    return any(key.to_user_string() in DAY_TABLES for key in run.asset_selection or ())


def is_left_to_the_gate(run: dg.DagsterRun) -> bool:
    """Whether a failed run died and nobody but the gate repeats it: Dagster can only retry what it launched itself."""
    died = run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.UNEXPECTED_TERMINATION.value
    return died and run.remote_job_origin is None


def end_dead_runs(
    database: Database,
    instance: dg.DagsterInstance,
    calendar: TradingCalendar,
    now: datetime,
    silent: Mapping[str, datetime],
) -> dict[str, datetime]:
    """Report the runs as failed whose process is gone, free their slots, end their tracking rows.

    A run has died if it is started and two looks, `SILENT_FOR` apart, find its sign of life held by nobody. Runs that do
    not run yet are left to Dagster's run monitoring, runs over another database to whoever looks at that.

    Args:
        now: aware.
        silent: what the last look gave back.

    Returns:
        Runs without a sign, and the instant of the first look that found none."""
    _end_rows(database, instance, calendar, now)
    records = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.STARTED]), limit=RUNS_READ)
    if not records:
        return {}
    with database.connect() as connection:
        signs = signs_of_life(connection, [record.dagster_run.run_id for record in records])
    found: dict[str, datetime] = {}
    for record in records:
        run = record.dagster_run
        sign = signs[run.run_id]
        if sign.held or not _should_give_a_sign(record, sign, now):
            continue
        since = silent.get(run.run_id)
        if since is None or now - since < SILENT_FOR:
            found[run.run_id] = since or now
        else:
            _end(database, instance, calendar, now, run.run_id, since)
    return found


def alert_of_killed_runs(
    database: Database, instance: dg.DagsterInstance, calendar: TradingCalendar, now: datetime
) -> None:
    """Wake a person for a day whose runs are killed again and again: whatever kills them will kill the next one."""
    killed: dict[date, list[str]] = {}
    for record in instance.get_run_records(
        RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=now - FAILURES_COUNT_FOR), limit=RUNS_READ
    ):
        run = record.dagster_run
        # Without a reason: ended from outside, as by the code server, which notices the death of its own workers.
        reason = run.tags.get(RUN_FAILURE_REASON_TAG, RunFailureReason.UNEXPECTED_TERMINATION.value)
        if reason == RunFailureReason.UNEXPECTED_TERMINATION.value and writes_the_night(run):
            for day in days_of(run.tags, calendar):
                killed.setdefault(day, []).append(run.run_id)
    often = sorted(day for day, runs in killed.items() if len(runs) >= KILLED_OFTEN)
    if not often:
        return
    with database.connect() as connection:
        results = day_results(connection, often, list(DAY_TABLES))
    for day in often:
        if results[day].lacking and not results[day].skipped:
            raise_alert(database, NIGHT_FAILED, day, _killed_words(day, killed[day]), now)


def _killed_words(day: date, runs: list[str]) -> str:
    return (
        f"{day}: the night is not complete: {len(runs)} runs of it were killed within a day, the last is {runs[0]}."
        " It is tried again by itself. Mend: see what kills them (memory, a machine or container that restarts);"
        f" then refresh-assets run --date {day} --scope missing."
    )


def _should_give_a_sign(record: dg.RunRecord, sign: Sign, now: datetime) -> bool:
    """Whether the silence of a started run means that it died."""
    run = record.dagster_run
    tag = run.tags.get(SIGN_TAG)
    if tag == sign.text:
        return True
    if tag is not None and tag.rpartition("/")[0] != sign.text.rpartition("/")[0]:
        return False  # it lives elsewhere, or could not take its lock
    # No tag, or one inherited from the run that it retries: it died, or is still on its way.
    began = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
    return writes_the_night(run) and now - began >= START_UP


def _end(
    database: Database,
    instance: dg.DagsterInstance,
    calendar: TradingCalendar,
    now: datetime,
    run_id: str,
    since: datetime,
) -> None:
    run = instance.get_run_by_id(run_id)
    if run is None or run.status is not DagsterRunStatus.STARTED:
        return  # it ended while we looked
    days = days_of(run.tags, calendar)
    with database.connect() as connection:
        mixed = mixed_days(connection, days)
    words = (
        "The process of this run is gone: nobody holds its sign of life in the database since"
        f" {since.astimezone(NEW_YORK):%H:%M:%S} New York at the latest (killed, out of memory, or its machine or container"
        " restarted). What it had committed stands. Days that are due are computed again by themselves: by Dagster's retry of"
        f" this run, or by the next one of symbol_batch_sensor.{_mixed_words(mixed, days)}"
    )
    _tell_what_stands(database, instance, run_id)  # first: a look that ends in between leaves the run to the next one
    reason = JobFailureData(error=None, failure_reason=RunFailureReason.UNEXPECTED_TERMINATION)
    instance.report_run_failed(run, words, reason)
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    nights = run.tags.get(NIGHTS) or run.tags.get(SINGLE) or "no day"
    log.warning("run %s of %s (%s) has died: %s", run_id, run.job_name, nights, words)
    if run.job_name == ONBOARDING_JOB:
        return  # the night's own row of a day stays that of the night
    elsewhere = _days_being_written(instance, calendar)
    with database.connect() as connection:
        end_tracking(connection, [day for day in days if day not in elsewhere], run_id, now)


def _tell_what_stands(database: Database, instance: dg.DagsterInstance, run_id: str) -> None:
    """Report to Dagster the days that a dead run committed, and that it does not know: a step tells of its days at its end."""
    with database.connect() as connection:
        stand = committed_by(connection, run_id)
    for table, days in stand.items():
        key = dg.AssetKey(table)
        known = instance.get_materialized_partitions(key)
        for day in (one.isoformat() for one in days):
            if day not in known:
                told = {"status": f"committed by run {run_id} before its process was gone"}
                instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=day, metadata=told))


def _mixed_words(mixed: list[date], days: list[date]) -> str:
    """That a mixed day is not computed again by itself; which of a run's days are."""
    if not mixed:
        return ""
    spans = [f"{some[0]}" if len(some) == 1 else f"{some[0]} to {some[-1]}" for some in stretches(mixed, days)]
    return (
        f" Mixed, of old tables and new ones: {', '.join(spans)}. Only a retry of this run computes those again by itself."
        " Mend: `refresh-assets status` says what to type."
    )


def _days_being_written(instance: dg.DagsterInstance, calendar: TradingCalendar) -> set[date]:
    """Days whose rows a run may have written that is at work. One that waits to start has written none, and writes its own;
    onboarding never writes any."""
    at_work = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]))
    return {day for run in at_work if _writes_rows(run) for day in days_of(run.tags, calendar)}


def _writes_rows(run: dg.DagsterRun) -> bool:
    return run.job_name != ONBOARDING_JOB and writes_the_night(run)


def _end_rows(database: Database, instance: dg.DagsterInstance, calendar: TradingCalendar, now: datetime) -> None:
    """End the rows that a run left `running` whose death Dagster noticed itself, or while another run was at its days.

    A row is a run's that began within its time. Runs that a person runs without Dagster's books are nobody's here."""
    ended = [
        record
        for record in instance.get_run_records(
            RunsFilter(statuses=ENDED_BADLY, updated_after=now - FAILURES_COUNT_FOR), limit=RUNS_READ
        )
        if SIGN_TAG in record.dagster_run.tags and _writes_rows(record.dagster_run)
    ]
    if not ended:
        return
    with database.connect() as connection:
        rows = running_rows(connection)
        if not rows:
            return
        signs = signs_of_life(connection, [record.dagster_run.run_id for record in ended])
        elsewhere = _days_being_written(instance, calendar)
        for record in ended:
            run, sign = record.dagster_run, signs[record.dagster_run.run_id]
            if sign.held or run.tags[SIGN_TAG] != sign.text:
                continue  # it is ending, or lives over another database
            begin = datetime.fromtimestamp(record.start_time, UTC) if record.start_time else record.create_timestamp
            end = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
            its_own = [
                day
                for day in days_of(run.tags, calendar)
                if day in rows and begin <= rows[day] <= end and day not in elsewhere
            ]
            if its_own:
                end_tracking(connection, its_own, run.run_id, now)
