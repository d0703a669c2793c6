"""Promises about trading days: which they are, when they close, which one counts at an instant.

Here: known days with their reasons, near misses, forty years against lists that three other calendars agree on. Not
here: trading days as Dagster partitions (assets/)."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.calendar import NEW_YORK, TradingCalendar, _exchange, _from_library
from refresh_assets.errors import DayRefused

CALENDAR = TradingCalendar()
FORTY_YEARS = (date(1990, 1, 1), date(2030, 12, 31))
PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "calendar"
DISPUTED_EARLY_CLOSE = "1999-12-31"  # the other calendars do not agree whether it closed at 13:00

CLOSED = [
    ("1994-04-27", "Funeral of former President Richard M. Nixon"),
    ("2001-09-11", "Closed following Attacks on the World Trade Center"),
    ("2001-09-14", "Closed following Attacks on the World Trade Center"),
    ("2004-06-11", "National Day of Mourning for former President Ronald Reagan"),
    ("2007-01-02", "National Day of Mourning for former President Gerald R. Ford"),
    ("2012-10-29", "Hurricane Sandy"),
    ("2012-10-30", "Hurricane Sandy"),
    ("2018-12-05", "National Day of Mourning for former President George H. W. Bush"),
    ("2025-01-09", "National Day of Mourning for former President Jimmy Carter"),
    ("2020-04-10", "Good Friday"),
    ("2022-06-20", "Juneteenth National Independence Day (observed)"),  # the 19th was a Sunday
    ("2023-01-02", "New Year's Day (observed)"),  # the 1st was a Sunday
    ("2026-07-03", "Independence Day (observed)"),  # the 4th is a Saturday
    ("2026-11-26", "Thanksgiving Day"),
    ("2026-12-25", "Christmas Day"),
    ("2026-11-28", "Saturday"),
    ("2026-11-29", "Sunday"),
    ("2022-01-01", "Saturday"),
]
OPEN = [
    ("2001-09-10", "the day before the attacks"),
    ("2001-09-17", "first day after them"),
    ("2012-10-31", "first day after Hurricane Sandy"),
    ("2018-12-04", "the day before the mourning of President G. H. W. Bush"),
    ("2021-12-31", "New Year's Day 2022 was a Saturday: the exchange does not close the Friday before"),
    ("2021-06-18", "Juneteenth: the exchange closes for it from 2022 on"),
    ("2024-11-29", "half day: still a trading day"),
    ("2024-12-24", "half day: still a trading day"),
    ("2024-10-14", "Columbus Day: only the bond market closes"),
    ("2024-11-11", "Veterans Day: only the bond market closes"),
    ("2020-03-23", "floor closed, trading went on"),
    ("2026-04-06", "Easter Monday"),
]
EARLY = [
    ("2026-11-27", 13, 0),
    ("2026-12-24", 13, 0),
    ("2019-07-03", 13, 0),
    ("1992-11-27", 14, 0),  # until 1992 half days closed at 14:00
    ("1994-02-11", 14, 30),  # snowstorm
    ("1997-10-27", 15, 30),  # circuit breaker
    ("2026-11-25", 16, 0),  # the day before Thanksgiving is a whole day
    ("2026-12-31", 16, 0),
    ("2020-07-02", 16, 0),  # near miss: the 3rd was the holiday
]


@pytest.mark.parametrize(("day", "reason"), CLOSED)
def test_a_closed_day_says_why(day: str, reason: str) -> None:
    assert CALENDAR.closed_reason(date.fromisoformat(day)) == reason
    assert not CALENDAR.is_trading_day(date.fromisoformat(day))


@pytest.mark.parametrize(("day", "why_one_might_doubt"), OPEN)
def test_a_near_miss_is_a_trading_day(day: str, why_one_might_doubt: str) -> None:
    assert CALENDAR.is_trading_day(date.fromisoformat(day)), why_one_might_doubt
    assert CALENDAR.closed_reason(date.fromisoformat(day)) is None


@pytest.mark.parametrize(("day", "hour", "minute"), EARLY)
def test_a_day_closes_at_its_own_hour_in_new_york(day: str, hour: int, minute: int) -> None:
    close = CALENDAR.close_time(date.fromisoformat(day))
    assert (close.hour, close.minute, close.tzinfo) == (hour, minute, NEW_YORK)


def test_forty_years_of_closures_are_the_published_ones() -> None:
    """The list on which exchange_calendars, pandas_market_calendars and holidays agree; its hash stands for it here."""
    closures = [str(day) for day in CALENDAR.closures(*FORTY_YEARS)]
    assert len(closures) == 375
    assert _hash(closures) == "f52cb56c2b7af6f4"
    if PUBLISHED.is_dir():
        assert closures == [row["date"] for row in _rows("nyse_closures_1990_2030.csv")]


def test_forty_years_of_early_closes_are_the_published_ones() -> None:
    """The list that pandas_market_calendars and exchange_calendars give, unplanned early closes included."""
    early = [
        f"{day} {close:%H:%M}"
        for day in CALENDAR.days(*FORTY_YEARS)
        if (close := CALENDAR.close_time(day)).hour < 16 and str(day) != DISPUTED_EARLY_CLOSE
    ]
    assert len(early) == 91
    assert _hash(early) == "99621227072cbc2c"
    if PUBLISHED.is_dir():
        rows = _rows("nyse_early_closes_1990_2030.csv")
        assert early == [f"{r['date']} {r['best_close_et']}" for r in rows if r["date"] != DISPUTED_EARLY_CLOSE]


def test_days_and_closures_together_are_the_weekdays() -> None:
    first, last = date(2025, 1, 1), date(2025, 12, 31)
    days, closures = CALENDAR.days(first, last), CALENDAR.closures(first, last)
    weekdays = [first + timedelta(n) for n in range(365) if (first + timedelta(n)).weekday() < 5]
    assert sorted(days + closures) == weekdays
    assert (len(days), len(closures)) == (250, 11)


def test_a_range_includes_both_ends_and_a_reversed_one_is_empty() -> None:
    assert CALENDAR.days(date(2026, 11, 25), date(2026, 11, 27)) == [date(2026, 11, 25), date(2026, 11, 27)]
    assert CALENDAR.days(date(2026, 11, 27), date(2026, 11, 25)) == []
    assert CALENDAR.closures(date(2026, 11, 26), date(2026, 11, 26)) == [date(2026, 11, 26)]


def test_an_extra_closure_is_no_trading_day_and_moves_its_neighbours() -> None:
    calendar = TradingCalendar([date(2026, 11, 24), date(2026, 11, 28)])
    assert calendar.closed_reason(date(2026, 11, 24)) == "extra closure"
    assert calendar.closed_reason(date(2026, 11, 28)) == "Saturday"
    assert calendar.previous(date(2026, 11, 25)) == date(2026, 11, 23)
    assert calendar.closures(date(2026, 11, 23), date(2026, 11, 29)) == [date(2026, 11, 24), date(2026, 11, 26)]
    assert calendar.effective_date(datetime(2026, 11, 24, 23, 0, tzinfo=NEW_YORK)) == date(2026, 11, 23)
    assert CALENDAR.is_trading_day(date(2026, 11, 24)), "one calendar's closure must not leak into another"
    assert repr(calendar) == "TradingCalendar(extra_closures=['2026-11-24', '2026-11-28'])"


def test_neighbours_step_over_weekends_and_holidays() -> None:
    assert CALENDAR.previous(date(2026, 11, 27)) == date(2026, 11, 25)
    assert CALENDAR.previous(date(2001, 9, 17)) == date(2001, 9, 10)
    assert CALENDAR.next_on_or_after(date(2026, 11, 26)) == date(2026, 11, 27)
    assert CALENDAR.next_on_or_after(date(2026, 11, 27)) == date(2026, 11, 27)
    assert CALENDAR.nth_before(date(2026, 11, 28), 0) == date(2026, 11, 28)
    assert CALENDAR.nth_before(date(2026, 11, 28), 1) == date(2026, 11, 27)
    assert CALENDAR.nth_before(date(2026, 11, 27), 2) == date(2026, 11, 24)
    with pytest.raises(ValueError, match=r"^n is -1, expected 0 or more trading days before 2026-11-27$"):
        CALENDAR.nth_before(date(2026, 11, 27), -1)


@pytest.mark.parametrize(
    ("instant", "effective"),
    [
        ("2026-11-24 15:59:59", "2026-11-23"),  # a second before the close
        ("2026-11-24 16:00:00", "2026-11-24"),
        ("2026-11-24 00:00:00", "2026-11-23"),
        ("2026-11-26 21:30:00", "2026-11-25"),  # Thanksgiving
        ("2026-11-27 12:59:59", "2026-11-25"),  # half day
        ("2026-11-27 13:00:00", "2026-11-27"),
        ("2026-11-29 12:00:00", "2026-11-27"),  # Sunday
        ("2026-11-30 09:00:00", "2026-11-27"),  # Monday before the close
        ("2026-03-08 02:30:00", "2026-03-06"),  # in the hour that does not exist
        ("2026-11-01 01:30:00", "2026-10-30"),  # in the hour that comes twice
    ],
)
def test_the_effective_date_is_the_latest_day_whose_close_is_past(instant: str, effective: str) -> None:
    now = datetime.fromisoformat(instant).replace(tzinfo=NEW_YORK)
    assert CALENDAR.effective_date(now) == date.fromisoformat(effective)


@pytest.mark.parametrize(
    ("utc", "effective"),
    [
        ("2026-03-06 20:59", "2026-03-05"),  # winter: the close is at 21:00 UTC
        ("2026-03-06 21:00", "2026-03-06"),
        ("2026-03-09 19:59", "2026-03-06"),  # summer from the 8th: at 20:00 UTC
        ("2026-03-09 20:00", "2026-03-09"),
        ("2026-10-30 20:00", "2026-10-30"),
        ("2026-11-02 20:59", "2026-10-30"),  # winter from the 1st
        ("2026-11-02 21:00", "2026-11-02"),
        ("2026-11-25 03:00", "2026-11-24"),  # already the 25th in Greenwich, still the 24th in New York
    ],
)
def test_the_close_follows_daylight_saving(utc: str, effective: str) -> None:
    now = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert CALENDAR.effective_date(now) == date.fromisoformat(effective)


@given(st.datetimes(datetime(1991, 1, 1), datetime(2029, 12, 31)), st.integers(-14, 14))
def test_the_effective_date_is_the_same_wherever_the_clock_hangs(naive: datetime, hours: int) -> None:
    now = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    effective = CALENDAR.effective_date(now)
    following = CALENDAR.next_on_or_after(effective + timedelta(1))
    assert CALENDAR.close_time(effective) <= now < CALENDAR.close_time(following)
    assert CALENDAR.effective_date(now.astimezone(UTC)) == effective


def test_a_clock_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^2026-11-24T17:00:00 has no time zone: pass an aware datetime$"):
        CALENDAR.effective_date(datetime(2026, 11, 24, 17, 0))


def test_a_datetime_where_a_date_belongs_is_refused() -> None:
    """It equals no date, so that every holiday would pass as open."""
    with pytest.raises(TypeError, match=r"^2026-12-25T00:00:00 is a datetime, expected a date: convert it to New York"):
        CALENDAR.is_trading_day(datetime(2026, 12, 25))


@pytest.mark.parametrize(
    ("day", "text"),
    [
        (
            "2026-11-26",
            "2026-11-26 is not a trading day (Thanksgiving Day). "
            "Mend: take 2026-11-25 or 2026-11-27, the nearest trading days.",
        ),
        (
            "2026-11-29",
            "2026-11-29 is not a trading day (Sunday). Mend: take 2026-11-27 or 2026-11-30, the nearest trading days.",
        ),
    ],
)
def test_a_refused_day_names_the_reason_and_its_neighbours(day: str, text: str) -> None:
    with pytest.raises(DayRefused) as refused:
        CALENDAR.check(date.fromisoformat(day))
    assert str(refused.value) == text
    with pytest.raises(DayRefused):
        CALENDAR.close_time(date.fromisoformat(day))
    CALENDAR.check(date(2026, 11, 27))


def test_importing_the_calendar_does_not_import_the_library_of_holidays() -> None:
    code = "import sys, refresh_assets.calendar; sys.exit('holidays' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def test_the_exchange_alone_is_loaded_and_is_that_of_the_library() -> None:
    """From its own file, without every country's holidays; the days are those that the library's front door gives."""
    loads = "import sys, datetime; from refresh_assets.calendar import TradingCalendar;"
    loads += (
        "TradingCalendar().is_trading_day(datetime.date(2026, 3, 13)); sys.exit('holidays.countries' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", loads], cwd=Path(__file__).parents[1], check=False).returncode == 0

    for category in ("public", "half_day"):
        for year in range(1970, 2041):
            known = holidays.financial_holidays("XNYS", years=year, categories=category, language="en_US")
            assert _from_library(year, category) == dict(known.items()), (category, year)


def test_where_the_library_keeps_the_exchange_elsewhere_its_front_door_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another version of it may have other files: then the start is slower, and the days are the same."""
    monkeypatch.setattr(holidays, "__file__", str(tmp_path / "__init__.py"))
    _exchange.cache_clear()
    try:
        assert _from_library(2026, "public")[date(2026, 11, 26)] == "Thanksgiving Day"
    finally:
        _exchange.cache_clear()


def _rows(name: str) -> list[dict[str, str]]:
    with (PUBLISHED / name).open(newline="") as file:
        return list(csv.DictReader(file))


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_years_that_another_process_works_out_are_the_same() -> None:
    """This one loads the library for others alone."""
    code = """
import sys
from datetime import date
from refresh_assets.calendar import TradingCalendar, ask_ahead
ask_ahead(2019, 2021)
calendar = TradingCalendar()
print(calendar.closures(date(2019, 1, 1), date(2021, 12, 31)), calendar.close_time(date(2021, 11, 26)))
print("holidays" in sys.modules)
print(calendar.close_time(date(2018, 11, 23)), calendar.closed_reason(date(2018, 12, 5)), "holidays" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()

    closures, early = CALENDAR.closures(date(2019, 1, 1), date(2021, 12, 31)), CALENDAR.close_time(date(2021, 11, 26))
    before = CALENDAR.close_time(date(2018, 11, 23)), CALENDAR.closed_reason(date(2018, 12, 5))
    assert told == [f"{closures} {early}", "False", f"{before[0]} {before[1]} True"]
    assert early.hour == before[0].hour == 13
