"""Questions that cannot be answered: one typed error of one line, whole, with the mend.

Here: unknown names, days that are none or not done, figures that a book does not have, missing tables. Not here: answers
(test_every_figure.py, test_odd_books.py)."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from refresh_assets.errors import DayRefused, SchemaError, UsageError
from refresh_assets.store.database import Database
from refresh_assets_tests.explain.asking import answer, ask, settings_of
from refresh_assets_tests.worlds import CREATED, DAY, execute, insert, portfolio, position, run, three_portfolios, uid

FACTORS = (
    "Market, Interest Rate, Value, Growth, Momentum, Quality, Size, Low Volatility, Growth-Value Spread, Momentum Spread,"
    " Size Spread, Quality Spread"
)
ONE, THREE = uid("portfolio", 1), uid("portfolio", 3)


@pytest.fixture
def done(database: Database) -> Database:
    """Three portfolios, the night of DAY done."""
    three_portfolios(database)
    run(database)
    return database


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (
        "nobody",
        {"portfolio": "Nobody"},
        "there is no portfolio 'Nobody'. Mend: give the uuid or the exact name of a portfolio.",
    ),
    (
        "unknown factor",
        {"factor": "Luck"},
        f"there is no factor 'Luck' in the figures of the day. Mend: choose from {FACTORS}.",
    ),
    (
        "unknown symbol",
        {"pair": ("AAA", "ZZZ")},
        "there is no symbol 'ZZZ' in the figures of the day. Mend: choose from AAA, BBB, CCC.",
    ),
    ("the same symbol", {"pair": ("AAA", "AAA")}, "--pair names 'AAA' twice. Mend: give two symbols."),
    (
        "two figures",
        {"factor": "Market", "scenario": "market_up_5"},
        "more than one figure was asked for. Mend: give one of --factor, --scenario and --pair.",
    ),
    (
        "no pairs",
        {"portfolio": THREE, "pair": ("AAA", "BBB")},
        f"Portfolio 3 on 2026-03-13 has no row in correlation_calculations (too_few_symbols): portfolios row {THREE}:"
        " 1 priced PUBLIC symbol, a correlation needs 2: no row. Mend: see refresh-assets explain"
        f" {THREE} 2026-03-13, or ask for a day on which it has one.",
    ),
    (
        "not done",
        {"day": date(2026, 3, 12)},
        "portfolio_snapshots of 2026-03-12 is not complete: it was not computed."
        " Mend: see refresh-assets status --date 2026-03-12, then refresh-assets run --date 2026-03-12.",
    ),
    (
        "a Saturday",
        {"day": date(2026, 3, 14)},
        "2026-03-14 is not a trading day (Saturday). Mend: take 2026-03-13 or 2026-03-16, the nearest trading days.",
    ),
    (
        "to come",
        {"day": date(2026, 3, 16)},
        "2026-03-16 is later than the effective trading date 2026-03-13. Mend: ask for 2026-03-13 or an earlier day.",
    ),
    (
        "before the start",
        {"day": date(2019, 12, 31)},
        "2019-12-31 is before the first partition, 2020-01-02. Mend: set REFRESH_START_DATE to an earlier day.",
    ),
]


@pytest.mark.parametrize(("asked", "line"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_cannot_be_answered_is_one_line_with_its_mend(done: Database, asked: dict[str, Any], line: str) -> None:
    """The whole text, and the type that ends a command with 2."""
    asked = {"portfolio": ONE, "day": DAY, **asked}

    with pytest.raises(UsageError) as refused:
        answer(done, asked.pop("portfolio"), asked.pop("day"), **asked)

    assert str(refused.value) == line
    assert refused.value.exit_code == 2


def test_an_unknown_scenario_lists_those_of_the_day(done: Database) -> None:
    """The scenarios that were applied, whatever the file says by now."""
    names = [row[0] for row in execute(done, "select distinct scenario_id from stress_factor_shocks order by 1")]

    with pytest.raises(UsageError) as refused:
        answer(done, ONE, DAY, scenario="doom")

    assert len(names) == 19
    assert str(refused.value) == (
        f"there is no scenario 'doom' in the figures of the day. Mend: choose from {', '.join(names)}."
    )


def test_two_portfolios_of_one_name_are_told_apart_by_their_uuids(done: Database) -> None:
    """No guess is made which one was meant; a deleted one does not count beside one that is not."""
    execute(done, "update portfolios set name = 'Twin' where id in (%s, %s)", ONE, uid("portfolio", 2))

    with pytest.raises(UsageError) as refused:
        answer(done, "Twin", DAY)
    execute(done, "update portfolios set deleted_at = now() where id = %s", uid("portfolio", 2))

    mend = f"give the uuid of one: {ONE}, {uid('portfolio', 2)}"
    assert str(refused.value) == f"2 portfolios are named 'Twin'. Mend: {mend}."
    assert answer(done, "Twin", DAY).portfolio == ONE


NOTHING = [
    (
        "later",
        {"inception_date": date(2026, 3, 16)},
        "Later begins on 2026-03-16, after 2026-03-13. Mend: ask for 2026-03-16 or later.",
    ),
    (
        "empty",
        {"created_at": CREATED},
        "Later on 2026-03-13 held nothing, or was deleted by then: it has no row in portfolio_snapshots."
        " Mend: ask for a day on which it holds a position.",
    ),
]


@pytest.mark.parametrize(("values", "line"), [one[1:] for one in NOTHING], ids=[one[0] for one in NOTHING])
def test_a_book_that_held_nothing_says_so(done: Database, values: dict[str, Any], line: str) -> None:
    """Not begun, or empty: the day is complete without it."""
    insert(done, "portfolios", portfolio(9, name="Later", **values))

    with pytest.raises(UsageError) as refused:
        answer(done, "Later", DAY)

    assert str(refused.value) == line


def test_a_book_that_the_night_has_not_met_yet_is_due(done: Database) -> None:
    """Added after the night: the mend is the run that adds it."""
    insert(done, "portfolios", portfolio(9, name="New"))
    insert(done, "positions", position(91, 9))

    with pytest.raises(UsageError) as refused:
        answer(done, "New", DAY)

    assert str(refused.value) == (
        "New on 2026-03-13 has no row in portfolio_snapshots. Mend: refresh-assets run --date 2026-03-13 --scope missing."
    )


def test_a_skipped_table_and_one_of_other_days_do_not_stand_in_the_way(done: Database) -> None:
    """Only the tables that a question is about must be complete; the correlations of a snapshot are then told as absent."""
    execute(done, "delete from refresh_days where table_name = 'correlation_calculations'")

    told = ask(done, ONE, DAY)

    assert told["equal"] is True
    assert told["notes"] == ["correlation_calculations of the day is not complete: absent."]
    assert {one["table"] for one in told["figures"]} == {"portfolio_snapshots"}


def test_missing_tables_are_named_with_the_mend(empty_database: Database) -> None:
    """As every run says it."""
    with pytest.raises(SchemaError) as refused:
        answer(empty_database, ONE, DAY)

    assert str(refused.value).startswith("the platform's schema 'public' lacks portfolios, positions, ")
    assert "Mend: run `refresh-assets init`" in str(refused.value)


def test_an_extra_closure_is_no_trading_day(done: Database) -> None:
    """The calendar is the night's."""
    from refresh_assets.explain.question import Question, explain
    from refresh_assets_tests.explain.asking import LATER

    with pytest.raises(DayRefused) as refused:
        explain(settings_of(done, extra_closures=str(DAY)), str(ONE), Question(DAY), LATER)

    assert str(refused.value).startswith("2026-03-13 is not a trading day (extra closure)")
