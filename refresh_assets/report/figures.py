"""What a report shows, as the tables have it: one query each, all of them at one moment.

Here: the state of the day, everybody's figures, one portfolio's, why a table has no row of it. Not here: how a page looks
(page.py and the files beside it). Nothing is computed anew: sums over portfolios are the only figures made here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg.rows import dict_row

from refresh_assets.calendar import TradingCalendar
from refresh_assets.errors import ACCOUNTS_FOR_PORTFOLIO, UsageError
from refresh_assets.store.database import Database
from refresh_assets.store.dates import DELETED, ENTRY, EXIT
from refresh_assets.store.days import SYMBOL_BATCH, DayStatus, State, day_statuses
from refresh_assets.store.headlines import HIGHEST_PAIR, WORST_STRESS
from refresh_assets.store.optional import events_source
from refresh_assets.store.portfolios import Portfolio, find_portfolio
from refresh_assets.store.readable import require_tables
from refresh_assets.store.schema_names import DAY_TABLES

LARGEST_SHOWN = 200
"""Portfolios of a night that are listed; the number of the rest is said."""
WORDS_SHOWN = 3
"""Omissions of one code that everybody's report tells in words."""
OMISSIONS_SHOWN = 500
"""Omissions that one portfolio's report tells."""
HISTORY_DAYS = 250

Row = dict[str, Any]
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Head:
    """The state of the day, the run of each of its tables (those of refresh_days), the symbol batch's row if any."""

    status: DayStatus
    tables: Mapping[str, Row]
    batch: Row | None

    @property
    def day(self) -> date:
        return self.status.day

    def is_complete(self, table: str) -> bool:
        return table in self.tables and self.tables[table]["status"] == "complete"


@dataclass(frozen=True)
class NightFigures:
    """Everybody's night.

    Attributes:
        totals: sums over all snapshots of the day, and their number.
        portfolios: the largest by value, each with its highest correlation and its worst stress.
        left_out: the first omissions of each table and code, each with the number of all of them.
        restatements: of the day, newest first.
    """

    head: Head
    totals: Row
    portfolios: Sequence[Row]
    left_out: Sequence[Row]
    restatements: Sequence[Row]


@dataclass(frozen=True)
class BookFigures:
    """One portfolio's day.

    Attributes:
        history: trading days from its first snapshot among the last HISTORY_DAYS on, each with its snapshot or None.
        by_weight: symbols of its correlations, the largest first.
        exposures, stress: in the order of display, and the largest loss first.
        impacts: of the worst stress, by factor.
        left_out: of this portfolio (`own`), and of the day as a whole where it concerns it.
        absent: table -> why it has no row of this portfolio.
    """

    head: Head
    portfolio: Portfolio
    history: Mapping[date, Row | None]
    snapshot: Row | None
    correlations: Row | None
    by_weight: Sequence[str]
    exposures: Sequence[Row]
    stress: Sequence[Row]
    impacts: Sequence[Row]
    left_out: Sequence[Row]
    absent: Mapping[str, str]


@contextmanager
def _moment(database: Database) -> Iterator[Connection]:
    """A connection on which every query sees the same moment, and nothing can be written."""
    with database.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        require_tables(connection, database)
        yield connection


def read_night(database: Database, calendar: TradingCalendar, day: date, effective: date) -> NightFigures:
    """Everybody's figures of a trading day. Raises UsageError for a day without any, SchemaError for missing tables."""
    with _moment(database) as connection:
        head = _head(connection, calendar, day, effective)
        (totals,) = _rows(connection, TOTALS, day=day)
        portfolios = _rows(connection, LARGEST, day=day, number=LARGEST_SHOWN)
        left_out = _rows(connection, LEFT_OUT, day=day, number=WORDS_SHOWN)
        return NightFigures(head, totals, portfolios, left_out, _rows(connection, RESTATEMENTS, day=day))


