"""Arrow columns as the arrays of core/, and back.

Here: uuids, dates and exact decimals, both ways. Not here: queries (read.py), which columns a table has (tables.py)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal, InvalidOperation
from importlib.abc import MetaPathFinder

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from refresh_assets.core.book import BAD, MISSING, OK, Days, Decimals, Uuids
from refresh_assets.core.money import FINEST, LARGEST, SCALE, Exact, Floats, Objects


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002
        if fullname == "pandas":
            raise ImportError("not now")


def _let_arrow_go_alone() -> None:
    """pyarrow looks for pandas with its first array, and loads it where it is installed: 0.5 s and 40 MB for nothing here.

    It looks only once, unless a conversion to pandas is asked for: so a look that finds nothing is brought forward."""
    if "pandas" in sys.modules:
        return
    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(finder)


_let_arrow_go_alone()
# Arrow's own allocator keeps what it once had; columns live for a moment, so the system's is as fast and gives it back.
pa.set_memory_pool(pa.system_memory_pool())

NOT_FINITE = pa.array(["nan", "inf", "-inf", "NaN", "Infinity", "-Infinity"])
_NEAR = 1e6  # some thousand times what a float of that size may be off
WHOLE_DIGITS = 38 - SCALE


def uuids(column: pa.ChunkedArray) -> Uuids:
    """(N,) of 16 bytes; null is all zero."""
    flat = _storage(column)
    if flat.null_count:
        flat = pc.fill_null(flat, bytes(16))
    return np.frombuffer(flat.buffers()[1], dtype="V16")[flat.offset : flat.offset + len(flat)]


def upper_and_lower(ids: Uuids) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """(N,) ids as their upper and lower 64 bits, which sort as the ids do."""
    both = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2).astype(np.uint64)
    return both[:, 0], both[:, 1]


def uuid_column(ids: Uuids) -> pa.Array:
    """16 bytes each, as binary COPY takes a uuid."""
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [None, pa.py_buffer(ids.tobytes())])


def index_in(column: pa.ChunkedArray, known: pa.Array) -> npt.NDArray[np.int64]:
    """(N,) row of each value in `known`, -1 where it is not there or null."""
    found = pc.index_in(_storage(column), value_set=_storage(known), skip_nulls=True)
    return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def by_content(
    rows: pa.Table, order: npt.NDArray[np.int64], again: npt.NDArray[np.bool_], columns: Mapping[str, str]
) -> npt.NDArray[np.int64]:
    """An order of rows in which those that it leaves equal follow what they say: else they would stand as they lie in their
    table, where any update moves them. Only equal rows are sorted: where ids are unique there is none.

    Args:
        order: (N,) rows.
        again: (N,) whether a row, in that order, equals the one before it.
        columns: those that decide, and "ascending" or "descending"."""
    tied = again.copy()
    tied[:-1] |= again[1:]
    places = np.flatnonzero(tied)
    if not len(places):
        return order
    some = rows.take(pa.array(order[places]))
    keys = {"group": pa.array(np.cumsum(~again[places])), **{name: _storage(some[name]) for name in columns}}
    sort_keys = [("group", "ascending"), *columns.items()]
    settled = order.copy()
    settled[places] = order[places][pc.sort_indices(pa.table(keys), sort_keys=sort_keys).to_numpy()]
    return settled


def days(column: pa.ChunkedArray) -> Days:
    """Dates as days since 1970-01-01."""
    return _flat(column).cast(pa.int32()).to_numpy(zero_copy_only=False).astype(np.int32)


def floats(column: pa.ChunkedArray) -> Floats:
    """Numerics as text, as nearest floats; null as NaN. PostgreSQL prints one in half the time in which it casts it."""
    return pc.cast(_flat(column), pa.float64()).to_numpy(zero_copy_only=False)


def decimals(column: pa.ChunkedArray, negative_is_bad: bool = False) -> Decimals:
    """Numerics as exact decimals, with what is wrong with each; values beyond 10^18 are BAD."""
    text = _storage(column)
    state = np.where(text.is_null().to_numpy(zero_copy_only=False), MISSING, OK).astype(np.int8)
    strange = pc.is_in(text, value_set=NOT_FINITE).to_numpy(zero_copy_only=False)
    state[strange] = BAD
    clean = pc.if_else(pa.array(state == OK), text, pa.scalar("0", text.type))
    try:
        exact = _slow(clean, state) if _is_wide(clean) else _fast(clean)
    except pa.ArrowInvalid:
        exact = _slow(clean, state)
    size = exact.to_float()
    absurd = np.abs(size) > float(LARGEST)
    # A float's last bit depends on the digits of the others in the column: next to the limit it is the number that counts.
    near = np.flatnonzero(np.abs(np.abs(size) - float(LARGEST)) < _NEAR)
    limit = int(LARGEST) * 10**exact.scale
    absurd[near] = [abs(units) > limit for units in exact.take(near).to_integers()]
    if negative_is_bad:
        absurd |= size < 0
    state[absurd & (state == OK)] = BAD
    if (state != OK).any():
        exact = exact.where(state == OK)
    return Decimals(exact, state)


def _is_wide(text: pa.Array) -> bool:
    """Whether some number has more digits before the point than decimal128 holds: Arrow's cast wraps it round in silence."""
    longest = pc.max(pc.binary_length(text)).as_py() or 0
    return longest > WHOLE_DIGITS and bool(
        pc.any(pc.match_substring_regex(text, f"^-?[0-9]{{{WHOLE_DIGITS + 1}}}")).as_py()
    )


