"""What follows when only one of the two sides of the accounting is read again.

Here: Agreement over made-up sides. Not here: when a side is read again (test_gate_facts.py)."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.store.agreement import Agreement, Sums
from refresh_assets_tests.worlds import CALENDAR

DAYS = CALENDAR.days(date(2026, 3, 2), date(2026, 3, 13))
SIDES = st.lists(st.none() | st.integers(-2, 2), min_size=len(DAYS), max_size=len(DAYS))


def side(sums: list[int | None]) -> Sums:
    """By day; None: nobody is expected, or the day is not stored."""
    return Sums(np.array([one is not None for one in sums]), np.array([one or 0 for one in sums], dtype=np.int64))


@given(SIDES, SIDES, SIDES)
def test_one_side_alone_never_says_what_both_would_not(
    expected: list[int | None], stored: list[int | None], later: list[int | None]
) -> None:
    """Either it comes to what both sides say, or it asks for the other one; also out of a cursor."""
    first = Agreement.of(DAYS, side(expected), side(stored))
    first = Agreement.from_json(json.loads(json.dumps(first.to_json(CALENDAR))), CALENDAR)
    assert first == Agreement.of(DAYS, side(expected), side(stored))
    assert list(first.pending) == [
        day for day, wanted, there in zip(DAYS, expected, stored, strict=True) if wanted is not None and wanted != there
    ]
    assert first.with_stored(DAYS, side(later)) in (None, Agreement.of(DAYS, side(expected), side(later)))
    assert first.with_expected(DAYS, side(later)) in (None, Agreement.of(DAYS, side(later), side(stored)))
    assert first.with_stored(DAYS, side(stored)) == first == first.with_expected(DAYS, side(expected))


@pytest.mark.parametrize("there", [3, None])
def test_a_day_that_comes_or_changes_needs_no_other_side_and_one_that_goes_does(there: int | None) -> None:
    """The night's commit is the first, a restored backup the second."""
    expected, stored = [5, 6, *[7] * 8], [None, there, *[7] * 8]
    first = Agreement.of(DAYS, side(list(expected)), side(list(stored)))
    committed = first.with_stored(DAYS, side([5, there, *[7] * 8]))
    assert committed is not None
    assert list(committed.pending) == [DAYS[1]]
    assert first.with_stored(DAYS, side([5, 6, None, *[7] * 7])) is None
    assert first.with_stored(DAYS, side([5, 6, 8, *[7] * 7])) is None
    moved = first.with_expected(DAYS, side([4, 3, *[7] * 8]))
    assert moved is not None
    assert list(moved.pending) == ([DAYS[0]] if there == 3 else DAYS[:2])
    assert first.with_expected(DAYS, side([5, 6, 7, 9, *[7] * 6])) is None


def test_a_day_that_somebody_is_expected_on_at_last_needs_what_is_stored() -> None:
    """Nobody looked at what is stored of a day of nobody."""
    first = Agreement.of(DAYS, side([None, *[7] * 9]), side([3, *[7] * 9]))
    assert not first.pending
    assert first.with_expected(DAYS, side([3, *[7] * 9])) is None
