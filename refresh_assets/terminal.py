"""What commands show: tables and progress on a terminal, and the same figures as plain data for --json.

Here: how things look. Not here: what they are (store/days.py, automation/launch.py), parsing (cli.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

from refresh_assets.store.days import DayStatus, LeftOut, State, stretches
from refresh_assets.store.schema_names import DAY_TABLES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from refresh_assets.automation.launch import Outcome, Plan
    from refresh_assets.automation.onboarding import Onboarded
    from refresh_assets.store.alerts import Alert

ASSETS_OF_A_NIGHT = 7
TABLE_WIDTH = 124
SHOWN = 5
"""Omissions of one kind that are shown in words; the rest is counted, and --json has all."""

COLOURS = {
    State.COMPLETE: "green",
    State.DUE: "yellow",
    State.BLOCKED: "red",
    State.SKIPPED: "magenta",
    State.MIXED: "yellow",
    State.EMPTY: "dim",
}


@contextmanager
def progress(days: int, assets: int | None, quiet: bool) -> Iterator[Callable[[str, date], None] | None]:
    """A bar over days x assets; nothing where there is nothing to run or the output is for a program."""
    if quiet or not days:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting Dagster", total=days * (assets or ASSETS_OF_A_NIGHT))
        yield lambda asset, day: bar.update(task, advance=1, description=f"{day} {asset}")


def status_figures(statuses: Sequence[DayStatus]) -> dict[str, Any]:
    return {
        "days": [_figures(one) for one in statuses if one.state is not State.EMPTY],
        "counts": dict(Counter(one.state.value for one in statuses)),
    }


def day_figures(found: DayStatus, left_out: Sequence[LeftOut]) -> dict[str, Any]:
    return {**_figures(found), "exceptions": [asdict(one) for one in left_out]}


def plan_figures(plan: Plan) -> dict[str, Any]:
    return {
        "days": [_figures(one) for one in plan.days],
        **_rest_figures(plan),
    }


def run_figures(plan: Plan, outcomes: Sequence[Outcome], after: Sequence[DayStatus]) -> dict[str, Any]:
    from refresh_assets.automation.launch import days_not_run

    failed = days_not_run(outcomes)
    return {
        "runs": [asdict(one) for one in outcomes],
        "days": [{**_figures(one), "run_failed": one.day in failed} for one in after],
        **_rest_figures(plan),
    }


def _rest_figures(plan: Plan) -> dict[str, Any]:
    """What is not run, and why."""
    return {
        "blocked": [_figures(one) for one in plan.blocked],
        "mixed": [_figures(one) for one in plan.mixed],
        "skipped": [_figures(one) for one in plan.skipped],
        "left_for_later": plan.left_for_later,
    }


def _figures(one: DayStatus) -> dict[str, Any]:
    return {**asdict(one), "day": one.day.isoformat(), "tables": dict(one.tables)}


def print_status(statuses: Sequence[DayStatus], effective: date, stale: Collection[date] = ()) -> None:
    """Stretches of days in one state, oldest first, and what to do about those that are not complete.

    `stale` are complete days that no longer agree with their inputs: what to do about them is said below the table."""
    console, days = wide_console(), [one.day for one in statuses]
    known = [one for one in statuses if one.state is not State.EMPTY]
    if not known:
        console.print(f"No portfolio holds anything on any trading day up to {effective}: nothing is due.")
        return
    table = table_of("from", "to", "days", "state", "why", "what to do")
    for group in _alike(known, days):
        first, last = group[0], group[-1]
        colour = COLOURS[first.state]
        mend = first.mend
        if len(group) > 1 and first.state in (State.DUE, State.MIXED):
            mend = f"refresh-assets run --from {first.day} --to {last.day}"
            if first.state is State.DUE:
                mend += " --scope missing"  # named days are computed whole: what stands there would be restated
        outdated = [one.day for one in group if one.day in stale]
        if outdated:
            begin, end = outdated[0], outdated[-1]
            span = f"--date {begin}" if begin == end else f"--from {begin} --to {end}"
            mend = f"refresh-assets run {span} --dry-run ({len(outdated)} no longer agree with their inputs: see below)"
        table.add_row(
            str(first.day), str(last.day), str(len(group)), f"[{colour}]{first.state}[/]", first.why, mend or "nothing"
        )
    console.print(table)
    counts = Counter(one.state.value for one in known)
    console.print(f"Up to {effective}: " + ", ".join(f"{number} {state}" for state, number in sorted(counts.items())))


def _alike(statuses: Sequence[DayStatus], days: Sequence[date]) -> list[list[DayStatus]]:
    """Consecutive trading days of one state and reason."""
    by_day = {one.day: one for one in statuses}
    groups: list[list[DayStatus]] = []
    for stretch in stretches(list(by_day), days):
        for place, day in enumerate(stretch):
            one = by_day[day]
            same = place and _reason(groups[-1][-1]) == _reason(one)
            groups[-1].append(one) if same else groups.append([one])
    return groups


def _reason(one: DayStatus) -> tuple[State, str]:
    return one.state, one.why


def print_day(found: DayStatus, left_out: Sequence[LeftOut]) -> None:
    """One day in full: each table, and everything left out by name."""
    console = wide_console()
    console.print(f"{found.day}: [{COLOURS[found.state]}]{found.state}[/], {found.why}.")
    if found.mend:
        console.print(f"What to do: {found.mend}")
    table = table_of("table", "portfolios with rows", "portfolios due")
    for name in DAY_TABLES:
        table.add_row(name, str(found.tables.get(name, 0)), str(found.portfolios))
    console.print(table)
    print_left_out(left_out)


def print_left_out(left_out: Sequence[LeftOut]) -> None:
    """What was left out, by table and code, each with its mend; the first few of each in words."""
    console = wide_console()
    if not left_out:
        console.print("Nothing was left out.")
        return
    groups: dict[tuple[str, str], list[LeftOut]] = {}
    for one in left_out:
        groups.setdefault((one.asset, one.code), []).append(one)
    for (asset, code), some in groups.items():
        console.print(f"[bold]{code}[/]  {len(some)} in {asset}")
        for one in some[:SHOWN]:
            owner = f"{one.portfolio}: " if one.portfolio else ""
            console.print(f"  {owner}{one.detail}", markup=False)
        if len(some) > SHOWN:
            console.print(f"  ... and {len(some) - SHOWN} more: add --json to see all.")


def print_plan(plan: Plan) -> None:
    """What a run would do."""
    console = wide_console()
    for one in plan.days:
        console.print(f"would run {one.day}: {one.state}, {one.why}")
    _print_rest(console, plan)


def print_run(plan: Plan, outcomes: Sequence[Outcome], after: Sequence[DayStatus]) -> None:
    """What a run did: failures first, then a line a day."""
    from refresh_assets.automation.launch import days_not_run

    console, not_run = wide_console(), days_not_run(outcomes)
    _print_failures(console, outcomes)
    for one in after:
        figures = "  ".join(f"{name} {number}" for name, number in one.tables.items())
        failed = f"  [red]{one.failed} failed[/]" if one.failed else ""
        left_out = f"  {one.exceptions} left out" if one.exceptions else ""
        state = f"[{COLOURS[one.state]}]{one.state}[/]"
        if one.day in not_run:
            before = "; what stands is from before" if one.state is State.COMPLETE else "; what is there now"
            state = f"[red]run failed[/]{before}: {state}"
        console.print(f"{one.day}  {state}  {figures}{left_out}{failed}")
    if any(one.exceptions for one in after):
        console.print("What was left out, and why: refresh-assets status --date DAY")
    _print_rest(console, plan)


def alert_figures(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    return [asdict(one) for one in alerts]


def print_alerts(alerts: Sequence[Alert], has_urls: bool) -> None:
    """Alerts that nobody has yet, newest first."""
    if not alerts:
        return
    console = wide_console()
    why = "they are tried again" if has_urls else "set REFRESH_ALERT_URLS to have them sent"
    console.print(f"Alerts not delivered: {len(alerts)} ({why})")
    for one in alerts[:SHOWN]:
        error = f" ({one.attempts} tries: {one.last_error})" if one.last_error else ""
        console.print(f"  {one.kind}: {one.words}{error}", markup=False)
    if len(alerts) > SHOWN:
        console.print(f"  ... and {len(alerts) - SHOWN} more: add --json to see all.")


def onboarded_figures(done: Onboarded) -> dict[str, Any]:
    return {
        "portfolio": str(done.portfolio.id),
        "name": done.portfolio.name,
        "from": done.first.isoformat(),
        "to": done.last.isoformat(),
        "days": [day.isoformat() for day in done.days],
        "rows": done.rows,
        "left_out": {day.isoformat(): why for day, why in done.left_out.items()},
        "runs": [asdict(one) for one in done.outcomes],
    }


def print_onboarded(done: Onboarded) -> None:
    """What a new portfolio got, and the days that it did not get."""
    console = wide_console()
    name = done.portfolio.name or str(done.portfolio.id)
    figures = "  ".join(f"{table} {number}" for table, number in done.rows.items())
    span = str(done.last) if done.first == done.last else f"{done.first} to {done.last}"
    if done.days:
        console.print(f"{name}: {len(done.days)} days of {span}.  {figures}", markup=False)
    else:
        console.print(f"{name}: nothing to add on {span}.", markup=False)
    for outcome in done.outcomes:
        if not outcome.success:
            console.print(f"[red]run {outcome.run_id} failed[/]: {outcome.error}")
    for day, why in done.left_out.items():
        console.print(f"{day} is left out: {why}.", markup=False)


def _print_failures(console: Any, outcomes: Sequence[Outcome]) -> None:
    for one in outcomes:
        if not one.success:
            console.print(f"[red]run {one.run_id} failed[/]: ", end="")
            console.print(one.error, markup=False)  # words of the database may hold brackets


def _print_rest(console: Any, plan: Plan) -> None:
    """What is not run, and what to do about it."""
    others = [*plan.mixed, *plan.skipped]
    if plan.nobody_holds:
        console.print("Nothing is due: no portfolio holds anything.")
    elif not plan.days and not plan.blocked:
        console.print(
            "Nothing is due, but not every day is complete:" if others else "Nothing is due: every day is complete."
        )
    for one in plan.blocked:
        console.print(f"[red]{one.day} is blocked[/]: {one.why}. What to do: {one.mend}.")
    for one in others[:SHOWN]:
        console.print(f"[{COLOURS[one.state]}]{one.day} is {one.state}[/]: {one.why}. What to do: {one.mend}.")
    if len(others) > SHOWN:
        console.print(f"... and {len(others) - SHOWN} more that are mixed or skipped: refresh-assets status")
    if plan.left_for_later:
        console.print(f"{plan.left_for_later} more days are due: run again (REFRESH_MAX_HEAL_DAYS at once).")


def wide_console() -> Console:
    """Lines are never cut: a terminal wraps them, and a file keeps them whole."""
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False, width=max(Console().width, TABLE_WIDTH))


def table_of(*headings: str) -> Table:
    """An empty table in the manner of all commands."""
    from rich import box
    from rich.table import Table

    return Table(*headings, box=box.SIMPLE_HEAD, pad_edge=False)
