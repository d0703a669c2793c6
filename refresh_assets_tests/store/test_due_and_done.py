"""The gate and the night agree on who is due: what is pending is done by one run, or is not started at all.

Here: rows that one of the two might take for something and the other for nothing. Not here: what a look remembers
(test_gate_facts.py), what the gate decides (automation/test_gate.py), whom a day should account for (test_expected.py)."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import pytest

from refresh_assets.automation.gate import GateSettings, decide
from refresh_assets.calendar import NEW_YORK
from refresh_assets.store.database import Database
from refresh_assets.store.gate_facts import Memory, read_facts
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, event, execute, insert, position, run, settled

FIRST = date(2026, 3, 10)
DAYS = CALENDAR.days(FIRST, DAY)
EVENING = datetime.combine(DAY, time(21, 40), NEW_YORK)
NO_CLOSE = "delete from market_data_cache where date = %s"
HALF_LOADED = "delete from market_data_cache where date = %s and symbol <> 'AAA'"


def started(database: Database, memory: Memory | None = None, at_once: int = 250) -> tuple[list[date], Memory]:
    """The days that the gate would start."""
    with database.connect() as connection:
        settled(connection)
        facts, memory = read_facts(connection, CALENDAR, FIRST, EVENING, at_once, memory=memory)
    return [day for one in decide(facts, EVENING, GateSettings(CALENDAR)).runs for day in one], memory


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, four days with prices; only the last has a word of the symbol batch."""
    worlds.three_portfolios(database)
    insert(database, "batch_run_tracking", *worlds.batch(DAY))
    return database


def test_a_day_of_null_closes_has_none(world: Database) -> None:
    """The night skips it, so it is not started again and again."""
    execute(world, NO_CLOSE, BEFORE)
    insert(world, "market_data_cache", {"symbol": "AAA", "date": BEFORE, "close_price": None})
    due, _ = started(world)
    assert due == [day for day in DAYS if day != BEFORE]
    run(world, *due)
    assert started(world)[0] == []


def test_a_day_with_a_close_that_nobody_asks_for_is_done(world: Database) -> None:
    """It is a day with a price: everybody is accounted for, by name where nothing could be valued."""
    execute(world, NO_CLOSE, BEFORE)
    insert(world, "market_data_cache", {"symbol": "ZZZ", "date": BEFORE, "close_price": 5})
    due, _ = started(world)
    assert due == DAYS
    run(world, *due)
    assert started(world)[0] == []
    named = "select count(*) from refresh_exceptions where calculation_date = %s and code = 'no_price'"
    assert execute(world, named, BEFORE)[0][0] > 0


@pytest.mark.parametrize(
    ("quantity", "closed"), [(0, [0]), (0, ["1e-41"]), ("1e-41", []), (0, [3, 0])], ids=["none", "fine", "tiny", "both"]
)
def test_a_position_that_the_night_does_not_know_makes_no_day_due(
    world: Database, quantity: object, closed: list[object]
) -> None:
    """Sales of nothing, numbers finer than any: the only position of its owner ends on a day of the range."""
    insert(world, "portfolios", worlds.portfolio(9))
    insert(world, "positions", position(90, 9, "AAA", quantity, entry_date=DAYS[0], exit_date=DAYS[2], exit_price=60))
    events = [event(90 + number, 90, DAY, one) for number, one in enumerate(closed)]
    if events:
        insert(world, "position_realized_events", *events)
    due, _ = started(world)
    run(world, *due)
    assert started(world)[0] == []


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_days_that_stay_half_loaded_do_not_keep_others_from_being_counted(world: Database, at_once: int) -> None:
    """Though closes are written before each look, and fewer days are counted at once than wait."""
    insert(world, "batch_run_tracking", *worlds.batch(*DAYS[:-1]))
    for day in (DAYS[0], DAY):
        execute(world, HALF_LOADED, day)
    memory, seen = Memory(), set[date]()
    for number in range(8):
        execute(
            world,
            "update market_data_cache set close_price = close_price + %s where date < %s",
            number,
            FIRST - timedelta(90),
        )
        execute(world, "update market_data_cache set close_price = close_price where date = %s", DAY)
        due, memory = started(world, memory, at_once)
        seen.update(due)
    assert seen == set(DAYS[1:-1])
