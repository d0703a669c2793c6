"""One portfolio's page: history, snapshot, correlations, exposures, stress, what was left out.

Here: the page of a portfolio's day. Not here: its parts (page.py), drawings (chart.py), its figures (figures.py)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby

from refresh_assets.report.chart import bar, line
from refresh_assets.report.figures import BookFigures, Row
from refresh_assets.report.page import (
    UNKNOWN,
    Html,
    day_of,
    foot,
    meaning,
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

HEAT_SYMBOLS = 15
HEAT_STEPS = 5
"""Shades of a correlation to either side of 0; the style has one class each."""
MONEY = (
    "total_value",
    "total_cost",
    "total_pnl",
    "long_value",
    "short_value",
    "gross_exposure",
    "net_exposure",
    "daily_pnl",
)
COUNTS = ("position_count", "positions_valued", "positions_unpriced", "pnl_legs_missing")


def book_page(figures: BookFigures) -> str:
    """The whole document; the same stored figures give the same bytes."""
    head, portfolio = figures.head, figures.portfolio
    name = portfolio.name or str(portfolio.id)
    return page(
        f"{name}, {head.day}",
        f"<h1>{text(name)}</h1>",
        paragraph(f"{head.day}, portfolio {portfolio.id}", "soft"),
        state_of(head),
        _snapshot(figures),
        _history(figures),
        _correlations(figures),
        _exposures(figures),
        _stress(figures),
        _left_out(figures.left_out, head.day),
        day_of(head),
        foot(
            "Amounts in USD. Every figure is as stored; nothing is computed anew. Unknown is not zero.",
            f"A figure down to its prices: refresh-assets explain {portfolio.id} {head.day}",
            f"Whether inputs were changed since: refresh-assets status --date {head.day}",
        ),
    )


def _none(words: str) -> Html:
    return paragraph(f"None: {words}.")


def _snapshot(figures: BookFigures) -> Html:
    row = figures.snapshot
    if row is None:
        return section("Snapshot", _none(figures.absent["portfolio_snapshots"]))
    partial = ""
    if row["is_partial"]:
        words = f"Partial: {row['positions_unpriced']:,} of {row['position_count']:,} positions are in no sum below."
        partial = paragraph(words, "warn")
    lines = [[text(named(name)), text(usd(row[name]))] for name in MONEY]
    lines.append(["daily return", text(percent(row["daily_return"], "none: nothing was held the day before"))])
    lines.append([text(named("pnl_percent")), text(percent(_hundredth(row["pnl_percent"]), "none: there is no cost"))])
    lines += [[text(named(name)), f"{row[name]:,}"] for name in COUNTS]
    lines.append(["is partial", "yes" if row["is_partial"] else "no"])
    return section("Snapshot", partial, table("USD, per cent and counts", [("figure", False), ("stored", True)], lines))


def _hundredth(value: float | None) -> float | None:
    return None if value is None else value / 100


def _history(figures: BookFigures) -> Html:
    rows = figures.history
    if not rows:
        return section("History", paragraph("No day of the last 250 trading days has a snapshot of this portfolio."))
    lacking = sum(row is None for row in rows.values())
    gaps = f"; trading days without a snapshot (gaps): {lacking:,}" if lacking else ""
    parts: list[Html] = []
    for column, heading, zero in (("total_value", "Value", False), ("daily_pnl", "P&L of each day", True)):
        series = {day: None if row is None else float(row[column]) for day, row in rows.items()}
        known = [row[column] for row in rows.values() if row is not None]
        span = f"{next(iter(rows))} to {figures.head.day}"
        title = f"{heading}, {span}, USD: from {usd(min(known))} to {usd(max(known))}{gaps}"
        parts += [f"<h3>{text(heading)}</h3>", line(series, title, zero), paragraph(title + ".", "soft")]
    return section("History", *parts)


def _correlations(figures: BookFigures) -> Html:
    row = figures.correlations
    if row is None:
        return section("Correlations", _none(figures.absent["correlation_calculations"]))
    ratios = ("overall_correlation", "weighted_correlation", "effective_positions", "correlation_concentration_score")
    lines = [[text(named(name)), text(number(row[name]))] for name in ratios]
    lines.append(["data quality", text(row["data_quality"])])
    lines += [
        [text(named(name)), f"{row[name]:,}"] for name in ("positions_included", "positions_excluded", "duration_days")
    ]
    summary = table("Log returns of the 90 calendar days up to the day", [("figure", False), ("stored", True)], lines)
    return section("Correlations", summary, _heat(row, figures.by_weight[:HEAT_SYMBOLS]))


def _heat(row: Row, shown: Sequence[str]) -> Html:
    """The correlations of the symbols that weigh most, out of the upper triangle that is stored."""
    symbols = row["symbols"]
    caption = (
        f"All {len(symbols):,} symbols"
        if len(shown) == len(symbols)
        else f"The {len(shown)} largest of {len(symbols):,}"
    )
    places = {symbol: place for place, symbol in enumerate(symbols)}
    head = "".join(f'<th scope="col" class="n">{text(one)}</th>' for one in shown)
    lines = []
    for first in shown:
        cells = "".join(_heat_cell(row, places[first], places[second]) for second in shown)
        lines.append(f'<tr><th scope="row">{text(first)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="heat"><caption>{caption}, by weight on the day. n/a: fewer than 30 common days,'
        f' or a constant series</caption><thead><tr><th scope="col">symbol</th>{head}</tr></thead>'
        f"<tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
    )


def _heat_cell(row: Row, one: int, other: int) -> Html:
    if one == other:
        return '<td class="p5">1.00</td>'
    low, high = min(one, other), max(one, other)
    # Row `low` of the upper triangle begins after those above it, each one shorter than the last.
    place = low * (2 * len(row["symbols"]) - low - 1) // 2 + high - low - 1
    rho, days = row["correlations"][place], row["data_points"][place]
    about = f' title="{days:,} common days"'
    if rho is None:
        return f"<td{about}>n/a</td>"
    step = min(round(abs(rho) * HEAT_STEPS), HEAT_STEPS)
    shade = f' class="{"m" if rho < 0 else "p"}{step}"' if step else ""
    return f"<td{shade}{about}>{number(rho, 2)}</td>"


def _exposures(figures: BookFigures) -> Html:
    rows = figures.exposures
    if not rows:
        return section("Factor exposures", _none(figures.absent["factor_exposures"]))
    largest = _largest(row["exposure_dollar"] for row in rows)
    headings = [("factor", False), ("exposure", True), ("drawn", False), ("of PUBLIC gross", True), ("coverage", True)]
    lines = []
    for row in rows:
        shown = usd(row["exposure_dollar"])
        drawn = bar(row["exposure_dollar"], largest, _title(f"{row['factor']}: {shown} USD"))
        own = text(number(row["exposure_value"]))
        lines.append([text(row["factor"]), text(shown), drawn, own, text(percent(row["coverage"]))])
    caption = "USD. Coverage: share of PUBLIC value that has a beta; unknown where none has"
    return section("Factor exposures", table(caption, headings, lines))


def _stress(figures: BookFigures) -> Html:
    rows = figures.stress
    if not rows:
        return section("Stress tests", _none(figures.absent["stress_test_results"]))
    largest = _largest(row["loss"] for row in rows)
    headings = [("scenario", False), ("direct", True), ("correlated", True), ("effect", True), ("worse of both", False)]
    headings.append(("capped", False))
    lines = []
    for row in rows:
        drawn = bar(row["loss"], largest, _title(f"{row['scenario_id']}: {usd(row['loss'])} USD"))
        money = [text(usd(row[name])) for name in ("direct_pnl", "correlated_pnl", "correlation_effect")]
        lines.append([text(row["scenario_id"]), *money, drawn, "capped" if row["is_capped"] else "no"])
    caption = "P&L under each scenario, USD, the largest loss first"
    return section("Stress tests", table(caption, headings, lines), _impacts(figures))


def _impacts(figures: BookFigures) -> Html:
    if not figures.impacts:
        return ""
    headings = [("factor", False), ("shock", True), ("expected move", True), ("direct", True), ("correlated", True)]
    lines = [
        [
            text(row["factor"] if row["factor_id"] else "taken off by the cap"),
            text(percent(row["shock"], "none")),
            text(percent(row["expected_move"], "none")),
            text(usd(row["direct_impact"], "none")),
            text(usd(row["correlated_impact"], "none")),
        ]
        for row in figures.impacts
    ]
    caption = f"The worst, {figures.stress[0]['scenario_id']}, by factor: USD, adds up to the result"
    return table(caption, headings, lines)


def _largest(values: Iterable[float | None]) -> float:
    return max((abs(one) for one in values if one is not None), default=0.0)


def _title(words: str) -> str:
    return words.replace(UNKNOWN + " USD", UNKNOWN)


def _left_out(rows: Sequence[Row], day: date) -> Html:
    if not rows:
        return section("Left out", paragraph("Nothing was left out of this portfolio."))
    parts: list[Html] = []
    for (own, asset, code), some in groupby(rows, key=lambda row: (row["own"], row["asset"], row["code"])):
        whose = "" if own else ", of the day as a whole"
        parts.append(f"<h3>{text(code)} in {text(asset)}{whose}</h3>")
        parts.append(paragraph(meaning(code), "soft"))
        lines = "".join(f"<li>{text(row['detail'])}</li>" for row in some)
        parts.append(f"<ul>{lines}</ul>")
    more = rows[0]["number"] - len(rows)
    if more:
        parts.append(paragraph(f"And {more:,} more: refresh-assets status --date {day} --json"))
    return section("Left out", *parts)
