"""What the gate reads: which past days are pending, how much of their closes is there, and how long that is remembered.

Here: read_facts on small platforms, through tables and through views. Not here: whether a table was written to
(test_counters.py), who is expected on a day (test_expected.py), what follows from the facts (automation/test_gate.py)."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, time, timedelta

import pytest

from refresh_assets.calendar import NEW_YORK
from refresh_assets.store import gate_facts, gate_memory, holdings
from refresh_assets.store.counters import states_of
from refresh_assets.store.database import Database
from refresh_assets.store.gate_facts import Coverage, GateFacts, Memory, read_facts
from refresh_assets.store.gate_memory import LONGEST_MEMORY
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, event, execute, insert, portfolio, position, run, settled

FIRST = date(2026, 3, 10)
DAYS = CALENDAR.days(FIRST, DAY)
EVENING = datetime.combine(DAY, time(21, 40), NEW_YORK)
INTERVAL = timedelta(seconds=30)


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, four days with prices and a completed batch."""
    worlds.three_portfolios(database)
    insert(database, "batch_run_tracking", *worlds.batch(*DAYS))
    return database


def look(
    database: Database, memory: Memory | None = None, now: datetime = EVENING, start: date = FIRST
) -> tuple[GateFacts, Memory]:
    """One look in the evening of DAY."""
    with database.connect() as connection:
        settled(connection)
        return read_facts(connection, CALENDAR, start, now, 250, memory=memory)


def looks(database: Database, memory: Memory) -> tuple[GateFacts, Memory]:
    """One look, and where it leaves something to the next one, that one: with the memory as the sensor's cursor gives it."""
    facts, memory = look(database, kept(memory))
    return look(database, kept(memory)) if memory.uncounted else (facts, memory)


def pending(facts: GateFacts) -> list[date]:
    """The days on which somebody is not accounted for."""
    return [one.day for one in facts.pending]


MOST_LOOKS = 10
"""After a write, through views: what either half holds is read once more after each step of whom the days account for."""


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
    wrong = replace(memory, pending=(BEFORE,))
    assert pending(look(database, wrong)[0]) == [BEFORE]
    execute(database, "update public.positions set market_value = 1")
    assert pending(look(database, wrong)[0]) == DAYS


def kept(memory: Memory) -> Memory:
    """A memory as it comes back out of the sensor's cursor."""
    return Memory.from_json(json.loads(json.dumps(memory.to_json(CALENDAR))), CALENDAR)


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """From now on a look fails if it reads this."""

    def fail(*_: object) -> None:
        raise AssertionError("was read again")

    for name in names:
        monkeypatch.setattr(gate_facts, name, fail)


