"""The frame of a page and the parts that both pages are made of: escaped text, figures, tables, the head of a day.

Here: HTML of one kind of part each. Not here: which parts a page has (night.py, book.py), drawings (chart.py), colours
(report.css), what is read (figures.py)."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from importlib import resources
from typing import Any

from refresh_assets.calendar import NEW_YORK
from refresh_assets.errors import MEANING, ExceptionCode
from refresh_assets.report.figures import Head
from refresh_assets.store.days import State
from refresh_assets.store.schema_names import DAY_TABLES

DIGEST_LENGTH = 12
UNPRINTABLE = "\N{REPLACEMENT CHARACTER}"
UNKNOWN = "unknown"

Html = str
"""Text that is escaped already."""


def text(words: object) -> Html:
    """Words on one line, escaped; characters that no reader can see (a change of direction, say) are replaced."""
    plain = " ".join(str(words).split())
    return html.escape("".join(one if one.isprintable() else UNPRINTABLE for one in plain))


def usd(value: Decimal | float | None, absent: str = UNKNOWN) -> str:
    """USD to the cent, with thousands separators."""
    return absent if value is None else f"{value:z,.2f}"


def percent(fraction: float | None, absent: str = UNKNOWN) -> str:
    """A fraction as per cent."""
    return absent if fraction is None else f"{100 * fraction:z,.2f} %"


def number(value: float | None, digits: int = 4, absent: str = UNKNOWN) -> str:
    """A figure without unit."""
    return absent if value is None else f"{value:z,.{digits}f}"


def moment(at: datetime | None) -> str:
    """An instant in New York."""
    return "not said" if at is None else f"{at.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S} New York"


def named(table: str) -> str:
    """A table or column as people call it."""
    return table.replace("_", " ").replace("pnl", "P&L")


def table(caption: str, headings: Sequence[tuple[str, bool]], rows: Iterable[Sequence[Html]], name: str = "") -> Html:
    """A table whose first column names its rows.

    Args:
        caption: plain text.
        headings: plain text each, with whether the column holds figures.
        rows: cells, escaped already.
        name: of its class."""
    kinds = [' class="n"' if figures else "" for _, figures in headings]
    head = "".join(f'<th scope="col"{kind}>{text(one)}</th>' for (one, _), kind in zip(headings, kinds, strict=True))
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(others, kinds[1:], strict=True))
        lines.append(f'<tr><th scope="row"{kinds[0]}>{first}</th>{cells}</tr>')
    opening = f'<table class="{name}">' if name else "<table>"
    return (
        f'<div class="wide">{opening}<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )


def section(title: str, *parts: Html) -> Html:
    """A part of a page under its own heading."""
    return f"<section><h2>{text(title)}</h2>\n{chr(10).join(parts)}\n</section>"


def paragraph(words: str, name: str = "") -> Html:
    """Plain words."""
    return f'<p class="{name}">{text(words)}</p>' if name else f"<p>{text(words)}</p>"


def page(title: str, *parts: Html) -> str:
    """A whole document that needs nothing but itself."""
    style = resources.files("refresh_assets.report").joinpath("report.css").read_text("utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{chr(10).join(part for part in parts if part)}\n</main>\n</body>\n</html>\n"
    )


def state_of(head: Head) -> Html:
    """How the day stands; where it is not complete, marked so."""
    status = head.status
    if status.state is State.COMPLETE:
        return paragraph(f"{status.day} is complete: {status.why}.")
    mend = f" What to do: {status.mend}." if status.mend else ""
    words = f"The figures below are of a day that is not complete. {status.day} is {status.state}: {status.why}.{mend}"
    return f'<p class="warn" role="note"><strong>Not complete.</strong> {text(words)}</p>'


def day_of(head: Head) -> Html:
    """The symbol batch, and the run that wrote each table of the day."""
    batch = "The symbol batch has no tracking row for the day."
    if head.batch is not None:
        end = f", finished {moment(head.batch['completed_at'])}" if head.batch["completed_at"] else ""
        batch = f"Symbol batch: {head.batch['status']}{end}."
    headings = [("table", False), ("status", False), ("portfolios", True), ("rows", True), ("left out", True)]
    headings += [("failed", True), ("inputs digest", False), ("code version", True), ("finished", False)]
    rows = [_table_row(name, head.tables.get(name)) for name in DAY_TABLES]
    return section("How the day was computed", paragraph(batch), table("Each table of the day", headings, rows))


def _table_row(name: str, row: dict[str, Any] | None) -> list[Html]:
    if row is None:
        return [text(name), "not computed", *[""] * 7]
    counts = [f"{row[key]:,}" for key in ("portfolios", "rows", "exceptions", "failed")]
    digest = row["inputs_digest"][:DIGEST_LENGTH]
    return [
        text(one) for one in (name, row["status"], *counts, digest, row["code_version"], moment(row["finished_at"]))
    ]


def meaning(code: str) -> str:
    """What an exception code says, in words; the code itself where this version does not know it."""
    return MEANING[ExceptionCode(code)] if code in set(ExceptionCode) else code


def foot(*lines: str) -> Html:
    """What to type next."""
    return f"<footer>{''.join(paragraph(one, 'soft') for one in lines)}</footer>"
