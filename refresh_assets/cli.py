"""People's front door: parse, call, print.

Here: the commands, their exit codes, one line an error. Not here: anything computed (core/), decided (store/days.py,
automation/) or drawn (terminal.py). What costs start-up time is imported where it is used."""

from __future__ import annotations

import gc
import json as jsonlib
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refresh_assets.arguments import Commands, Option, a_day, option
from refresh_assets.errors import GRANTS_MEND, RefreshError, UsageError

if TYPE_CHECKING:
    from refresh_assets.automation.launch import Plan
    from refresh_assets.settings import Settings

EXIT_DONE, EXIT_FAILED, EXIT_BLOCKED = 0, 1, 3


def _version() -> str:
    from importlib.metadata import version

    return version("refresh-assets")


commands = Commands(
    "refresh-assets",
    "The nightly portfolio refresh: snapshots, correlations, factor exposures and stress tests in PostgreSQL.",
    "With --demo a command is about the demo's nights; with --debug an error comes with its traceback.",
    _version,
)
JSON = option("--json", action="store_true", help="Print figures as JSON.")
PORTFOLIO = option("portfolio", metavar="PORTFOLIO", help="Its uuid or exact name.")


def _date(name: str, words: str, **how: Any) -> Option:
    return option(name, type=a_day, metavar="DATE", help=words, **how)


@commands.command(JSON)
def init(*, json: bool) -> int:
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


