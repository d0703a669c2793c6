"""Tables begun ahead: the same bytes, in the order of the run, and nothing of what was never asked for.

Here: Night.written over real tables. Not here: the threads alone (test_ahead.py), the tables written one by one
(store/test_write.py), kills (chaos/)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from typing import Any

import pytest

from refresh_assets import definitions
from refresh_assets.assets.analytic import WRITERS
from refresh_assets.assets.night import Night
from refresh_assets.store.database import APPLICATION, Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.schema_names import DAY_TABLES, POSITION_VALUES
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import CALENDAR, DAY, execute, table_rows

DAYS = [CALENDAR.nth_before(DAY, back) for back in (3, 2, 1)] + [DAY]
IDLE = "datname = current_database() and state = 'idle in transaction'"
BEGUN = f"select count(*) from pg_stat_activity where {IDLE}"

MARKED = "select last_price_date, count(*) from positions group by 1 order by 1"
assert definitions.defs  # every asset has said what writes it


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios."""
    worlds.three_portfolios(database)
    return database


def play(database: Database, *days: date, **settings: Any) -> None:
    """A run as Dagster does it: each asset over all days before the next, retried where a connection is lost."""
    with closing(worlds.night(database, *days, **settings)) as night:
        worlds.play(night)


def everything(database: Database) -> dict[str, list[Any]]:
    """What readers see of all days."""
    found: dict[str, list[Any]] = {
        f"{table} {day}": table_rows(database, table, day) for table in DAY_TABLES for day in DAYS
    }
    for table in ("refresh_exceptions", "refresh_marks", "stress_factor_shocks"):
        found[table] = sorted(map(str, execute(database, f"select * from {table}")))
    days = "select calculation_date, table_name, portfolios, rows, inputs_digest from refresh_days order by 1, 2"
    return {**found, "days": execute(database, days), "marked": execute(database, MARKED)}


def forget(database: Database) -> None:
    """As if no night had been."""
    execute(
        database,
        f"truncate {', '.join(DAY_TABLES)}, refresh_days, refresh_exceptions, refresh_marks, stress_factor_shocks",
    )
    execute(
        database, "update positions set last_price_date = null, last_price = null where investment_class <> 'PRIVATE'"
    )


def nobody_writes(database: Database) -> bool:
    """Whether no claim and no transaction is left."""
    claims = execute(database, "select count(*) from pg_locks where locktype = 'advisory'")
    return claims == [(0,)] and execute(database, BEGUN) == [(0,)]


@pytest.mark.parametrize("chunk", [1, 1000])
def test_days_begun_ahead_have_the_bytes_of_days_written_one_by_one(world: Database, chunk: int) -> None:
    """Rows, exceptions, marks, digests and the platform's positions; also when it is done again over the same days."""
    for day in DAYS:
        worlds.run(world, day)
        worlds.update_positions(world, day)
    one_by_one = everything(world)
    forget(world)
    play(world, *DAYS, chunk_portfolios=chunk)
    assert everything(world) == one_by_one
    play(world, *DAYS, chunk_portfolios=chunk, run_id="run-2")
    assert everything(world) == one_by_one
    assert execute(world, "select * from refresh_restatements") == []


def test_what_is_begun_ahead_is_not_seen_before_it_is_asked_for(world: Database) -> None:
    """It is done, but for the commit: its rows are there at once when they are asked for, and not a moment earlier."""
    seen = "select table_name from refresh_days where calculation_date = %s"
    with closing(worlds.night(world)) as night:
        night.written(DAY, "portfolio_snapshots")
        while execute(world, BEGUN)[0][0] < 3:  # two that read, and the correlations once they wait for their turn
            pass
        assert execute(world, seen, DAY) == [("portfolio_snapshots",)]
        assert table_rows(world, "correlation_calculations") == []
        night.written(DAY, "correlation_calculations")
        assert sorted(execute(world, seen, DAY)) == [("correlation_calculations",), ("portfolio_snapshots",)]
        assert table_rows(world, "correlation_calculations") != []


