"""Whole nights on a real PostgreSQL against a second, slow, independent computation of every figure.

Here: every table and view of a day equals the reference, on the packaged demo, on odd cases, and on real prices of 365
symbols where they are at hand. Not here: the reference's own tests (reference/), single formulas (core/)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from refresh_assets.demo.world import load_platform, symbol_batch
from refresh_assets.store.database import Database
from refresh_assets_tests.agreement import (
    BETA,
    CORRELATION,
    RELATIVE,
    Reference,
    demo_world,
    differences,
    fill,
    odd_world,
    run_night,
    stored,
)
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.reference.correlations import p_value
from refresh_assets_tests.reference.dev_world import load
from refresh_assets_tests.reference.world import World

DEV_FOLDER = Path(__file__).parents[2] / "shared" / "data" / "dev"
FIRST_OF_DEV = dt.date(2016, 7, 1)  # no close before it: no return, no beta, no stress
ODD_MONDAY = dt.date(2020, 3, 9)

NIGHTS = [
    ("demo", dt.date(2020, 2, 18)),  # its first night, after a long weekend
    ("demo", dt.date(2020, 3, 6)),  # two positions sold out
    ("demo", dt.date(2020, 3, 16)),  # a fund written down, the S&P 500 12 % lower
    ("demo", dt.date(2020, 3, 24)),  # its last night
    ("odd", ODD_MONDAY),
]
if DEV_FOLDER.exists():
    NIGHTS += [
        ("dev", dt.date.fromisoformat(day))
        for day in (str(FIRST_OF_DEV), "2017-06-01", "2017-12-15", "2018-02-05", "2018-07-02", "2018-07-17")
    ]


@dataclass(frozen=True)
class Night:
    """A night that has run, and what the reference says of it."""

    database: Database
    day: dt.date
    reference: Reference


@pytest.fixture(scope="module")
def dev() -> World:
    """The dev data, read once; only asked for where there is the folder."""
    return load(DEV_FOLDER)


@pytest.fixture(scope="module", params=NIGHTS, ids=lambda one: f"{one[0]}-{one[1]}")
def night(request: pytest.FixtureRequest, server_url: str, initialised_template: str) -> Iterator[Night]:
    """One night of one world, in a database of its own."""
    kind, day = request.param
    with new_database(server_url, initialised_template) as (_, url):
        database = Database(url)
        with database.connect() as connection:
            if kind == "demo":
                world = demo_world(day)
                load_platform(connection, upto=day - dt.timedelta(days=1))
                symbol_batch(connection, day)
            else:
                previous = day - dt.timedelta(days=3)
                world = odd_world(day, previous) if kind == "odd" else request.getfixturevalue("dev")
                fill(connection, world)
        run_night(database, day)
        yield Night(database, day, Reference.of(world, day))


def test_snapshots_agree_to_the_cent(night: Night) -> None:
    """Money exactly, percent and return to the last digits, every count."""
    found = stored(night.database, "select * from portfolio_snapshots")
    close = {"pnl_percent": RELATIVE, "daily_return": RELATIVE}
    assert night.reference.snapshots
    assert differences(night.reference.snapshots, found, ("portfolio_id",), close) == []


def test_everything_left_out_is_named_with_the_same_code(night: Night) -> None:
    """One exception a position and reason: none more, none less."""
    query = """select position_id, code from refresh_exceptions
        where asset = 'portfolio_snapshots' and position_id is not null"""
    found = [(row["position_id"], row["code"]) for row in stored(night.database, query)]
    assert set(found) == night.reference.omissions
    assert len(found) == len(set(found))


def test_correlations_agree(night: Night) -> None:
    """Pairs as single precision holds them, their counts, figures, symbols and quality."""
    found = stored(night.database, "select * from correlation_calculations")
    figures = ("overall_correlation", "weighted_correlation", "correlation_concentration_score")
    close = {"correlations": CORRELATION, "effective_positions": CORRELATION, **dict.fromkeys(figures, RELATIVE)}
    assert differences(night.reference.correlations, found, ("portfolio_id",), close) == []


def test_the_pairs_view_agrees_with_scipys_p_values(night: Night) -> None:
    """One row an unordered pair, each with its p value and 1 - p."""
    expected = []
    for row in night.reference.correlations:
        pairs = [(a, b) for n, a in enumerate(row["symbols"]) for b in row["symbols"][n + 1 :]]
        assert len(pairs) == len(row["data_points"])
        for (first, second), rho, days in zip(pairs, row["correlations"], row["data_points"], strict=True):
            pair = {"portfolio_id": row["portfolio_id"], "symbol_1": first, "symbol_2": second, "data_points": days}
            expected.append({**pair, "calculation_date": night.day, "correlation_value": rho})
    found = stored(night.database, "select * from pairwise_correlations")
    keys = ("portfolio_id", "symbol_1", "symbol_2")
    assert differences(expected, found, keys, {"correlation_value": CORRELATION}) == []
    for row in found:
        # Of the single-precision number that is stored, not of its seven digits: a p value near 0 makes much of them.
        rho = row["correlation_value"]
        p = p_value(None if rho is None else float(np.float32(rho)), row["data_points"])
        if p is None:
            assert (row["p_value"], row["statistical_significance"]) == (None, None)
        else:
            assert row["p_value"] == pytest.approx(p, rel=1e-8, abs=1e-300)
            assert row["statistical_significance"] == pytest.approx(1 - p, abs=1e-8)


def test_inline_betas_agree(night: Night) -> None:
    """Beta, r squared, days and cap of each symbol and factor; none where there is too little data."""
    query = """select symbol, name as factor, beta_value as beta, r_squared, observations,
        coalesce(quality_flag, '') = 'capped' as capped, calculation_method
        from symbol_factor_exposures join factor_definitions on id = factor_id"""
    found = stored(night.database, query)
    expected = [
        {"symbol": symbol, "factor": factor, **row, "calculation_method": "inline"}
        for (symbol, factor), row in night.reference.betas.items()
    ]
    assert bool(expected) == (night.day != FIRST_OF_DEV)
    assert differences(expected, found, ("symbol", "factor"), {"beta": BETA, "r_squared": BETA}) == []


def test_factor_exposures_agree(night: Night) -> None:
    """Dollars, fraction and coverage: a row for every factor, null where unknown."""
    found = stored(night.database, "select * from factor_exposures")
    close = dict.fromkeys(("exposure_dollar", "exposure_value", "coverage"), RELATIVE)
    assert night.reference.exposures
    assert differences(night.reference.exposures, found, ("portfolio_id", "factor_id"), close) == []


def test_stress_results_agree(night: Night) -> None:
    """Direct, correlated, their difference and the cap, for every active scenario."""
    found = stored(night.database, "select * from stress_test_results")
    close = dict.fromkeys(("direct_pnl", "correlated_pnl"), RELATIVE)
    keys = ("portfolio_id", "scenario_id")
    # An effect is a difference of two large numbers: it is as exact as they are.
    size = {tuple(row[k] for k in keys): row for row in night.reference.stress}
    for row in found:
        want = size[tuple(row[k] for k in keys)]
        large = max(abs(want["direct_pnl"] or 0), abs(want["correlated_pnl"] or 0), 1)
        if want["correlation_effect"] is None:
            assert row["correlation_effect"] is None
        else:
            assert row["correlation_effect"] == pytest.approx(want["correlation_effect"], abs=2 * RELATIVE * large)
    plain = [{k: value for k, value in row.items() if k != "correlation_effect"} for row in night.reference.stress]
    assert plain
    assert differences(plain, found, keys, close) == []


def test_shocks_and_moves_agree(night: Night) -> None:
    """What was applied: a row for each scenario and factor, null where the scenario has no shock."""
    found = stored(night.database, "select * from stress_factor_shocks")
    close = dict.fromkeys(("shock", "expected_move"), RELATIVE)
    assert differences(night.reference.moves, found, ("scenario_id", "factor_id"), close) == []


def test_impacts_add_up_to_the_results(night: Night) -> None:
    """The view by factor, cap line included, sums to direct and correlated P&L of each row; null only to null."""
    query = """
        select portfolio_id, scenario_id, direct_pnl, correlated_pnl, direct, correlated
        from stress_test_results left join (
            select portfolio_id, scenario_id, sum(direct_impact) as direct, sum(correlated_impact) as correlated
            from stress_factor_impacts group by portfolio_id, scenario_id
        ) impacts using (portfolio_id, scenario_id)"""
    rows = stored(night.database, query)
    assert rows
    for row in rows:
        for total, result in (("direct", "direct_pnl"), ("correlated", "correlated_pnl")):
            if row[result] is None:
                assert row[total] is None
            else:
                assert row[total] == pytest.approx(row[result], rel=RELATIVE, abs=1e-6)


def test_every_table_says_that_the_day_is_complete(night: Night) -> None:
    """Of one set of inputs, and everyone accounted for."""
    found = stored(night.database, "select calculation_date from refresh_complete_days")
    assert found == [{"calculation_date": night.day}]
