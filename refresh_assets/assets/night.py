"""The night: what the assets of one run share, and the way from inputs to a written day.

Here: the order of a day's work, betas with the inline ones, digests of a day as a whole. Not here: books (books.py), digests
that add up over portfolios (input_sums.py), threads (ahead.py), formulas (core/), SQL (store/), Dagster (the asset files
beside this one): a night also runs without it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property, partial
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from refresh_assets.assets.ahead import InTurn, computed_ahead
from refresh_assets.assets.analytic import (
    ANALYTICS,
    WRITERS,
    Compute,
    DayBetas,
    Outcome,
    Part,
    Shocks,
    accounted,
)
from refresh_assets.assets.books import Books, ValuedBook, make_room
from refresh_assets.assets.input_sums import InputSums
from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.core.betas import fit_betas
from refresh_assets.core.book import NEVER, Ledger
from refresh_assets.core.market import Betas, simple_returns
from refresh_assets.core.money import Floats
from refresh_assets.core.omissions import Omission
from refresh_assets.core.scenarios import ScenarioSet
from refresh_assets.core.stress import expected_moves, factor_covariance
from refresh_assets.errors import FAILURES, NoPrices
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.extras import INLINE_ASSET
from refresh_assets.store.inputs import (
    CHUNK_PORTFOLIOS,
    COVARIANCE_READ_DAYS,
    KEPT_DAYS,
    RunInputs,
    read_inputs,
    symbol_codes,
)
from refresh_assets.store.schema_names import POSITION_VALUES
from refresh_assets.store.write import Inputs, Written, skip_day, written_day

Turn = tuple[str, date]
"""An asset and a day: what has a turn of its own."""
IN_TURN = (
    "portfolio_snapshots",
    "correlation_calculations",
    INLINE_ASSET,
    "factor_exposures",
    "stress_test_results",
    POSITION_VALUES,
)
"""What a night writes of a day, in the order in which it ends."""


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
    assets: Sequence[str] = IN_TURN
    done: Callable[[str, date], None] = lambda *_: None
    """Told (asset, day) when a day of an asset has ended well."""
    _betas: dict[date, DayBetas] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _writing: dict[Turn, psycopg.Connection[Any]] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> RunInputs:
        inputs = read_inputs(self.database, self.calendar, self.days, self.chunk_portfolios)
        if self.only_portfolio is not None:
            # To this night nobody else exists: so no book, beta or digest of theirs is touched.
            everyone = inputs.portfolios
            theirs = everyone.id != np.array(self.only_portfolio.bytes, dtype="V16")
            inputs.portfolios = replace(everyone, start=np.where(theirs, NEVER, everyone.start))
        return inputs

    @cached_property
    def _books(self) -> Books:
        return Books(self.inputs, are_shared={"factor_exposures", "stress_test_results"} <= set(self.assets))

    @cached_property
    def _sums(self) -> InputSums:
        return InputSums(self.inputs, self._books)

    def close(self) -> None:
        if "_turns" in self.__dict__:
            self._turns.stop()
        if "inputs" in self.__dict__:
            self.inputs.close()

    @cached_property
    def _turns(self) -> InTurn[Turn, Outcome]:
        # Day by day, so that a run that dies leaves whole days. Of a range only the last day's closes can become the
        # positions' values.
        units = [(asset, day) for day in self.days for asset in IN_TURN if asset in self.assets]
        units = [one for one in units if one[0] != POSITION_VALUES or one[1] == self.days[-1]]
        return InTurn(
            units,
            self._write,
            self._interrupt,
            together=lambda unit: unit[1],
            is_light=lambda unit: unit[0] == INLINE_ASSET,
        )

    def _write(self, unit: Turn) -> Outcome:
        try:
            outcome = WRITERS[unit[0]](self, unit[1])
        finally:
            self._writing.pop(unit, None)
        self.done(*unit)
        return outcome

    def written(self, day: date, asset: str) -> Outcome:
        """Write a day of an asset, and what is in front of it: every asset of the days before it.

        What comes next is begun, and seen by nobody before it, or what is behind it, is asked for."""
        return self._turns.take((asset, day))

    def write_the_rest(self) -> None:
        """Write what is left of every day of which nothing has failed: nobody will ask for what is behind a failure."""
        self._turns.end_all()

    def seconds(self, day: date, asset: str) -> float | None:
        """What a day of an asset took, from its turn to its end; None where it has not ended."""
        return self._turns.seconds.get((asset, day))

    def not_asked_for(self) -> dict[Turn, Outcome]:
        """What was written though its asset has not asked for it."""
        return self._turns.not_asked_for() if "_turns" in self.__dict__ else {}

    def opened(self, day: date, asset: str, connection: psycopg.Connection[Any]) -> None:
        """Say on which connection a day of an asset is written, so that it can be broken off."""
        self._writing[asset, day] = connection

    def wait(self, day: date, asset: str) -> None:
        """Before what was written is seen: wait until its turn has come, where it was begun ahead."""
        self._turns.wait((asset, day))

    def _interrupt(self, unit: Turn) -> None:
        connection = self._writing.get(unit)
        if connection is not None:
            with contextlib.suppress(Exception):  # it ends by itself meanwhile, or is lost
                connection.cancel_safe(timeout=5)

    def replace(
        self,
        day: date,
        table: str,
        extra: Callable[[Any], None] | None = None,
        named: Callable[[], Sequence[Omission]] = tuple,
        more: Callable[[Any], None] | None = None,
        note: Callable[[Any], None] | None = None,
    ) -> Written:
        """Write a day of a table in one transaction, chunk by chunk as its analytic computes it.

        `extra` writes what belongs to the day besides its rows, on the same connection (`more`: where portfolios are
        added to it); `named` gives the omissions of the day as a whole, once every chunk is computed; `note` is told the
        note of each part."""
        opened = partial(self.opened, day, table)
        with written_day(self.database, day, table, self.run_id, self.missing_only, opened) as writer:
            done = {one.tobytes() for one in writer.accounted()} if writer.adds else set()
            if writer.adds and self.only_portfolio is None:
                writer.due = self._due(day)
            failed: dict[str, Inputs] = {}
            with contextlib.closing(self._parts(day, table, done)) as parts:
                for part in parts:
                    writer.add(part.rows, part.portfolios, part.omissions)
                    if note is not None and part.note is not None:
                        note(part.note)
                    for one in part.omissions:
                        if one.code in FAILURES and one.portfolio:
                            failed[_uuid_text(one.portfolio)] = self._sums.of_some(day, {one.portfolio})
            if not writer.adds:
                # Those of the platform as a whole are named once, with the first table.
                own = self.inputs.named_on(day) if table == "portfolio_snapshots" else []
                writer.add(None, np.array([], dtype="V16"), [*own, *named()])
            written = writer.finish({**self._sums.of_the_rest(day, done), **self.whole_day(day)}, failed)
            besides = more if writer.adds else extra
            if besides is not None:
                besides(writer.connection)
            self.wait(day, table)
            return written

    def _due(self, day: date) -> set[bytes]:
        """Ids of the portfolios that hold something on the day, or sold it, or whose events leave nothing, or that fail."""
        due = set[bytes]()
        for chunk in range(self.inputs.chunks):
            for found in self._books.isolated(chunk, self.inputs.ledger(chunk), day, _due_ids, None):
                due |= found if isinstance(found, set) else {one.portfolio for one in found.omissions if one.portfolio}
        return due

    def _parts(self, day: date, table: str, done: set[bytes]) -> Generator[Part]:
        """What the analytic gives for each chunk, of the portfolios that are not done; computed a few chunks ahead."""
        analytics: list[Compute] = []

        def compute(chunk: int) -> tuple[Ledger, list[Part]]:
            if not analytics:  # in the thread that computes: it may look at every book for the day's betas
                analytics.append(ANALYTICS[table](self, day))
            ledger, only = self.inputs.ledger(chunk), None
            if done:
                only = np.array([one.tobytes() not in done for one in ledger.portfolios.id], dtype=bool)
            accounted_for = partial(_accounted, analytics[0])
            return ledger, list(self._books.isolated(chunk, ledger, day, accounted_for, only))

        chunks = self.inputs.chunks
        depth = chunks if self.inputs.is_kept else 1  # of a large platform two tables hold chunks of their own
        with contextlib.closing(computed_ahead(range(chunks), compute, depth)) as computed:
            for chunk, (ledger, parts) in enumerate(computed):
                yield from parts
                if not done:
                    self._sums.of_chunk(day, chunk, ledger)

    def reopen(self) -> None:
        """Forget everything that was read: after a lost connection the next use reads it again, from a new snapshot."""
        with contextlib.suppress(Exception):  # the connection is gone: closing it may fail as well
            self.close()
        for read in ("inputs", "_books", "_sums"):
            self.__dict__.pop(read, None)
        self._betas.clear()

    def require_prices(self, day: date) -> None:
        """Raises NoPrices where no symbol has a close on the day, as the gate asks too; it is marked as skipped."""
        if day in self.inputs.priced:
            return
        skip_day(self.database, day, self.run_id)
        raise NoPrices(f"{day}: not one close in market_data_cache: skipped. Mend: have the symbol batch load the day.")

    def proxy_codes(self) -> set[int]:
        """Codes of the factors' proxies."""
        return set(symbol_codes(self.inputs.symbols, self.inputs.factors.proxies()).tolist())

    def books(self, day: date) -> Iterator[ValuedBook]:
        """The books of every chunk."""
        for chunk in range(self.inputs.chunks):
            yield ValuedBook(self._books, (day, chunk), self.inputs.ledger(chunk), None)

    def betas(self, day: date) -> DayBetas:
        """Stored betas of the day, and inline ones for every PUBLIC symbol held that lacks one."""
        with self._lock:
            if day not in self._betas:
                make_room(self._betas, KEPT_DAYS)
                self._betas[day] = self._complete_betas(day)
            return self._betas[day]

    def shocks(self, day: date) -> Shocks:
        """The active scenarios as shocks to the active factors, and how the others are expected to move."""
        factors = self.inputs.factors
        active = self.scenarios.active
        column = {name: number for number, name in enumerate(factors.names)}
        betas = self.betas(day)
        has_beta = np.isfinite(betas.betas.beta[betas.held]).sum(axis=0) > 0
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

    def digests(self, day: date) -> Inputs:
        """Digest of each kind of input that the day is computed from."""
        return {**self._sums.of_all(day), **self.whole_day(day)}

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
        held = self._books.public_symbols(day)
        # Of a range all symbols are read on all days: what another day holds is nothing of this one.
        here = {inputs.symbols[code] for code in held} if bad else set()
        bad = [one for one in bad if one.symbol in here]
        codes = held[np.isnan(stored.beta[held]).any(axis=1)]
        end = inputs.prices.row(number) + 1
        ages = number - inputs.prices.days[:end].astype(np.int64)
        returns = simple_returns(inputs.prices.close[:end][:, codes])
        fitted = fit_betas(returns, self._factor_returns(day), ages, inputs.factors)
        filled = np.isnan(stored.beta[codes]) & ~np.isnan(fitted.beta)
        beta = stored.beta.copy()
        beta[codes] = np.where(filled, fitted.beta, stored.beta[codes])
        return DayBetas(Betas(beta), held, codes, fitted, filled, bad)


def _accounted(compute: Compute, valued: ValuedBook) -> Part:
    part = compute(valued)
    return accounted(valued.outline.nothing_held, part)


def _due_ids(valued: ValuedBook) -> set[bytes]:
    return {one.tobytes() for ids in (valued.book.portfolio_id, valued.book.nothing_held) for one in ids}


def _uuid_text(portfolio: bytes) -> str:
    return str(UUID(bytes=portfolio))
