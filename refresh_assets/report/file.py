"""From a call to a file: which day, whose, where to; the whole file or none.

Here: checking the call, the name of the file, putting it into place. Not here: figures (figures.py), pages (night.py,
book.py)."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path

from refresh_assets.calendar import TradingCalendar
from refresh_assets.errors import UsageError
from refresh_assets.report.book import book_page
from refresh_assets.report.figures import read_book, read_night
from refresh_assets.report.night import night_page
from refresh_assets.settings import Settings
from refresh_assets.store.database import Database

MEND = "name a folder that exists and can be written with --out"


def write_report(settings: Settings, portfolio: str | None, day: date, folder: Path, now: datetime) -> Path:
    """Write the report of a day, of everybody or of one portfolio (uuid or exact name); its absolute path.

    The same stored figures give the same bytes.

    Raises:
        DayRefused: the day is no trading day, before the start, or later than the effective trading date.
        UsageError: the portfolio is unknown, or has no figures on the day; the day has none; the folder is not there, or
            the file cannot be written.
        SchemaError: a table is missing.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is {'no folder' if folder.exists() else 'not there'}", MEND)
    calendar = TradingCalendar(settings.extra_closures)
    calendar.check(day)
    effective = calendar.check_between(day, day, settings.start_date, now)
    database = Database.of(settings)
    if portfolio is None:
        name, content = f"report-{day}.html", night_page(read_night(database, calendar, day, effective))
    else:
        book = read_book(database, calendar, portfolio, day, effective)
        name, content = f"report-{day}-{book.portfolio.id}.html", book_page(book)
    return _put(folder.resolve() / name, content)


def _put(path: Path, content: str) -> Path:
    """Replace a file by another in one step: who looks sees the old one or the new one, whole."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            beside.write_text(content, encoding="utf-8", newline="\n")
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror or error})", MEND) from None
    return path
