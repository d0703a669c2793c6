"""A day of a table: whole or not at all, the same bytes again, additions that leave the rest alone.

Here: written_day, and what a Night writes through it. Not here: what a restatement says (test_restatement.py), bad rows
(test_bad_rows.py), a computation that raises (test_isolation.py)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from decimal import Context, Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresh_assets.assets.analytic import Part
from refresh_assets.assets.books import ValuedBook
from refresh_assets.assets.night import Night
from refresh_assets.core.money import FINEST
from refresh_assets.core.snapshots import snapshots
from refresh_assets.errors import NoPrices
from refresh_assets.store.arrow import decimals
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.extras import write_marks
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets.store.tables import snapshot_rows
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import (
    BEFORE,
    DAY,
    computed_by,
    execute,
    insert,
    portfolio,
    position,
    row_versions,
    run,
    table_rows,
)

WIDE = Context(prec=100)
TABLES = [*DAY_TABLES, "stress_factor_shocks", "refresh_exceptions", "refresh_marks"]


@pytest.fixture
def world(database: Database) -> Database:
    """The database with the three portfolios."""
    worlds.three_portfolios(database)
    return database


def whole_day(database: Database, day: date = DAY) -> dict[str, list[str]]:
    """Everything that stands for a day, as text."""
    return {table: table_rows(database, table, day) for table in TABLES}


def digests(database: Database, day: date = DAY) -> set[str]:
    """The different input digests of the day's tables."""
    rows = execute(database, "select inputs_digest from refresh_days where calculation_date = %s", day)
    return {row[0] for row in rows}


def compute_snapshots(night: Night, day: date, valued: ValuedBook) -> Part:
    """What the asset computes."""
    result = snapshots(valued.book, night.inputs.prices)
    return Part(snapshot_rows(day_number(day), result), result.portfolio_id, result.omissions)


def visible(database: Database) -> tuple[int, int]:
    """Snapshots and refresh_days rows that another connection sees."""
    query = "select (select count(*) from portfolio_snapshots), (select count(*) from refresh_days)"
    return execute(database, query)[0]


def test_another_connection_sees_nothing_of_a_day_until_all_of_it_is_committed(world: Database) -> None:
    """Chunk by chunk, and even after the refresh_days row is written, the day is not there; then all of it is."""
    seen: list[tuple[int, int]] = []
    with closing(worlds.night(world, chunk_portfolios=1)) as night:

        def compute(valued: ValuedBook) -> Part:
            seen.append(visible(world))
            return compute_snapshots(night, DAY, valued)

        with computed_by(compute):
            night.replace(DAY, "portfolio_snapshots", lambda _: seen.append(visible(world)))
    assert seen == [(0, 0)] * 4
    assert visible(world) == (3, 1)


@pytest.mark.parametrize("scope", [False, True], ids=["all", "missing"])
def test_an_error_in_the_middle_of_a_write_leaves_the_old_day(world: Database, scope: bool) -> None:
    """Rows, exceptions, marks and refresh_days stand as before, to the transaction that wrote them."""
    run(world)
    old, versions = whole_day(world), row_versions(world, "portfolio_snapshots")
    days = execute(world, "select * from refresh_days order by 1, 2")
    execute(world, "update market_data_cache set close_price = close_price * 2 where date = %s", DAY)
    insert(world, "portfolios", portfolio(4))
    insert(world, "positions", position(41, 4))

    def broken(_: object) -> None:
        raise RuntimeError("out of memory")

    def killed(_: object) -> Part:
        raise KeyboardInterrupt

    with closing(worlds.night(world, missing_only=scope)) as night:
        with computed_by(killed), pytest.raises(KeyboardInterrupt):
            night.replace(DAY, "portfolio_snapshots")
        if not scope:
            with pytest.raises(RuntimeError, match="out of memory"):
                night.replace(DAY, "portfolio_snapshots", broken)
    assert whole_day(world) == old
    assert row_versions(world, "portfolio_snapshots") == versions
    assert execute(world, "select * from refresh_days order by 1, 2") == days
    assert execute(world, "select * from refresh_restatements") == []


