"""What a person waits for who types a command: --help, status, explain and report, over the demo's nights.

Here: whole processes, in turns with one that does nothing but load the libraries that `status` needs. Not here: how long a
night takes (night.py), a look of the gate (gate_look.py).

Run `python -m benchmarks.start_up --help`."""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks import machine, night
from refresh_assets.demo.nights import world
from refresh_assets.settings import load

COMMAND = str(Path(sys.executable).with_name("refresh-assets"))
LIBRARIES = (
    "from refresh_assets.store import arrow\n"  # numpy and Arrow, without pandas, which would come along where it is installed
    "import psycopg, adbc_driver_postgresql.dbapi, rich.console, rich.table, attrs"
)
BESIDE = "the libraries alone"
STATUS = "status: 26 days compared, 1,700 told"
TYPED: dict[str, Sequence[str]] = {
    BESIDE: [sys.executable, "-c", LIBRARIES],
    "--help": [COMMAND, "--help"],
    STATUS: [COMMAND, "status"],
    "status of a day": [COMMAND, "status", "--date", "2020-03-16"],
    "explain": [COMMAND, "explain", "Kestrel Tactical", "2020-03-16"],
    "report": [COMMAND, "report", "--date", "2020-03-16"],
}
TARGET = {"--help": 0.5, STATUS: 0.5}  # seconds


def main() -> None:
    """Play the demo, then time each command, in turns; print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start_up", description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    # As it is installed: modules are compiled once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="refresh-benchmark-", ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        demo = Path(folder) / "demo"
        subprocess.run([COMMAND, "demo", "--folder", str(demo)], check=True, stdout=subprocess.DEVNULL)
        with world(demo):
            for words in TYPED.values():
                _seconds(words)
            turns = [{name: _seconds(words) for name, words in TYPED.items()} for _ in range(options.turns)]
            with psycopg.connect(load().psycopg_url()) as connection:
                facts = machine.facts(connection)
    console = Console(highlight=False)
    console.print(night.machine_table(facts))
    console.print(_table(turns))


def _seconds(words: Sequence[str]) -> float:
    begin = perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - begin


def _table(turns: Sequence[dict[str, float]]) -> Table:
    table = Table(title=f"whole processes, {len(turns)} turns; seconds", title_justify="left")
    for heading in ("typed", "best", "middle", f"{BESIDE}, in the same turn", "target"):
        table.add_column(heading, justify="left" if heading == "typed" else "right")
    for name in TYPED:
        took = [turn[name] for turn in turns]
        ratio = statistics.median(turn[name] / turn[BESIDE] for turn in turns)
        target = f"{TARGET[name]}" if name in TARGET else ""
        table.add_row(name, f"{min(took):.2f}", f"{statistics.median(took):.2f}", f"{ratio:.2f} x", target)
    return table


if __name__ == "__main__":
    main()
