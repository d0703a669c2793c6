"""Dagster's event log during a run: one connection for all of its events.

Here: the shipped storage on a real PostgreSQL. Not here: whole runs on it (automation/test_live.py, test_liveness.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import dagster as dg
import pytest

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
