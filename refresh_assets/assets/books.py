"""The valued books of a run: what is made once, what is kept of them for how long, and the isolation of a portfolio that
fails.

Here: a chunk's book on a day, what later tables need of it without the book itself, halves of a chunk. Not here: which
table takes which book (night.py), what holds on a day (core/book.py).

A run takes its days one after the other, so the books of two days serve all tables of both; of a large platform, whose chunks
are read anew for every table, none are kept. The little that is asked for once more is: the PUBLIC symbols held, portfolios
that hold nothing, and the exposures, of which both factor_exposures and stress_test_results are made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

import numpy as np

from refresh_assets.assets.analytic import Part, failed_part
from refresh_assets.core.book import PUBLIC, Book, Ledger, Uuids, as_of
from refresh_assets.core.factor_exposures import Exposures, exposures
from refresh_assets.core.market import Betas
from refresh_assets.core.money import Bools
from refresh_assets.core.valuation import Valuation, value_positions
from refresh_assets.store.database import is_lost_connection
from refresh_assets.store.dates import day_number
from refresh_assets.store.inputs import RunInputs

T = TypeVar("T")
Codes = np.ndarray[tuple[int], np.dtype[np.int64]]

KEPT_EXPOSURES = 64
"""Chunks of days whose exposures are kept for the stress tests (0.9 MB each): of two days, the platform being in 32 chunks
or fewer; else they are computed twice."""
KEPT_OUTLINES = 1024
"""Chunks of days (5 kB each at 5,000 symbols)."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What is kept of the book of a whole chunk on a day: (S,) the PUBLIC symbols held, and who holds nothing."""

    public: Bools
    nothing_held: Uuids


class ValuedBook:
    """A Book with the value of its positions, made when somebody first looks."""

    def __init__(self, books: Books, place: tuple[date, int], ledger: Ledger, only: Bools | None) -> None:
        self._books, self._place, self._ledger, self._only = books, place, ledger, only
        self._made: tuple[Book, Valuation] | None = None

    @property
    def _both(self) -> tuple[Book, Valuation]:
        # No cached_property: Python 3.11 holds one lock for those of all instances while it computes one.
        if self._made is None:
            self._made = self._books.made(self._place, self._ledger, self._only)
        return self._made

    @property
    def book(self) -> Book:
        return self._both[0]

    @property
    def valuation(self) -> Valuation:
        return self._both[1]

    @property
    def outline(self) -> Outline:
        """What of it is known without making it, where it was made before."""
        known = self._books.outlines.get(self._place) if self._only is None else None
        return known or self._books.outline_of(self.book)

    def exposures(self, betas: Betas) -> Exposures:
        """Its exposures to the factors; kept until they are asked for once more."""
        if self._only is not None or not self._books.keeps_exposures:
            return exposures(self.book, self.valuation, betas)
        kept, place = self._books.exposures, self._place
        with self._books.making:
            found = kept.pop(place, None)
            if found is None:  # of the two tables, whichever comes first makes them
                make_room(kept, KEPT_EXPOSURES)
                found = kept[place] = exposures(self.book, self.valuation, betas)
            return found


@dataclass
class Books:
    """Books of a run's inputs. Safe to use from several threads."""

    inputs: RunInputs
    outlines: dict[tuple[date, int], Outline] = field(default_factory=dict)
    exposures: dict[tuple[date, int], Exposures] = field(default_factory=dict)
    are_shared: bool = True
    """Whether both factor exposures and stress tests are to be computed."""
    making: threading.RLock = field(default_factory=threading.RLock)
    """Held while something is made that is kept: of two tables that ask for it, one makes it."""
    _kept: dict[tuple[date, int], tuple[Book, Valuation]] = field(default_factory=dict)

    @property
    def keeps_exposures(self) -> bool:
        """Only beside chunks that are kept themselves: a large platform's memory stays flat."""
        return self.are_shared and self.inputs.is_kept and 2 * self.inputs.chunks <= KEPT_EXPOSURES

    def isolated(
        self, chunk: int, ledger: Ledger, day: date, compute: Callable[[ValuedBook], T], only: Bools | None
    ) -> Iterator[T | Part]:
        """Results of compute over a chunk; where it raises, over its halves, down to the one portfolio at fault."""
        try:
            yield compute(ValuedBook(self, (day, chunk), ledger, only))
            return
        except Exception as error:
            if is_lost_connection(error):
                raise
            wanted = np.flatnonzero(only) if only is not None else np.arange(len(ledger.portfolios.id))
            if len(wanted) == 0:
                raise
            if len(wanted) == 1:
                yield failed_part(ledger.portfolios.id[wanted[0]], error)
                return
        for half in (wanted[: len(wanted) // 2], wanted[len(wanted) // 2 :]):
            mask = np.zeros(len(ledger.portfolios.id), dtype=bool)
            mask[half] = True
            yield from self.isolated(chunk, ledger, day, compute, mask)

    def made(self, place: tuple[date, int], ledger: Ledger, only: Bools | None) -> tuple[Book, Valuation]:
        """The chunk's book on a day. Those of the latest days are kept: every table of a one-day run takes them."""
        if only is not None or not self.inputs.is_kept:
            return self._made(place, ledger, only)
        with self.making:
            if place not in self._kept:
                valued = self._made(place, ledger, None)
                make_room(self._kept, 2 * self.inputs.chunks)  # that which is ended, and that which is begun meanwhile
                self._kept[place] = valued
            return self._kept[place]

    def _made(self, place: tuple[date, int], ledger: Ledger, only: Bools | None) -> tuple[Book, Valuation]:
        day = place[0]
        book = as_of(ledger, day_number(day), day_number(self.inputs.previous[day]), only)
        if only is None:
            with self.making:
                make_room(self.outlines, KEPT_OUTLINES)
                self.outlines[place] = self.outline_of(book)
        return book, value_positions(book, self.inputs.prices)

    def public_symbols(self, day: date) -> Codes:
        """Codes of the PUBLIC symbols held on the day."""
        held = np.zeros(len(self.inputs.symbols), dtype=bool)
        for chunk in range(self.inputs.chunks):
            known = self.outlines.get((day, chunk))
            if known is not None:
                held |= known.public
                continue
            for found in self.isolated(chunk, self.inputs.ledger(chunk), day, lambda one: one.outline, None):
                if isinstance(found, Outline):
                    held |= found.public
        return np.flatnonzero(held)

    def outline_of(self, book: Book) -> Outline:
        """What is kept of a book."""
        public = np.zeros(len(self.inputs.symbols), dtype=bool)
        public[book.symbol[book.held & (book.kind == PUBLIC) & (book.symbol >= 0)]] = True
        return Outline(public, book.nothing_held)


def make_room(kept: dict[Any, Any], most: int) -> None:
    """Drop the oldest, so that one more fits."""
    while len(kept) >= most:
        del kept[next(iter(kept))]
