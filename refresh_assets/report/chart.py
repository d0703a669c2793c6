"""Drawings of a page: a line over trading days, a bar to either side of zero; inline SVG that the page's style colours.

Here: SVG text, each with its <title>. Not here: figures as text (page.py), colours (report.css)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape

WIDTH, HEIGHT = 720, 170
LEFT, RIGHT, TOP, BOTTOM = 130, 12, 12, 26
"""Margins of a line's plot: the figures at its left, the days below."""
BAR_WIDTH, BAR_HEIGHT = 160, 12

Point = tuple[float, float]


def line(values: Mapping[date, float | None], title: str, zero: bool = False) -> str:
    """A line over trading days, broken where a day has no value.

    Args:
        values: every trading day of the axis, ascending; at least one has a value.
        title: what it shows, in words.
        zero: 0 belongs to the axis, and is drawn."""
    known = [one for one in values.values() if one is not None]
    low, high = min(known), max(known)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    reach, last = (high - low) or 1.0, max(len(values) - 1, 1)

    def height_of(value: float) -> float:
        # A line without any reach runs through the middle.
        share = (value - low) / reach if high > low else 0.5
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    def point(place: int, value: float) -> Point:
        return LEFT + place / last * (WIDTH - LEFT - RIGHT), height_of(value)

    places = [None if one is None else point(place, one) for place, one in enumerate(values.values())]
    marks = [("high", high), ("low", low)] if high > low else [("high", high)]
    if zero and low < 0 < high:
        marks.append(("zero", 0.0))
    days = list(values)
    parts = [f"<title>{escape(title)}</title>"]
    for kind, value in marks:
        y = height_of(value)
        parts.append(f'<line class="grid {kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis end" x="{LEFT - 8}" y="{y + 4:.1f}">{value:z,.0f}</text>')
    parts += [_stretch(stretch) for stretch in _stretches(places)]
    parts.append(f'<text class="axis" x="{LEFT}" y="{HEIGHT - 6}">{days[0]}</text>')
    if len(days) > 1:
        parts.append(f'<text class="axis end" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}">{days[-1]}</text>')
    return f'<svg class="line" role="img" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'


def _stretches(places: Sequence[Point | None]) -> list[list[Point]]:
    """Points without a gap between them."""
    found: list[list[Point]] = [[]]
    for one in places:
        if one is None:
            found.append([])
        else:
            found[-1].append(one)
    return [stretch for stretch in found if stretch]


def _stretch(points: Sequence[Point]) -> str:
    if len(points) == 1:
        ((x, y),) = points
        return f'<circle class="series" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
    return f'<polyline class="series" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def bar(value: float | None, largest: float, title: str) -> str:
    """A bar from the middle to the right, or to the left where it is below 0.

    Args:
        value: None is drawn as no bar.
        largest: the absolute value that fills one half.
        title: what it shows, in words."""
    middle = BAR_WIDTH / 2
    length = 0.0 if value is None or not largest else abs(value) / largest * middle
    start, kind = (middle - length, "below") if value is not None and value < 0 else (middle, "above")
    return (
        f'<svg class="bar" role="img" viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}"><title>{escape(title)}</title>'
        f'<rect class="{kind}" x="{start:.1f}" y="1" width="{length:.1f}" height="{BAR_HEIGHT - 2}"/>'
        f'<line class="grid" x1="{middle:.1f}" x2="{middle:.1f}" y1="0" y2="{BAR_HEIGHT}"/></svg>'
    )
