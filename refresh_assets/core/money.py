"""Exact sums of quantity x price, at any scale and size.

Here: arrays of exact decimals as base-2^31 limbs, their products, their sums by portfolio as Python integers, and the one
rounding to cents. Not here: which positions are summed (snapshots.py), decimal text to arrays (store/read.py).

Why limbs: quantities have up to 12 decimals and books reach 10^12 USD, so a product needs more than 64 bits. Two limbs a
number serve nearly every book (5 ms for 200,000 products); a column grows more limbs, or a finer scale, only where a row
of it needs them. The result is exact in each case, so it does not depend on which rows were computed together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Objects = npt.NDArray[np.object_]

LIMB_BITS = 31
LIMB_MASK = (1 << LIMB_BITS) - 1
SCALE = 12
"""Decimals of every column, unless a row of it has more."""
CENTS = 2
LARGEST = Decimal(10) ** 18
"""A quantity, price or value beyond this is absurd: a mistake to be named, not a number to be summed."""
FINEST = 40
"""Decimals of a number that is used; PostgreSQL's own division gives at most 20 or so."""
MONEY_LIMIT = 10**20
"""Cents that do not fit numeric(20,2) any more."""


@dataclass(frozen=True, slots=True)
class Exact:
    """N exact decimals: value = sum_k limbs[k] * 2^(31 k) * 10^-scale.

    Attributes:
        limbs: (L, N) int64, lowest first; all but the highest are in [0, 2^31), the highest carries the sign.
        scale: decimals.
    """

    limbs: Ints
    scale: int = SCALE

    @property
    def size(self) -> int:
        return int(self.limbs.shape[1])

    @classmethod
    def zeros(cls, size: int) -> Exact:
        return cls(np.zeros((1, size), dtype=np.int64))

    @classmethod
    def from_integers(cls, units: Iterable[int], scale: int = SCALE) -> Exact:
        """From Python integers in units of 10^-scale, of any size."""
        rest = np.array(list(units), dtype=object)
        limbs = []
        while True:
            low = rest & LIMB_MASK if rest.size else rest
            high = rest >> LIMB_BITS if rest.size else rest
            if all(-1 <= h <= 0 for h in high):
                # The last limb takes the sign: low - 2^31 where what is left is -1.
                limbs.append((low + high * (1 << LIMB_BITS)).astype(np.int64))
                return cls(np.stack(limbs), scale)
            limbs.append(low.astype(np.int64))
            rest = high

    @classmethod
    def from_words(cls, low: npt.NDArray[np.uint64], high: Ints, scale: int = SCALE) -> Exact:
        """From the two 64-bit words of 128-bit two's complement integers, as Arrow's decimal128 holds them."""
        mask = np.uint64(LIMB_MASK)
        if np.array_equal(high, low.view(np.int64) >> 63):
            # Every value fits 64 bits: the usual case, and a third of the work.
            signed = low.view(np.int64)
            limbs = [signed & LIMB_MASK, (signed >> LIMB_BITS) & LIMB_MASK, signed >> (2 * LIMB_BITS)]
        else:
            wide = high.view(np.uint64)
            limbs = [
                (low & mask).view(np.int64),
                ((low >> np.uint64(31)) & mask).view(np.int64),
                (((low >> np.uint64(62)) | (wide << np.uint64(2))) & mask).view(np.int64),
                ((wide >> np.uint64(29)) & mask).view(np.int64),
                high >> 60,
            ]
        return cls(_trimmed(np.stack(limbs)), scale)

    def take(self, rows: npt.NDArray[np.integer] | Bools) -> Exact:
        # limbs[:, rows] takes eight times as long, and leaves limbs whose numbers do not lie side by side.
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        return Exact(np.take(self.limbs, chosen, axis=1), self.scale)

    def spread(self, rows: npt.NDArray[np.integer], size: int) -> Exact:
        """Each number at the row that `rows` names, 0 elsewhere."""
        limbs = np.zeros((len(self.limbs), size), dtype=np.int64)
        limbs[:, rows] = self.limbs
        return Exact(limbs, self.scale)

    def where(self, keep: Bools) -> Exact:
        """The same numbers, 0 where not kept."""
        return Exact(self.limbs * keep, self.scale)

    def followed_by(self, other: Exact) -> Exact:
        """The numbers of this column, then those of the other."""
        scale = max(self.scale, other.scale)
        left, right = self.rescaled(scale).limbs, other.rescaled(scale).limbs
        height = max(len(left), len(right))
        return Exact(np.concatenate([_padded(left, height), _padded(right, height)], axis=1), scale)

    def sign(self) -> npt.NDArray[np.int8]:
        """(N,) -1, 0 or 1."""
        return np.where(self.limbs[-1] < 0, -1, self.limbs.any(axis=0)).astype(np.int8)

    def to_float(self) -> Floats:
        """(N,) nearest floats (to within one unit in the last place)."""
        total = np.zeros(self.size)
        for limb in self.limbs[::-1]:
            total = total * float(1 << LIMB_BITS) + limb
        return total / 10.0**self.scale

    def to_integers(self) -> Objects:
        """(N,) Python integers in units of 10^-scale."""
        return _joined(self.limbs.copy())

    def rescaled(self, scale: int) -> Exact:
        """The same numbers with more decimals. Rare: only where a row has more than 12, so integers will do."""
        if scale == self.scale:
            return self
        return Exact.from_integers(self.to_integers() * 10 ** (scale - self.scale), scale)

    def plus(self, other: Exact) -> Exact:
        scale = max(self.scale, other.scale)
        left, right = self.rescaled(scale).limbs, other.rescaled(scale).limbs
        height = max(len(left), len(right)) + 1
        return Exact(_carried(_padded(left, height) + _padded(right, height)), scale)

    def plus_at(self, rows: npt.NDArray[np.integer], other: Exact) -> Exact:
        """Add `other` (M,) to the rows that `rows` (M,) names; a row may be named more than once."""
        scale = max(self.scale, other.scale)
        left, right = self.rescaled(scale), other.rescaled(scale).limbs
        touched, place = np.unique(rows, return_inverse=True)
        few = left.take(touched).limbs
        height = max(len(few), len(right)) + 1
        sums = _padded(few, height).copy()
        for limb, addend in zip(sums, _padded(right, height), strict=True):
            np.add.at(limb, place, addend)
        sums = _carried(sums)
        # Only what was added to is carried: of a column of positions that is the few that were sold.
        height = max(len(left.limbs), len(sums))
        limbs = _padded(left.limbs, height).copy()
        limbs[:, touched] = _padded(sums, height)
        return Exact(limbs, scale)

    def canonical(self) -> tuple[Ints, npt.NDArray[np.int64]]:
        """Limbs (5, N) and scales (N,) that depend on each value alone, never on the other rows of the column."""
        if self.scale == SCALE and len(self.limbs) <= 5:
            return _padded(self.limbs, 5), np.full(self.size, SCALE)
        limbs = np.zeros((5, self.size), dtype=np.int64)
        scales = np.full(self.size, SCALE)
        for column, whole in enumerate(self.to_integers()):
            scale = self.scale
            while scale > SCALE and whole % 10 == 0:
                whole, scale = whole // 10, scale - 1
            one = _padded(Exact.from_integers([whole], scale).limbs, 5)
            limbs[:, column], scales[column] = one[:5, 0], scale
        return limbs, scales


