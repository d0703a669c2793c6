"""Whose snapshots would change where positions or valuations of past days did, and by how much.

Here: each kind of repair after five nights, in figures that are known beforehand, and against what a run then records. Not
here: which days differ (test_stale.py), what is shown of it (cli/test_restatements.py)."""

from __future__ import annotations

import pytest

from refresh_assets.assets.restating import look_at_day
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.stale import Budget, Stale, stale_days
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import CALENDAR, DAY, close_of, event, execute, insert, position, run, uid, valuation

NIGHTS = CALENDAR.days(CALENDAR.nth_before(DAY, 4), DAY)
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = NIGHTS


@pytest.fixture
def world(database: Database) -> Database:
    """Three portfolios and their five nights."""
    worlds.three_portfolios(database)
    run(database, *NIGHTS)
    return database


def look(database: Database, budget: Budget | None = None) -> Stale:
    return stale_days(database, CALENDAR, NIGHTS, budget)


def figures(found: Stale) -> list[tuple[object, ...]]:
    return [(one.days, one.portfolios, one.column, one.portfolio, one.portfolio_usd) for one in found.snapshots]


def test_nothing_is_said_where_nothing_of_positions_changed(world: Database) -> None:
    """Nor where it is closes alone: those are measured by themselves."""
    assert look(world).snapshots == []

    execute(world, "update market_data_cache set close_price = close_price + 2 where symbol = 'AAA'")

    found = look(world)
    assert (found.snapshots, found.unmeasured) == ([], 0)


def test_a_repaired_quantity_is_one_change_of_every_day_that_holds_it(world: Database) -> None:
    """50 shares instead of 40 in portfolio 3: ten closes of Friday."""
    execute(world, "update positions set quantity = 50 where id = %s", uid("position", 31))

    (change,) = look(world).snapshots

    close = close_of(world, "CCC", FRIDAY)
    assert (change.days, change.portfolios, change.column) == (tuple(NIGHTS), 1, "total_value")
    assert change.portfolio == "Portfolio 3"
    assert [change.old, change.new] == pytest.approx([40 * close, 50 * close], abs=0.006)
    assert [change.usd, change.portfolio_usd] == pytest.approx([10 * close] * 2, abs=0.011)


def test_a_late_sale_tells_its_own_day_from_those_after_it(world: Database) -> None:
    """40 of 100 shares of portfolio 1 were sold on Wednesday, at a price: the days after only hold less."""
    execute(world, "update positions set quantity = 60 where id = %s", uid("position", 11))
    insert(world, "position_realized_events", event(1, 11, WEDNESDAY, 40))

    after, own = look(world).snapshots

    assert (after.days, own.days) == ((THURSDAY, FRIDAY), (WEDNESDAY,))
    for change, day in ((after, FRIDAY), (own, WEDNESDAY)):
        assert (change.portfolios, change.column, change.portfolio) == (1, "total_value", "Portfolio 1")
        assert change.portfolio_usd == pytest.approx(-40 * close_of(world, "AAA", day), abs=0.011)
        assert change.usd == pytest.approx(-change.portfolio_usd)


def test_a_corrected_valuation_is_exact_to_the_cent(world: Database) -> None:
    """2,234.56 instead of 1,234 on every night."""
    execute(world, "update private_valuations set market_value = 2234.56")

    assert figures(look(world)) == [
        (tuple(NIGHTS), 1, "total_value", "Portfolio 2", pytest.approx(1000.56, abs=1e-9)),
    ]


def test_a_valuation_entered_late_is_two_changes_of_which_each_is_named(world: Database) -> None:
    """On Tuesday itself the P&L still has Monday's value before it; on the days after it has the new one."""
    insert(world, "private_valuations", valuation(23, TUESDAY, 1300))

    assert figures(look(world)) == [
        ((WEDNESDAY, THURSDAY, FRIDAY), 1, "total_value", "Portfolio 2", pytest.approx(66)),
        ((TUESDAY,), 1, "total_value", "Portfolio 2", pytest.approx(66)),
    ]


def test_an_entry_price_moves_cost_and_no_value(world: Database) -> None:
    """51 instead of 50 for 40 shares: 40 USD of cost."""
    execute(world, "update positions set entry_price = 51 where id = %s", uid("position", 31))

    assert figures(look(world)) == [(tuple(NIGHTS), 1, "total_cost", "Portfolio 3", pytest.approx(40))]


