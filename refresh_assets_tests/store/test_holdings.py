"""Who holds what, brought up to now by the rows written since it was read as a whole: the same as if all were read.

Here: Holdings over writes of every kind, a writer that was open meanwhile, and what is not read again. Not here: who is
expected for it (test_expected.py), what the gate's look makes of it (test_gate_facts.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresh_assets.calendar import NEW_YORK
from refresh_assets.store import gate_memory, holdings, owned
from refresh_assets.store.counters import plain_table, states_of
from refresh_assets.store.database import Database
from refresh_assets.store.expected import expected_portfolios, first_needed
from refresh_assets.store.gate_memory import LONGEST_MEMORY
from refresh_assets.store.holdings import HOLDING_TABLES, Holdings
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import CALENDAR, DAY, event, execute, insert, portfolio, position, settled, uid

AT = datetime(2026, 3, 13, 21, 40, tzinfo=UTC)
DAYS = CALENDAR.days(date(2026, 3, 9), DAY)
FIRST = first_needed(CALENDAR, DAYS)
Found = tuple[list[int], list[int], list[set[str]]]


def now_of(connection: psycopg.Connection, instant: datetime = AT) -> Holdings:
    """What is held at a look."""
    settled(connection)
    return Holdings(connection, states_of(connection, HOLDING_TABLES), FIRST, instant)


def owned_of(now: Holdings) -> owned.Owned:
    """What positions say of their owners, of a look that leaves nothing to the next."""
    of = now.owned()
    assert of is not None
    return of


def found(database: Database, instant: datetime = AT) -> Found:
    """Numbers and hashes of the portfolios expected on DAYS, symbols held on each: from what is kept and was written since."""
    with database.connect() as connection:
        now = now_of(connection, instant)
        expected = expected_portfolios(connection, CALENDAR, DAYS, now.portfolios(), owned_of(now))
        several, one = now.held(DAYS[0], DAYS[-1]), now.held(DAY, DAY)
        assert several is not None and one is not None
        assert several.on(DAY) == one.on(DAY)
        return expected.count.tolist(), expected.hashes.tolist(), [set(several.on(day)) for day in DAYS]


HELD = """
select distinct symbol from positions p join portfolios f on f.id = portfolio_id
where investment_class in ('PUBLIC', 'OPTIONS') and btrim(symbol) <> ''
    and %(day)s >= coalesce(f.inception_date, (f.created_at at time zone 'America/New_York')::date)
    and %(day)s < coalesce((f.deleted_at at time zone 'America/New_York')::date, 'infinity')
    and %(day)s >= coalesce(entry_date, '-infinity') and %(day)s < coalesce(exit_date, 'infinity')
    and %(day)s < coalesce((p.deleted_at at time zone 'America/New_York')::date, 'infinity')
    and (quantity is null or quantity <> 0
        or exists (select from position_realized_events e where e.position_id = p.id and trade_date > %(day)s))
