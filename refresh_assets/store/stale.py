"""Complete days that no longer agree with what they were computed from.

Here: each kind of input against what stands for the day, for as many of the latest days as a look may cost. Not here:
closes one by one (stale_prices.py), whose snapshots would change (stale_snapshots.py), whether a day is complete (days.py),
one day in full and what computing it again would change (assets/restating.py), words (terminal_restatements.py).

Nothing is written: a day stays as it was signed until somebody asks for it again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.sql import SQL, Identifier

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.core.book import Book, Ledger, as_of
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.digests_over_days import digests_over_days
from refresh_assets.core.market import Betas, Factors, Prices
from refresh_assets.core.money import Bools
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.store import read, read_market
from refresh_assets.store.database import Database, Snapshot
from refresh_assets.store.dates import day_number, day_of
from refresh_assets.store.provision import check_platform
from refresh_assets.store.stale_prices import PriceChange, changed_closes, price_changes

if TYPE_CHECKING:
    from refresh_assets.store.stale_snapshots import SnapshotChange

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
        snapshots: days that are computed again, to tell whose snapshots would change: those of different causes.
        valued: positions valued for that, about 0.4 million a second.
    """

    marks: int = 1_500_000
    positions: int = 400_000
    days: int = 250
    betas: int = 200_000
    closes: int = 200_000
    snapshots: int = 12
    valued: int = 400_000


@dataclass(frozen=True)
class Stale:
    """What a look found.

    Attributes:
        days: complete days that no longer agree, ascending, with the kinds of input that differ.
        prices: the closes that changed, largest in USD first.
        snapshots: whose snapshots would change on days whose positions or valuations differ, latest days first.
        unmeasured: days whose positions or valuations differ, of which that was not worked out.
        complete: number of complete days.
        looked_at: kind -> number of the latest complete days that were compared.
        older_version: complete days computed by another version of the program: only their closes can be compared.
        scenarios: complete days whose stress scenarios are not those of today, ascending. Where the look was at many days, they
            are told in one line, and are no `days`: the scenarios of all of them changed at once.
    """

    days: Mapping[date, tuple[str, ...]] = field(default_factory=dict)
    prices: Sequence[PriceChange] = ()
    snapshots: Sequence[SnapshotChange] = ()
    unmeasured: int = 0
    complete: int = 0
    looked_at: Mapping[str, int] = field(default_factory=dict)
    older_version: int = 0
    scenarios: Sequence[date] = ()


def stale_days(
    database: Database,
    calendar: TradingCalendar,
    complete: Sequence[date],
    budget: Budget | None = None,
    snapshot: Callable[[], Snapshot] | None = None,
    scenarios: str | None = None,
) -> Stale:
    """Compare the latest of some complete days, ascending, with today's inputs.

    Args:
        scenarios: digest of today's stress scenarios; None: they are not compared.
        snapshot: makes one of the database, if not the database itself."""
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
    inputs = _Inputs()
    if few and stored:
        inputs = _differing_inputs(snapshot or database.snapshot, calendar, stored, tables, budget)
    differing = inputs.kinds
    own = {day_of(number) for number in np.unique(closes.day)}
    # Days whose windows were not compared are told by the closes that changed in them.
    exact = set(list(stored)[len(stored) - inputs.looked_at[WINDOW] :])
    behind = {day for day in _looking_back(calendar, complete, closes.day) if day not in exact}
    behind |= {day for day in exact if PRICES in differing.get(day, ())}
    found = {}
    for day in sorted(own | behind | set(differing)):
        first = [PRICES] if day in own else [WINDOW] if day in behind else []
        found[day] = (*first, *(kind for kind in differing.get(day, ()) if kind != PRICES))
    return Stale(
        days=found,
        prices=changes,
        snapshots=inputs.snapshots,
        unmeasured=inputs.unmeasured,
        complete=len(complete),
        looked_at={PRICES: len(priced), **inputs.looked_at},
        older_version=len(complete) - len(stored),
        scenarios=[
            day for day, kinds in stored.items() if scenarios and kinds.get("scenarios", scenarios) != scenarios
        ],
    )


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


@dataclass(frozen=True)
class _Inputs:
    """Kinds of input besides own closes that differ, by day; the other fields as in Stale."""

    kinds: Mapping[date, tuple[str, ...]] = field(default_factory=dict)
    looked_at: Mapping[str, int] = field(
        default_factory=lambda: dict.fromkeys((WINDOW, POSITIONS, VALUATIONS, BETAS), 0)
    )
    snapshots: Sequence[SnapshotChange] = ()
    unmeasured: int = 0


