"""What a reader waits for: one portfolio's year of snapshots, its pairs of a day, its stress with impacts; beside a night.

Here: a year of days at 10,000 portfolios, each query timed on portfolios taken at random; the shortest of queries, again and
again, alone and while every row of its day is replaced. Not here: the night (night.py), that nobody waits for a lock
(refresh_assets_tests/chaos/test_readers.py).

Run `python -m benchmarks.readers --help`."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from rich.console import Console
from rich.table import Table

from benchmarks import night, one_night, world
from refresh_assets.store.database import Database
from refresh_assets.store.embedded import embedded_postgres
from refresh_assets.store.partitions import ensure_partition

YEAR = "portfolio_snapshots"
READERS = {
    "a portfolio's year of snapshots": f"SELECT * FROM {YEAR} WHERE portfolio_id = %(portfolio)s"
    " AND snapshot_date BETWEEN %(first)s AND %(day)s ORDER BY snapshot_date",
    "its pairs of a day": "SELECT * FROM pairwise_correlations WHERE portfolio_id = %(portfolio)s"
    " AND calculation_date = %(day)s",
    "its stress results of a day": "SELECT * FROM stress_test_results WHERE portfolio_id = %(portfolio)s"
    " AND calculation_date = %(day)s",
    "their impacts by factor": "SELECT * FROM stress_factor_impacts WHERE portfolio_id = %(portfolio)s"
    " AND calculation_date = %(day)s",
}
ONE_ROW = f"SELECT * FROM {YEAR} WHERE portfolio_id = %(portfolio)s AND snapshot_date = %(day)s"
PATIENCE = "1ms"
# Else the night finds the day as it left it, and writes nothing.
CORRECTED = "UPDATE market_data_cache SET close_price = close_price * 1.01 WHERE date = %s"


def main() -> None:
    """Build, compute one night, read beside one, copy its snapshots to a year of days, time the queries, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readers", description=__doc__.splitlines()[0])
    parser.add_argument("--portfolios", type=int, default=10_000)
    parser.add_argument("--days", type=int, default=250)
    parser.add_argument("--asked", type=int, default=50, help="portfolios, taken at random")
    parser.add_argument("--alone", type=float, default=5.0, help="seconds that a reader has to itself before the night")
    parser.set_defaults(positions=20, symbols=5_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="refresh-benchmark-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder) / "postgres", keep=False) as url,
    ):
        night.build(url, argparse.Namespace(**vars(options) | {"days": 1}))
        one_night.run(Database(url), [night.DAY])
        console = Console(highlight=False)
        console.print(_beside_a_night(url, options.alone, options.asked))
        days = world.trading_days(night.DAY, options.days)
        with psycopg.connect(url, autocommit=True) as connection:
            _fill_year(connection, days)
            console.print(_table(connection, days, options.asked, options.portfolios))


def _beside_a_night(url: str, alone: float, asked: int) -> Table:
    """One row, asked for without a pause: alone, and while a process of its own replaces the day.

    A reader that has to wait for a lock for as long as PATIENCE ends the benchmark: what is seen is waiting for a core."""
    with psycopg.connect(url, autocommit=True) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute(f"SET lock_timeout = '{PATIENCE}'".encode())
        chosen = [row[0] for row in connection.execute("SELECT id FROM portfolios ORDER BY random() LIMIT %s", [asked])]
        begin = perf_counter()
        by_itself = _answers(connection, chosen, lambda: perf_counter() - begin >= alone)
        connection.execute(CORRECTED, [night.DAY])
        before = _gross(connection)
        replaced = pool.submit(one_night.in_own_process, "memory", url, night.DAY)
        beside = _answers(connection, chosen, replaced.done)
        took = replaced.result()
        if _gross(connection) == before:
            raise night.WrongResult("the night replaced nothing: what a reader waited for beside it says nothing")
    title = (
        f"one row of {YEAR}, while its day is replaced in {took['seconds']:.1f} s, by a process that lives for"
        f" {took['process_seconds']:.1f} s; milliseconds, none of them ({PATIENCE}) for a lock"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("the reader", "answers", "median", "99.9 of 100", "largest"):
        table.add_column(heading, justify="left" if heading == "the reader" else "right")
    for name, answers in (("alone", by_itself), ("beside the night", beside)):
        figures = (statistics.median(answers), statistics.quantiles(answers, n=1000)[-1], max(answers))
        table.add_row(name, str(len(answers)), *(f"{figure * 1e3:.2f}" for figure in figures))
    return table


def _answers(connection: psycopg.Connection[Any], portfolios: Sequence[Any], enough: Callable[[], bool]) -> list[float]:
    """Seconds of each answer, of one portfolio after the other, until it is enough."""
    took: list[float] = []
    while not enough():
        begin = perf_counter()
        values = {"portfolio": portfolios[len(took) % len(portfolios)], "day": night.DAY}
        connection.execute(ONE_ROW.encode(), values).fetchone()
        took.append(perf_counter() - begin)
    return took


def _gross(connection: psycopg.Connection[Any]) -> object:
    row = connection.execute(f"SELECT sum(gross_exposure) FROM {YEAR} WHERE snapshot_date = %s".encode(), [night.DAY])
    return row.fetchone()


def _fill_year(connection: psycopg.Connection[Any], days: Sequence[date]) -> None:
    """The night's snapshots under every other date: what they say does not matter to who looks them up."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attname <> 'snapshot_date'",
        [YEAR],
    ).fetchall()
    columns = SQL(", ").join(Identifier(row[0]) for row in rows)
    copy = SQL("INSERT INTO {0} (snapshot_date, {1}) SELECT %s, {1} FROM {0} WHERE snapshot_date = %s")
    for day in days[:-1]:
        ensure_partition(connection, YEAR, day)
        connection.execute(copy.format(Identifier(YEAR), columns), [day, days[-1]])
    connection.execute("VACUUM ANALYZE")


def _table(connection: psycopg.Connection[Any], days: Sequence[date], asked: int, portfolios: int) -> Table:
    version = connection.execute("SHOW server_version").fetchone()
    table = Table(
        title=f"one reader, {portfolios:,} portfolios x {len(days)} days, PostgreSQL {version and version[0]}; milliseconds",
        title_justify="left",
    )
    for heading in ("query", "rows", "median", "largest"):
        table.add_column(heading, justify="left" if heading == "query" else "right")
    chosen = connection.execute("SELECT id FROM portfolios ORDER BY random() LIMIT %s", [asked]).fetchall()
    for name, query in READERS.items():
        seconds, found = [], 0
        for (portfolio,) in chosen:
            begin = perf_counter()
            values = {"portfolio": portfolio, "day": days[-1], "first": days[0]}
            found = max(found, len(connection.execute(query.encode(), values).fetchall()))
            seconds.append(perf_counter() - begin)
        table.add_row(name, str(found), f"{statistics.median(seconds) * 1e3:.1f}", f"{max(seconds) * 1e3:.1f}")
    return table


if __name__ == "__main__":
    main()
