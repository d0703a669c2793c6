"""Everything that a run reads, read once and shared by all its tables and days.

Here: how far back to read, chunks of portfolios, what is cached for how long. Not here: single queries (read.py,
read_trades.py, read_market.py), what is computed from them (assets/night.py)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from uuid import UUID

import numpy as np
import pyarrow as pa

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.book import Ledger, Portfolios
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.digest import Hashes, text_hash
from refresh_assets.core.market import Betas, Factors, Prices
from refresh_assets.core.money import Floats
from refresh_assets.core.omissions import Omission
from refresh_assets.core.stress import COVARIANCE_DAYS
from refresh_assets.store import read, read_market
from refresh_assets.store.by_chunk import NoRoom, SetAside
from refresh_assets.store.database import Database, Snapshot
from refresh_assets.store.dates import day_number
from refresh_assets.store.memory import give_back_large_blocks, share_one_heap
from refresh_assets.store.provision import check_ours, check_platform
from refresh_assets.store.read import Named
from refresh_assets.store.read_trades import Bounds, Trades, read_trades
from refresh_assets.store.spill import Spill

CHUNK_PORTFOLIOS = 4096
CACHED_CHUNKS = 8
"""Chunks kept in memory between tables; those of a larger platform are spilled to a file."""
CHUNKS_AT_ONCE = 4
"""Up to so many chunks in all are read by one query: each would else go through all positions."""
CHUNKS_AHEAD = 2
"""Chunks read and decoded while the one before them is computed."""
KEPT_DAYS = 32
"""Days of a range whose betas are kept between its tables (0.5 MB each at 5,000 symbols)."""
COVARIANCE_READ_DAYS = COVARIANCE_DAYS * 3 // 2
"""Trading days of factor returns that are looked through for 252 complete ones."""


class LedgerReader:
    """Chunks of portfolios, read on a connection and by threads of their own, a few ahead of the caller.

    Attributes:
        symbols: the run's; to be given before the first ledger is asked for."""

    def __init__(self, snapshot: Snapshot, tables: set[str], chunk_portfolios: int) -> None:
        self._snapshot, self._tables, self._size = snapshot, tables, chunk_portfolios
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="reading positions")
        self._decoding = ThreadPoolExecutor(CHUNKS_AHEAD, thread_name_prefix="decoding positions")
        self._ledgers: dict[int, Future[tuple[Ledger, list[Named]]]] = {}
        self._trades: Future[Trades] | None = None
        self._aside: SetAside | None = None
        self._was_tried = False
        self._given_up = threading.Event()
        self.symbols: Future[list[str]] = Future()
        self._platform = self._reading.submit(self._begin)

    @property
    def portfolios(self) -> Portfolios:
        """Every one, in the order of its id."""
        return self._platform.result()[0]

    @property
    def named(self) -> list[Named]:
        """Portfolios that stand there twice or never exist, positions whose portfolio_id is null."""
        return self._platform.result()[1]

    @cached_property
    def chunks(self) -> int:
        """One at least: where there is no portfolio at all, positions of nobody are met in it."""
        return max(-(-len(self.portfolios.id) // self._size), 1)

    def start(self) -> None:
        """Begin to read, while the caller reads something else."""
        self._ask(0)

    def ledger(self, chunk: int) -> tuple[Ledger, list[Named]]:
        """The chunk's ledger, and its positions of nobody; the chunks after it are read meanwhile."""
        self._ask(chunk)
        return self._ledgers.pop(chunk).result()

    def of(self, chunk: int, everyone: Portfolios) -> Portfolios:
        """The portfolios of a chunk."""
        some = slice(chunk * self._size, (chunk + 1) * self._size)
        return Portfolios(everyone.id[some], everyone.start[some], everyone.deleted[some])

    def close(self) -> None:
        self._given_up.set()
        for pool in (self._reading, self._decoding):
            self.symbols.cancel()
            pool.shutdown(cancel_futures=True)
        if self._aside is not None:
            self._aside.close()
        self._snapshot.close()

    def _begin(self) -> tuple[Portfolios, list[Named]]:
        named = [Named(one) for one in read.read_bad_portfolios(self._snapshot)] + read.read_ownerless(self._snapshot)
        return read.read_portfolios(self._snapshot), named

    def _ask(self, chunk: int) -> None:
        at_once = self.chunks <= CHUNKS_AT_ONCE
        ahead = self.chunks if at_once else CHUNKS_AHEAD
        for one in list(self._ledgers):
            if not chunk <= one < chunk + ahead:  # the caller began anew
                self._ledgers.pop(one).cancel()
        rows: Future[pa.Table] | None = None
        for one in range(chunk, min(chunk + ahead, self.chunks)):
            if one not in self._ledgers:
                if not at_once:
                    rows = self._reading.submit(self._rows_of, one)
                elif rows is None:
                    rows = self._reading.submit(read.read_positions, self._snapshot)
                self._ledgers[one] = self._decoding.submit(self._decoded, one, self._trades_of(one), rows, at_once)

    def _rows_of(self, chunk: int) -> pa.Table:
        """A chunk's rows of positions: put aside with all others, or read by themselves. For the reading thread."""
        found, aside = None, self._set_aside()
        if aside is not None:
            with suppress(NoRoom):
                found = aside.positions(chunk)
        return read.read_positions_between(self._snapshot, self._bounds(chunk, chunk + 1)) if found is None else found

    def _set_aside(self) -> SetAside | None:
        """Everybody's rows by chunk, read at the first call; None where the disk has no room for them."""
        if not self._was_tried:
            self._was_tried = True
            with suppress(NoRoom):
                firsts = self.portfolios.id[:: self._size]
                with_trades = self.chunks > CACHED_CHUNKS
                self._aside = SetAside(self._snapshot, firsts, self._tables, with_trades, self._given_up)
        return self._aside

    def _trades_of(self, chunk: int) -> Future[Trades]:
        whole = self.chunks <= CACHED_CHUNKS
        if not whole:
            return self._reading.submit(self._own_trades, chunk)
        if self._trades is None:
            self._trades = self._reading.submit(read_trades, self._snapshot, None, self._tables)
        return self._trades

    def _own_trades(self, chunk: int) -> Trades:
        found, aside = None, self._set_aside()
        if aside is not None:
            with suppress(NoRoom):
                found = aside.trades(chunk)
        return read_trades(self._snapshot, self._bounds(chunk, chunk + 1), self._tables) if found is None else found

    def _decoded(
        self, chunk: int, trades: Future[Trades], rows: Future[pa.Table], at_once: bool
    ) -> tuple[Ledger, list[Named]]:
        some, mine = self.of(chunk, self.portfolios), rows.result()
        if at_once and self.chunks > 1:
            mine = read.rows_between(mine, self._bounds(chunk, chunk + 1))
        return read.ledger_of(some, mine, trades.result(), self.symbols.result())

    def _bounds(self, first: int, after: int) -> Bounds:
        """The outer chunks reach to the ends of all ids, and each to the next: so positions of nobody are met as well."""
        ids = self.portfolios.id
        low = UUID(int=0) if first == 0 else UUID(bytes=ids[first * self._size].tobytes())
        if after == self.chunks:
            return low, UUID(int=2**128 - 1)
        return low, UUID(int=UUID(bytes=ids[after * self._size].tobytes()).int - 1)


@dataclass
class RunInputs:
    """The inputs of a run over consecutive or scattered trading days. Safe to use from several threads.

    Attributes:
        days: the run's days, ascending.
        symbols: every symbol concerned, sorted; a code is a place in it.
        prices: closes over all windows of all days.
        priced: those of the days that have a close of any symbol.
        factors: the active ones.
        without_betas: symbols that lack a stored beta on some day: their closes are read as far back as betas need.
        named: omissions of the platform as a whole (unusable factors, positions of nobody).
    """

    snapshot: Snapshot
    reader: LedgerReader
    days: list[date]
    previous: dict[date, date]
    factors: Factors
    symbols: list[str]
    without_betas: set[str]
    prices: Prices
    priced: set[date]
    portfolios: Portfolios
    named: list[Named]
    _ledgers: dict[int, Ledger] = field(default_factory=dict)
    _betas: dict[date, tuple[Betas, list[Omission]]] = field(default_factory=dict)
    _spilled: Spill[Ledger] = field(default_factory=Spill)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def chunks(self) -> int:
        return self.reader.chunks

    @cached_property
    def symbol_hashes(self) -> Hashes:
        """(S,) of the symbols' names."""
        return np.array([text_hash(symbol.encode()) for symbol in self.symbols], dtype=np.uint64)

    @property
    def is_kept(self) -> bool:
        """Whether every chunk stays in memory once it is read; those of a larger platform are spilled to a file."""
        return self.chunks <= CACHED_CHUNKS

    def ledger(self, chunk: int) -> Ledger:
        """The chunk's portfolios and positions."""
        with self._lock:
            if chunk in self._ledgers:
                return self._ledgers[chunk]
            ledger = self._spilled.take(chunk)
            if ledger is None:
                ledger, named = self.reader.ledger(chunk)
                known = set(self.named)
                self.named += [one for one in named if one not in known]
                if not self.is_kept:
                    self._spilled.keep(chunk, ledger)
            # A night for one portfolio alone knows nobody else.
            ledger = replace(ledger, portfolios=self.reader.of(chunk, self.portfolios))
            if self.is_kept:
                self._ledgers[chunk] = ledger
            return ledger

    def named_on(self, day: date) -> list[Omission]:
        """Those that concern a day, once every chunk was read."""
        number, previous = day_number(day), day_number(self.previous[day])
        return [one.omission for one in self.named if one.concerns(number, previous)]

    def ledgers(self) -> Iterator[Ledger]:
        """Every chunk in the order of portfolio ids."""
        for chunk in range(self.chunks):
            yield self.ledger(chunk)

    def stored_betas(self, day: date) -> tuple[Betas, list[Omission]]:
        """Betas that the symbol batch stored for the day; those of the latest days asked for are kept."""
        with self._lock:
            if day not in self._betas:
                while len(self._betas) >= KEPT_DAYS:
                    del self._betas[next(iter(self._betas))]
                self._betas[day] = read_market.read_betas(self.snapshot, self.symbols, self.factors, day)
            return self._betas[day]

    def close(self) -> None:
        self.reader.close()
        self.snapshot.close()
        self._spilled.close()


def read_inputs(
    database: Database, calendar: TradingCalendar, days: list[date], chunk_portfolios: int = CHUNK_PORTFOLIOS
) -> RunInputs:
    """Open a snapshot and read what all days of a run share.

    Raises SchemaError where a table or column is missing."""
    share_one_heap()
    days = sorted(days)
    with database.snapshot_later() as take:
        with database.connect() as connection:
            check_ours(connection, database)
            tables = check_platform(connection, database)
        snapshot = take()
    previous = {day: calendar.previous(day) for day in days}
    snapshot.set(previous=previous[days[0]], last=days[-1])
    reader = LedgerReader(snapshot.beside(), tables, chunk_portfolios)
    try:
        return _read(snapshot, reader, calendar, days, previous)
    except BaseException:
        reader.close()
        snapshot.close()
        raise


def _read(
    snapshot: Snapshot, reader: LedgerReader, calendar: TradingCalendar, days: list[date], previous: dict[date, date]
) -> RunInputs:
    reader.start()
    factors, unusable = read_market.read_factors(snapshot)
    symbols, public = read.read_symbols(snapshot, factors.proxies())
    reader.symbols.set_result(symbols)
    betas = {}
    if len(days) <= KEPT_DAYS:
        betas = {day: read_market.read_betas(snapshot, symbols, factors, day) for day in days}
        without = _without_betas(symbols, public, [found.beta for found, _ in betas.values()])
    else:
        without = read_market.read_symbols_without_betas(snapshot, public, days, factors)
    longest = max((factor.window for factor in factors), default=0)
    window = calendar.previous(_on_or_before(days[0], WINDOW_DAYS))
    begin = min(
        window,
        calendar.nth_before(days[0], COVARIANCE_READ_DAYS),
        calendar.previous(_on_or_before(days[0], longest)),
    )
    grid = calendar.days(begin, days[-1])
    prices = read_market.read_prices(snapshot, symbols, grid, previous[days[0]], window, without | factors.proxies())
    priced = read_market.read_days_with_closes(snapshot, days)
    named = [*map(Named, unusable), *reader.named]
    everyone = reader.portfolios
    inputs = RunInputs(
        snapshot, reader, days, previous, factors, symbols, without, prices, priced, everyone, named, _betas=betas
    )
    if not inputs.is_kept:
        give_back_large_blocks()
    return inputs


def _without_betas(symbols: list[str], public: set[str], betas: list[Floats]) -> set[str]:
    """Those of the public symbols that lack a stored beta to some factor on some day."""
    lacks = np.zeros(len(symbols), dtype=bool)
    for beta in betas:
        lacks |= np.isnan(beta).any(axis=1)
    return {symbols[code] for code in np.flatnonzero(lacks)} & public


def _on_or_before(day: date, back: int) -> date:
    return day - timedelta(days=back)


def symbol_codes(symbols: list[str], chosen: set[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Codes of the chosen symbols, ascending."""
    return np.array([code for code, symbol in enumerate(symbols) if symbol in chosen], dtype=np.int64)
