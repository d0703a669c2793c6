"""Every figure of two real nights, traced: each answer adds up to what the table holds.

Here: all books of the demo, each with its snapshot, every factor, every scenario, every pair. Expectations are read from the
tables and added up in Decimal and scipy. Not here: odd books (test_odd_books.py), errors (test_questions.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from scipy import stats

from refresh_assets.calendar import TradingCalendar
from refresh_assets.demo.world import NIGHTS, symbol_batch
from refresh_assets.store.database import Database
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.explain.asking import Figures, ask, ask_each, cents, exactly
from refresh_assets_tests.worlds import execute, run

DAYS = (date(2020, 2, 24), date(2020, 3, 16))
"""A book sells on the first, a written-down valuation and a bought-back short are on the second."""
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


@pytest.fixture(scope="module")
def nights(server_url: str, demo_template: str) -> Iterator[Database]:
    """The demo's platform on the evening of the second day, both nights done."""
    with new_database(server_url, demo_template) as (_, url):
        database = Database(url)
        with database.connect() as connection:
            for day in TradingCalendar().days(NIGHTS.first, DAYS[-1]):
                symbol_batch(connection, day)
        run(database, *DAYS)
        yield database


def rows_of(database: Database, table: str, column: str, day: date, *names: str) -> list[tuple[Any, ...]]:
    """Columns of a day of a table, portfolio first."""
    return execute(database, f"select portfolio_id, {', '.join(names)} from {table} where {column} = %s", day)


def each(
    database: Database, kind: str, stored: list[tuple[Any, ...]], names: dict[Any, str]
) -> Iterator[tuple[tuple[Any, ...], Figures]]:
    """Each stored row of the second day with its explanation; a row is (portfolio, what is asked for, ...)."""
    by_portfolio: dict[UUID, list[tuple[Any, ...]]] = {}
    for row in stored:
        by_portfolio.setdefault(row[0], []).append(row)
    for portfolio, rows in by_portfolio.items():
        asked = [names.get(row[1], row[1]) for row in rows]
        yield from zip(rows, ask_each(database, portfolio, DAYS[-1], kind, asked), strict=True)


def is_equal(figures: Figures) -> None:
    """Every figure is what is stored, and the answer says so."""
    assert [one for one in figures["figures"] if not one["equal"]] == []
    assert figures["equal"] is True and figures["restate"] is None and figures["changes"] == []


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_the_positions_and_legs_of_every_book_add_up_to_its_snapshot(nights: Database, day: date) -> None:
    """Value, cost, P&L, long, short, gross and net from the positions, the day's P&L and return from the legs: to the cent."""
    stored = rows_of(nights, "portfolio_snapshots", "snapshot_date", day, *MONEY, "pnl_percent", "daily_return")
    assert len(stored) >= 13

    for portfolio, *values in stored:
        told = ask(nights, portfolio, day)
        expected = dict(zip((*MONEY, "pnl_percent", "daily_return"), values, strict=True))
        positions, legs = told["positions"]["rows"], told["legs"]["rows"]
        worth = [row for row in positions if row["value"] is not None]
        value, cost = exactly(positions, "value"), exactly(positions, "cost")
        long = exactly([row for row in worth if Decimal(row["value"]) > 0], "value")
        short = exactly([row for row in worth if Decimal(row["value"]) < 0], "value")
        sums = (value, cost, value - cost, long, short, long - short, long + short, exactly(legs, "pnl"))
        assert {name: cents(one) for name, one in zip(MONEY, sums, strict=True)} == {n: expected[n] for n in MONEY}
        size = sum(abs(Decimal(row["cost"])) for row in worth)
        assert float(100 * (value - cost) / size) == pytest.approx(expected["pnl_percent"], rel=1e-12)
        earned = float(exactly(legs, "pnl") / exactly(legs, "previous_gross"))
        assert earned == pytest.approx(expected["daily_return"], rel=1e-12)
        for row in worth:
            if row["class"] != "PRIVATE":
                assert Decimal(row["quantity"]) * Decimal(row["close"]) * row["multiplier"] == Decimal(row["value"])
        assert told["positions"]["sums"]["value"] == format(value.normalize(), "f")
        is_equal(told)


def test_the_positions_of_every_book_add_up_to_each_factor_exposure(nights: Database) -> None:
    """Value x beta of each position, its share of gross, its coverage: each of them what factor_exposures holds."""
    day = DAYS[-1]
    names = dict(execute(nights, "select id, name from factor_definitions where is_active"))
    columns = ("factor_id", "exposure_dollar", "exposure_value", "coverage")
    stored = rows_of(nights, "factor_exposures", "calculation_date", day, *columns)
    assert len(stored) >= 13 * len(names)

    for (portfolio, factor, dollar, value, coverage), told in each(nights, "factor", stored, names):
        assert told["portfolio"] == str(portfolio) and told["asked"] == {"factor": names[factor]}
        rows = told["exposures"]["rows"]
        for row in rows:
            if row["beta"] is not None:
                assert float(row["value"]) * float(row["beta"]) == float(row["exposure"])
                assert (row["origin"], row["observations"] >= 30) == ("inline", True)
        gross = exactly(rows, "size")
        assert abs(exactly(rows, "exposure") - Decimal(repr(dollar))) < Decimal("0.000001")
        assert float(exactly(rows, "exposure") / gross) == pytest.approx(value, abs=1e-12)
        with_beta = [row for row in rows if row["beta"] is not None]
        assert float(exactly(with_beta, "size") / gross) == pytest.approx(coverage, abs=1e-12)
        is_equal(told)


