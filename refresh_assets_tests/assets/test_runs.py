"""Nights through Dagster: a real instance, a real PostgreSQL, the demo's world.

Here: what a run leaves in Dagster and in the tables. Not here: the figures (core/, test_agreement.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from refresh_assets.assets.run_days import range_tags
from refresh_assets.calendar import TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.demo.world import symbol_batch
from refresh_assets.store.database import Database

FIRST, LAST = date(2020, 2, 18), date(2020, 2, 21)
DAYS = TradingCalendar().days(FIRST, LAST)
TABLES = ("portfolio_snapshots", "correlation_calculations", "factor_exposures", "stress_test_results")
NIGHTLY = (*TABLES, "pairwise_correlations", "inline_symbol_betas", "position_market_values")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps its runs and events on disk."""
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as local:
        yield local


@pytest.fixture
def four_days(demo_database: Database) -> Database:
    """The demo's platform after four evenings of the symbol batch."""
    with demo_database.connect() as connection:
        for day in DAYS:
            symbol_batch(connection, day)
    return demo_database


def run(instance: dg.DagsterInstance, days: list[date], **arguments: Any) -> dg.ExecuteInProcessResult:
    """The job over a range of days."""
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    config = {**quiet, **arguments.pop("run_config", {})}
    job = defs.resolve_job_def("portfolio_refresh")
    return job.execute_in_process(instance=instance, tags=range_tags(days), run_config=config, **arguments)


def contents(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the night's tables, in order."""
    with database.connect() as connection:
        return {
            table: connection.execute(f"select t.*::text from {table} t order by 1").fetchall()
            for table in (*TABLES, "refresh_exceptions", "refresh_marks", "stress_factor_shocks")
        }


def one_row(connection: Any, query: str, values: list[Any] | None = None) -> tuple[Any, ...]:
    """The only row of a query."""
    (row,) = connection.execute(query, values).fetchall()
    return tuple(row)


def materialized(instance: dg.DagsterInstance, asset: str) -> list[str]:
    """The partitions of an asset that Dagster shows as materialized."""
    return sorted(instance.get_materialized_partitions(dg.AssetKey(asset)))


def test_one_partition_fills_every_table_of_that_day(four_days: Database, instance: dg.DagsterInstance) -> None:
    """One run of one day: all tables complete, of one set of inputs."""
    result = run(instance, [FIRST])

    assert result.success
    with four_days.connect() as connection:
        assert connection.execute("select calculation_date from refresh_complete_days").fetchall() == [(FIRST,)]


def test_a_range_in_one_run_equals_its_days_one_by_one(four_days: Database, instance: dg.DagsterInstance) -> None:
    """A backfill of four days as one run gives the bytes of four nights, and a partition for each."""
    assert run(instance, DAYS).success
    in_one_run = contents(four_days)
    with four_days.connect() as connection:
        for table in in_one_run:
            connection.execute(f"delete from {table}")
        connection.execute("delete from refresh_days")
        connection.execute("delete from symbol_factor_exposures")
    for day in DAYS:
        assert run(instance, [day]).success

    assert contents(four_days) == in_one_run
    for asset in NIGHTLY:
        assert materialized(instance, asset) == [day.isoformat() for day in DAYS]


def test_each_partition_tells_what_an_on_call_needs(four_days: Database, instance: dg.DagsterInstance) -> None:
    """Metadata of a day: portfolios due, done, partial, failed, skipped; rows; omissions in words; seconds; digest."""
    run(instance, DAYS)

    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("portfolio_snapshots"), asset_partitions=[LAST.isoformat()]), limit=1
    ).records
    metadata = records[0].asset_materialization.metadata  # type: ignore[union-attr]
    figures: dict[str, Any] = {name: value.value for name, value in metadata.items()}
    with four_days.connect() as connection:
        digest, portfolios = one_row(
            connection,
            "select inputs_digest, portfolios from refresh_days where calculation_date = %s and table_name = %s",
            [LAST, "portfolio_snapshots"],
        )
        partial = one_row(
            connection, "select count(*) from portfolio_snapshots where snapshot_date = %s and is_partial", [LAST]
        )[0]

    assert figures["inputs_digest"] == digest
    assert figures["portfolios_due"] == figures["portfolios_done"] == figures["rows"] == portfolios
    assert figures["portfolios_partial"] == partial == 1
    assert figures["portfolios_failed"] == figures["portfolios_skipped"] == 0
    assert figures["seconds"] > 0
    assert "| no_price | 1 | no close on the day" in figures["left_out"]


