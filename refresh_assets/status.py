"""What `status` answers: which days are complete, which no longer agree with their inputs, which alerts wait.

Here: reading it, in the order in which that is quickest. Not here: the command (cli.py), how it is drawn (terminal.py,
terminal_restatements.py), what a state means (store/days.py), the comparison with inputs (store/stale.py)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from refresh_assets.calendar import NEW_YORK, TradingCalendar, ask_ahead
from refresh_assets.settings import Settings
from refresh_assets.store.database import Database

if TYPE_CHECKING:
    from refresh_assets.store.alerts import Alert


def of_days(settings: Settings, now: datetime, json: bool) -> dict[str, Any] | None:
    """Every day up to now: printed, or its figures."""
    _ask_ahead(settings, now)
    database = Database.of(settings)
    with database.snapshot_later() as snapshot, ThreadPoolExecutor(1) as asking:
        # While it connects for columns: loading what asks for days; while that is asked: loading what only the rest needs.
        from refresh_assets.automation import launch

        calendar = TradingCalendar(settings.extra_closures)
        effective = calendar.effective_date(now)
        asked = asking.submit(launch.statuses_of, settings, calendar.days(settings.start_date, effective), now)
        waiting = asking.submit(_undelivered, database)
        from refresh_assets import terminal, terminal_restatements
        from refresh_assets.core import scenarios
        from refresh_assets.errors import ScenarioFileError
        from refresh_assets.store.days import State
        from refresh_assets.store.stale import stale_days

        current, problem = None, None
        try:
            current = scenarios.configured(settings.scenarios_file).digest
        except ScenarioFileError as error:  # what stands is told all the same
            problem = str(error)
        found = asked.result()
        complete = [one.day for one in found if one.state is State.COMPLETE]
        stale = stale_days(database, calendar, complete, snapshot=snapshot, scenarios=current)
        alerts = waiting.result()
    if json:
        figures, stale_figures = terminal.status_figures(found), terminal_restatements.stale_figures(stale)
        return {
            **figures,
            "stale": stale_figures,
            "alerts": terminal.alert_figures(alerts),
            "scenarios_problem": problem,
        }
    terminal.print_status(found, effective, stale.days)
    terminal_restatements.print_stale(stale, complete)
    if problem is not None:
        terminal_restatements.print_bad_scenarios(problem)
    terminal.print_alerts(alerts, has_urls=bool(settings.alert_urls))
    return None


def of_day(settings: Settings, day: date, now: datetime, json: bool) -> dict[str, Any] | None:
    """One day in full: printed, or its figures. Raises UsageError where it is no trading day up to now."""
    _ask_ahead(settings, now)
    from refresh_assets import terminal, terminal_restatements
    from refresh_assets.assets.restating import look_at_day
    from refresh_assets.automation import launch
    from refresh_assets.store.days import State, exceptions_of
    from refresh_assets.store.stale import Stale

    (found,) = launch.statuses_of(settings, launch.checked_days(settings, day, day, now), now)
    with Database.of(settings).connect() as connection:
        left_out = exceptions_of(connection, day)
    stale = look_at_day(settings, day) if found.state is State.COMPLETE else Stale()
    if json:
        return {**terminal.day_figures(found, left_out), "stale": terminal_restatements.stale_figures(stale)}
    terminal.print_day(found, left_out)
    if found.state is State.COMPLETE:
        terminal_restatements.print_stale_day(stale)
    return None


def _undelivered(database: Database) -> list[Alert]:
    from refresh_assets.store.alerts import undelivered_alerts

    with database.connect() as connection:
        return undelivered_alerts(connection)


def _ask_ahead(settings: Settings, now: datetime) -> None:
    """From two years before the first day on, for as far do the first days look back."""
    ask_ahead(settings.start_date.year - 2, now.astimezone(NEW_YORK).year)
