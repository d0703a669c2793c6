"""Small platforms for tests: rows in the platform's tables from plain Python values, and nights over them.

Here: one builder a table with good defaults, a world of three portfolios, running a night without Dagster, tables as
text. Not here: databases (conftest.py), the packaged demo world (refresh_assets/demo)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from psycopg.sql import SQL, Identifier

from refresh_assets.assets.analytic import ANALYTICS, Compute
from refresh_assets.assets.correlations import write_correlations
from refresh_assets.assets.factor_exposures import write_exposures
from refresh_assets.assets.inline_betas import write_betas
from refresh_assets.assets.night import IN_TURN, Night
from refresh_assets.assets.position_values import write_market_values
from refresh_assets.assets.refresh import attempted
from refresh_assets.assets.snapshots import write_snapshots
from refresh_assets.assets.stress import write_stress
from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.scenarios import packaged
from refresh_assets.store.database import Database, retried
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets.store.write import Written

CALENDAR = TradingCalendar()
DAY = date(2026, 3, 13)
"""A Friday; the days around it are trading days."""
BEFORE = CALENDAR.previous(DAY)
PROXIES = ("SPY", "TLT", "VTV", "VUG", "MTUM", "QUAL", "IWM", "USMV")
STOCKS = ("AAA", "BBB", "CCC")
OPTION = "AAA   270115C00100000"
CREATED = datetime(2025, 1, 2, 15, 0, tzinfo=UTC)

Row = dict[str, Any]
ROLES = {"portfolio": 1, "position": 2, "event": 3, "user": 4}


def uid(role: str, number: int) -> UUID:
    """The id of the numbered row of a role: the same in every test."""
    return UUID(int=(ROLES[role] << 64) + number)


def portfolio(number: int, **values: Any) -> Row:
    """A row of portfolios that exists since 2025."""
    row = {"id": uid("portfolio", number), "name": f"Portfolio {number}", "user_id": uid("user", 1)}
    return {**row, "created_at": CREATED, **values}


def position(number: int, owner: int, symbol: str | None = "AAA", quantity: object = 10, **values: Any) -> Row:
    """A row of positions: PUBLIC, bought at 50 in 2025, still held."""
    row: Row = {"id": uid("position", number), "portfolio_id": uid("portfolio", owner), "symbol": symbol}
    row |= {"investment_class": "PUBLIC", "quantity": quantity, "entry_price": 50, "entry_date": date(2025, 6, 2)}
    return {**row, **values}


def event(number: int, position_number: int, day: date | None, quantity: object, price: object = 60) -> Row:
    """A row of position_realized_events."""
    row = {"id": uid("event", number), "position_id": uid("position", position_number)}
    return {**row, "trade_date": day, "quantity_closed": quantity, "price": price}


def valuation(position_number: int, as_of: date, value: object) -> Row:
    """A row of private_valuations."""
    return {"position_id": uid("position", position_number), "as_of": as_of, "market_value": value}


def closes(symbols: Iterable[str] = (*STOCKS, OPTION, *PROXIES), last: date = DAY, days: int = 130) -> list[Row]:
    """Rows of market_data_cache: seeded random walks over some trading days up to `last`, the same for each symbol."""
    rows = []
    grid = CALENDAR.days(CALENDAR.nth_before(DAY, days - 1), last)
    for symbol in symbols:
        random = np.random.default_rng(list(symbol.encode()))
        market = np.random.default_rng(1).normal(0, 0.01, len(grid))
        path = 60 * np.exp(np.cumsum(0.6 * market + random.normal(0, 0.008, len(grid))))
        rows += [
            {"symbol": symbol, "date": day, "close_price": round(float(price), 4)}
            for day, price in zip(grid, path, strict=True)
        ]
    return rows


def batch(*days: date, status: str = "completed") -> list[Row]:
    """Rows of batch_run_tracking: what the symbol batch says of some days."""
    return [{"batch_type": "symbol_batch", "target_date": day, "status": status} for day in days]


def insert(database: Database, table: str, *rows: Row) -> None:
    """Insert rows, each with its own columns."""
    with database.connect() as connection:
        for row in rows:
            names = SQL(", ").join(Identifier(name) for name in row)
            places = SQL(", ").join(SQL("%s") for _ in row)
            statement = SQL("insert into {} ({}) values ({})").format(Identifier(table), names, places)
            connection.execute(statement, list(row.values()))


def execute(database: Database, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement and commit; its rows where it has any."""
    with database.connect() as connection:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []


def load_closes(database: Database, rows: Sequence[Row] | None = None) -> None:
    """COPY closes (all of `closes()` where none are given) into market_data_cache."""
    with database.connect() as connection:
        copy_in = "copy market_data_cache (symbol, date, close_price) from stdin"
        with connection.cursor().copy(copy_in) as copy:
            for row in closes() if rows is None else rows:
                copy.write_row((row["symbol"], row["date"], row["close_price"]))


def close_of(database: Database, symbol: str, day: date) -> float:
    """The close that the platform has now."""
    rows = execute(database, "select close_price from market_data_cache where symbol = %s and date = %s", symbol, day)
    return float(rows[0][0])


