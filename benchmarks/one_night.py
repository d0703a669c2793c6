"""One night without Dagster, step by step, and the same in processes of their own: for memory, and through Dagster.

Here: driving a Night as the assets do, timing each step, what a fresh process needs. Not here: the comparison and its
table (night.py), whether the figures are right (refresh_assets_tests/)."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import scenarios
from refresh_assets.store.database import Database

READ = "reading the inputs"
Seconds = dict[str, float]


def run(database: Database, days: Sequence[date]) -> Seconds:
    """Every asset of the days, asked for as one Dagster run does: each over all days before the next.

    Returns:
        Seconds by step, from opening the snapshot to the last commit. What a step is the first to need (the betas of
        the day, its digests, chunks of positions, of several days whatever is in front of the last) is counted with it.

    Raises:
        Whatever the night raises: a benchmark of a night that fails says nothing.
    """
    from refresh_assets.assets.night import Night

    seconds: Seconds = {}
    steps = _steps()
    begin = perf_counter()
    night = Night(database, TradingCalendar(), scenarios.packaged(), list(days), "benchmark")
    try:
        _ = night.inputs
        seconds[READ] = perf_counter() - begin
        for name, write in steps.items():
            begin = perf_counter()
            for day in days:
                write(night, day)
            seconds[name] = perf_counter() - begin
    finally:
        night.close()
    return seconds


def _steps() -> dict[str, Callable[[Any, date], Any]]:
    """The assets' own work, by asset, in the order of the graph."""
    with warnings.catch_warnings():
        # Partition mappings and backfill policies are "beta" in Dagster: nothing that a benchmark could do about it.
        warnings.filterwarnings("ignore", message=".* is currently in beta")
        from refresh_assets import definitions  # noqa: F401 every asset says what writes it
        from refresh_assets.assets.night import IN_TURN, Night
    return {asset: partial(Night.written, asset=asset) for asset in IN_TURN}


def in_own_process(mode: str, url: str, *days: date) -> dict[str, float]:
    """Run one of MODES (below) over days in a fresh process; its figures, and `process_seconds` from start to end.

    Raises:
        RuntimeError: the process failed; quotes the last line that it said.
    """
    project = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory(prefix="refresh-dagster-home-") as home:
        shutil.copy(project / "dagster.yaml", home)
        begin = perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", __spec__.name, mode, *(day.isoformat() for day in days)],
            env={**os.environ, "REFRESH_DATABASE_URL": url, "DAGSTER_HOME": home},
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise RuntimeError(f"the {mode} process ended with {done.returncode} and said: {said}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**figures, "process_seconds": perf_counter() - begin}


def memory(*days: date) -> dict[str, float]:
    """Peak resident memory of a process that runs one night, and of its imports alone, MiB; the night's seconds."""
    _steps()
    at_import = _peak_mib()
    seconds = sum(run(Database(os.environ["REFRESH_DATABASE_URL"]), days).values())
    return {"peak_mib": _peak_mib(), "import_mib": at_import, "seconds": seconds}


def dagster(*days: date) -> dict[str, float]:
    """Seconds of a run over some days through Dagster, its code loaded, with the instance of a deployment: events in
    PostgreSQL."""
    import dagster as dg

    from refresh_assets.automation.launch import ALL, checked_selection, run_days
    from refresh_assets.settings import load

    checked_selection([])  # loads the definitions
    dg.DagsterInstance.get().dispose()  # its tables are made by the first
    begin = perf_counter()
    outcomes = run_days(load(), list(days), ALL)
    seconds = perf_counter() - begin
    failed = [outcome.error for outcome in outcomes if not outcome.success]
    if failed or len(outcomes) != 1:
        raise RuntimeError(f"{len(outcomes)} runs through Dagster, expected 1, failed: {failed}")
    return {"seconds": seconds}


def without_checks(*days: date) -> dict[str, float]:
    """The same without the night's asset checks, which nothing but a benchmark would leave out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* is currently in beta")
        import dagster as dg

        from refresh_assets import definitions
        from refresh_assets.assets.refresh import GROUP

        definitions.portfolio_refresh_job = dg.define_asset_job(
            definitions.portfolio_refresh_job.name,
            selection=dg.AssetSelection.groups(GROUP).without_checks(),
            executor_def=dg.in_process_executor,
        )
        definitions.defs = definitions.build_defs()
    return dagster(*days)


MODES = {"memory": memory, "dagster": dagster, "without_checks": without_checks}


def _peak_mib() -> float:
    """The kernel's high-water mark of this process image: getrusage's would begin with that of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
        return next(int(words[1]) / 1024 for words in lines if words[:1] == ["VmHWM:"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    print(json.dumps(MODES[sys.argv[1]](*map(date.fromisoformat, sys.argv[2:]))))