"""


def read_anew(database: Database) -> Found:
    """The same, as if nothing had ever been kept; the symbols by a plain query a day."""
    with database.connect() as connection:
        expected = expected_portfolios(connection, CALENDAR, DAYS)
        held = [{row[0] for row in connection.execute(HELD, {"day": day}).fetchall()} for day in DAYS]
        return expected.count.tolist(), expected.hashes.tolist(), held


@contextmanager
def nothing_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Meanwhile a scan that groups all positions by owner fails."""

    def fail(*_: object) -> None:
        raise AssertionError("was read again")

    with monkeypatch.context() as patch:
        for name in ("read_owned", "read_base", "read_portfolios"):
            patch.setattr(holdings, name, fail)
        yield


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, read once."""
    worlds.three_portfolios(database)
    assert found(database) == read_anew(database)
    return database


NUMBERS = st.integers(0, 7)
DATES = st.none() | st.dates(date(2026, 3, 6), date(2026, 3, 18))
OWNERS = st.sampled_from([0, 1, 2, 77])  # the last is no portfolio's
SYMBOLS = st.sampled_from(["A", "B", "C", " ", None])


def owner(number: int) -> UUID:
    """Every second one is of the half that is read later."""
    return UUID(int=uid("portfolio", number).int + (number % 2 << 127))


@st.composite
def writes(draw: st.DrawFn) -> tuple[str, list[object]]:
    """One statement on positions."""
    where = " where id = %s"
    one = uid("position", draw(NUMBERS))
    column, value = draw(
        st.one_of(
            st.tuples(st.just("portfolio_id"), st.none() | OWNERS.map(owner)),
            st.tuples(st.just("symbol"), SYMBOLS),
            st.tuples(st.just("quantity"), st.sampled_from([0, 5, None])),
            st.tuples(st.just("investment_class"), st.sampled_from(["PUBLIC", "PRIVATE"])),
            st.tuples(st.sampled_from(["entry_date", "exit_date"]), DATES),
            st.tuples(st.just("deleted_at"), DATES.map(_noon)),
            st.tuples(st.just("market_value"), st.just(1)),
            st.tuples(st.just("gone"), st.none()),
            st.tuples(st.just("new"), OWNERS),
            st.tuples(st.just("sale"), st.dates(date(2026, 3, 9), date(2026, 3, 18))),
        )
    )
    if column == "gone":
        return f"delete from positions{where}", [one]
    if column == "new":
        row = position(draw(NUMBERS), value, draw(SYMBOLS), entry_date=draw(DATES), exit_date=draw(DATES))
        row["portfolio_id"] = owner(value)
        names = ", ".join(row)
        return (
            f"insert into positions ({names}) values ({', '.join(['%s'] * len(row))}) on conflict do nothing",
            [*row.values()],
        )
    if column == "sale":
        return (
            "insert into position_realized_events (id, position_id, trade_date, quantity_closed)"
            " values (gen_random_uuid(), %s, %s, 3)",
            [one, value],
        )
    every = draw(st.booleans())
    return f"update positions set {column} = %s{'' if every else where}", [value] if every else [value, one]


def _noon(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(12), NEW_YORK)


def look_in_parts(database: Database, many: bool) -> tuple[list[int], list[int]] | None:
    """Who is expected on DAYS, by a look that reads half of the owners at most; None: left to the next one.

    Args:
        many: what was written since is too much to be read by itself."""
    with pytest.MonkeyPatch.context() as patch, database.connect() as connection:
        patch.setattr(holdings, "ROWS_AT_ONCE", -1)
        if many:
            patch.setattr(holdings, "MOST_WRITTEN", -1)
        now = now_of(connection)
        of = now.owned()
        if of is None or not now.current:
            return None
        expected = expected_portfolios(connection, CALENDAR, DAYS, now.portfolios(), of)
        return expected.count.tolist(), expected.hashes.tolist()


def held_in_parts(database: Database, days: list[date]) -> list[set[str]] | None:
    """Symbols held on each of some days, by a look that reads half of the owners at most; None: left to the next one."""
    with pytest.MonkeyPatch.context() as patch, database.connect() as connection:
        patch.setattr(holdings, "ROWS_AT_ONCE", -1)
        now = now_of(connection)
        held = now.held(days[0], days[-1], at_once=False)
        return None if held is None or now.nearly else [set(held.on(day)) for day in days]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(writes(), *[st.booleans()] * 4), min_size=1, max_size=6))
def test_after_any_writes_it_is_what_reading_all_would_give(
    database: Database, script: list[tuple[tuple[str, list[object]], bool, bool, bool, bool]]
) -> None:
    """Rows that come, go, move to another owner, change; looked at by the same process or a new one, after each or some."""
    execute(database, "truncate portfolios, positions, position_realized_events, refresh_gate_memory")
    gate_memory.KEPT.clear()
    insert(database, "portfolios", *({**portfolio(number), "id": owner(number)} for number in range(3)))
    rows = [position(n, n % 3, "ABCD"[n % 4], 0 if n == 5 else 10, exit_date=DAY if n == 4 else None) for n in range(6)]
    insert(database, "positions", *({**row, "portfolio_id": owner(n % 3)} for n, row in enumerate(rows)))
    insert(database, "position_realized_events", event(1, 5, date(2026, 3, 16), 10), event(2, 3, date(2026, 3, 11), 10))
    found(database)
    for (statement, values), looked_at, in_a_new_process, in_parts, many in script:
        execute(database, statement, *values)
        if in_a_new_process:
            gate_memory.KEPT.clear()
        if in_parts:
            seen = look_in_parts(database, many)
            assert seen in (None, read_anew(database)[:2]), statement
            days = DAYS if many else [DAY]
            assert held_in_parts(database, days) in (None, read_anew(database)[2][-len(days) :]), statement
        if looked_at:
            assert found(database) == read_anew(database), statement
    for days in (DAYS, [DAY]):
        looks = [held_in_parts(database, days) for _ in range(LOOKS_FOR_HELD)]
        assert looks[-1] == read_anew(database)[2][-len(days) :]
    assert found(database) == read_anew(database)


LOOKS_FOR_HELD = 7
"""Owners by halves, what they hold by halves, what is left of that, and once more where a half was read before the last
write."""

WRITES = [
    ("a price", "update positions set last_price = 1 where id = %s", uid("position", 11)),
    ("all sold", "update positions set exit_date = '2026-03-12' where portfolio_id = %s", uid("portfolio", 2)),
    ("another symbol", "update positions set symbol = 'ZZZ' where id = %s", uid("position", 11)),
    ("deleted by mark", "update positions set deleted_at = '2026-03-11' where portfolio_id = %s", uid("portfolio", 2)),
    ("a row more", "insert into positions select (jsonb_populate_record(p, jsonb_build_object('id', gen_random_uuid(),"
     " 'symbol', 'NEW'))).* from positions p where id = %s", uid("position", 11)),
    ("a row more of nobody", "insert into positions (id, portfolio_id, symbol, investment_class, quantity)"
     " values (gen_random_uuid(), %s, 'NEW', 'PUBLIC', 1)", uid("portfolio", 77)),
]  # fmt: skip


@pytest.mark.parametrize("anew", [False, True], ids=["same process", "new process"])
@pytest.mark.parametrize(("statement", "value"), [row[1:] for row in WRITES], ids=[row[0] for row in WRITES])
def test_what_one_owner_wrote_is_seen_without_reading_the_others(
    world: Database, monkeypatch: pytest.MonkeyPatch, statement: str, value: object, anew: bool
) -> None:
    """The rows of whom nothing was written say what they said."""
    if anew:
        gate_memory.KEPT.clear()
    execute(world, statement, value)
    with nothing_read_as_a_whole(monkeypatch):
        now = found(world)
    assert now == read_anew(world)


MOVES = [
    "delete from positions where portfolio_id = '{one}'",
    "update positions set portfolio_id = '{other}' where portfolio_id = '{one}'",
    "update positions set portfolio_id = null where portfolio_id = '{one}'",
    "delete from positions where portfolio_id = '{one}'; insert into positions (id, portfolio_id, quantity)"
    " select gen_random_uuid(), '{other}', 1 from generate_series(1, 20)",
    "create table copied as table positions; truncate positions; insert into positions select * from copied where"
    " portfolio_id <> '{one}'",
]


@pytest.mark.parametrize("statements", MOVES)
def test_an_owner_who_lost_rows_is_noticed_though_nothing_of_his_was_written(world: Database, statements: str) -> None:
    """What is gone carries no transaction: the rows in all do not add up."""
    before = found(world)
    for statement in statements.format(one=uid("portfolio", 2), other=uid("portfolio", 1)).split(";"):
        execute(world, statement)
    now = found(world)
    assert now == read_anew(world) != before


def test_a_writer_that_was_open_while_all_was_read_is_seen_when_it_commits(database: Database) -> None:
    """Its transaction is older than others that the reading saw; a savepoint's has a number of its own."""
    worlds.three_portfolios(database)
    with psycopg.connect(database.url) as writer:
        writer.execute("update positions set exit_date = '2026-03-12' where portfolio_id = %s", [uid("portfolio", 2)])
        with writer.transaction():
            writer.execute("update positions set symbol = 'ZZZ' where portfolio_id = %s", [uid("portfolio", 1)])
        execute(database, "update positions set market_value = 1 where portfolio_id = %s", uid("portfolio", 3))
        before = found(database)
        assert before == read_anew(database)
        writer.commit()
    now = found(database)
    assert now == read_anew(database) != before