def test_a_writer_whose_connection_is_cut_before_its_commit_leaves_nothing(world: Database) -> None:
    """The server's end of a writer that is killed: no row, no refresh_days row, and the claim is free at once."""

    def cut(connection: psycopg.Connection[Any]) -> None:
        execute(world, "select pg_terminate_backend(%s, 5000)", connection.info.backend_pid)
        connection.execute("select 1")

    with closing(worlds.night(world)) as night:
        with pytest.raises(psycopg.OperationalError):
            night.replace(DAY, "portfolio_snapshots", cut)
        assert visible(world) == (0, 0)
        night.replace(DAY, "portfolio_snapshots")
    assert visible(world) == (3, 1)


def test_a_rerun_from_the_same_inputs_rewrites_no_row(world: Database) -> None:
    """Same bytes, written by the transactions that first wrote them, and no restatement."""
    run(world)
    old, versions = whole_day(world), {table: row_versions(world, table) for table in DAY_TABLES}
    written = run(world, run_id="run-2")
    assert whole_day(world) == old
    assert {table: row_versions(world, table) for table in DAY_TABLES} == versions
    assert all(one.restatement is None for one in written.values())
    assert execute(world, "select distinct run_id from refresh_days") == [("run-2",)]
    assert execute(world, "select * from refresh_restatements") == []


def test_a_day_rerun_after_later_days_were_loaded_writes_the_same_bytes(world: Database) -> None:
    """Closes, sales, deletions and valuations dated after the day change nothing of it."""
    run(world)
    old, digest = whole_day(world), digests(world)
    later = [row for row in worlds.closes(last=date(2026, 4, 17), days=130) if row["date"] > DAY]
    worlds.load_closes(world, later)
    execute(world, "update positions set quantity = 60 where id = %s", worlds.uid("position", 11))
    insert(world, "position_realized_events", worlds.event(1, 11, date(2026, 3, 20), 40))
    insert(world, "private_valuations", worlds.valuation(23, date(2026, 4, 1), 99999))
    execute(world, "update portfolios set deleted_at = '2026-04-01' where id = %s", worlds.uid("portfolio", 3))
    run(world, run_id="run-2")
    assert whole_day(world) == old
    assert digests(world) == digest


def test_missing_scope_adds_the_new_portfolio_and_leaves_the_other_rows_alone(world: Database) -> None:
    """Old rows keep the transaction that wrote them; the day then equals one that was computed whole."""
    run(world)
    versions = {table: row_versions(world, table) for table in DAY_TABLES}
    insert(world, "portfolios", portfolio(4))
    insert(world, "positions", position(41, 4, "AAA", 3), position(42, 4, "CCC", 4), position(43, 4, "BBB", None))
    written = run(world, run_id="run-2", missing_only=True)
    for table in DAY_TABLES:
        now = row_versions(world, table)
        assert {row: now[row] for row in versions[table]} == versions[table]
        added = [row for row in now if row not in versions[table]]
        assert all(str(worlds.uid("portfolio", 4)) in row for row in added)
        assert added
    assert written["portfolio_snapshots"].portfolios == 4
    added_day, digest = whole_day(world), digests(world)
    days = (
        "select table_name, portfolios, rows, exceptions, failed, accounted, inputs_digest from refresh_days order by 1"
    )
    counts = execute(world, days)
    assert len(digest) == 1
    run(world, run_id="run-3")
    assert whole_day(world) == added_day
    assert digests(world) == digest
    assert execute(world, days) == counts
    assert execute(world, "select * from refresh_restatements") == []


def test_missing_scope_on_a_day_that_lacks_nobody_changes_nothing(world: Database) -> None:
    """Rows, exceptions, counts and digest stay."""
    run(world)
    days = (
        "select table_name, portfolios, rows, exceptions, failed, accounted, inputs_digest from refresh_days order by 1"
    )
    old, counts = whole_day(world), execute(world, days)
    run(world, run_id="run-2", missing_only=True)
    assert whole_day(world) == old
    assert execute(world, days) == counts