def _products(left: Exact, right: Exact) -> tuple[Ints, int]:
    """(L, N) limbs of left x right, not carried, and their scale.

    A limb is below 2^36: 2^27 rows of one portfolio can be added without overflow."""
    mask = LIMB_MASK
    height = len(left.limbs) + len(right.limbs)
    limbs = np.zeros((height, left.size), dtype=np.int64)
    for i, a in enumerate(left.limbs):
        for j, b in enumerate(right.limbs):
            piece = a * b  # below 2^62
            limbs[i + j] += piece & mask
            limbs[i + j + 1] += piece >> LIMB_BITS
    return limbs, left.scale + right.scale


def product_sums(left: Exact, right: Exact, starts: Ints) -> tuple[Objects, int]:
    """Exact sums of left x right over consecutive segments.

    Args:
        left, right: N numbers each.
        starts: (P,) first row of each segment, ascending; a segment ends where the next starts; it may be empty.

    Returns:
        (P,) Python integers, and their scale.
    """
    limbs, scale = _products(left, right)
    return _joined(segment_sums(limbs, starts)), scale


def split_product_sums(
    left: Exact, right: Exact, first: Bools, second: Bools, starts: Ints
) -> tuple[tuple[Objects, int], tuple[Objects, int]]:
    """The same over the rows of `first` and over those of `second`, (N,) each: every product is made once."""
    limbs, scale = _products(left, right)
    up, down = (_joined(segment_sums(limbs * rows, starts)) for rows in (first, second))
    return (up, scale), (down, scale)


