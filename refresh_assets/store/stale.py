"""Complete days that no longer agree with what they were computed from.

Here: each kind of input against what stands for the day, for as many of the latest days as a look may cost. Not here:
closes one by one (stale_prices.py), whether a day is complete (days.py), one day in full and what computing it again would
change (assets/restating.py), words (terminal_restatements.py).

Nothing is written: a day stays as it was signed until somebody asks for it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.sql import SQL, Identifier

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.core.book import Ledger, as_of
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.digests_over_days import digests_over_days
from refresh_assets.core.market import Factors, Prices
from refresh_assets.core.money import Bools
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.store import read, read_market
from refresh_assets.store.database import Database, Snapshot
from refresh_assets.store.provision import check_platform
from refresh_assets.store.read import day_number
from refresh_assets.store.stale_prices import PriceChange, changed_closes, price_changes
from refresh_assets.store.write import as_hex

PRICES, WINDOW, POSITIONS, VALUATIONS, BETAS = "prices", "window", "positions", "valuations", "betas"
"""Kinds of input. `window`: a close of an earlier day changed that the day's correlations and inline betas look back to."""


@dataclass(frozen=True)
class Budget:
    """What one look at the latest days may cost; about a second each on 2 cores.

    Attributes:
        marks: closes compared, about 2 million a second.
        positions: of the platform; a larger one's are not read for this at all.
        days: whose positions and valuations are hashed: a year, at some 6 ms each.
        betas: rows of symbol_factor_exposures read, about 0.3 million a second.
        closes: of the windows of the days whose betas are read; where they are more, none is read, and a window is judged
            by the closes of complete days in it.
    """

    marks: int = 1_500_000
    positions: int = 400_000
    days: int = 250
    betas: int = 200_000
    closes: int = 200_000


@dataclass(frozen=True)
class Stale:
    """What a look found.

    Attributes:
        days: complete days that no longer agree, ascending, with the kinds of input that differ.
        prices: the closes that changed, largest in USD first.
        complete: number of complete days.
        looked_at: kind -> number of the latest complete days that were compared.
        older_version: complete days computed by another version of the program: only their closes can be compared.
    """

    days: Mapping[date, tuple[str, ...]] = field(default_factory=dict)
    prices: Sequence[PriceChange] = ()
    complete: int = 0
    looked_at: Mapping[str, int] = field(default_factory=dict)
    older_version: int = 0


def stale_days(
    database: Database, calendar: TradingCalendar, complete: Sequence[date], budget: Budget | None = None
) -> Stale:
    """Compare the latest of some complete days, ascending, with today's inputs."""
    if not complete:
        return Stale()
    budget = budget or Budget()
    with database.connect() as connection:
        tables = check_platform(connection, database)
        stored = _stored_inputs(connection, complete)
        priced = complete[-_affordable(budget.marks, _marks_of(connection, complete[-1])) :]
        closes = changed_closes(connection, priced)
        changes = price_changes(connection, calendar, priced, closes)
        few = _at_most(connection, "positions", budget.positions)
    differing: dict[date, list[str]] = {}
    looked_at = dict.fromkeys((WINDOW, POSITIONS, VALUATIONS, BETAS), 0)
    if few and stored:
        differing, looked_at = _differing_inputs(database, calendar, stored, tables, budget)
    own = {read.day_of(number) for number in np.unique(closes.day)}
    # Days whose windows were not compared are told by the closes that changed in them.
    exact = set(list(stored)[len(stored) - looked_at[WINDOW] :])
    behind = {day for day in _looking_back(calendar, complete, closes.day) if day not in exact}
    behind |= {day for day in exact if PRICES in differing.get(day, ())}
    found = {}
    for day in sorted(own | behind | set(differing)):
        first = [PRICES] if day in own else [WINDOW] if day in behind else []
        found[day] = (*first, *(kind for kind in differing.get(day, ()) if kind != PRICES))
    return Stale(found, changes, len(complete), {PRICES: len(priced), **looked_at}, len(complete) - len(stored))


