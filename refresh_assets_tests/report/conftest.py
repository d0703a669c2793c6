"""A night of three portfolios, and reports of it.

Here: one database with the night of DAY done, `written`, which writes a report and reads it back. Not here: rows of a
platform (worlds.py), the reader (reading.py)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from refresh_assets.report.file import write_report
from refresh_assets.store.database import Database
from refresh_assets_tests.explain.asking import LATER, settings_of
from refresh_assets_tests.report.reading import Page, read
from refresh_assets_tests.worlds import BEFORE, DAY, run, three_portfolios

Written = Callable[..., Page]


@pytest.fixture
def done(database: Database) -> Database:
    """Three portfolios, the night of DAY and the one before it done."""
    three_portfolios(database)
    run(database, BEFORE, DAY)
    return database


@pytest.fixture
def written(done: Database, tmp_path: Path) -> Written:
    """Write the report of a portfolio, or of everybody, and read it back."""

    def write(portfolio: object = None, day: date = DAY, now: datetime = LATER) -> Page:
        words = None if portfolio is None else str(portfolio)
        return read(write_report(settings_of(done), words, day, tmp_path, now))

    return write
