"""The world: the platform's tables as lists of rows, the calendar, and what was in force on a day.

Here: `World`, trading days, which portfolios exist, which positions are held with what quantity, what was sold, closes
and returns (contract sections 1, 2, 3). Not here: what any of it is worth in the book (snapshots.py and its siblings),
or where rows come from (dev_world.py)."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import pandas as pd

Row = dict[str, Any]
Closes = dict[tuple[str, dt.date], Decimal]

NEW_YORK = ZoneInfo("America/New_York")
CLASSES = ("PUBLIC", "OPTIONS", "PRIVATE")
OPTION_MULTIPLIER = Decimal(100)
CONSTANT_WITHIN = 1e-12  # equal ratios of closes differ by float noise of about 1e-16
ONE_DAY = dt.timedelta(days=1)
OCC_SYMBOL = re.compile(r"^(?P<root>[A-Z0-9.]{1,6}) *(?P<expiry>\d{6})(?P<kind>[CP])(?P<strike>\d{8})$")

_HOLIDAYS = holidays.financial_holidays("XNYS")


@dataclass
class World:
    """The platform's tables, one list of rows each; a row's keys are the column names.

    Ids are uuid.UUID, numerics Decimal, dates datetime.date, timestamps aware datetimes. `extra_closures` are the days
    of the setting REFRESH_EXTRA_CLOSURES."""

    portfolios: list[Row] = field(default_factory=list)
    positions: list[Row] = field(default_factory=list)
    private_valuations: list[Row] = field(default_factory=list)
    position_realized_events: list[Row] = field(default_factory=list)
    market_data_cache: list[Row] = field(default_factory=list)
    factor_definitions: list[Row] = field(default_factory=list)
    symbol_factor_exposures: list[Row] = field(default_factory=list)
    symbol_onboarding: list[Row] = field(default_factory=list)
    batch_run_tracking: list[Row] = field(default_factory=list)
    extra_closures: frozenset[dt.date] = frozenset()


class Sale(NamedTuple):
    """A quantity (signed as the position) that left the book at a price; `price` None: not recorded."""

    quantity: Decimal
    price: Decimal | None


# --- 1. the calendar


def is_trading_day(day: dt.date, extra_closures: frozenset[dt.date] = frozenset()) -> bool:
    """A weekday on which the NYSE opens; half days are trading days."""
    return day.weekday() < 5 and day not in _HOLIDAYS and day not in extra_closures


def previous_trading_day(day: dt.date, extra_closures: frozenset[dt.date] = frozenset()) -> dt.date:
    """The last trading day strictly before `day`."""
    day -= ONE_DAY
    while not is_trading_day(day, extra_closures):
        day -= ONE_DAY
    return day


def trading_days(first: dt.date, last: dt.date, extra_closures: frozenset[dt.date] = frozenset()) -> list[dt.date]:
    """All trading days in [first, last], ascending."""
    every_day = (first + dt.timedelta(days=n) for n in range((last - first).days + 1))
    return [day for day in every_day if is_trading_day(day, extra_closures)]


def new_york_date(instant: dt.datetime) -> dt.date:
    """The date in New York at an aware instant."""
    return instant.astimezone(NEW_YORK).date()


# --- 3. what was in force on a day


def is_number(value: Decimal | None) -> bool:
    """True for a finite number; None, NaN and the infinities are none."""
    return value is not None and value.is_finite()


def deleted_as_of(row: Row, day: dt.date) -> bool:
    """A deletion counts from its date in New York, that date included."""
    return row["deleted_at"] is not None and new_york_date(row["deleted_at"]) <= day


def exists_on(portfolio: Row, day: dt.date) -> bool:
    """Not deleted as of the day, and begun: inception_date, or else the New York date of created_at."""
    begun = portfolio["inception_date"] or new_york_date(portfolio["created_at"])
    return begun <= day and not deleted_as_of(portfolio, day)


def has_bad_dates(position: Row) -> bool:
    """Sold before it was bought: never held."""
    entry, exit_ = position["entry_date"], position["exit_date"]
    return entry is not None and exit_ is not None and exit_ < entry


def is_bad_event(event: Row, position: Row) -> bool:
    """No date, no finite quantity, the other sign than what is left of the position, or before it was entered."""
    closed, quantity = event["quantity_closed"], position["quantity"]
    if event["trade_date"] is None or not is_number(closed):
        return True
    if position["entry_date"] is not None and event["trade_date"] < position["entry_date"]:
        return True
    return is_number(quantity) and quantity * closed < 0


def events_of(world: World, position: Row) -> list[Row]:
    """The usable realized events of a position."""
    own = [event for event in world.position_realized_events if event["position_id"] == position["id"]]
    return [event for event in own if not is_bad_event(event, position)]


def quantity_as_of(world: World, position: Row, day: dt.date) -> Decimal | None:
    """quantity + what was closed after the day; None where the quantity is no number."""
    quantity: Decimal | None = position["quantity"]
    if quantity is None or not is_number(quantity):
        return None
    later = [event["quantity_closed"] for event in events_of(world, position) if event["trade_date"] > day]
    return quantity + sum(later, Decimal(0))


def held_on(world: World, position: Row, day: dt.date) -> bool:
    """Entered, not exited, not deleted, quantity as of the day not 0 (one that is no number counts as held)."""
    if has_bad_dates(position) or deleted_as_of(position, day):
        return False
    if position["entry_date"] is not None and day < position["entry_date"]:
        return False
    if position["exit_date"] is not None and position["exit_date"] <= day:
        return False
    return quantity_as_of(world, position, day) != 0


def entered_on(world: World, position: Row, day: dt.date) -> bool:
    """Entered after the trading day before and up to the day, so a Saturday's purchase counts on Monday."""
    previous = previous_trading_day(day, world.extra_closures)
    return position["entry_date"] is not None and previous < position["entry_date"] <= day


