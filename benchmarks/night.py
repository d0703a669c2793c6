"""The night at 10,000 portfolios: its seconds, and how they compare with the seed's loop and with bare COPY.

Here: what is measured in which order on one database, the checks that every result was written, the table. Not here: the
night itself (one_night.py), the loop (seed_loop.py), the floor (raw_copy.py), the data (world.py).

Run `python -m benchmarks.night --help`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import machine, one_night, raw_copy, seed_loop, world
from refresh_assets.core import scenarios
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.store.database import Database
from refresh_assets.store.embedded import embedded_postgres
from refresh_assets.store.provision import init

HISTORY = Path(__file__).with_name("history.jsonl")
DAY = date(2026, 3, 13)
DAY_TABLES = ("portfolio_snapshots", "correlation_calculations", "factor_exposures", "stress_test_results")
WRITTEN = (*DAY_TABLES, "refresh_exceptions", "refresh_marks", "stress_factor_shocks")
SYMBOLS_A_PORTFOLIO = 10  # a small platform has few symbols; its loop would else spend its time on loading closes

# The platform as it was the evening before, kept so that every run updates as many positions as the first.
KEEP_MARKS = """CREATE TABLE marks_before AS SELECT id, market_value, last_price, last_price_date
    FROM positions WHERE investment_class <> 'PRIVATE'"""
RESET_MARKS = """UPDATE positions p SET market_value = b.market_value, last_price = b.last_price,
    last_price_date = b.last_price_date FROM marks_before b WHERE b.id = p.id
    AND (p.market_value, p.last_price, p.last_price_date)
        IS DISTINCT FROM (b.market_value, b.last_price, b.last_price_date)"""
# Counted from the platform alone. What was sold after the day had its quantity taken off in place.
HELD = """FROM positions p WHERE (entry_date IS NULL OR entry_date <= %(day)s)
    AND (exit_date IS NULL OR exit_date > %(day)s) AND (quantity <> 0 OR EXISTS (
        SELECT FROM position_realized_events e WHERE e.position_id = p.id AND e.trade_date > %(day)s))"""
PRICED = f"""{HELD} AND investment_class = 'PUBLIC' AND symbol IN (
    SELECT symbol FROM market_data_cache WHERE date = %(day)s)"""
MARKED = "SELECT count(*) FROM positions WHERE last_price_date = %(day)s"
HOLDERS = f"SELECT count(DISTINCT portfolio_id) {HELD}"
EXPOSED = f"SELECT count(DISTINCT portfolio_id) {PRICED}"
CORRELATED = f"""SELECT count(*) FROM (
    SELECT portfolio_id {PRICED} GROUP BY portfolio_id HAVING count(DISTINCT symbol) > 1) two_or_more"""


class WrongResult(Exception):
    """A night or a loop did not leave behind what it should have: its seconds say nothing."""


@dataclass
class Measured:
    """Seconds of every run, in the order they were taken."""

    nights: list[one_night.Seconds] = field(default_factory=list)
    replaced: list[one_night.Seconds] = field(default_factory=list)
    loops: list[seed_loop.LoopTimes] = field(default_factory=list)
    copies: list[raw_copy.RawCopy] = field(default_factory=list)
    through_dagster: list[dict[str, float]] = field(default_factory=list)
    without_checks: list[dict[str, float]] = field(default_factory=list)
    memory: list[dict[str, float]] = field(default_factory=list)
    days_at_once: list[float] = field(default_factory=list)
    days_one_by_one: list[float] = field(default_factory=list)
    days_through_dagster: list[dict[str, float]] = field(default_factory=list)


def main() -> int:
    """Measure, print, and keep where asked. 1 where a result is missing or wrong."""
    options = _options()
    console = Console(highlight=False)
    with (
        tempfile.TemporaryDirectory(prefix="refresh-benchmark-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder) / "postgres", keep=False) as url,
    ):
        try:
            with console.status("building the platform"):
                facts = build(url, options)
            measured = Measured()
            one_night.run(Database(url), [DAY])  # not counted: the first night also imports and warms up
            for number in range(options.runs):
                with console.status(f"run {number + 1} of {options.runs}"):
                    measure(url, options, measured)
        except (WrongResult, RuntimeError) as error:
            print(f"benchmark failed: {error}", file=sys.stderr)
            return 1
    result = summary(options, measured)
    console.print(machine_table(facts), night_table(result), ratio_table(result))
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "code_version": CODE_VERSION,
        "machine": facts,
        **result,
    }
    if options.json:
        options.json.write_text(json.dumps(line, indent=2) + "\n", encoding="utf-8")
    if options.record:
        with HISTORY.open("a", encoding="utf-8") as history:
            history.write(json.dumps(line) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.night", description=__doc__.splitlines()[0])
    parser.add_argument("--portfolios", type=int, default=10_000)
    parser.add_argument("--symbols", type=int, default=5_000, help=f"at most {SYMBOLS_A_PORTFOLIO} a portfolio")
    parser.add_argument("--positions", type=int, default=20, help="of each portfolio")
    parser.add_argument("--loop-sample", type=int, default=60, help="portfolios that the seed's loop is timed on")
    parser.add_argument("--runs", type=int, default=3, help="of everything, one after the other; medians are shown")
    parser.add_argument("--days", type=int, default=1, help="also so many missed days at once against one by one")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--record", action="store_true", help=f"append the figures to {HISTORY.name}")
    options = parser.parse_args()
    for name in ("portfolios", "positions", "loop_sample", "runs", "days"):
        if getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}, expected 1 or more")
    options.symbols = max(min(options.symbols, SYMBOLS_A_PORTFOLIO * options.portfolios), 100)
    options.loop_sample = min(options.loop_sample, options.portfolios)
    return options


def build(url: str, options: argparse.Namespace) -> dict[str, machine.Fact]:
    """The tables and the synthetic platform; the machine that it stands on."""
    init(Database(url))
    with psycopg.connect(url) as connection:
        world.build(connection, options.portfolios, options.positions, options.symbols, day=DAY, beta_days=options.days)
        connection.execute(KEEP_MARKS)
        return machine.facts(connection)


def measure(url: str, options: argparse.Namespace, measured: Measured) -> None:
    """One run of everything, one after the other, so that a slow moment of the machine meets all alike."""
    database = Database(url)
    forget(url)
    measured.nights.append(one_night.run(database, [DAY]))
    check_night(url)
    settle(url)
    measured.replaced.append(one_night.run(database, [DAY]))
    check_night(url)
    loop = seed_loop.measure(url, DAY, options.loop_sample)
    check_loop(url, loop.portfolios, options.loop_sample)
    measured.loops.append(loop)
    settle(url)
    measured.copies.append(raw_copy.run(url, DAY, WRITTEN))
    modes = {
        "dagster": measured.through_dagster,
        "without_checks": measured.without_checks,
        "memory": measured.memory,
    }
    # In turns: what the first of them leaves the server to clean up would always meet the same one.
    for mode, figures in list(modes.items())[:: 1 if len(measured.nights) % 2 else -1]:
        forget(url)
        figures.append(one_night.in_own_process(mode, url, DAY))
        check_night(url)
    if options.days > 1:
        days = world.trading_days(DAY, options.days)
        forget(url)
        measured.days_at_once.append(sum(one_night.run(database, days).values()))
        check_night(url)
        forget(url)
        measured.days_one_by_one.append(sum(sum(one_night.run(database, [day]).values()) for day in days))
        check_night(url)
        forget(url)
        measured.days_through_dagster.append(one_night.in_own_process("dagster", url, *days))
        check_night(url)


def forget(url: str) -> None:
    """No day was ever computed, and the positions stand as the evening before left them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(WRITTEN)}, refresh_days, refresh_restatements")
        connection.execute("DELETE FROM symbol_factor_exposures WHERE calculation_method = 'inline'")
        # As autovacuum has done by the next evening: else the pages of the positions fill up with dead rows.
        connection.execute("VACUUM positions")
        connection.execute(RESET_MARKS)
        connection.execute("VACUUM ANALYZE positions, symbol_factor_exposures")
        if _one(connection, MARKED):
            raise WrongResult("some positions have the day's market value before the night")
    settle(url)


