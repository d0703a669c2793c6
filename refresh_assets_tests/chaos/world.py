"""The world that is killed over and over: days that stand, inputs that changed since, and the night that is due.

Here: a small platform before and after the change, and the night over it, asset by asset as Dagster runs it. Not here: the
process that the night runs in (worker.py), what must stand afterwards (states.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date

from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import event, execute, insert, portfolio, position, uid

ADDED = date(2026, 3, 27)
"""Stands complete, and lacks a portfolio that was created late: the night adds it, and touches nobody else."""
RESTATED = (date(2026, 3, 30), date(2026, 3, 31))
"""Stand complete, from prices and positions that were corrected since."""
NEW = (date(2026, 4, 1), date(2026, 4, 2))
"""Not there yet; their month has no partitions."""
DAYS = (ADDED, *RESTATED, *NEW)
CHUNK_PORTFOLIOS = 20  # several chunks a table: a kill also falls between two of them
CROWD = range(100, 140)

Progress = Callable[[str], None]


def build(database: Database) -> None:
    """The platform, the nights that stand, and the inputs that changed after them."""
    worlds.three_portfolios(database, last=NEW[-1])
    insert(database, "portfolios", *(portfolio(number) for number in CROWD))
    lots = [
        position(number * 10 + lot, number, symbol, (number + lot) * (-1 if (number + lot) % 4 == 0 else 1))
        for number in CROWD
        for lot, symbol in enumerate(("AAA", "BBB", "CCC", "SPY", "QUAL"))
    ]
    insert(database, "positions", *lots)
    play(database, DAYS[:3], "old", missing_only=False)
    change_inputs(database)


def change_inputs(database: Database) -> None:
    """A corrected close, a late sale, a deletion, and a portfolio that was created late; all but it dated after ADDED."""
    execute(
        database,
        "update market_data_cache set close_price = close_price + 2 where symbol = 'AAA' and date = %s",
        RESTATED[0],
    )
    execute(database, "update positions set quantity = 60 where id = %s", uid("position", 11))
    insert(database, "position_realized_events", event(1, 11, RESTATED[1], 40))
    execute(database, "update portfolios set deleted_at = %s where id = %s", RESTATED[1], uid("portfolio", 3))
    insert(database, "portfolios", portfolio(4))
    insert(database, "positions", position(41, 4, "AAA", 3), position(42, 4, "CCC", 4), position(43, 4, "BBB", None))


def night_due(database: Database, run_id: str, progress: Progress = lambda _: None) -> None:
    """What the killed process does, and what the next one does again."""
    play(database, [ADDED], run_id, missing_only=True, progress=progress)
    play(database, [*RESTATED, *NEW], run_id, missing_only=False, progress=progress)


def play(
    database: Database, days: Sequence[date], run_id: str, missing_only: bool, progress: Progress = lambda _: None
) -> None:
    """A night: each asset over all days; after a lost connection it tries again, as the assets do."""
    with closing(
        worlds.night(database, *days, run_id=run_id, missing_only=missing_only, chunk_portfolios=CHUNK_PORTFOLIOS)
    ) as night:
        worlds.play(night, lambda asset, day: progress(f"{asset} of {day}"))
