"""From a question to its answer: who, which day, which figure; what cannot be answered, and the mend.

Here: finding the portfolio, checking the day, names of factors, scenarios and symbols, putting the answer together. Not
here: reading (evidence.py, stored.py), rows and figures (the files beside this one), words on a terminal (show.py)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import scenarios
from refresh_assets.core.valuation import is_listed
from refresh_assets.errors import ACCOUNTS_FOR_PORTFOLIO, UsageError
from refresh_assets.explain import correlation, exposure, snapshot, stored, stress
from refresh_assets.explain.answer import Computed, Explanation, Figure, Sheet
from refresh_assets.explain.betas import day_betas
from refresh_assets.explain.evidence import Evidence, read_evidence
from refresh_assets.settings import Settings
from refresh_assets.store.database import Database, Snapshot
from refresh_assets.store.days import LeftOut
from refresh_assets.store.portfolios import find_portfolio
from refresh_assets.store.readable import require_tables

TABLES = {
    "snapshot": (snapshot.TABLE,),
    "factor": (exposure.TABLE,),
    "scenario": (stress.TABLE,),
    "pair": (correlation.TABLE,),
}
"""The tables that a question is about: they must be complete on the day."""


@dataclass(frozen=True)
class Question:
    """What is asked of a portfolio's day: its snapshot, or one factor, scenario or pair of symbols."""

    day: date
    factor: str | None = None
    scenario: str | None = None
    pair: tuple[str, str] | None = None

    @property
    def kind(self) -> str:
        return next((kind for kind in ("factor", "scenario", "pair") if getattr(self, kind) is not None), "snapshot")


@dataclass(frozen=True)
class _Case:
    """A question with all that is needed to answer it."""

    question: Question
    settings: Settings
    snapshot: Snapshot
    evidence: Evidence
    left_out: list[LeftOut]

    @property
    def subject(self) -> str:
        """The portfolio as errors call it, and the day."""
        one = self.evidence.portfolio
        return f"{one.name or one.id} on {self.question.day}"

    def absent(self, table: str) -> UsageError:
        """Why the portfolio has no row in a complete day of a table."""
        one, day = self.evidence.portfolio, self.question.day
        for left in self.left_out:
            if left.asset == table and left.portfolio and left.code in ACCOUNTS_FOR_PORTFOLIO:
                why = " ".join(left.detail.split()).rstrip(".")
                return UsageError(
                    f"{self.subject} has no row in {table} ({left.code}): {why}",
                    "ask for a day on which it has one"
                    if table == snapshot.TABLE
                    else f"see refresh-assets explain {one.id} {day}, or ask for a day on which it has one",
                )
        if one.start > day:
            return UsageError(
                f"{one.name or one.id} begins on {one.start}, after {day}", f"ask for {one.start} or later"
            )
        if not self.evidence.book.size:
            return UsageError(
                f"{self.subject} held nothing, or was deleted by then: it has no row in {table}",
                "ask for a day on which it holds a position",
            )
        return UsageError(f"{self.subject} has no row in {table}", f"refresh-assets run --date {day} --scope missing")


def explain(settings: Settings, words: str, question: Question, now: datetime) -> Explanation:
    """Trace a stored figure of a portfolio, given by uuid or exact name; errors as `explain_each`."""
    (answer,) = explain_each(settings, words, [question], now)
    return answer


def explain_each(settings: Settings, words: str, questions: Sequence[Question], now: datetime) -> list[Explanation]:
    """The answers to several questions about one portfolio and day, whose inputs are read once.

    Raises:
        DayRefused: the day is no trading day, before the start, or later than the effective trading date.
        UsageError: more than one figure is asked in one; the portfolio, factor, scenario or symbol is unknown; the day is
            not complete; the portfolio has no such figure on it.
        SchemaError: a table is missing.
    """
    for one in questions:
        _check_question(one)
    calendar, day = TradingCalendar(settings.extra_closures), questions[0].day
    calendar.check(day)
    calendar.check_between(day, day, settings.start_date, now)
    database = Database.of(settings)
    with database.connect() as connection:
        require_tables(connection, database)
        portfolio = find_portfolio(connection, words, deleted_too=True)
    with closing(database.snapshot()) as view:
        view.set(day=day, portfolio=portfolio.id)
        days = stored.read_days(view)
        for one in questions:
            for table in TABLES[one.kind]:
                _computed(days, table, day)
        history = any(one.kind in ("factor", "scenario") for one in questions)
        evidence = read_evidence(view, calendar, portfolio, day, history)
        left_out = stored.read_left_out(view, portfolio.name or str(portfolio.id))
        return [_answer(_Case(one, settings, view, evidence, left_out), days) for one in questions]


