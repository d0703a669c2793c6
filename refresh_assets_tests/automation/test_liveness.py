"""A run whose process dies is noticed by the looks of the sensor, and what it left is healed; one that lives is left alone.

Here: a run of the command line that is killed with -9, every kind of run that must not be taken for dead. Not here: the
sign of life itself (store/test_liveness.py), a deployment in which everything dies at once (test_live.py)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from refresh_assets.assets.refresh import ONBOARDING_JOB
from refresh_assets.automation.launch import range_tags, run_days
from refresh_assets.automation.runs import JOB, SILENT_FOR, START_UP
from refresh_assets.automation.sensor import days_in_flight, sensor_look
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.demo.world import symbol_batch
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.liveness import NO_SIGN, SIGN_TAG, sign_of_life, signs_of_life
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.worlds import execute, table_rows

CALENDAR = TradingCalendar()
DAYS = CALENDAR.days(date(2020, 2, 18), date(2020, 2, 21))
MIDDLE = DAYS[2]
EVENING = datetime(2020, 2, 21, 21, 30, tzinfo=NEW_YORK)
LATER = EVENING + SILENT_FOR
ROOT = Path(__file__).parents[2]
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("refresh_assets"), "__repository__"), JOB)
"""Of a run that Dagster launched itself, so that it can launch it once more."""

TRACKED = (
    "insert into batch_run_tracking (batch_type, target_date, status, started_at)"
    " values ('portfolio_refresh', %s, 'running', %s)"
)
OUR_ROWS = "select target_date, status, error_message from batch_run_tracking where batch_type = 'portfolio_refresh' order by 1"
AGAIN = "computed again by itself"


@pytest.fixture
def world(demo_database: Database) -> Database:
    """The demo's platform after four evenings of the symbol batch."""
    load_batches(demo_database)
    return demo_database


