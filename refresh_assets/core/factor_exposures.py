"""Factor exposures: what a book gains for a unit of each factor's return.

Here: sum of value x beta a portfolio and factor, its share of gross exposure, its coverage. Not here: betas (betas.py),
what a shock does with an exposure (stress.py).

Source: spec section 6."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refresh_assets.core.book import PUBLIC, Book, Uuids
from refresh_assets.core.market import Betas
from refresh_assets.core.money import Floats
from refresh_assets.core.omissions import Omission, portfolio_omission
from refresh_assets.core.valuation import Valuation
from refresh_assets.errors import ExceptionCode


@dataclass
class Exposures:
    """Exposures of the P portfolios with PUBLIC value to F factors.

    Attributes:
        gross: (P,) gross exposure of PUBLIC positions, USD.
        dollar: (P, F) USD; NaN where no position has a beta: unknown is not zero.
        coverage: (P, F) fraction of PUBLIC |value| that has a beta, 0 to 1.
    """

    portfolio_id: Uuids
    gross: Floats
    dollar: Floats
    coverage: Floats
    omissions: list[Omission]

    @property
    def value(self) -> Floats:
        """(P, F) exposure as a fraction of PUBLIC gross exposure; NaN where that is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.gross[:, None] > 0, self.dollar / self.gross[:, None], np.nan)


def exposures(book: Book, valuation: Valuation, betas: Betas) -> Exposures:
    """Exposure of each portfolio of the Book to each factor.

    Args:
        book: P portfolios, N positions.
        valuation: of the book.
        betas: of symbols on D, (S, F).
    """
    rows = np.flatnonzero(valuation.priced & (book.kind == PUBLIC) & (book.symbol >= 0))
    owner, value = book.portfolio[rows], valuation.value[rows]
    beta = betas.beta[book.symbol[rows]]
    known = ~np.isnan(beta)
    size = np.abs(value)
    gross = _sums(size[:, None], owner, book.size)[:, 0]
    dollar = _sums(np.where(known, value[:, None] * np.where(known, beta, 0.0), 0.0), owner, book.size)
    covered = _sums(np.where(known, size[:, None], 0.0), owner, book.size)
    any_known = _sums(known.astype(np.float64), owner, book.size) > 0
    public = np.bincount(owner, minlength=book.size) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        coverage = np.where(gross[:, None] > 0, covered / gross[:, None], 0.0)
    skipped = [
        portfolio_omission(
            ExceptionCode.NO_PUBLIC_VALUE, owner_id, "no PUBLIC position with a value: nothing here carries a beta."
        )
        for owner_id in book.portfolio_id[~public]
    ]
    return Exposures(
        portfolio_id=book.portfolio_id[public],
        gross=gross[public],
        dollar=np.where(any_known, dollar, np.nan)[public],
        coverage=np.minimum(coverage, 1.0)[public],
        omissions=skipped,
    )


def _sums(columns: Floats, owner: np.typing.NDArray[np.int64], size: int) -> Floats:
    """(N, F) -> (P, F), rows added in their order."""
    total = np.zeros((size, columns.shape[1]))
    if len(owner):
        first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
        total[owner[first]] = np.add.reduceat(columns, first, axis=0)
    return total