def test_a_row_that_came_and_went_after_all_was_read_leaves_nothing(world: Database) -> None:
    """The symbols held were read later than the owners, while it was there; gone, it has left no trace in the table."""
    before = found(world)
    insert(world, "positions", position(99, 1, "GHOST"))
    insert(world, "position_realized_events", event(99, 99, date(2026, 3, 11), 1))
    assert found(world)[2] == [held | {"GHOST"} for held in before[2]]
    execute(world, "delete from positions where symbol = 'GHOST'")
    assert found(world) == read_anew(world) == before


def test_a_writer_that_stays_open_hides_nobody(database: Database) -> None:
    """What others wrote since it began counts in the first reading too, and in what is built on it."""
    worlds.three_portfolios(database)
    with psycopg.connect(database.url) as writer:
        writer.execute("insert into positions (id) values (gen_random_uuid())")
        insert(database, "positions", position(98, 1, "SOLD", exit_date=DAYS[1]), position(99, 2, "NEW"))
        execute(database, "update positions set exit_date = '2026-03-12' where portfolio_id = %s", uid("portfolio", 3))
        assert found(database) == read_anew(database)
        execute(database, "delete from positions where symbol = 'NEW'")
        assert found(database) == read_anew(database)


def test_a_rewritten_table_is_read_as_a_whole(world: Database) -> None:
    """Its rows' transactions say nothing of another file's."""
    with psycopg.connect(world.url, autocommit=True) as connection:
        connection.execute("delete from positions where portfolio_id = %s", [uid("portfolio", 2)])
        connection.execute("vacuum (full, freeze) positions")
    assert found(world) == read_anew(world)


