"""People's front door: parse, call, print.

Here: the commands, their exit codes, one line an error. Not here: anything computed (core/), decided (store/days.py,
automation/) or drawn (terminal.py). What costs start-up time is imported where it is used."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import Parameter

from refresh_assets.errors import RefreshError, UsageError

app = cyclopts.App(
    name="refresh-assets",
    help="The nightly portfolio refresh: snapshots, correlations, factor exposures and stress tests in PostgreSQL.",
    help_format="plaintext",
    version_flags=["--version"],
)
EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_BLOCKED = 0, 1, 2, 3

Json = Annotated[bool, Parameter(help="Print figures as JSON.", negative=())]


def _day(_type: object, tokens: Sequence[Any]) -> date:
    text = tokens[0].value
    try:
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not a date YYYY-MM-DD", "write for example 2026-03-13") from None


Day = Annotated[date, Parameter(converter=_day)]


@app.command
def init(*, json: Json = False) -> int:
    """Create or upgrade our tables; the platform's only where they do not exist. Safe to run again."""
    from refresh_assets.settings import load
    from refresh_assets.store.database import Database
    from refresh_assets.store.provision import init as provide

    settings = load()
    done = provide(Database.of(settings))
    if json:
        _print_json(
            {
                "schema": settings.schema_name,
                "created_platform_tables": list(done.created_platform_tables),
                "revision_before": done.revision_before,
                "revision": done.revision_after,
            }
        )
        return EXIT_DONE
    if done.created_platform_tables:
        print(f"platform tables created: {', '.join(done.created_platform_tables)}")
    change = "up to date" if done.revision_before == done.revision_after else f"from {done.revision_before or 'none'}"
    print(f"our tables are at revision {done.revision_after} in schema {settings.schema_name} ({change})")
    return EXIT_DONE


@app.command
def run(
    *,
    day: Annotated[Day | None, Parameter(name="--date", help="One trading day.")] = None,
    first: Annotated[Day | None, Parameter(name="--from", help="First day of a range.")] = None,
    last: Annotated[Day | None, Parameter(name="--to", help="Last day of a range.")] = None,
    scope: Annotated[
        Literal["all", "missing"] | None,
        Parameter(help="all: compute the days whole (default for named days). missing: add only what is due."),
    ] = None,
    select: Annotated[str, Parameter(help="Names of assets, divided by commas. None: all of the night.")] = "",
    dry_run: Annotated[bool, Parameter(help="Say what would be run, and write nothing.", negative=())] = False,
    json: Json = False,
) -> int:
    """Materialize days through Dagster in this process. Without dates: whatever is due up to the last close."""
    from refresh_assets import terminal
    from refresh_assets.automation import launch
    from refresh_assets.settings import load

    settings, now = load(), _now()
    names = [name.strip() for name in select.split(",") if name.strip()]
    if day is not None and (first is not None or last is not None):
        raise UsageError("--date and a range were both given", "give --date, or --from and --to")
    if (first is None) != (last is None):
        raise UsageError("a range needs both ends", "give --from and --to, or --date for one day")
    begin, end = (day, day) if day is not None else (first, last)
    if begin is not None and end is not None:
        plan = launch.plan_named_days(settings, launch.checked_days(settings, begin, end, now), now)
        default_scope = launch.ALL
    else:
        plan = launch.plan_due_days(settings, now)
        default_scope = launch.MISSING
    if names:
        names = launch.checked_selection(names)
    if dry_run:
        _print_json(terminal.plan_figures(plan)) if json else terminal.print_plan(plan)
        return EXIT_BLOCKED if plan.blocked and not plan.days else EXIT_DONE
    days = [one.day for one in plan.days]
    with terminal.progress(len(days), len(names) or None, quiet=json) as day_done:
        outcomes = launch.run_days(settings, days, scope or default_scope, names, day_done)
    after = launch.statuses_of(settings, days, now)
    if json:
        _print_json(terminal.run_figures(plan, outcomes, after))
    else:
        terminal.print_run(plan, outcomes, after)
    if any(not one.success for one in outcomes) or any(one.failed for one in after):
        return EXIT_FAILED
    return EXIT_BLOCKED if plan.blocked else EXIT_DONE