@pytest.fixture
def home(world: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME as shipped: Dagster's storage is in the night's database."""
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "")  # the storage sets it: taken back afterwards
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    assert load().database_url is not None, world
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of that folder."""
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


def test_a_killed_run_of_the_command_line_is_noticed_and_healed_to_the_same_bytes(
    world: Database, instance: dg.DagsterInstance, server_url: str, demo_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 in the middle of its range: the second look reports it, frees its pool and starts what is left at once."""
    run_id = killed_in_the_middle(world, instance)

    first = look(instance, EVENING)
    assert days_in_flight(instance, CALENDAR) == set(DAYS)
    assert first.run_requests == []
    assert instance.get_runs(RunsFilter(run_ids=[run_id], statuses=[DagsterRunStatus.STARTED]))

    second = look(instance, LATER, first.cursor)

    assert days_in_flight(instance, CALENDAR) == set()
    (failure,) = instance.get_run_records(RunsFilter(run_ids=[run_id]))
    assert failure.dagster_run.status is DagsterRunStatus.FAILURE
    assert last_message(instance, run_id).startswith(
        "The process of this run is gone: nobody holds its sign of life in the database since 21:30:00 New York at the latest"
    )
    assert instance.event_log_storage.get_concurrency_run_ids() == set()
    left = [day for day in DAYS if day >= MIDDLE]
    assert [request.tags["nights"] for request in second.run_requests or []] == [range_tags(left)["nights"]]
    rows = execute(
        world,
        "select target_date, status, error_message from batch_run_tracking where batch_type = 'portfolio_refresh' order by 1",
    )
    gone = f"the process of run {run_id} is gone; the day is computed again by itself"
    assert rows == [(day, *(("failed", gone) if day in left else ("completed", None))) for day in DAYS]
    assert execute(world, "select count(*) from refresh_alerts") == [(0,)]

    (request,) = second.run_requests or []
    assert materialized(instance, request).success
    third = look(instance, LATER + timedelta(seconds=30), second.cursor)
    assert third.run_requests == []
    assert execute(world, "select count(*) from refresh_complete_days") == [(len(DAYS),)]
    healed = all_rows(world)
    with new_database(server_url, demo_template) as (_, url):
        clean = Database(url)
        load_batches(clean)
        monkeypatch.setenv("REFRESH_DATABASE_URL", url)
        monkeypatch.delenv("DAGSTER_HOME")
        assert all(outcome.success for outcome in run_days(load(), DAYS, "all"))
        assert healed == all_rows(clean)


def test_a_run_that_dagster_retries_is_left_to_its_retry(world: Database, instance: dg.DagsterInstance) -> None:
    """One that the daemon launched: the gate pauses, so that not both start the same days."""
    run = died(world, instance, remote_job_origin=ORIGIN)

    after = look(instance, LATER, look(instance, EVENING).cursor)

    (record,) = instance.get_run_records(RunsFilter(run_ids=[run.run_id]))
    assert record.dagster_run.status is DagsterRunStatus.FAILURE
    assert record.dagster_run.tags["dagster/will_retry"] == "true"
    assert after.run_requests == []
    assert "the last run of 2020-02-18 to 2020-02-21 failed, it is tried again at " in words(after)


def test_a_living_run_is_never_taken_for_dead_though_its_connection_is_cut_again_and_again(
    world: Database, instance: dg.DagsterInstance
) -> None:
    """A lost lock is taken again before the next look: nobody who lives is found silent twice."""
    with living(world, instance) as run:
        name = f"refresh-assets lives {run.run_id}"
        cursor, now = None, EVENING
        for _ in range(3):
            cut = execute(
                world, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", name
            )
            assert cut == [(True,)]
            cursor = look(instance, now, cursor).cursor  # may find it silent
            awaited(lambda: held(world, run.run_id))
            cursor, now = look(instance, now + SILENT_FOR, cursor).cursor, now + 2 * SILENT_FOR
        assert status(instance, run) is DagsterRunStatus.STARTED
        assert days_in_flight(instance, CALENDAR) == set(DAYS)
    assert not held(world, run.run_id)


def test_a_run_that_could_not_give_its_sign_is_not_judged(world: Database, instance: dg.DagsterInstance) -> None:
    """It said so in its tags when it began: its silence means nothing."""
    run = started(instance, {SIGN_TAG: NO_SIGN})
    look_twice(instance, datetime.now(UTC) + timedelta(hours=1))
    assert status(instance, run) is DagsterRunStatus.STARTED
    assert world


def test_a_run_over_another_database_is_not_judged(
    world: Database, instance: dg.DagsterInstance, database: Database
) -> None:
    """One Dagster instance may serve two: the silence here of a run that lives there means nothing."""
    run = started(instance)
    with sign_of_life(database, run.run_id) as sign:
        instance.add_run_tags(run.run_id, {SIGN_TAG: sign})
        look_twice(instance, datetime.now(UTC) + timedelta(hours=1))
        assert status(instance, run) is DagsterRunStatus.STARTED
    assert sign != NO_SIGN
    assert not held(world, run.run_id)


@pytest.mark.parametrize("tags", [{}, {SIGN_TAG: "inherited"}], ids=["none", "of the run that it retries"])
def test_a_run_that_never_gave_its_own_sign_has_a_minute_to_start_up(
    world: Database, instance: dg.DagsterInstance, tags: dict[str, str]
) -> None:
    """Its process loads the code, then takes the lock; a kill before that is noticed as well."""
    if tags:
        with sign_of_life(world, "the run before") as sign:
            tags = {SIGN_TAG: sign}
    run = started(instance, tags)
    (record,) = instance.get_run_records(RunsFilter(run_ids=[run.run_id]))
    began = record.create_timestamp

    cursor = look_twice(instance, began + START_UP - 2 * SILENT_FOR)
    assert status(instance, run) is DagsterRunStatus.STARTED
    cursor = look(instance, began + START_UP + SILENT_FOR, cursor).cursor
    look(instance, began + START_UP + 2 * SILENT_FOR, cursor)
    assert status(instance, run) is DagsterRunStatus.FAILURE


def test_runs_that_wait_to_start_are_left_to_dagster(world: Database, instance: dg.DagsterInstance) -> None:
    """A queue may be long, and run monitoring ends a start that takes too long."""
    waiting = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING]
    runs = [started(instance, status=one, remote_job_origin=ORIGIN) for one in waiting]
    look_twice(instance, datetime.now(UTC) + timedelta(days=1))
    assert [status(instance, run) for run in runs] == waiting
    assert world


def test_onboarding_is_in_flight_and_its_death_is_noticed_too(world: Database, instance: dg.DagsterInstance) -> None:
    """It holds the pool as well; the row of a night that was killed before it is not its own."""
    execute(
        world,
        "insert into batch_run_tracking (batch_type, target_date, status) values ('portfolio_refresh', %s, 'running')",
        DAYS[0],
    )
    run = died(world, instance, job=ONBOARDING_JOB)
    assert days_in_flight(instance, CALENDAR) == set(DAYS)

    look_twice(instance, EVENING)

    assert status(instance, run) is DagsterRunStatus.FAILURE
    assert days_in_flight(instance, CALENDAR) == set()
    assert execute(world, "select status from batch_run_tracking where batch_type = 'portfolio_refresh'") == [
        ("running",)
    ]


def test_a_mixed_day_is_named_as_one_that_nobody_mends(world: Database, instance: dg.DagsterInstance) -> None:
    """A killed restatement leaves old tables and new ones: the gate leaves such a day alone, and the words say so."""
    stands_mixed(world, MIDDLE)
    for day in DAYS:
        execute(world, TRACKED, day, datetime.now(UTC))
    run = died(world, instance)

    look_twice(instance, EVENING)

    assert last_message(instance, run.run_id).endswith(
        "by the next one of symbol_batch_sensor. Mixed, of old tables and new ones: 2020-02-20. Only a retry of this run"
        " computes those again by itself. Mend: `refresh-assets status` says what to type."
    )
    gone = f"the process of run {run.run_id} is gone; the day is "
    assert execute(world, f"select error_message from ({OUR_ROWS}) r") == [
        (
            gone
            + (
                "mixed, which is not mended by itself: refresh-assets run --date 2020-02-20" if day == MIDDLE else AGAIN
            ),
        )
        for day in DAYS
    ]


def test_runs_that_never_started_do_not_keep_the_rows_of_a_dead_one(
    world: Database, instance: dg.DagsterInstance
) -> None:
    """Killed before they started, or still to start: they have written no row. Onboarding never does."""
    for state in (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.QUEUED):
        started(instance, status=state, remote_job_origin=ORIGIN)
    started(instance, {SIGN_TAG: NO_SIGN}, job=ONBOARDING_JOB)
    for day in DAYS:
        execute(world, TRACKED, day, datetime.now(UTC))
    died(world, instance)

    look_twice(instance, EVENING)

    assert {row[1] for row in execute(world, OUR_ROWS)} == {"failed"}


def test_rows_of_a_run_that_dagster_ended_are_ended_by_a_later_look(
    world: Database, instance: dg.DagsterInstance
) -> None:
    """Its row stays while a living run is at the day, and where it began outside of the time of the run that ended."""
    run = died(world, instance)
    for day in DAYS[1:]:
        execute(world, TRACKED, day, datetime.now(UTC))
    execute(world, TRACKED, DAYS[0], datetime.now(UTC) - timedelta(days=1))
    instance.report_run_failed(run)

    with living(world, instance):
        look_twice(instance, EVENING)
        assert {row[1] for row in execute(world, OUR_ROWS)} == {"running"}
        (other,) = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
        instance.report_run_failed(other)
    look(instance, EVENING)

    assert [row[1] for row in execute(world, OUR_ROWS)] == ["running", *["failed"] * (len(DAYS) - 1)]


def test_a_day_killed_three_times_wakes_a_person_once(world: Database, instance: dg.DagsterInstance) -> None:
    """Twice is healed in silence; what kills three runs will kill the next."""
    cursor = None
    for number in range(4):
        died(world, instance)
        cursor = look(instance, EVENING + 2 * number * SILENT_FOR, cursor).cursor
        cursor = look(instance, EVENING + (2 * number + 1) * SILENT_FOR, cursor).cursor
        alerts = execute(world, "select kind, day from refresh_alerts order by day")
        assert alerts == ([] if number < 2 else [("night_failed", day) for day in DAYS])
    (text,) = execute(world, "select words from refresh_alerts where day = %s", MIDDLE)[0]
    assert text.startswith("2020-02-20: the night is not complete: 3 runs of it were killed within a day, the last is ")
    assert text.endswith("then refresh-assets run --date 2020-02-20 --scope missing.")


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


def awaited(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Returns as soon as something is so; fails where it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)


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
