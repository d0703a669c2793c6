"""Chunks of a large platform kept in a file: what is taken is what was kept, and a platform of many chunks is as any other.

Here: Spill, a night over more chunks than are kept in memory, a disk that is full or not there. Not here: what a chunk is
(test_read.py)."""

from __future__ import annotations

import errno
import resource
import tempfile

import pytest

from refresh_assets.store import inputs
from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets.store.spill import Spill
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import execute, run, table_rows


def test_what_is_taken_is_what_was_kept_in_any_order() -> None:
    """And what was never kept is not there."""
    spill = Spill[dict[str, list[int]]]()
    for number in range(5):
        spill.keep(number, {"rows": [number] * number})
    spill.keep(2, {"rows": []})
    assert [spill.take(number) for number in (4, 0, 2, 2)] == [{"rows": [n] * n} for n in (4, 0, 2, 2)]
    assert spill.take(7) is None
    spill.close()


@pytest.mark.parametrize("size", [49_990, 60_000], ids=["its last bytes", "most of it"])
def test_what_a_full_disk_does_not_take_is_not_there_and_the_rest_still_is(size: int) -> None:
    """The limit of a file's size is a disk that is full at that place; what was kept before is taken after."""
    spill = Spill[bytes]()
    spill.keep(0, b"a" * 50_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        spill.keep(1, b"b" * size)
        spill.keep(2, b"c" * 1_000)
        assert [spill.take(number) for number in range(3)] == [b"a" * 50_000, None, None]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert spill.take(0) == b"a" * 50_000
    spill.close()


@pytest.mark.parametrize("chunk", [1, 1000])
def test_without_a_temporary_directory_the_night_gives_the_same_bytes(
    database: Database, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """A small platform needs none; of a large one everything is read again for each table."""
    worlds.three_portfolios(database)
    run(database)
    whole = {table: table_rows(database, table) for table in DAY_TABLES}
    execute(database, f"truncate {', '.join(DAY_TABLES)}, refresh_days, refresh_exceptions")
    monkeypatch.setattr(inputs, "CACHED_CHUNKS", 1)
    monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", 1)

    def none(**_: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryFile", none)
    run(database, chunk_portfolios=chunk)
    assert {table: table_rows(database, table) for table in DAY_TABLES} == whole


def test_a_platform_of_more_chunks_than_memory_keeps_gives_the_same_bytes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every chunk but one comes from the file; rows and digests are those of a night that kept them all."""
    worlds.three_portfolios(database)
    run(database)
    days = "select table_name, inputs_digest, portfolios, rows, exceptions from refresh_days order by 1"
    whole, digests = {table: table_rows(database, table) for table in DAY_TABLES}, execute(database, days)
    execute(database, f"truncate {', '.join(DAY_TABLES)}, refresh_days, refresh_exceptions")
    monkeypatch.setattr(inputs, "CACHED_CHUNKS", 1)
    run(database, chunk_portfolios=1)
    assert {table: table_rows(database, table) for table in DAY_TABLES} == whole
    assert execute(database, days) == digests
