"""Rows of batch_run_tracking, as the gate reads and writes them.

Here: what the symbol batch says of some days, batches that completed since an earlier look, and the one row that the gate
writes: `aborted`. Not here: what follows from it (automation/gate.py), our own row while a night runs (tracking.py)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg

from refresh_assets.store.days import SYMBOL_BATCH
from refresh_assets.store.tracking import ABORTED, BATCH, metrics_of_none

COMPLETED = "completed"

# An instant that Python cannot hold ('infinity') says nothing.
_COMPLETED_AT = (
    "case when completed_at between timestamptz '1900-01-01' and timestamptz '9999-01-01' then completed_at end"
)


@dataclass(frozen=True)
class BatchRow:
    """What the symbol batch says of a day, its own words where it failed, and when it completed; None: nothing."""

    status: str | None = None
    error: str | None = None
    completed_at: datetime | None = None


def batch_rows(
    connection: psycopg.Connection[Any], days: Sequence[date], effective: date
) -> tuple[dict[date, BatchRow], str | None]:
    """What the symbol batch says of some days, ascending, and what our own row says of the effective day."""
    rows = connection.execute(
        f"select batch_type::text, target_date, status::text, error_message, {_COMPLETED_AT} from batch_run_tracking"
        " where batch_type = %s and target_date between %s and %s or batch_type = %s and target_date = %s",
        [SYMBOL_BATCH, *((days[0], days[-1]) if days else (None, None)), BATCH, effective],
    ).fetchall()
    night = next((status for batch, _, status, *_ in rows if batch == BATCH), None)
    return {day: BatchRow(*said) for batch, day, *said in rows if batch == SYMBOL_BATCH}, night


@dataclass(frozen=True, order=True)
class CompletedBatch:
    """A symbol batch that completed: in the order in which it should be told."""

    at: datetime
    day: date


def completed_batches(
    connection: psycopg.Connection[Any], after: CompletedBatch | None, limit: int
) -> list[CompletedBatch]:
    """Symbol batches that completed after another one (or all), in that order, at most `limit`.

    One that completes anew, later, is told anew. Without a time of its own a batch counts as of the end of its day."""
    rows = connection.execute(
        f"select * from (select coalesce({_COMPLETED_AT}, (target_date + 1) at time zone 'America/New_York') as at,"
        " target_date as day from batch_run_tracking where batch_type = %s and status::text = %s"
        " and target_date between date '1900-01-01' and date '9999-01-01') done"
        " where (at, day) > (%s, %s) order by at, day limit %s",
        [
            SYMBOL_BATCH,
            COMPLETED,
            after.at if after else datetime(1900, 1, 1, tzinfo=UTC),
            after.day if after else date(1900, 1, 1),
            limit,
        ],
    ).fetchall()
    return [CompletedBatch(*row) for row in rows]


def record_aborted(connection: psycopg.Connection[Any], day: date, words: str, now: datetime) -> bool:
    """Say in batch_run_tracking that a night did not start, unless a row says what it did; gives whether that is new."""
    done = connection.execute(
        "insert into batch_run_tracking (batch_type, target_date, status, started_at, completed_at, error_message, metrics)"
        " values (%s, %s, %s, %s, %s, %s, %s) on conflict (batch_type, target_date) do nothing",
        [BATCH, day, ABORTED, now, now, words, json.dumps(metrics_of_none(words))],
    )
    return done.rowcount > 0
