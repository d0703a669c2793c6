"""A reader never waits for the night, nor the night for a reader.

Here: one reader whose transaction stays open, others who query all the time, a writer who gives up where it has to wait; that
such a reader tells of a night that locks a table. Not here: kills (test_kills.py), how long a reader does wait
(benchmarks/readers.py)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests.chaos import states, world
from refresh_assets_tests.worlds import execute, one

PATIENCE = "200ms"
"""Whoever waits longer for a lock is thrown out by PostgreSQL, and the test fails: no clock of ours decides."""
VIEWS = ("pairwise_correlations", "stress_factor_impacts", "refresh_complete_days")
RELATIONS = """select relname from pg_class where relnamespace = current_schema::regnamespace and not relispartition
    and relkind in ('r', 'p', 'v') order by relkind <> 'p', relname"""


@pytest.fixture
def due(database: Database) -> Database:
    """Days that stand and days that do not, inputs that changed: the night adds, restates, and makes a month's partitions."""
    world.build(database)
    return database


def relations(database: Database) -> list[str]:
    """Every table and view that there is, those that the night writes by month first: what a reader may ask of."""
    found = [name for (name,) in execute(database, RELATIONS)]
    assert set(found) >= {*DAY_TABLES, *VIEWS, "refresh_days", "refresh_marks", "positions"}
    return found


def impatient(database: Database) -> None:
    """Everybody who connects from now on gives up after PATIENCE, the night included."""
    name = execute(database, "select current_database()")[0][0]
    execute(database, f"alter database \"{name}\" set lock_timeout = '{PATIENCE}'")


@dataclass
class Reader:
    """Asks for counts of everything, again and again, each time in a new connection."""

    database: Database
    tables: list[str]
    slowest: float = 0.0
    rounds: int = 0
    error: Exception | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def read_on(self) -> None:
        """Until it is stopped, or has to wait."""
        while not self.stopped.is_set() and self.error is None:
            try:
                with self.database.connect() as connection:
                    for table in self.tables:
                        begin = time.perf_counter()
                        connection.execute(f"select count(*) from {table}".encode())
                        self.slowest = max(self.slowest, time.perf_counter() - begin)
                self.rounds += 1
            except Exception as error:
                self.error = error


@contextmanager
def reading(database: Database, readers: int) -> Iterator[list[Reader]]:
    """Readers at work within the block; each has read everything at least once before and once after it."""
    at_work = [Reader(database, relations(database)) for _ in range(readers)]
    threads = [threading.Thread(target=reader.read_on, daemon=True) for reader in at_work]
    for thread in threads:
        thread.start()
    _await_rounds(at_work)
    try:
        yield at_work
        _await_rounds(at_work)
    finally:
        for reader in at_work:
            reader.stopped.set()
        for thread in threads:
            thread.join(60)


def _await_rounds(readers: list[Reader]) -> None:
    before = [one.rounds for one in readers]
    wait_until(
        lambda: all(one.rounds >= seen + 2 or one.error for one, seen in zip(readers, before, strict=True)),
    )


def wait_until(done: Callable[[], bool]) -> None:
    """Fails after a minute in which nothing came of it."""
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, "the readers stand still"
        time.sleep(0.01)


def everything(reader: psycopg.Connection[Any], tables: list[str]) -> dict[str, list[Any]]:
    """All rows of some tables and views, as a connection sees them."""
    return {table: reader.execute(f"select t::text from {table} t order by 1".encode()).fetchall() for table in tables}


def test_a_night_ends_while_a_reader_keeps_a_transaction_open_over_every_table(due: Database) -> None:
    """Days added to, replaced and new, a new month's partitions: neither waits 200 ms, and the reader's past stands still."""
    impatient(due)
    tables = relations(due)
    with due.connect() as reader:
        reader.execute("set transaction isolation level repeatable read, read only")
        read = everything(reader, tables)
        with reading(due, readers=2) as readers:
            # Each asset waits for two rounds of each reader: so they are at it all through the night.
            world.night_due(due, "beside readers", progress=lambda _: _await_rounds(readers))
        again = everything(reader, tables)
    assert [one.error for one in readers] == [None, None]
    assert again == read
    assert states.state_of(due)[1] == {*world.DAYS}
    with due.connect() as later:
        now = everything(later, tables)
    assert {*DAY_TABLES, *VIEWS, "refresh_marks", "positions"} <= {
        table for table in tables if now[table] != read[table]
    }
    print(f"slowest query of the readers: {1000 * max(one.slowest for one in readers):.0f} ms")