def _differing_inputs(
    make: Callable[[], Snapshot],
    calendar: TradingCalendar,
    stored: Mapping[date, Mapping[str, str]],
    tables: set[str],
    budget: Budget,
) -> _Inputs:
    """Positions, valuations and betas of the latest days against those that the days were computed from."""
    days = list(stored)[-budget.days :]
    with (
        closing(make()) as snapshot,
        closing(snapshot.beside()) as beside,
        ThreadPoolExecutor(1) as reading,
    ):
        for one in (snapshot, beside):
            one.set(previous=calendar.previous(days[0]), last=days[-1])
        factors, _ = read_market.read_factors(snapshot)
        symbols, public = read.read_symbols(snapshot, factors.proxies())
        asked = reading.submit(_read_market, beside, calendar, symbols, public, factors, days, budget)
        everyone = (UUID(int=0), UUID(int=2**128 - 1))
        ledger, _ = read.read_ledger(snapshot, read.read_portfolios(snapshot), everyone, symbols, tables)
        names = np.array([digest.text_hash(symbol.encode()) for symbol in symbols], dtype=np.uint64)
        market = asked.result()
        kinds, causes = dict[date, tuple[str, ...]](), dict[date, Hashable]()
        for day, sums in _digests(calendar, ledger, names, market, days):
            if differ := _unlike(sums, stored[day]):
                kinds[day] = differ
            if {POSITIONS, VALUATIONS}.intersection(differ):
                causes[day] = _difference(sums, stored[day])
        changes, unmeasured = (
            _snapshot_changes(snapshot, calendar, ledger, symbols, causes, budget) if causes else ([], 0)
        )
    looked_at = {POSITIONS: len(days), VALUATIONS: len(days), BETAS: len(market.days)}
    looked_at[WINDOW] = len(market.days) if market.closes is not None else 0
    return _Inputs(kinds, looked_at, changes, unmeasured)


def _snapshot_changes(
    snapshot: Snapshot,
    calendar: TradingCalendar,
    ledger: Ledger,
    symbols: list[str],
    causes: Mapping[date, Hashable],
    budget: Budget,
) -> tuple[Sequence[SnapshotChange], int]:
    """Whose snapshots would change by each cause, as far as the budget goes, and the number of days beyond it."""
    from refresh_assets.store.stale_snapshots import days_by_cause, made_again, snapshot_change  # most looks need none

    groups = days_by_cause(causes)
    measured = groups[: min(budget.snapshots, _affordable(budget.valued, len(ledger.positions.id)))]
    changes = [
        snapshot_change(snapshot, some, [made_again(snapshot, calendar, ledger, symbols, some[-1])])
        for some in measured
    ]
    return changes, sum(map(len, groups[len(measured) :]))


def _digests(
    calendar: TradingCalendar, ledger: Ledger, names: digest.Hashes, market: _Market, days: list[date]
) -> Iterator[tuple[date, dict[str, digest.Sum]]]:
    """The digests of each day: of positions and valuations of all of them, of closes and betas of those that `market` has."""
    own = partial(digest.book_digest, symbol_hash=names)
    numbers, previous = [day_number(day) for day in days], [day_number(calendar.previous(day)) for day in days]
    dates = dict(zip(days, zip(numbers, previous, strict=True), strict=True))
    if market.days == days:  # each day's Book is made all the same
        for day in days:
            book = as_of(ledger, *dates[day])
            yield day, {**own(book), **market.sums(book)}
        return
    for day, sums in zip(days, digests_over_days(ledger, numbers, previous, own), strict=True):
        yield day, {**sums, **market.sums(as_of(ledger, *dates[day]))} if day in market.betas else sums


def _difference(sums: Mapping[str, digest.Sum], stored: Mapping[str, str]) -> Hashable:
    """What a day's positions and valuations are off by: the same on two days if the same rows differ in the same way."""
    return tuple(
        digest.added(sums[kind], digest.negated(int(stored.get(kind, "0"), 16))) for kind in (POSITIONS, VALUATIONS)
    )


def _unlike(sums: Mapping[str, digest.Sum], stored: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(kind for kind, value in digest.as_hex(sums).items() if value != stored.get(kind))


@dataclass(frozen=True)
class _Market:
    """What is known of the platform's symbols on the latest days; `closes` is None where they are too many to be read."""

    days: list[date]
    betas: Mapping[date, Betas]
    longest: int
    fitted: Bools
    closes: Prices | None

    def sums(self, book: Book) -> dict[str, digest.Sum]:
        """A day's digests of stored betas and of the closes that it may use, as the night makes them."""
        stored = self.betas[day_of(book.day)].beta
        if self.closes is None:
            betas = digest.beta_hashes(stored)
            closes = np.zeros_like(betas)
        else:
            closes, betas = digest.symbol_hashes(
                self.closes, stored, self.fitted, self.longest, book.day, book.previous
            )
        sums = digest.prices_digest(book, closes, betas)
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
    betas = read_market.read_betas_of_days(snapshot, symbols, factors, latest)
    without, closes = set[str](), None
    if len(symbols) * len(grid) <= budget.closes:
        without = read_market.read_symbols_without_betas(snapshot, public, latest, factors)
        exact = calendar.previous(latest[0])
        closes = read_market.read_prices(snapshot, symbols, grid, exact_from=exact, window=window, long=without)
    fitted = np.array([symbol in without for symbol in symbols], dtype=bool)
    return _Market(latest, betas, longest, fitted, closes)
