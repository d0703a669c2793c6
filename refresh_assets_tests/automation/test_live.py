"""The product under a real Dagster deployment: webserver, daemon, code servers and run workers, asked over GraphQL.

Here: what only they can show: a backfill, ticks of sensor and schedule, a run worker that is killed, everything killed at once.
Not here: starting them (live.py), the figures (core/), each rule of the gate (test_gate.py)."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, ScheduleInstigatorData

from refresh_assets.assets.run_days import range_tags
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.demo.world import symbol_batch
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests.automation.live import LOCATION, Deployment, deployed
from refresh_assets_tests.conftest import new_database

CALENDAR = TradingCalendar()
DAYS = CALENDAR.days(date(2020, 2, 18), date(2020, 3, 16))
"""20 trading days whose symbol batch completed."""
NEXT = date(2020, 3, 17)
HOLE = DAYS[5]
RANGE = DAYS[10:]
"""Of the run that is killed; without the hole, for the gate waits 5 minutes after a failed run of a day."""
MIDDLE = RANGE[5]
SENSOR = {**LOCATION, "sensorName": "symbol_batch_sensor"}
SCHEDULE = {**LOCATION, "scheduleName": "portfolio_refresh_schedule"}


@pytest.fixture(scope="module")
def platform(server_url: str, demo_template: str) -> Iterator[Database]:
    """The demo's platform after the symbol batches of 20 days; no night has run."""
    with new_database(server_url, demo_template) as (_, url):
        database = Database(url)
        with database.connect() as connection:
            for day in DAYS:
                symbol_batch(connection, day)
        yield database


@pytest.fixture(scope="module")
def deployment(platform: Database) -> Iterator[Deployment]:
    """The webserver of a deployment over that platform; sensor and schedule are stopped, the daemon is not up yet."""
    with tempfile.TemporaryDirectory(prefix="live-", ignore_cleanup_errors=True) as home:
        settings = {
            "REFRESH_DATABASE_URL": platform.url,
            "REFRESH_START_DATE": DAYS[0].isoformat(),
            "REFRESH_GATE_INTERVAL_SECONDS": "5",
        }
        with deployed(Path(home), **settings) as deployment:
            stop_sensor(deployment)
            stop_schedule(deployment)
            yield deployment


