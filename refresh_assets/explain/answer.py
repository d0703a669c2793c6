"""The form of an answer: sheets of rows that add up, figures against what is stored, and the same as plain data.

Here: Sheet, Figure, Explanation, exact sums, and `figures_of` for --json. Not here: what the rows are (snapshot.py,
exposure.py, stress.py, correlation.py), how they look on a terminal (show.py)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import Context, Decimal, Inexact
from enum import StrEnum
from typing import Any
from uuid import UUID

from refresh_assets.core.money import Exact
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.errors import RefreshError
from refresh_assets.store.days import LeftOut

EXACT = Context(prec=400, traps=[Inexact])
"""Sums and products of this context are exact, or they raise."""
CENT = Decimal("0.01")
ROUNDING = 1e-9
"""Share of the size of its parts by which a sum of floats may differ from the same sum in another order."""

Value = Decimal | float | int | str | bool | date | UUID | None
Row = Mapping[str, Any]


class Form(StrEnum):
    """How a column or figure is written: money to the cent, numbers as they are, fractions, per cent."""

    TEXT = "text"
    MONEY = "money"
    NUMBER = "number"
    RATIO = "ratio"
    PERCENT = "percent"
    COUNT = "count"


@dataclass(frozen=True)
class Column:
    """A column of a sheet: the key of its value in each row (and its name in --json), its heading on a terminal."""

    key: str
    heading: str
    form: Form = Form.TEXT


@dataclass(frozen=True)
class Sheet:
    """Rows, and the sums of some of their columns.

    Attributes:
        name: its key in --json.
        columns: those that a terminal shows; rows may hold more.
        sums: by key; money that --json gives exactly and a terminal to the cent.
        ends: rows that a terminal shows at either end (None: all).
    """

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    sums: Mapping[str, Decimal | float | None] = field(default_factory=dict)
    ends: int | None = None


@dataclass(frozen=True)
class Figure:
    """One stored column: what it is from the inputs of today, what stands in the table, and how it is made."""

    table: str
    name: str
    recomputed: Value
    stored: Value
    form: Form
    made_of: str = ""

    @property
    def equal(self) -> bool:
        """Whether the two are one figure: money and counts exactly, floats but for what rounding may leave."""
        one, other = self.recomputed, self.stored
        if not isinstance(one, float) or not isinstance(other, float):
            return one == other
        size = max(abs(one), abs(other))
        # Dollars as floats are one figure where they are one to the cent; a correlation is stored with 7 digits.
        least = 0.005 if self.form is Form.MONEY else 1e-6 if self.name == "correlation_value" else 1e-12
        return abs(one - other) < max(least, ROUNDING * size if self.form is not Form.MONEY else 1e-12 * size)


@dataclass(frozen=True)
class Computed:
    """The run that wrote the figures: what refresh_days says of their table."""

    table: str
    run_id: str
    code_version: str
    finished_at: datetime


@dataclass(frozen=True)
class Explanation:
    """The whole answer. `changes` are the inputs known to differ from those used; only looked for where figures do."""

    portfolio: UUID
    name: str | None
    day: date
    asked: Mapping[str, Any]
    sentences: Sequence[str]
    sheets: Sequence[Sheet]
    figures: Sequence[Figure]
    left_out: Sequence[LeftOut]
    computed: Sequence[Computed]
    changes: Sequence[str] = ()

    @property
    def equal(self) -> bool:
        return all(figure.equal for figure in self.figures)

    @property
    def other_version(self) -> str | None:
        """The version of the figures that wrote them, where it is not this program's."""
        return next((one.code_version for one in self.computed if one.code_version != CODE_VERSION), None)

    @property
    def restate(self) -> str | None:
        """The command that brings what is stored up to today's inputs, where they differ."""
        return None if self.equal else f"refresh-assets run --date {self.day}"


def numbers(column: Exact) -> list[Decimal]:
    """An exact column as Decimals, trailing zeros dropped."""
    return [trimmed(Decimal(int(units)).scaleb(-column.scale, EXACT)) for units in column.to_integers()]


def trimmed(number: Decimal) -> Decimal:
    """The same number without zeros behind the point."""
    whole = number.to_integral_value()
    return whole if number == whole else number.normalize(EXACT)


def product(*factors: Decimal | int) -> Decimal:
    total = Decimal(1)
    for one in factors:
        total = EXACT.multiply(total, Decimal(one))
    return trimmed(total)


def total(parts: Iterable[Decimal | None]) -> Decimal:
    """The exact sum of those that are known."""
    whole = Decimal(0)
    for part in parts:
        if part is not None:
            whole = EXACT.add(whole, part)
    return trimmed(whole)


def column_total(rows: Iterable[Row], key: str) -> Decimal:
    return total(row[key] for row in rows)


def to_cent(number: Decimal) -> Decimal:
    """Rounded half-even, as what is stored."""
    return number.quantize(CENT, context=Context(prec=400))


def require_sum(what: str, parts: Iterable[float | None], whole: float | None) -> None:
    """A table of floats adds up to its figure, but for the order of the addition.

    Raises RefreshError where it does not: then nothing is shown."""
    known = [part for part in parts if part is not None and not math.isnan(part)]
    size = math.fsum(abs(part) for part in known)
    if abs(math.fsum(known) - (whole or 0.0)) > ROUNDING * max(size, abs(whole or 0.0)) + 1e-9:
        raise _does_not_add_up(what, math.fsum(known), whole)


def require_cents(what: str, exact: Decimal, cents: Decimal | None) -> None:
    """A table of exact money adds up to its figure to the cent. Raises RefreshError where it does not."""
    if cents is not None and to_cent(exact) != cents:
        raise _does_not_add_up(what, exact, cents)


def _does_not_add_up(what: str, rows: object, whole: object) -> RefreshError:
    return RefreshError(
        f"the rows of {what} add up to {rows}, the figure is {whole}: a fault of this program."
        " Mend: report it with the portfolio and the day; the stored figure is not touched."
    )


def figures_of(answer: Explanation) -> dict[str, Any]:
    """The whole answer as plain data; figures are decimal strings, nothing is rounded."""
    return {
        "portfolio": str(answer.portfolio),
        "name": answer.name,
        "date": answer.day.isoformat(),
        "asked": _plain(answer.asked),
        "equal": answer.equal,
        "restate": answer.restate,
        "changes": list(answer.changes),
        "figures": [
            {
                "table": one.table,
                "name": one.name,
                "recomputed": _plain(one.recomputed),
                "stored": _plain(one.stored),
                "equal": one.equal,
                "made_of": one.made_of,
            }
            for one in answer.figures
        ],
        **{sheet.name: {"rows": _plain(sheet.rows), "sums": _plain(sheet.sums)} for sheet in answer.sheets},
        "notes": list(answer.sentences),
        "left_out": [asdict(one) for one in answer.left_out],
        "computed": [_plain(asdict(one)) for one in answer.computed],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else format(Decimal(repr(value)), "f")
    return value.isoformat() if isinstance(value, date) else str(value)