def test_a_portfolio_that_overflowed_is_tried_again_by_missing_scope_and_counted_once(world: Database) -> None:
    """Its inputs stand in the day's digest once, so the day stays among the complete ones."""
    insert(world, "portfolios", portfolio(4))
    insert(world, "positions", position(41, 4, "AAA", 10**18))
    run(world)
    digest = digests(world)
    assert len(digest) == 1
    run(world, run_id="run-2", missing_only=True)
    assert digests(world) == digest
    assert len(execute(world, "select * from refresh_complete_days")) == 1


@pytest.mark.parametrize("scope", [False, True], ids=["all", "missing"])
def test_two_writers_of_one_day_give_one_result(world: Database, scope: bool) -> None:
    """The second waits for the first, finds the same day, and rewrites nothing."""
    run(world, BEFORE)
    reference = whole_day(world, BEFORE)
    execute(world, "truncate portfolio_snapshots, correlation_calculations, factor_exposures, stress_test_results")
    execute(world, "truncate refresh_days, refresh_exceptions, refresh_marks, stress_factor_shocks")
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(run, world, BEFORE, run_id=f"run-{n}", missing_only=scope) for n in (1, 2)]
        results = [one.result(timeout=120) for one in runs]
    assert whole_day(world, BEFORE) == reference
    assert execute(world, "select count(*), count(distinct inputs_digest) from refresh_days") == [(4, 1)]
    assert execute(world, "select * from refresh_restatements") == []
    assert [one["portfolio_snapshots"].portfolios for one in results] == [3, 3]


def test_neither_an_open_reader_nor_a_writer_ever_waits_for_the_other(world: Database) -> None:
    """A reader's transaction stays open over a night of a new month and over one that is replaced; the other way too."""
    # Whoever has to wait for a lock gives up at once, and the test fails.
    name = execute(world, "select current_database()")[0][0]
    execute(world, f'alter database "{name}" set lock_timeout = 1000')
    count = "select count(*) from portfolio_snapshots"
    with world.connect() as reader:
        assert reader.execute(count.encode()).fetchone() == (0,)
        run(world)  # the month's partitions are new
        execute(world, "update market_data_cache set close_price = close_price + 1 where date = %s", DAY)
        run(world, run_id="run-2")  # and rewritten
        assert reader.execute(count.encode()).fetchone() == (3,)
        with closing(worlds.night(world, date(2026, 2, 27), run_id="run-3")) as night:
            day, seen = date(2026, 2, 27), list[int]()

            def read_now(_: object) -> None:
                seen.append(execute(world, count)[0][0])

            night.replace(day, "portfolio_snapshots", read_now)
    assert seen == [3]
    assert execute(world, count) == [(6,)]


def test_a_day_of_which_one_table_was_restated_alone_is_not_among_the_complete_days(world: Database) -> None:
    """Its tables have different digests until the others are restated too."""
    run(world, BEFORE, DAY)
    query = "select calculation_date from refresh_complete_days order by 1"
    assert execute(world, query) == [(BEFORE,), (DAY,)]
    execute(world, "update market_data_cache set close_price = close_price + 1 where date = %s and symbol = 'AAA'", DAY)
    with closing(worlds.night(world, run_id="run-2")) as night:
        worlds.WRITERS["portfolio_snapshots"](night, DAY)
    assert execute(world, query) == [(BEFORE,)]
    run(world, run_id="run-3")
    assert execute(world, query) == [(BEFORE,), (DAY,)]