def test_rerunning_a_day_changes_not_one_byte(four_days: Database, instance: dg.DagsterInstance) -> None:
    """The same inputs give the same bytes, and no restatement is recorded."""
    run(instance, DAYS)
    before = contents(four_days)

    run(instance, DAYS)

    assert contents(four_days) == before
    with four_days.connect() as connection:
        assert one_row(connection, "select count(*) from refresh_restatements") == (0,)


def test_a_future_day_is_refused_and_nothing_is_written(four_days: Database, instance: dg.DagsterInstance) -> None:
    """A day after the effective trading date fails its run by name, wherever the key comes from."""
    ahead = TradingCalendar().next_on_or_after(date(date.today().year + 1, 3, 1))

    result = run(instance, [ahead], raise_on_error=False)

    assert not result.success
    with four_days.connect() as connection:
        assert one_row(connection, "select count(*) from refresh_days") == (0,)


def test_a_day_without_a_price_is_skipped_and_does_not_stop_the_rest(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """Not one close on a day: it is skipped by name, the other days are computed; it heals when closes come."""
    hole = DAYS[1]
    with four_days.connect() as connection:
        closes = connection.execute("select * from market_data_cache where date = %s", [hole]).fetchall()
        connection.execute("delete from market_data_cache where date = %s", [hole])

    assert run(instance, DAYS).success

    with four_days.connect() as connection:
        states = dict(
            connection.execute(
                "select calculation_date, status from refresh_days where table_name = 'portfolio_snapshots'"
            ).fetchall()
        )
        detail = connection.execute("select detail from refresh_exceptions where code = 'no_prices'").fetchall()
        connection.cursor().executemany("insert into market_data_cache values (%s, %s, %s)", closes)
    assert states == {day: "skipped" if day == hole else "complete" for day in DAYS}
    assert detail == [
        (f"market_data_cache has not one close of {hole}. Mend: have the symbol batch load it; the day then heals.",)
    ]
    assert run(instance, [hole]).success
    with four_days.connect() as connection:
        assert one_row(
            connection, "select count(*) from refresh_days where status = 'complete' and calculation_date = %s", [hole]
        ) == (4,)
        assert one_row(connection, "select count(*) from refresh_exceptions where code = 'no_prices'") == (0,)


def test_a_failed_day_in_a_range_costs_that_day_alone(four_days: Database, instance: dg.DagsterInstance) -> None:
    """A day that cannot be written fails the run; the other days are committed, in every table, and shown as good: also in
    those whose steps the run left out."""
    broken = DAYS[2]
    with four_days.connect() as connection:
        connection.execute(f"alter table portfolio_snapshots add constraint broken check (snapshot_date <> '{broken}')")

    result = run(instance, DAYS, raise_on_error=False)

    good = [day for day in DAYS if day != broken]
    assert not result.success
    with four_days.connect() as connection:
        stored = dict(
            connection.execute(
                "select table_name, array_agg(calculation_date order by calculation_date) from refresh_days group by 1"
            ).fetchall()
        )
    assert stored["portfolio_snapshots"] == good
    for table in TABLES:
        assert set(stored[table]) >= set(good), table
        assert materialized(instance, table) == [day.isoformat() for day in stored[table]], table


def test_what_a_run_wrote_of_a_table_whose_step_never_came_is_told(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """Exposures of one day fail, so Dagster leaves out the stress tests: those of the other days, also of the last, stand, are
    shown, and count in the tracking row."""
    broken = DAYS[1]
    with four_days.connect() as connection:
        connection.execute(f"alter table factor_exposures add constraint broken check (calculation_date <> '{broken}')")

    result = run(instance, DAYS, raise_on_error=False)

    good = [day for day in DAYS if day != broken]
    assert not [event for event in result.get_step_success_events() if event.step_key == "stress_test_results"]
    assert materialized(instance, "stress_test_results") == [day.isoformat() for day in good]
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("stress_test_results"), asset_partitions=[good[0].isoformat()]), limit=1
    ).records
    assert record.asset_materialization is not None
    told = record.asset_materialization.metadata
    with four_days.connect() as connection:
        rows = one_row(connection, "select rows from refresh_days where table_name = 'stress_test_results' limit 1")[0]
        ends = connection.execute(
            "select target_date, status, metrics -> 'seconds' ? 'stress_test_results' from batch_run_tracking"
            " where batch_type = 'portfolio_refresh' order by 1"
        ).fetchall()
    assert told["rows"].value == rows > 0
    assert isinstance(seconds := told["seconds"].value, float)
    assert seconds > 0
    assert ends == [(day, "failed" if day == broken else "completed", day != broken) for day in DAYS]