def sums(numbers: Exact, starts: Ints) -> tuple[Objects, int]:
    """Exact sums of numbers over consecutive segments; as `product_sums`."""
    return _joined(segment_sums(numbers.limbs, starts)), numbers.scale


def segment_sums(columns: npt.NDArray[np.int64], starts: Ints) -> npt.NDArray[np.int64]:
    """(L, N) -> (L, P): sums over consecutive segments, 0 for an empty one."""
    size = columns.shape[1]
    if size == 0 or len(starts) == 0:
        return np.zeros((columns.shape[0], len(starts)), dtype=columns.dtype)
    total = np.zeros((columns.shape[0], len(starts)), dtype=columns.dtype)
    # reduceat gives the row itself for an empty segment; the sum is 0.
    filled = np.flatnonzero(np.append(starts[1:], size) > starts)
    if len(filled):
        total[:, filled] = np.add.reduceat(columns, starts[filled], axis=1)
    return total


def at_scale(units: Objects, scale: int, wanted: int) -> Objects:
    """Integers in units of 10^-scale as integers in units of 10^-wanted, wanted >= scale."""
    return units if scale == wanted else units * 10 ** (wanted - scale)


def to_cents(units: Objects, scale: int) -> Objects:
    """Round half-even, once. (P,) integers in units of 10^-scale -> integers in cents."""
    divisor = 10 ** (scale - CENTS)
    # Half up, by one division; then what was a tie and came out odd goes back to the even cent below.
    doubled = units * 2 + divisor
    cents = doubled // (2 * divisor)
    ties = np.flatnonzero(cents * (2 * divisor) == doubled)
    cents[ties] -= cents[ties] % 2
    return cents


def _padded(limbs: Ints, height: int) -> Ints:
    """More limbs, same values: the sign moves up into the new highest limb."""
    if len(limbs) >= height:
        return limbs
    padded = np.zeros((height, limbs.shape[1]), dtype=np.int64)
    padded[: len(limbs)] = limbs
    for k in range(len(limbs) - 1, height - 1):
        padded[k + 1] = padded[k] >> LIMB_BITS
        padded[k] &= LIMB_MASK
    return padded


def _carried(limbs: Ints) -> Ints:
    """The same numbers with every limb but the highest in [0, 2^31), and no more limbs than they need.

    Works in place: for limbs that nobody else has."""
    for k in range(len(limbs) - 1):
        limbs[k + 1] += limbs[k] >> LIMB_BITS
        limbs[k] &= LIMB_MASK
    return _trimmed(limbs)


def _trimmed(limbs: Ints) -> Ints:
    """Drop highest limbs that hold nothing but the sign."""
    height = len(limbs)
    while height > 1 and limbs.shape[1] and not ((limbs[height - 1] + 1) >> 1).any():
        limbs[height - 2] += limbs[height - 1] << LIMB_BITS
        height -= 1
    return limbs[:height]


def _joined(limbs: npt.NDArray[np.int64]) -> Objects:
    """(L, N) limbs, carried or not, that nobody else has -> (N,) Python integers."""
    carried = _carried(limbs)
    total = carried[-1].astype(object)
    # Two limbs at a time are still a machine's integer: half as many steps of Python's own.
    for low in range(len(carried) - 3, -1, -2):
        pair = (carried[low + 1] << LIMB_BITS) | carried[low]
        total = total * (1 << 2 * LIMB_BITS) + pair.astype(object)
    if len(carried) % 2 == 0:
        total = total * (1 << LIMB_BITS) + carried[0].astype(object)
    return total