@pytest.mark.parametrize("limit", ["MOST_OWNERS", "MOST_WRITTEN"])
def test_after_many_writes_all_is_read_and_kept_anew(
    world: Database, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Once: the next look builds on it."""
    monkeypatch.setattr(owned if limit == "MOST_OWNERS" else holdings, limit, 1)
    execute(world, "update positions set exit_date = '2026-03-12'")
    with nothing_read_as_a_whole(monkeypatch), pytest.raises(AssertionError, match="read again"):
        found(world)
    assert found(world) == read_anew(world)
    execute(world, "update positions set exit_date = null where id = %s", uid("position", 11))
    with nothing_read_as_a_whole(monkeypatch):
        now = found(world)
    assert now == read_anew(world)


@pytest.fixture
def both_halves(world: Database) -> Database:
    """With portfolios of both halves, a position each; read as a whole."""
    ids = [f"{head}0000000-0000-4000-8000-000000000000" for head in "17fc"]
    for number, one in enumerate(ids):
        insert(world, "portfolios", {**portfolio(number), "id": one})
        insert(world, "positions", {**position(50 + number, 1, "BOTH"), "portfolio_id": one})
    execute(world, "truncate refresh_gate_memory")
    gate_memory.KEPT.clear()
    found(world)
    return world


@pytest.mark.parametrize("many", [True, False], ids=["many rows", "a row gone"])
@pytest.mark.parametrize("through", ["tables", "views"])
def test_all_is_read_half_of_the_owners_at_a_look(
    both_halves: Database, monkeypatch: pytest.MonkeyPatch, many: bool, through: str
) -> None:
    """After many rows, or where one is gone; by new processes. Neither half is read twice, and then nothing is."""
    world = database = both_halves
    parts: list[owned.Part] = []
    if through == "views":
        execute(world, "create schema platform")
        execute(world, "create view platform.positions as select * from public.positions")
        database = Database(world.url, "platform", "public")
        found(database)
    read = owned.read_base

    def read_part(connection: psycopg.Connection, first: date, part: owned.Part, state: str, number: int) -> owned.Base:
        parts.append(part)
        return read(connection, first, part, state, number)

    monkeypatch.setattr(holdings, "read_base", read_part)
    execute(world, "update positions set exit_date = '2026-03-12', symbol = 'SOLD' where symbol = 'BOTH'" if many else
            "delete from positions where symbol = 'BOTH'")  # fmt: skip
    seen: list[tuple[list[int], list[int]] | None] = []
    for _ in range(4):
        gate_memory.KEPT.clear()
        seen.append(look_in_parts(database, many and len(seen) < 2))
    noticed = int(not many and through == "tables")  # that look finds that the rows do not add up
    assert seen[: 1 + noticed] == [None] * (1 + noticed)
    assert seen[-1] == read_anew(world)[:2]  # one look sooner, unless some writer was open
    assert parts == list(owned.Part)


def test_what_goes_before_each_look_does_not_keep_the_others_from_being_read(
    both_halves: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each third look knows of everybody what was true one look before at the earliest."""
    monkeypatch.setattr(holdings, "ROWS_AT_ONCE", -1)
    rows = execute(both_halves, "select id from positions order by id limit 9")
    seen: list[bool] = []
    for (gone,) in rows:
        execute(both_halves, "delete from positions where id = %s", gone)
        with both_halves.connect() as connection:
            of = now_of(connection).owned()
        seen.append(of is not None)
    assert seen == [False, False, True] * 3


def test_a_writer_that_no_counter_tells_of_is_seen_when_it_is_the_turn(world: Database) -> None:
    """A session may switch them off. Who was seen so is still seen when somebody else has written."""
    before = found(world)
    execute(world, "set track_counts to off; update positions set exit_date = '2026-03-12', symbol = 'ZZZ'")
    assert found(world, AT + LONGEST_MEMORY) == read_anew(world) != before
    execute(world, "update positions set exit_date = null where id = %s", uid("position", 11))
    assert found(world, AT + LONGEST_MEMORY) == read_anew(world)


def test_through_views_all_is_read_after_a_write(world: Database) -> None:
    """A view has no transaction for a row."""
    execute(world, "create schema platform")
    execute(world, "create view platform.positions as select * from public.positions")
    viewed = Database(world.url, "platform", "public")
    with viewed.connect() as connection:
        assert plain_table(states_of(connection, ["positions"])["positions"]) is None
    before = found(viewed)
    execute(world, "delete from positions where portfolio_id = %s", uid("portfolio", 2))
    assert found(viewed) == read_anew(viewed) != before