def _answer(case: _Case, days: Days) -> Explanation:
    portfolio, question = case.evidence.portfolio, case.question
    computed = [_computed(days, table, question.day) for table in TABLES[question.kind]]
    answer = {"snapshot": _snapshot, "factor": _factor, "scenario": _scenario, "pair": _pair}[question.kind]
    sentences, sheets, figures, asked, changes = answer(case, days, computed)
    differs = not all(figure.equal for figure in figures)
    return Explanation(
        portfolio=portfolio.id,
        name=portfolio.name,
        day=question.day,
        asked=asked,
        sentences=sentences,
        sheets=sheets,
        figures=figures,
        left_out=_relevant(case, asked),
        computed=computed,
        changes=[*_changed_closes(case), *changes] if differs else [],
    )


def _check_question(question: Question) -> None:
    if sum(one is not None for one in (question.factor, question.scenario, question.pair)) > 1:
        raise UsageError("more than one figure was asked for", "give one of --factor, --scenario and --pair")
    if question.pair is not None and question.pair[0] == question.pair[1]:
        raise UsageError(f"--pair names {question.pair[0]!r} twice", "give two symbols")


Answer = tuple[list[str], list[Sheet], list[Figure], dict[str, Any], Sequence[str]]
"""Sentences, sheets, figures, what was asked in the names that the tables use, inputs known to have changed."""
Days = Mapping[str, tuple[str, Computed]]


def _computed(days: Days, table: str, day: date) -> Computed:
    """The run that wrote a table's day. Raises UsageError where it is not complete."""
    status, computed = days.get(table, ("absent", None))
    if status == "complete" and computed is not None:
        return computed
    why = {"absent": "was not computed", "skipped": "was skipped: it had not one close"}.get(status, f"is {status}")
    raise UsageError(
        f"{table} of {day} is not complete: it {why}",
        f"see refresh-assets status --date {day}, then refresh-assets run --date {day}",
    )


def _snapshot(case: _Case, days: Days, computed: list[Computed]) -> Answer:
    row = stored.read_row(case.snapshot, snapshot.TABLE)
    if row is None:
        raise case.absent(snapshot.TABLE)
    sheets, figures = snapshot.explain_snapshot(case.evidence, row)
    sentences = []
    status, run = days.get(correlation.TABLE, ("absent", None))
    summary = stored.read_row(case.snapshot, correlation.TABLE) if status == "complete" else None
    if summary is not None and run is not None:
        figures += correlation.explain_summary(case.evidence, case.settings.correlation_max_symbols, summary)
        computed.append(run)
    elif status == "complete":
        sentences.append(case.absent(correlation.TABLE).what + ".")
    else:
        sentences.append(f"{correlation.TABLE} of the day is not complete: {status}.")
    return sentences, sheets, figures, {}, ()


def _factor(case: _Case, _days: Days, _computed: list[Computed]) -> Answer:
    factors, rows = case.evidence.factors, stored.read_exposures(case.snapshot)
    name = _named("factor", case.question.factor or "", factors.names)
    place = factors.names.index(name)
    factor = factors.factors[place]
    row = rows.get(UUID(bytes=factor.id))
    if row is None and rows:
        raise UsageError(
            f"{case.subject} has no exposure to {name}: the factor was not active when the day was computed",
            f"refresh-assets run --date {case.question.day}",
        )
    if row is None:
        raise case.absent(exposure.TABLE)
    betas = day_betas(case.evidence)
    sheets, figures = exposure.explain_exposure(case.evidence, betas, place, row)
    changes = exposure.changed_betas(case.evidence, betas, place)
    return [exposure.factor_words(factor)], sheets, figures, {"factor": name}, changes


