"""The checks of the night: each passes on a good night and fails, by name and day, on a table that somebody tampered with.

Here: real Dagster runs, the evaluations that they leave in the instance. Not here: how the figures come about (core/), who
is due (store/test_expected.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import dagster as dg
import pytest
from dagster import DagsterEventType, serialize_value

from refresh_assets.assets.checks import PROMISES
from refresh_assets.assets.run_days import range_tags
from refresh_assets.automation.launch import ALL, Outcome, run_days
from refresh_assets.definitions import defs
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests import worlds
from refresh_assets_tests.assets.conftest import platform
from refresh_assets_tests.assets.tampering import TAMPERED
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, execute, insert, uid

ALONE = dg.Definitions.merge(
    defs, dg.Definitions(jobs=[dg.define_asset_job("checks_alone", selection=dg.AssetSelection.all_asset_checks())])
).resolve_job_def("checks_alone")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
EVERY = {(one.table, one.name) for one in PROMISES}
Evaluations = dict[tuple[str, str], dg.AssetCheckEvaluation]


@pytest.fixture(scope="module")
def good_nights(server_url: str, initialised_template: str) -> Iterator[str]:
    """The name of a database with two good nights."""
    with new_database(server_url, initialised_template) as (name, url):
        platform(Database(url))
        worlds.run(Database(url), BEFORE, DAY)
        yield name


@pytest.fixture
def after_two_nights(server_url: str, good_nights: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """Two good nights in a database of its own, to which the environment's settings point."""
    with new_database(server_url, good_nights) as (_, url):
        monkeypatch.setenv("REFRESH_DATABASE_URL", url)
        yield Database(url)


def evaluations(instance: dg.DagsterInstance, run_id: str) -> Evaluations:
    """What the checks of a run said; fails where one said it twice."""
    records = instance.get_records_for_run(run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION).records
    found: Evaluations = {}
    for record in records:
        event = record.event_log_entry.dagster_event
        assert event is not None
        one = event.asset_check_evaluation_data
        key = one.asset_key.to_user_string(), one.check_name
        assert key not in found
        found[key] = one
    return found


def launched(*days: date, **arguments: object) -> tuple[Outcome, Evaluations]:
    """A run as the command makes it, and what its checks said."""
    (outcome,) = run_days(load(), list(days), ALL, **arguments)  # type: ignore[arg-type]
    with dg.DagsterInstance.get() as instance:
        return outcome, evaluations(instance, outcome.run_id)


def checked(*days: date) -> Evaluations:
    """The checks alone: on some days, or without a day."""
    tags = range_tags(days) if days else None
    with dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}}) as instance:
        result = ALONE.execute_in_process(instance=instance, tags=tags, run_config=QUIET)
        assert result.success
        return evaluations(instance, result.run_id)


def failed(found: Evaluations) -> set[tuple[str, str]]:
    return {key for key, one in found.items() if not one.passed}


def days_shown(one: dg.AssetCheckEvaluation) -> list[str]:
    """The first column of its table of days, each once."""
    lines = str(one.metadata["days"].value).splitlines()[2:]
    return list(dict.fromkeys(line.split("|")[1].strip() for line in lines))


def test_every_check_passes_on_a_good_range_with_one_result_and_a_row_a_day(home: Database) -> None:
    """Two days in one run: each check says one thing, of both days; a capped loss is among what adds up."""
    outcome, found = launched(BEFORE, DAY)

    assert outcome.success
    assert set(found) == EVERY
    assert failed(found) == set()
    for key, one in found.items():
        if key[1] != "latest_day_complete":
            assert days_shown(one) == [BEFORE.isoformat(), DAY.isoformat()]
            assert one.metadata["looked_at"] != dg.MetadataValue.int(0), key
    assert execute(home, "select distinct portfolio_id from stress_test_results where is_capped") == [
        (uid("portfolio", 3),)
    ]


@pytest.mark.usefixtures("home")
def test_after_a_range_the_latest_record_of_each_check_is_its_result() -> None:
    """Not a plan for a day of it: what Dagster's UI would show as still to come, for ever."""
    outcome, _ = launched(BEFORE, DAY)

    with dg.DagsterInstance.get() as instance:
        keys = [dg.AssetCheckKey(dg.AssetKey(table), name) for table, name in sorted(EVERY)]
        summaries = instance.event_log_storage.get_asset_check_summary_records(keys)
        states = {key: summaries[key].last_check_execution_record for key in keys}
    assert {str(one.status.value) for one in states.values() if one is not None} == {"SUCCEEDED"}
    assert {one.run_id for one in states.values() if one is not None} == {outcome.run_id}


@pytest.mark.usefixtures("home")
def test_a_result_is_about_what_its_run_wrote() -> None:
    """As Dagster would say it: the latest materialization of the table, for each check and in a run of the checks alone."""
    outcome, found = launched(BEFORE, DAY)

    with dg.DagsterInstance.get() as instance:
        latest = {
            record.asset_entry.asset_key.to_user_string(): record.asset_entry.last_materialization_record
            for record in instance.get_asset_records([dg.AssetKey(table) for table in DAY_TABLES])
        }
        alone = ALONE.execute_in_process(instance=instance, run_config=QUIET)
        again = evaluations(instance, alone.run_id)
    for (table, _), one in (*found.items(), *again.items()):
        target, written = one.target_materialization_data, latest[table]
        assert target is not None
        assert written is not None
        assert (target.run_id, target.storage_id) == (outcome.run_id, written.storage_id)


