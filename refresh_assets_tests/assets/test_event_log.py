"""Dagster's event log during a run: one connection for all of its events, its schema looked at once.

Here: the shipped storage on a real PostgreSQL. Not here: whole runs on it (automation/test_live.py, test_liveness.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import Engine, event

from refresh_assets.assets.event_log import on_one_connection
from refresh_assets.automation.dagster_storage import NightStorage
from refresh_assets.store.database import Database
from refresh_assets_tests.worlds import execute

SESSIONS = (
    "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    " and backend_type = 'client backend'"
)
TICKS = dg.AssetKey("ticks")


@pytest.fixture
def instance(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance over the shipped storage."""
    monkeypatch.setenv("REFRESH_DATABASE_URL", database.url)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "")  # set by the storage; taken back after the test
    storage = {"module": NightStorage.__module__, "class": NightStorage.__name__, "config": {}}
    with dg.instance_for_test(overrides={"storage": {"custom": storage}}) as one:
        yield one


def tick(instance: dg.DagsterInstance) -> int:
    """Write one event; how many there are."""
    instance.report_runless_asset_event(dg.AssetMaterialization(TICKS))
    return len(instance.fetch_materializations(TICKS, limit=10).records)


def test_events_share_a_connection_and_survive_its_end(instance: dg.DagsterInstance, database: Database) -> None:
    """One session, idle between two events; the server ends it, and the next event is written all the same."""
    with on_one_connection(instance):
        assert tick(instance) == 1
        kept = execute(database, SESSIONS)
        assert len(kept) == 1
        with on_one_connection(instance):
            assert tick(instance) == 2
        assert execute(database, SESSIONS) == kept

        execute(database, "select pg_terminate_backend(%s, 5000)", kept[0][0])
        assert tick(instance) == 3
        assert execute(database, SESSIONS) != kept


def test_the_runs_status_goes_the_same_way(instance: dg.DagsterInstance, database: Database) -> None:
    """The run is read and written, between two events, without another connection; afterwards it is what was written."""
    run_id = dg.job(name="nothing")(lambda: None).execute_in_process(instance=instance).run_id
    made: list[object] = []

    def note(connection: object, _record: object) -> None:
        made.append(connection)

    with on_one_connection(instance):
        tick(instance)
        event.listen(Engine, "connect", note)
        try:
            instance.add_run_tags(run_id, {"seen": "yes"})
        finally:
            event.remove(Engine, "connect", note)
    assert made == []
    assert execute(database, SESSIONS) == []
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["seen"] == "yes"


def test_what_tables_there_are_is_asked_once_a_run(instance: dg.DagsterInstance) -> None:
    """Dagster looks into PostgreSQL's catalogue at each event of an asset and of a check."""
    asked: list[str] = []
    check = dg.AssetCheckEvaluation(asset_key=TICKS, check_name="ticks", passed=True, metadata={})

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.extend([statement] if "pg_catalog" in statement else [])

    def events() -> None:
        tick(instance)
        instance.report_runless_asset_event(check)
        instance.get_asset_records([TICKS])

    with on_one_connection(instance):
        event.listen(instance.event_log_storage._engine, "before_cursor_execute", note)  # type: ignore[attr-defined]
        events()
        assert asked
        asked.clear()
        events()
        assert asked == []


def test_no_session_is_left_after_the_run(instance: dg.DagsterInstance, database: Database) -> None:
    """Also where it failed; the instance goes on as Dagster made it."""
    with suppress(ZeroDivisionError), on_one_connection(instance):
        assert tick(instance) == 1
        raise ZeroDivisionError
    assert execute(database, SESSIONS) == []
    assert tick(instance) == 2
    assert execute(database, SESSIONS) == []


def test_a_log_that_is_not_in_postgresql_stays_as_it_is() -> None:
    """An instance of one process keeps its events in memory."""
    with dg.DagsterInstance.ephemeral() as instance, on_one_connection(instance):
        assert tick(instance) == 1
