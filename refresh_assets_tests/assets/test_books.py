"""What a range keeps of its books from one table to the next, and that the figures are the same without it.

Here: how often books and exposures are made, table by table over some days. Not here: what a book holds (core/test_book.py),
a computation that raises (store/test_isolation.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import date
from typing import Any

import pytest

from refresh_assets.assets import books
from refresh_assets.assets.inline_betas import write_betas
from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import CALENDAR, DAY, execute, table_rows

DAYS = [CALENDAR.nth_before(DAY, back) for back in (3, 2, 1)] + [DAY]
CHUNKS = 3


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios."""
    worlds.three_portfolios(database)
    return database


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a book and a chunk's exposures were made."""
    found: Counter[str] = Counter()

    def counted(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def making(*given: object) -> object:
            found[name] += 1
            return make(*given)

        return making

    for name in ("as_of", "exposures"):
        monkeypatch.setattr(books, name, counted(name, getattr(books, name)))
    return found


def table_by_table(database: Database) -> dict[tuple[str, date], list[str]]:
    """Every table over all days before the next, as one run takes them, a portfolio a chunk; the rows."""
    with closing(worlds.night(database, *DAYS, chunk_portfolios=1)) as night:
        steps = list(worlds.WRITERS.values())
        for write in (*steps[:2], write_betas, *steps[2:]):
            for day in DAYS:
                write(night, day)
    return {(table, day): table_rows(database, table, day) for table in worlds.WRITERS for day in DAYS}


def test_a_range_makes_a_book_three_times_and_its_exposures_once(world: Database, made: Counter[str]) -> None:
    """For snapshots, correlations and exposures; betas and stress tests need none."""
    table_by_table(world)
    units = CHUNKS * len(DAYS)
    assert made["exposures"] == units
    assert made["as_of"] <= 3 * units


@pytest.mark.parametrize("kept", ["KEPT_EXPOSURES", "KEPT_OUTLINES"])
def test_the_rows_are_the_same_where_nothing_is_kept(
    world: Database, made: Counter[str], monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """A run of too many days computes twice what another keeps."""
    whole = table_by_table(world)
    before = made.copy()
    execute(world, f"truncate {', '.join(worlds.WRITERS)}, refresh_days, refresh_exceptions")
    monkeypatch.setattr(books, kept, 1)
    made.clear()
    assert table_by_table(world) == whole
    assert made["as_of"] > before["as_of"]
    assert (made["exposures"] > before["exposures"]) == (kept == "KEPT_EXPOSURES")


def test_one_day_makes_each_book_once(world: Database, made: Counter[str]) -> None:
    """All its tables take the same."""
    worlds.run(world, chunk_portfolios=1)
    assert made == {"as_of": CHUNKS, "exposures": CHUNKS}
