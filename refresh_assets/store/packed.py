"""Many rows in one: columns that PostgreSQL packs end to end, taken apart here.

Here: the SQL that packs the rows of a query, and the same columns in Arrow. Not here: which rows (read.py, read_market.py), the
connection (database.py).

Through the driver each field of each row costs; packed, a column of 300,000 rows is one field, and PostgreSQL appends to a
string what it would else send. It does so up to 1 GB a row: some ten million rows, more than a chunk of portfolios or a day of
closes has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from refresh_assets.store.database import Snapshot

SEPARATOR = "\x1f"  # ASCII's "unit separator"
NO_END = date(9999, 12, 31)
LONGEST_NUMBER = 64
"""Characters of a number: with more it is beyond 10^18 or finer than 40 decimals by these alone."""


@dataclass(frozen=True)
class Packed(ABC):
    """An SQL expression that becomes one column."""

    expression: str

    @abstractmethod
    def sql(self, is_sure: bool) -> str:
        """The aggregate; all of one query meet the rows in one order. `is_sure`: whatever the values are."""

    @abstractmethod
    def column(self, packed: pa.Array) -> pa.Array:
        """The values, of one packed value after the other."""


class Uuid(Packed):
    """A uuid; null as all zero."""

    def sql(self, is_sure: bool) -> str:  # noqa: ARG002
        return f"string_agg(uuid_send(coalesce({self.expression}, '00000000-0000-0000-0000-000000000000')), '')"

    def column(self, packed: pa.Array) -> pa.Array:
        data = _bytes(packed)
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), data.size // 16, [None, data])


class Day(Packed):
    """A date that is never null."""

    def sql(self, is_sure: bool) -> str:  # noqa: ARG002
        return f"string_agg(int4send(({self.expression}) - date '1970-01-01'), '')"

    def column(self, packed: pa.Array) -> pa.Array:
        return pa.array(np.frombuffer(_bytes(packed), dtype=">i4").astype(np.int32)).cast(pa.date32())


@dataclass(frozen=True)
class End(Packed):
    """A date made of a column that is null nearly always; NO_END where it is.

    Attributes:
        of: that column."""

    of: str

    def sql(self, is_sure: bool) -> str:  # noqa: ARG002
        day = f"(({self.expression}) - date '1970-01-01')::text"
        return f"string_agg(case when {self.of} is null then '' else {day} end, ',')"

    def column(self, packed: pa.Array) -> pa.Array:
        return _words(packed, ",").cast(pa.int32()).cast(pa.date32()).fill_null(NO_END)


class Text(Packed):
    """Text; null where it is empty, or has the separator in it, as no symbol has."""

    def sql(self, is_sure: bool) -> str:
        text = f"({self.expression})::text"  # of an enum, the empty text would be none of its values
        plain = f"case when strpos({text}, E'\\x1f') = 0 then {text} end"
        return f"string_agg(coalesce({plain if is_sure else text}, ''), E'\\x1f')"

    def column(self, packed: pa.Array) -> pa.Array:
        return _words(packed, SEPARATOR)


def number(expression: str) -> Packed:
    """A number as text: PostgreSQL prints one in a third of the time in which the driver does."""
    return Text(f"left(({expression})::text, {LONGEST_NUMBER})")


def fetch(
    snapshot: Snapshot, columns: Mapping[str, Packed], source: str, by: Mapping[str, str] | None = None
) -> pa.Table:
    """The rows of a query, in no order.

    Args:
        columns: by name.
        source: the query from its `from` on.
        by: more columns, of expressions that few rows differ in: each of their values comes once."""
    by = by or {}
    for is_sure in (False, True):  # text with a separator in it is so rare that it is looked for only where one is met
        chosen = [f"{one} as {name}" for name, one in by.items()] + ["count(*) as rows"]
        chosen += [f"{one.sql(is_sure)} as {name}" for name, one in columns.items()]
        upto = f"group by {', '.join(by.values())}" if by else "having count(*) > 0"
        found = snapshot.fetch(f"select {', '.join(chosen)} {source} {upto}").combine_chunks()
        rows = found["rows"].to_numpy()
        unpacked = {name: one.column(_whole(found[name])) for name, one in columns.items()}
        if all(len(one) == rows.sum() for one in unpacked.values()):
            break
    else:
        raise ValueError(
            f"{source}: packed columns of {[len(one) for one in unpacked.values()]} values, {rows.sum()} rows"
        )
    places = pa.array(np.repeat(np.arange(len(rows)), rows))
    return pa.table({**{name: _whole(found[name]).take(places) for name in by}, **unpacked})


def _words(packed: pa.Array, separator: str) -> pa.Array:
    """What stands between the separators; null where nothing does."""
    words = pc.split_pattern(packed, separator).values
    return pc.if_else(pc.equal(pc.binary_length(words), 0), pa.scalar(None, words.type), words)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _bytes(packed: pa.Array) -> pa.Buffer:
    """Those of all values, one after the other."""
    offsets, data = np.frombuffer(packed.buffers()[1] or b"\0\0\0\0", dtype=np.int32), packed.buffers()[2]
    begin, end = offsets[packed.offset], offsets[packed.offset + len(packed)]
    return data[begin:end] if data is not None else pa.py_buffer(b"")
