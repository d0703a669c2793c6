"""The platform's positions after a night: market value, last price, its date.

Here: the update of positions. Not here: the marks that it takes the closes from (test_write.py)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from refresh_assets.store.database import Database
from refresh_assets.store.extras import latest_complete_day, update_market_values
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import BEFORE, DAY, execute, insert, one, run, uid, update_positions

NEXT = date(2026, 3, 16)
ROW = "select market_value, last_price, last_price_date from positions where id = %s"


@pytest.fixture
def world(database: Database) -> Database:
    """The database with the three portfolios, prices up to the Monday after."""
    worlds.three_portfolios(database, last=NEXT)
    return database


def close(symbol: str, day: date) -> Decimal:
    """The close that the world has."""
    (row,) = [row for row in worlds.closes([symbol], last=NEXT) if row["date"] == day]
    return Decimal(str(row["close_price"]))


def test_positions_get_quantity_times_close_times_multiplier_of_the_latest_complete_day(world: Database) -> None:
    """Longs, shorts and options of all portfolios; exactly, not to the cent."""
    run(world)
    assert update_positions(world) == {"positions_updated": 7}
    stock, option = close("CCC", DAY), close(worlds.OPTION, DAY)
    assert execute(world, ROW, uid("position", 13)) == [(-30 * stock, stock, DAY)]
    assert execute(world, ROW, uid("position", 14)) == [(2 * option * 100, option, DAY)]


def test_a_second_update_of_the_same_day_touches_no_row(world: Database) -> None:
    """What is right already is not rewritten."""
    run(world)
    update_positions(world)
    versions = execute(world, "select id, xmin::text from positions order by 1")
    assert update_positions(world) == {"positions_updated": 0}
    assert execute(world, "select id, xmin::text from positions order by 1") == versions


def test_a_private_position_keeps_what_a_person_entered(world: Database) -> None:
    """Neither its value nor its date is touched."""
    execute(world, "update positions set market_value = 5, symbol = 'AAA' where id = %s", uid("position", 23))
    run(world)
    update_positions(world)
    assert execute(world, ROW, uid("position", 23)) == [(5, None, None)]


def test_an_earlier_day_never_moves_positions_back(world: Database) -> None:
    """A day that is recomputed after a later one is complete changes no position, and says why."""
    run(world, DAY, NEXT)
    update_positions(world, NEXT)
    rows = execute(world, "select * from positions order by id")
    run(world, BEFORE)
    assert update_positions(world, BEFORE) == {
        "positions_updated": 0,
        "why": "the latest complete day is 2026-03-16",
    }
    assert update_positions(world, DAY)["positions_updated"] == 0
    assert execute(world, "select * from positions order by id") == rows


def test_a_position_that_somebody_priced_later_stays(world: Database) -> None:
    """Its last_price_date is after the day."""
    execute(
        world, "update positions set market_value = 1, last_price = 2, last_price_date = %s where id = %s",
        NEXT, uid("position", 11),
    )  # fmt: skip
    run(world)
    assert update_positions(world) == {"positions_updated": 6}
    assert execute(world, ROW, uid("position", 11)) == [(1, 2, NEXT)]


def test_a_day_that_is_not_complete_moves_nothing(world: Database) -> None:
    """One table alone is no night."""
    with world.connect() as connection:
        assert latest_complete_day(connection) is None
    assert update_positions(world) == {"positions_updated": 0, "why": "the latest complete day is none yet"}
    run(world)
    execute(world, "delete from refresh_days where table_name = 'stress_test_results'")
    assert update_positions(world)["positions_updated"] == 0


def test_a_position_sold_later_is_valued_at_what_was_held_on_the_day(world: Database) -> None:
    """40 of 100 sold the Monday after: on Friday there were 100."""
    execute(world, "update positions set quantity = 60 where id = %s", uid("position", 11))
    insert(world, "position_realized_events", worlds.event(1, 11, NEXT, 40))
    run(world)
    update_positions(world)
    assert execute(world, ROW, uid("position", 11))[0][0] == 100 * close("AAA", DAY)


@pytest.mark.parametrize("closed", ["NaN", "Infinity", None, -3, "1" + "0" * 19])
def test_a_later_event_that_the_night_leaves_out_is_left_out_here_too(world: Database, closed: object) -> None:
    """No NaN, and no quantity that the snapshot did not have, reaches the platform's positions."""
    insert(world, "position_realized_events", worlds.event(1, 11, NEXT, closed), worlds.event(2, 12, BEFORE, 1))
    run(world)
    update_positions(world)
    assert execute(world, ROW, uid("position", 11))[0][0] == 100 * close("AAA", DAY)


def test_positions_that_are_not_held_on_the_day_are_left_alone(world: Database) -> None:
    """Not yet entered, already exited, deleted (even after the day), of no quantity, unreadable, without a price."""
    insert(
        world,
        "positions",
        worlds.position(31001, 3, "AAA", 1, entry_date=NEXT),
        worlds.position(31002, 3, "AAA", 1, exit_date=DAY, exit_price=60),
        worlds.position(31003, 3, "AAA", 1, deleted_at="2026-03-01"),
        worlds.position(31008, 3, "AAA", 1, deleted_at="2026-04-01"),
        worlds.position(31004, 3, "AAA", 0),
        worlds.position(31005, 3, "AAA", "NaN"),
        worlds.position(31006, 3, "AAA", None),
        worlds.position(31007, 3, "NEW", 1),
    )
    run(world)
    assert update_positions(world) == {"positions_updated": 7}


def test_positions_of_a_portfolio_that_is_not_there_are_left_alone(world: Database) -> None:
    """Deleted (even after the day), or not begun: though others hold the same symbol."""
    insert(
        world,
        "portfolios",
        worlds.portfolio(41, deleted_at="2026-03-01"),
        worlds.portfolio(42, deleted_at="2026-04-01"),
        worlds.portfolio(43, inception_date=NEXT),
    )
    insert(world, "positions", *(worlds.position(number * 10, number, "AAA", 1) for number in (41, 42, 43)))
    run(world)
    assert update_positions(world) == {"positions_updated": 7}
    assert execute(world, ROW, uid("position", 410)) == [(None, None, None)]


def test_a_portfolio_without_an_id_takes_nobodys_prices_away(world: Database) -> None:
    """A view may have one: what is compared with null is neither equal nor different."""
    run(world)
    execute(world, "alter table portfolios rename to books")
    nameless = """select (jsonb_populate_record(null::books, '{"deleted_at": "2026-03-01"}')).*"""
    execute(world, f"create view portfolios as select * from books union all {nameless}")
    with world.connect() as connection:
        assert update_market_values(connection, DAY) == 7


def test_a_close_of_zero_is_a_price(world: Database) -> None:
    """As the snapshot has it: a position that is worth nothing must not go on showing what it was worth before."""
    execute(world, "update market_data_cache set close_price = 0 where symbol = 'CCC' and date = %s", DAY)
    run(world)
    assert update_positions(world) == {"positions_updated": 7}
    assert execute(world, ROW, uid("position", 13)) == [(0, 0, DAY)]


def test_the_update_is_hot(world: Database) -> None:
    """On the table that init made, no index is touched: every update stays in its page."""
    run(world)
    with world.connect() as connection:
        updated = update_market_values(connection, DAY)
        hot = one(connection, "select pg_stat_get_xact_tuples_hot_updated('positions'::regclass)")
    assert (updated, hot) == (7, 7)
