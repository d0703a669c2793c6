"""The demo's last page: books, the nights, what was left out, what to type next.

Here: one query, one table. Not here: playing the nights (nights.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import psycopg

from refresh_assets.store.days import DayStatus, LeftOut
from refresh_assets.store.headlines import HIGHEST_PAIR, WORST_STRESS
from refresh_assets.terminal import wide_console

EXPLAIN = 'refresh-assets explain --demo "Harbor Long/Short" 2020-03-16'


def book_figures(connection: psycopg.Connection[Any], day: date) -> list[dict[str, Any]]:
    """A row a book: value, day P&L, its highest pair correlation, its worst stress, whether it is partial."""
    rows = connection.execute(
        f"""
        select p.name, s.total_value, s.daily_pnl, s.daily_return, s.is_partial, s.position_count,
            pair.symbol_1 || ' ' || pair.symbol_2 as pair, pair.correlation_value, worst.scenario_id, worst.loss
        from portfolios p join portfolio_snapshots s on s.portfolio_id = p.id and s.snapshot_date = %(day)s
        {HIGHEST_PAIR} {WORST_STRESS}
        order by s.gross_exposure desc
        """,
        {"day": day},
    )
    names = [column.name for column in rows.description or ()]
    return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


def print_summary(
    nights: Sequence[date],
    statuses: Sequence[DayStatus],
    books: Sequence[dict[str, Any]],
    left_out: Sequence[LeftOut],
    folder: Path,
) -> None:
    """The page on a terminal."""
    from rich import box
    from rich.table import Table

    console, day = wide_console(), nights[-1]
    states = Counter(one.state.value for one in statuses)
    console.print(
        f"\n{len(nights)} nights, {nights[0]} .. {day}: " + ", ".join(f"{n} {state}" for state, n in states.items())
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"Books on the morning after {day}", title_justify="left")
    table.add_column("book", no_wrap=True)
    for heading in ("value USD", "day P&L USD", "day %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("top correlation", "worst stress, USD"):
        table.add_column(heading, no_wrap=True)
    for book in books:
        table.add_row(
            book["name"] + (" (partial)" if book["is_partial"] else ""),
            f"{book['total_value']:,.0f}",
            f"{book['daily_pnl']:+,.0f}",
            "" if book["daily_return"] is None else f"{100 * book['daily_return']:+.2f}",
            "" if book["pair"] is None else f"{book['pair']} {book['correlation_value']:+.2f}",
            "" if book["loss"] is None else f"{book['loss']:>12,.0f} {book['scenario_id']}",
        )
    console.print(table)
    _print_left_out(console, left_out)
    where = "" if folder == Path.cwd() / ".demo" else f" (in the folder that holds {folder.name})"
    console.print(f"\nWhat to type next{where}:")
    for command, what in (
        (f"refresh-assets status --demo --date {day}", "the day in full, each omission with its mend"),
        (EXPLAIN, "one book's figures, each position and sale; a short is bought back"),
        ("refresh-assets run --demo --date 2020-03-16", "compute a past day again: the same bytes"),
        ("make ui", "the same nights in Dagster's UI: graph, partitions, metadata"),
    ):
        console.print(f"  {command:<62} {what}")


def _print_left_out(console: Any, left_out: Sequence[LeftOut]) -> None:
    console.print("Left out, and why:")
    grouped = Counter((one.code, one.symbol or one.portfolio or "") for one in left_out)
    by_code: dict[str, list[str]] = {}
    for code, name in sorted(grouped):
        by_code.setdefault(code, []).append(name)
    for code, names in by_code.items():
        shown = ", ".join(name for name in names[:6] if name)
        console.print(f"  {code}: {sum(n for (c, _), n in grouped.items() if c == code)}  {shown}")
