"""Trading days as partitions.

Here: the partitions definition, the days of a run, the refusal of a day that is not there yet. Not here: which days are
trading days (calendar.py), which are due (store/days.py).

On a weekend or holiday the last partition key that Dagster offers is the next trading day (dagster#33551), and the keys
reach one day ahead of the close: so nothing here asks Dagster for the latest day, and `trading_days` refuses a future one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

import dagster as dg

from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.errors import DayRefused
from refresh_assets.settings import Settings

SATURDAY = 5
WEEKENDS = "0 0 * * 0,6"
YEARS_AHEAD = 2
"""Holidays this far ahead are left out of the keys; the definitions are loaded anew far more often."""


def trading_day_partitions(settings: Settings, now: datetime) -> dg.DailyPartitionsDefinition:
    """One partition a trading day from REFRESH_START_DATE on, in New York."""
    calendar = TradingCalendar(settings.extra_closures)
    first = settings.start_date
    last = date(now.year + YEARS_AHEAD, 12, 31)
    number = (last - first).days + 1
    weekdays = [day for day in (first + timedelta(days=n) for n in range(number)) if day.weekday() < SATURDAY]
    holidays = [day for day in weekdays if not calendar.is_trading_day(day)]
    return dg.DailyPartitionsDefinition(
        start_date=first.isoformat(),
        timezone=str(NEW_YORK),
        end_offset=1,
        # Dagster writes them all into every run, and twice for every check of it: of weekends as dates, 100 kB each time.
        exclusions=[WEEKENDS, *(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK) for day in holidays)],
    )


def trading_days(keys: Iterable[str], calendar: TradingCalendar, now: datetime) -> list[date]:
    """Partition keys as days, oldest first.

    Raises DayRefused for a day that is no trading day, or later than the effective trading date."""
    days = sorted(date.fromisoformat(key) for key in keys)
    effective = calendar.effective_date(now)
    for day in days:
        calendar.check(day)
        if day > effective:
            close = calendar.close_time(day)
            raise DayRefused(
                f"{day} is later than the effective trading date {effective}",
                f"run it after its close, {close:%Y-%m-%d %H:%M} New York",
            )
    return days
