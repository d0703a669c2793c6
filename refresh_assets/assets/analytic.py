"""What an analytic takes and gives, which analytic computes which table, and what writes it.

Here: the part of a table that comes of a chunk, a day's betas and shocks, the words for a portfolio that could not be
computed. Not here: a chunk's valued book (books.py), the way from inputs to a written day (night.py), formulas (core/)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from refresh_assets.core.betas import FittedBetas
from refresh_assets.core.book import Uuids
from refresh_assets.core.market import Betas
from refresh_assets.core.money import Bools, Floats
from refresh_assets.core.omissions import Omission, portfolio_omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store.write import Written

if TYPE_CHECKING:
    from refresh_assets.assets.books import ValuedBook
    from refresh_assets.assets.night import Night


@dataclass(frozen=True)
class Part:
    """What an analytic gives for a chunk: rows, the portfolios that have one, and what was left out."""

    rows: pa.RecordBatch | None
    portfolios: Uuids
    omissions: Sequence[Omission]
    note: Any = None
    """What else the analytic has to tell of the chunk to whoever writes the day."""


@dataclass(frozen=True)
class DayBetas:
    """Betas of a day: stored ones, and those computed inline for what the symbol batch left out.

    `held` are the PUBLIC symbols held, `codes` (K,) those that were fitted; `filled` (K, F) where the fit filled a gap."""

    betas: Betas
    held: np.ndarray[tuple[int], np.dtype[np.int64]]
    codes: np.ndarray[tuple[int], np.dtype[np.int64]]
    fitted: FittedBetas
    filled: Bools
    bad: list[Omission]


@dataclass(frozen=True)
class Shocks:
    """Active scenarios on a day: (K, F) shocks and expected moves; (scenario, factor) names without exposure."""

    scenarios: list[str]
    shocks: Floats
    moves: Floats
    unmapped: list[tuple[str, str]]


Compute = Callable[["ValuedBook"], Part]
"""A day of a table, chunk by chunk."""
Analytic = Callable[["Night", date], Compute]

ANALYTICS: dict[str, Analytic] = {}
"""What computes each table, by its name; the asset files fill it in."""


Outcome = Written | dict[str, Any]
"""What an asset did for a day: what it wrote, or figures of its own."""
Writer = Callable[["Night", date], Outcome]
"""Computes and writes a day of an asset."""

W = TypeVar("W", bound=Writer)
WRITERS: dict[str, Writer] = {}
"""What writes each asset, by its name; the asset files fill it in."""


def writes(asset: str) -> Callable[[W], W]:
    """Say what writes an asset: so that a run can begin to write it while the one before it is ended."""

    def known(write: W) -> W:
        WRITERS[asset] = write
        return write

    return known


def analytic(table: str) -> Callable[[Analytic], Analytic]:
    """Say what computes a table: so that a run can compute it while the table before it is written."""

    def known(compute: Analytic) -> Analytic:
        ANALYTICS[table] = compute
        return compute

    return known


def accounted(nothing_held: Uuids, part: Part) -> Part:
    """The part, with a word for each portfolio that turns out to hold nothing."""
    emptied = [
        portfolio_omission(
            ExceptionCode.NOTHING_HELD, one, "its events leave a quantity of 0 on the day: nothing held, nothing sold."
        )
        for one in nothing_held
    ]
    return Part(part.rows, part.portfolios, [*part.omissions, *emptied]) if emptied else part


def failed_part(portfolio: np.void, error: Exception) -> Part:
    what = f"{type(error).__name__}: {error}. Mend: look at its positions; the day can be re-run for it alone."
    omission = portfolio_omission(ExceptionCode.COMPUTATION_FAILED, portfolio, what)
    return Part(None, np.array([], dtype="V16"), [omission])
