"""The physical floor of a night: its input rows out of PostgreSQL and its output rows into it, by binary COPY.

Here: timing bare COPY of the same rows that a night reads and writes, with nothing computed between. Not here: the
night itself, and what its rows mean (spec sections 2 to 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from time import perf_counter

import psycopg
from psycopg import sql

CLONES = "raw_copy"  # the schema of the empty clones: made by a run, dropped by it
DAY_COLUMNS = ("calculation_date", "snapshot_date")
CORRELATION_DAYS = 90  # calendar days, spec section 5
PRICE_BEFORE_WINDOW = 7  # calendar days that surely hold the trading day before the window
COVARIANCE_DAYS = 252  # trading days of factor returns, spec section 8: one close more
BLOCK = 1 << 20  # bytes handed to the driver at a time: large enough that Python's share is small

# Held on the day or the trading day before it, or sold since: what values and daily P&L need.
HELD = (
    "(entry_date IS NULL OR entry_date <= %(day)s)"
    " AND (exit_date IS NULL OR exit_date > %(before)s) AND (deleted_at IS NULL OR deleted_at >= %(before)s)"
)
INPUTS = {
    "portfolios": "SELECT id, inception_date, created_at, deleted_at FROM portfolios",
    "positions": "SELECT id, portfolio_id, symbol, investment_class, quantity, entry_price, entry_date, exit_price,"
    f" exit_date, market_value, deleted_at FROM positions WHERE {HELD}",
    "private_valuations": "SELECT position_id, as_of, market_value FROM private_valuations WHERE as_of <= %(day)s",
    "position_realized_events": "SELECT position_id, trade_date, quantity_closed, price FROM position_realized_events"
    " WHERE trade_date > %(before)s",
    "market_data_cache, symbols held": "SELECT symbol, date, close_price FROM market_data_cache"
    " WHERE symbol = ANY(%(symbols)s) AND date BETWEEN %(first)s AND %(day)s",
    "market_data_cache, proxies": "SELECT symbol, date, close_price FROM market_data_cache"
    " WHERE symbol = ANY(%(proxies)s) AND date BETWEEN %(first_proxy)s AND %(day)s",
    "symbol_factor_exposures": "SELECT symbol, factor_id, beta_value FROM symbol_factor_exposures"
    " WHERE calculation_date = %(day)s AND symbol = ANY(%(symbols)s)",
}


@dataclass(frozen=True)
class RawCopy:
    """Seconds and bytes of bare COPY: out is the night's input, in is its output, committed."""

    seconds_out: float
    seconds_in: float
    bytes_out: int
    bytes_in: int


def run(connection_url: str, day: date, tables: Sequence[str]) -> RawCopy:
    """Time the COPY of a finished night's rows: inputs out, one query each; outputs into empty clones, a commit each.

    Args:
        connection_url: `postgresql://...`; the platform's tables and `tables` are on the search_path.
        day: a trading day that a night has been computed for.
        tables: the night's own tables; each has a `calculation_date` or a `snapshot_date`. "schema.table" works too.

    Returns:
        Wall seconds and bytes of binary COPY. Clones (LIKE INCLUDING ALL: with keys, indexes and checks) are made
        before and dropped after the time that is counted; finding out which symbols are held is not counted either.

    Raises:
        ValueError: fsync or synchronous_commit is off (the floor would not be one), or a table has no day column.
        psycopg.Error: the server or a table is not there.
    """
    with psycopg.connect(connection_url, autocommit=True) as connection:
        _require_durable(connection)
        seconds_out, bytes_out = _copy_inputs(connection, day)
        seconds_in, bytes_in = 0.0, 0
        try:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {0} CASCADE").format(sql.Identifier(CLONES)))
            connection.execute(sql.SQL("CREATE SCHEMA {0}").format(sql.Identifier(CLONES)))
            for number, table in enumerate(tables):
                seconds, size = _copy_output(connection, table, f"clone_{number}", day)
                seconds_in += seconds
                bytes_in += size
        finally:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {0} CASCADE").format(sql.Identifier(CLONES)))
    return RawCopy(seconds_out, seconds_in, bytes_out, bytes_in)


