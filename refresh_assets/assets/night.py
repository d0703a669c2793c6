"""The night: what the assets of one run share, and the way from inputs to a written day.

Here: books and valuations of a day, betas with the inline ones, the isolation of a portfolio that fails, digests. Not
here: formulas (core/), SQL (store/), Dagster (the asset files beside this one): a night also runs without it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import pyarrow as pa

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.core.betas import FittedBetas, fit_betas
from refresh_assets.core.book import MISSING, NEVER, PUBLIC, Book, Ledger, Uuids, as_of
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.market import Betas, simple_returns
from refresh_assets.core.money import Bools, Floats
from refresh_assets.core.omissions import Omission, portfolio_omission
from refresh_assets.core.scenarios import ScenarioSet
from refresh_assets.core.stress import expected_moves, factor_covariance
from refresh_assets.core.valuation import Valuation, value_positions
from refresh_assets.errors import FAILURES, ExceptionCode, NoPrices
from refresh_assets.store.database import Database, is_lost_connection
from refresh_assets.store.inputs import CHUNK_PORTFOLIOS, COVARIANCE_READ_DAYS, RunInputs, read_inputs, symbol_codes
from refresh_assets.store.read import day_number
from refresh_assets.store.write import Inputs, Written, as_hex, skip_day, written_day

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """What an analytic gives for a chunk: rows, the portfolios that have one, and what was left out."""

    rows: pa.RecordBatch | None
    portfolios: Uuids
    omissions: Sequence[Omission]


@dataclass(frozen=True)
class ValuedBook:
    """A Book with the value of its positions."""

    book: Book
    valuation: Valuation


@dataclass(frozen=True)
class DayBetas:
    """Betas of a day: stored ones, and those computed inline for what the symbol batch left out.

    `codes` (K,) are the symbols that were fitted; `filled` (K, F) where the fit filled a gap."""

    betas: Betas
    codes: np.ndarray[tuple[int], np.dtype[np.int64]]
    fitted: FittedBetas
    filled: Bools
    bad: list[Omission]


@dataclass(frozen=True)
class Shocks:
    """Active scenarios on a day: (K, F) shocks and expected moves; (scenario, factor) names without exposure."""

    scenarios: list[str]
    shocks: Floats
    moves: Floats
    unmapped: list[tuple[str, str]]


@dataclass
class Night:
    """One run over some trading days. Everything is read at the first use, from one snapshot of the database."""

    database: Database
    calendar: TradingCalendar
    scenarios: ScenarioSet
    days: list[date]
    run_id: str
    missing_only: bool = False
    max_symbols: int = 100
    min_price_coverage: float = 0.8
    chunk_portfolios: int = CHUNK_PORTFOLIOS
    only_portfolio: UUID | None = None
    _books: dict[tuple[date, int], ValuedBook] = field(default_factory=dict)
    _digests: dict[date, Inputs] = field(default_factory=dict)
    _betas: dict[date, DayBetas] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> RunInputs:
        inputs = read_inputs(self.database, self.calendar, self.days, self.chunk_portfolios)
        if self.only_portfolio is not None:
            # To this night nobody else exists: so no book, beta or digest of theirs is touched.
            everyone = inputs.portfolios
            theirs = everyone.id != np.array(self.only_portfolio.bytes, dtype="V16")
            inputs.portfolios = replace(everyone, start=np.where(theirs, NEVER, everyone.start))
        return inputs

    def close(self) -> None:
        if "inputs" in self.__dict__:
            self.inputs.close()

    def replace(
        self,
        day: date,
        table: str,
        compute: Callable[[ValuedBook], Part],
        extra: Callable[[Any], None] | None = None,
        named: Callable[[], Sequence[Omission]] = tuple,
        more: Callable[[Any], None] | None = None,
    ) -> Written:
        """Compute a day of a table, chunk by chunk, and write it in one transaction.

        `extra` writes what belongs to the day besides its rows, on the same connection (`more`: where portfolios are
        added to it); `named` gives the omissions of the day as a whole, once every chunk is computed."""
        with written_day(self.database, day, table, self.run_id, self.missing_only) as writer:
            done = {one.tobytes() for one in writer.accounted()} if writer.adds else set()
            failed: dict[str, Inputs] = {}
            for chunk in range(self.inputs.chunks):
                ledger = self.inputs.ledger(chunk)
                only = None
                if done:
                    only = np.array([one.tobytes() not in done for one in ledger.portfolios.id], dtype=bool)
                for part in self._isolated(chunk, ledger, day, lambda one: _accounted(one.book, compute(one)), only):
                    writer.add(part.rows, part.portfolios, part.omissions)
                    for one in part.omissions:
                        if one.code in FAILURES and one.portfolio:
                            failed[_uuid_text(one.portfolio)] = self._sums(day, only_ids={one.portfolio})
            if not writer.adds:
                # Those of the platform as a whole are named once, with the first table.
                own = self.inputs.named if table == "portfolio_snapshots" else []
                writer.add(None, np.array([], dtype="V16"), [*own, *named()])
            written = writer.finish({**self._sums(day, done), **self.whole_day(day)}, failed)
            besides = more if writer.adds else extra
            if besides is not None:
                besides(writer.connection)
            return written

    def reopen(self) -> None:
        """Forget everything that was read: after a lost connection the next use reads it again, from a new snapshot."""
        if "inputs" in self.__dict__:
            with contextlib.suppress(Exception):  # the connection is gone: closing it may fail as well
                self.inputs.close()
            del self.__dict__["inputs"]
        self._books.clear()
        self._digests.clear()
        self._betas.clear()

    def require_prices(self, day: date) -> None:
        """Raises NoPrices where not one of the run's symbols has a close on the day; it is marked as skipped."""
        closes = self.inputs.prices.exact.get(day_number(day))
        if closes is not None and (closes.state != MISSING).any():
            return
        skip_day(self.database, day, self.run_id)
        raise NoPrices(f"{day}: not one close in market_data_cache: skipped. Mend: have the symbol batch load the day.")

    def proxy_codes(self) -> set[int]:
        """Codes of the factors' proxies."""
        return set(symbol_codes(self.inputs.symbols, self.inputs.factors.proxies()).tolist())

    def books(self, day: date) -> Iterator[ValuedBook]:
        """The books of every chunk."""
        for chunk in range(self.inputs.chunks):
            yield self._book(chunk, self.inputs.ledger(chunk), day, None)

    def betas(self, day: date) -> DayBetas:
        """Stored betas of the day, and inline ones for every PUBLIC symbol held that lacks one."""
        if day not in self._betas:
            self._betas.clear()
            self._betas[day] = self._complete_betas(day)
        return self._betas[day]

    def shocks(self, day: date) -> Shocks:
        """The active scenarios as shocks to the active factors, and how the others are expected to move."""
        factors = self.inputs.factors
        active = self.scenarios.active
        column = {name: number for number, name in enumerate(factors.names)}
        held = self.betas(day).betas.beta[self._public_symbols(day)]
        has_beta = np.isfinite(held).sum(axis=0) > 0
        shocks = np.full((len(active), len(factors)), np.nan)
        unmapped = []
        for row, scenario in enumerate(active):
            for name, shock in scenario.shocks.items():
                if name in column:
                    shocks[row, column[name]] = shock
                if name not in column or not has_beta[column[name]]:
                    unmapped.append((scenario.id, name))
        covariance, _ = factor_covariance(self._factor_returns(day)[-COVARIANCE_READ_DAYS:])
        return Shocks([one.id for one in active], shocks, expected_moves(covariance, shocks), unmapped)

    def whole_day(self, day: date) -> dict[str, str]:
        """Digests of the inputs that are of the day as a whole."""
        factors = self.inputs.factors
        returns = self._factor_returns(day)[-COVARIANCE_READ_DAYS:]
        definitions = repr([(f.id, f.name, f.is_joint, f.window, f.minimum, f.proxy, f.short_proxy) for f in factors])
        return {
            "factors": f"{int(digest.text_hash(definitions.encode(), returns.tobytes())):016x}",
            "scenarios": self.scenarios.digest,
            "settings": f"correlation_max_symbols={self.max_symbols}",
        }

    def _sums(self, day: date, done: set[bytes] | None = None, only_ids: set[bytes] | None = None) -> dict[str, str]:
        """Digests that are sums over portfolios: over all, over those not yet done, or over the few that are named."""
        partial = bool(done) or only_ids is not None
        if not partial and day in self._digests:
            return dict(self._digests[day])
        total = dict.fromkeys(("positions", "valuations", "prices", "betas"), 0)
        names, prices, betas = self._symbol_hashes(day)
        for chunk in range(self.inputs.chunks):
            ledger = self.inputs.ledger(chunk)
            only = None
            if partial:
                ids = [one.tobytes() for one in ledger.portfolios.id]
                chosen = [one in only_ids if only_ids is not None else one not in (done or ()) for one in ids]
                only = np.array(chosen, dtype=bool)
            for sums in self._isolated(chunk, ledger, day, lambda one: _digests(one.book, names, prices, betas), only):
                if isinstance(sums, dict):
                    total = {kind: digest.added(value, sums[kind]) for kind, value in total.items()}
        if not partial:
            self._digests[day] = as_hex(total)
        return as_hex(total)

    def _symbol_hashes(self, day: date) -> tuple[digest.Hashes, digest.Hashes, digest.Hashes]:
        inputs, number = self.inputs, day_number(day)
        longest = max((factor.window for factor in inputs.factors), default=0)
        first = np.full(len(inputs.symbols), number - WINDOW_DAYS, dtype=np.int32)
        stored = inputs.stored_betas(day)[0].beta
        # An option's symbol has no beta either, but its closes are read for the shorter window only.
        fitted = np.array([symbol in inputs.without_betas for symbol in inputs.symbols], dtype=bool)
        first[fitted & np.isnan(stored).any(axis=1)] = number - max(longest, WINDOW_DAYS)
        names = np.array([digest.text_hash(symbol.encode()) for symbol in inputs.symbols], dtype=np.uint64)
        codes = range(len(inputs.symbols))
        previous = day_number(inputs.previous[day])
        prices = digest.price_hashes(inputs.prices, number, previous, first, codes)
        betas = np.array([digest.text_hash(row.tobytes()) for row in stored], dtype=np.uint64)
        return names, prices, betas

    def _isolated(
        self, chunk: int, ledger: Ledger, day: date, compute: Callable[[ValuedBook], T], only: Bools | None
    ) -> Iterator[T | Part]:
        """Results of compute over a chunk; where it raises, over its halves, down to the one portfolio at fault."""
        try:
            yield compute(self._book(chunk, ledger, day, only))
            return
        except Exception as error:
            if is_lost_connection(error):
                raise
            wanted = np.flatnonzero(only) if only is not None else np.arange(len(ledger.portfolios.id))
            if len(wanted) == 0:
                raise
            if len(wanted) == 1:
                yield _failed(ledger.portfolios.id[wanted[0]], error)
                return
        for half in (wanted[: len(wanted) // 2], wanted[len(wanted) // 2 :]):
            mask = np.zeros(len(ledger.portfolios.id), dtype=bool)
            mask[half] = True
            yield from self._isolated(chunk, ledger, day, compute, mask)

    def _book(self, chunk: int, ledger: Ledger, day: date, only: Bools | None) -> ValuedBook:
        """The chunk's book on a day. Those of the latest day are kept: every table of a one-day run takes them."""
        if only is None and (day, chunk) in self._books:
            return self._books[day, chunk]
        number, previous = day_number(day), day_number(self.inputs.previous[day])
        book = as_of(ledger, number, previous, only)
        valued = ValuedBook(book, value_positions(book, self.inputs.prices))
        if only is None and self.inputs.chunks <= 8:
            for key in [key for key in self._books if key[0] != day]:
                del self._books[key]
            self._books[day, chunk] = valued
        return valued

    def _public_symbols(self, day: date) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Codes of the PUBLIC symbols held on the day."""
        held: set[int] = set()
        for chunk in range(self.inputs.chunks):
            for codes in self._isolated(chunk, self.inputs.ledger(chunk), day, _public_codes, None):
                if isinstance(codes, np.ndarray):
                    held.update(codes.tolist())
        return np.array(sorted(held), dtype=np.int64)

    def _factor_returns(self, day: date) -> Floats:
        """(t, F) simple returns of the factors up to the day."""
        inputs = self.inputs
        close = inputs.prices.close[: inputs.prices.row(day_number(day)) + 1]
        proxies = symbol_codes(inputs.symbols, inputs.factors.proxies())
        names = [inputs.symbols[code] for code in proxies]
        return inputs.factors.returns(names, simple_returns(close[:, proxies]))

    def _complete_betas(self, day: date) -> DayBetas:
        inputs, number = self.inputs, day_number(day)
        stored, bad = inputs.stored_betas(day)
        held = self._public_symbols(day)
        codes = held[np.isnan(stored.beta[held]).any(axis=1)]
        end = inputs.prices.row(number) + 1
        ages = number - inputs.prices.days[:end].astype(np.int64)
        returns = simple_returns(inputs.prices.close[:end][:, codes])
        fitted = fit_betas(returns, self._factor_returns(day), ages, inputs.factors)
        filled = np.isnan(stored.beta[codes]) & ~np.isnan(fitted.beta)
        beta = stored.beta.copy()
        beta[codes] = np.where(filled, fitted.beta, stored.beta[codes])
        return DayBetas(Betas(beta), codes, fitted, filled, bad)


def _digests(book: Book, names: digest.Hashes, prices: digest.Hashes, betas: digest.Hashes) -> dict[str, int]:
    return {**digest.book_digest(book, names), **digest.prices_digest(book, prices, betas)}


def _public_codes(valued: ValuedBook) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    book = valued.book
    return np.unique(book.symbol[book.held & (book.kind == PUBLIC) & (book.symbol >= 0)])


def _accounted(book: Book, part: Part) -> Part:
    """The part, with a word for each portfolio that turns out to hold nothing."""
    emptied = [
        portfolio_omission(
            ExceptionCode.NOTHING_HELD, one, "its events leave a quantity of 0 on the day: nothing held, nothing sold."
        )
        for one in book.nothing_held
    ]
    return Part(part.rows, part.portfolios, [*part.omissions, *emptied]) if emptied else part


def _failed(portfolio: np.void, error: Exception) -> Part:
    what = f"{type(error).__name__}: {error}. Mend: look at its positions; the day can be re-run for it alone."
    omission = portfolio_omission(ExceptionCode.COMPUTATION_FAILED, portfolio, what)
    return Part(None, np.array([], dtype="V16"), [omission])


def _uuid_text(portfolio: bytes) -> str:
    return str(UUID(bytes=portfolio))
