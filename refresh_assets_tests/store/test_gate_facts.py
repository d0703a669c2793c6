"""What the gate reads: which past days are pending, how much of their closes is there, and how long that is remembered.

Here: read_facts and state_of on small platforms, through tables and through views. Not here: who is expected on a day
(test_expected.py), what follows from the facts (automation/test_gate.py)."""

from __future__ import annotations

from contextlib import closing
from datetime import date, datetime, time

import pytest

from refresh_assets.calendar import NEW_YORK
from refresh_assets.store.counters import state_of
from refresh_assets.store.database import Database
from refresh_assets.store.gate_facts import Coverage, GateFacts, Memory, read_facts
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, event, execute, insert, portfolio, position, run

FIRST = date(2026, 3, 10)
DAYS = CALENDAR.days(FIRST, DAY)
EVENING = datetime.combine(DAY, time(21, 40), NEW_YORK)


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, four days with prices and a completed batch."""
    worlds.three_portfolios(database)
    insert(database, "batch_run_tracking", *worlds.batch(*DAYS))
    return database


def look(database: Database, memory: Memory | None = None) -> tuple[GateFacts, Memory]:
    """One look in the evening of DAY."""
    with database.connect() as connection:
        return read_facts(connection, CALENDAR, FIRST, EVENING, 250, memory=memory)


def pending(facts: GateFacts) -> list[date]:
    """The days on which somebody is not accounted for."""
    return [one.day for one in facts.pending]


def test_a_day_of_mixed_inputs_is_not_pending(world: Database) -> None:
    """Everybody is accounted for on it: to restate it is for a person to ask, `status` names it."""
    run(world, *DAYS)
    execute(
        world, "update market_data_cache set close_price = close_price + 1 where date = %s and symbol = 'AAA'", BEFORE
    )
    with closing(worlds.night(world, BEFORE)) as night:
        worlds.WRITERS["portfolio_snapshots"](night, BEFORE)
    assert execute(world, "select count(*) from refresh_complete_days") == [(len(DAYS) - 1,)]
    assert pending(look(world)[0]) == []


PLATFORM = ("portfolios", "positions", "position_realized_events", "market_data_cache", "batch_run_tracking")


@pytest.fixture
def viewed(world: Database) -> Database:
    """The same platform, read through views of other names' columns."""
    execute(world, "create schema platform")
    for table in PLATFORM:
        execute(world, f"create view platform.{table} as select * from public.{table}")
    return Database(world.url, "platform", "public")


@pytest.mark.parametrize("through", ["world", "viewed"])
def test_what_a_look_found_is_remembered_until_somebody_writes(through: str, request: pytest.FixtureRequest) -> None:
    """To the tables themselves, or to those behind the views; a wrong memory shows that it is read."""
    database: Database = request.getfixturevalue(through)
    _, memory = look(database)
    assert memory.pending == tuple(DAYS)
    wrong = Memory(memory.at, memory.accounting, (BEFORE,), memory.closes, memory.coverage)
    assert pending(look(database, wrong)[0]) == [BEFORE]
    execute(database, "update public.positions set market_value = 1")
    assert pending(look(database, wrong)[0]) == DAYS


VIEWS = [
    ("select id, entry_date from positions where quantity > 0", True),
    ("select upper(symbol) as symbol, (deleted_at at time zone 'America/New_York')::date as gone from positions", True),
    ("select p.* from positions p join portfolios f on f.id = p.portfolio_id", True),
    ("select * from positions where entry_date <= current_date", False),
    ("select * from positions where deleted_at > now()", False),
    ("select *, random() from positions", False),
    ("select *, told() from positions", False),
]


@pytest.mark.parametrize(("query", "known"), VIEWS, ids=[row[0] for row in VIEWS])
def test_a_view_is_followed_to_its_tables_unless_it_depends_on_more_than_them(
    database: Database, query: str, known: bool
) -> None:
    """Then nothing may be remembered: its rows change without a write."""
    insert(database, "portfolios", portfolio(1))
    told = "create function told() returns bigint stable language sql return (select count(*) from portfolios)"
    execute(database, told)
    execute(database, f"create view first_view as {query}")
    execute(database, "create view second_view as select * from first_view")
    states = []
    for write in ("select 1", "select 1", "insert into positions (id) values (gen_random_uuid())"):
        execute(database, write)
        with database.connect() as connection:
            states.append(state_of(connection, ["portfolios", "second_view"]))
    before, unchanged, written = states
    assert bool(before) is known
    assert before == unchanged
    assert (written != before) is known


