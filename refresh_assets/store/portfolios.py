"""Portfolios by the words of a person, and by the words for a person.

Here: the lookup by uuid or exact name, names of ids. Not here: all of them for a night (read.py), first rows of a new one
(onboarding.py)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import psycopg

from refresh_assets.errors import UsageError
from refresh_assets.store.dates import STARTS

SHOWN = 5


@dataclass(frozen=True)
class Portfolio:
    """A portfolio of the platform; `start` is the first day on which it exists for the night."""

    id: UUID
    name: str | None
    inception: date | None
    start: date


def find_portfolio(connection: psycopg.Connection[Any], words: str, deleted_too: bool = False) -> Portfolio:
    """The portfolio of a uuid or of an exact name.

    Args:
        deleted_too: also one that is deleted today; of several of one name then the one that is not.

    Raises UsageError for one that is unknown, or shares its name."""
    try:
        chosen = UUID(words)
    except ValueError:
        chosen = None
    rows = connection.execute(
        "select f.id, f.name, case when f.inception_date is not null then"
        f" least(greatest(f.inception_date, date '1900-01-01'), date '9999-12-31') end, {STARTS},"
        " f.deleted_at is null from portfolios f"
        " where (f.id = %s or f.name = %s) and (%s or f.deleted_at is null) order by f.id",
        [chosen, words, deleted_too],
    ).fetchall()
    rows = [row for row in rows if row[0] == chosen] or [row for row in rows if row[4]] or rows
    if not rows:
        known = "a portfolio" if deleted_too else "a portfolio that is not deleted"
        raise UsageError(f"there is no portfolio {words!r}", f"give the uuid or the exact name of {known}")
    if len(rows) > 1:
        some = ", ".join(str(row[0]) for row in rows[:SHOWN]) + (", ..." if len(rows) > SHOWN else "")
        raise UsageError(f"{len(rows)} portfolios are named {words!r}", f"give the uuid of one: {some}")
    return Portfolio(*rows[0][:4])


def names_of(connection: psycopg.Connection[Any], ids: Collection[UUID]) -> dict[str, str]:
    """Names of portfolios by uuid as text; those without a name are left out."""
    rows = connection.execute("select id::text, name from portfolios where id = any(%s)", [sorted(ids)]).fetchall()
    return {one: name for one, name in rows if name}
