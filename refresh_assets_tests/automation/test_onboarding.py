"""A new portfolio's rows at once: which days, nobody else's rows, what cannot be done.

Here: onboarding through Dagster over the demo's world. Not here: the figures (core/)."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import dagster as dg
import pytest

from refresh_assets import cli
from refresh_assets.assets.run_days import days_of, range_tags
from refresh_assets.automation import launch
from refresh_assets.automation.onboarding import onboard
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.demo.world import symbol_batch
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.days import State

DAYS = TradingCalendar().days(date(2020, 2, 18), date(2020, 2, 21))
LAST = DAYS[-1]
AFTERNOON = datetime(2020, 2, 24, 14, 0, tzinfo=NEW_YORK)
"""Monday, 2 PM: the last close is Friday's."""
TABLES = ("portfolio_snapshots", "correlation_calculations", "factor_exposures", "stress_test_results")
LATE = UUID("00000000-0000-0000-0000-0000000000aa")


@pytest.fixture
def nights(demo_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The demo's world after four nights; it is Monday afternoon."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(cli, "_clock", [AFTERNOON])
    with demo_database.connect() as connection:
        for day in DAYS:
            symbol_batch(connection, day)
    assert all(one.success for one in launch.run_days(load(), DAYS, launch.MISSING))
    return demo_database


def add_portfolio(
    database: Database,
    name: str = "Late",
    inception: date | None = None,
    one: UUID = LATE,
    symbols: str = "AAPL MSFT T",
) -> UUID:
    """A portfolio that was created this afternoon; its positions have no entry date."""
    with database.connect() as connection:
        connection.execute(
            "insert into portfolios (id, name, inception_date, created_at) values (%s, %s, %s, %s)",
            [one, name, inception, AFTERNOON],
        )
        for symbol in symbols.split():
            connection.execute(
                "insert into positions (id, portfolio_id, symbol, investment_class, quantity, entry_price)"
                " values (gen_random_uuid(), %s, %s, 'PUBLIC', 10, 100)",
                [one, symbol],
            )
    return one


def versions(database: Database) -> dict[str, set[tuple[Any, ...]]]:
    """Every row's version, of every table that holds rows of portfolios, and of what is shared."""
    shared = ("refresh_marks", "refresh_exceptions", "stress_factor_shocks", "symbol_factor_exposures")
    with database.connect() as connection:
        return {
            table: set(connection.execute(f"select tableoid, xmin::text, ctid::text from {table}").fetchall())
            for table in (*TABLES, *shared)
        }


def days_with_rows(database: Database, one: UUID = LATE) -> dict[str, list[date]]:
    """The days on which a portfolio has rows, by table."""
    columns = dict.fromkeys(TABLES, "calculation_date") | {"portfolio_snapshots": "snapshot_date"}
    with database.connect() as connection:
        return {
            table: [
                row[0]
                for row in connection.execute(
                    f"select distinct {column} from {table} where portfolio_id = %s order by 1", [one]
                ).fetchall()
            ]
            for table, column in columns.items()
        }


def states() -> list[State]:
    """What each of the days is."""
    return [one.state for one in launch.statuses_of(load(), DAYS, AFTERNOON)]


def complete_days(database: Database) -> list[date]:
    """The days that the view shows as complete."""
    with database.connect() as connection:
        rows = connection.execute("select calculation_date from refresh_complete_days order by 1").fetchall()
    return [row[0] for row in rows]


def test_without_an_inception_date_it_gets_the_last_close_though_it_was_created_later(nights: Database) -> None:
    """Created on Monday at 2 PM: Friday's rows in every table at once, no other day, and every day stays complete."""
    add_portfolio(nights)

    done = onboard(load(), "Late", AFTERNOON)

    assert done.success
    assert (done.days, done.left_out) == ([LAST], {})
    assert days_with_rows(nights) == {table: [LAST] for table in TABLES}
    assert states() == [State.COMPLETE] * len(DAYS)
    assert complete_days(nights) == DAYS


def test_no_other_row_is_touched(nights: Database) -> None:
    """Every row that stood there has its old version; what is added is its own."""
    add_portfolio(nights, inception=DAYS[1])
    before = versions(nights)

    onboard(load(), "Late", AFTERNOON)

    after = versions(nights)
    for table, rows in before.items():
        assert rows <= after[table], table
    with nights.connect() as connection:
        for table in TABLES:
            own = connection.execute(f"select count(*) from {table} where portfolio_id = %s", [LATE]).fetchone()
            assert own == (len(after[table]) - len(before[table]),), table


def test_with_an_inception_date_its_history_begins_there(nights: Database) -> None:
    """Three days from its inception on, and those days stay complete."""
    add_portfolio(nights, inception=DAYS[1])

    done = onboard(load(), str(LATE), AFTERNOON)

    assert done.days == DAYS[1:]
    assert days_with_rows(nights) == dict.fromkeys(TABLES, DAYS[1:])
    assert complete_days(nights) == DAYS
    with nights.connect() as connection:
        assert connection.execute("select count(*) from refresh_first_days").fetchone() == (0,)


def test_an_inception_before_the_first_partition_begins_with_that(nights: Database) -> None:
    """REFRESH_START_DATE bounds it."""
    add_portfolio(nights, inception=date(2019, 1, 2))

    assert onboard(load(), "Late", AFTERNOON).days == DAYS


def test_a_later_rerun_of_the_day_keeps_its_rows_to_the_byte(nights: Database) -> None:
    """The day computed whole gives what onboarding wrote, the digest too: nothing is restated."""
    add_portfolio(nights)
    onboard(load(), "Late", AFTERNOON)
    before = versions(nights)

    launch.run_days(load(), [LAST], launch.ALL)

    after = versions(nights)
    assert {table: after[table] for table in TABLES} == {table: before[table] for table in TABLES}
    with nights.connect() as connection:
        assert connection.execute("select count(*) from refresh_restatements").fetchone() == (0,)


def test_a_second_time_there_is_nothing_to_do(nights: Database) -> None:
    """Its rows stand: no run."""
    add_portfolio(nights)
    onboard(load(), "Late", AFTERNOON)
    before = versions(nights)

    again = onboard(load(), "Late", AFTERNOON)

    assert (again.days, again.outcomes, again.left_out) == ([], [], {})
    assert versions(nights) == before


def test_marks_betas_and_the_nights_own_tracking(nights: Database) -> None:
    """A symbol that nobody else holds gets its mark and betas; the night's own tracking row stays that of the night."""
    with nights.connect() as connection:
        connection.execute(
            "insert into market_data_cache select 'NEWCO', date, close_price from market_data_cache where symbol = 'KO'"
        )
        tracking = connection.execute("select * from batch_run_tracking order by 1, 2").fetchall()
    new = "NEWCO"
    add_portfolio(nights, symbols=f"AAPL {new}")

    assert onboard(load(), "Late", AFTERNOON).success

    with nights.connect() as connection:
        marked = connection.execute("select calculation_date from refresh_marks where symbol = %s", [new]).fetchall()
        assert marked == [(LAST,)]
        assert connection.execute("select * from batch_run_tracking order by 1, 2").fetchall() == tracking
        betas = connection.execute(
            "select distinct calculation_date from symbol_factor_exposures where symbol = %s", [new]
        ).fetchall()
    assert betas == [(LAST,)]


def test_a_blocked_day_is_left_out_and_named(nights: Database) -> None:
    """Its symbol batch is running again, the day lacks the portfolio: it waits; the others are done."""
    add_portfolio(nights, inception=DAYS[0])
    with nights.connect() as connection:
        connection.execute("update batch_run_tracking set status = 'running' where target_date = %s", [DAYS[2]])

    done = onboard(load(), "Late", AFTERNOON)

    assert done.left_out == {DAYS[2]: "the symbol batch says running; wait for it, or run it again"}
    assert done.days == [day for day in DAYS if day != DAYS[2]]
    assert days_with_rows(nights)["portfolio_snapshots"] == done.days


def test_a_day_that_the_night_has_not_done_is_left_to_it(nights: Database) -> None:
    """A day is visible whole or not at all: one portfolio's rows do not make it complete. The night gives it its rows."""
    with nights.connect() as connection:
        symbol_batch(connection, date(2020, 2, 24))
    add_portfolio(nights)
    evening = datetime(2020, 2, 24, 21, 20, tzinfo=NEW_YORK)

    done = onboard(load(), "Late", evening)

    assert done.days == []
    assert done.left_out == {
        date(2020, 2, 24): "the night has not done it for everybody;"
        " refresh-assets run --date 2020-02-24 --scope missing"
    }
    assert complete_days(nights) == DAYS
    launch.run_days(load(), [date(2020, 2, 24)], launch.MISSING)
    assert days_with_rows(nights)["portfolio_snapshots"] == [date(2020, 2, 24)]


def test_a_day_on_which_it_is_alone_is_done(demo_database: Database) -> None:
    """Nobody else has ever held anything: its rows are the whole day."""
    with demo_database.connect() as connection:
        for day in DAYS:
            symbol_batch(connection, day)
        for table in ("positions", "portfolios", "private_valuations", "position_realized_events"):
            connection.execute(f"delete from {table}")
    add_portfolio(demo_database, inception=DAYS[2])

    done = onboard(load(), "Late", AFTERNOON)

    assert (done.days, done.left_out) == (DAYS[2:], {})
    assert complete_days(demo_database) == DAYS[2:]


def config(portfolio: str) -> dict[str, Any]:
    """Run config of the job."""
    return {
        "resources": {"refresh": {"config": {"portfolio": portfolio}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }


def test_the_job_in_dagster_takes_a_portfolio(nights: Database, tmp_path: Path) -> None:
    """Launched with a name over a range of partitions: one run, one materialization a day, and nobody else's rows."""
    add_portfolio(nights, inception=DAYS[1])
    before = versions(nights)
    job = defs.resolve_job_def("onboard_portfolio")

    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        result = job.execute_in_process(instance=instance, tags=range_tags(DAYS), run_config=config("Late"))
        unnamed = job.execute_in_process(
            instance=instance, tags=range_tags(DAYS), run_config=config(""), raise_on_error=False
        )
        shown = instance.get_materialized_partitions(dg.AssetKey("stress_test_results"))

    assert result.success
    assert not unnamed.success
    assert sorted(shown) == [day.isoformat() for day in DAYS]
    assert days_with_rows(nights) == dict.fromkeys(TABLES, DAYS[1:])
    assert all(rows <= versions(nights)[table] for table, rows in before.items())


@pytest.mark.parametrize("inception", [DAYS[1], None])
def test_the_job_without_a_partition_gives_what_the_command_gives(
    nights: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inception: date | None
) -> None:
    """Launched with its run config alone: from its inception to the last close (without one: that close), each a partition."""
    add_portfolio(nights, inception=inception)
    expected = DAYS[1:] if inception else [LAST]
    job = defs.resolve_job_def("onboard_portfolio")
    # Long after: the last close that the platform knows is taken for today's.
    monkeypatch.setattr(TradingCalendar, "effective_date", lambda _self, _now: LAST)

    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as instance:
        result = job.execute_in_process(instance=instance, run_config=config("Late"))
        shown = instance.get_materialized_partitions(dg.AssetKey("stress_test_results"))
        run = instance.get_run_by_id(result.run_id)
        unknown = job.execute_in_process(instance=instance, run_config=config("Nobody"), raise_on_error=False)
        night = defs.resolve_job_def("portfolio_refresh").execute_in_process(
            instance=instance, run_config=config(""), raise_on_error=False
        )

    assert result.success
    assert sorted(shown) == [day.isoformat() for day in expected]
    assert days_with_rows(nights) == dict.fromkeys(TABLES, expected)
    assert run is not None
    assert days_of(run.tags, TradingCalendar()) == expected
    assert "there is no portfolio 'Nobody'" in str(launch._first_error(unknown))
    assert "the run was given no trading day" in str(launch._first_error(night))


def test_the_command_says_what_it_did(nights: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """One line in words, or figures as JSON; a second call has nothing to add."""
    add_portfolio(nights, inception=DAYS[2])

    assert cli.main(["onboard", "Late"]) == 0
    words = capsys.readouterr().out
    assert cli.main(["onboard", str(LATE)]) == 0
    again = capsys.readouterr().out
    assert cli.main(["onboard", "Late", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)

    assert words == (
        "Late: 2 days of 2020-02-20 to 2020-02-21.  portfolio_snapshots 2  correlation_calculations 2"
        "  factor_exposures 14  stress_test_results 38\n"
    )
    assert again == "Late: nothing to add on 2020-02-20 to 2020-02-21.\n"
    assert figures == {
        "portfolio": str(LATE),
        "name": "Late",
        "from": "2020-02-20",
        "to": "2020-02-21",
        "days": [],
        "rows": dict.fromkeys(TABLES, 0),
        "left_out": {},
        "runs": [],
    }


def test_an_unknown_or_ambiguous_name_is_refused(nights: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, one line with the mend, nothing written; one that is deleted counts as unknown."""
    before = versions(nights)
    other = UUID("00000000-0000-0000-0000-0000000000bb")
    add_portfolio(nights, "Twin")
    add_portfolio(nights, "Twin", one=other)

    assert cli.main(["onboard", "Nobody"]) == 2
    unknown = capsys.readouterr().err
    assert cli.main(["onboard", "Twin"]) == 2
    ambiguous = capsys.readouterr().err
    with nights.connect() as connection:
        connection.execute("update portfolios set deleted_at = now() where name = 'Twin'")
    assert cli.main(["onboard", str(LATE)]) == 2
    deleted = capsys.readouterr().err

    mend = "Mend: give the uuid or the exact name of a portfolio that is not deleted.\n"
    assert unknown == f"refresh-assets: there is no portfolio 'Nobody'. {mend}"
    assert ambiguous == (
        f"refresh-assets: 2 portfolios are named 'Twin'. Mend: give the uuid of one: {LATE}, {other}.\n"
    )
    assert deleted == f"refresh-assets: there is no portfolio '{LATE}'. {mend}"
    assert versions(nights) == before
