"""Everybody's page: totals, portfolios by value, what was left out, restatements.

Here: the page of a night. Not here: its parts (page.py), its figures (figures.py)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from refresh_assets.report.figures import NightFigures, Row
from refresh_assets.report.page import (
    Html,
    day_of,
    foot,
    meaning,
    moment,
    named,
    number,
    page,
    paragraph,
    percent,
    section,
    state_of,
    table,
    text,
    usd,
)
from refresh_assets.terminal_restatements import in_words

MONEY = (
    "total_value",
    "daily_pnl",
    "total_pnl",
    "total_cost",
    "long_value",
    "short_value",
    "gross_exposure",
    "net_exposure",
)
COUNTS = ("position_count", "positions_unpriced", "pnl_legs_missing")


def night_page(figures: NightFigures) -> str:
    """The whole document; the same stored figures give the same bytes."""
    day = figures.head.day
    return page(
        f"Portfolio refresh of {day}",
        f"<h1>Portfolio refresh of {day}</h1>",
        state_of(figures.head),
        paragraph(_counts(figures)),
        _totals(figures.totals),
        _portfolios(figures),
        _left_out(figures.left_out, str(day)),
        _restatements(figures.restatements),
        day_of(figures.head),
        foot(
            "Amounts in USD. Every figure is as stored; totals are sums of stored figures. Unknown is not zero.",
            f"One portfolio: refresh-assets report PORTFOLIO --date {day}",
            f"Whether inputs were changed since: refresh-assets status --date {day}",
        ),
    )


def _counts(figures: NightFigures) -> str:
    status, totals = figures.head.status, figures.totals
    return (
        f"Portfolios due on the day: {status.portfolios:,}; with a snapshot: {totals['snapshots']:,}, partial of these:"
        f" {totals['partial']:,}; failed: {status.failed:,}."
    )


def _totals(totals: Row) -> Html:
    if not totals["snapshots"]:
        return section("Totals", paragraph("No portfolio has a snapshot on this day."))
    rows = [[text(named(name)), text(usd(totals[name]))] for name in MONEY]
    rows += [[text(named(name)), f"{totals[name]:,}"] for name in COUNTS]
    caption = f"Sums over the {totals['snapshots']:,} snapshots of the day, USD and counts"
    return section("Totals", table(caption, [("figure", False), ("sum", True)], rows))


def _portfolios(figures: NightFigures) -> Html:
    if not figures.portfolios:
        return ""
    headings = [
        ("portfolio", False),
        ("value", True),
        ("day P&L", True),
        ("return", True),
        ("gross", True),
        ("net", True),
    ]
    headings += [("top correlation", True), ("worst stress", True), ("scenario", False), ("partial", False)]
    shown, rest = len(figures.portfolios), figures.totals["snapshots"] - len(figures.portfolios)
    more = (
        f"the {shown:,} largest by value; {rest:,} more are not listed" if rest else f"all {shown:,}, the largest first"
    )
    rows = [_portfolio(row, figures) for row in figures.portfolios]
    return section(
        "Portfolios",
        table(f"Portfolios, {more}. USD; partial (number of positions in no sum)", headings, rows, "portfolios"),
    )


def _portfolio(row: Row, figures: NightFigures) -> list[Html]:
    pair = f"{row['symbol_1']} {row['symbol_2']} {number(row['correlation_value'], 2)}" if row["symbol_1"] else ""
    known = figures.head.is_complete("correlation_calculations")
    partial = f"partial ({row['positions_unpriced']:,})" if row["is_partial"] else "no"
    return [
        text(row["name"] or row["portfolio_id"]),
        *(text(usd(row[name])) for name in ("total_value", "daily_pnl")),
        text(percent(row["daily_return"], "none")),
        *(text(usd(row[name])) for name in ("gross_exposure", "net_exposure")),
        text(pair or ("none" if known else "not computed")),
        *_worst(row, figures),
        text(partial),
    ]


def _worst(row: Row, figures: NightFigures) -> list[Html]:
    if row["scenario_id"] is None:
        return ["none" if figures.head.is_complete("stress_test_results") else "not computed", ""]
    return [text(usd(row["loss"])), text(row["scenario_id"] if row["loss"] is not None else "")]


def _left_out(rows: Sequence[Row], day: str) -> Html:
    if not rows:
        return section("Left out", paragraph("Nothing was left out."))
    parts: list[Html] = []
    for (asset, code), some in groupby(rows, key=lambda row: (row["asset"], row["code"])):
        first = list(some)
        parts.append(f"<h3>{text(code)}: {first[0]['number']:,} in {text(asset)}</h3>")
        parts.append(paragraph(meaning(code), "soft"))
        lines = "".join(f"<li>{text(_owner(row) + row['detail'])}</li>" for row in first)
        more = first[0]["number"] - len(first)
        rest = f"<li>and {more:,} more: refresh-assets status --date {text(day)} --json</li>" if more else ""
        parts.append(f"<ul>{lines}{rest}</ul>")
    return section("Left out", *parts)


def _owner(row: Row) -> str:
    return f"{row['portfolio']}: " if row["portfolio"] else ""


def _restatements(rows: Sequence[Row]) -> Html:
    if not rows:
        return section("Restatements", paragraph("The day was not restated."))
    headings = [("table", False), ("restated", False), ("rows", True), ("portfolios", True), ("largest change", True)]
    headings += [("of", False), ("from", True), ("to", True), ("inputs that differ", False), ("run", False)]
    return section(
        "Restatements", table("What re-computing the day changed, newest first", headings, map(_restated, rows))
    )


def _restated(row: Row) -> list[Html]:
    column = row["largest_change_column"]
    # Correlations have no unit: two digits would show most of their changes as none.
    digits = 6 if row["table_name"] == "correlation_calculations" else 2
    changed: dict[str, Any] = {
        key: number(row[key], digits, absent="") for key in ("largest_change", "old_value", "new_value")
    }
    return [
        text(one)
        for one in (
            row["table_name"],
            moment(row["restated_at"]),
            f"{row['rows_changed']:,}",
            f"{row['portfolios_changed']:,}",
            changed["largest_change"] if column else "none",
            f"{column} of {row['portfolio']}" if column else "",
            changed["old_value"],
            changed["new_value"],
            in_words(row["inputs_changed"]),
            row["run_id"],
        )
    ]
