"""One short scan of a large table, and its answer in few bytes.

Here: what PostgreSQL's planner has to be told for it, fixed-width rows as one value, ids as an array. Not here: what is
scanned for (owned.py, expected.py, coverage.py), columns of whole tables (arrow.py).

A row of Python objects a portfolio would cost as much as the scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.store.dates import day_number

Rows = npt.NDArray[np.int64]
NEVER = day_number(date(9999, 12, 31))
_MILLENNIUM = day_number(date(2000, 1, 1))  # PostgreSQL counts from there


def plan_for_scans(connection: psycopg.Connection[Any]) -> None:
    """Let the transaction's plans use what makes one short scan of a large table quick.

    Compiling (jit) costs more than such a scan, the planner's price of a parallel worker is that of 1,000 pages, it takes
    the state of an aggregate for 8 kB a group where most groups have none, and a look-up by an index for four times as dear as
    it is. One worker, not two: three processes that group take longer than two where there are two cores, and a look has no
    claim to more."""
    connection.execute(
        "select set_config('jit', 'off', true), set_config('parallel_setup_cost', '0', true),"
        " set_config('parallel_tuple_cost', '0', true), set_config('hash_mem_multiplier', '1000', true),"
        " set_config('random_page_cost', '1.1', true), set_config('max_parallel_workers_per_gather',"
        " least(current_setting('max_parallel_workers_per_gather')::int, 1)::text, true)"
    )


def sent(
    connection: psycopg.Connection[Any], query: str, asked: Sequence[object] | Mapping[str, object], form: np.dtype[Any]
) -> npt.NDArray[Any]:
    """The one value of a query: bytes, many fixed-width rows; null is none of them."""
    row = connection.execute(query, asked, binary=True).fetchone()
    return rows_of(row[0] if row else None, form)


def rows_of(value: bytes | None, form: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.frombuffer(value or b"", dtype=form)


def as_array(ids: npt.NDArray[np.void]) -> str:
    """As PostgreSQL writes an array: a UUID as an object, and its way back to bytes, cost as much as a query."""
    return f"{{{','.join(one.tobytes().hex() for one in ids)}}}"


def as_days(sent_dates: npt.NDArray[Any]) -> Rows:
    """Numbers of dates as `date_send` gives them; infinite ones too, which no calendar reaches."""
    return np.clip(sent_dates.astype(np.int64) + _MILLENNIUM, day_number(date(1900, 1, 1)), NEVER)


def places_of(wanted: npt.NDArray[np.void], ids: npt.NDArray[np.void]) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Where some ids stand among others, which ascend byte by byte; and whether they stand there at all."""
    if not len(ids):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    of, among = wanted.view("S16"), ids.view("S16")
    row = np.minimum(_searched(of, among), len(among) - 1)
    return row, among[row] == of


def _searched(of: npt.NDArray[np.bytes_], among: npt.NDArray[np.bytes_]) -> Rows:
    """Where ids would stand among ascending ones: by their first halves as numbers, in order, which takes a third of the time,
    where those tell all apart."""
    heads = _heads(among)
    if len(of) < _FEW or not (heads[1:] > heads[:-1]).all():
        return np.searchsorted(among, of)
    wanted = _heads(of)
    order = np.argsort(wanted)
    row = np.empty(len(of), dtype=np.int64)
    row[order] = np.searchsorted(heads, wanted[order])
    return row


_FEW = 1000


def _heads(ids: npt.NDArray[np.bytes_]) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(ids).view(">u8")[::2].astype(np.uint64)
