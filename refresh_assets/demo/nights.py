"""The demo's nights: an embedded PostgreSQL, the packaged world, real runs of the real assets.

Here: the play, its environment, and the summary that a person reads at its end. Not here: what the platform holds
(world.py), anything that a night computes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.demo.world import MISSED_NIGHT, NIGHTS, load_platform, symbol_batch
from refresh_assets.errors import UsageError

LAST_EVENING = datetime(NIGHTS.last.year, NIGHTS.last.month, NIGHTS.last.day, 21, 30, tzinfo=NEW_YORK)
DURATION_OF_TLT, DURATION_OF_UST10Y = "duration = 16.5", "duration = 8.5"
DAGSTER_YAML = """\
# The demo's Dagster instance: as in production, less the monitoring of workers.
storage:
  custom:
    module: refresh_assets.automation.dagster_storage
    class: NightStorage
    config: {}
concurrency:
  pools:
    granularity: run
    default_limit: 1
nux:
  enabled: false
telemetry:
  enabled: false
"""


@contextmanager
def world(folder: Path) -> Iterator[datetime]:
    """The environment of a demo that was played: its database is running, the settings point to it.

    Yields the instant of its last evening. Raises UsageError where no demo was played."""
    from refresh_assets.store.embedded import embedded_postgres

    if not (folder / "postgres").exists():
        raise UsageError(f"there is no demo in {folder}", "run `refresh-assets demo` first")
    with embedded_postgres(folder.resolve() / "postgres") as url:
        _point_to(folder.resolve(), url)
        yield LAST_EVENING


def play(folder: Path, json: bool = False) -> int:
    """Play the nights from the start, in a folder whose former demo is thrown away; print the summary."""
    from refresh_assets import terminal
    from refresh_assets.demo.summary import book_figures, print_summary
    from refresh_assets.store.embedded import embedded_postgres

    def say(line: str) -> None:
        if not json:
            print(line, file=sys.stderr, flush=True)

    folder = _emptied(folder)
    say(f"PostgreSQL starts in {folder / 'postgres'} ...")
    with embedded_postgres(folder / "postgres") as url:
        _point_to(folder, url)
        from refresh_assets.automation import launch
        from refresh_assets.settings import load
        from refresh_assets.store.database import Database
        from refresh_assets.store.days import exceptions_of
        from refresh_assets.store.provision import init

        settings = load()
        database = Database.of(settings)
        init(database)
        nights = TradingCalendar().days(*NIGHTS)
        with database.connect() as connection:
            load_platform(connection, TradingCalendar().previous(nights[0]))
        outcomes = []
        for words, days in _acts(nights):
            for day in days:
                with database.connect() as connection:
                    symbol_batch(connection, day)
            if words is None:
                say(f"{days[0]}: the symbol batch came, the night did not: a hole")
                continue
            evening = datetime(days[-1].year, days[-1].month, days[-1].day, 21, 30, tzinfo=NEW_YORK)
            due = [one.day for one in launch.plan_due_days(settings, evening).days]
            say(f"{words}: {len(due)} {'night is' if len(due) == 1 else 'nights are'} due")
            with terminal.progress(len(due), None, quiet=json) as day_done:
                outcomes += launch.run_days(settings, due, launch.MISSING, (), day_done)
        statuses = launch.statuses_of(settings, nights, LAST_EVENING)
        with database.connect() as connection:
            books, left_out = book_figures(connection, nights[-1]), exceptions_of(connection, nights[-1])
    good = all(one.success for one in outcomes) and all(one.state == "complete" for one in statuses)
    if json:
        from refresh_assets.cli import _print_json

        _print_json({"nights": terminal.status_figures(statuses), "books": books, "left_out": len(left_out)})
    else:
        print_summary(nights, statuses, books, left_out, folder)
    return 0 if good else 1


def _acts(nights: list[date]) -> Iterator[tuple[str | None, list[date]]]:
    """What happens, in order: a backfill, a missed night, the night that heals it, then night by night."""
    missed = nights.index(MISSED_NIGHT)
    yield f"{nights[0]} .. {nights[missed - 1]}, one backfill", nights[:missed]
    yield None, [MISSED_NIGHT]
    yield f"{nights[missed + 1]}, and the hole before it", [nights[missed + 1]]
    yield f"{nights[missed + 2]} .. {nights[-2]}, another backfill", nights[missed + 2 : -1]
    yield f"{nights[-1]}, an ordinary night", [nights[-1]]


def _emptied(folder: Path) -> Path:
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / "postgres").exists():
        raise UsageError(f"{folder} holds something that is no demo", "name an empty folder with --folder")
    for part in ("postgres", "dagster"):
        shutil.rmtree(folder / part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _point_to(folder: Path, url: str) -> None:
    """Set this process's environment to the demo's database, Dagster home and scenario file."""
    from importlib import resources

    home = folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(DAGSTER_YAML)
    packaged = resources.files("refresh_assets").joinpath("stress_scenarios.toml").read_text()
    # The packaged scenarios are for TLT; the demo's rates proxy is a ten-year note, half as long.
    scenarios = folder / "stress_scenarios.toml"
    scenarios.write_text(packaged.replace(DURATION_OF_TLT, DURATION_OF_UST10Y))
    for name in [name for name in os.environ if name.startswith("REFRESH_")]:
        del os.environ[name]
    os.environ.update(_environment(url, home, scenarios))


def _environment(url: str, home: Path, scenarios: Path) -> dict[str, Any]:
    return {
        "REFRESH_DATABASE_URL": url,
        "REFRESH_START_DATE": NIGHTS.first.isoformat(),
        "REFRESH_SCENARIOS_FILE": str(scenarios),
        "DAGSTER_HOME": str(home),
    }
