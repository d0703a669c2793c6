"""Which pairs of closes are called a split, and which are not.

Here: real adjustments, near misses, rounding. Not here: finding the pairs (store/test_stale.py)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.splits import FACTORS, SPLITS, WIDEST, Split, split_of, split_rows

# Closes before and after the vendor's adjustment: as published for the last day before each split.
REAL = [
    (499.23, 124.8075, "4-for-1 split"),  # Apple, 2020-08-28
    (2213.40, 442.68, "5-for-1 split"),  # Tesla, 2020-08-28
    (1208.88, 120.888, "10-for-1 split"),  # Nvidia, 2024-06-07
    (2255.34, 112.77, "20-for-1 split"),  # Alphabet, 2022-07-15, kept to the cent
    (60.00, 40.00, "3-for-2 split"),
    (0.62, 12.40, "1-for-20 reverse split"),
    (12.95, 103.60, "1-for-8 reverse split"),  # General Electric, 2021-07-30
    (10.01, 3.34, "3-for-1 split"),  # a third of 10.01, to the cent
]
CORRECTIONS = [
    (100.0, 101.0),  # a cent in the dollar
    (100.0, 99.5),  # a dividend
    (100.0, 48.5),  # half, and a dividend of 3 %: not the same thing
    (100.0, 110.0),  # a stock dividend is not told from a correction
    (0.02, 0.011),  # to the cent it could be anything
    (100.0, 100.0),
    (100.0, None),
    (None, 100.0),
    (0.0, 100.0),
    (100.0, 0.0),
]


@pytest.mark.parametrize(("old", "new", "name"), REAL)
def test_an_adjustment_by_a_usual_ratio_is_called_by_its_name(old: float, new: float, name: str) -> None:
    """Exchange announcements and what vendors made of earlier closes."""
    assert str(split_of(old, new)) == name


@pytest.mark.parametrize(("old", "new"), CORRECTIONS)
def test_a_correction_is_not_called_a_split(old: float | None, new: float | None) -> None:
    """Dividends, typing errors, missing and worthless closes."""
    assert split_of(old, new) is None


@given(st.sampled_from(SPLITS), st.floats(5, 5_000))
def test_rounding_to_the_cent_hides_no_split(split: Split, close: float) -> None:
    """Both closes of a share of some dollars, kept to the cent, still give the announced ratio."""
    old = round(close, 2)
    new = round(old * split.old / split.new, 2)
    if 0.005 / new < WIDEST / 2:
        assert split_of(old, new) == split


def test_no_ratio_is_near_two_splits() -> None:
    """The widest tolerance is far less than half of the way between neighbours."""
    ordered = np.sort(FACTORS)

    assert len(set(SPLITS)) == len(SPLITS)
    assert (ordered[1:] / ordered[:-1]).min() > (1 + WIDEST) ** 2


def test_many_closes_at_once_are_judged_one_by_one() -> None:
    """The same answers in one call."""
    old, new = (np.array(column) for column in zip(*[(o, n) for o, n, _ in REAL], strict=True))

    assert [str(SPLITS[place]) for place in split_rows(old, new)] == [name for _, _, name in REAL]