@pytest.mark.usefixtures("home")
def test_what_dagster_writes_of_a_check_does_not_grow_with_the_years() -> None:
    """It writes the partitions into each check's plan, twice: of every closed day by its date, that is 100 kB a check."""
    outcome, _ = launched(DAY)

    with dg.DagsterInstance.get() as instance:
        planned = instance.get_records_for_run(
            outcome.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
        ).records
    sizes = [len(serialize_value(record.event_log_entry)) for record in planned]
    assert len(sizes) == len(EVERY)
    assert max(sizes) < 20_000


@pytest.mark.usefixtures("home")
def test_a_run_of_some_assets_asks_their_checks_alone() -> None:
    """`run --select`: what others promise is not asked again, and an asset without checks has none."""
    launched(DAY)

    outcome, found = launched(DAY, select=["portfolio_snapshots"])
    view, none = launched(DAY, select=["pairwise_correlations"])

    assert outcome.success
    assert view.success
    assert {table for table, _ in found} == {"portfolio_snapshots"}
    assert failed(found) | set(none) == set()


def test_a_check_that_fails_does_not_fail_the_run(home: Database) -> None:
    """The rows are committed: the run is a success, and the warning stands in the instance."""
    latest = CALENDAR.effective_date(datetime.now(UTC))
    insert(home, "market_data_cache", {"symbol": "AAA", "date": latest, "close_price": 60})
    insert(home, "batch_run_tracking", *worlds.batch(latest))

    outcome, found = launched(DAY)

    assert (outcome.success, outcome.error) == (True, None)
    assert failed(found) == {("stress_test_results", "latest_day_complete")}
    one = found["stress_test_results", "latest_day_complete"]
    assert one.severity == dg.AssetCheckSeverity.WARN
    assert one.description == (
        f"the latest day that is ready is {latest}, the latest complete one {DAY}. Mend: refresh-assets run"
    )


def test_onboarding_asks_no_check() -> None:
    """One portfolio's rows are added: what is promised of whole days is not asked for each."""
    nodes = {node.name for node in defs.resolve_job_def("onboard_portfolio").nodes}
    assert "night_checks" not in nodes
    assert "night_checks" in {node.name for node in defs.resolve_job_def("portfolio_refresh").nodes}


def test_no_check_is_blocking_or_has_partitions() -> None:
    """A blocking one would stop a whole range, one with partitions would stay planned for ever."""
    graph = defs.resolve_asset_graph()
    assert {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys} == EVERY
    assert not any(graph.get(key).blocking or graph.get(key).partitions_def for key in graph.asset_check_keys)


@pytest.mark.usefixtures("after_two_nights")
def test_checks_alone_look_at_the_latest_complete_day() -> None:
    """As a person who executes them in the UI: without a day."""
    found = checked()
    assert failed(found) == set()
    assert days_shown(found["stress_test_results", "impacts_add_up"]) == [DAY.isoformat()]


def test_checks_of_a_platform_without_a_night_pass(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to promise yet."""
    monkeypatch.setenv("REFRESH_DATABASE_URL", database.url)
    assert failed(checked()) == set()


@pytest.mark.parametrize(
    ("key", "statement", "words"),
    [pytest.param(key, *case, id=name) for key, cases in TAMPERED.items() for name, case in cases.items()],
)
def test_a_table_that_was_tampered_with_is_found_out(
    after_two_nights: Database, key: tuple[str, str], statement: str, words: str
) -> None:
    """By the check that promises it, with the day and the portfolio or row at fault, as grave as it is."""
    for one in statement.split(";"):
        ((changed,),) = execute(after_two_nights, f"with t as ({one} returning 1) select count(*) from t")
        assert changed

    found = checked(BEFORE, DAY)

    assert not found[key].passed
    assert words in str(found[key].description)
    assert words in str(found[key].metadata["days"].value) or "coverage" in words
    is_warning = key[1] == "everyone_accounted_for" or "coverage" in words
    assert (found[key].severity == dg.AssetCheckSeverity.WARN) is is_warning


def test_a_day_without_a_close_breaks_no_promise(after_two_nights: Database) -> None:
    """It is skipped, and the table of days says so."""
    skipped = CALENDAR.next_on_or_after(date(2026, 3, 16))
    row = "insert into refresh_days values (%s, %s, 'skipped', 0, 0, 0, 0, 0, '', '{}', 'run', '1', now())"
    for table in DAY_TABLES:
        execute(after_two_nights, row, skipped, table)

    found = checked(DAY, skipped)

    assert failed(found) == set()
    assert f"| {skipped} | factor_exposures | 0 | 0 | 4 | skipped: not one close |" in str(
        found["portfolio_snapshots", "everyone_accounted_for"].metadata["days"].value
    )
