"""Asking for explanations in tests, and adding up what they say by other means.

Here: settings of a database, one question as --json gives it, sums of decimal strings. Not here: rows of a platform
(worlds.py), what a figure should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, localcontext
from typing import Any

from refresh_assets.explain.answer import Explanation, figures_of
from refresh_assets.explain.question import Question, explain, explain_each
from refresh_assets.settings import Secret, Settings
from refresh_assets.store.database import Database

LATER = datetime(2026, 3, 13, 21, 30, tzinfo=UTC)
CENT = Decimal("0.01")

Figures = dict[str, Any]


def settings_of(database: Database, **more: Any) -> Settings:
    """The settings of a night on a database."""
    return Settings(database_url=Secret(database.url), **more)


def answer(database: Database, portfolio: object, day: date, now: datetime = LATER, **asked: Any) -> Explanation:
    """The explanation of a portfolio's day."""
    return explain(settings_of(database), str(portfolio), Question(day, **asked), now)


def ask(database: Database, portfolio: object, day: date, **asked: Any) -> Figures:
    """The same, as --json gives it."""
    return figures_of(answer(database, portfolio, day, **asked))


def ask_each(database: Database, portfolio: object, day: date, kind: str, names: Sequence[str]) -> list[Figures]:
    """Each factor, or each scenario, of one portfolio and day, its inputs read once."""
    asked: list[dict[str, Any]] = [{kind: name} for name in names]
    questions = [Question(day, **one) for one in asked]
    return [figures_of(one) for one in explain_each(settings_of(database), str(portfolio), questions, LATER)]


def exactly(rows: Iterable[Mapping[str, Any]], key: str) -> Decimal:
    """The exact sum of a column of decimal strings; what is null adds nothing."""
    with localcontext() as context:
        context.prec = 200
        return sum((Decimal(row[key]) for row in rows if row[key] is not None), Decimal(0))


def cents(number: Decimal) -> Decimal:
    """Rounded half-even to the cent, once."""
    with localcontext() as context:
        context.prec = 200
        return number.quantize(CENT)


def stored_figure(figures: Figures, name: str) -> Any:
    """What an answer says is stored under a name."""
    (found,) = [one["stored"] for one in figures["figures"] if one["name"] == name]
    return found