def read_book(database: Database, calendar: TradingCalendar, words: str, day: date, effective: date) -> BookFigures:
    """One portfolio's figures of a trading day, the portfolio given by uuid or exact name.

    Raises UsageError for a portfolio that is unknown or has no row on the day, and as `read_night`."""
    with _moment(database) as connection:
        portfolio = find_portfolio(connection, words, deleted_too=True)
        head = _head(connection, calendar, day, effective)
        key: dict[str, Any] = {"day": day, "portfolio": portfolio.id}
        snapshots = _rows(connection, HISTORY, first=calendar.nth_before(day, HISTORY_DAYS - 1), **key)
        correlations = next(iter(_rows(connection, CORRELATIONS, **key)), None)
        exposures, stress = _rows(connection, EXPOSURES, **key), _rows(connection, STRESS, **key)
        left_out = _rows(connection, LEFT_OUT_OF_BOOK, number=OMISSIONS_SHOWN, **key)
        by_weight: list[str] = []
        if correlations is not None:
            query = BY_WEIGHT.format(events=events_source(connection))
            by_weight = [row["symbol"] for row in _rows(connection, query, symbols=correlations["symbols"], **key)]
        impacts = _rows(connection, IMPACTS, scenario=stress[0]["scenario_id"], **key) if stress else []
    by_day = {row["snapshot_date"]: row for row in snapshots}
    found = (by_day.get(day), correlations, exposures, stress)
    absent = {
        table: _why_absent(head, table, left_out)
        for table, rows in zip(DAY_TABLES, found, strict=True)
        if rows is None or rows == []
    }
    if len(absent) == len(DAY_TABLES):
        raise _nothing(portfolio, day, absent["portfolio_snapshots"])
    grid = calendar.days(min(by_day), day) if by_day else []
    history = {one: by_day.get(one) for one in grid}
    return BookFigures(
        head, portfolio, history, by_day.get(day), correlations, by_weight, exposures, stress, impacts, left_out, absent
    )


def _head(connection: Connection, calendar: TradingCalendar, day: date, effective: date) -> Head:
    (status,) = day_statuses(connection, calendar, [day], effective)
    tables = {row["table_name"]: row for row in _rows(connection, TABLES, day=day)}
    head = Head(status, tables, next(iter(_rows(connection, BATCH, day=day, batch=SYMBOL_BATCH)), None))
    if not any(head.is_complete(table) for table in DAY_TABLES):
        empty = "ask for a day on which a portfolio holds something"
        mend = empty if status.state is State.EMPTY else status.mend or f"see refresh-assets status --date {day}"
        raise UsageError(f"{day} has no figures: it is {status.state}, {status.why}", mend)
    return head


def _why_absent(head: Head, table: str, left_out: Sequence[Row]) -> str:
    """Why a table has no row of the portfolio, in words that end without a stop."""
    if not head.is_complete(table):
        status = head.tables[table]["status"] if table in head.tables else "absent"
        why = {"absent": "was not computed", "skipped": "was skipped: it had not one close"}
        return f"{table} of {head.day} is not complete: it {why.get(status, f'is {status}')}"
    for row in left_out:
        if row["asset"] == table and row["own"] and row["code"] in ACCOUNTS_FOR_PORTFOLIO:
            detail = " ".join(row["detail"].split()).rstrip(".")
            return f"no row in {table} ({row['code']}): {detail}"
    return f"no row in {table}, and nothing says why: it held nothing, was deleted by then, or came after its night"


def _nothing(portfolio: Portfolio, day: date, why: str) -> UsageError:
    name = portfolio.name or str(portfolio.id)
    if portfolio.start > day:
        return UsageError(f"{name} begins on {portfolio.start}, after {day}", f"ask for {portfolio.start} or later")
    return UsageError(
        f"{name} has no figures on {day}: {why}",
        f"ask for a day on which it has some, or see refresh-assets status --date {day}",
    )


def _rows(connection: Connection, query: str, **values: Any) -> list[Row]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), values).fetchall()


