"""The comparison at the end: the simulated tables against one clean computation of the same platform, byte for byte.

Here: the second database, the tables as text, the first row that differs. Not here: the nights (play.py)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier

from refresh_assets.store.database import Database
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.simulation.kinds import DAWN_AT, TABLES, at
from refresh_assets_tests.simulation.platform import Platform
from refresh_assets_tests.simulation.play import Difference, Play
from refresh_assets_tests.simulation.processes import Processes
from refresh_assets_tests.simulation.script import Script, build
from refresh_assets_tests.simulation.watch import Watch

OURS = (*TABLES, "stress_factor_shocks", "refresh_exceptions", "refresh_days", "refresh_marks")
LEFT_OUT = {"refresh_days": ["run_id", "finished_at"]}
"""Columns that say who wrote a row, and when by the machine's clock."""


@dataclass(frozen=True)
class Played:
    """A seed that was played without a difference."""

    seed: int
    first: date
    last: date
    nights: int
    looks: int
    runs: int
    alerts: int
    rows: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.first} to {self.last}, {self.nights} nights, {self.looks} looks, {self.runs} runs,"
            f" {self.alerts} alerts, {self.rows} rows equal those of one clean computation, {self.seconds:.0f} s"
        )


def play_seed(server_url: str, template: str, seed: int, nights: int) -> Played:
    """Play the nights of a seed on a database of its own, and compare what they leave. Raises Difference."""
    begin, script = time.monotonic(), build(seed, nights)
    with new_database(server_url, template) as (name, url), _processes(url, script) as processes:
        platform = Platform(Database(url), seed)
        platform.load(script)
        with closing(Watch(url)) as watch:
            play = Play(script, platform, processes, watch)
            play.to_the_end()
            left = watch.quiet()
        assert left == []
        with new_database(server_url, name) as (_, clean_url):
            _compute(clean_url, script, processes)
            rows = compare(Database(url), Database(clean_url), script)
    return Played(
        seed,
        script.first,
        script.nights[-1].day,
        nights,
        play.looks,
        play.runs,
        len(script.alerts(script.nights[-1].day)),
        rows,
        time.monotonic() - begin,
    )


@contextmanager
def _processes(url: str, script: Script) -> Iterator[Processes]:
    with tempfile.TemporaryDirectory(prefix="refresh-simulation-") as folder:
        processes = Processes(Path(folder), url, script.first, script.closure)
        try:
            yield processes
        finally:
            processes.end()


def _compute(url: str, script: Script, processes: Processes) -> None:
    """The whole quarter in one run, on a copy of the platform as it is at the end.

    `refresh_first_days` stays: it is no result but a decision, that an onboarded portfolio exists from a day on."""
    with Database(url).connect() as connection:
        for table in (*OURS, "refresh_alerts", "refresh_restatements"):
            connection.execute(SQL("truncate {}").format(Identifier(table)))
        connection.execute("delete from symbol_factor_exposures where calculation_method = 'inline'")
        connection.execute("delete from batch_run_tracking where batch_type = 'portfolio_refresh'")
        connection.execute(
            "update positions set market_value = null, last_price = null, last_price_date = null"
            " where investment_class <> 'PRIVATE'"
        )
    days = [night.day for night in script.nights]
    answer = processes.worker.ask("clean", at(days[-1], DAWN_AT), url=url, days=days)
    if answer != {"success": True, "error": [None]}:
        raise Difference(f"seed {script.seed}: the clean computation failed: {answer}")


def compare(simulated: Database, clean: Database, script: Script) -> int:
    """Rows that are equal; raises Difference for the first table that is not."""
    last = script.nights[-1].day
    number = 0
    for table in (*OURS, "symbol_factor_exposures", "positions"):
        found, expected = _rows(simulated, table, last), _rows(clean, table, last)
        if found != expected:
            only_found, only_expected = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
            raise Difference(
                f"seed {script.seed}, {len(script.nights)} nights: {table} differs from one clean computation:"
                f" {len(only_found)} rows of the nights are not in it, {len(only_expected)} of its are not in the nights."
                f" The first: {_kinds(only_found[:1], script)} {only_found[:1]} for {only_expected[:1]}"
            )
        number += len(found)
    return number


def _rows(database: Database, table: str, last: date) -> list[str]:
    """A table as text, sorted; of positions those that the last night valued."""
    condition = SQL("last_price_date = {}").format(last) if table == "positions" else SQL("true")
    query = SQL("select (to_jsonb(t) - %s::text[])::text from {} t where {} order by 1")
    if table not in LEFT_OUT:
        query = SQL("select t::text from {} t where {} order by 1")
    values: list[Any] | None = [LEFT_OUT[table]] if table in LEFT_OUT else None
    with database.connect() as connection:
        return [row[0] for row in connection.execute(query.format(Identifier(table), condition), values)]


def _kinds(rows: list[str], script: Script) -> str:
    """The night that a row is of, with its kind."""
    found = [f"{night.day} ({night.kind})" for night in script.nights if any(str(night.day) in row for row in rows)]
    return ", ".join(found) or "no night"
