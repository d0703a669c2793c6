"""What `status` answers: which days are complete, which no longer agree with their inputs, which alerts wait.

Here: reading it, in the order in which that is quickest. Not here: the command (cli.py), how it is drawn (terminal.py,
terminal_restatements.py), what a state means (store/days.py), the comparison with inputs (store/stale.py)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import Any

from refresh_assets.settings import Settings
from refresh_assets.store.database import Database


def of_days(settings: Settings, now: datetime, json: bool) -> dict[str, Any] | None:
    """Every day up to now: printed, or its figures."""
    from refresh_assets.automation import launch
    from refresh_assets.calendar import TradingCalendar

    database, calendar = Database.of(settings), TradingCalendar(settings.extra_closures)
    effective = calendar.effective_date(now)
    with ThreadPoolExecutor(1) as asking:
        asked = asking.submit(launch.statuses_of, settings, calendar.days(settings.start_date, effective), now)
        # While the database reads who holds what: loading what only the rest needs, and connecting for it.
        from refresh_assets import terminal, terminal_restatements
        from refresh_assets.core import scenarios
        from refresh_assets.errors import ScenarioFileError
        from refresh_assets.store.alerts import undelivered_alerts
        from refresh_assets.store.days import State
        from refresh_assets.store.stale import stale_days

        current, problem = None, None
        try:
            current = scenarios.configured(settings.scenarios_file).digest
        except ScenarioFileError as error:  # what stands is told all the same
            problem = str(error)
        with database.snapshot_later() as snapshot:
            found = asked.result()
            complete = [one.day for one in found if one.state is State.COMPLETE]
            stale = stale_days(database, calendar, complete, snapshot=snapshot, scenarios=current)
    with database.connect() as connection:
        alerts = undelivered_alerts(connection)
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
