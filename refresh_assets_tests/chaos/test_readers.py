"""A reader never waits for the night, nor the night for a reader.

Here: one reader whose transaction stays open, others who query all the time, a writer who gives up where it has to wait. Not
here: kills (test_kills.py)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests.chaos import states, world
from refresh_assets_tests.worlds import execute, one

PATIENCE = "200ms"
"""Whoever waits longer for a lock is thrown out by PostgreSQL, and the test fails: no clock of ours decides."""
VIEWS = ("pairwise_correlations", "stress_factor_impacts", "refresh_complete_days")
READ = (
    *DAY_TABLES,
    *VIEWS,
    *("refresh_days", "refresh_exceptions", "refresh_marks", "refresh_restatements", "stress_factor_shocks"),
    *("positions", "symbol_factor_exposures"),
)


@pytest.fixture
def due(database: Database) -> Database:
    """Days that stand and days that do not, inputs that changed: the night adds, restates, and makes a month's partitions."""
    world.build(database)
    return database


def impatient(database: Database) -> None:
    """Everybody who connects from now on gives up after PATIENCE, the night included."""
    name = execute(database, "select current_database()")[0][0]
    execute(database, f"alter database \"{name}\" set lock_timeout = '{PATIENCE}'")


@dataclass
class Reader:
    """Asks for counts of everything, again and again, each time in a new connection."""

    database: Database
    slowest: float = 0.0
    rounds: int = 0
    error: Exception | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def read_on(self) -> None:
        """Until it is stopped, or has to wait."""
        while not self.stopped.is_set() and self.error is None:
            try:
                with self.database.connect() as connection:
                    for table in READ:
                        begin = time.perf_counter()
                        connection.execute(f"select count(*) from {table}".encode())
                        self.slowest = max(self.slowest, time.perf_counter() - begin)
                self.rounds += 1
            except Exception as error:
                self.error = error


@contextmanager
def reading(database: Database, readers: int) -> Iterator[list[Reader]]:
    """Readers at work within the block; each has read everything at least once before and once after it."""
    at_work = [Reader(database) for _ in range(readers)]
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
    deadline = time.monotonic() + 60
    while any(one.rounds < seen + 2 and one.error is None for one, seen in zip(readers, before, strict=True)):
        assert time.monotonic() < deadline, "the readers stand still"
        time.sleep(0.01)


def test_a_night_ends_while_a_reader_keeps_a_transaction_open_over_every_table(due: Database) -> None:
    """Days added to, replaced and new, a new month's partitions: neither waits 200 ms, and the reader's past stands still."""
    impatient(due)
    with due.connect() as reader:
        reader.execute("set transaction isolation level repeatable read, read only")
        read = {
            table: reader.execute(f"select t::text from {table} t order by 1".encode()).fetchall() for table in READ
        }
        with reading(due, readers=2) as readers:
            world.night_due(due, "beside readers")
        again = {
            table: reader.execute(f"select t::text from {table} t order by 1".encode()).fetchall() for table in READ
        }
    assert [one.error for one in readers] == [None, None]
    assert again == read
    assert states.state_of(due)[1] == {*world.DAYS}
    print(f"slowest query of the readers: {1000 * max(one.slowest for one in readers):.0f} ms")


GATE = 4711
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
    before, rounds = states.state_of(due)[0], 0
    with due.connect(autocommit=True) as gate, ThreadPoolExecutor(1) as pool:
        gate.execute(f"select pg_advisory_lock({GATE})".encode())
        night = pool.submit(world.play, due, [world.RESTATED[0], world.NEW[0]], "held", missing_only=False)
        while not night.done():
            if one(gate, WAITING) == 0:
                time.sleep(0.002)
                continue
            with due.connect() as connection:
                connection.execute(f"set lock_timeout = '{PATIENCE}'".encode())
                for table in READ:
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