def test_a_backfill_asked_for_while_the_daemon_is_down_completes_every_day_once_it_is_up(
    deployment: Deployment, platform: Database
) -> None:
    """20 missed nights, all assets of the night, in one run; tables and UI agree on what is there."""
    keys = night_assets(deployment)
    assert {*DAY_TABLES} <= {"/".join(key) for key in keys}
    params = {
        "assetSelection": [{"path": key} for key in keys],
        "partitionNames": [day.isoformat() for day in DAYS],
    }
    launched = deployment.ask(LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched

    deployment.start_daemon()

    def ended() -> Any:
        backfill = deployment.ask(BACKFILL, id=launched["backfillId"])["partitionBackfillOrError"]
        return None if backfill["status"] in ("REQUESTED", "COMPLETING") else backfill

    backfill = deployment.awaited("the backfill to end", ended, 120)
    assert backfill["status"] == "COMPLETED_SUCCESS", deployment.logs()
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS"]
    complete = complete_days(platform)
    assert set(complete) >= set(DAYS)
    nodes = deployment.ask(PARTITION_STATS, keys=[{"path": [table]} for table in DAY_TABLES])["assetNodes"]
    assert [one["partitionStats"] for one in nodes] == [{"numMaterialized": len(complete), "numFailed": 0}] * 4


def test_the_sensor_heals_a_hole_and_a_late_batch_by_itself(deployment: Deployment, platform: Database) -> None:
    """Nobody asks for a run: what is missing in the tables is enough."""
    table = "correlation_calculations"
    with platform.connect() as connection:
        connection.execute(f"delete from {table} where calculation_date = %s", [HOLE])
        connection.execute("delete from refresh_days where calculation_date = %s and table_name = %s", [HOLE, table])
        symbol_batch(connection, NEXT)
    deployment.start_daemon()

    started = deployment.ask(START_SENSOR, selector=SENSOR)["startSensor"]
    assert started["__typename"] == "Sensor", started
    try:
        deployment.awaited("the sensor to heal", lambda: complete_days(platform) == [*DAYS, NEXT], 60)
        deployment.awaited("its runs to end", lambda: not unfinished_runs(deployment), 30)
    finally:
        stop_sensor(deployment)
    runs = deployment.ask(RUNS_TAGGED, key="dagster/sensor_name", value=SENSOR["sensorName"])["runsOrError"]["results"]
    assert runs
    assert {run["status"] for run in runs} == {"SUCCESS"}


def test_the_schedule_fires_for_an_evening_that_it_missed(
    deployment: Deployment, platform: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turned on a week ago, as it were: the daemon fires it for the last evening. It heals the hole, or says that the
    evening was a holiday's."""
    table, hole = "factor_exposures", DAYS[3]
    with platform.connect() as connection:
        connection.execute(f"delete from {table} where calculation_date = %s", [hole])
        connection.execute("delete from refresh_days where calculation_date = %s and table_name = %s", [hole, table])
    deployment.start_daemon()

    evening = last_weekday_evening(datetime.now(NEW_YORK))
    turn_on_schedule(deployment, monkeypatch, datetime.now(UTC) - timedelta(days=7))
    try:
        deployment.awaited("a tick of the schedule", lambda: ticks_of_schedule(deployment) not in ([], ["STARTED"]), 90)
        if CALENDAR.days(evening, evening):
            deployment.awaited("the schedule to heal the hole", lambda: hole in complete_days(platform), 90)
            deployment.awaited("its runs to end", lambda: not unfinished_runs(deployment), 30)
    finally:
        stop_schedule(deployment)
    runs = deployment.ask(RUNS_TAGGED, key="dagster/schedule_name", value=SCHEDULE["scheduleName"])["runsOrError"]
    if CALENDAR.days(evening, evening):
        assert [run["status"] for run in runs["results"]] == ["SUCCESS"]
    else:
        assert runs["results"] == []
        (tick,) = deployment.ask(SCHEDULE_STATE, selector=SCHEDULE)["scheduleOrError"]["scheduleState"]["ticks"]
        assert tick["status"] == "SKIPPED"
        assert f"{evening} is no trading day" in tick["skipReason"]


def test_a_run_whose_worker_is_killed_is_noticed_and_tried_again(deployment: Deployment, platform: Database) -> None:
    """kill -9 while it writes a day in the middle of its range: the days before stand, and the retry does the others.

    The code server that started the worker notices: Dagster's run monitoring looks at the age of such a run alone."""
    forget_range(platform)
    deployment.start_daemon()

    with held_claim(platform, "stress_test_results", MIDDLE):
        run = launch_range(deployment)
        deployment.awaited("the run to reach the day", lambda: someone_waits(platform), 60)
        assert run_of(deployment, run)["status"] == "STARTED"
        os.kill(worker_of(deployment, run), signal.SIGKILL)
    deployment.awaited("the kill to be noticed", lambda: run_of(deployment, run)["status"] == "FAILURE", 60)
    assert set(complete_days(platform)).intersection(RANGE) == {day for day in RANGE if day < MIDDLE}

    retry = deployment.awaited("a second try", lambda: retries_of(deployment, run), 60)[0]
    status = deployment.awaited("the second try to end", lambda: ended_as(deployment, retry), 60)
    assert status == "SUCCESS", deployment.logs()
    assert set(complete_days(platform)) >= set(RANGE)


def test_everything_killed_at_once_heals_by_itself_once_it_is_up_again(
    deployment: Deployment, platform: Database
) -> None:
    """Webserver, daemon, code servers and worker, kill -9: nobody is left to notice but the sensor's next looks.

    The run is reported as failed, with words, and its days are computed again; nobody clicks, and nobody is woken."""
    forget_range(platform)
    deployment.start_daemon()
    with held_claim(platform, "stress_test_results", MIDDLE):
        run = launch_range(deployment)
        deployment.awaited("the run to reach the day", lambda: someone_waits(platform), 120)
        assert deployment.ask(START_SENSOR, selector=SENSOR)["startSensor"]["__typename"] == "Sensor"
        worker = worker_of(deployment, run)
        deployment.kill()
    deployment.awaited("the worker to be gone", lambda: is_gone(worker), 10)

    deployment.start_webserver()
    assert run_of(deployment, run)["status"] == "STARTED"
    deployment.start_daemon()
    try:
        deployment.awaited("the death to be noticed", lambda: ended_as(deployment, run) == "FAILURE", 120)
        # Mostly by Dagster's retry, within seconds; where its daemon missed the failure, by the gate after five minutes.
        deployment.awaited("the days to heal", lambda: set(complete_days(platform)) >= set(RANGE), 420)
        deployment.awaited("every run to end", lambda: not unfinished_runs(deployment), 60)
    finally:
        stop_sensor(deployment)
    messages = [event.get("message") or "" for event in run_of(deployment, run)["eventConnection"]["events"]]
    assert [text for text in messages if text.startswith("The process of this run is gone: ")]
    assert all(ended_as(deployment, retry) == "SUCCESS" for retry in retries_of(deployment, run)), deployment.logs()
    with platform.connect() as connection:
        alerts = connection.execute("select * from refresh_alerts where day = any(%s)", [RANGE]).fetchall()
    assert alerts == []


def forget_range(database: Database) -> None:
    """The days of the range as if their nights had never run."""
    with database.connect() as connection:
        for table, column in DAY_TABLES.items():
            connection.execute(f"delete from {table} where {column} = any(%s)", [RANGE])
        connection.execute("delete from refresh_days where calculation_date = any(%s)", [RANGE])


def complete_days(database: Database) -> list[date]:
    """Days of which all four tables are complete."""
    with database.connect() as connection:
        rows = connection.execute("select calculation_date from refresh_complete_days order by 1").fetchall()
    return [row[0] for row in rows]


@contextmanager
def held_claim(database: Database, table: str, day: date) -> Iterator[None]:
    """Within the block another session has the claim of a day of a table: whoever writes the day waits."""
    with database.connect() as connection:
        connection.execute("select pg_advisory_xact_lock(hashtext(%s), %s)", [f"refresh {table}", day_number(day)])
        yield


def someone_waits(database: Database) -> bool:
    """Whether a session of this database waits for a claim."""
    with database.connect() as connection:
        row = connection.execute(
            "select exists (select from pg_locks where locktype = 'advisory' and not granted and database ="
            " (select oid from pg_database where datname = current_database()))"
        ).fetchone()
    return bool(row and row[0])


def night_assets(deployment: Deployment) -> list[list[str]]:
    """The keys of what a night materializes."""
    nodes = deployment.ask("{ assetNodes { assetKey { path } groupName isMaterializable isPartitioned } }")[
        "assetNodes"
    ]
    return [
        one["assetKey"]["path"]
        for one in nodes
        if one["groupName"] == "portfolio_refresh" and one["isMaterializable"] and one["isPartitioned"]
    ]


def launch_range(deployment: Deployment) -> str:
    """The id of a run of the night's job over the range, for what is missing."""
    params = {
        "selector": {**LOCATION, "jobName": "portfolio_refresh"},
        "runConfigData": {"resources": {"refresh": {"config": {"scope": "missing"}}}},
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in range_tags(RANGE).items()]},
    }
    launched = deployment.ask(LAUNCH_RUN, params=params)["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def run_of(deployment: Deployment, run: str) -> Any:
    """A run: its status and the messages of its log."""
    return deployment.ask(RUN, id=run)["runOrError"]


def worker_of(deployment: Deployment, run: str) -> int:
    """The pid of a run's worker, as the run's log names it."""
    messages = [event.get("message", "") for event in run_of(deployment, run)["eventConnection"]["events"]]
    (pid,) = re.findall(r"Started process for run \(pid: (\d+)\)", "\n".join(messages))
    return int(pid)


def is_gone(pid: int) -> bool:
    """Whether there is no process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def retries_of(deployment: Deployment, run: str) -> list[str]:
    """The ids of the runs that try a run again."""
    found = deployment.ask(RUNS, filter={"tags": [{"key": "dagster/parent_run_id", "value": run}]})
    return [one["runId"] for one in found["runsOrError"]["results"]]


def unfinished_runs(deployment: Deployment) -> list[str]:
    """The ids of the runs that wait or work."""
    statuses = ["QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"]
    return [one["runId"] for one in deployment.ask(RUNS, filter={"statuses": statuses})["runsOrError"]["results"]]


def ended_as(deployment: Deployment, run: str) -> str | None:
    """How a run ended; None while it has not."""
    status = str(run_of(deployment, run)["status"])
    return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None


def stop_sensor(deployment: Deployment) -> None:
    """No look after this one, and none under way."""

    def state() -> Any:
        return deployment.ask(SENSOR_STATE, selector=SENSOR)["sensorOrError"]["sensorState"]

    stopped = deployment.ask(STOP_SENSOR, id=state()["id"])["stopSensor"]
    assert stopped["instigationState"]["status"] == "STOPPED", stopped
    deployment.awaited("the last look to end", lambda: {"status": "STARTED"} not in state()["ticks"], 30)


def stop_schedule(deployment: Deployment) -> None:
    """It would start what is missing at 21:30 New York, whatever a test does then."""
    schedule = deployment.ask(SCHEDULE_STATE, selector=SCHEDULE)["scheduleOrError"]
    stopped = deployment.ask(STOP_SCHEDULE, id=schedule["scheduleState"]["id"])["stopRunningSchedule"]
    assert stopped["scheduleState"]["status"] == "STOPPED", stopped


def ticks_of_schedule(deployment: Deployment) -> list[str]:
    """The status of its last tick, if there is one."""
    schedule = deployment.ask(SCHEDULE_STATE, selector=SCHEDULE)["scheduleOrError"]
    return [tick["status"] for tick in schedule["scheduleState"]["ticks"]]


def last_weekday_evening(now: datetime) -> date:
    """The day of the schedule's last tick: 21:30 New York from Monday to Friday, holidays among them."""
    day = now.date() if now.time() >= time(21, 30) else now.date() - timedelta(days=1)
    return day - timedelta(days=max(day.weekday() - 4, 0))


def turn_on_schedule(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, since: datetime) -> None:
    """As if it ran since an instant. GraphQL starts one from now on only, so Dagster's instance is told itself."""
    for name, word in deployment.environment.items():
        if name.startswith(("REFRESH_", "DAGSTER_")):
            monkeypatch.setenv(name, word)
    with dg.DagsterInstance.get() as instance:
        (state,) = (one for one in instance.all_instigator_state() if one.instigator_name == SCHEDULE["scheduleName"])
        assert isinstance(state.instigator_data, ScheduleInstigatorData)
        since_then = ScheduleInstigatorData(state.instigator_data.cron_schedule, since.timestamp())
        instance.update_instigator_state(state.with_status(InstigatorStatus.RUNNING).with_data(since_then))


LAUNCH_BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status runs { status } } } }"""
PARTITION_STATS = """
query ($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) { partitionStats { numMaterialized numFailed } } }"""
LAUNCH_RUN = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUN = """
query ($id: ID!) { runOrError(runId: $id) {
    ... on Run { status eventConnection { events { ... on MessageEvent { message } } } } } }"""
RUNS = """
query ($filter: RunsFilter) { runsOrError(filter: $filter) { ... on Runs { results { runId } } } }"""
RUNS_TAGGED = """
query ($key: String!, $value: String!) { runsOrError(filter: {tags: [{key: $key, value: $value}]}) {
    ... on Runs { results { status } } } }"""
SENSOR_STATE = """
query ($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
    ... on Sensor { sensorState { id ticks(limit: 1) { status } } } } }"""
START_SENSOR = """
mutation ($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
    __typename ... on PythonError { message } } }"""
STOP_SENSOR = """
mutation ($id: String) { stopSensor(id: $id) {
    ... on StopSensorMutationResult { instigationState { status } } ... on PythonError { message } } }"""
SCHEDULE_STATE = """
query ($selector: ScheduleSelector!) { scheduleOrError(scheduleSelector: $selector) {
    ... on Schedule { scheduleState { id ticks(limit: 1) { status skipReason } } } } }"""
STOP_SCHEDULE = """
mutation ($id: String) { stopRunningSchedule(id: $id) {
    ... on ScheduleStateResult { scheduleState { status } } ... on PythonError { message } } }"""
