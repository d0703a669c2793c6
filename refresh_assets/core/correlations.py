"""Correlations of log returns inside each portfolio.

Here: the universe of symbols, batches of portfolios with as many symbols, and the figures made from their correlations. Not
here: the correlations of pairs (pairwise.py), log returns (market.py), values (valuation.py), p values (the view
pairwise_correlations).

Portfolios are batched by their number of symbols, so a portfolio's arithmetic is the same whichever others are in the
batch: same bytes for any chunk size.

Source: spec section 5."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refresh_assets.core.book import PUBLIC, Book, Uuids
from refresh_assets.core.market import Prices
from refresh_assets.core.money import Floats, Ints
from refresh_assets.core.omissions import Omission, portfolio_omission
from refresh_assets.core.pairwise import Series
from refresh_assets.core.valuation import Valuation
from refresh_assets.errors import ExceptionCode

WINDOW_DAYS = 90  # calendar days
CLUSTER_THRESHOLD = 0.7
NO_VARIANCE = 1e-12  # w'Rw of a perfect hedge: rounding, not a number of positions
BATCH_VALUES = 100_000
"""Returns gathered at once (0.8 MB): 2,000,000 fall out of the cache and take twice as long; from LARGE_BLOCK (store/memory.py)
on, a large platform's night asks the system anew for each."""

SUFFICIENT, LIMITED, INSUFFICIENT = "sufficient", "limited", "insufficient"


@dataclass
class Correlations:
    """Columns of correlation_calculations for P portfolios; K pairs of all of them end to end.

    Attributes:
        symbols: (sum of symbols,) codes; `symbol_ends` (P,) where each portfolio's end.
        correlations: (K,) float32, NaN where undefined; data_points: (K,); `pair_ends` (P,).
        overall, weighted, effective, concentration: (P,), NaN where undefined.
    """

    portfolio_id: Uuids
    symbols: npt.NDArray[np.int32]
    symbol_ends: Ints
    correlations: npt.NDArray[np.float32]
    data_points: npt.NDArray[np.int16]
    pair_ends: Ints
    overall: Floats
    weighted: Floats
    effective: Floats
    concentration: Floats
    defined_pairs: Ints
    included: Ints
    excluded: Ints
    omissions: list[Omission]

    @property
    def quality(self) -> list[str]:
        """(P,) sufficient: every pair defined; limited: some; insufficient: none."""
        pairs = np.diff(self.pair_ends, prepend=0)
        words = np.where(self.defined_pairs == pairs, SUFFICIENT, LIMITED)
        return list(np.where(self.defined_pairs == 0, INSUFFICIENT, words))


@dataclass(frozen=True)
class Universe:
    """Symbols that enter: U (portfolio, symbol) pairs in the order of (portfolio, symbol).

    `value` (U,) is the netted value; `lots` (U,) how many positions it holds."""

    portfolio: Ints
    symbol: npt.NDArray[np.int32]
    value: Floats
    lots: Ints


def universe(book: Book, valuation: Valuation, max_symbols: int) -> Universe:
    """PUBLIC positions priced on D, lots of one symbol netted, the largest `max_symbols` by |value| of each portfolio.

    A tie at the limit goes to the symbol that sorts first."""
    rows = np.flatnonzero(valuation.priced & (book.kind == PUBLIC) & (book.symbol >= 0))
    owner, symbol = book.portfolio[rows], book.symbol[rows]
    # One stable sort of one key takes a fifth of lexsort's time on two.
    order = np.argsort(owner * (int(symbol.max(initial=0)) + 1) + symbol, kind="stable")
    owner, symbol, value = owner[order], symbol[order], valuation.value[rows][order]
    first = np.flatnonzero(np.r_[True, (owner[1:] != owner[:-1]) | (symbol[1:] != symbol[:-1])]) if len(rows) else rows
    netted = np.add.reduceat(value, first) if len(first) else value
    lots = np.diff(np.append(first, len(rows)))
    owner, symbol = owner[first], symbol[first]
    if len(owner) and np.bincount(owner).max() > max_symbols:
        keep = _rank_within(owner, np.abs(netted)) < max_symbols
        owner, symbol, netted, lots = owner[keep], symbol[keep], netted[keep], lots[keep]
    return Universe(owner, symbol, netted, lots)


def _rank_within(owner: Ints, size: Floats) -> Ints:
    """(U,) 0 for the largest of each owner; owners ascending; ties in the order given."""
    order = np.lexsort((-size, owner))
    begins = np.searchsorted(owner, owner)
    rank = np.empty(len(owner), dtype=np.int64)
    rank[order] = np.arange(len(owner)) - begins[order]
    return rank


