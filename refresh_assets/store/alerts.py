"""Alerts as rows: each kind at most once a day, and whether somebody has it.

Here: the SQL of refresh_alerts, and the counts of portfolios that an alert tells. Not here: when to raise one, sending it
(automation/alerts.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg

from refresh_assets.errors import FAILURES

FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=1)
"""Between two tries to deliver: doubled each time, up to the longest."""
AT_ONCE = 20
"""Alerts tried at one look, oldest first: a dead service must not hold up the sensor."""


@dataclass(frozen=True)
class Alert:
    """One row of refresh_alerts."""

    kind: str
    day: date | None
    raised_at: datetime
    words: str
    delivered_at: datetime | None
    attempts: int
    last_error: str | None


_COLUMNS = "kind, day, raised_at, words, delivered_at, attempts, last_error"


def record_alert(connection: psycopg.Connection[Any], kind: str, day: date | None, words: str, now: datetime) -> bool:
    """Write an alert down, unless one of its kind and day is there; gives whether it is new."""
    done = connection.execute(
        "insert into refresh_alerts (kind, day, raised_at, words, attempts, next_try_at) values (%s, %s, %s, %s, 0, %s)"
        " on conflict do nothing",
        [kind, day, now, words, now],
    )
    return done.rowcount == 1


def claim_alerts(connection: psycopg.Connection[Any], now: datetime) -> list[Alert]:
    """Alerts that are to be tried now, oldest first; each is counted as tried and put off, so nobody else takes it.

    One whose sender dies is tried again after the pause."""
    rows = connection.execute(
        f"""
        with due as (
            select ctid from refresh_alerts where delivered_at is null and next_try_at <= %(now)s
            order by raised_at, kind, day limit {AT_ONCE} for update skip locked
        )
        update refresh_alerts a set attempts = attempts + 1,
            next_try_at = %(now)s + least(%(first)s * power(2, least(attempts, 30)), %(longest)s)
        from due where a.ctid = due.ctid returning {", ".join("a." + name for name in _COLUMNS.split(", "))}
        """,
        {"now": now, "first": FIRST_PAUSE, "longest": LONGEST_PAUSE},
    ).fetchall()
    return sorted((Alert(*row) for row in rows), key=lambda one: (one.raised_at, one.kind))


def note_delivery(
    connection: psycopg.Connection[Any], alert: Alert, delivered_at: datetime | None, error: str | None
) -> None:
    """What came of a try: when it was delivered (None: not), and what went wrong in words without a URL."""
    connection.execute(
        "update refresh_alerts set delivered_at = %s, last_error = %s where kind = %s and day is not distinct from %s",
        [delivered_at, error, alert.kind, alert.day],
    )


def undelivered_alerts(connection: psycopg.Connection[Any]) -> list[Alert]:
    """Alerts that nobody has yet, newest first."""
    rows = connection.execute(
        f"select {_COLUMNS} from refresh_alerts where delivered_at is null order by raised_at desc, kind, day"
    ).fetchall()
    return [Alert(*row) for row in rows]


@dataclass(frozen=True)
class DayResult:
    """How a day stands: tables that are not complete, whether it was skipped, portfolios that failed in some table."""

    lacking: list[str]
    skipped: bool
    failed: int


def day_results(
    connection: psycopg.Connection[Any], days: Sequence[date], tables: Sequence[str]
) -> dict[date, DayResult]:
    """How some days stand, as refresh_days and refresh_exceptions have them."""
    stored: dict[date, dict[str, str]] = {day: {} for day in days}
    for day, table, status in connection.execute(
        "select calculation_date, table_name, status from refresh_days where calculation_date = any(%s)", [list(days)]
    ).fetchall():
        stored[day][table] = status
    failed = dict(
        connection.execute(
            "select calculation_date, count(distinct portfolio_id) from refresh_exceptions"
            " where calculation_date = any(%s) and asset = any(%s) and code = any(%s) group by calculation_date",
            [list(days), list(tables), sorted(code.value for code in FAILURES)],
        ).fetchall()
    )
    return {
        day: DayResult(
            [table for table in tables if found.get(table) != "complete"],
            "skipped" in found.values(),
            failed.get(day, 0),
        )
        for day, found in stored.items()
    }
