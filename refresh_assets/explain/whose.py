"""Whose figure: a portfolio by uuid or exact name, one that is deleted today included.

Here: the lookup. Not here: the same for those that are not deleted (store/onboarding.py)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg

from refresh_assets.errors import UsageError
from refresh_assets.store.onboarding import SHOWN, Portfolio
from refresh_assets.store.read import STARTS


def find_any_portfolio(connection: psycopg.Connection[Any], words: str) -> Portfolio:
    """The portfolio of a uuid or of an exact name; of several of that name the one that is not deleted.

    Raises UsageError for one that is unknown, or shares its name."""
    try:
        chosen = UUID(words)
    except ValueError:
        chosen = None
    rows = connection.execute(
        "select f.id, f.name, case when f.inception_date is not null then"
        f" least(greatest(f.inception_date, date '1900-01-01'), date '9999-12-31') end, {STARTS},"
        " f.deleted_at is null from portfolios f"
        " where f.id = %s or f.name = %s order by f.id",
        [chosen, words],
    ).fetchall()
    rows = [row for row in rows if row[0] == chosen] or [row for row in rows if row[4]] or rows
    if not rows:
        raise UsageError(f"there is no portfolio {words!r}", "give the uuid or the exact name of a portfolio")
    if len(rows) > 1:
        some = ", ".join(str(row[0]) for row in rows[:SHOWN]) + (", ..." if len(rows) > SHOWN else "")
        raise UsageError(f"{len(rows)} portfolios are named {words!r}", f"give the uuid of one: {some}")
    return Portfolio(*rows[0][:4])