def test_portfolios_whose_row_would_come_or_go_change_too(world: Database) -> None:
    """The only position of portfolio 3 is deleted, and a fourth portfolio is entered after the nights."""
    execute(world, "delete from positions where id = %s", uid("position", 31))
    insert(world, "portfolios", worlds.portfolio(4))
    insert(world, "positions", position(41, 4, "CCC", 100))

    (change,) = look(world).snapshots

    close = close_of(world, "CCC", FRIDAY)
    assert (change.portfolios, change.portfolio, change.old) == (2, "Portfolio 4", None)
    assert [change.new, change.usd] == pytest.approx([100 * close, 140 * close], abs=0.011)


def test_where_no_portfolio_is_left_every_row_would_go(world: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleted by hand, rows and all; in the look at all days and in that at one."""
    monkeypatch.setenv("REFRESH_DATABASE_URL", world.url)
    monkeypatch.setenv("REFRESH_START_DATE", str(MONDAY))
    execute(world, "delete from portfolios")

    for found in (look(world), look_at_day(load(), FRIDAY)):
        (change, *_) = found.snapshots
        assert (change.days[-1], change.portfolios, change.column, change.new) == (FRIDAY, 3, "total_value", None)


def test_a_back_dated_entry_touches_the_days_from_it_on(world: Database) -> None:
    """Entered now as bought on Thursday."""
    insert(world, "positions", position(32, 3, "AAA", 10, entry_date=THURSDAY))

    friday, thursday = look(world).snapshots

    assert (friday.days, thursday.days) == ((FRIDAY,), (THURSDAY,))
    assert friday.portfolio_usd == pytest.approx(10 * close_of(world, "AAA", FRIDAY), abs=0.011)


def test_two_causes_are_one_change_where_they_meet_and_two_where_they_do_not(world: Database) -> None:
    """A repair that reaches all days and a sale from Thursday on: the largest of the latest days is the sale's."""
    execute(world, "update positions set quantity = 41 where id = %s", uid("position", 31))
    execute(world, "update positions set quantity = 60 where id = %s", uid("position", 11))
    insert(world, "position_realized_events", event(1, 11, THURSDAY, 40))

    found = [(one.days, one.portfolios, one.portfolio) for one in look(world).snapshots]

    assert found == [
        ((FRIDAY,), 2, "Portfolio 1"),
        ((THURSDAY,), 2, "Portfolio 1"),
        ((MONDAY, TUESDAY, WEDNESDAY), 1, "Portfolio 3"),
    ]


def test_a_difference_that_no_snapshot_shows_is_said_to_be_none(database: Database) -> None:
    """The quantity of a position that never had a close."""
    worlds.three_portfolios(database)
    insert(database, "positions", position(33, 3, "NONE", 5))
    run(database, *NIGHTS)
    execute(database, "update positions set quantity = 6 where id = %s", uid("position", 33))

    assert figures(look(database)) == [(tuple(NIGHTS), 0, None, None, 0.0)]


def test_what_is_told_is_what_a_run_then_records(world: Database) -> None:
    """Portfolios and largest change of the snapshots, with a close of the day changed as well."""
    execute(world, "update positions set quantity = quantity * 2 where symbol = 'AAA'")
    execute(
        world, "update market_data_cache set close_price = close_price + 2 where symbol = 'BBB' and date = %s", FRIDAY
    )
    change = look(world).snapshots[0]

    run(world, FRIDAY, run_id="run-2")

    assert change.days[-1] == FRIDAY
    assert execute(
        world,
        "select portfolios_changed, largest_change, p.name from refresh_restatements"
        " join portfolios p on p.id = largest_change_portfolio where table_name = 'portfolio_snapshots'",
    ) == [(change.portfolios, pytest.approx(change.portfolio_usd), change.portfolio)]


def test_what_would_be_dear_to_work_out_is_counted(world: Database) -> None:
    """One cause of two is worked out, that of the latest days."""
    execute(world, "update positions set quantity = 60 where id = %s", uid("position", 11))
    insert(world, "position_realized_events", event(1, 11, TUESDAY, 40))

    for budget in (Budget(snapshots=1), Budget(valued=1)):
        found = look(world, budget)
        assert [one.days for one in found.snapshots] == [(WEDNESDAY, THURSDAY, FRIDAY)]
        assert found.unmeasured == 1