def test_a_run_that_ends_early_leaves_nothing_of_what_it_had_begun(world: Database) -> None:
    """No row, no claim, no transaction: the next one need not wait."""
    with closing(worlds.night(world, *DAYS)) as night:
        night.written(DAYS[0], "portfolio_snapshots")
    assert nobody_writes(world)
    assert execute(world, "select calculation_date, table_name from refresh_days") == [(DAYS[0], "portfolio_snapshots")]
    assert all(table_rows(world, "portfolio_snapshots", day) == [] for day in DAYS[1:])


@contextmanager
def claimed(database: Database, table: str, day: date) -> Iterator[None]:
    """Somebody else holds the day of a table."""
    with database.connect() as other:
        other.execute("select pg_advisory_xact_lock(hashtext(%s), %s)", [f"refresh {table}", day_number(day)])
        yield
        other.rollback()


def test_a_run_that_ends_does_not_wait_for_whoever_holds_the_day_it_had_begun(world: Database) -> None:
    """What waits for the claim is broken off: else a person who stops a run would wait for another run."""
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with claimed(world, "correlation_calculations", DAY):
        with closing(worlds.night(world)) as night:
            night.written(DAY, "portfolio_snapshots")
            while execute(world, waiting) == [(0,)]:
                pass
        assert execute(world, waiting) == [(0,)]
    assert nobody_writes(world)


def test_positions_are_not_touched_where_the_last_table_was_not_completed(world: Database) -> None:
    """Their update is begun while the stress tests are ended; if those fail, it is rolled back."""
    before = execute(world, MARKED)

    updating = "select pid from pg_locks where relation = 'positions'::regclass and mode = 'RowExclusiveLock'"

    def broken(_night: Night, _day: date) -> Any:
        while not execute(world, updating):
            pass
        raise ZeroDivisionError("no stress")

    with ExitStack() as held:
        night = held.enter_context(closing(worlds.night(world)))
        held.enter_context(written_by({"stress_test_results": broken}))
        for table in list(DAY_TABLES)[:3]:
            night.written(DAY, table)
        with pytest.raises(ZeroDivisionError, match="no stress"):
            night.written(DAY, "stress_test_results")
        result = night.written(DAY, POSITION_VALUES)
    assert result == {"positions_updated": 0, "why": "the latest complete day is none yet"}
    assert execute(world, MARKED) == before
    assert nobody_writes(world)


@contextmanager
def written_by(writers: dict[str, Any]) -> Iterator[None]:
    """Within the block some tables are written by other functions than their own."""
    own = dict(WRITERS)
    WRITERS.update(writers)
    try:
        yield
    finally:
        WRITERS.update(own)


def test_a_connection_lost_by_what_was_begun_ahead_costs_a_retry_and_no_row(world: Database) -> None:
    """Whoever waits for its turn, or only keeps a snapshot open, is cut as each table ends; the run ends as if nothing had
    been."""
    play(world, *DAYS)
    whole = everything(world)
    forget(world)
    cut = list[tuple[str, int]]()

    def cut_what_waits(asset: str, _day: date) -> None:
        if asset in DAY_TABLES:
            waiting = f"from pg_stat_activity where {IDLE} and application_name = '{APPLICATION}'"
            gone = execute(world, f"select count(pg_terminate_backend(pid, 5000)) {waiting}")
            cut.append((asset, gone[0][0]))

    play(world, *DAYS, done=cut_what_waits)
    assert {asset for asset, _ in cut} == set(DAY_TABLES)
    assert sum(gone for _, gone in cut) >= len(DAYS)
    assert everything(world) == whole
    assert nobody_writes(world)


