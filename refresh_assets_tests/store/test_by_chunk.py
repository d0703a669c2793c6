"""Rows of a large platform put aside by chunk: each where it belongs, and the same ledgers however they were read.

Here: which chunk an id is of, the order of what is taken, tables read by pages against all at once, views, a full disk,
errors of the reading. Not here: what a ledger says (test_read.py), the night over it (test_same_bytes.py, test_spill.py)."""

from __future__ import annotations

import bisect
import dataclasses
import errno
import itertools
import os
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.store import by_chunk, inputs
from refresh_assets.store.by_chunk import ByChunk
from refresh_assets.store.database import Database, Snapshot
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import DAY, event, execute, insert, portfolio, position, valuation

IDS = st.builds(
    lambda high, low: ((high << 64) + low).to_bytes(16), st.sampled_from([0, 1, 7, 2**64 - 1]), st.integers(0, 9)
)
OWNERS = (1, 2, 3, 5, 6, 7)


def rows_of(ids: list[bytes], number: int) -> pa.Table:
    """Rows of portfolios, with what tells them apart."""
    names = [f"{number}.{place}" for place in range(len(ids))]
    return pa.table({"portfolio_id": pa.array(ids, pa.binary(16)), "name": pa.array(names, pa.string())})


@given(st.sets(IDS, min_size=1, max_size=8), st.lists(st.lists(IDS, max_size=12), max_size=4), st.randoms())
def test_each_row_is_of_the_last_chunk_that_begins_at_its_portfolio_or_below(
    begins: set[bytes], parts: list[list[bytes]], random: Any
) -> None:
    """Also where ids share their upper halves; what is below all is of the first. Rows come in the order of their parts."""
    firsts = sorted(begins)
    expected: list[list[str]] = [[] for _ in firsts]
    for number, ids in enumerate(parts):
        for place, one in enumerate(ids):
            expected[max(bisect.bisect_right(firsts, one) - 1, 0)].append(f"{number}.{place}")
    with closing(ByChunk(np.frombuffer(b"".join(firsts), dtype="V16"))) as aside:
        for number in random.sample(range(len(parts)), len(parts)):
            aside.put(rows_of(parts[number], number), number)
        aside.end()
        taken = [aside.take(chunk) for chunk in range(len(firsts))]
    assert [one["name"].to_pylist() if one is not None else [] for one in taken] == expected


