"""What stands after a kill: each day of each table as bytes, and what a dead process may have left lying about.

Here: reading both, and the comparison with the old and the new version. Not here: killing (kills.py)."""

from __future__ import annotations

import time
from collections import defaultdict
from datetime import date
from typing import Any

import psycopg

from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests.chaos.phases import sessions_of
from refresh_assets_tests.chaos.world import DAYS

Unit = tuple[date | None, str]
"""A day of a table, or the platform's positions as a whole."""
State = dict[Unit, tuple[str, ...]]
"""Unit -> everything that must come and go together with it, as text; an absent day has nothing."""

POSITIONS: Unit = (None, "positions")
BETAS = "inline_symbol_betas"
# Who ran it and when is no figure: those alone may differ between two runs.
SOURCES = (
    *(f"select {column}, '{table}', t::text from {table} t" for table, column in DAY_TABLES.items()),
    "select calculation_date, 'stress_test_results', t::text from stress_factor_shocks t",
    "select calculation_date, 'portfolio_snapshots', t::text from refresh_marks t",
    "select calculation_date, asset, t::text from refresh_exceptions t",
    "select calculation_date, table_name, 'day ' || (to_jsonb(t) - 'run_id' - 'finished_at')::text from refresh_days t",
    "select calculation_date, table_name, 'restated ' || (to_jsonb(t) - 'run_id' - 'restated_at')::text"
    " from refresh_restatements t",
    f"select calculation_date, '{BETAS}', t::text from symbol_factor_exposures t",
    "select null::date, 'positions', t::text from positions t",
)
LEFT_BEHIND = {
    "temporary tables": "select relname from pg_class where relpersistence = 't'",
    "partitions that hang loose": (
        "select c.relname from pg_class c where c.relkind = 'r' and c.relname ~ '_[0-9]{4}_[0-9]{2}$'"
        " and not c.relispartition"
    ),
    "partitions without their key": (
        "select c.relname from pg_class c where c.relispartition and c.relkind = 'r' and not exists"
        " (select from pg_index i join pg_inherits h on h.inhrelid = i.indexrelid"
        "  where i.indrelid = c.oid and i.indisprimary and i.indisvalid)"
    ),
    "invalid indexes": "select indexrelid::regclass::text from pg_index where not indisvalid",
    "prepared transactions": "select gid from pg_prepared_xacts where database = current_database()",
    "days that say complete and are not": (
        "select calculation_date::text from refresh_complete_days c where (select count(*) from portfolio_snapshots"
        " where snapshot_date = calculation_date) = 0"
    ),
}


def state_of(database: Database) -> tuple[State, set[date]]:
    """All units, and the days that refresh_complete_days shows, as one reader sees them at one moment."""
    found: dict[Unit, list[str]] = defaultdict(list)
    with database.connect() as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        for source in SOURCES:
            for day, table, text in connection.execute(source.encode()):
                found[day, table].append(text)
        complete = {row[0] for row in connection.execute("select calculation_date from refresh_complete_days")}
    units: list[Unit] = [(day, table) for day in DAYS for table in (*DAY_TABLES, BETAS)]
    assert set(found) <= {*units, POSITIONS}, f"rows of {set(found) - set(units)}"
    return {unit: tuple(sorted(found.get(unit, ()))) for unit in (*units, POSITIONS)}, complete


def versions(seen: State, old: State, new: State) -> dict[Unit, str]:
    """Unit -> old or new.

    Raises AssertionError for one that is neither: it is half-written."""
    found = {}
    for unit, rows in seen.items():
        if rows == new[unit]:
            found[unit] = "new"
        elif rows == old[unit]:
            found[unit] = "old"
        else:
            raise AssertionError(f"half-written: {unit}\n{difference(rows, old[unit], new[unit])}")
    return found


def check_complete_days(complete: set[date], found: dict[Unit, str], old_complete: set[date]) -> None:
    """A day is shown as complete iff its tables all stand, from one set of inputs."""
    for day in DAYS:
        of_day = {found[day, table] for table in DAY_TABLES}
        whole = of_day == {"new"} or (of_day == {"old"} and day in old_complete)
        assert (day in complete) == whole, f"{day} complete: {day in complete}, its tables: {of_day}"


def seconds_until_alone(server: psycopg.Connection[Any], name: str, patience: float = 10) -> float:
    """How long until nobody is connected to a database and no lock is held in it: not a claim, not an idle transaction."""
    begin = time.monotonic()
    while True:
        who = sessions_of(server, name)
        locks = server.execute(
            "select l.locktype, l.mode from pg_locks l join pg_database d on d.oid = l.database"
            " left join pg_stat_activity a using (pid) where d.datname = %s"
            " and coalesce(a.backend_type, '') <> 'autovacuum worker'",
            [name],
        ).fetchall()
        if not who and not locks:
            return time.monotonic() - begin
        assert time.monotonic() - begin < patience, f"left behind after {patience} seconds: {who} {locks}"
        time.sleep(0.002)


def check_nothing_is_left_behind(database: Database) -> None:
    """No temporary table, no half partition, no invalid index. Raises AssertionError with their names."""
    with database.connect() as connection:
        found = {what: connection.execute(query.encode()).fetchall() for what, query in LEFT_BEHIND.items()}
    assert not any(found.values()), {what: rows for what, rows in found.items() if rows}


def difference(rows: tuple[str, ...], old: tuple[str, ...], new: tuple[str, ...]) -> str:
    """Rows that stand and should not, and the other way, in words."""
    parts = [f"{len(rows)} rows; old has {len(old)}, new has {len(new)}"]
    for name, version in (("old", old), ("new", new)):
        here, there = sorted(set(rows) - set(version)), sorted(set(version) - set(rows))
        parts.append(f"not in {name}: {len(here)}, e.g. {here[:1]}; missing of {name}: {len(there)}, e.g. {there[:1]}")
    return "\n".join(parts)
