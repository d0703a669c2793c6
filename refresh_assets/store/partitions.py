"""Month partitions of our day tables.

Here: making the one that a day belongs to. Not here: what is written into it (write.py)."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from refresh_assets.store.schema_names import OWNER_MARK


def ensure_partition(connection: psycopg.Connection[Any], table: str, day: date) -> str:
    """The month's partition, made and attached where there is none. ATTACH waits for no reader and holds none up."""
    first = day.replace(day=1)
    after = (first.replace(year=first.year + 1, month=1)) if first.month == 12 else first.replace(month=first.month + 1)
    name = f"{table}_{first:%Y_%m}"
    with connection.transaction():
        if _is_partition(connection, name, table):
            return name
        connection.execute("select pg_advisory_xact_lock(hashtext('refresh partitions'))")
        if _is_partition(connection, name, table):
            return name
        parent, child = Identifier(table), Identifier(name)
        connection.execute(SQL("create table {} (like {} including all)").format(child, parent))
        comment = Literal(f"{OWNER_MARK}{first:%B %Y} of {table}")
        connection.execute(SQL("comment on table {} is {}").format(child, comment))
        connection.execute(
            SQL("alter table {} attach partition {} for values from ({}) to ({})").format(
                parent, child, Literal(first), Literal(after)
            )
        )
    return name


def _is_partition(connection: psycopg.Connection[Any], name: str, table: str) -> bool:
    row = connection.execute(
        "select exists (select from pg_inherits where inhrelid = to_regclass(%s) and inhparent = to_regclass(%s))",
        [name, table],
    ).fetchone()
    return bool(row and row[0])