def test_after_a_nights_commit_nobody_asks_again_whom_the_days_should_account_for(
    world: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored is enough, as long as no day that was complete is another now."""
    _, memory = look(world)
    run(world, *DAYS[:2])
    with monkeypatch.context() as patch:
        refuse(patch, "expected_portfolios")
        facts, memory = look(world, kept(memory))
    assert pending(facts) == list(memory.pending) == DAYS[2:]
    execute(
        world, "delete from refresh_days where calculation_date = %s and table_name = 'portfolio_snapshots'", DAYS[0]
    )
    assert pending(look(world, kept(memory))[0]) == [DAYS[0], *DAYS[2:]]


def test_after_a_write_that_concerns_nobody_nobody_asks_again_what_is_stored(
    world: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does is found: a portfolio more, a position that moves to it, a position that goes."""
    run(world, *DAYS[:2])
    _, memory = look(world)
    execute(world, "update positions set market_value = 1")
    with monkeypatch.context() as patch:
        refuse(patch, "_stored")
        facts, memory = looks(world, memory)
    assert pending(facts) == DAYS[2:]
    insert(world, "portfolios", portfolio(9))
    assert pending(looks(world, memory)[0]) == DAYS[2:]
    owner = execute(world, "select id, portfolio_id from positions order by id limit 1")[0]
    execute(world, "update positions set portfolio_id = %s where id = %s", portfolio(9)["id"], owner[0])
    assert pending(looks(world, memory)[0]) == DAYS == pending(look(world)[0])
    execute(world, "update positions set portfolio_id = %s where id = %s", owner[1], owner[0])
    assert pending(looks(world, memory)[0]) == DAYS[2:]
    execute(world, "delete from positions")
    assert pending(looks(world, memory)[0]) == [] == pending(look(world)[0])


@pytest.mark.parametrize(
    "statement",
    [
        "delete from positions where symbol <> 'AAA'",
        "update positions set symbol = 'NEW', exit_date = null",
        "update portfolios set deleted_at = '2026-03-11'",
        "delete from position_realized_events",
        "delete from refresh_days where calculation_date = '2026-03-10'",
    ],
)
def test_what_no_counter_tells_of_is_seen_within_a_quarter_of_an_hour(world: Database, statement: str) -> None:
    """Counters are lost in a crash, and a session may switch them off; by looks that follow each other as the sensor's."""
    insert(world, "positions", position(98, 1, "SOLD OUT", quantity=0))
    insert(world, "position_realized_events", event(98, 98, date(2026, 3, 16), 10))
    run(world, *DAYS[:2])
    _, memory = look(world)
    before = states(world)
    execute(world, f"set track_counts to off; {statement}")
    assert states(world) == before
    now, looked = EVENING, []
    while now < EVENING + LONGEST_MEMORY + 2 * INTERVAL:
        now += INTERVAL
        facts, memory = look(world, kept(memory), now)
        looked.append(facts.pending)
    assert looked[-1] == look(world)[0].pending != looked[0]


def states(database: Database) -> dict[str, str]:
    """Of all tables that a look reads whom the days should account for, and do, from."""
    with database.connect() as connection:
        settled(connection)
        return states_of(connection, (*holdings.HOLDING_TABLES, *gate_facts.STORED_TABLES))


def test_a_cursor_of_an_earlier_version_is_read(world: Database) -> None:
    """Nothing of it is trusted, and nothing that stands beside it is lost."""
    _, memory = look(world)
    figures = memory.to_json(CALENDAR)
    del figures["stored"], figures["agreement"]
    assert pending(look(world, Memory.from_json(figures, CALENDAR))[0]) == DAYS


def test_more_pending_days_than_a_cursor_should_hold_are_looked_at_again(
    world: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The days themselves are kept, what is expected on each is not."""
    monkeypatch.setattr(gate_facts, "MOST_PENDING", len(DAYS) - 1)
    _, memory = look(world)
    assert memory.agreement is None
    run(world, DAYS[0])
    facts, memory = look(world, kept(memory))
    assert pending(facts) == DAYS[1:]
    assert memory.agreement is not None


def test_closes_that_arrive_are_counted_without_asking_again_who_holds_what(
    world: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a position that is new is asked for."""
    execute(world, "delete from market_data_cache where date = %s and symbol = 'AAA'", DAY)
    facts, memory = look(world)
    before = facts.pending[-1].coverage
    assert before is not None
    worlds.load_closes(world, [{"symbol": "AAA", "date": DAY, "close_price": 5}])
    with monkeypatch.context() as patch:
        refuse(patch, "expected_portfolios")
        for name in ("found_between", "held_between"):
            patch.setattr(holdings, name, None)
        facts, memory = look(world, kept(memory))
    assert facts.pending[-1].coverage == Coverage(before.held, before.priced + 1)
    insert(world, "positions", position(99, 1, "NEW"))
    facts, memory = looks(world, memory)
    assert facts.pending[-1].coverage == Coverage(before.held + 1, before.priced + 1)
    gate_memory.KEPT.clear()
    assert look(world)[0].pending == facts.pending


@pytest.mark.parametrize("through", ["world", "viewed"])
@pytest.mark.parametrize(("start", "within"), [(FIRST, 3), (DAY, 3)], ids=["many days", "one day"])
def test_a_day_that_is_due_is_counted_within_some_looks_though_positions_are_written_before_each(
    through: str, start: date, within: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the first look the days are known and how much is there is not; the third says it, since what either half of the
    owners holds is read by itself. What was written is in the next at the latest."""
    database: Database = request.getfixturevalue(through)
    facts, memory = look(database, start=start)
    monkeypatch.setattr(holdings, "ROWS_AT_ONCE", -1)
    days = CALENDAR.days(start, DAY)
    counted = []
    for number in range(6):
        execute(database, f"update public.positions set last_price = {number}")
        facts, memory = look(database, kept(memory), EVENING + number * INTERVAL, start)
        assert pending(facts) == days
        counted.append(facts.pending[-1].coverage)
    assert counted == [*[None] * (within - 1), look(database, start=start)[0].pending[-1].coverage] * (6 // within)
    insert(database, "positions", position(99, 1, "NEW"))
    for _ in range(MOST_LOOKS):
        facts, memory = look(database, kept(memory), start=start)
        if not memory.uncounted and not facts.unread:
            break
    assert facts == look(database, start=start)[0]


def test_what_a_look_left_to_the_next_is_in_the_cursor(world: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes that look."""
    monkeypatch.setattr(holdings, "ROWS_AT_ONCE", -1)
    _, memory = look(world, start=DAY)
    execute(world, "update positions set last_price = 1")
    _, memory = look(world, memory, start=DAY)
    assert memory.uncounted
    assert kept(memory) == memory
    for _ in range(2):  # what either half of the owners holds
        assert memory.uncounted
        gate_memory.KEPT.clear()
        facts, memory = look(world, kept(memory), start=DAY)
    assert facts == look(world, start=DAY)[0]
    assert not memory.uncounted


def test_many_writes_are_seen_in_the_second_look(world: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has read half of the owners; what the night stored meanwhile it sees all the same."""
    run(world, *DAYS[:2])
    _, memory = look(world)
    monkeypatch.setattr(holdings, "ROWS_AT_ONCE", -1)
    monkeypatch.setattr(holdings, "MOST_WRITTEN", 1)
    run(world, DAYS[2])
    execute(world, "delete from positions where symbol = 'AAA'; update positions set exit_date = '2026-03-10'")
    facts, memory = look(world, kept(memory))
    assert pending(facts) == DAYS[3:]
    assert facts.unread
    while facts.unread:
        monkeypatch.setattr(holdings, "MOST_WRITTEN", 500)
        facts, memory = look(world, kept(memory))
    assert pending(facts) == pending(look(world)[0]) != DAYS[3:]


ONE_GOES = "delete from public.positions where id = (select id from public.positions where symbol = 'GOES' limit 1)"


@pytest.mark.parametrize("wrote", [None, "update public.positions set last_price = 1", ONE_GOES])
@pytest.mark.parametrize("through", ["world", "viewed"])
def test_the_first_look_of_many_positions_knows_of_no_day_and_the_third_of_all(
    through: str, wrote: str | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where somebody writes before each, and where each is of a new process: then the sixth counts closes, after what
    either half of the owners holds, and since when what nobody holds throughout is held."""
    database: Database = request.getfixturevalue(through)
    run(request.getfixturevalue("world"), *DAYS[:2])
    insert(database, "positions", *(position(80 + number, 1, "GOES", entry_date=DAY) for number in range(5)))
    monkeypatch.setattr(holdings, "ROWS_AT_ONCE", -1)
    memory, seen = Memory(), []
    for _ in range(6):
        if wrote:
            execute(database, wrote)
        gate_memory.KEPT.clear()
        facts, memory = look(database, kept(memory))
        assert facts.unknown == (not facts.pending)
        seen.append(pending(facts))
    assert seen == [[], [], *[DAYS[2:]] * 4]
    assert facts.pending[-1].coverage is not None
    assert pending(look(database)[0]) == DAYS[2:]


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
            settled(connection)
            facts, _ = read_facts(connection, CALENDAR, FIRST, EVENING, 250)
        assert {one.day: one.coverage for one in facts.pending if one.coverage} == {day: counted[day]}