def sales_on(world: World, position: Row, day: dt.date) -> list[Sale]:
    """What was sold after the trading day before and up to the day: events, then what was left on exit_date."""
    if has_bad_dates(position) or deleted_as_of(position, day):
        return []
    previous = previous_trading_day(day, world.extra_closures)
    exit_date = position["exit_date"]
    sales = []
    for event in events_of(world, position):
        after_exit = exit_date is not None and event["trade_date"] > exit_date
        if previous < event["trade_date"] <= day and not after_exit:
            sales.append(Sale(event["quantity_closed"], event["price"]))
    if exit_date is not None and previous < exit_date <= day:
        left = quantity_as_of(world, position, exit_date)
        if left is not None:
            sales.append(Sale(left, position["exit_price"]))
    return [sale for sale in sales if sale.quantity != 0]


def positions_of(world: World, portfolio: Row) -> list[Row]:
    """All positions of a portfolio, of whatever time."""
    return [position for position in world.positions if position["portfolio_id"] == portfolio["id"]]


def portfolios_with_a_row(world: World, day: dt.date) -> list[Row]:
    """Portfolios that exist on the day and hold a position on it, or sold their last on it; none without any price."""
    if not is_trading_day(day, world.extra_closures):
        raise ValueError(f"{day} is no trading day")
    if not any(row["date"] == day for row in world.market_data_cache):
        return []
    found = []
    for portfolio in world.portfolios:
        positions = positions_of(world, portfolio)
        holds = any(held_on(world, position, day) for position in positions)
        sold = any(sales_on(world, position, day) for position in positions)
        if exists_on(portfolio, day) and (holds or sold):
            found.append(portfolio)
    return found


# --- closes, returns, PUBLIC values


def closes_of(world: World) -> Closes:
    """Close of each (symbol, date); one that is no number above 0 counts as missing."""
    rows = world.market_data_cache
    good = [row for row in rows if is_number(row["close_price"]) and row["close_price"] > 0]
    return {(row["symbol"], row["date"]): row["close_price"] for row in good}


def multiplier(position: Row) -> Decimal:
    """Shares a contract stands for: 100 for OPTIONS, else 1."""
    return OPTION_MULTIPLIER if position["investment_class"] == "OPTIONS" else Decimal(1)


def option_expiry(symbol: str) -> dt.date | None:
    """Expiry that an OCC symbol states, root padded or not; None where the symbol is of another form."""
    match = OCC_SYMBOL.match(symbol.strip())
    if match is None:
        return None
    try:
        return dt.datetime.strptime(match["expiry"], "%y%m%d").date()
    except ValueError:
        return None


def public_values(world: World, closes: Closes, portfolio: Row, day: dt.date) -> list[tuple[Row, Decimal]]:
    """PUBLIC positions held and priced on the day, each with its value q*P(D) in USD, lot by lot."""
    found = []
    for position in positions_of(world, portfolio):
        quantity = quantity_as_of(world, position, day)
        close = closes.get((position["symbol"], day))
        is_public = position["investment_class"] == "PUBLIC" and held_on(world, position, day)
        if is_public and quantity is not None and close is not None:
            found.append((position, quantity * close))
    return found


def close_frame(world: World, symbols: Iterable[str], first: dt.date, last: dt.date, closes: Closes) -> pd.DataFrame:
    """Closes, one row a trading day in [first, last], one column a symbol, NaN where missing: never filled."""
    days = trading_days(first, last, world.extra_closures)
    columns = {symbol: [float(closes.get((symbol, day), "nan")) for day in days] for symbol in sorted(set(symbols))}
    return pd.DataFrame(columns, index=days, dtype=float)


def window_returns(
    world: World, symbols: Iterable[str], day: dt.date, window_days: int, closes: Closes, *, log: bool
) -> pd.DataFrame:
    """Returns dated in [day - window_days, day]; the first may use the close of the trading day before the window."""
    first = day - dt.timedelta(days=window_days)
    frame = close_frame(world, symbols, previous_trading_day(first, world.extra_closures), day, closes)
    returns = np.log(frame).diff() if log else frame / frame.shift(1) - 1
    return returns.loc[[date for date in returns.index if first <= date <= day]]


def is_constant(series: Any) -> bool:
    """True where a series of returns does not move, but for the last digits of a float."""
    return len(series) == 0 or float(np.ptp(np.asarray(series))) < CONSTANT_WITHIN


def active_factors(world: World) -> list[Row]:
    """Active factor definitions in display order."""
    active = [row for row in world.factor_definitions if row["is_active"]]
    return sorted(active, key=lambda row: (row["display_order"], row["name"]))


def factor_symbols(factors: Iterable[Mapping[str, Any]]) -> set[str]:
    """Every proxy and short proxy."""
    return {row[key] for row in factors for key in ("proxy", "short_proxy") if row[key]}


def factor_returns(returns: pd.DataFrame, factors: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return of each factor that has a proxy: the proxy's, less the short proxy's if there is one."""
    columns = {}
    for row in factors:
        if row["proxy"]:
            columns[row["name"]] = returns[row["proxy"]] - (returns[row["short_proxy"]] if row["short_proxy"] else 0.0)
    return pd.DataFrame(columns, index=returns.index, dtype=float)