def correlations(book: Book, prices: Prices, valuation: Valuation, max_symbols: int = 100) -> Correlations:
    """Correlations inside each portfolio of the Book that has two symbols or more.

    Args:
        book: P portfolios as of D.
        prices: closes of the window [D - 90 calendar days, D] and of the trading day before it.
        valuation: of the book.
        max_symbols: the largest by |value| that enter.
    """
    chosen = universe(book, valuation, max_symbols)
    returns = prices.log_returns(book.day, book.day - WINDOW_DAYS)
    series = Series.of(returns, np.unique(chosen.symbol))
    number = np.bincount(chosen.portfolio, minlength=book.size)
    begins = np.concatenate([[0], np.cumsum(number)[:-1]]) if book.size else number
    figures = np.full((4, book.size), np.nan)
    defined = np.zeros(book.size, dtype=np.int64)
    pairs = number * (number - 1) // 2
    pair_begins = np.cumsum(pairs) - pairs
    rho = np.full(int(pairs.sum()), np.nan, dtype=np.float32)
    points = np.zeros(int(pairs.sum()), dtype=np.int16)
    for size in np.unique(number[number >= 2]):
        upper = np.triu_indices(size, 1)
        members = np.flatnonzero(number == size)
        step = max(1, BATCH_VALUES // (size * max(len(returns), 1)))
        for begin in range(0, len(members), step):
            some = members[begin : begin + step]
            at = begins[some][:, None] + np.arange(size)
            pair, common = series.pairs(chosen.symbol[at], upper)
            slots = pair_begins[some][:, None] + np.arange(len(upper[0]))
            rho[slots], points[slots] = pair.astype(np.float32), common
            figures[:, some], defined[some] = _figures(pair, np.abs(chosen.value[at]), upper)
    return _result(book, chosen, number, pairs, rho, points, figures, defined)


def _figures(rho: Floats, value: Floats, upper: tuple[Ints, Ints]) -> tuple[Floats, Ints]:
    """(B, pairs) correlations, (B, k) |value| -> (4, B) overall, weighted, effective, concentration; (B,) pairs defined."""
    known = ~np.isnan(rho)
    count, filled = known.sum(axis=1), np.where(known, rho, 0.0)
    size = np.abs(filled)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = value / value.sum(axis=1, keepdims=True)
        both = np.take(weight, upper[0], axis=1) * np.take(weight, upper[1], axis=1)
        moved = (both * filled).sum(axis=1)
        overall = size.sum(axis=1) / count
        weighted = moved / (both * known).sum(axis=1)
        # w'Rw with ones on the diagonal and undefined pairs as 0.
        variance = (weight**2).sum(axis=1) + 2.0 * moved
        effective = 1.0 / np.where(variance > NO_VARIANCE, variance, np.nan)
        # A cluster of two or more is a connected component: every symbol with at least one neighbour is in one.
        portfolio, pair = np.divmod(np.flatnonzero(size >= CLUSTER_THRESHOLD), rho.shape[1])
        clustered = np.zeros(value.shape, dtype=bool)
        clustered[portfolio, upper[0][pair]] = clustered[portfolio, upper[1][pair]] = True
        concentration = (weight * clustered).sum(axis=1)
    return np.stack([overall, weighted, effective, concentration]), count


def _result(
    book: Book,
    chosen: Universe,
    number: Ints,
    pairs: Ints,
    rho: npt.NDArray[np.float32],
    points: npt.NDArray[np.int16],
    figures: Floats,
    defined: Ints,
) -> Correlations:
    has_row = number >= 2
    held = np.bincount(book.portfolio[book.held], minlength=book.size)
    included = np.bincount(chosen.portfolio, weights=chosen.lots, minlength=book.size).astype(np.int64)
    skipped = [
        portfolio_omission(
            ExceptionCode.TOO_FEW_SYMBOLS,
            book.portfolio_id[row],
            f"{number[row]} priced PUBLIC symbol{'' if number[row] == 1 else 's'}, a correlation needs 2: no row.",
        )
        for row in np.flatnonzero(~has_row)
    ]
    return Correlations(
        portfolio_id=book.portfolio_id[has_row],
        symbols=chosen.symbol[has_row[chosen.portfolio]],
        symbol_ends=np.cumsum(number[has_row]),
        correlations=rho,
        data_points=points,
        pair_ends=np.cumsum(pairs[has_row]),
        overall=figures[0][has_row],
        weighted=figures[1][has_row],
        effective=figures[2][has_row],
        concentration=figures[3][has_row],
        defined_pairs=defined[has_row],
        included=included[has_row],
        excluded=(held - included)[has_row],
        omissions=skipped,
    )
