"""Trading days of the New York Stock Exchange and the effective trading date.

Here: which days are trading days and why another is not, when a day closes, which day counts at an instant; the clock
is an argument. Not here: which days are due or ready (store/days.py), trading days as Dagster partitions
(assets/partitions.py), where extra closures are configured (settings.py)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from functools import cache, partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from refresh_assets.beside import beside
from refresh_assets.errors import DayRefused

NEW_YORK = ZoneInfo("America/New_York")
REGULAR_CLOSE = time(16, 0)
HALF_DAY_CLOSE = time(13, 0)

_CLOSED, _CLOSES_EARLY = "public", "half_day"  # the library's words
_ONE_DAY = timedelta(days=1)
_SATURDAY = 5
_WEEKEND = {5: "Saturday", 6: "Sunday"}

# Early closes that nobody planned; `holidays` holds only the planned ones and the snowstorm of 1994.
# Source: NYSE special closings, as in pandas_market_calendars.
_UNPLANNED_EARLY_CLOSES: Mapping[date, time] = MappingProxyType(
    {
        date(1996, 1, 8): time(14, 0),  # blizzard
        date(1997, 10, 27): time(15, 30),  # circuit breaker
        date(2005, 6, 1): time(15, 56),  # failure of the exchange's systems
    }
)


class TradingCalendar:
    """Trading days of the NYSE: weekdays on which it opens, less the closures that no library knows.

    Half days are trading days. Days are plain dates in New York; instants are aware datetimes.

    Args:
        extra_closures: days on which the exchange stays closed besides its holidays (mourning, storms).

    Source: spec section 1; `holidays` financial calendar XNYS.
    """

    def __init__(self, extra_closures: Iterable[date] = ()) -> None:
        self.extra_closures = frozenset(extra_closures)

    def __repr__(self) -> str:
        return f"TradingCalendar(extra_closures={[str(day) for day in sorted(self.extra_closures)]})"

    def closed_reason(self, day: date) -> str | None:
        """Why the exchange is closed on `day`, in words ("Saturday", "Christmas Day"); None on a trading day.

        Raises:
            TypeError: `day` is a datetime: its day depends on a time zone, which only the caller knows.
        """
        if isinstance(day, datetime):
            raise TypeError(
                f"{day.isoformat()} is a datetime, expected a date: convert it to New York, then take .date()"
            )
        if day.weekday() >= _SATURDAY:
            return _WEEKEND[day.weekday()]
        holiday = _closures_of(day.year).get(day)
        if holiday is not None:
            return holiday
        return "extra closure" if day in self.extra_closures else None

    def is_trading_day(self, day: date) -> bool:
        """Whether the NYSE opens on `day`, for a whole or a half day."""
        return self.closed_reason(day) is None

    def days(self, first: date, last: date) -> list[date]:
        """Trading days from `first` to `last`, both included, oldest first; empty where `first > last`."""
        if first > last:
            return []
        every = [day for year in range(first.year, last.year + 1) for day in _open_days_of(year)]
        chosen = every[bisect_left(every, first) : bisect_right(every, last)]
        return [day for day in chosen if day not in self.extra_closures] if self.extra_closures else chosen

    def closures(self, first: date, last: date) -> list[date]:
        """Weekdays from `first` to `last`, both included, on which the NYSE is closed, oldest first."""
        return [day for day in _every_day(first, last) if day.weekday() < _SATURDAY and not self.is_trading_day(day)]

    def previous(self, day: date) -> date:
        """The latest trading day before `day`, which itself need not be one."""
        day -= _ONE_DAY
        while not self.is_trading_day(day):
            day -= _ONE_DAY
        return day

    def next_on_or_after(self, day: date) -> date:
        """`day` if it is a trading day, else the first trading day after it."""
        while not self.is_trading_day(day):
            day += _ONE_DAY
        return day

    def nth_before(self, day: date, n: int) -> date:
        """The trading day `n` trading days before `day`: `previous(day)` for 1, `day` itself, whatever it is, for 0.

        Raises:
            ValueError: n is negative.
        """
        if n < 0:
            raise ValueError(f"n is {n}, expected 0 or more trading days before {day}")
        for _ in range(n):
            day = self.previous(day)
        return day

    def close_time(self, day: date) -> datetime:
        """When trading ends on `day`: 16:00 New York, 13:00 on a half day (14:00 until 1992), as an aware datetime.

        Raises:
            DayRefused: `day` is not a trading day.
        """
        self.check(day)
        return datetime.combine(day, _early_closes_of(day.year).get(day, REGULAR_CLOSE), tzinfo=NEW_YORK)

    def effective_date(self, now: datetime) -> date:
        """The latest trading day whose close is past at `now`; at the very second of the close it is past.

        Raises:
            ValueError: `now` has no time zone.
        """
        if now.utcoffset() is None:
            raise ValueError(f"{now.isoformat()} has no time zone: pass an aware datetime")
        today = now.astimezone(NEW_YORK).date()
        if self.is_trading_day(today) and self.close_time(today) <= now:
            return today
        return self.previous(today)

    def check(self, day: date) -> None:
        """Nothing, if `day` is a trading day.

        Raises:
            DayRefused: it is not; names the reason and the trading days on either side.
        """
        reason = self.closed_reason(day)
        if reason is not None:
            raise DayRefused(
                what=f"{day} is not a trading day ({reason})",
                mend=f"take {self.previous(day)} or {self.next_on_or_after(day)}, the nearest trading days",
            )

    def check_between(self, first: date, last: date, start: date, now: datetime) -> date:
        """The effective trading date at an instant, if nothing from `first` to `last` lies outside what can be computed.

        Args:
            start: the first partition, REFRESH_START_DATE.

        Raises:
            DayRefused: `first` is before `start`, or `last` later than the effective trading date.
        """
        if first < start:
            raise DayRefused(
                f"{first} is before the first partition, {start}", "set REFRESH_START_DATE to an earlier day"
            )
        effective = self.effective_date(now)
        if last > effective:
            raise DayRefused(
                f"{last} is later than the effective trading date {effective}", f"ask for {effective} or an earlier day"
            )
        return effective


def ask_ahead(first: int, last: int) -> None:
    """Have another process load the library and say when the exchange is closed in some years: that takes some 50 ms,
    which this one has for something else until it asks for a day. Once: other years are worked out as they are asked for."""
    if not _AHEAD:
        _AHEAD.append(beside(partial(_closures_and_early_closes, first, last)))


_AHEAD: list[Callable[[], Mapping[tuple[int, str], dict[date, str]]]] = []


def _closures_and_early_closes(first: int, last: int) -> dict[tuple[int, str], dict[date, str]]:
    """Early closes of the last year alone: nobody asks when a day of the past closed."""
    asked = [*((year, _CLOSED) for year in range(first, last + 1)), (last, _CLOSES_EARLY)]
    return {(year, category): _worked_out(year, category) for year, category in asked}


def _every_day(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=offset) for offset in range((last - first).days + 1))


# Whole years, built aside and cached: the `holidays` object fills itself on first look and marks a year as known before
# it is, so that a second thread (the daemon's sensors are threads) would see an open exchange on a holiday.
@cache
def _closures_of(year: int) -> Mapping[date, str]:
    """Closed weekdays of a year, with the reason of each."""
    return MappingProxyType({day: name for day, name in _from_library(year, _CLOSED).items() if day.year == year})


@cache
def _open_days_of(year: int) -> tuple[date, ...]:
    """Days of a year on which the exchange opens, ascending: extra closures aside."""
    closures = _closures_of(year)
    every = _every_day(date(year, 1, 1), date(year, 12, 31))
    return tuple(day for day in every if day.weekday() < _SATURDAY and day not in closures)


@cache
def _early_closes_of(year: int) -> Mapping[date, time]:
    """Half days of a year, planned or not, with the time in New York at which each closes."""
    planned = {day: _stated_close(name) for day, name in _from_library(year, _CLOSES_EARLY).items()}
    unplanned = {day: close for day, close in _UNPLANNED_EARLY_CLOSES.items() if day.year == year}
    return MappingProxyType(planned | unplanned)


def _from_library(year: int, category: str) -> dict[date, str]:
    told = _AHEAD[0]().get((year, category)) if _AHEAD else None
    return _worked_out(year, category) if told is None else told


def _worked_out(year: int, category: str) -> dict[date, str]:
    return dict(_exchange()(years=year, categories=category, language="en_US").items())


@cache
def _exchange() -> Callable[..., Mapping[date, str]]:
    """The library's class of XNYS, from its own file: by its package every exchange and country comes along, 0.1 s of each
    start; so only where the file is not there."""
    import holidays  # only where a day is asked

    spec = spec_from_file_location(
        "holidays_of_xnys", Path(holidays.__file__).parent / "financial/ny_stock_exchange.py"
    )
    if spec is None or spec.loader is None:
        return partial(holidays.financial_holidays, "XNYS")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found: Callable[..., Mapping[date, str]] = module.NewYorkStockExchange
    except (OSError, AttributeError):
        return partial(holidays.financial_holidays, "XNYS")
    return found


def _stated_close(name: str) -> time:
    """The time that a half day's name states, "Christmas Eve (markets close at 2:00pm)"; 13:00 where it states none."""
    stated = re.search(r"(\d{1,2}):(\d{2}) ?pm", name)
    return time(int(stated[1]) % 12 + 12, int(stated[2])) if stated else HALF_DAY_CLOSE