def three_portfolios(database: Database, last: date = DAY) -> None:
    """A platform of three portfolios over three stocks, an option and a hand-valued holding, prices up to `last`.

    1: long AAA and BBB, short CCC, an option. 2: AAA, BBB, a PRIVATE holding valued by date. 3: CCC alone, so it has no
    correlations."""
    load_closes(database, closes(last=last))
    insert(database, "portfolios", *(portfolio(number) for number in (1, 2, 3)))
    insert(
        database,
        "positions",
        position(11, 1, "AAA", 100),
        position(12, 1, "BBB", "20.5"),
        position(13, 1, "CCC", -30),
        position(14, 1, OPTION, 2, investment_class="OPTIONS"),
        position(21, 2, "AAA", 5),
        position(22, 2, "BBB", 7),
        position(23, 2, None, 1, investment_class="PRIVATE", entry_price=1000),
        position(31, 3, "CCC", 40),
    )
    insert(database, "private_valuations", valuation(23, date(2026, 1, 15), 1234))


def night(database: Database, *days: date, **settings: Any) -> Night:
    """A run over some days (DAY where none is given), to be closed by the caller."""
    return Night(database, CALENDAR, packaged(), list(days) or [DAY], settings.pop("run_id", "run-1"), **settings)


WRITERS = {
    "portfolio_snapshots": write_snapshots,
    "correlation_calculations": write_correlations,
    "factor_exposures": write_exposures,
    "stress_test_results": write_stress,
}


def run(database: Database, *days: date, **settings: Any) -> dict[str, Written]:
    """A whole run: betas and four tables, day by day; gives what the last day wrote, by table."""
    written: dict[str, Written] = {}
    with closing(night(database, *days, **settings)) as one:
        for day in one.days:
            write_betas(one, day)
            written = {table: write(one, day) for table, write in WRITERS.items()}
    return written


Told = Callable[[str, date], None]
Work = Callable[[Night, date], Any]
ASSETS: dict[str, Work] = {asset: partial(Night.written, asset=asset) for asset in IN_TURN}
"""The work of every asset, in the order of a run."""


def play(one: Night, told: Told = lambda *_: None, done: Told = lambda *_: None) -> None:
    """A night as Dagster runs it: each asset over all days before the next, what comes next begun meanwhile; after a lost
    connection it tries again. `told` before and `done` after each asset and day."""
    for asset, work in ASSETS.items():
        for day in one.days:
            told(asset, day)
            retried(partial(attempted, one, day, work))
            done(asset, day)


@contextmanager
def computed_by(compute: Compute, table: str = "portfolio_snapshots") -> Iterator[None]:
    """Within the block a table is computed by another function than its own."""
    own = ANALYTICS[table]
    ANALYTICS[table] = lambda _night, _day: compute
    try:
        yield
    finally:
        ANALYTICS[table] = own


def update_positions(database: Database, day: date = DAY) -> dict[str, Any]:
    """What the asset position_market_values does for a day."""
    with closing(night(database, day)) as one:
        return write_market_values(one, day)


def awaited(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Returns as soon as something is so; fails where it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.01)


def settled(connection: psycopg.Connection[Any]) -> None:
    """Returns once PostgreSQL's counters tell of all that closed sessions wrote: their processes count it as they end, which
    on a busy machine is after the next session has begun."""

    def nobody_ends() -> bool:
        connection.execute("select pg_stat_clear_snapshot()")
        return connection.execute(_ENDING).fetchone() == (0,)

    awaited(nobody_ends)


_ENDING = """
select count(*) from pg_stat_activity
where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend' and state = 'idle'
"""


def table_rows(database: Database, table: str, day: date = DAY, **only: object) -> list[str]:
    """The rows of a day of one of our tables as text, sorted."""
    column = DAY_TABLES.get(table, "calculation_date")
    conditions = [SQL("{} = %s").format(Identifier(name)) for name in (column, *only)]
    query = SQL("select t::text from {} t where {} order by 1").format(Identifier(table), SQL(" and ").join(conditions))
    with database.connect() as connection:
        return [row[0] for row in connection.execute(query, [day, *only.values()])]


def row_versions(database: Database, table: str, day: date = DAY) -> dict[str, str]:
    """Row as text -> the transaction that wrote it."""
    query = SQL("select t::text, t.xmin::text from {} t where {} = %s")
    with database.connect() as connection:
        found = connection.execute(query.format(Identifier(table), Identifier(DAY_TABLES[table])), [day])
        return dict(found.fetchall())


LOCKS_OF_OTHERS = (
    "select locktype, mode, granted, pid from pg_locks l join pg_database d on d.oid = l.database"
    " where d.datname = current_database() and pid <> pg_backend_pid() and not exists ("
    "select from pg_stat_activity a where a.pid = l.pid and a.backend_type = 'autovacuum worker')"
)
"""Claims and waits that anybody else holds in this database, but for autovacuum: it comes and goes as it likes."""


def exceptions(database: Database, day: date = DAY) -> list[tuple[Any, ...]]:
    """(asset, code, portfolio, position, symbol, detail) of everything named for a day, sorted."""
    query = "select asset, code, portfolio_id, position_id, symbol, detail from refresh_exceptions"
    with database.connect() as connection:
        rows = connection.execute(f"{query} where calculation_date = %s order by 1, 2, 3, 4, 5, 6", [day]).fetchall()
    return rows


def one(connection: psycopg.Connection[Any], query: str, *values: object) -> Any:
    """The first column of the first row of a query."""
    row = connection.execute(query.encode(), values or None).fetchone()
    assert row is not None
    return row[0]
