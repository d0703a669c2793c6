"""Pearson correlations of many small groups of series, each pair over the days on which both have a return.

Here: the series of a day, correlations and common days of the pairs of groups. Not here: which series are a group, figures of a
group (correlations.py).

One product of series scaled to length 1 serves every pair. The sums of a series over its common days with an incomplete one
are those over all of its days less the few that the other misses: taken off for pairs with an incomplete series alone. Every
choice is made by pair or by series, so a group has the same bytes whichever others are in the batch.

Source: spec section 5."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from refresh_assets.core.money import Bools, Floats, Ints

MIN_COMMON_RETURNS = 30  # trading days
CONSTANT = 1e-9
"""A series whose standard deviation is below this fraction of its size is constant: what is left of it is rounding."""
LOST = 1e-4
"""Where the common days hold less than this of a series' squares, taking off the rest leaves too few digits of them."""

ONE_THREAD = 2**18
"""Multiplications up to which OpenBLAS takes one thread (SMP_THRESHOLD_MIN * GEMM_MULTITHREAD_THRESHOLD of its build)."""
MANY_INCOMPLETE, MANY_GAPS = 0.4, 2
"""Incomplete series, and gaps, by the size of a group: above one of them products of whole groups take less time."""


@dataclass(frozen=True)
class Series:
    """The returns of the symbols that some portfolio holds.

    Attributes:
        row: (S,) row of a symbol code, -1 where no portfolio holds it.
        unit: (H, T) returns less their own mean, scaled to length 1, 0 where missing; NaN where constant or too short.
        present: (H, T) there is a return; `days` (T / 64, H) the same as bits.
        gaps: (H,) days without a return; `gap_begins` (H,) where they begin in `gap_days`.
        constant: (H,) variance of `unit` up to which it is constant.
        lost: (H,) sum of squares of `unit` over common days up to which it is not had by subtraction.
    """

    row: npt.NDArray[np.int64]
    unit: Floats
    present: Bools
    days: npt.NDArray[np.uint64]
    gaps: Ints
    gap_begins: Ints
    gap_days: Ints
    constant: Floats
    lost: Floats

    @classmethod
    def of(cls, returns: Floats, symbols: npt.NDArray[np.int32]) -> Series:
        row = np.full(returns.shape[1], -1, dtype=np.int64)
        row[symbols] = np.arange(len(symbols))
        series = np.ascontiguousarray(returns[:, symbols].T)
        missing = np.isnan(series)
        gaps = missing.sum(axis=1)
        number = np.maximum(len(returns) - gaps, 1)
        series[missing] = 0.0
        mean = series.sum(axis=1) / number
        series -= mean[:, None]
        series[missing] = 0.0
        square = (series**2).sum(axis=1)
        least = CONSTANT**2 * (square / number + mean**2)
        varies = (square / number > least) & (number >= MIN_COMMON_RETURNS)
        series /= np.sqrt(np.where(varies, square, np.nan))[:, None]
        series[missing & varies[:, None]] = 0.0
        bits = np.packbits(~missing, axis=1)
        days = np.pad(bits, ((0, 0), (0, -bits.shape[1] % 8))).view(np.uint64).T.copy()
        constant = least / np.where(varies, square, np.nan)
        lost = np.maximum(LOST, constant * len(returns))
        return cls(row, series, ~missing, days, gaps, np.cumsum(gaps) - gaps, np.nonzero(missing)[1], constant, lost)

    def pairs(self, symbols: npt.NDArray[np.int32], upper: tuple[Ints, Ints]) -> tuple[Floats, npt.NDArray[np.int16]]:
        """(B, k) symbols -> (B, pairs) correlations, NaN where undefined, and common days."""
        rows = self.row[symbols]
        size, days = rows.shape[1], self.unit.shape[1]
        unit = self.unit.take(rows, axis=0)
        matrix = _products(unit, unit.transpose(0, 2, 1))
        if not days:
            matrix[:] = np.nan  # a sum over no day is 0, even of NaN
        common = np.full(matrix.shape, days, dtype=np.int16)
        gaps = self.gaps[rows]
        # What a group's own series say decides, never the batch.
        whole = (np.count_nonzero(gaps, axis=1) > MANY_INCOMPLETE * size) | (gaps.sum(axis=1) > MANY_GAPS * size)
        if whole.any():
            self._recompute(matrix, common, rows, np.flatnonzero(whole))
            gaps[whole] = 0
        gaps = gaps.ravel()
        places = np.flatnonzero(gaps)
        if len(places):
            # Longest gaps first: those that still have a day to take off stand at the beginning.
            places = places[np.argsort(-gaps[places], kind="stable")]
            self._correct(matrix, common, rows, *np.divmod(places, size))
        # take() gives rows that are contiguous, so their sums are the same bytes however many groups are in the batch.
        above = upper[0] * size + upper[1]
        rho = np.take(matrix.reshape(len(rows), -1), above, axis=1)
        return np.clip(rho, -1.0, 1.0, out=rho), np.take(common.reshape(len(rows), -1), above, axis=1)

    def _correct(self, matrix: Floats, common: npt.NDArray[np.int16], rows: Ints, group: Ints, column: Ints) -> None:
        """Put right, in place, the pairs of R incomplete series: each the `column` of its `group`, longest gaps first."""
        own, others, size = rows[group, column], rows[group], rows.shape[1]
        shared = np.zeros(others.shape, dtype=np.int16)
        for bits in self.days:
            shared += np.bitwise_count(bits[own][:, None] & bits[others])
        common[group, column] = shared
        common[group, :, column] = shared
        number = np.where(shared < MIN_COMMON_RETURNS, np.nan, shared)
        total, square = self._over_gaps(own, others)
        # Of the other series over the common days: over all of its own days it sums to 0, and its squares to 1.
        variance = 1.0 - square - total**2 / number
        product, covariance = variance.copy(), matrix[group, column]
        # Where both are incomplete, the other's gaps take days off this one too.
        place = np.full(rows.shape, -1)
        place[group, column] = np.arange(len(group))
        opposite = place[group]
        at, other = np.divmod(np.flatnonzero(opposite >= 0), size)
        turned = opposite[at, other], column[at]
        product[at, other] *= variance[turned]
        covariance[at, other] -= total[at, other] * total[turned] / number[at, other]
        with np.errstate(invalid="ignore", divide="ignore"):
            rho = covariance / np.sqrt(product)
        matrix[group, column] = rho
        matrix[group, :, column] = rho
        at, other = np.divmod(np.flatnonzero(variance <= self.lost.take(others)), size)
        self._recompute_lost(matrix, rows, group[at], column[at], other)

    def _recompute(self, matrix: Floats, common: npt.NDArray[np.int16], rows: Ints, group: Ints) -> None:
        """Put right, in place, every pair of some groups: sums over common days as products of whole groups."""
        some = rows[group]
        unit, turned = self.unit[some], self.present[some].transpose(0, 2, 1).astype(np.float64)
        shared = np.zeros((*some.shape, some.shape[1]), dtype=np.int16)
        for bits in self.days:
            shared += np.bitwise_count(bits[some][:, :, None] & bits[some][:, None])
        number = np.where(shared < MIN_COMMON_RETURNS, np.nan, shared)
        total = _products(unit, turned)  # of each series over the days of each other
        variance = _products(unit**2, turned) - total**2 / number
        with np.errstate(invalid="ignore", divide="ignore"):
            rho = matrix[group] - total * total.transpose(0, 2, 1) / number
            rho /= np.sqrt(variance * variance.transpose(0, 2, 1))
        matrix[group], common[group] = rho, shared
        at, one, other = np.nonzero(variance <= self.lost[some][:, :, None])
        self._recompute_lost(matrix, rows, group[at], one, other)

    def _recompute_lost(self, matrix: Floats, rows: Ints, group: Ints, one: Ints, other: Ints) -> None:
        """Put right, in place, the N pairs of which subtraction has left too little."""
        if len(group):
            exact = self._directly(rows[group, one], rows[group, other])
            matrix[group, one, other] = matrix[group, other, one] = exact

    def _over_gaps(self, own: Ints, others: Ints) -> tuple[Floats, Floats]:
        """(R,) and (R, k) rows -> (R, k) sums, and of squares, of the others over the days missing in each's own."""
        days = self.unit.shape[1]
        flat, others, gaps = self.unit.ravel(), others * days, self.gaps[own]
        begins = self.gap_begins[own]
        total, square = np.zeros(others.shape), np.zeros(others.shape)
        enough = gaps <= days - MIN_COMMON_RETURNS  # nothing is defined where the gaps leave too few days
        first = len(gaps) - np.count_nonzero(enough)
        for turn in range(gaps[first] if first < len(gaps) else 0):
            some = slice(first, int(np.count_nonzero(gaps > turn)))
            value = flat.take(others[some] + self.gap_days[begins[some] + turn][:, None])
            total[some] += value
            square[some] += value**2
        return total, square

    def _directly(self, one: Ints, other: Ints) -> Floats:
        """(N,) rows of one and of the other -> (N,) correlations, by means and deviations of the common days."""
        both = self.present[one] & self.present[other]
        number = both.sum(axis=1)
        deviations, variances = [], []
        for row in (one, other):
            value = np.where(both, self.unit[row], 0.0)
            value = np.where(both, value - (value.sum(axis=1) / number)[:, None], 0.0)
            variance = (value**2).sum(axis=1)
            variances.append(np.where(variance / number <= self.constant[row], np.nan, variance))
            deviations.append(value)
        return (deviations[0] * deviations[1]).sum(axis=1) / np.sqrt(variances[0] * variances[1])


def _products(left: Floats, right: Floats) -> Floats:
    """(B, k, T) and (B, T, k) -> (B, k, k), the same bytes however many threads BLAS has: it shares out large products only,
    and each share ends in other bits."""
    size, days = left.shape[1:]
    if (size + 1) * size * days <= ONE_THREAD:
        return left @ right
    step = max(1, ONE_THREAD // (size * days))
    return np.concatenate([left[:, begin : begin + step] @ right for begin in range(0, size, step)], axis=1)
