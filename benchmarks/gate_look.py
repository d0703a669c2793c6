"""The gate's look at 10,000 portfolios and 2,500 past days: its milliseconds of SQL, and against one scan of positions.

Here: a platform with a past, what is written between two looks, the table. Not here: the look itself
(refresh_assets/store/gate_facts.py), the platform of one evening (world.py), the night (night.py).

Run `python -m benchmarks.gate_look --help`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import machine, world
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.store import gate_memory
from refresh_assets.store.database import Database
from refresh_assets.store.embedded import embedded_postgres
from refresh_assets.store.expected import expected_portfolios
from refresh_assets.store.gate_facts import Memory, read_facts
from refresh_assets.store.provision import init
from refresh_assets.store.schema_names import DAY_TABLES

CALENDAR = TradingCalendar()
DAY = date(2026, 3, 13)
NOW = datetime.combine(DAY, time(21, 40), NEW_YORK)
LOOKED_AT_ONCE = 250
MOST_LOOKS = 20
QUARTER = gate_memory.LONGEST_MEMORY
BASELINE = "SELECT count(deleted_at) FROM positions"
# Half of the portfolios and of the positions begin anywhere in the past, the same on every machine.
PLACE = "(('x' || substr(id::text, 1, 7))::bit(28)::int %% %(calendar_days)s)"
SPREAD = (
    f"UPDATE portfolios SET created_at = %(first)s::timestamptz + {PLACE} * interval '1 day', inception_date = NULL",
    "UPDATE portfolios SET inception_date = (created_at AT TIME ZONE 'America/New_York')::date WHERE id::text < '8'",
    f"UPDATE positions SET entry_date = entry_date - {PLACE} WHERE entry_date < %(last)s AND id::text < '8'",
)
BATCHES = """INSERT INTO batch_run_tracking (batch_type, target_date, status, completed_at)
    SELECT 'symbol_batch', d, 'completed', d FROM unnest(%(days)s::date[]) d ON CONFLICT DO NOTHING"""
COMPLETE = """COPY refresh_days (calculation_date, table_name, status, portfolios, rows, exceptions, failed, accounted,
    inputs_digest, inputs, run_id, code_version, finished_at) FROM STDIN"""
VIEWS = ("portfolios", "positions", "position_realized_events", "market_data_cache", "batch_run_tracking")


@dataclass(frozen=True)
class Case:
    """What is written before each look, `views`: read through views, `due`: so many of the latest days are not computed yet,
    `anew`: by a process that has read nothing yet (Dagster starts one every minute) but has the sensor's cursor, `quarter`:
    looks of a quarter of an hour, in which everything is looked at, `forgotten`: nothing is kept of earlier looks, `at_once`:
    as the schedule looks and the command, which leave nothing to a next look."""

    name: str
    write: str = ""
    views: bool = False
    due: int = 0
    anew: bool = False
    quarter: bool = False
    forgotten: bool = False
    at_once: bool = False


@dataclass(frozen=True)
class Taken:
    """Seconds that a look took, and those of them that it waited for PostgreSQL."""

    whole: float
    sql: float


@dataclass(frozen=True)
class Answer:
    """The looks that one answer took."""

    looks: tuple[Taken, ...]


class _TimedCursor(psycopg.Cursor[Any]):
    """Adds up the seconds of its statements, of all that are alike."""

    seconds = 0.0

    def execute(self, *arguments: Any, **options: Any) -> _TimedCursor:
        begin = perf_counter()
        try:
            return super().execute(*arguments, **options)
        finally:
            _TimedCursor.seconds += perf_counter() - begin


ONE_POSITION = """UPDATE positions SET exit_price = coalesce(exit_price, 0) + 1 WHERE id = (
    SELECT id FROM positions LIMIT 1)"""
ONE_MORE = """INSERT INTO positions (id, portfolio_id, symbol, investment_class, quantity, entry_price, entry_date)
    SELECT gen_random_uuid(), portfolio_id, symbol, investment_class, quantity, entry_price, entry_date FROM positions
    WHERE exit_date IS NULL AND quantity <> 0 AND investment_class = 'PUBLIC' LIMIT 1"""
ALL_MARKET_VALUES = "UPDATE positions SET market_value = market_value + 1 WHERE investment_class <> 'PRIVATE'"
# Gone without a trace: neither its owner nor anybody else wrote; the owner held another before.
ONE_DELETED = """DELETE FROM positions WHERE id = (SELECT id FROM positions p
    WHERE NOT EXISTS (SELECT FROM position_realized_events e WHERE e.position_id = p.id) AND EXISTS (
        SELECT FROM positions o WHERE o.portfolio_id = p.portfolio_id AND o.entry_date < p.entry_date
            AND o.exit_date IS NULL AND o.deleted_at IS NULL AND o.quantity <> 0) LIMIT 1)"""
MANY_POSITIONS = """UPDATE positions SET market_value = market_value + 1 WHERE id IN (
    SELECT id FROM positions LIMIT 2000)"""
ONE_CLOSE = """UPDATE market_data_cache SET close_price = close_price + 1
    WHERE date = '2026-03-13' AND symbol = (SELECT min(symbol) FROM market_data_cache WHERE date = '2026-03-13')"""
ONE_NIGHT = "UPDATE refresh_days SET run_id = run_id || '.' WHERE calculation_date = '2026-03-12'"
CASES = (
    Case("nobody wrote"),
    Case("nobody wrote, on views", views=True),
    Case("a position was written", ONE_POSITION),
    Case("a position was written, a new process", ONE_POSITION, anew=True),
    Case("a position was bought, a new process", ONE_MORE, anew=True),
    Case("a position was written, on views", ONE_POSITION, views=True),
    Case("a position was deleted", ONE_DELETED),
    Case("a position was deleted, a new process", ONE_DELETED, anew=True),
    Case("a night was written", ONE_NIGHT),
    Case("the day is due, nobody wrote", due=1),
    Case("the day is due, a close was written", ONE_CLOSE, due=1),
    Case("the day is due, a close was written, a new process", ONE_CLOSE, due=1, anew=True),
    Case("the day is due, a close and a position were written", f"{ONE_CLOSE}; {ONE_POSITION}", due=1),
    Case("the day is due, a close and a position, a new process", f"{ONE_CLOSE}; {ONE_POSITION}", due=1, anew=True),
    Case("the day is due, a close and a position, on views", f"{ONE_CLOSE}; {ONE_POSITION}", due=1, views=True),
    Case("the day is due, a position was deleted, a new process", ONE_DELETED, due=1, anew=True),
    Case("the day is due, 2,000 positions were written", MANY_POSITIONS, due=1),
    Case("the day is due, 2,000 positions, a new process", MANY_POSITIONS, due=1, anew=True),
    Case("the day is due, a night and a position were written", f"{ONE_NIGHT}; {ONE_POSITION}", due=1, anew=True),
    Case("a week is due, a close was written", ONE_CLOSE, due=5),
    Case("a week is due, a close and a position were written", f"{ONE_CLOSE}; {ONE_POSITION}", due=5),
    Case("20 days are due, nobody wrote", due=20),
    Case("20 days are due, a close was written", ONE_CLOSE, due=20),
    Case("20 days are due, a close and a position were written", f"{ONE_CLOSE}; {ONE_POSITION}", due=20),
    Case("20 days are due, a close and a position, on views", f"{ONE_CLOSE}; {ONE_POSITION}", due=20, views=True),
    Case("everything is looked at, in 15 minutes", quarter=True),
    Case("everything is looked at, in 15 minutes, a new process", quarter=True, anew=True),
    Case("the day is due, in 15 minutes, a new process", due=1, quarter=True, anew=True),
    Case("the day is due, in 15 minutes, on views, a new process", due=1, views=True, quarter=True, anew=True),
    Case("the first looks of all", forgotten=True),
    Case("the first looks of all, on views", forgotten=True, views=True),
    Case("the first looks of all, the day is due", forgotten=True, due=1),
    Case("everything at once, as the schedule looks", at_once=True),
    Case("everything at once, the day is due", due=1, at_once=True),
    Case("everything at once, 20 days are due", due=20, at_once=True),
    # The last: it doubles the table.
    Case("every market value was written", ALL_MARKET_VALUES),
)


def main() -> int:
    """Measure and print."""
    options = _options()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="refresh-benchmark-", ignore_cleanup_errors=True) as temporary:
        folder = options.folder or Path(temporary) / "postgres"
        with embedded_postgres(folder, keep=options.folder is not None) as url:
            with console.status("building the platform and its past"):
                facts = build(url, options)
            baseline = [scan(url) for _ in range(options.looks)]
            measured = {case.name: answers(url, case, options) for case in CASES}
    console.print(table(facts, options, measured, baseline))
    if options.json:
        figures = {
            "machine": facts,
            "baseline_ms": [1e3 * one for one in baseline],
            "looks_ms": {
                name: [[{"sql": 1e3 * one.sql, "whole": 1e3 * one.whole} for one in answer.looks] for answer in of]
                for name, of in measured.items()
            },
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gate_look", description=__doc__.splitlines()[0])
    parser.add_argument("--portfolios", type=int, default=10_000)
    parser.add_argument("--positions", type=int, default=20, help="of each portfolio")
    parser.add_argument("--symbols", type=int, default=5_000)
    parser.add_argument("--days", type=int, default=2_500, help="past days, each complete in every table")
    parser.add_argument("--looks", type=int, default=9, help="of each kind")
    parser.add_argument("--folder", type=Path, help="keep the database there, and use the one that is there")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def build(url: str, options: argparse.Namespace) -> dict[str, machine.Fact]:
    """The platform with its past, unless it is there; the machine that it stands on."""
    database = Database(url)
    init(database)
    with psycopg.connect(url) as connection:
        there = connection.execute("SELECT count(*) FROM portfolios").fetchone()
        if not there or not there[0]:
            world.build(connection, options.portfolios, options.positions, options.symbols, day=DAY)
            _spread(connection, options.days)
        connection.execute("CREATE SCHEMA IF NOT EXISTS through_views")
        for name in VIEWS:
            connection.execute(f"CREATE OR REPLACE VIEW through_views.{name} AS SELECT * FROM public.{name}".encode())
        facts = machine.facts(connection)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (FULL, ANALYZE) positions")
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return facts


def _spread(connection: psycopg.Connection, past: int) -> None:
    """A past of so many days, each of which the night has done for everybody."""
    days = CALENDAR.days(CALENDAR.nth_before(DAY, past), DAY)
    values = {"first": days[0], "last": DAY, "calendar_days": (DAY - days[0]).days, "days": days}
    for statement in (*SPREAD, BATCHES):
        connection.execute(statement.encode(), values)
    expected = expected_portfolios(connection, CALENDAR, days)
    with connection.cursor().copy(COMPLETE) as copy:
        for day, count, hashed in zip(days, expected.count, expected.hashes.view(np.int64), strict=True):
            figures = ("complete", int(count), int(count), 0, 0, int(hashed), "digest", "{}", "run", "1", NOW)
            for name in DAY_TABLES:
                copy.write_row((day, name, *figures))


def scan(url: str) -> float:
    """Seconds of one plain scan of all positions."""
    with psycopg.connect(url) as connection:
        begin = perf_counter()
        connection.execute(BASELINE).fetchall()
        return perf_counter() - begin


def answers(url: str, case: Case, options: argparse.Namespace) -> list[Answer]:
    """Some answers of one kind, each after the write that belongs to it."""
    # The schema that is named first is looked into first: that of the views hides the tables behind them.
    database = Database(url, "through_views", "public") if case.views else Database(url)
    with psycopg.connect(url) as connection:
        if case.due:
            connection.execute(
                "CREATE TABLE held_back AS SELECT * FROM refresh_days WHERE calculation_date = any(%s)", [_due(case)]
            )
            connection.execute("DELETE FROM refresh_days WHERE calculation_date = any(%s)", [_due(case)])
    start, now = CALENDAR.nth_before(DAY, options.days), NOW
    memory: Memory | None
    _, memory, _ = _look(database, start, now, None, case)
    found = []
    for _ in range(options.looks):
        taken: list[Taken] = []
        for wait in [QUARTER / 3] * 3 if case.quarter else [timedelta(0)]:
            now += wait
            _write(url, case)
            memory = Memory() if case.forgotten else None if case.at_once else memory
            left = True
            while left:
                one, memory, left = _look(database, start, now, memory, case)
                taken.append(one)
                if len(taken) > MOST_LOOKS:
                    sys.exit(f"benchmark failed: {case.name}: no answer after {MOST_LOOKS} looks")
        found.append(Answer(tuple(taken)))
    with psycopg.connect(url) as connection:
        if case.due:
            connection.execute("INSERT INTO refresh_days SELECT * FROM held_back")
            connection.execute("DROP TABLE held_back")
    return found


def _due(case: Case) -> list[date]:
    return CALENDAR.days(CALENDAR.nth_before(DAY, case.due - 1), DAY) if case.due else []


def _write(url: str, case: Case) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        if case.write:
            connection.execute(case.write.encode())
            connection.execute("SELECT pg_stat_force_next_flush()")  # the look must see the counters
        if case.forgotten:
            connection.execute("TRUNCATE refresh_gate_memory")


def _look(
    database: Database, start: date, now: datetime, memory: Memory | None, case: Case
) -> tuple[Taken, Memory, bool]:
    """How long it took, what the next look is told, and whether something is left to it."""
    if case.anew or case.forgotten:
        gate_memory.KEPT.clear()
    kept = Memory.from_json(memory.to_json(CALENDAR), CALENDAR) if memory else None
    with database.connect() as connection:
        connection.cursor_factory = _TimedCursor
        _TimedCursor.seconds, begin = 0.0, perf_counter()
        facts, memory = read_facts(connection, CALENDAR, start, now, LOOKED_AT_ONCE, memory=kept)
        taken = Taken(perf_counter() - begin, _TimedCursor.seconds)
    found = [one.day for one in facts.pending]
    if not facts.unknown and found != _due(case):
        sys.exit(f"benchmark failed: {case.name}: {len(found)} days are due, expected {case.due}")
    return taken, memory, facts.unknown or facts.unread or any(one.coverage is None for one in facts.pending)


def table(
    facts: dict[str, machine.Fact],
    options: argparse.Namespace,
    measured: dict[str, list[Answer]],
    baseline: Sequence[float],
) -> Table:
    """Milliseconds of SQL of the slowest look of each answer, least and median, the median as so many scans of positions; the
    median of the whole look, and how many looks an answer took."""
    title = (
        f"the gate's look: {options.portfolios:,} portfolios of {options.positions} positions, {options.days:,} past days; ms"
        f" of SQL of the slowest look of an answer, {options.looks} answers of each kind; {facts['cores']} cores, PostgreSQL"
        f" {facts['postgres_server_version']}"
    )
    made = Table(title=title, title_justify="left")
    for heading in ("before the look", "least", "median", "scans", "whole", "looks"):
        made.add_column(heading, justify="left" if heading == "before the look" else "right")
    once = statistics.median(baseline)
    rows = {"one scan of positions": [Answer((Taken(one, one),)) for one in baseline], **measured}
    for name, answers_of in rows.items():
        sql = [1e3 * max(look.sql for look in one.looks) for one in answers_of]
        middle = statistics.median(sql)
        made.add_row(
            name,
            f"{min(sql):.1f}",
            f"{middle:.1f}",
            f"{middle / 1e3 / once:.1f}",
            f"{statistics.median(1e3 * max(look.whole for look in one.looks) for one in answers_of):.1f}",
            str(max(len(one.looks) for one in answers_of)),
        )
    return made


if __name__ == "__main__":
    sys.exit(main())
