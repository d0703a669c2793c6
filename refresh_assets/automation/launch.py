"""Running days through Dagster, in this process.

Here: which days a call asks for, one Dagster run a stretch of consecutive days, what came of each. Not here: the assets
(assets/), whether a day is due or ready (store/days.py), words on a terminal (cli.py)."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from refresh_assets.assets.run_days import range_tags
from refresh_assets.calendar import TradingCalendar
from refresh_assets.errors import GRANTS_MEND, DatabaseUnreachable, DayRefused, SettingsError, UsageError
from refresh_assets.settings import Settings
from refresh_assets.store.database import Database, is_lost_connection, retried
from refresh_assets.store.days import DayStatus, State, day_statuses, stretches
from refresh_assets.store.provision import check_ours, check_platform

ALL, MISSING = "all", "missing"


@dataclass(frozen=True)
class Plan:
    """What a call would run.

    Attributes:
        days: to be run, ascending.
        blocked: asked for or due, but the symbol batch is not complete.
        left_for_later: due, but beyond what heals at once.
        mixed, skipped: neither complete nor due: where nobody named days, they are not run.
        nobody_holds: no portfolio holds anything on any day up to the effective trading date.
    """

    days: list[DayStatus]
    blocked: list[DayStatus]
    left_for_later: int = 0
    mixed: list[DayStatus] = field(default_factory=list)
    skipped: list[DayStatus] = field(default_factory=list)
    nobody_holds: bool = False


@dataclass(frozen=True)
class Outcome:
    """One Dagster run: its days, whether every step succeeded, and the first error in words."""

    run_id: str
    days: list[date]
    success: bool
    error: str | None


def days_not_run(outcomes: Sequence[Outcome]) -> set[date]:
    """Days whose last run failed: what is there of them stands from before, or in part."""
    failed = set[date]()
    for one in outcomes:
        failed = failed.difference(one.days) if one.success else failed.union(one.days)
    return failed


def checked_days(settings: Settings, first: date, last: date, now: datetime) -> list[date]:
    """The trading days that a call names.

    Raises DayRefused for a single day that is no trading day, for one before REFRESH_START_DATE or later than the
    effective trading date, and for a range without a trading day."""
    calendar = TradingCalendar(settings.extra_closures)
    if first > last:
        raise UsageError(f"the range begins on {first} and ends before it, on {last}", "exchange --from and --to")
    if first == last:
        calendar.check(first)
    calendar.check_between(first, last, settings.start_date, now)
    days = calendar.days(first, last)
    if not days:
        raise DayRefused(f"there is no trading day from {first} to {last}", "ask for a longer range")
    return days


def plan_named_days(settings: Settings, days: Sequence[date], now: datetime) -> Plan:
    """The days that a person names, whatever stands there, half-loaded or not; without those whose symbol batch is not
    complete."""
    statuses = statuses_of(settings, days, now, half_loaded_too=True)
    blocked = [one for one in statuses if one.state is State.BLOCKED]
    return Plan([one for one in statuses if one.state is not State.BLOCKED], blocked)


def plan_due_days(settings: Settings, now: datetime) -> Plan:
    """Whatever is due up to the effective trading date, oldest first, at most REFRESH_MAX_HEAL_DAYS."""
    calendar = TradingCalendar(settings.extra_closures)
    effective = calendar.effective_date(now)
    statuses = statuses_of(settings, calendar.days(settings.start_date, effective), now)
    due, blocked, mixed, skipped = (
        [one for one in statuses if one.state is state]
        for state in (State.DUE, State.BLOCKED, State.MIXED, State.SKIPPED)
    )
    limit = settings.max_heal_days
    nobody_holds = all(one.state is State.EMPTY for one in statuses)
    return Plan(due[:limit], blocked, max(len(due) - limit, 0), mixed, skipped, nobody_holds)


def statuses_of(
    settings: Settings, days: Sequence[date], now: datetime, half_loaded_too: bool = False
) -> list[DayStatus]:
    """The status of some days; asked again where the connection is lost under it. Raises SchemaError where tables are
    missing, and DatabaseUnreachable at once.

    Args:
        half_loaded_too: a day with few closes is due as any other, not blocked."""
    database = Database.of(settings)
    calendar = TradingCalendar(settings.extra_closures)
    effective = calendar.effective_date(now)

    def asked() -> list[DayStatus]:
        with database.connect() as connection:
            check_platform(connection, database)
            check_ours(connection, database)
            least = 0.0 if half_loaded_too else settings.min_price_coverage
            return day_statuses(connection, calendar, days, effective, least)

    try:
        return asked()
    except DatabaseUnreachable:
        raise
    except Exception as error:
        if not is_lost_connection(error):
            raise
        return retried(asked)


def checked_selection(names: Collection[str]) -> list[str]:
    """Names of assets of the night. Raises UsageError for one that is none."""
    defs, refresh = _definitions()
    graph = defs.resolve_asset_graph()
    known = sorted(
        key.to_user_string() for key in graph.materializable_asset_keys if graph.get(key).group_name == refresh.GROUP
    )
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise UsageError(
            f"--select names no asset of the night: {', '.join(unknown)}", f"choose from {', '.join(known)}"
        )
    return sorted(names)


def run_days(
    settings: Settings,
    days: Sequence[date],
    scope: str,
    select: Collection[str] = (),
    day_done: Callable[[str, date], None] | None = None,
    portfolio: str = "",
) -> list[Outcome]:
    """Materialize days, one run a stretch of consecutive trading days, oldest first; a day that fails costs itself alone.

    Into the instance of DAGSTER_HOME if it is set, else nothing is recorded in Dagster (the tables are all the same).

    Args:
        scope: "all" computes each day whole; "missing" adds the portfolios that are due.
        select: names of assets; none: all of the night.
        day_done: told (asset, day) after each day of each asset.
        portfolio: uuid of one that is onboarded: the job is then onboard_portfolio, and adds its rows alone."""
    if not days:
        return []
    defs, refresh = _definitions()
    import dagster as dg

    from refresh_assets.assets.event_log import on_one_connection

    calendar = TradingCalendar(settings.extra_closures)
    job = defs.resolve_job_def(refresh.ONBOARDING_JOB if portfolio else "portfolio_refresh")
    config = {
        "resources": {"refresh": {"config": {"scope": scope, "portfolio": portfolio}}},
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
    }
    keys = [dg.AssetKey(name) for name in select] or None
    every = calendar.days(min(days), max(days))
    outcomes, waiting, failed = [], deque(stretches(days, every)), set[date]()
    with _instance(dg) as instance, on_one_connection(instance), refresh.telling(day_done, failed.add):
        while waiting:
            stretch = waiting.popleft()
            result = job.execute_in_process(
                instance=instance,
                asset_selection=keys,
                raise_on_error=False,
                tags=range_tags(stretch),
                run_config=config,
            )
            outcomes.append(Outcome(result.run_id, stretch, result.success, _first_error(result)))
            rest = [day for day in stretch if day not in failed]
            if not result.success and failed.intersection(stretch) and rest:
                # Dagster skips what comes after a failed asset, for every day of its run: the others get runs of their own.
                waiting.extendleft(reversed(stretches(rest, every)))
    return outcomes


def _definitions() -> tuple[Any, Any]:
    """The definitions and assets.refresh, imported here: Dagster costs a second or two."""
    with warnings.catch_warnings():
        # Backfill policies and partition offsets are "beta" in Dagster; a person at a terminal can do nothing about it.
        warnings.filterwarnings("ignore", message=".* is currently in beta")
        from refresh_assets.assets import refresh
        from refresh_assets.definitions import defs

        defs.resolve_job_def("portfolio_refresh")
    return defs, refresh


def _instance(dagster: Any) -> Any:
    home = os.environ.get("DAGSTER_HOME")
    if home:
        folder = os.path.expanduser(home)  # as Dagster does; it would end in a traceback of its own
        if not os.path.isabs(folder) or not os.path.isdir(folder):
            wrong = "does not exist or is no folder" if os.path.isabs(folder) else "is not an absolute path"
            mend = "make it an existing folder with its full path, or unset it: nothing is then recorded in Dagster"
            raise SettingsError(f"DAGSTER_HOME is {home!r}, which {wrong}", mend)
        return dagster.DagsterInstance.get()
    return dagster.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}})


def _first_error(result: Any) -> str | None:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            # The words of the innermost cause: the outer ones are Dagster's.
            while error.cause is not None:
                error = error.cause
            words = f"{event.step_key}: {error.message.strip()}"
            # Dagster keeps the words of an error and not its code.
            return f"{words} Mend: {GRANTS_MEND}." if "permission denied for " in words else words
        if event.is_failure:
            return str(event.message)
    return None
