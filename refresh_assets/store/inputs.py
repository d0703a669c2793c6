"""Everything that a run reads, read once and shared by all its tables and days.

Here: how far back to read, chunks of portfolios, what is cached for how long. Not here: single queries (read.py,
read_market.py), what is computed from them (assets/night.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID

import numpy as np

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.book import Ledger, Portfolios
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.market import Betas, Factors, Prices
from refresh_assets.core.omissions import Omission
from refresh_assets.core.stress import COVARIANCE_DAYS
from refresh_assets.store import read, read_market
from refresh_assets.store.database import Database, Snapshot
from refresh_assets.store.provision import check_ours, check_platform

CHUNK_PORTFOLIOS = 4096
CACHED_CHUNKS = 8
"""Chunks kept in memory between tables; a larger platform is read again for each."""
COVARIANCE_READ_DAYS = COVARIANCE_DAYS * 3 // 2
"""Trading days of factor returns that are looked through for 252 complete ones."""


@dataclass
class RunInputs:
    """The inputs of a run over consecutive or scattered trading days.

    Attributes:
        days: the run's days, ascending.
        symbols: every symbol concerned, sorted; a code is a place in it.
        prices: closes over all windows of all days.
        factors: the active ones.
        without_betas: symbols that lack a stored beta on some day: their closes are read as far back as betas need.
        named: omissions of the platform as a whole (unusable factors, positions of nobody).
    """

    snapshot: Snapshot
    days: list[date]
    previous: dict[date, date]
    tables: set[str]
    factors: Factors
    symbols: list[str]
    without_betas: set[str]
    prices: Prices
    portfolios: Portfolios
    named: list[Omission]
    chunk_portfolios: int = CHUNK_PORTFOLIOS
    _ledgers: dict[int, Ledger] = field(default_factory=dict)
    _betas: dict[date, tuple[Betas, list[Omission]]] = field(default_factory=dict)

    @property
    def chunks(self) -> int:
        return -(-len(self.portfolios.id) // self.chunk_portfolios)

    def ledger(self, chunk: int) -> Ledger:
        """The chunk's portfolios and positions."""
        if chunk in self._ledgers:
            return self._ledgers[chunk]
        begin = chunk * self.chunk_portfolios
        some = slice(begin, begin + self.chunk_portfolios)
        ids = self.portfolios.id[some]
        # The outer chunks reach to the ends of all ids, and each to the next: so positions of nobody are met as well.
        low = UUID(int=0) if chunk == 0 else UUID(bytes=ids[0].tobytes())
        last = chunk == self.chunks - 1
        high = UUID(int=2**128 - 1) if last else UUID(int=UUID(bytes=self._first_of(chunk + 1)).int - 1)
        portfolios = Portfolios(ids, self.portfolios.start[some], self.portfolios.deleted[some])
        ledger, omissions = read.read_ledger(self.snapshot, portfolios, (low, high), self.symbols, self.tables)
        known = set(self.named)
        self.named += [one for one in omissions if one not in known]
        if self.chunks <= CACHED_CHUNKS:
            self._ledgers[chunk] = ledger
        return ledger

    def ledgers(self) -> Iterator[Ledger]:
        """Every chunk in the order of portfolio ids."""
        for chunk in range(self.chunks):
            yield self.ledger(chunk)

    def stored_betas(self, day: date) -> tuple[Betas, list[Omission]]:
        """Betas that the symbol batch stored for the day; the latest day's are kept."""
        if day not in self._betas:
            self._betas.clear()
            self._betas[day] = read_market.read_betas(self.snapshot, self.symbols, self.factors, day)
        return self._betas[day]

    def close(self) -> None:
        self.snapshot.close()

    def _first_of(self, chunk: int) -> bytes:
        return bytes(self.portfolios.id[chunk * self.chunk_portfolios].tobytes())


def read_inputs(
    database: Database, calendar: TradingCalendar, days: list[date], chunk_portfolios: int = CHUNK_PORTFOLIOS
) -> RunInputs:
    """Open a snapshot and read what all days of a run share.

    Raises SchemaError where a table or column is missing."""
    with database.connect() as connection:
        check_ours(connection, database)
        tables = check_platform(connection, database)
    days = sorted(days)
    snapshot = database.snapshot()
    previous = {day: calendar.previous(day) for day in days}
    snapshot.set(previous=previous[days[0]], last=days[-1])
    factors, named = read_market.read_factors(snapshot)
    symbols, public = read.read_symbols(snapshot, factors.proxies())
    without = read_market.read_symbols_without_betas(snapshot, public, days, factors)
    longest = max((factor.window for factor in factors), default=0)
    window = calendar.previous(_on_or_before(days[0], WINDOW_DAYS))
    begin = min(
        window,
        calendar.nth_before(days[0], COVARIANCE_READ_DAYS),
        calendar.previous(_on_or_before(days[0], longest)),
    )
    grid = calendar.days(begin, days[-1])
    prices = read_market.read_prices(
        snapshot, symbols, grid, exact_from=previous[days[0]], window=window, long=without | factors.proxies()
    )
    portfolios = read.read_portfolios(snapshot)
    named = named + read.read_ownerless(snapshot)
    return RunInputs(
        snapshot, days, previous, tables, factors, symbols, without, prices, portfolios, named, chunk_portfolios
    )


def _on_or_before(day: date, back: int) -> date:
    return day - timedelta(days=back)


def symbol_codes(symbols: list[str], chosen: set[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Codes of the chosen symbols, ascending."""
    return np.array([code for code, symbol in enumerate(symbols) if symbol in chosen], dtype=np.int64)