@commands.command(
    _date("--date", "One trading day.", dest="day"),
    _date("--from", "First day of a range.", dest="first"),
    _date("--to", "Last day of a range.", dest="last"),
    option(
        "--scope",
        choices=("all", "missing"),
        help="all: compute the days whole (default for named days). missing: add only what is due.",
    ),
    option("--select", default="", metavar="NAMES", help="Names of assets, divided by commas. None: all of the night."),
    option("--dry-run", action="store_true", help="Say what would be run, and what it would change; write nothing."),
    JSON,
)
def run(
    *,
    day: date | None,
    first: date | None,
    last: date | None,
    scope: str | None,
    select: str,
    dry_run: bool,
    json: bool,
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
        # Only a day that is computed whole can change what stands.
        again = [one.day for one in plan.days] if (scope or default_scope) == launch.ALL else []
        _dry_run(settings, plan, again, names, json)
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


def _dry_run(settings: Settings, plan: Plan, again: Sequence[date], names: Sequence[str], json: bool) -> None:
    from refresh_assets import terminal, terminal_restatements
    from refresh_assets.assets.restating import would_change

    would = would_change(settings, again, names) if again else iter(())
    if json:
        changes = [terminal_restatements.would_change_figures(one) for one in would]
        _print_json({**terminal.plan_figures(plan), "would_change": changes})
        return
    terminal.print_plan(plan)
    for one in would:
        terminal_restatements.print_would_change(one)


@commands.command(_date("--date", "One trading day, in full.", dest="day"), JSON)
def status(*, day: date | None, json: bool) -> int:
    """Which days are complete, due, blocked or skipped, why, and what to do; which no longer agree with their inputs."""
    from refresh_assets import status
    from refresh_assets.settings import load

    settings, now = load(), _now()
    figures = status.of_days(settings, now, json) if day is None else status.of_day(settings, day, now, json)
    if figures is not None:
        _print_json(figures)
    return EXIT_DONE


@commands.command(_date("--date", "One trading day.", dest="day"), JSON)
def restatements(*, day: date | None, json: bool) -> int:
    """What re-computed days changed against what stood there, newest first: how much, in whose book, and why."""
    from refresh_assets import terminal_restatements
    from refresh_assets.automation.launch import checked_days
    from refresh_assets.settings import load
    from refresh_assets.store.database import Database
    from refresh_assets.store.provision import check_ours
    from refresh_assets.store.restatement import records

    database = Database.of(settings := load())
    with database.connect() as connection:
        check_ours(connection, database)
        found = records(connection, day)
    if day is not None and not found:  # what was restated is shown, though the day has become a holiday since
        checked_days(settings, day, day, _now())
    if json:
        _print_json(terminal_restatements.record_figures(found))
    else:
        terminal_restatements.print_records(found, day)
    return EXIT_DONE


@commands.command(
    PORTFOLIO,
    _date("day", "A trading day."),
    option("--factor", help="The exposure to this factor."),
    option("--scenario", help="The P&L under this stress scenario."),
    option("--pair", nargs=2, metavar="SYMBOL", help="The correlation of these two symbols."),
    JSON,
)
def explain(
    *, portfolio: str, day: date, factor: str | None, scenario: str | None, pair: list[str] | None, json: bool
) -> int:
    """Trace one stored number of a portfolio, by uuid or exact name, to its positions, prices and betas.

    Without an option: the snapshot of the day."""
    from refresh_assets.explain.answer import figures_of
    from refresh_assets.explain.question import Question
    from refresh_assets.explain.question import explain as trace
    from refresh_assets.explain.show import print_explanation
    from refresh_assets.settings import load

    answer = trace(load(), portfolio, Question(day, factor, scenario, (pair[0], pair[1]) if pair else None), _now())
    _print_json(figures_of(answer)) if json else print_explanation(answer)
    return EXIT_DONE


@commands.command(
    option("portfolio", metavar="PORTFOLIO", nargs="?", help="Its uuid or exact name."),
    _date("--date", "A trading day.", dest="day", required=True),
    option("--out", type=Path, default=Path("."), metavar="FOLDER", help="Where the file goes. Default: here."),
    JSON,
)
def report(*, portfolio: str | None, day: date, out: Path, json: bool) -> int:
    """Write a day's stored figures as one self-contained HTML file, and print its path.

    Of everybody, or of one portfolio in full, by uuid or exact name."""
    from refresh_assets.report.file import write_report
    from refresh_assets.settings import load

    path = write_report(load(), portfolio, day, out, _now())
    _print_json({"path": str(path)}) if json else print(path)
    return EXIT_DONE


@commands.command(PORTFOLIO, JSON)
def onboard(*, portfolio: str, json: bool) -> int:
    """Give one new portfolio, by uuid or exact name, its rows at once: from its inception to the last close."""
    from refresh_assets import terminal
    from refresh_assets.automation import onboarding
    from refresh_assets.settings import load

    done = onboarding.onboard(load(), portfolio, _now())
    _print_json(terminal.onboarded_figures(done)) if json else terminal.print_onboarded(done)
    if not done.success:
        return EXIT_FAILED
    return EXIT_BLOCKED if done.left_out and not done.days else EXIT_DONE


@commands.command(option("--role", required=True, help="Its name."), JSON)
def grants(*, role: str, json: bool) -> int:
    """Print the SQL that lets a database role run init and the night, and no more: an owner pipes it to psql."""
    from refresh_assets.settings import load
    from refresh_assets.store.database import Database
    from refresh_assets.store.grants import grant_statements

    statements = grant_statements(Database.of(load()), role)
    _print_json({"role": role, "statements": statements}) if json else print("\n".join(statements))
    return EXIT_DONE


@commands.command(
    option(
        "--folder",
        type=Path,
        default=Path(".demo"),
        help="Where the demo's database and Dagster home are kept. Default: .demo",
    ),
    JSON,
)
def demo(*, folder: Path, json: bool) -> int:
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
    if arguments is not None:
        return _ended(list(arguments))
    words = sys.argv[1:]
    if words[:1] == ["status"]:
        return _at_a_glance(words)
    # Modules are no garbage: looking through them while they are loaded, and once more at the end, takes 0.2 s.
    gc.set_threshold(50_000)
    try:
        return _ended(words)
    finally:
        gc.freeze()


def _at_a_glance(words: list[str]) -> int:
    """Carry out a command that reads for half a second, in a process that nothing else will use."""
    gc.disable()
    # Nothing is multiplied here, and threads that wait for a matrix keep a core busy that the database could use.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    code = _ended(words)
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return code  # nobody reads on: the interpreter says so
    # Every connection is closed by now; taking a thousand modules down one by one is 25 ms for nobody.
    os._exit(code)


def _ended(words: list[str]) -> int:
    """Carry out a command; how it ends, in one line on stderr where that is not well."""
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        if "--demo" in words:
            from refresh_assets.demo.nights import world

            words.remove("--demo")
            with world(Path(".demo")) as clock:
                _clock.append(clock)
                return commands.call(words)
        return commands.call(words)
    except KeyboardInterrupt:
        print("refresh-assets: stopped; what was committed stays, the rest is still due.", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        code, line = _exit_of(error)
        print(f"refresh-assets: {line}", file=sys.stderr)
        return code


def _exit_of(error: Exception) -> tuple[int, str]:
    """The exit code of an error, and its one line with the mend."""
    if isinstance(error, RefreshError):
        return error.exit_code, str(error)
    from refresh_assets.store.database import is_lost_connection

    line = " ".join(f"{type(error).__name__}: {error}".split())
    return 4 if is_lost_connection(error) else EXIT_FAILED, f"{line} Mend: {_mend_of(error)}."


def _mend_of(error: BaseException) -> str:
    if getattr(error, "sqlstate", None) == "42501":  # permission denied: of psycopg's errors and of ADBC's
        return GRANTS_MEND
    return "run it again with --debug and report the traceback"


if __name__ == "__main__":
    sys.exit(main())