def test_a_reader_tells_of_each_table_that_somebody_locks(due: Database) -> None:
    """There is no table and no view that the readers of these tests would not see locked."""
    impatient(due)
    tables = relations(due)
    told = set()
    for table in tables:
        reader = Reader(due, tables)
        with due.connect() as holder:
            holder.execute(f"lock table {table} in access exclusive mode".encode())
            reader.read_on()
            holder.rollback()
        assert isinstance(reader.error, psycopg.errors.LockNotAvailable), table
        told.add(table)
    assert told == set(tables)


GATE = 4711
LOCKS_AT_COMMIT = """
create function lock_at_commit() returns trigger language plpgsql set lock_timeout = '0' as
$$ begin {}; perform pg_advisory_xact_lock({}); return null; end $$;
create constraint trigger locked_at_commit after insert or update on refresh_days
deferrable initially deferred for each row execute function lock_at_commit()
"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("lock table portfolio_snapshots in access exclusive mode", id="a lock"),
        pytest.param("truncate refresh_marks", id="a truncate instead of a delete"),
        pytest.param(
            "create table another partition of factor_exposures for values from ('1999-01-01') to ('1999-02-01')",
            id="a partition that is made in place",
        ),
    ],
)
def test_a_night_that_locks_a_table_is_told_of_by_its_readers(due: Database, statement: str) -> None:
    """The night as it would be if one of its transactions took such a lock: the first test would fail."""
    execute(due, LOCKS_AT_COMMIT.format(statement, GATE))
    impatient(due)
    with due.connect(autocommit=True) as gate, ThreadPoolExecutor(1) as pool:
        gate.execute(f"select pg_advisory_lock({GATE})".encode())
        with reading(due, readers=2) as readers:
            night = pool.submit(world.play, due, [world.RESTATED[0]], "locks", missing_only=False)
            wait_until(lambda: any(one.error for one in readers) or night.done())
            gate.execute(f"select pg_advisory_unlock({GATE})".encode())
    errors = [one.error for one in readers if one.error]
    assert errors
    assert all(isinstance(error, psycopg.errors.LockNotAvailable) for error in errors)


HELD_AT_COMMIT = f"""
create function wait_at_the_gate() returns trigger language plpgsql as
$$ begin perform pg_advisory_xact_lock({GATE}); return null; end $$;
create constraint trigger held_at_commit after insert or update on refresh_days
deferrable initially deferred for each row execute function wait_at_the_gate()
"""
WAITING = f"select count(*) from pg_locks where locktype = 'advisory' and objid = {GATE} and not granted"


def test_a_reader_begins_and_ends_while_a_write_of_each_table_stays_open(due: Database) -> None:
    """A writer that has written everything and not committed holds up no reader, and shows it nothing."""
    execute(due, HELD_AT_COMMIT)
    before, rounds, tables = states.state_of(due)[0], 0, relations(due)
    with due.connect(autocommit=True) as gate, ThreadPoolExecutor(1) as pool:
        gate.execute(f"select pg_advisory_lock({GATE})".encode())
        night = pool.submit(world.play, due, [world.RESTATED[0], world.NEW[0]], "held", missing_only=False)
        while not night.done():
            if one(gate, WAITING) == 0:
                time.sleep(0.002)
                continue
            with due.connect() as connection:
                connection.execute(f"set lock_timeout = '{PATIENCE}'".encode())
                for table in tables:
                    connection.execute(f"select count(*) from {table}".encode())
            if rounds == 0:
                assert _snapshots(states.state_of(due)[0]) == _snapshots(before)
            rounds += 1
            gate.execute(f"select pg_advisory_unlock({GATE})".encode())
            gate.execute(f"select pg_advisory_lock({GATE})".encode())
        night.result()
    # The writer whose turn it is may take the gate before we have it back: half of the eight writes are met at least.
    assert rounds >= len(DAY_TABLES)
    assert _snapshots(states.state_of(due)[0]) != _snapshots(before)


def _snapshots(state: states.State) -> list[tuple[str, ...]]:
    return [state[day, "portfolio_snapshots"] for day in world.DAYS]
