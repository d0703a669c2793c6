"""What a run keeps of its books from one table to the next, and that the figures are the same without it.

Here: how often books and exposures are made, over some days. Not here: what a book holds (core/test_book.py),
a computation that raises (store/test_isolation.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import date
from typing import Any

import pytest

from refresh_assets.assets import books
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


def day_by_day(database: Database) -> dict[tuple[str, date], list[str]]:
    """A run over the days, a portfolio a chunk; the rows."""
    with closing(worlds.night(database, *DAYS, chunk_portfolios=1)) as night:
        worlds.play(night)
    return {(table, day): table_rows(database, table, day) for table in worlds.WRITERS for day in DAYS}


def test_a_range_makes_each_book_and_its_exposures_once(world: Database, made: Counter[str]) -> None:
    """All tables of a day take the same, though the next day is begun before they have ended."""
    day_by_day(world)
    assert made == dict.fromkeys(("as_of", "exposures"), CHUNKS * len(DAYS))


@pytest.mark.parametrize("kept", ["KEPT_EXPOSURES", "KEPT_OUTLINES"])
def test_the_rows_are_the_same_where_nothing_is_kept(
    world: Database, made: Counter[str], monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """A platform of too many chunks computes twice what another keeps."""
    whole = day_by_day(world)
    before = made.copy()
    execute(world, f"truncate {', '.join(worlds.WRITERS)}, refresh_days, refresh_exceptions")
    monkeypatch.setattr(books, kept, 1)
    made.clear()
    assert day_by_day(world) == whole
    assert (made["exposures"] > before["exposures"]) == (kept == "KEPT_EXPOSURES")


def test_one_day_makes_each_book_once(world: Database, made: Counter[str]) -> None:
    """All its tables take the same."""
    worlds.run(world, chunk_portfolios=1)
    assert made == {"as_of": CHUNKS, "exposures": CHUNKS}
