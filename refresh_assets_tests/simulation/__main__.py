"""`make simulate`: many seeds, a line each.

Here: the arguments, a server, a line a seed. Not here: a seed (clean.py)."""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import psycopg

from refresh_assets.store.database import Database
from refresh_assets.store.embedded import embedded_postgres
from refresh_assets.store.provision import init
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.simulation.clean import play_seed
from refresh_assets_tests.simulation.play import Difference
from refresh_assets_tests.simulation.processes import ProcessDied


def main() -> int:
    """Exit code 1 where a seed shows a difference; its line says which night, and what."""
    parser = argparse.ArgumentParser(
        prog="python -m refresh_assets_tests.simulation", description="Simulated quarters."
    )
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--nights", type=int, default=63, help="trading days of each")
    parser.add_argument("--side-by-side", type=int, default=3, help="seeds at once")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="refresh-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with embedded_postgres(Path(folder) / "pg", keep=False) as server:
            with psycopg.connect(server, autocommit=True) as connection:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(f"alter system set {setting} = off".encode())
                connection.execute("select pg_reload_conf()")
            with new_database(server) as (template, url):
                init(Database(url))
                seeds = range(chosen.first, chosen.first + chosen.seeds)
                with ThreadPoolExecutor(chosen.side_by_side) as pool:
                    equal = list(pool.map(partial(_play, server, template, chosen.nights), seeds))
    return 0 if all(equal) else 1


def _play(server: str, template: str, nights: int, seed: int) -> bool:
    """Print the seed's line; whether there is no difference."""
    try:
        print(play_seed(server, template, seed, nights), flush=True)
    except (Difference, ProcessDied) as difference:
        print(f"seed {seed}, {nights} nights: {difference}", flush=True)
        return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
