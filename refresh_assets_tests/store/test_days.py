"""Which days are complete, due, blocked, skipped, mixed or empty, and why.

Here: day_statuses. Not here: who is expected on a day (test_expected.py), when a night starts (automation/)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import date

import pytest

from refresh_assets.errors import NoPrices
from refresh_assets.store.database import Database
from refresh_assets.store.days import DayStatus, State, day_statuses, exceptions_of, stretches
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, execute, insert, portfolio, position, run, uid

NEXT = date(2026, 3, 16)
WEEK = CALENDAR.days(date(2026, 3, 9), NEXT)


@pytest.fixture
def world(database: Database) -> Database:
    """The database with the three portfolios, prices up to the Monday."""
    worlds.three_portfolios(database, last=NEXT)
    return database


def statuses(database: Database, days: Sequence[date] = WEEK, effective: date = NEXT) -> dict[date, DayStatus]:
    """Day -> status."""
    with database.connect() as connection:
        return {one.day: one for one in day_statuses(connection, CALENDAR, days, effective)}


def status(database: Database, day: date = DAY, effective: date = NEXT) -> DayStatus:
    """The status of one day."""
    return statuses(database, [day], effective)[day]


def test_a_day_that_has_prices_and_no_night_is_due(world: Database) -> None:
    """It says what is missing and what to do."""
    found = status(world)
    assert (found.state, found.portfolios) == (State.DUE, 3)
    assert found.why == (
        "missing: portfolio_snapshots, correlation_calculations, factor_exposures, stress_test_results"
    )
    assert found.mend == "refresh-assets run --date 2026-03-13 --scope missing"
    assert set(found.tables.values()) == {0}


def test_a_day_is_complete_when_each_table_accounts_for_everyone(world: Database) -> None:
    """One portfolio has no correlations, by name: it is accounted for."""
    run(world)
    found = status(world)
    assert (found.state, found.why, found.mend) == (State.COMPLETE, "every portfolio is accounted for", "")
    assert found.tables == {
        "portfolio_snapshots": 3,
        "correlation_calculations": 2,
        "factor_exposures": 3,
        "stress_test_results": 3,
    }
    assert (found.exceptions, found.failed) == (1, 0)
    with world.connect() as connection:
        (left_out,) = exceptions_of(connection, DAY)
    assert (left_out.portfolio, left_out.code) == ("Portfolio 3", "too_few_symbols")


def test_a_night_that_died_after_its_snapshots_is_due(world: Database) -> None:
    """The other three tables are named."""
    with closing(worlds.night(world)) as night:
        worlds.WRITERS["portfolio_snapshots"](night, DAY)
    found = status(world)
    assert found.state is State.DUE
    assert found.why == "missing: correlation_calculations, factor_exposures, stress_test_results"


def test_a_hole_in_the_middle_is_due_and_only_it(world: Database) -> None:
    """Days before and after it are complete."""
    run(world, *(day for day in WEEK if day != BEFORE))
    assert {day: one.state for day, one in statuses(world).items()} == {
        day: State.DUE if day == BEFORE else State.COMPLETE for day in WEEK
    }


def test_a_portfolio_that_comes_later_with_an_earlier_inception_makes_past_days_due(world: Database) -> None:
    """From its inception on, not before; missing scope heals them."""
    run(world, *WEEK)
    insert(world, "portfolios", portfolio(4, inception_date=date(2026, 3, 11)))
    insert(world, "positions", position(41, 4))
    insert(world, "batch_run_tracking", *worlds.batch(NEXT))
    found = statuses(world)
    due = {day for day, one in found.items() if one.state is State.DUE}
    assert due == {day for day in WEEK if day >= date(2026, 3, 11)}
    assert {one.why for one in found.values() if one.state is State.DUE} == {"portfolios are missing"}
    run(world, *sorted(due), missing_only=True)
    assert {one.state for one in statuses(world).values()} == {State.COMPLETE}


@pytest.mark.parametrize("table", list(worlds.WRITERS))
def test_a_portfolio_that_lost_its_row_in_one_table_is_due_once_the_day_is_counted_again(
    world: Database, table: str
) -> None:
    """A day of which one table does not account for a portfolio is due; missing scope writes just that row again."""
    execute(world, "update portfolios set created_at = '2026-04-01' where id = %s", uid("portfolio", 2))
    with closing(worlds.night(world)) as night:
        worlds.WRITERS[table](night, DAY)
    execute(world, "update portfolios set created_at = '2025-04-01' where id = %s", uid("portfolio", 2))
    with closing(worlds.night(world)) as night:
        for other, write in worlds.WRITERS.items():
            if other != table:
                write(night, DAY)
    assert (status(world).state, status(world).why) == (State.DUE, "portfolios are missing")
    run(world, missing_only=True)
    assert status(world).state is State.COMPLETE


def test_a_day_of_which_one_table_was_restated_alone_is_mixed(world: Database) -> None:
    """The mend is to run the day whole."""
    run(world)
    execute(world, "update market_data_cache set close_price = close_price + 1 where date = %s and symbol = 'AAA'", DAY)
    with closing(worlds.night(world)) as night:
        worlds.WRITERS["portfolio_snapshots"](night, DAY)
    found = status(world)
    assert (found.state, found.why, found.mend) == (
        State.MIXED,
        "its tables were computed from different inputs",
        "refresh-assets run --date 2026-03-13",
    )
    run(world)
    assert status(world).state is State.COMPLETE


def test_a_day_on_which_nobody_holds_anything_is_empty(world: Database) -> None:
    """Before the first entry there is nothing to do, prices or not."""
    found = status(world, date(2025, 5, 30))
    assert (found.state, found.why, found.portfolios) == (State.EMPTY, "no portfolio holds anything", 0)


READINESS: list[tuple[str, str | None, bool, State, str]] = [
    ("an earlier day without a tracking row", None, True, State.DUE, "missing: "),
    ("completed", "completed", True, State.DUE, "missing: "),
    ("running", "running", True, State.BLOCKED, "the symbol batch says running"),
    ("failed", "failed", True, State.BLOCKED, "the symbol batch says failed"),
    ("no price at all", None, False, State.SKIPPED, "not one close"),
    ("completed without a price", "completed", False, State.SKIPPED, "not one close"),
    ("failed without a price", "failed", False, State.BLOCKED, "the symbol batch says failed"),
]


@pytest.mark.parametrize(
    ("batch", "prices", "state", "why"), [row[1:] for row in READINESS], ids=[r[0] for r in READINESS]
)
def test_a_past_day_is_ready_by_its_batch_or_by_its_prices(
    world: Database, batch: str | None, prices: bool, state: State, why: str
) -> None:
    """Spec section 3, one line each."""
    if batch:
        insert(world, "batch_run_tracking", *worlds.batch(DAY, status=batch))
    if not prices:
        execute(world, "delete from market_data_cache where date = %s", DAY)
    found = status(world)
    assert found.state is state
    assert found.why.startswith(why)


def test_the_effective_day_waits_for_its_batch_even_when_prices_are_there(world: Database) -> None:
    """Its prices may be half loaded; once the batch is completed it is due."""
    found = status(world, DAY, effective=DAY)
    assert (found.state, found.why, found.mend) == (
        State.BLOCKED,
        "the symbol batch has not run",
        "wait for it, or run it",
    )
    insert(world, "batch_run_tracking", *worlds.batch(DAY))
    assert status(world, DAY, effective=DAY).state is State.DUE


def test_a_day_that_was_skipped_is_due_once_prices_come(world: Database) -> None:
    """The skipped mark does not stand in the way."""
    gone = execute(world, "delete from market_data_cache where date = %s returning symbol, close_price", DAY)
    with pytest.raises(NoPrices):
        run(world)
    assert status(world).state is State.SKIPPED
    worlds.load_closes(world, [{"symbol": symbol, "date": DAY, "close_price": close} for symbol, close in gone])
    assert status(world).state is State.DUE


def test_a_day_that_is_half_loaded_is_blocked_where_a_share_of_closes_is_asked_for(world: Database) -> None:
    """As the gate holds it, with the counts; a day without a word of the batch is due with any close."""
    insert(world, "batch_run_tracking", *worlds.batch(BEFORE, DAY))
    execute(world, "delete from market_data_cache where date = %s and symbol <> 'AAA'", DAY)
    with world.connect() as connection:
        found = day_statuses(connection, CALENDAR, WEEK, NEXT, 0.8)
        anyhow = day_statuses(connection, CALENDAR, WEEK, NEXT)
    blocked = {one.day: one for one in found if one.state is State.BLOCKED and one.day < NEXT}
    assert list(blocked) == [DAY]
    assert blocked[DAY].why == "half-loaded: 1 of 4 symbols held have a close, 80% are asked for"
    assert blocked[DAY].mend.endswith("or as it is: refresh-assets run --date 2026-03-13")
    assert {one.day: one.state for one in anyhow}[DAY] is State.DUE


def test_days_of_a_platform_without_a_table_of_sales_can_be_asked_for(world: Database) -> None:
    """position_realized_events may be absent."""
    execute(world, "drop table position_realized_events")
    run(world)
    assert status(world).state is State.COMPLETE


def test_stretches_are_consecutive_trading_days_oldest_first() -> None:
    """A weekend does not cut one; a day between does."""
    days = [NEXT, DAY, date(2026, 3, 10), date(2026, 3, 9)]
    assert stretches(days, WEEK) == [[date(2026, 3, 9), date(2026, 3, 10)], [DAY, NEXT]]
    assert stretches([], WEEK) == []


def test_a_portfolio_deleted_back_to_before_the_day_does_not_keep_it_due_for_ever(world: Database) -> None:
    """One run that adds nobody counts the day anew; the row that stands stays until a person restates the day."""
    run(world)
    execute(world, "update portfolios set deleted_at = %s where id = %s", BEFORE, uid("portfolio", 3))
    assert status(world).state is State.DUE
    run(world, missing_only=True, run_id="run-2")
    assert status(world).state is State.COMPLETE
    assert len(worlds.table_rows(world, "portfolio_snapshots")) == 3
