"""One new portfolio's rows at once.

Here: from which day, through which runs, what came of it. Not here: the lookup and the days that can take its rows
(store/onboarding.py), the job (definitions.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from refresh_assets.automation.launch import MISSING, Outcome, run_days
from refresh_assets.calendar import TradingCalendar
from refresh_assets.settings import Settings
from refresh_assets.store.database import Database
from refresh_assets.store.onboarding import first_day, plan_onboarding, rows_of
from refresh_assets.store.portfolios import Portfolio, find_portfolio
from refresh_assets.store.provision import check_ours, check_platform


@dataclass(frozen=True)
class Onboarded:
    """What a portfolio got: days asked for, days run, rows on them by table, days left out with why, the runs."""

    portfolio: Portfolio
    first: date
    last: date
    days: list[date]
    rows: dict[str, int]
    left_out: dict[date, str]
    outcomes: list[Outcome]

    @property
    def success(self) -> bool:
        return all(one.success for one in self.outcomes)


def onboard(
    settings: Settings, portfolio: str, now: datetime, day_done: Callable[[str, date], None] | None = None
) -> Onboarded:
    """Give a portfolio its rows from its inception (without one: on the last close alone) to the effective trading date.

    Only its rows are added; all others stay as they are. Days that are blocked, or that the night has not done for
    everybody, are left out and named.

    Args:
        portfolio: uuid or exact name.
        now: an instant with a time zone.
        day_done: told (asset, day) after each day of each asset.

    Raises:
        UsageError: the portfolio is unknown, deleted, or shares its name.
        SchemaError: tables are missing.

    Source: spec section 11."""
    calendar, database = TradingCalendar(settings.extra_closures), Database.of(settings)
    effective = calendar.effective_date(now)
    with database.connect() as connection:
        check_platform(connection, database)
        check_ours(connection, database)
        found = find_portfolio(connection, portfolio)
    first = first_day(found, settings.start_date, effective)
    plan = plan_onboarding(database, calendar, str(found.id), calendar.days(first, effective), now)
    outcomes = run_days(settings, plan.days, MISSING, day_done=day_done, portfolio=str(found.id))
    with database.connect() as connection:
        rows = rows_of(connection, found.id, plan.days)
    return Onboarded(plan.portfolio, first, effective, plan.days, rows, plan.left_out, outcomes)