def _scenario(case: _Case, _days: Days, _computed: list[Computed]) -> Answer:
    name = _named("scenario", case.question.scenario or "", stored.read_scenarios(case.snapshot))
    row, applied = stored.read_stress(case.snapshot, name)
    if row is None:
        raise case.absent(stress.TABLE)
    sentences, shocks = [], _shocks_of(case.settings.scenarios_file, name)
    if shocks is None:
        names = {UUID(bytes=factor.id): factor.name for factor in case.evidence.factors}
        shocks = {names.get(factor, str(factor)): one["shock"] for factor, one in applied.items() if one["shock"]}
        sentences.append(f"Scenario {name} is not active any more: the shocks are those that the night stored.")
    betas = day_betas(case.evidence)
    sheets, figures = stress.explain_stress(case.evidence, betas, shocks, row, applied)
    who = case.evidence.portfolio.id
    sentences.append(f"Each exposure by position: refresh-assets explain {who} {case.question.day} --factor FACTOR")
    return sentences, sheets, figures, {"scenario": name}, exposure.changed_betas(case.evidence, betas)


def _shocks_of(file: Path | None, name: str) -> Mapping[str, float] | None:
    """The shocks of an active scenario of today's file."""
    current = scenarios.configured(file)
    return next((one.shocks for one in current.active if one.id == name), None)


def _pair(case: _Case, _days: Days, _computed: list[Computed]) -> Answer:
    summary = stored.read_row(case.snapshot, correlation.TABLE)
    if summary is None:
        raise case.absent(correlation.TABLE)
    known = summary["symbols"]
    first, second = sorted(_named("symbol", one, known) for one in case.question.pair or ())
    row = stored.read_pair(case.snapshot, first, second)
    if row is None or not {first, second} <= set(case.evidence.symbols):
        raise UsageError(
            f"{case.subject} no longer has a position in {first} and {second} both: its positions were changed since",
            f"refresh-assets run --date {case.question.day}",
        )
    sheets, figures = correlation.explain_pair(
        case.evidence,
        case.settings.correlation_max_symbols,
        (first, second),
        row,
        summary,
        lambda rho, points: stored.read_p_value(case.snapshot, rho, points),
    )
    return [], sheets, figures, {"pair": [first, second]}, ()


def _named(kind: str, word: str, known: Sequence[str]) -> str:
    """A name as the tables have it; capitals may differ where that is clear. Raises UsageError, which lists the names."""
    if word in known:
        return word
    alike = [one for one in known if one.casefold() == word.casefold()]
    if len(alike) == 1:
        return alike[0]
    raise UsageError(f"there is no {kind} {word!r} in the figures of the day", f"choose from {', '.join(known)}")


def _relevant(case: _Case, asked: Mapping[str, Any]) -> list[LeftOut]:
    """What was left out of the portfolio, and of the day as a whole where it touches the figure asked for."""
    return [one for one in case.left_out if one.portfolio or _touches(case, asked, one)]


def _touches(case: _Case, asked: Mapping[str, Any], one: LeftOut) -> bool:
    kind = case.question.kind
    if kind not in ("factor", "scenario"):
        return one.symbol is not None and one.symbol in case.evidence.symbols and one.asset in TABLES[kind]
    if one.asset == stress.TABLE:
        return kind == "scenario" and one.detail.startswith(f"scenario {asked['scenario']}: ")
    if one.symbol is not None:
        return one.symbol in case.evidence.symbols and (kind == "scenario" or f"{asked['factor']}" in one.detail)
    return one.asset == "inline_symbol_betas" and (kind == "scenario" or repr(asked["factor"]) in one.detail)


def _changed_closes(case: _Case) -> Iterable[str]:
    """Closes of D and of D' that are not what their nights used: the usual reason for a figure to differ."""
    evidence, book = case.evidence, case.evidence.book
    for day, held in ((evidence.day, book.held), (evidence.previous, book.held_before)):
        codes = np.unique(book.symbol[held & is_listed(book)]).tolist()
        marked_only = day != evidence.day
        yield from stored.changed_closes(case.snapshot, evidence.prices, codes, day, marked_only)