def night_job() -> dg.JobDefinition:
    """The job as another process finds it: only such a one can be re-executed from its failure."""
    return defs.resolve_job_def("portfolio_refresh")


def test_a_run_from_the_failure_of_another_writes_only_what_that_one_left(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """The steps that succeeded are not run again, so their tables are not written again either, in front of what is."""
    with four_days.connect() as connection:
        connection.execute(f"alter table factor_exposures add constraint broken check (calculation_date <> '{LAST}')")
    failed = run(instance, DAYS, raise_on_error=False)
    with four_days.connect() as connection:
        connection.execute("alter table factor_exposures drop constraint broken")

    job = dg.reconstructable(night_job)
    options = dg.ReexecutionOptions.from_failure(failed.run_id, instance)
    with dg.execute_job(job, instance, tags=range_tags(DAYS), reexecution_options=options) as again:
        assert again.success

    with four_days.connect() as connection:
        written = connection.execute(
            "select table_name, array_agg(distinct run_id) from refresh_days group by 1 order by 1"
        ).fetchall()
        assert one_row(connection, "select count(*) from refresh_complete_days") == (len(DAYS),)
    of = dict(written)
    assert of["portfolio_snapshots"] == of["correlation_calculations"] == [failed.run_id]
    assert of["factor_exposures"] == of["stress_test_results"] == [again.run_id]


def test_the_nights_own_tracking_row_has_the_platforms_metrics(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """batch_run_tracking says completed, with the five metrics under their names and the counts of partial and skipped."""
    run(instance, [FIRST])

    with four_days.connect() as connection:
        status, metrics = one_row(
            connection, "select status, metrics from batch_run_tracking where batch_type = 'portfolio_refresh'"
        )
        snapshots = one_row(connection, "select count(*) from portfolio_snapshots")[0]
    assert status == "completed"
    assert metrics["portfolios_processed"] == metrics["snapshots_created"] == snapshots > 10
    assert (metrics["portfolios_failed"], metrics["days_backfilled"]) == (0, 1)  # no night's own day: years ago
    assert metrics["duration_seconds"] > 0
    assert metrics["portfolios_partial"] == 1
    assert metrics["skipped"]["correlation_calculations"] == 1


def test_a_run_killed_after_its_last_commit_does_not_say_running_for_ever(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """The day is complete, so nobody runs it again: the next night's run ends its row."""
    run(instance, [FIRST])
    with four_days.connect() as connection:
        connection.execute(
            "update batch_run_tracking set status = 'running', completed_at = null where batch_type = 'portfolio_refresh'"
        )

    run(instance, [DAYS[1]])

    with four_days.connect() as connection:
        found = connection.execute(
            "select target_date, status, completed_at is not null from batch_run_tracking"
            " where batch_type = 'portfolio_refresh' order by 1"
        ).fetchall()
    assert found == [(FIRST, "completed", True), (DAYS[1], "completed", True)]


def test_missing_scope_leaves_every_other_row_as_it_is(four_days: Database, instance: dg.DagsterInstance) -> None:
    """A portfolio that comes later gets its rows; no row of the others is touched."""
    run(instance, [FIRST])
    with four_days.connect() as connection:
        untouched = {t: set(connection.execute(f"select xmin, ctid from {t}").fetchall()) for t in TABLES}
        owner = one_row(
            connection,
            "insert into portfolios (id, name, inception_date, created_at) values (gen_random_uuid(), 'Late', %s, now())"
            " returning id",
            [FIRST],
        )[0]
        for symbol in ("AAPL", "MSFT"):
            connection.execute(
                "insert into positions (id, portfolio_id, symbol, investment_class, quantity, entry_price, entry_date)"
                " values (gen_random_uuid(), %s, %s, 'PUBLIC', 10, 100, '2020-01-02')",
                [owner, symbol],
            )

    assert run(instance, [FIRST], run_config={"resources": {"refresh": {"config": {"scope": "missing"}}}}).success

    with four_days.connect() as connection:
        for table in TABLES:
            now = set(connection.execute(f"select xmin, ctid from {table}").fetchall())
            added = one_row(connection, f"select count(*) from {table} where portfolio_id = %s", [owner])[0]
            assert untouched[table] <= now, table
            assert len(now) - len(untouched[table]) == added > 0, table
        assert connection.execute("select calculation_date from refresh_complete_days").fetchall() == [(FIRST,)]
