"""One portfolio's first rows: from which day it exists, which days can take its rows.

Here: the first day that an onboarded portfolio is given, the days that stand. Not here: who it is (portfolios.py), running
them (automation/onboarding.py, assets/)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.errors import FAILURES
from refresh_assets.store.database import Database
from refresh_assets.store.days import State, day_statuses
from refresh_assets.store.expected import expected_portfolios
from refresh_assets.store.portfolios import Portfolio, find_portfolio
from refresh_assets.store.schema_names import DAY_TABLES


@dataclass(frozen=True)
class Onboarding:
    """Days that take the portfolio's rows, ascending; those that cannot, each with why."""

    portfolio: Portfolio
    days: list[date]
    left_out: dict[date, str]


def grant_first_day(
    connection: psycopg.Connection[Any], portfolio: Portfolio, effective: date, now: datetime
) -> Portfolio:
    """Let the portfolio exist on the effective trading date, though it was created after that day's close.

    Written down, so that the night, `status` and a later re-run of the day see it in the same way."""
    if portfolio.start <= effective:
        return portfolio
    connection.execute(
        "insert into refresh_first_days values (%s, %s, %s) on conflict (portfolio_id) do update"
        " set first_day = excluded.first_day, granted_at = excluded.granted_at",
        [portfolio.id, effective, now],
    )
    return Portfolio(portfolio.id, portfolio.name, portfolio.inception, effective)


def first_day(portfolio: Portfolio, start: date, effective: date) -> date:
    """Where its history begins: at its inception (not before REFRESH_START_DATE), else at the effective trading date."""
    return effective if portfolio.inception is None else min(max(portfolio.inception, start), effective)


def days_since_inception(
    database: Database, calendar: TradingCalendar, words: str, start: date, now: datetime
) -> list[date]:
    """The days that an onboarded portfolio is given where none is named: from its first day to the effective trading date.

    Raises UsageError for a portfolio that is not found."""
    effective = calendar.effective_date(now)
    with database.connect() as connection:
        portfolio = find_portfolio(connection, words)
    return calendar.days(first_day(portfolio, start, effective), effective)


def plan_onboarding(
    database: Database, calendar: TradingCalendar, words: str, days: Sequence[date], now: datetime
) -> Onboarding:
    """Which of some trading days can take the portfolio's rows; on the last close it is let exist first.

    A day that the night has not done for everybody is left to it: a day is visible whole or not at all.

    Raises UsageError for a portfolio that is not found."""
    effective = calendar.effective_date(now)
    with database.connect() as connection:
        portfolio = find_portfolio(connection, words)
        if effective in days:
            portfolio = grant_first_day(connection, portfolio, effective, now)
        connection.commit()
        statuses = day_statuses(connection, calendar, sorted(days), effective)
        stand, failed = _days_that_stand(connection, days), _days_it_failed(connection, portfolio.id, days)
        expected = expected_portfolios(connection, calendar, sorted(days))
    its_hash = digest.portfolio_hashes(np.array([portfolio.id.bytes], dtype="V16"))[0]
    chosen, left_out = [], {}
    for row, one in enumerate(statuses):
        alone = expected.count[row] == 1 and expected.hashes[row] == its_hash
        if one.state in (State.BLOCKED, State.SKIPPED):
            left_out[one.day] = f"{one.why}; {one.mend}"
        elif one.state is State.DUE and not (one.day in stand or alone):
            left_out[one.day] = f"the night has not done it for everybody; {one.mend}"
        elif one.state is State.DUE or one.day in failed:
            chosen.append(one.day)
    return Onboarding(portfolio, chosen, left_out)


def rows_of(connection: psycopg.Connection[Any], portfolio: UUID, days: Sequence[date]) -> dict[str, int]:
    """Rows that a portfolio has on some days, by table."""
    counts = {}
    for table, column in DAY_TABLES.items():
        row = connection.execute(
            f"select count(*) from {table} where portfolio_id = %s and {column} = any(%s)", [portfolio, list(days)]
        ).fetchone()
        counts[table] = row[0] if row else 0
    return counts


def _days_that_stand(connection: psycopg.Connection[Any], days: Sequence[date]) -> set[date]:
    rows = connection.execute(
        "select calculation_date from refresh_days where status = 'complete' and calculation_date = any(%s)"
        " group by 1 having count(*) = %s",
        [list(days), len(DAY_TABLES)],
    ).fetchall()
    return {row[0] for row in rows}


def _days_it_failed(connection: psycopg.Connection[Any], portfolio: UUID, days: Sequence[date]) -> set[date]:
    rows = connection.execute(
        "select distinct calculation_date from refresh_exceptions"
        " where portfolio_id = %s and calculation_date = any(%s) and code = any(%s)",
        [portfolio, list(days), sorted(code.value for code in FAILURES)],
    ).fetchall()
    return {row[0] for row in rows}
