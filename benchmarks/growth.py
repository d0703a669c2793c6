"""How a night grows with the platform: seconds and peak memory at 1,000 to 1,000,000 portfolios, as a plot.

Here: one world a size on a server of its own, one night in a process of its own. Not here: the ratios at 10,000
portfolios (night.py).

Run `python -m benchmarks.growth --help`. A million portfolios take a quarter of an hour and 20 GB of disk."""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import night, one_night
from refresh_assets.store.embedded import embedded_postgres

PLOT = Path(__file__).parent.parent / "docs" / "growth.svg"
DATA = Path(__file__).with_name("growth.json")
Figures = dict[str, float]


def main() -> None:
    """Measure the sizes that are asked for, keep them beside those that were measured before, plot all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--portfolios", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--record", action="store_true", help=f"keep the figures in {DATA.name} and draw {PLOT.name}")
    options = parser.parse_args()
    known: dict[str, Figures] = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
    for size in options.portfolios:
        known[str(size)] = measure(size)
        Console(highlight=False).print(_table(known))
    if options.record:
        DATA.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        PLOT.write_text(plot({int(size): one for size, one in known.items()}), encoding="utf-8")


def measure(portfolios: int) -> Figures:
    """Seconds and peak memory of one night over so many portfolios of 20 positions, and 5,000 symbols."""
    symbols = max(min(5_000, night.SYMBOLS_A_PORTFOLIO * portfolios), 100)
    with (
        tempfile.TemporaryDirectory(prefix="refresh-benchmark-", ignore_cleanup_errors=True) as folder,
        embedded_postgres(Path(folder) / "postgres", keep=False) as url,
    ):
        night.build(url, argparse.Namespace(portfolios=portfolios, positions=20, symbols=symbols, days=1))
        return measured_at(url)


def measured_at(url: str) -> Figures:
    """The same on a world that stands; what was computed there is forgotten."""
    night.forget(url)
    figures = one_night.in_own_process("memory", url, night.DAY)
    night.check_night(url)
    return {"seconds": figures["seconds"], "peak_mib": figures["peak_mib"]}


def _table(known: dict[str, Figures]) -> Table:
    table = Table(title="one night by portfolios", title_justify="left")
    for heading in ("portfolios", "seconds", "us a portfolio", "peak MiB"):
        table.add_column(heading, justify="right")
    for size, one in sorted(known.items(), key=lambda item: int(item[0])):
        each = one["seconds"] / int(size) * 1e6
        table.add_row(f"{int(size):,}", f"{one['seconds']:.1f}", f"{each:.0f}", f"{one['peak_mib']:.0f}")
    return table


WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 60, 40, 30


def plot(known: dict[int, Figures]) -> str:
    """Two panels over the logarithm of the portfolios: seconds (logarithmic, with the straight line) and peak MiB."""
    sizes = sorted(known)
    seconds, peaks = [known[size]["seconds"] for size in sizes], [known[size]["peak_mib"] for size in sizes]
    linear = [seconds[-1] * size / sizes[-1] for size in sizes]
    low = math.floor(math.log10(min(*seconds, *linear)))
    high = math.ceil(math.log10(max(seconds)))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT}" role="img" font-family="sans-serif"'
        ' font-size="13"><title>Seconds and peak memory of a night by number of portfolios</title>'
        f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="white"/>'
    ]
    decades = [10.0**power for power in range(low, high + 1)]
    parts += _panel(0, sizes, [math.log10(one) for one in seconds], (low, high), "seconds", decades, logarithmic=True)
    parts.append(_line(0, sizes, [math.log10(one) for one in linear], (low, high), "#999", dashed=True))
    top = math.ceil(max(peaks) / 200) * 200
    ticks = [float(tick) for tick in range(0, top + 1, 200)]
    parts += _panel(WIDTH, sizes, peaks, (0, top), "peak memory, MiB", ticks, logarithmic=False)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(
    x: int,
    sizes: Sequence[int],
    values: Sequence[float],
    span: tuple[float, float],
    title: str,
    ticks: Sequence[float],
    logarithmic: bool,
) -> list[str]:
    parts = [f'<text x="{x + LEFT}" y="18" font-weight="bold">{title}</text>']
    for tick in ticks:
        y = _y(math.log10(tick) if logarithmic else tick, span)
        parts.append(f'<line x1="{x + LEFT}" x2="{x + WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x + LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for place, size in enumerate(sizes):
        at = _x(x, place, len(sizes))
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 15}" text-anchor="middle">{size:,}</text>')
        parts.append(f'<circle cx="{at:.1f}" cy="{_y(values[place], span):.1f}" r="4" fill="#1f5fa8"/>')
    return [*parts, _line(x, sizes, values, span, "#1f5fa8")]


def _line(
    x: int,
    sizes: Sequence[int],
    values: Sequence[float],
    span: tuple[float, float],
    colour: str,
    dashed: bool = False,
) -> str:
    points = " ".join(f"{_x(x, n, len(sizes)):.1f},{_y(value, span):.1f}" for n, value in enumerate(values))
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _x(x: int, place: int, places: int) -> float:
    return x + LEFT + 20 + place * (WIDTH - LEFT - 80) / max(places - 1, 1)


def _y(value: float, span: tuple[float, float]) -> float:
    return HEIGHT - BOTTOM - (value - span[0]) / (span[1] - span[0]) * (HEIGHT - BOTTOM - TOP)


if __name__ == "__main__":
    main()
