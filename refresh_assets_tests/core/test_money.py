"""Promises of exact money: sums and products equal Python's integers, and are rounded once, half-even.

Here: limbs against Python's int and Decimal. Not here: what is summed (test_snapshots.py, test_daily_pnl.py)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.money import (
    MONEY_LIMIT,
    SCALE,
    Exact,
    at_scale,
    product_sums,
    split_product_sums,
    sums,
    to_cents,
)
from refresh_assets_tests.core.builders import exact

WIDE = Context(prec=200, rounding=ROUND_HALF_EVEN)
LARGEST = 10**18
INT128 = st.integers(-(2**127), 2**127 - 1)

numbers = st.integers(0, 30).flatmap(
    lambda scale: st.integers(-LARGEST * 10**scale, LARGEST * 10**scale).map(lambda n: Decimal(n).scaleb(-scale, WIDE))
)
columns = st.lists(numbers, max_size=12)
pairs = st.lists(st.tuples(numbers, numbers), max_size=12)


def segments(size: int, cuts: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Starts of segments, the first at 0, some of them empty."""
    return np.array([0, *sorted(cut % (size + 1) for cut in cuts)], dtype=np.int64)


def decimal_of(units: int, scale: int) -> Decimal:
    return Decimal(units).scaleb(-scale, WIDE)


@given(columns, st.lists(st.integers(0, 100), max_size=3))
def test_sums_equal_those_of_decimal_at_any_scale_and_size(column: list[Decimal], cuts: list[int]) -> None:
    """Every segment's sum is exact, an empty segment's is 0."""
    starts = segments(len(column), cuts)
    units, scale = sums(exact(column), starts)
    ends = [*starts[1:], len(column)]
    for segment, (begin, end) in enumerate(zip(starts, ends, strict=True)):
        expected = sum((int(number.scaleb(scale, WIDE)) for number in column[begin:end]), 0)
        assert int(units[segment]) == expected


@given(pairs, st.lists(st.integers(0, 100), max_size=3))
def test_sums_of_products_equal_those_of_decimal(rows: list[tuple[Decimal, Decimal]], cuts: list[int]) -> None:
    """No product loses a digit, whatever the scales of its factors."""
    starts = segments(len(rows), cuts)
    units, scale = product_sums(exact([a for a, _ in rows]), exact([b for _, b in rows]), starts)
    ends = [*starts[1:], len(rows)]
    for segment, (begin, end) in enumerate(zip(starts, ends, strict=True)):
        expected = Decimal(0)
        for left, right in rows[begin:end]:
            expected = WIDE.add(expected, WIDE.multiply(left, right))
        assert decimal_of(int(units[segment]), scale) == expected


@given(pairs, pairs)
def test_a_sum_does_not_depend_on_which_rows_stand_beside_it(
    mine: list[tuple[Decimal, Decimal]], others: list[tuple[Decimal, Decimal]]
) -> None:
    """A neighbour with 30 decimals or 10^18 changes limbs and scale of the column, not the sum."""
    alone, scale_alone = product_sums(exact([a for a, _ in mine]), exact([b for _, b in mine]), np.array([0]))
    rows = mine + others
    beside, scale = product_sums(exact([a for a, _ in rows]), exact([b for _, b in rows]), np.array([0, len(mine)]))
    assert decimal_of(int(alone[0]), scale_alone) == decimal_of(int(beside[0]), scale)


def test_two_hundred_thousand_large_products_of_one_portfolio_do_not_overflow() -> None:
    """Limbs are added up before they are carried: many rows of the largest limbs stay exact."""
    number = 200_000
    for unit in (2**62 - 1, -(2**62)):
        units, _ = product_sums(
            Exact.from_integers([unit] * number), Exact.from_integers([2**62 - 1] * number), np.array([0])
        )
        assert int(units[0]) == number * unit * (2**62 - 1)


@pytest.mark.parametrize(
    ("amount", "cents"),
    [
        ("0.005", 0),
        ("0.015", 2),
        ("0.025", 2),
        ("-0.005", 0),
        ("-0.015", -2),
        ("-0.025", -2),
        ("1.234999999999", 123),
        ("1.235000000001", 124),
        ("-1.235000000001", -124),
        ("0.0250000000000000000000000001", 3),
    ],
)
def test_a_half_cent_goes_to_the_even_cent(amount: str, cents: int) -> None:
    """Ties to even, anything beside a tie to the nearest, both signs alike."""
    units, scale = sums(exact([Decimal(amount)]), np.array([0]))
    assert to_cents(units, scale).tolist() == [cents]


@given(columns)
def test_rounding_equals_decimal_half_even(column: list[Decimal]) -> None:
    """Cents are Decimal's quantize with ROUND_HALF_EVEN."""
    units, scale = sums(exact(column), np.arange(len(column)))
    expected = [int(number.quantize(Decimal("0.01"), context=WIDE).scaleb(2, WIDE)) for number in column]
    assert [int(cents) for cents in to_cents(units, scale)] == expected


