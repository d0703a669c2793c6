"""Rows of a large platform, read once in the order in which they lie and put aside by chunk of portfolios.

Here: which pages are read together, which chunk a row is of, the temporary files. Not here: the queries (read.py,
read_trades.py), when this is done (inputs.py).

A chunk is a range of portfolio ids, and ids are random: its positions lie on pages all over their table. Read chunk by chunk,
a page is read once for every chunk that has a row on it: at 20 million positions 20 million pages instead of 600,000."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from refresh_assets.core.book import Uuids
from refresh_assets.store import read
from refresh_assets.store.arrow import upper_and_lower, uuids
from refresh_assets.store.database import Snapshot
from refresh_assets.store.read_trades import Trades, owned_events, owned_valuations

PAGES_AT_ONCE = 2048
"""16 MB of positions, some 70,000 to 140,000 rows."""

# A view or a partitioned table has no place for a row; a range of places is found without a scan since PostgreSQL 14.
_PAGES = """
select pg_relation_size(c.oid) / current_setting('block_size')::int as pages
from pg_class c join pg_am on pg_am.oid = relam
where c.oid = to_regclass('positions') and not relhassubclass and current_setting('server_version_num')::int >= 140000
    and case when relkind = 'r' and amname = 'heap' then has_column_privilege(c.oid, 'ctid', 'select') end
"""


class NoRoom(Exception):
    """The file cannot be opened, written or read: the disk is full, or there is none. What the database says is never this:
    pyarrow raises OSError for a lost connection too."""


@contextmanager
def _for_the_file() -> Iterator[None]:
    """Around what touches the file, and nothing else."""
    try:
        yield
    except OSError as error:
        raise NoRoom(str(error)) from error


class ByChunk:
    """Rows of one kind by chunk, in a file without a name: it is gone with the process, and stands where TMPDIR says. It is
    opened with the first rows.

    Args:
        firsts: (C,) the lowest portfolio id of each chunk, ascending; what is below belongs to the first."""

    def __init__(self, firsts: Uuids) -> None:
        self._firsts = upper_and_lower(firsts)
        self._file: IO[bytes] | None = None
        self._schema: pa.Schema | None = None
        # By part, (C + 1,) where the rows of each chunk begin, and where the last ones end.
        self._places: dict[int, npt.NDArray[np.int64]] = {}
        self._writing = threading.Lock()

    def put(self, rows: pa.Table, part: int) -> None:
        """Put rows aside, by their portfolio_id. Safe to use from several threads. Raises NoRoom.

        Args:
            part: its number in the order in which `take` gives rows back, whoever came first."""
        chunk = self._chunks_of(uuids(rows["portfolio_id"]))
        order = np.argsort(chunk, kind="stable")
        sorted_rows = rows.take(pa.array(order)).combine_chunks()
        ends = np.searchsorted(chunk[order], np.arange(len(self._firsts[0]) + 1))
        slices = [sorted_rows.slice(begin, end - begin) for begin, end in itertools.pairwise(ends.tolist())]
        contents = [batch.serialize() for one in slices for batch in one.to_batches()]
        sizes = np.zeros(len(slices) + 1, dtype=np.int64)
        sizes[1 + np.flatnonzero(np.diff(ends))] = [content.size for content in contents]
        with self._writing, _for_the_file():
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="refresh-assets-")  # noqa: SIM115 closed by close()
            self._schema = self._schema or sorted_rows.schema
            self._places[part] = self._file.seek(0, 2) + np.cumsum(sizes)
            for content in contents:
                self._file.write(content)

    def end(self) -> None:
        """All rows are put aside. Raises NoRoom."""
        if self._file is not None:
            with _for_the_file():
                self._file.flush()

    def take(self, chunk: int) -> pa.Table | None:
        """Rows of a chunk, once `end` was called; None where there is none of any chunk. Raises NoRoom."""
        if self._schema is None or self._file is None:
            return None
        places = [self._places[part][chunk : chunk + 2].tolist() for part in sorted(self._places)]
        with _for_the_file():
            contents = [os.pread(self._file.fileno(), end - begin, begin) for begin, end in places if end > begin]
        batches = [pa.ipc.read_record_batch(pa.py_buffer(content), self._schema) for content in contents]
        return pa.Table.from_batches(batches, self._schema).combine_chunks()

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take
                self._file.close()

    def _chunks_of(self, ids: Uuids) -> npt.NDArray[np.int16]:
        high, low = upper_and_lower(ids)
        highs, lows = self._firsts
        found = np.searchsorted(highs, high, side="right") - 1
        # Of chunks that begin with the same upper half, and where an id has that too, the lower half decides.
        for row in np.flatnonzero((found >= 0) & (highs[np.maximum(found, 0)] == high)):
            while found[row] >= 0 and highs[found[row]] == high[row] and lows[found[row]] > low[row]:
                found[row] -= 1
        return np.maximum(found, 0).astype(np.int16)


class SetAside:
    """Positions, and where asked for events and valuations, of all portfolios by chunk. One thread at a time may use it.

    Args:
        firsts: (C,) the lowest portfolio id of each chunk, ascending.
        tables: the platform's tables that are there.
        given_up: set by another thread where nobody waits for the rows any more.

    Raises NoRoom where the files cannot be had, CancelledError where they are given up, and what the database says."""

    def __init__(
        self,
        snapshot: Snapshot,
        firsts: Uuids,
        tables: Collection[str],
        with_trades: bool,
        given_up: threading.Event,
    ) -> None:
        self._kinds = {kind: ByChunk(firsts) for kind in ("positions", *(TRADES if with_trades else ()))}
        try:
            _put_positions(snapshot, self._kinds["positions"], given_up)
            if with_trades:
                for kind, parts in zip(
                    TRADES, (owned_events(snapshot, tables), owned_valuations(snapshot, tables)), strict=True
                ):
                    for part, rows in enumerate(parts):
                        self._kinds[kind].put(rows, part)
            for one in self._kinds.values():
                one.end()
        except BaseException:
            self.close()
            raise

    def positions(self, chunk: int) -> pa.Table | None:
        """Rows of `read_positions`; None where the table cannot be read by pages, or is empty. Raises NoRoom."""
        return self._kinds["positions"].take(chunk)

    def trades(self, chunk: int) -> Trades | None:
        """Those of the chunk's positions; None where they were not asked for. Raises NoRoom."""
        events, valuations = (self._kinds[kind].take(chunk) if kind in self._kinds else None for kind in TRADES)
        return Trades(events, valuations) if events is not None and valuations is not None else None

    def close(self) -> None:
        for one in self._kinds.values():
            one.close()


TRADES = ("events", "valuations")


def _put_positions(snapshot: Snapshot, aside: ByChunk, given_up: threading.Event) -> None:
    """All rows that concern the run, some pages at a time; none where the table has no pages to tell apart."""
    found = snapshot.fetch(_PAGES)["pages"].to_pylist()
    firsts = range(0, int(found[0]) if found else 0, PAGES_AT_ONCE)

    def put(one: Snapshot, some: range) -> None:
        for first in some:
            if given_up.is_set():
                raise CancelledError
            # What was appended since the table was measured is of no transaction that the snapshot sees.
            rows = read.read_positions(one, f"ctid >= '({first},0)' and ctid < '({first + PAGES_AT_ONCE},0)'")
            aside.put(rows, first)

    # By two connections: nothing can be computed before all is read, so both cores are free for it.
    with closing(snapshot.beside()) as beside, ThreadPoolExecutor(1, thread_name_prefix="reading positions") as other:
        others = other.submit(put, beside, firsts[1::2])
        put(snapshot, firsts[::2])
        others.result()