TABLES = """
select table_name, status, portfolios, rows, exceptions, failed, inputs_digest, run_id, code_version, finished_at
from refresh_days where calculation_date = %(day)s
"""
BATCH = """
select status, completed_at from batch_run_tracking where batch_type = %(batch)s and target_date = %(day)s
"""
TOTALS = """
select count(*) as snapshots, count(*) filter (where is_partial) as partial, sum(total_value) as total_value,
    sum(total_cost) as total_cost, sum(total_pnl) as total_pnl, sum(daily_pnl) as daily_pnl, sum(long_value) as long_value,
    sum(short_value) as short_value, sum(gross_exposure) as gross_exposure, sum(net_exposure) as net_exposure,
    sum(position_count) as position_count, sum(positions_unpriced) as positions_unpriced,
    sum(pnl_legs_missing) as pnl_legs_missing
from portfolio_snapshots where snapshot_date = %(day)s
"""
LARGEST = f"""
with largest as materialized (
    select * from portfolio_snapshots where snapshot_date = %(day)s order by total_value desc, portfolio_id limit %(number)s
)
select s.portfolio_id, (select name from portfolios p where p.id = s.portfolio_id limit 1) as name, s.total_value,
    s.daily_pnl, s.daily_return, s.gross_exposure, s.net_exposure, s.is_partial, s.positions_unpriced,
    pair.symbol_1, pair.symbol_2, pair.correlation_value, worst.scenario_id, worst.loss
from largest s
{HIGHEST_PAIR} {WORST_STRESS}
order by s.total_value desc, s.portfolio_id
"""
LEFT_OUT = """
select asset, code, number, detail, symbol, coalesce(
    (select name from portfolios p where p.id = e.portfolio_id limit 1), portfolio_id::text) as portfolio
from (
    select *, count(*) over (partition by asset, code) as number,
        row_number() over (partition by asset, code order by portfolio_id, symbol, detail) as place
    from refresh_exceptions where calculation_date = %(day)s
) e where place <= %(number)s order by asset, code, place
"""
RESTATEMENTS = """
select table_name, restated_at, run_id, rows_changed, portfolios_changed, largest_change, largest_change_column,
    old_value, new_value, inputs_changed, coalesce(
    (select name from portfolios p where p.id = r.largest_change_portfolio limit 1), largest_change_portfolio::text
    ) as portfolio
from refresh_restatements r where calculation_date = %(day)s order by restated_at desc, table_name
"""
HISTORY = """
select * from portfolio_snapshots
where portfolio_id = %(portfolio)s and snapshot_date between %(first)s and %(day)s order by snapshot_date
"""
CORRELATIONS = """
select * from correlation_calculations where calculation_date = %(day)s and portfolio_id = %(portfolio)s
"""
# The order of the largest |value| that the day's own closes give; only the order is taken from it.
BY_WEIGHT = f"""
select u.symbol from unnest(%(symbols)s::text[]) as u(symbol) left join (
    select p.symbol::text as symbol, abs(sum(m.close_price * (p.quantity + coalesce((
        select sum(e.quantity_closed) from {{events}} e where e.position_id = p.id and e.trade_date > %(day)s), 0)))) as size
    from positions p join refresh_marks m on m.symbol = p.symbol::text and m.calculation_date = %(day)s
    where p.portfolio_id = %(portfolio)s and p.investment_class::text = 'PUBLIC'
        and coalesce({ENTRY}, date '1900-01-01') <= %(day)s and {EXIT} > %(day)s and {DELETED} > %(day)s
    group by p.symbol::text
) w on w.symbol = u.symbol order by w.size desc nulls last, u.symbol
"""
EXPOSURES = """
select coalesce(f.name, e.factor_id::text) as factor, exposure_dollar, exposure_value, coverage
from factor_exposures e left join factor_definitions f on f.id = e.factor_id
where calculation_date = %(day)s and portfolio_id = %(portfolio)s order by f.display_order nulls last, factor
"""
STRESS = """
select scenario_id, direct_pnl, correlated_pnl, correlation_effect, is_capped, least(direct_pnl, correlated_pnl) as loss
from stress_test_results where calculation_date = %(day)s and portfolio_id = %(portfolio)s
order by loss nulls last, scenario_id
"""
IMPACTS = """
select i.factor_id, coalesce(f.name, i.factor_id::text) as factor, shock, expected_move, direct_impact, correlated_impact
from stress_factor_impacts i left join factor_definitions f on f.id = i.factor_id
where calculation_date = %(day)s and portfolio_id = %(portfolio)s and scenario_id = %(scenario)s
order by i.factor_id is null, least(direct_impact, correlated_impact) nulls last, factor
"""
LEFT_OUT_OF_BOOK = """
select asset, code, symbol, detail, portfolio_id is not null as own, count(*) over () as number from refresh_exceptions
where calculation_date = %(day)s and (portfolio_id = %(portfolio)s or (portfolio_id is null and position_id is null
    and (symbol is null or symbol in (select symbol::text from positions where portfolio_id = %(portfolio)s))))
order by portfolio_id is null, asset, code, symbol, detail limit %(number)s
"""