@given(st.integers(-(10**40), 10**40))
def test_a_tie_far_beyond_64_bits_is_still_a_tie(cents: int) -> None:
    """cents and a half exactly, at 12 decimals: the even neighbour."""
    units = np.array([cents * 10**10 + 5 * 10**9], dtype=object)
    assert to_cents(units, SCALE)[0] == (cents if cents % 2 == 0 else cents + 1)


@given(st.lists(INT128, max_size=12))
def test_128_bit_words_come_back_as_the_same_integers(whole: list[int]) -> None:
    """Both halves of Arrow's decimal128 are read, sign included."""
    low = np.array([value & (2**64 - 1) for value in whole], dtype=np.uint64)
    high = np.array([value >> 64 for value in whole], dtype=np.int64)
    assert Exact.from_words(low, high).to_integers().tolist() == whole


@pytest.mark.parametrize("edge", [0, -1, 2**31, -(2**31), 2**62, -(2**62), 2**63 - 1, -(2**63), 2**64, -(2**64)])
def test_a_number_at_the_edge_of_a_limb_or_word_survives(edge: int) -> None:
    """Edges of limbs and words, alone and beside each other, are read, signed and summed as they are."""
    for value in (edge - 1, edge, edge + 1):
        low, high = np.array([value & (2**64 - 1)], dtype=np.uint64), np.array([value >> 64], dtype=np.int64)
        for numbers_ in (Exact.from_words(low, high), Exact.from_integers([value])):
            assert numbers_.to_integers().tolist() == [value]
            assert numbers_.sign().tolist() == [(value > 0) - (value < 0)]
            doubled = numbers_.plus(numbers_)
            assert doubled.to_integers().tolist() == [2 * value]


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12))
def test_addition_and_sign_equal_those_of_decimal(rows: list[tuple[Decimal, Decimal]]) -> None:
    """plus, plus_at and sign agree with Decimal, across different scales."""
    left, right = exact([a for a, _ in rows]), exact([b for _, b in rows])
    total = left.plus(right)
    expected = [WIDE.add(a, b) for a, b in rows]
    assert [decimal_of(int(n), total.scale) for n in total.to_integers()] == expected
    assert total.sign().tolist() == [(n > 0) - (n < 0) for n in expected]
    piled = Exact.zeros(1).plus_at(np.zeros(len(rows), dtype=np.int64), right)
    whole = Decimal(0)
    for _, addend in rows:
        whole = WIDE.add(whole, addend)
    assert decimal_of(int(piled.to_integers()[0]), piled.scale) == whole


@given(columns, columns)
def test_one_column_after_another_holds_the_numbers_of_both(first: list[Decimal], second: list[Decimal]) -> None:
    """followed_by keeps every number and its sign, whatever the scales and sizes, and their canonical form."""
    both, whole = exact(first).followed_by(exact(second)), exact(first + second)
    assert [decimal_of(int(n), both.scale) for n in both.to_integers()] == first + second
    assert both.sign().tolist() == whole.sign().tolist()
    assert all(np.array_equal(one, other) for one, other in zip(both.canonical(), whole.canonical(), strict=True))


@given(columns)
def test_the_float_of_a_number_is_within_an_ulp(column: list[Decimal]) -> None:
    """Analytics that need no cents get the number itself."""
    for found, number in zip(exact(column).to_float(), column, strict=True):
        assert abs(float(found) - float(number)) <= 2 * np.spacing(abs(float(number)))


@given(columns, columns)
def test_the_canonical_form_of_a_number_is_its_own(mine: list[Decimal], others: list[Decimal]) -> None:
    """What the digest hashes of a number does not depend on its neighbours' size or decimals."""
    limbs, scales = exact(mine).canonical()
    limbs_beside, scales_beside = exact(mine + others).canonical()
    assert np.array_equal(limbs, limbs_beside[:, : len(mine)])
    assert np.array_equal(scales, scales_beside[: len(mine)])


def test_the_limit_of_money_is_what_numeric_20_2_holds() -> None:
    """10^18 USD in cents: the first amount that the column refuses."""
    assert Decimal(MONEY_LIMIT) / 100 == Decimal(10) ** 18


def test_units_of_another_scale_are_the_same_amount() -> None:
    """1.5 at 1 decimal is 1500 at 3."""
    assert at_scale(np.array([15], dtype=object), 1, 3).tolist() == [1500]


@given(st.lists(st.tuples(numbers, numbers, st.sampled_from(["long", "short", "none"])), max_size=12))
def test_split_product_sums_are_the_sums_of_each_side(rows: list[tuple[Decimal, Decimal, str]]) -> None:
    """Every product is made once, and counted where it belongs."""
    left, right = exact([a for a, _, _ in rows]), exact([b for _, b, _ in rows])
    long, short = (np.array([side == name for _, _, side in rows], dtype=bool) for name in ("long", "short"))
    starts = np.array([0, len(rows) // 2])
    both = split_product_sums(left, right, long, short, starts)
    for (units, scale), rows_of in zip(both, (long, short), strict=True):
        alone, same = product_sums(left.where(rows_of), right, starts)
        assert (units.tolist(), scale) == (alone.tolist(), same)