def test_a_view_that_is_defined_anew_is_looked_at_anew(database: Database) -> None:
    """No row was written, yet it may show others."""
    states = []
    for least in (0, 5):
        execute(database, f"create or replace view held as select * from positions where quantity > {least}")
        with database.connect() as connection:
            states.append(state_of(connection, ["held"]))
    assert states[0] != states[1]
    assert all(states)


def test_a_partitioned_table_is_followed_to_its_partitions(database: Database) -> None:
    """Its own counters stay at 0."""
    execute(database, "create table closes (day date) partition by range (day)")
    execute(database, "create table closes_ever partition of closes default")
    with database.connect() as connection:
        before = state_of(connection, ["closes"])
    execute(database, "insert into closes values ('2026-03-13')")
    with database.connect() as connection:
        assert before != state_of(connection, ["closes"]) != ""


def test_the_symbols_held_are_counted_on_each_day(database: Database) -> None:
    """Held, sold, deleted and sold down to 0, on several days at once as on each alone; one symbol in many books once."""
    tuesday, wednesday, thursday, friday = DAYS
    noon = {day: datetime.combine(day, time(12), NEW_YORK) for day in DAYS}
    insert(database, "portfolios", portfolio(1), portfolio(2), portfolio(3, deleted_at=noon[thursday]),
           portfolio(4, inception_date=friday))  # fmt: skip
    insert(
        database,
        "positions",
        position(1, 1, "EVER", entry_date=None),
        position(2, 2, "EVER"),
        position(3, 1, "FROM WEDNESDAY", entry_date=wednesday),
        position(4, 1, "TO WEDNESDAY", exit_date=thursday, exit_price=60),
        position(5, 1, "DELETED", deleted_at=noon[wednesday]),
        position(6, 1, "SOLD OUT", quantity=0),
        position(7, 1, "SOLD OUT BEFORE", quantity=0),
        position(8, 3, "OF A DELETED BOOK"),
        position(9, 4, "OF A NEW BOOK"),
        position(10, 1, "SOLD AND HELD", quantity=0),
        position(11, 2, "SOLD AND HELD", entry_date=friday),
        position(12, 1, None, investment_class="PRIVATE"),
        position(13, 77, "OF NOBODY"),
    )
    events = [
        event(1, 6, wednesday, 4),
        event(2, 6, thursday, 6),
        event(3, 7, tuesday, 10),
        event(4, 10, wednesday, 10),
    ]
    insert(database, "position_realized_events", *events)
    insert(database, "batch_run_tracking", *worlds.batch(*DAYS))
    held = {
        tuesday: ["EVER", "TO WEDNESDAY", "DELETED", "SOLD OUT", "OF A DELETED BOOK", "SOLD AND HELD"],
        wednesday: ["EVER", "FROM WEDNESDAY", "TO WEDNESDAY", "SOLD OUT", "OF A DELETED BOOK"],
        thursday: ["EVER", "FROM WEDNESDAY"],
        friday: ["EVER", "FROM WEDNESDAY", "OF A NEW BOOK", "SOLD AND HELD"],
    }
    priced = {"EVER", "SOLD OUT", "OF A NEW BOOK", "OF NOBODY", "SOLD OUT BEFORE"}
    rows = [{"symbol": symbol, "date": day, "close_price": 5} for day in DAYS for symbol in sorted(priced)]
    worlds.load_closes(database, [*rows, {"symbol": "FROM WEDNESDAY", "date": friday, "close_price": "NaN"}])
    counted = {day: Coverage(len(symbols), len(priced & set(symbols))) for day, symbols in held.items()}
    assert {one.day: one.coverage for one in look(database)[0].pending} == counted
    for day in DAYS:
        with database.connect() as connection:
            execute(database, "delete from batch_run_tracking")
            insert(database, "batch_run_tracking", *worlds.batch(day))
            facts, _ = read_facts(connection, CALENDAR, FIRST, EVENING, 250)
        assert {one.day: one.coverage for one in facts.pending if one.coverage} == {day: counted[day]}
