"""What commands show of past days that would come out otherwise, and of those that did.

Here: tables on a terminal, and the same figures as plain data for --json. Not here: what no longer agrees (store/stale.py),
what would change (assets/restating.py), records (store/restatement.py), the other tables (terminal.py)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

from refresh_assets.store.restatement import LARGEST_OF
from refresh_assets.terminal import SHOWN, table_of, wide_console

if TYPE_CHECKING:
    from rich.table import Table

    from refresh_assets.assets.restating import WouldChange
    from refresh_assets.store.restatement import PricesChanged, Record, Restatement
    from refresh_assets.store.stale import Stale
    from refresh_assets.store.stale_prices import PriceChange
    from refresh_assets.store.stale_snapshots import SnapshotChange

SHOWN_STRETCHES = 12
SHOWN_CLOSES = 10
SHOWN_RECORDS = 40
DIGEST_LENGTH = 12
"""Hexadecimal digits of a digest that tell any two of a platform apart at sight."""

WITHOUT_UNIT = LARGEST_OF["correlation_calculations"]

WORDS = {
    "prices": "closes of the day",
    "window": "earlier closes that it looks back to",
    "positions": "positions or their sales",
    "valuations": "hand-entered valuations",
    "betas": "stored betas",
    "factors": "factors, or the closes of their proxies",
    "scenarios": "stress scenarios",
    "settings": "settings",
}
REACH = (
    "A changed close also moves the P&L of the day after and, for 90 calendar days, correlations (inline betas: for their"
    " window, up to 180; the stress covariance: 252 trading days, if it is a factor's proxy)."
)


def _again(first: date, last: date) -> str:
    span = f"--date {first}" if first == last else f"--from {first} --to {last}"
    return f"refresh-assets run {span} --dry-run, then without --dry-run"


def stale_figures(stale: Stale) -> dict[str, Any]:
    return {
        "days": [
            {"day": day.isoformat(), "inputs": list(kinds), "mend": _again(day, day)}
            for day, kinds in stale.days.items()
        ],
        "closes": [asdict(one) for one in stale.prices],
        "snapshots": [
            {**asdict(one), "days": list(one.days), "portfolio_usd": one.portfolio_usd} for one in stale.snapshots
        ],
        "days_without_snapshots": stale.unmeasured,
        "complete_days": stale.complete,
        "latest_days_looked_at": dict(stale.looked_at),
        "days_of_another_version": stale.older_version,
        "days_of_other_scenarios": [day.isoformat() for day in stale.scenarios],
    }


def print_stale(stale: Stale, complete: Sequence[date]) -> None:
    """Which of the complete days no longer agree with their inputs, in which, by how much, and what to type."""
    console = wide_console()
    if stale.days:
        stretches = _stretches(stale, complete)
        console.print(
            f"{len(stale.days)} of {stale.complete} complete days no longer agree with what they were computed from."
            " They stay as they are until you ask for them again:"
        )
        for first, last, number, kinds in stretches[-SHOWN_STRETCHES:]:
            span = str(first) if first == last else f"{first} to {last} ({number} days)"
            console.print(f"  [bold]{span}[/]: {in_words(kinds)}")
            console.print(f"    {_again(first, last)}", markup=False)
        if len(stretches) > SHOWN_STRETCHES:
            rest, first = stretches[:-SHOWN_STRETCHES], stretches[0][0]
            console.print(f"  and {len(rest)} earlier stretches, {first} to {rest[-1][1]}: add --json to see all.")
        _print_snapshots(stale)
        _print_closes(stale)
    if stale.scenarios:
        console.print(
            f"The stress scenarios changed since {len(stale.scenarios)} of the {stale.complete} complete days were computed"
            f" (latest: {stale.scenarios[-1]}): refresh-assets run --date {stale.scenarios[-1]} --dry-run shows what would"
            " change",
            markup=False,
        )
    _print_looked_at(stale)


def print_bad_scenarios(problem: str) -> None:
    """That no run can start."""
    wide_console().print(f"The stress scenarios cannot be used, so every run would fail: {problem}", markup=False)


def print_stale_day(stale: Stale) -> None:
    """The same for one day."""
    console = wide_console()
    for day, kinds in stale.days.items():
        console.print(f"It no longer agrees with what it was computed from: {in_words(kinds)}.")
        console.print(f"What to do: {_again(day, day)}")
        _print_snapshots(stale)
        _print_closes(stale)
    if stale.older_version:
        console.print("It was computed by another version of refresh-assets: only its closes can be compared.")
    elif not stale.days:
        console.print("Its inputs are those that it was computed from.")


def in_words(kinds: Collection[str]) -> str:
    return "; ".join(words for kind, words in WORDS.items() if kind in kinds)


def _why(changes: Sequence[Restatement | Record]) -> str:
    """The inputs that differ; the digest of prices covers closes of the day and of its windows alike."""
    kinds = {kind for one in changes for kind in one.inputs_changed}
    if any(one.prices_changed for one in changes) or "prices" not in kinds:
        return in_words(kinds)
    return "; ".join(part for part in (WORDS["window"], in_words(kinds - {"prices"})) if part)


def _stretches(stale: Stale, complete: Sequence[date]) -> list[tuple[date, date, int, tuple[str, ...]]]:
    """First, last, number and kinds of complete days, one after the other, that differ alike."""
    place = {day: number for number, day in enumerate(complete)}
    found: list[tuple[date, date, int, tuple[str, ...]]] = []
    for day, kinds in stale.days.items():
        if found and found[-1][3] == kinds and place[day] == place[found[-1][1]] + 1:
            first, _, number, _ = found.pop()
            found.append((first, day, number + 1, kinds))
        else:
            found.append((day, day, 1, kinds))
    return found


def _print_snapshots(stale: Stale) -> None:
    """Whose snapshots would change by positions and valuations: a line a cause, for it reaches many days alike."""
    if not stale.snapshots:
        return
    console = wide_console()
    console.print(
        "Snapshots that would change with positions and valuations; the figures are of the latest of the days:"
    )
    for one in stale.snapshots[:SHOWN_CLOSES]:
        console.print(f"  {_span(one.days)}: {_size_of(one)}", markup=False)
    if len(stale.snapshots) > SHOWN_CLOSES:
        console.print(f"  and {len(stale.snapshots) - SHOWN_CLOSES} more, earlier: add --json to see all.")
    if stale.unmeasured:
        days = "1 more day was" if stale.unmeasured == 1 else f"{stale.unmeasured} more days were"
        console.print(f"  {days} not computed for this: refresh-assets status --date DAY")


def _size_of(one: SnapshotChange) -> str:
    if not one.portfolios:
        return "no portfolio's, what differs is not in them."
    number = f"{one.portfolios} portfolios" if one.portfolios != 1 else "1 portfolio"
    if one.column is None:
        return f"{number}, no amount in USD."
    return f"{number}, {one.usd:,.0f} USD of {one.column}; most in {one.portfolio}, {one.portfolio_usd:+,.0f}."


def _span(days: Sequence[date]) -> str:
    return f"on {days[0]}" if len(days) == 1 else f"on {len(days)} days, {days[0]} to {days[-1]}"


def _print_closes(stale: Stale) -> None:
    if not stale.prices:
        return
    console = wide_console()
    console.print("Closes that changed; the figures are of the latest of the days:")
    for one in stale.prices[:SHOWN_CLOSES]:
        console.print(f"  {_in_a_line(one)}", markup=False)
    if len(stale.prices) > SHOWN_CLOSES:
        console.print(f"  and {len(stale.prices) - SHOWN_CLOSES} more, smaller: add --json to see all.")
    console.print(REACH)


def _close(close: float | None) -> str:
    return "none" if close is None else f"{close:,.10g}"


def _in_a_line(one: PriceChange) -> str:
    words = f"{one.symbol} {_close(one.old)} -> {_close(one.new)} {_span(one.days)}: {_kind_of(one)}."
    if one.portfolios is None or one.usd is None:
        return words
    if one.portfolio is None:
        return f"{words} No portfolio holds it."
    held = f"{one.portfolios} portfolios" if one.portfolios != 1 else "1 portfolio"
    return f"{words} In {held}, {one.usd:,.0f} USD; most in {one.portfolio}, {one.portfolio_usd:+,.0f}."


def _kind_of(one: PriceChange) -> str:
    if one.split is not None:
        later = " or later" if one.reaches_last else ""
        return f"looks like a {one.split} from {one.split_from}{later}"
    if one.old is None:
        return "came after the day was computed"
    if one.new is None or one.low is None or one.high is None:
        return "is gone" if one.new is None else "correction"
    low, high = f"{one.low:.4g}", f"{one.high:.4g}"
    return f"correction, times {low}" + ("" if low == high else f" to {high}")


def _print_looked_at(stale: Stale) -> None:
    """What a look at many days left out; nothing where it left nothing out."""
    console = wide_console()
    names = {"prices": "closes", "positions": "positions and valuations", "betas": "stored betas"}
    short = {
        name: stale.looked_at.get(kind, 0)
        for kind, name in names.items()
        if stale.looked_at.get(kind, 0) < stale.complete
    }
    if not stale.complete or not short:
        return
    parts = [f"{name} of the latest {number} days" if number else f"{name} of none" for name, number in short.items()]
    version = ""
    if stale.older_version:
        version = f" ({stale.older_version} were computed by another version: there only closes can be compared)"
    console.print(
        f"Of {stale.complete} complete days were compared: {', '.join(parts)}{version}."
        " One day in full: refresh-assets status --date DAY"
    )


def would_change_figures(one: WouldChange) -> dict[str, Any]:
    return {
        "day": one.day.isoformat(),
        "skipped": one.skipped or None,
        "tables": {name: _restatement_figures(one, found) for name, found in one.tables.items()},
    }


def _restatement_figures(one: WouldChange, found: Restatement | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "rows": found.rows,
        "portfolios": found.portfolios,
        "largest_change": found.largest,
        "column": found.column,
        "portfolio_id": None if found.portfolio is None else str(found.portfolio),
        "portfolio": one.names.get(str(found.portfolio)),
        "old": found.old,
        "new": found.new,
        "inputs_changed": list(found.inputs_changed),
        "prices_changed": found.prices_changed,
    }


def print_would_change(one: WouldChange) -> None:
    """What a run would do to a day that stands."""
    console = wide_console()
    if one.skipped:
        console.print(f"{one.day} would be skipped: {one.skipped}.")
        return
    changed = {name: found for name, found in one.tables.items() if found is not None}
    if not changed:
        console.print(f"{one.day} would come out the same, byte for byte.")
        return
    why = (
        _why(list(changed.values()))
        or "nothing in its inputs: the rows were changed by another hand, or by another version"
    )
    console.print(f"{one.day} would be restated. What changed since: {why}.")
    _print_prices([found.prices_changed for found in changed.values()])
    table = _changes_table()
    for name, found in one.tables.items():
        owner = "" if found is None else one.names.get(str(found.portfolio), str(found.portfolio or ""))
        _add_change(table, name, found, owner)
    console.print(table)


def _changes_table() -> Table:
    table = table_of("table", "rows", "portfolios", "largest change", "from -> to", "in")
    for column in table.columns[:4]:
        column.no_wrap = True
    return table


def _add_change(table: Table, name: str, one: Restatement | Record | None, owner: str) -> None:
    if one is None or not one.rows:
        table.add_row(name, "0", "0", "no row differs", "", "")
        return
    digits = 4 if one.column in WITHOUT_UNIT else 2
    old, new = (f"{value:,.{digits}f}" if value is not None else "none" for value in (one.old, one.new))
    change = f"{one.largest or 0.0:+,.{digits}f}"
    table.add_row(name, str(one.rows), str(one.portfolios), change, f"{old} -> {new}", f"{one.column} of {owner}")


def _print_prices(changed: Sequence[PricesChanged | None]) -> None:
    console = wide_console()
    for one in changed:
        if one is None:
            continue
        words = [_price_words(*close) for close in one["largest"][:SHOWN]]
        more = f" and {one['count'] - len(words)} more" if one["count"] > len(words) else ""
        console.print(f"  closes: {', '.join(words)}{more}", markup=False)


def _price_words(symbol: str, old: float | None, new: float | None) -> str:
    from refresh_assets.core.splits import split_of

    split = split_of(old, new)
    return f"{symbol} {_close(old)} -> {_close(new)}" + (f" (looks like a {split})" if split else "")


def record_figures(records: Sequence[Record]) -> dict[str, Any]:
    return {"restatements": [{**asdict(one), "day": one.day.isoformat()} for one in records]}


def print_records(records: Sequence[Record], day: date | None) -> None:
    """Restatements, newest first: those of one day and run together."""
    console = wide_console()
    if not records:
        console.print(f"{day or 'No day'} was {'never' if day else 'ever'} restated.")
        return
    shown = records[:SHOWN_RECORDS]
    groups: dict[tuple[date, str], list[Record]] = {}
    for one in shown:
        groups.setdefault((one.day, one.run_id), []).append(one)
    for (restated, run_id), some in groups.items():
        why = _why(some) or "nothing in its inputs"
        console.print(
            f"[bold]{restated}[/] restated {some[0].restated_at:%Y-%m-%d %H:%M} UTC by run {run_id[:8]}: {why}"
        )
        _print_prices([one.prices_changed for one in some])
        for old, new in sorted({(one.old_digest, one.new_digest) for one in some}):
            console.print(f"  inputs: digest {old[:DIGEST_LENGTH]} -> {new[:DIGEST_LENGTH]}")
        table = _changes_table()
        for one in some:
            _add_change(table, one.table, one, one.portfolio or "")
        console.print(table)
    if len(records) > len(shown):
        console.print(f"... and {len(records) - len(shown)} earlier records: add --date DAY, or --json to see all.")