def settle(url: str) -> None:
    """Write back what earlier work left, so that nobody else pays for it."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")


def check_night(url: str) -> None:
    """Raises WrongResult where the night's tables do not hold what the platform's hold a reason for."""
    with psycopg.connect(url) as connection:
        exposed = _one(connection, EXPOSED)
        expected = {
            "refresh_days": len(DAY_TABLES),
            "portfolio_snapshots": _one(connection, HOLDERS),
            "correlation_calculations": _one(connection, CORRELATED),
            "factor_exposures": exposed * _one(connection, "SELECT count(*) FROM factor_definitions WHERE is_active"),
            "stress_test_results": exposed * len(scenarios.packaged().active),
        }
        for table, rows in expected.items():
            day = "snapshot_date" if table == "portfolio_snapshots" else "calculation_date"
            found = _one(connection, f"SELECT count(*) FROM {table} WHERE {day} = %(day)s")
            if found != rows or not found:
                raise WrongResult(f"{table} has {found} rows of {DAY}, expected {rows}")
        if not _one(connection, MARKED):
            raise WrongResult("no position got its market value")


def check_loop(url: str, done: int, asked: int) -> None:
    """Raises WrongResult where the loop did not write its rows for every portfolio of the sample."""
    with psycopg.connect(url) as connection:
        snapshots = _one(connection, "SELECT count(*) FROM seed_loop.portfolio_snapshots")
        stress = _one(connection, "SELECT count(*) FROM seed_loop.stress_test_results")
    wanted = done * len(seed_loop.SCENARIOS)
    if done != asked or snapshots != done or stress != wanted:
        raise WrongResult(
            f"the loop took {done} of {asked} portfolios and wrote {snapshots} snapshots and {stress} stress results,"
            f" expected {asked} and {wanted}"
        )


def _one(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query.encode(), {"day": DAY}).fetchone()
    return int(row[0]) if row else 0


def summary(options: argparse.Namespace, measured: Measured) -> dict[str, Any]:
    """Medians of the runs, and the ratios made from them."""
    night = {step: _median([one[step] for one in measured.nights]) for step in measured.nights[0]}
    total = _median([sum(one.values()) for one in measured.nights])
    replaced = _median([sum(one.values()) for one in measured.replaced])
    loop = _median([_whole_loop(one, options.portfolios) for one in measured.loops])
    floor = _median([one.seconds_out + one.seconds_in for one in measured.copies])
    launched = {name: _median([one[name] for one in measured.through_dagster]) for name in measured.through_dagster[0]}
    unchecked = _median([one["seconds"] for one in measured.without_checks])
    result: dict[str, Any] = {
        "portfolios": options.portfolios,
        "positions_each": options.positions,
        "symbols": options.symbols,
        "runs": options.runs,
        "night_seconds": night,
        "night_total": total,
        "night_totals": [sum(one.values()) for one in measured.nights],
        "replaced_seconds": {step: _median([one[step] for one in measured.replaced]) for step in night},
        "replaced_total": replaced,
        "loop_total": loop,
        "loop_per_portfolio": measured.loops[-1].per_portfolio(),
        "raw_copy": {"seconds": floor, **vars(measured.copies[-1])},
        "dagster": {**launched, "overhead": launched["seconds"] - total, "without_checks": unchecked},
        "memory_mib": {name: _median([one[name] for one in measured.memory]) for name in ("peak_mib", "import_mib")},
        "ratios": {
            "loop_to_night": loop / total,
            "night_to_copy": total / floor,
            "replaced_to_first": replaced / total,
            "checked_to_unchecked": launched["seconds"] / unchecked,
        },
    }
    if options.days > 1:
        at_once, one_by_one = _median(measured.days_at_once), _median(measured.days_one_by_one)
        result["days"] = {"days": options.days, "at_once": at_once, "one_by_one": one_by_one}
        result["ratios"]["days_at_once_to_one_by_one"] = at_once / one_by_one
        for name, ratio in (("seconds", "one_run_to_a_run_a_day"), ("process_seconds", "one_process_to_one_a_day")):
            together = _median([one[name] for one in measured.days_through_dagster])
            result["days"][ratio] = {"together": together, "each": launched[name]}
            result["ratios"][ratio] = together / (options.days * launched[name])
    return result


def _whole_loop(times: seed_loop.LoopTimes, portfolios: int) -> float:
    return times.seconds["cache"] + portfolios * sum(times.per_portfolio().values())


def _median(values: Sequence[float]) -> float:
    return statistics.median(values)


def machine_table(facts: dict[str, machine.Fact]) -> Table:
    """What machine it was."""
    table = Table(title="the machine", title_justify="left", show_header=False)
    for name, fact in facts.items():
        table.add_row(name, str(fact))
    return table


def night_table(result: dict[str, Any]) -> Table:
    """Seconds by step: the first time, and the same day replaced."""
    title = (
        f"one night: {result['portfolios']:,} portfolios of {result['positions_each']} positions,"
        f" {result['symbols']:,} symbols; seconds, medians of {result['runs']}"
    )
    table = Table(title=title, title_justify="left")
    for heading in ("step", "first", "replaced"):
        table.add_column(heading, justify="left" if heading == "step" else "right")
    for step, seconds in result["night_seconds"].items():
        table.add_row(step, f"{seconds:.3f}", f"{result['replaced_seconds'][step]:.3f}")
    table.add_section()
    table.add_row("in all", f"{result['night_total']:.3f}", f"{result['replaced_total']:.3f}")
    return table


def ratio_table(result: dict[str, Any]) -> Table:
    """What the seconds are compared with."""
    ratios, copy, dagster, peak = result["ratios"], result["raw_copy"], result["dagster"], result["memory_mib"]
    rows = [
        ("the seed's loop / the night", f"{ratios['loop_to_night']:,.0f} x", f"{result['loop_total']:,.1f} s"),
        (
            "the night / bare COPY of its rows",
            f"{ratios['night_to_copy']:.2f} x",
            f"{copy['seconds']:.3f} s: {copy['bytes_out'] / 1e6:.0f} MB out, {copy['bytes_in'] / 1e6:.0f} MB in",
        ),
        ("replaced / first", f"{ratios['replaced_to_first']:.2f} x", f"{result['replaced_total']:.2f} s"),
    ]
    if days := result.get("days"):
        words = f"{days['days']} days at once / one by one"
        ratio = f"{ratios['days_at_once_to_one_by_one']:.2f} x"
        rows.append((words, ratio, f"{days['at_once']:.1f} s / {days['one_by_one']:.1f} s"))
        for words, key in (
            (f"through Dagster, one run of {days['days']} days / a run a day", "one_run_to_a_run_a_day"),
            ("the same with the processes of the runs", "one_process_to_one_a_day"),
        ):
            each = f"{days[key]['together']:.1f} s / {days['days']} x {days[key]['each']:.2f} s"
            rows.append((words, f"{ratios[key]:.2f} x", each))
    overhead = f"{dagster['seconds']:.2f} s, in a process of {dagster['process_seconds']:.2f} s"
    rows.append(("through Dagster, above the night", f"{dagster['overhead']:+.2f} s", overhead))
    seconds = f"{dagster['seconds']:.2f} s / {dagster['without_checks']:.2f} s"
    rows.append(("through Dagster with its checks / without", f"{ratios['checked_to_unchecked']:.2f} x", seconds))
    rows.append(("peak memory", f"{peak['peak_mib']:.0f} MiB", f"{peak['import_mib']:.0f} MiB of it imports"))
    table = Table(title="compared", title_justify="left", show_header=False)
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    sys.exit(main())
