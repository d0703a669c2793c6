"""Realized events where the platform may not have their table: what stands in its place.

Here: an empty relation of the same columns, and SQL for the one that is there. Not here: reading them (read_trades.py; this
file loads no Arrow, for `status` and the gate count who sold before they need any), which tables are optional
(schema_names.py)."""

from __future__ import annotations

from typing import Any

import psycopg

NO_EVENTS = (
    "(select null::uuid as id, null::uuid as position_id, null::date as trade_date, null::numeric as quantity_closed,"
    " null::numeric as price limit 0)"
)


def events_source(connection: psycopg.Connection[Any]) -> str:
    """SQL for the realized events."""
    found = connection.execute("select to_regclass('position_realized_events') is not null").fetchone()
    return "position_realized_events" if found and found[0] else NO_EVENTS
