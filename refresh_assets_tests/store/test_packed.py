"""Packed columns say what the rows say.

Here: packed.py on a real server, for any value that PostgreSQL holds. Not here: what is read with it (test_read.py)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresh_assets.store import packed
from refresh_assets.store.arrow import uuids
from refresh_assets.store.database import Database, Snapshot, value
from refresh_assets.store.packed import LONGEST_NUMBER, SEPARATOR, Day, Text, Uuid, number

Row = tuple[str | None, str | None, str | None, str, str]
ROWS = f"""from jsonb_to_recordset({value("rows", "jsonb")})
    as t(id uuid, name text, size numeric, day date, kind text)"""
COLUMNS = {"id": Uuid("id"), "name": Text("name"), "size": number("size"), "day": Day("day")}

TEXT = st.one_of(
    st.none(),
    st.sampled_from(["", ",", "\n", "NaN", "null", "'", "\\", "Ünïcødé", "\N{CJK UNIFIED IDEOGRAPH-682A}"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
)
NUMBER = st.one_of(
    st.none(),
    st.sampled_from(["NaN", "Infinity", "-Infinity", "0", "-0.00", "1" + "0" * 400, "0." + "0" * 90 + "1"]),
    st.decimals(allow_nan=False, allow_infinity=False, places=6).map(str),
)
DAYS = st.dates(date(1900, 1, 1), date(9999, 12, 31)).map(date.isoformat)
ANY_ROW = st.tuples(st.none() | st.uuids().map(str), TEXT, NUMBER, DAYS, st.sampled_from("ABC"))


@pytest.fixture
def snapshot(database: Database) -> Iterator[Snapshot]:
    with closing(database.snapshot()) as snapshot:
        yield snapshot


def as_rows(found: pa.Table) -> Counter[tuple[object, ...]]:
    """The rows, whatever their order."""
    ids = [UUID(bytes=one.tobytes()) for one in uuids(found["id"])] if len(found) else []
    others = (found[name].to_pylist() for name in found.column_names if name != "id")
    return Counter(zip(ids, *others, strict=True))


def given_rows(snapshot: Snapshot, rows: list[Row]) -> Counter[tuple[object, ...]]:
    """Let the server hold the rows; what their columns say one by one."""
    names = ("id", "name", "size", "day", "kind")
    snapshot.set(rows=json.dumps([dict(zip(names, row, strict=True)) for row in rows]))
    plain = snapshot.fetch(f"select id, name, size::text as size, day, kind {ROWS}").to_pylist()
    return Counter(
        (
            row["id"] or UUID(int=0),
            row["name"] if row["name"] and SEPARATOR not in row["name"] else None,
            row["size"][:LONGEST_NUMBER] if row["size"] else None,
            row["day"],
            row["kind"],
        )
        for row in plain
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ANY_ROW, max_size=30))
def test_any_rows_come_as_they_are(snapshot: Snapshot, rows: list[Row]) -> None:
    """By one query for all rows, and by values that come once each."""
    expected = given_rows(snapshot, rows)
    by_kind = packed.fetch(snapshot, COLUMNS, ROWS, by={"kind": "kind"})
    assert as_rows(by_kind.select(["id", "name", "size", "day", "kind"])) == expected
    without_kind = Counter[tuple[object, ...]]()
    for row, times in expected.items():
        without_kind[row[:-1]] += times
    assert as_rows(packed.fetch(snapshot, COLUMNS, ROWS)) == without_kind


def test_no_row_at_all_is_an_empty_column_of_its_type(snapshot: Snapshot) -> None:
    """Of the same type as with rows: nobody has to ask first."""
    one: Row = (str(UUID(int=1)), "AAA", "1.5", "2026-03-13", "A")
    for by in ({"kind": "kind"}, None):
        given_rows(snapshot, [one])
        full = packed.fetch(snapshot, COLUMNS, ROWS, by)
        given_rows(snapshot, [])
        empty = packed.fetch(snapshot, COLUMNS, ROWS, by)
        assert len(full) == 1
        assert len(empty) == 0
        assert empty.schema == full.schema


def test_a_separator_in_one_row_changes_no_other(snapshot: Snapshot) -> None:
    """It is met by the number of values, and the rows are read once more with an eye on it."""
    rows: list[Row] = [
        (str(UUID(int=n)), name, "1", "2026-03-13", "A") for n, name in enumerate(["A", "B\x1fC", "D"], 1)
    ]
    given_rows(snapshot, rows)
    found = packed.fetch(snapshot, COLUMNS, ROWS)
    names = dict(
        zip((int(UUID(bytes=one.tobytes())) for one in uuids(found["id"])), found["name"].to_pylist(), strict=True)
    )
    assert names == {1: "A", 2: None, 3: "D"}
