"""The same bytes for the same inputs: however the night is cut into chunks and days, on one core or two, and wherever the
rows lie in their tables.

Here: whole nights over real tables, compared as text. Not here: inputs that change (test_no_look_ahead.py), what a run reads
(test_read.py)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from typing import Any

import numpy as np
import pytest

from refresh_assets.store import inputs
from refresh_assets.store.database import Database
from refresh_assets.store.expected import expected_portfolios
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests import worlds
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.worlds import (
    BEFORE,
    DAY,
    Row,
    event,
    execute,
    insert,
    portfolio,
    position,
    table_rows,
    valuation,
)

OURS = (*DAY_TABLES, "refresh_exceptions", "refresh_marks", "stress_factor_shocks")
BETAS = "select t::text from symbol_factor_exposures t where calculation_date = %s and calculation_method = 'inline' order by 1"
DIGESTS = (
    "select table_name, status, portfolios, rows, exceptions, failed, accounted, inputs_digest, inputs from refresh_days"
    " where calculation_date = %s order by 1"
)
STOCKS = [f"S{number:03}" for number in range(120)]
"""More than the 100 that correlations take, so that their products are large enough for BLAS to share out."""
RUN = """
import os
from contextlib import closing
if os.environ.get("ONE_CORE"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
with closing(worlds.night(Database(os.environ["TEST_DATABASE_URL"]))) as night:
    worlds.play(night)
"""


def bytes_of(database: Database, day: date = DAY) -> dict[str, Any]:
    """All that a night leaves of a day, but for the moment and the run: rows as text, and the digests of its inputs."""
    found: dict[str, Any] = {table: table_rows(database, table, day) for table in OURS}
    return {**found, "inline betas": execute(database, BETAS, day), "refresh_days": execute(database, DIGESTS, day)}


def forget_everything(database: Database) -> None:
    """As if no night had ever run."""
    execute(database, f"truncate {', '.join((*OURS, 'refresh_days', 'refresh_restatements'))}")
    execute(database, "delete from symbol_factor_exposures where calculation_method = 'inline'")


@pytest.fixture(scope="module")
def platform(server_url: str, initialised_template: str) -> Iterator[str]:
    """The name of a database with a book of 120 stocks and eleven small ones; no night has run."""
    random = np.random.default_rng(20260313)
    books = [STOCKS, *(random.choice(STOCKS, random.integers(1, 12), replace=False).tolist() for _ in range(11))]
    rows: list[Row] = []
    for owner, symbols in enumerate(books, 1):
        rows += [
            position(1000 * owner + n, owner, symbol, round(float(random.normal(0, 1e4)), 6) or 1)
            for n, symbol in enumerate(symbols)
        ]
    with new_database(server_url, initialised_template) as (name, url):
        worlds.load_closes(Database(url), worlds.closes((*STOCKS, *worlds.PROXIES)))
        insert(Database(url), "portfolios", *(portfolio(owner) for owner in range(1, len(books) + 1)))
        insert(Database(url), "positions", *rows)
        yield name


@pytest.fixture(scope="module")
def first_night(server_url: str, platform: str) -> dict[str, Any]:
    """What the night leaves of the day, its tables written one by one; the others have theirs begun ahead."""
    with new_database(server_url, platform) as (_, url):
        worlds.run(Database(url))
        found = bytes_of(Database(url))
    assert len(found["portfolio_snapshots"]) == 12
    assert all(found.values())
    return found


@pytest.mark.parametrize("chunk", [1, 2, 5, 1000])
@pytest.mark.parametrize("days", [[DAY], [BEFORE, DAY]], ids=["alone", "beside the day before"])
def test_any_cut_into_chunks_and_days_gives_the_same_bytes(
    server_url: str, platform: str, first_night: dict[str, Any], chunk: int, days: list[date]
) -> None:
    """A chunk is a matter of memory, a range one of convenience: neither is a matter of figures."""
    with new_database(server_url, platform) as (_, url):
        with closing(worlds.night(Database(url), *days, chunk_portfolios=chunk)) as night:
            worlds.play(night)
        assert bytes_of(Database(url)) == first_night


@pytest.mark.parametrize(
    "machine",
    [
        {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        {"ONE_CORE": "1"},
    ],
    ids=["one BLAS thread", "two BLAS threads", "one core"],
)
def test_any_number_of_threads_and_cores_gives_the_same_bytes(
    server_url: str, platform: str, first_night: dict[str, Any], machine: dict[str, str]
) -> None:
    """In a process of its own: how sums are shared out is decided when the libraries are loaded."""
    with new_database(server_url, platform) as (_, url):
        environment = {**os.environ, **machine, "TEST_DATABASE_URL": url}
        done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert bytes_of(Database(url)) == first_night


@pytest.fixture
def twice(database: Database) -> Database:
    """Rows of one id that say different things, of a platform that has no primary keys."""
    worlds.three_portfolios(database)
    for table in ("portfolios", "positions", "private_valuations", "position_realized_events"):
        execute(database, f"alter table {table} drop constraint {table}_pkey cascade")
    insert(database, "portfolios", portfolio(1, deleted_at="2026-03-01 12:00+00"))
    insert(database, "portfolios", portfolio(2, inception_date=date(2025, 6, 3)), portfolio(4))
    insert(
        database,
        "positions",
        position(11, 1, "AAA", 999),
        position(12, 1, "CCC", "20.5"),
        position(13, 1, "CCC", -30, entry_price=51),
        position(21, 2, "AAA", 5, exit_date=DAY, exit_price=70),
        position(22, 2, "BBB", 7, deleted_at="2026-04-01 12:00+00"),
        position(23, 2, None, 1, investment_class="PRIVATE", entry_price=1000, market_value=5),
        position(41, 4, "AAA", 0, exit_date=date(2026, 12, 1)),
        position(41, 4, "AAA", 5, exit_date=date(2026, 11, 1)),
    )
    insert(database, "private_valuations", valuation(23, date(2026, 1, 15), 99))
    insert(database, "position_realized_events", event(1, 31, DAY, 2, 60), event(1, 31, DAY, 3, None))
    return database


def expected_of(database: Database) -> tuple[int, int]:
    """What the gate expects on the day: how many portfolios, and the sum of their hashes."""
    with database.connect() as connection:
        found = expected_portfolios(connection, worlds.CALENDAR, [DAY])
    return int(found.count[0]), int(found.hashes[0])


@pytest.mark.parametrize("how", ["at once", "put aside by chunk"])
def test_rows_that_move_within_their_table_leave_every_byte_as_it_was(
    twice: Database, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """An update that changes nothing puts a row behind all others; so each of two with one id comes first once."""
    if how != "at once":
        monkeypatch.setattr(inputs, "CHUNKS_AT_ONCE", 0)
        monkeypatch.setattr(inputs, "CACHED_CHUNKS", 1)
    worlds.run(twice, chunk_portfolios=1)
    first, expected = bytes_of(twice), expected_of(twice)
    assert expected[0] == len(first["portfolio_snapshots"]) == 4
    one_by_one = "do $$ declare r tid; begin for r in select ctid from {0} order by ctid {1} loop"
    one_by_one += " update {0} set {2} = {2} where ctid = r; end loop; end $$"
    columns = {
        "portfolios": "name",
        "positions": "quantity",
        "private_valuations": "as_of",
        "position_realized_events": "price",
    }
    for table, column in columns.items():
        order = execute(twice, f"select t::text from {table} t")
        execute(twice, one_by_one.format(table, "desc", column))
        assert execute(twice, f"select t::text from {table} t") == order[::-1]
        forget_everything(twice)
        worlds.run(twice, chunk_portfolios=1)
        assert bytes_of(twice) == first, table
        assert expected_of(twice) == expected, table