def test_the_factors_of_every_book_add_up_to_each_stress_result(nights: Database) -> None:
    """Each line is the stored exposure times the applied shock, line by line what stress_factor_impacts shows."""
    day = DAYS[-1]
    columns = ("scenario_id", "direct_pnl", "correlated_pnl", "correlation_effect")
    stored = rows_of(nights, "stress_test_results", "calculation_date", day, *columns)
    view = execute(
        nights,
        "select portfolio_id, scenario_id, name, direct_impact, correlated_impact from stress_factor_impacts i"
        " join factor_definitions f on f.id = i.factor_id where calculation_date = %s",
        day,
    )
    assert len(stored) >= 13 * 19

    for (portfolio, scenario, direct, correlated, effect), told in each(nights, "scenario", stored, {}):
        assert told["portfolio"] == str(portfolio) and told["asked"] == {"scenario": scenario}
        lines = [line[2:] for line in view if line[:2] == (portfolio, scenario)]
        shown = {sheet: {row["factor"]: row["impact"] for row in told[sheet]["rows"]} for sheet in SIDES}
        for sheet, place in SIDES.items():
            expected = {line[0]: line[place] for line in lines if line[place] is not None}
            found = {name: float(impact) for name, impact in shown[sheet].items() if impact is not None}
            assert found == pytest.approx(expected, rel=1e-9)
            for row in told[sheet]["rows"]:
                move = row["shock" if sheet == "direct" else "expected_move"]
                if row["impact"] is not None:
                    assert float(row["exposure"]) * float(move) == float(row["impact"])
        for sheet, whole in (("direct", direct), ("correlated", correlated)):
            assert abs(exactly(told[sheet]["rows"], "impact") - Decimal(repr(whole or 0.0))) < Decimal("0.000001")
        if effect is not None:
            apart = exactly(told["correlated"]["rows"], "impact") - exactly(told["direct"]["rows"], "impact")
            assert abs(apart - Decimal(repr(effect))) < Decimal("0.000001")
        is_equal(told)


SIDES = {"direct": 1, "correlated": 2}


def test_the_returns_of_a_pair_give_its_correlation(nights: Database) -> None:
    """Closes to returns, returns to rho, rho to p value, weights to the share in the weighted figure; by numpy and scipy."""
    day = DAYS[-1]
    pairs = execute(
        nights,
        "select portfolio_id, symbol_1, symbol_2, correlation_value, data_points, p_value from pairwise_correlations"
        " where calculation_date = %s order by 1, 2, 3",
        day,
    )
    assert len(pairs) > 300

    for portfolio, first, second, rho, points, p_value in pairs[::17]:
        told = ask(nights, portfolio, day, pair=(second, first))
        assert told["asked"] == {"pair": [first, second]}
        rows = told["returns"]["rows"]
        for side in ("a", "b"):
            closes = np.array([float(row[f"close_{side}"] or "nan") for row in rows])
            moves = np.array([float(row[f"return_{side}"] or "nan") for row in rows])
            assert np.diff(np.log(closes)) == pytest.approx(moves[1:], abs=1e-12, nan_ok=True)
        used = [row for row in rows if row["common"]]
        series = [[float(row[f"return_{side}"]) for row in used] for side in ("a", "b")]
        expected = stats.pearsonr(*series)
        assert (len(used), rho) == (points, pytest.approx(expected.statistic, abs=1e-6))
        assert p_value == pytest.approx(expected.pvalue, rel=1e-3, abs=1e-12)
        is_equal(told)


def test_the_pairs_of_a_book_weighted_as_told_give_its_weighted_correlation(nights: Database) -> None:
    """What each pair adds to the weighted figure, put together, is the figure."""
    day, name = DAYS[-1], "Kestrel Tactical"
    pairs = execute(
        nights,
        "select symbol_1, symbol_2, correlation_value, weighted_correlation from pairwise_correlations"
        " join correlation_calculations using (portfolio_id, calculation_date) join portfolios p on p.id = portfolio_id"
        " where calculation_date = %s and p.name = %s",
        day,
        name,
    )
    total, shares = 0.0, 0.0
    for first, second, rho, _ in pairs:
        weights = ask(nights, name, day, pair=(first, second))["weights"]["rows"]
        both = float(weights[0]["weight"]) * float(weights[1]["weight"])
        total, shares = total + both * rho, shares + both

    assert len(pairs) == 10
    assert total / shares == pytest.approx(pairs[0][3], abs=1e-6)


def test_a_book_is_found_by_uuid_or_name_and_says_the_same(nights: Database) -> None:
    """As onboarding does."""
    ((portfolio,),) = execute(nights, "select id from portfolios where name = 'Harbor Long/Short'")

    assert isinstance(portfolio, UUID)
    assert ask(nights, portfolio, DAYS[0]) == ask(nights, "Harbor Long/Short", DAYS[0])


def test_a_quantity_is_brought_back_by_the_sales_since(nights: Database) -> None:
    """Best Buy was partly bought back on 2020-03-16: 98,800 short before it, as the platform's 68,800 and the event say."""
    told = {day: ask(nights, "Harbor Long/Short", day) for day in DAYS}
    rows = {day: [row for row in told[day]["positions"]["rows"] if row["symbol"] == "BBY"] for day in DAYS}
    legs = [leg for leg in told[DAYS[1]]["legs"]["rows"] if leg["symbol"] == "BBY"]

    assert [(row["quantity"], row["quantity_now"], row["sold_since"]) for row in rows[DAYS[0]]] == [
        ("-98800", "-68800", [{"date": "2020-03-16", "quantity": "-30000"}])
    ]
    assert [(row["quantity"], row["sold_since"]) for row in rows[DAYS[1]]] == [("-68800", [])]
    assert [(leg["leg"], leg["quantity"]) for leg in legs] == [("kept", "-68800"), ("sold", "-30000")]
    assert legs[1]["to"] == "50.59"