def _fast(text: pa.Array) -> Exact:
    """12 decimals and 26 digits before the point, as nearly every column has."""
    numbers = pc.cast(text, pa.decimal128(38, SCALE))
    words = np.frombuffer(numbers.buffers()[1], dtype=np.int64).reshape(-1, 2)
    words = words[numbers.offset : numbers.offset + len(numbers)]
    return Exact.from_words(np.ascontiguousarray(words[:, 0]).view(np.uint64), np.ascontiguousarray(words[:, 1]))


def _slow(text: pa.Array, state: npt.NDArray[np.int8]) -> Exact:
    """Any scale and size, one by one; what is absurd is marked BAD in `state`."""
    numbers = []
    for row, word in enumerate(text.to_pylist()):
        try:
            number = Decimal(word)
        except InvalidOperation:
            number = LARGEST * 10
        if abs(number) > LARGEST or -int(number.as_tuple().exponent) > FINEST:
            state[row], number = BAD, Decimal(0)
        numbers.append(number)
    scale = max([SCALE, *(-int(number.as_tuple().exponent) for number in numbers)])
    return Exact.from_integers([int(number.scaleb(scale, _WIDE)) for number in numbers], scale)


_WIDE = Context(prec=100)


def money_column(cents: Objects) -> pa.Array:
    """Integers of cents as numeric(20,2)."""
    low = np.array([value & (2**64 - 1) for value in cents], dtype=np.uint64)
    high = np.array([value >> 64 for value in cents], dtype=np.int64)
    words = np.stack([low.view(np.int64), high], axis=1)
    return pa.Array.from_buffers(pa.decimal128(20, 2), len(cents), [None, pa.py_buffer(words.tobytes())])


def float_column(values: npt.NDArray[np.floating]) -> pa.Array:
    """Floats with NaN as null."""
    return pa.array(values, mask=np.isnan(values))


def list_column(values: pa.Array, ends: npt.NDArray[np.int64]) -> pa.Array:
    """Consecutive stretches of values as lists; `ends` (P,) where each ends."""
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def text_column(words: Sequence[str]) -> pa.Array:
    return pa.array(words, pa.string())


def _flat(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _storage(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    flat = _flat(column)
    return flat.storage if isinstance(flat, pa.ExtensionArray) else flat