@pytest.fixture
def crowd(database: Database) -> Database:
    """Six portfolios whose positions lie side by side on several pages; sales, valuations, rows of nobody, rows twice."""
    execute(database, "alter table positions drop constraint positions_pkey cascade")
    insert(database, "portfolios", *(portfolio(number) for number in OWNERS))
    rows = [position(n, OWNERS[n % len(OWNERS)], "ABC"[n % 3] * 3, n + 1) for n in range(400)]
    rows += [position(400 + n, OWNERS[n % 4], None, 1, investment_class="PRIVATE", market_value=9) for n in range(60)]
    rows += [{**position(500 + n, 1), "portfolio_id": UUID(int=n << 124)} for n in range(16)]
    rows += [position(7, OWNERS[7 % len(OWNERS)]), position(8, 7), position(401, 7, None, investment_class="PRIVATE")]
    insert(database, "positions", *rows)
    insert(database, "position_realized_events", *(event(n, n // 2, DAY, 1) for n in range(120)))
    insert(database, "position_realized_events", event(900, 999, DAY, 1), event(901, 7, None, 1))
    days = (date(2026, 3, 2), date(2026, 3, 12), DAY)
    insert(database, "private_valuations", *(valuation(400 + n % 60, days[n // 60], n) for n in range(180)))
    worlds.load_closes(database)
    return database


def plain(value: Any) -> Any:
    """Arrays as lists, whatever they stand in."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def ledgers_of(database: Database) -> tuple[list[Any], list[str]]:
    """All that is read of the platform's portfolios, and what is named for the platform as a whole."""
    with closing(worlds.night(database, chunk_portfolios=1).inputs) as read:
        assert read.chunks == len(OWNERS)
        return [plain(one) for one in read.ledgers()], sorted(str(one) for one in read.named_on(DAY))


def full(**_: object) -> Any:
    """A file on a disk that takes nothing more."""
    return open("/dev/full", "r+b", buffering=0)


def by_chunk_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a large platform: rows are put aside, and nothing is kept."""
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", 0)
    monkeypatch.setattr(inputs, "CACHED_CHUNKS", 1)
    monkeypatch.setattr(by_chunk, "PAGES_AT_ONCE", 1)


@pytest.mark.parametrize(
    ("how", "at_least", "room"),
    [("by pages", 9, 99), ("behind a view", 4, 99), ("on a full disk", 1, 0), ("half of it on a full disk", 6, 5)],
)
def test_ledgers_are_the_same_read_at_once_and_put_aside(
    crowd: Database, monkeypatch: pytest.MonkeyPatch, how: str, at_least: int, room: int
) -> None:
    """A table of which a page is read at a time; a view, which has no pages; a disk that takes nothing, or not all."""
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", len(OWNERS))
    ledgers, named = ledgers_of(crowd)
    assert [len(one["positions"]["id"]) for one in ledgers] == [82, 82, 82, 82, 66, 68]
    assert sum(len(one["events"]["day"]) for one in ledgers) > 120
    assert len(named) == 17
    by_chunk_alone(monkeypatch)
    put, parts = ByChunk.put, [0]

    def counted(self: ByChunk, rows: pa.Table, part: int) -> None:
        parts[0] += 1
        if parts[0] > room:
            monkeypatch.setattr(tempfile, "TemporaryFile", full)
            if self._file is not None:
                with full() as disk:
                    os.dup2(disk.fileno(), self._file.fileno())
        put(self, rows, part)

    monkeypatch.setattr(ByChunk, "put", counted)
    if "view" in how:
        execute(crowd, "create schema platform; create view platform.positions as select * from public.positions")
        crowd = Database(crowd.url, "platform", "public")  # the schema named first is looked into first
    assert ledgers_of(crowd) == (ledgers, named)
    assert parts[0] >= at_least


@pytest.mark.parametrize("kind", ["positions", "events", "valuations"])
def test_an_error_of_the_reading_is_no_full_disk(crowd: Database, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """pyarrow says OSError of a lost connection and of a cancelled statement: it reaches who asked, as it is."""
    by_chunk_alone(monkeypatch)
    lost = OSError(errno.EIO, "server closed the connection unexpectedly")
    fetch, batches = Snapshot.fetch, Snapshot.batches

    def fetched(self: Snapshot, query: str) -> pa.Table:
        if kind == "positions" and "ctid >=" in query:
            raise lost
        return fetch(self, query)

    def some(self: Snapshot, query: str) -> Iterator[pa.Table]:
        yield from itertools.islice(batches(self, query), 1)
        if {"events": "position_realized_events", "valuations": "private_valuations"}.get(kind, "no table") in query:
            raise lost

    monkeypatch.setattr(Snapshot, "fetch", fetched)
    monkeypatch.setattr(Snapshot, "batches", some)
    with (
        closing(worlds.night(crowd, chunk_portfolios=1).inputs) as read,
        pytest.raises(OSError, match="server closed") as raised,
    ):
        read.ledger(0)
    assert raised.value is lost


def test_what_cannot_be_read_back_is_read_again(crowd: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that breaks while the night lasts."""
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", len(OWNERS))
    expected = ledgers_of(crowd)
    by_chunk_alone(monkeypatch)
    asked = []

    def broken(*place: int) -> bytes:
        asked.append(place)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", broken)
    assert ledgers_of(crowd) == expected
    assert len(asked) >= 2 * len(OWNERS)


def test_pages_without_a_row_that_concerns_the_day_change_nothing(
    crowd: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pages hold rows that ended long ago, those in the middle and the last none at all."""
    ended = [position(600 + n, 1, exit_date=date(2025, 7, 1)) for n in range(200)]
    execute(crowd, "create table others as table positions; truncate positions")
    insert(crowd, "positions", *ended)
    execute(crowd, "insert into positions select * from others; delete from positions where symbol = 'BBB'")
    execute(crowd, "insert into positions select * from others; delete from positions where ctid >= '(20,0)'")
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", len(OWNERS))
    expected = ledgers_of(crowd)
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", 0)
    for pages in (1, 3, 1000):
        monkeypatch.setattr(by_chunk, "PAGES_AT_ONCE", pages)
        assert ledgers_of(crowd) == expected


def test_a_platform_without_sales_and_valuations_has_none_by_chunk_either(
    crowd: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both tables are optional."""
    execute(crowd, "drop table position_realized_events; drop table private_valuations")
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", len(OWNERS))
    expected = ledgers_of(crowd)
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", 0)
    monkeypatch.setattr(inputs, "CACHED_CHUNKS", 1)
    assert ledgers_of(crowd) == expected


def test_who_is_given_up_reads_no_further(crowd: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is stopped does not wait until a large platform was read."""
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", 0)
    monkeypatch.setattr(by_chunk, "PAGES_AT_ONCE", 1)
    put, parts, reading, stopped = ByChunk.put, [0], threading.Event(), threading.Event()

    def slow(self: ByChunk, rows: pa.Table, part: int) -> None:
        parts[0] += 1
        reading.set()
        stopped.wait(60)
        put(self, rows, part)

    monkeypatch.setattr(ByChunk, "put", slow)
    read = worlds.night(crowd, chunk_portfolios=1).inputs
    with ThreadPoolExecutor(1) as asking:
        asked = asking.submit(read.ledger, 0)
        assert reading.wait(60)
        read.reader._given_up.set()
        stopped.set()
        with pytest.raises(CancelledError):
            asked.result(60)
    read.close()
    assert parts[0] <= 2