def _affordable(budget: int, a_day: int) -> int:
    return max(budget // max(a_day, 1), 1)


def _marks_of(connection: psycopg.Connection[Any], day: date) -> int:
    row = connection.execute("select count(*) from refresh_marks where calculation_date = %s", [day]).fetchone()
    return int(row[0]) if row else 0


def _at_most(connection: psycopg.Connection[Any], table: str, limit: int) -> bool:
    statement = SQL("select count(*) from (select from {} limit %s) as found")
    row = connection.execute(statement.format(Identifier(table)), [limit + 1]).fetchone()
    return bool(row and row[0] <= limit)


def _stored_inputs(connection: psycopg.Connection[Any], days: Sequence[date]) -> dict[date, dict[str, str]]:
    """Day -> digests by kind, of the days whose digests are of this version's making."""
    rows = connection.execute(
        "select calculation_date, inputs from refresh_days where table_name = 'portfolio_snapshots'"
        " and calculation_date between %s and %s and code_version = %s order by 1",
        [days[0], days[-1], CODE_VERSION],
    ).fetchall()
    wanted = set(days)
    return {day: inputs for day, inputs in rows if day in wanted}


def _looking_back(calendar: TradingCalendar, complete: Sequence[date], changed: Any) -> Iterator[date]:
    """Complete days after a changed close that have it in their window."""
    numbers = np.unique(changed)
    if not len(numbers):
        return
    for day in complete:
        # The first return of the window uses the close of the trading day before it.
        begin = day_number(calendar.previous(day - timedelta(days=WINDOW_DAYS)))
        if np.searchsorted(numbers, day_number(day)) > np.searchsorted(numbers, begin):
            yield day


def _differing_inputs(
    database: Database,
    calendar: TradingCalendar,
    stored: Mapping[date, Mapping[str, str]],
    tables: set[str],
    budget: Budget,
) -> tuple[dict[date, list[str]], dict[str, int]]:
    """Positions, valuations and betas of days that differ, and how many of the latest days were compared by kind."""
    days = list(stored)[-budget.days :]
    snapshot = database.snapshot()
    try:
        snapshot.set(previous=calendar.previous(days[0]), last=days[-1])
        factors, _ = read_market.read_factors(snapshot)
        symbols, public = read.read_symbols(snapshot, factors.proxies())
        everyone = (UUID(int=0), UUID(int=2**128 - 1))
        ledger, _ = read.read_ledger(snapshot, read.read_portfolios(snapshot), everyone, symbols, tables)
        names = np.array([digest.text_hash(symbol.encode()) for symbol in symbols], dtype=np.uint64)
        sweep = digests_over_days(ledger, *_numbers(calendar, days), partial(digest.book_digest, symbol_hash=names))
        differing = {day: _unlike(sums, stored[day]) for day, sums in zip(days, sweep, strict=True)}
        market = _read_market(snapshot, calendar, symbols, public, factors, days, budget)
        for day in market.days:
            differing[day] += _unlike(market.sums(snapshot, calendar, ledger, day), stored[day])
    finally:
        snapshot.close()
    looked_at = {POSITIONS: len(days), VALUATIONS: len(days), BETAS: len(market.days)}
    looked_at[WINDOW] = len(market.days) if market.closes is not None else 0
    return {day: kinds for day, kinds in differing.items() if kinds}, looked_at


def _unlike(sums: Mapping[str, digest.Sum], stored: Mapping[str, str]) -> list[str]:
    return [kind for kind, value in as_hex(sums).items() if value != stored.get(kind)]


def _numbers(calendar: TradingCalendar, days: Sequence[date]) -> tuple[list[int], list[int]]:
    return [day_number(day) for day in days], [day_number(calendar.previous(day)) for day in days]


@dataclass(frozen=True)
class _Market:
    """What is known of the platform's symbols on the latest days; `closes` is None where they are too many to be read."""

    days: list[date]
    symbols: list[str]
    factors: Factors
    fitted: Bools
    closes: Prices | None

    def sums(self, snapshot: Snapshot, calendar: TradingCalendar, ledger: Ledger, day: date) -> dict[str, digest.Sum]:
        """The day's digests of stored betas and of the closes that it may use, as the night makes them."""
        number, previous = day_number(day), day_number(calendar.previous(day))
        stored = read_market.read_betas(snapshot, self.symbols, self.factors, day)[0].beta
        if self.closes is None:
            betas = digest.beta_hashes(stored)
            closes = np.zeros_like(betas)
        else:
            longest = max((factor.window for factor in self.factors), default=0)
            closes, betas = digest.symbol_hashes(self.closes, stored, self.fitted, longest, number, previous)
        sums = digest.prices_digest(as_of(ledger, number, previous), closes, betas)
        return sums if self.closes is not None else {BETAS: sums[BETAS]}


def _read_market(
    snapshot: Snapshot,
    calendar: TradingCalendar,
    symbols: list[str],
    public: set[str],
    factors: Factors,
    days: list[date],
    budget: Budget,
) -> _Market:
    """The latest of the days that the budget has room for, with the closes of all their windows if it has."""
    latest = days[-_affordable(budget.betas, len(symbols) * len(factors)) :]
    longest = max((factor.window for factor in factors), default=0)
    window, begin = (calendar.previous(latest[0] - timedelta(days=back)) for back in (WINDOW_DAYS, longest))
    grid = calendar.days(min(window, begin), latest[-1])
    without = read_market.read_symbols_without_betas(snapshot, public, latest, factors)
    fitted = np.array([symbol in without for symbol in symbols], dtype=bool)
    closes = None
    if len(symbols) * len(grid) <= budget.closes:
        exact = calendar.previous(latest[0])
        closes = read_market.read_prices(snapshot, symbols, grid, exact_from=exact, window=window, long=without)
    return _Market(latest, symbols, factors, fitted, closes)
