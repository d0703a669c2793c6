"""An explanation on a terminal: tables with right-aligned figures, sums in bold; plain text where it is no terminal.

Here: how an answer looks. Not here: what it says (answer.py and the files beside it), the width of a page
(terminal.py)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from refresh_assets.explain.answer import Explanation, Figure, Form, Sheet, to_cent, total
from refresh_assets.terminal import wide_console

if TYPE_CHECKING:
    from rich.console import Console

ROUNDING_ROW = "rounding"
DIFFERS = "DIFFERS"
Line = Sequence[str]
"""The cells of a row, in the order of the columns."""


def print_explanation(answer: Explanation) -> None:
    """The whole page: what was asked, the sheets, the figures against what is stored, the verdict, what was left out."""
    console = wide_console()
    what = ", ".join(f"{kind} {_words(one)}" for kind, one in answer.asked.items()) or "snapshot"
    console.print(f"[bold]{_plain(answer.name or '')}[/] {answer.portfolio}, {answer.day}: {_plain(what)}")
    for sheet in answer.sheets:
        _print_sheet(console, sheet)
    _print_figures(console, answer)
    for sentence in answer.sentences:
        console.print(sentence, markup=False)
    _print_verdict(console, answer)
    _print_left_out(console, answer)


def _words(value: Any) -> str:
    return " and ".join(value) if isinstance(value, list) else str(value)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _print_sheet(console: Console, sheet: Sheet) -> None:
    rows, cut = list(sheet.rows), 0
    if sheet.ends is not None and len(rows) > 2 * sheet.ends + 1:
        cut = len(rows) - 2 * sheet.ends
        del rows[sheet.ends : -sheet.ends]
    lines = [[written(row.get(one.key), one.form) for one in sheet.columns] for row in rows]
    if cut and sheet.ends is not None:
        lines.insert(sheet.ends, [f"... {cut} more", *[""] * (len(sheet.columns) - 1)])
    headings = [(one.heading, one.form is not Form.TEXT) for one in sheet.columns]
    wraps = {place for place, one in enumerate(sheet.columns) if one.key == "note"}
    _print_table(console, sheet.title, headings, lines, wraps, _sum_lines(sheet))
    if cut:
        console.print("All rows: add --json.\n")


def _print_table(
    console: Console,
    title: str,
    headings: Sequence[tuple[str, bool]],
    lines: Sequence[Line],
    wraps: set[int],
    sums: Sequence[tuple[Line, str]] = (),
) -> None:
    """A table no narrower than its figures.

    Args:
        headings: each with whether its column is right-aligned.
        wraps: places of the columns that may be wrapped.
        sums: lines under the others, each with its style."""
    from rich import box
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, (heading, right) in enumerate(headings):
        cells = [heading, *(line[place] for line in lines), *(line[place] for line, _ in sums)]
        wide = None if place in wraps else max(len(cell) for cell in cells)
        table.add_column(heading, justify="right" if right else "left", no_wrap=place not in wraps, min_width=wide)
    for line in lines:
        table.add_row(*(_plain(cell) for cell in line), style="red" if DIFFERS in line else None)
    if sums:
        table.add_section()
    for line, style in sums:
        table.add_row(*(_plain(cell) for cell in line), style=style)
    least = Measurement.get(console, console.options.update(max_width=10_000), table).minimum
    Console(soft_wrap=True, highlight=False, width=max(console.width, least)).print(table)


def _sum_lines(sheet: Sheet) -> list[tuple[Line, str]]:
    """The sums, and before them what the rounding of each row to the cent leaves, so that the column adds up as shown."""
    if not sheet.sums:
        return []
    left = {key: _rounding(sheet, key, whole) for key, whole in sheet.sums.items()}
    lines = []
    if any(left.values()):
        cells = [written(left[one.key], Form.MONEY) if left.get(one.key) else "" for one in sheet.columns[1:]]
        lines.append(([ROUNDING_ROW, *cells], "dim"))
    cells = [written(sheet.sums[one.key], one.form) if one.key in sheet.sums else "" for one in sheet.columns[1:]]
    return [*lines, (["sum", *cells], "bold")]


def _rounding(sheet: Sheet, key: str, whole: Decimal | float | None) -> Decimal:
    if whole is None:
        return Decimal(0)
    parts = [_cents(row[key]) for row in sheet.rows if row.get(key) is not None]
    return total([_cents(whole), *(part.copy_negate() for part in parts)])


def _cents(value: Decimal | float) -> Decimal:
    return to_cent(value if isinstance(value, Decimal) else Decimal(repr(value)))


def _print_figures(console: Console, answer: Explanation) -> None:
    headings = [("figure", False), ("from these inputs", True), ("stored", True), ("", False), ("made of", False)]
    lines = [
        [
            one.name,
            written(one.recomputed, one.form),
            written(one.stored, one.form),
            "equal" if one.equal else DIFFERS,
            one.made_of,
        ]
        for one in answer.figures
    ]
    _print_table(console, "Figures, from the inputs of today against what is stored", headings, lines, {4})


def _print_verdict(console: Console, answer: Explanation) -> None:
    runs: dict[str, list[str]] = {}
    for one in answer.computed:
        runs.setdefault(f"run {one.run_id} of {one.finished_at:%Y-%m-%d %H:%M %Z}", []).append(one.table)
    where = _plain("; ".join(f"{', '.join(tables)}: {run}" for run, tables in runs.items()))
    if answer.equal:
        console.print(f"[green]Equal[/]: the tables above add up to what is stored ({where}).")
        return
    console.print(f"[bold red]NOT EQUAL[/] to what is stored ({where}). The tables above are from the inputs of today:")
    for figure in answer.figures:
        if not figure.equal:
            console.print(f"  {_difference(figure)}", markup=False)
    console.print(f"Why: {_why(answer)}.", markup=False)
    console.print(f"To restate the day from the inputs of today: {answer.restate}", markup=False)


def _difference(figure: Figure) -> str:
    one, other = written(figure.recomputed, figure.form), written(figure.stored, figure.form)
    return f"{figure.name} is {one or 'unknown'} from these inputs, {other or 'unknown'} as stored"


def _why(answer: Explanation) -> str:
    reasons = list(answer.changes)
    if answer.other_version:
        reasons.append(f"the figures were computed by version {answer.other_version} of their formulas")
    return "; ".join(reasons) or (
        "inputs changed since, though no close of the two days did: a position, sale, valuation, beta, factor, scenario,"
        " or an earlier close"
    )


def _print_left_out(console: Console, answer: Explanation) -> None:
    if not answer.left_out:
        console.print("Nothing was left out.")
        return
    console.print("Left out, or to be known:")
    for one in answer.left_out:
        console.print(f"  [bold]{one.code}[/]  {_plain(one.detail)}")


def written(value: Any, form: Form) -> str:
    """A value as its form has it; nothing for what is unknown."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if form is Form.MONEY and isinstance(value, Decimal | float):
        return f"{_cents(value):,f}"
    if form is Form.PERCENT:
        return f"{100 * value:+.4f} %"
    if form is Form.RATIO and isinstance(value, float):
        return f"{value:.6f}" if abs(value) >= 1e-4 or value == 0 else f"{value:.4g}"
    if form is Form.NUMBER:
        return f"{value if isinstance(value, Decimal) else Decimal(repr(value)):,f}"
    return f"{value:,}" if form is Form.COUNT else str(value)
