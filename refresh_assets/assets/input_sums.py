"""Digests of a day's inputs that add up over portfolios: positions, valuations, prices, betas.

Here: the sums over all, the rest or some of the portfolios, chunk by chunk, and what is kept of them. Not here: what is hashed
(core/digest.py), inputs of the day as a whole (night.py), how they are stored (store/write.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date

import numpy as np

from refresh_assets.assets.books import Books, make_room
from refresh_assets.core import digest
from refresh_assets.core.book import Book, Ledger
from refresh_assets.core.money import Bools
from refresh_assets.store.dates import day_number
from refresh_assets.store.inputs import RunInputs
from refresh_assets.store.write import ADDED_UP

KEPT_HASHES = 2
"""Days whose symbols' hashes are kept: that which is ended, and that which is begun meanwhile."""
SymbolHashes = tuple[digest.Hashes, digest.Hashes, digest.Hashes]


class InputSums:
    """Sums over the portfolios of a run, by kind of input. Safe to use from several threads."""

    def __init__(self, inputs: RunInputs, books: Books) -> None:
        self._inputs, self._books = inputs, books
        self._of_chunks: dict[tuple[date, int], dict[str, int]] = {}
        self._hashes: dict[date, SymbolHashes] = {}
        self._summing = threading.Lock()

    def of_all(self, day: date) -> dict[str, str]:
        """Over all portfolios."""
        return self._total(day, None)

    def of_the_rest(self, day: date, done: set[bytes]) -> dict[str, str]:
        """Over those that are not done."""
        return self._total(day, (lambda one: one not in done) if done else None)

    def of_some(self, day: date, ids: set[bytes]) -> dict[str, str]:
        """Over the few that are named."""
        return self._total(day, lambda one: one in ids)

    def _total(self, day: date, is_chosen: Callable[[bytes], bool] | None) -> dict[str, str]:
        total = dict.fromkeys(ADDED_UP, 0)
        for chunk in range(self._inputs.chunks):
            sums = self._of_chunks.get((day, chunk)) if is_chosen is None else None
            if sums is None:
                ledger, only = self._inputs.ledger(chunk), None
                if is_chosen is not None:
                    only = np.array([is_chosen(one.tobytes()) for one in ledger.portfolios.id], dtype=bool)
                sums = self.of_chunk(day, chunk, ledger, only)
            total = {kind: digest.added(value, sums[kind]) for kind, value in total.items()}
        return digest.as_hex(total)

    def of_chunk(self, day: date, chunk: int, ledger: Ledger, only: Bools | None = None) -> dict[str, int]:
        """The same of one chunk, kept where it is whole: a large platform's is then not read once more for it."""
        with self._summing:  # two tables of a day ask for the same
            if only is None and (day, chunk) in self._of_chunks:
                return self._of_chunks[day, chunk]
            hashes = self._symbol_hashes(day)
            total = dict.fromkeys(ADDED_UP, 0)
            for sums in self._books.isolated(chunk, ledger, day, lambda one: _digests(one.book, *hashes), only):
                if isinstance(sums, dict):
                    total = {kind: digest.added(value, sums[kind]) for kind, value in total.items()}
            if only is None:
                self._of_chunks[day, chunk] = total
            return total

    def _symbol_hashes(self, day: date) -> SymbolHashes:
        """Of the symbols' names, closes and stored betas."""
        if day not in self._hashes:
            make_room(self._hashes, KEPT_HASHES)
            inputs = self._inputs
            longest = max((factor.window for factor in inputs.factors), default=0)
            # An option's symbol has no beta either, but its closes are read for the shorter window only.
            fitted = np.array([symbol in inputs.without_betas for symbol in inputs.symbols], dtype=bool)
            stored = inputs.stored_betas(day)[0].beta
            days = day_number(day), day_number(inputs.previous[day])
            found = digest.symbol_hashes(inputs.prices, stored, fitted, longest, *days)
            self._hashes[day] = inputs.symbol_hashes, *found
        return self._hashes[day]


def _digests(book: Book, names: digest.Hashes, prices: digest.Hashes, betas: digest.Hashes) -> dict[str, int]:
    return {**digest.book_digest(book, names), **digest.prices_digest(book, prices, betas)}