@app.command
def status(
    *,
    day: Annotated[Day | None, Parameter(name="--date", help="One trading day, in full.")] = None,
    json: Json = False,
) -> int:
    """Which days are complete, due, blocked or skipped, why, and what to do."""
    from refresh_assets import terminal
    from refresh_assets.automation import launch
    from refresh_assets.calendar import TradingCalendar
    from refresh_assets.settings import load
    from refresh_assets.store.alerts import undelivered_alerts
    from refresh_assets.store.database import Database
    from refresh_assets.store.days import exceptions_of

    settings, now = load(), _now()
    effective = TradingCalendar(settings.extra_closures).effective_date(now)
    if day is not None:
        (found,) = launch.statuses_of(settings, launch.checked_days(settings, day, day, now), now)
        with Database.of(settings).connect() as connection:
            left_out = exceptions_of(connection, day)
        _print_json(terminal.day_figures(found, left_out)) if json else terminal.print_day(found, left_out)
        return EXIT_DONE
    days = TradingCalendar(settings.extra_closures).days(settings.start_date, effective)
    found_all = launch.statuses_of(settings, days, now)
    with Database.of(settings).connect() as connection:
        alerts = undelivered_alerts(connection)
    if json:
        _print_json({**terminal.status_figures(found_all), "alerts": terminal.alert_figures(alerts)})
    else:
        terminal.print_status(found_all, effective)
        terminal.print_alerts(alerts, has_urls=bool(settings.alert_urls))
    return EXIT_DONE


@app.command
def onboard(portfolio: str, /, *, json: Json = False) -> int:
    """Give one new portfolio, by uuid or exact name, its rows at once: from its inception to the last close."""
    from refresh_assets import terminal
    from refresh_assets.automation import onboarding
    from refresh_assets.settings import load

    done = onboarding.onboard(load(), portfolio, _now())
    _print_json(terminal.onboarded_figures(done)) if json else terminal.print_onboarded(done)
    if not done.success:
        return EXIT_FAILED
    return EXIT_BLOCKED if done.left_out and not done.days else EXIT_DONE


@app.command
def demo(
    *,
    folder: Annotated[Path, Parameter(help="Where the demo's database and Dagster home are kept.")] = Path(".demo"),
    json: Json = False,
) -> int:
    """Real nights of February and March 2020 on an embedded PostgreSQL: books, what was left out, where to look next."""
    from refresh_assets.demo.nights import play

    return play(folder, json=json)


_clock: list[datetime] = []


def _now() -> datetime:
    """The instant that a command works at: the real one, but for the demo's world, where it is its last evening."""
    return _clock[0] if _clock else datetime.now(UTC)


def _print_json(figures: object) -> None:
    print(jsonlib.dumps(figures, indent=2, default=str))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: returns its exit code (installed script: leaves with it). Tracebacks only with --debug."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        if "--demo" in words:
            from refresh_assets.demo.nights import world

            words.remove("--demo")
            with world(Path(".demo")) as clock:
                _clock.append(clock)
                return _called(words)
        return _called(words)
    except RefreshError as error:
        if debug:
            raise
        print(f"refresh-assets: {error}", file=sys.stderr)
        return error.exit_code
    except cyclopts.CycloptsError as error:
        if debug:
            raise
        print(f"refresh-assets: {' '.join(str(error).split())} Mend: see refresh-assets --help.", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("refresh-assets: stopped; what was committed stays, the rest is still due.", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        code = _database_exit_code(error)
        line = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"refresh-assets: {line} Mend: run it again with --debug and report the traceback.", file=sys.stderr)
        return code


def _called(words: list[str]) -> int:
    result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    return result if isinstance(result, int) else EXIT_DONE


def _database_exit_code(error: BaseException) -> int:
    from refresh_assets.store.database import is_lost_connection

    return 4 if is_lost_connection(error) else EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
