"""Whether two closes of one day stand to each other as a share split would make them.

Here: the usual ratios, and how near is near. Not here: finding the closes that differ (store/stale.py), the words around
it (terminal_restatements.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refresh_assets.core.money import Floats, Ints

USUAL_SPLITS = (
    *((new, 1) for new in (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50, 100)),
    *((3, 2), (4, 3), (5, 2), (5, 3), (5, 4)),
)
"""New shares for old ones, as exchanges announce them. Stock dividends of a few percent are left out: a correction looks
the same. 7:5, 7:2 and the like are too rare to be the likelier explanation."""

HALF_A_CENT = 0.005
"""USD by which a close that is kept to the cent may be off."""
FACTOR_ROUNDING = 5e-4
"""Fraction by which an adjustment factor that a vendor keeps to 4 digits may be off."""
WIDEST = 0.01
"""Fraction: the nearest two usual ratios, 5:4 and 4:3, are 6.7 % apart, so a band of 1 % never holds two; and a vendor's
total-return adjustment, which also takes dividends of some percent off, stays outside."""


@dataclass(frozen=True, slots=True)
class Split:
    """`new` shares for every `old` ones; a reverse split has new < old."""

    new: int
    old: int

    @property
    def is_reverse(self) -> bool:
        return self.new < self.old

    def __str__(self) -> str:
        return f"{self.new}-for-{self.old} {'reverse split' if self.is_reverse else 'split'}"


SPLITS = tuple(Split(new, old) for new, old in USUAL_SPLITS) + tuple(Split(old, new) for new, old in USUAL_SPLITS)
FACTORS: Floats = np.array([one.old / one.new for one in SPLITS])
"""(K,) what a split multiplies earlier closes with."""


def split_rows(old: Floats, new: Floats) -> Ints:
    """The usual split that explains how each close was adjusted.

    Args:
        old: (N,) closes as they were, USD; NaN where there was none.
        new: (N,) closes of the same symbols and days as they are now, USD; NaN where there is none.

    Returns:
        (N,) places in SPLITS; -1 where no usual split is near. Near is within what rounding both closes to the cent and
        the factor to 4 digits can do, and never more than 1 %: a penny stock's ratio proves nothing.

    Source: adjusted close = close * old shares / new shares, as price vendors publish it (CRSP's factor to adjust price).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = new / old
        tolerance = np.minimum(HALF_A_CENT / old + HALF_A_CENT / new + FACTOR_ROUNDING, WIDEST)
        off = np.abs(ratio[:, None] / FACTORS - 1)
    off = np.where(np.isfinite(off), off, np.inf)
    place = off.argmin(axis=1)
    near = off[np.arange(len(off)), place] <= tolerance
    return np.where(near, place, -1)


def split_of(old: float | None, new: float | None) -> Split | None:
    """The same for one close."""
    (place,) = split_rows(np.array([np.nan if old is None else old]), np.array([np.nan if new is None else new]))
    return None if place < 0 else SPLITS[int(place)]