def test_the_marks_of_a_day_are_the_closes_that_it_used(world: Database) -> None:
    """Held symbols and factor proxies, exactly as they were; a correction is seen against them."""
    run(world)
    execute(world, "update market_data_cache set close_price = 1 where symbol = 'AAA'")
    marks = dict(execute(world, "select symbol, close_price from refresh_marks where calculation_date = %s", DAY))
    used = (*worlds.STOCKS, worlds.OPTION, *worlds.PROXIES)
    expected = {row["symbol"]: Decimal(str(row["close_price"])) for row in worlds.closes() if row["date"] == DAY}
    assert marks == {symbol: expected[symbol] for symbol in used}


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9),
        st.decimals(0, 10**15, allow_nan=False, allow_infinity=False) | st.integers(0, 10**18).map(Decimal),
        min_size=1,
    )
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_marks_keep_any_symbol_and_any_close_without_its_trailing_zeros(
    database: Database, closes: dict[str, Decimal]
) -> None:
    """Tabs, backslashes and new lines are text like any other; 1.50 is written as 1.5, and 150 as 150."""
    closes = {symbol: close for symbol, close in closes.items() if -int(close.as_tuple().exponent) <= FINEST}
    exact = decimals(pa.chunked_array([pa.array([f"{close:f}" for close in closes.values()], pa.string())]))
    with database.connect() as connection:
        write_marks(connection, DAY, list(closes), range(len(closes)), exact)
    marks = dict(execute(database, "select symbol, close_price::text from refresh_marks"))
    assert marks == {symbol: f"{close.normalize(WIDE):f}" for symbol, close in closes.items()}


def test_the_shocks_of_a_day_are_every_scenario_by_every_factor(world: Database) -> None:
    """19 x 12 rows; a shock is null where the scenario has none, and an expected move is the shock where it has one."""
    run(world)
    assert (
        execute(world, "select count(*), count(shock), count(expected_move) from stress_factor_shocks")[0][0] == 19 * 12
    )
    down = execute(
        world,
        "select s.shock, s.expected_move from stress_factor_shocks s join factor_definitions f on f.id = s.factor_id"
        " where s.shock is not null and f.name = 'Market' and s.shock = -0.1",
    )
    assert (-0.1, pytest.approx(-0.1)) in down
    assert execute(world, "select count(*) from stress_factor_shocks where shock is null")[0][0] > 0


def test_what_was_left_out_is_named_once_and_replaced_with_its_day(world: Database) -> None:
    """A position without a price is named; once it has one, the name is gone; other days keep theirs."""
    execute(world, "delete from market_data_cache where symbol = 'BBB' and date in (%s, %s)", BEFORE, DAY)
    run(world, BEFORE, DAY)
    codes = "select count(*) from refresh_exceptions where code = 'no_price' and calculation_date = %s"
    assert execute(world, codes, DAY) == [(2,)]
    run(world, DAY, run_id="run-2")
    assert execute(world, codes, DAY) == [(2,)]
    insert(world, "market_data_cache", {"symbol": "BBB", "date": DAY, "close_price": 61})
    run(world, DAY, run_id="run-3")
    assert execute(world, codes, DAY) == [(0,)]
    assert execute(world, codes, BEFORE) == [(2,)]


def test_any_chunk_size_gives_the_same_bytes_and_the_same_digest(world: Database) -> None:
    """1, 2 or all portfolios at a time."""
    found = []
    for size in (1, 2, 1000):
        for table in (*TABLES, "refresh_days"):
            execute(world, f"truncate {table}")
        run(world, chunk_portfolios=size)
        found.append((whole_day(world), digests(world)))
    assert found[0] == found[1] == found[2]
    assert len(found[0][1]) == 1


def test_a_day_without_one_close_is_skipped_by_name_and_heals_when_closes_come(world: Database) -> None:
    """Marked skipped in each table, named once; the next run completes it."""
    gone = execute(world, "delete from market_data_cache where date = %s returning symbol, close_price", DAY)
    for _ in range(2):
        with pytest.raises(NoPrices) as refused:
            run(world)
        assert str(refused.value) == (
            "2026-03-13: not one close in market_data_cache: skipped. Mend: have the symbol batch load the day."
        )
    assert execute(world, "select distinct status, count(*) from refresh_days group by 1") == [("skipped", 4)]
    assert [(row[1], row[5]) for row in worlds.exceptions(world) if row[1] == "no_prices"] == [
        (
            "no_prices",
            "market_data_cache has not one close of 2026-03-13."
            " Mend: have the symbol batch load it; the day then heals.",
        )
    ]
    worlds.load_closes(world, [{"symbol": symbol, "date": DAY, "close_price": close} for symbol, close in gone])
    run(world)
    assert execute(world, "select distinct status, count(*) from refresh_days group by 1") == [("complete", 4)]
    assert [row for row in worlds.exceptions(world) if row[1] == "no_prices"] == []