def test_days_are_whole_one_after_the_other(world: Database) -> None:
    """Asked for table by table, a range ends day by day: so a run that dies leaves whole days, and one that is in part."""
    complete = "select calculation_date from refresh_complete_days order by 1"
    with closing(worlds.night(world, *DAYS)) as night:
        for number, day in enumerate(DAYS):
            night.written(day, "portfolio_snapshots")
            assert [one for (one,) in execute(world, complete)] == DAYS[:number]
        asked_for = {(asset, day) for asset, day in night.not_asked_for()}
    assert asked_for == {(one, day) for one in (*list(DAY_TABLES)[1:], "inline_symbol_betas") for day in DAYS[:-1]}
    assert nobody_writes(world)


def test_behind_a_table_that_fails_the_rest_of_its_day_waits_until_it_is_asked_for(world: Database) -> None:
    """The other days are whole; the error is told to whoever asks for the table."""

    def broken(_night: Night, day: date) -> Any:
        if day == DAYS[1]:
            raise ZeroDivisionError("no correlations")
        return write(_night, day)

    write = WRITERS["correlation_calculations"]
    stand = "select table_name from refresh_days where calculation_date = %s"
    with (
        closing(worlds.night(world, *DAYS)) as night,
        written_by({"correlation_calculations": broken}),
    ):
        for day in DAYS:
            night.written(day, "portfolio_snapshots")
        assert execute(world, stand, DAYS[1]) == [("portfolio_snapshots",)]
        assert execute(world, "select calculation_date from refresh_complete_days order by 1") == [
            (DAYS[0],),
            (DAYS[2],),
        ]
        with pytest.raises(ZeroDivisionError, match="no correlations"):
            night.written(DAYS[1], "correlation_calculations")
        night.written(DAYS[1], "factor_exposures")
        assert sorted(execute(world, stand, DAYS[1])) == [("factor_exposures",), ("portfolio_snapshots",)]


@pytest.mark.parametrize("orders", [(DAYS, DAYS), (DAYS, DAYS[1:3])], ids=["the same days", "some of the days"])
def test_two_runs_at_once_end_and_give_one_result(world: Database, orders: Sequence[list[date]]) -> None:
    """Each holds a day that it has begun while it waits for one that the other has: always a later one, so nobody waits in
    a circle."""
    play(world, *DAYS)
    whole = everything(world)
    forget(world)
    both = threading.Barrier(2)

    def together(number: int) -> None:
        both.wait(60)
        play(world, *orders[number], run_id=f"run-{number}")

    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(together, number) for number in range(2)]:
            one.result(timeout=120)
    assert everything(world) == whole
    assert execute(world, "select * from refresh_restatements") == []


def test_days_together_say_nothing_of_what_only_another_of_them_holds(world: Database) -> None:
    """A stored beta that is bad, a row of a class that nobody knows: a range reads their symbols on all of its days. (What a
    position was worth before it was sold no range asks: only the last day's values are written to positions.)"""
    entered, sold = DAYS[1], DAYS[2]
    market = execute(world, "select id from factor_definitions where name = 'Market'")[0][0]
    bad = [{"symbol": "NEW", "factor_id": market, "calculation_date": day, "beta_value": "NaN"} for day in DAYS]
    worlds.insert(world, "symbol_factor_exposures", *bad)
    worlds.insert(
        world,
        "positions",
        worlds.position(90, 1, "NEW", entry_date=entered, exit_date=sold, exit_price=60),
        worlds.position(91, 1, "NEW", investment_class="STOCK"),
    )
    worlds.load_closes(world, worlds.closes(["NEW"]))
    for day in DAYS:
        play(world, day)
    apart = {**everything(world), "marked": None}
    forget(world)
    play(world, *DAYS)
    assert {**everything(world), "marked": None} == apart
    named = execute(world, "select calculation_date from refresh_exceptions where code = 'bad_beta'")
    assert named == [(entered,)]
    assert execute(world, "select calculation_date from refresh_marks where symbol = 'NEW' order by 1") == [(entered,)]
