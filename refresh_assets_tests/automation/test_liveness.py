"""A run whose process dies is noticed by the looks of the sensor, and what it left is healed; one that lives is left alone.

Here: a run of the command line that is killed with -9, every kind of run that must not be taken for dead. Not here: the
sign of life itself (store/test_liveness.py), a deployment in which everything dies at once (test_live.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from refresh_assets.assets.refresh import ONBOARDING_JOB
from refresh_assets.assets.run_days import range_tags
from refresh_assets.automation.launch import run_days
from refresh_assets.automation.runs import JOB, SILENT_FOR, START_UP
from refresh_assets.automation.sensor import days_in_flight
from refresh_assets.calendar import NEW_YORK
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.liveness import NO_SIGN, SIGN_TAG, sign_of_life
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests.automation.dying import (
    CALENDAR,
    DAYS,
    MIDDLE,
    ROOT,
    all_rows,
    died,
    held,
    killed_in_the_middle,
    last_message,
    living,
    load_batches,
    look,
    look_twice,
    materialized,
    stands_mixed,
    started,
    status,
    words,
)
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.worlds import awaited, execute

EVENING = datetime(2020, 2, 21, 21, 30, tzinfo=NEW_YORK)
LATER = EVENING + SILENT_FOR
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
    for table in DAY_TABLES:  # no step had ended: what was committed is told by the look
        stand = (
            "select calculation_date::text from refresh_days where status = 'complete' and table_name = %s order by 1"
        )
        days = [day for (day,) in execute(world, stand, table)]
        assert sorted(instance.get_materialized_partitions(dg.AssetKey(table))) == days
        assert days[:2] == [str(day) for day in DAYS if day < MIDDLE]

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