def _require_durable(connection: psycopg.Connection) -> None:
    for setting in ("fsync", "synchronous_commit"):
        row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
        if row is None or row[0] == "off":
            raise ValueError(f"{setting} is off, expected on: a floor without it is none. Mend: set {setting} = on.")


def _copy_inputs(connection: psycopg.Connection, day: date) -> tuple[float, int]:
    parameters = _input_parameters(connection, day)
    cursor = psycopg.ClientCursor(connection)  # COPY takes no server-side parameters: they are put in by the client
    queries = [cursor.mogrify(f"COPY ({query}) TO STDOUT (FORMAT binary)", parameters) for query in INPUTS.values()]
    size = 0
    started = perf_counter()
    for query in queries:
        with cursor.copy(query.encode()) as copy:
            for block in copy:
                size += len(block)
    return perf_counter() - started, size


def _input_parameters(connection: psycopg.Connection, day: date) -> dict[str, object]:
    """What a night knows before it reads prices: the symbols held, the proxies, the first days of its windows."""
    proxies = connection.execute(
        "SELECT proxy FROM factor_definitions WHERE is_active UNION"
        " SELECT short_proxy FROM factor_definitions WHERE is_active AND short_proxy IS NOT NULL"
    ).fetchall()
    days = connection.execute(
        "SELECT DISTINCT date FROM market_data_cache WHERE symbol = ANY(%s) AND date <= %s ORDER BY date DESC LIMIT %s",
        ([row[0] for row in proxies], day, COVARIANCE_DAYS + 1),
    ).fetchall()
    if len(days) < 2:
        raise ValueError(f"{day} has no closes of the factor proxies. Mend: give a day that a night was computed for.")
    parameters: dict[str, object] = {
        "day": day,
        "before": days[1][0],
        "first": day - timedelta(days=CORRELATION_DAYS + PRICE_BEFORE_WINDOW),
        "first_proxy": days[-1][0],
        "proxies": [row[0] for row in proxies],
    }
    held = connection.execute(f"SELECT DISTINCT symbol FROM positions WHERE {HELD}", parameters).fetchall()
    parameters["symbols"] = [row[0] for row in held if row[0] is not None]
    return parameters


def _copy_output(connection: psycopg.Connection, table: str, clone_name: str, day: date) -> tuple[float, int]:
    """Read the day's rows of one table into memory, then time their COPY into an empty clone and its commit."""
    source = sql.SQL(".").join(map(sql.Identifier, table.split(".")))
    clone = sql.Identifier(CLONES, clone_name)
    columns, day_column = _columns(connection, table)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    rows = sql.SQL("COPY (SELECT {} FROM {} WHERE {} = {}) TO STDOUT (FORMAT binary)").format(
        names, source, sql.Identifier(day_column), sql.Literal(day)
    )
    with connection.cursor() as cursor:
        with cursor.copy(rows) as copy:
            content = memoryview(b"".join(copy))
        cursor.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(clone, source))
        into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(clone, names)
        started = perf_counter()
        with connection.transaction(), cursor.copy(into) as copy:
            for at in range(0, len(content), BLOCK):
                copy.write(content[at : at + BLOCK])
        return perf_counter() - started, len(content)


def _columns(connection: psycopg.Connection, table: str) -> tuple[list[str], str]:
    """The columns that COPY may write (not the generated ones), and which of them is the day."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        " AND attgenerated = '' ORDER BY attnum",
        (table,),
    ).fetchall()
    columns = [str(row[0]) for row in found]
    for day_column in DAY_COLUMNS:
        if day_column in columns:
            return columns, day_column
    raise ValueError(f"table {table} has none of the columns {', '.join(DAY_COLUMNS)}. Mend: name tables of the night.")
