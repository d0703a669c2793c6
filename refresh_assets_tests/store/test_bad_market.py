"""Closes, betas and factor definitions that cannot be right: named with their mend, and of no consequence elsewhere.

Here: the market's side. Not here: positions, events, valuations (test_bad_rows.py)."""

from __future__ import annotations

from datetime import date

import pytest

from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.store.test_bad_rows import ABSURD, BAD, OWNER, TABLES, four_portfolios, named, others
from refresh_assets_tests.worlds import BEFORE, DAY, Row, execute, insert, position, run, table_rows


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, and a fourth that holds one sound position."""
    return four_portfolios(database)


CLOSES: list[tuple[str, tuple[object, ...]]] = [
    ("NaN", ("NaN",)),
    ("Infinity", ("Infinity",)),
    ("negative", (-5,)),
    ("absurd", (ABSURD,)),
    ("twice", (60, 60)),
    ("twice, differently", (60, 61)),
]


@pytest.mark.parametrize("prices", [row[1] for row in CLOSES], ids=[row[0] for row in CLOSES])
def test_a_bad_close_is_named_and_counts_as_missing(world: Database, prices: tuple[object, ...]) -> None:
    """Through a view without a unique constraint; only whoever holds the symbol has a partial snapshot."""
    insert(world, "positions", position(49, 4, "ODD", 5))
    insert(world, "market_data_cache", *({"symbol": "ODD", "date": day, "close_price": 60} for day in (BEFORE,)))
    run(world)
    clean = others(world)
    execute(world, "alter table market_data_cache rename to real_cache")
    odd = " union all ".join(f"select 'ODD', date '{DAY}', '{one}'::numeric" for one in prices)
    execute(world, f"create view market_data_cache as select symbol, date, close_price from real_cache union all {odd}")
    run(world, run_id="run-2")
    detail = (
        f"positions row {BAD} (ODD): close_price is negative, not finite, absurdly large or there twice."
        " Mend: correct it in market_data_cache, then re-run the day."
    )
    assert named(world, "bad_price") == [("portfolio_snapshots", OWNER, BAD, "ODD", detail)]
    assert others(world) == clean
    assert execute(world, "select * from refresh_marks where symbol = 'ODD'") == []


def test_a_null_close_counts_as_missing(world: Database) -> None:
    """The row is there, the price is not."""
    insert(world, "positions", position(49, 4, "ODD", 5))
    insert(world, "market_data_cache", {"symbol": "ODD", "date": DAY, "close_price": None})
    run(world)
    assert [row[2] for row in named(world, "no_price")] == [BAD]


def test_a_bad_close_in_the_window_loses_the_returns_that_touch_it_and_nothing_else(world: Database) -> None:
    """Correlations and betas of other symbols keep every byte."""
    insert(world, "positions", position(49, 4, "ODD", 5))
    worlds.load_closes(world, worlds.closes(["ODD"]))
    run(world)
    clean = others(world)
    execute(
        world, "update market_data_cache set close_price = 'NaN' where symbol = 'ODD' and date = %s", date(2026, 2, 3)
    )
    run(world, run_id="run-2")
    points = execute(world, "select data_points from pairwise_correlations where portfolio_id = %s", OWNER)
    before = execute(world, "select min(data_points) from pairwise_correlations where portfolio_id <> %s", OWNER)
    assert points[0][0] == before[0][0] - 2
    assert others(world) == clean


def test_a_stored_beta_that_is_not_finite_is_named_and_computed_inline(world: Database) -> None:
    """The exposures are those of a night without that row."""
    run(world)
    clean = {table: table_rows(world, table) for table in TABLES}
    market = execute(world, "select id from factor_definitions where name = 'Market'")[0][0]
    execute(world, "delete from symbol_factor_exposures")
    row = {"symbol": "CCC", "factor_id": market, "calculation_date": DAY, "beta_value": "NaN"}
    insert(world, "symbol_factor_exposures", row)
    run(world, run_id="run-2")
    detail = (
        "symbol_factor_exposures row (CCC, Market, 2026-03-13): beta_value is not finite, absurdly large or there twice, so it"
        " counts as missing."
        " Mend: have the symbol batch write it again, then re-run the day."
    )
    assert named(world, "bad_beta") == [("inline_symbol_betas", None, None, "CCC", detail)]
    assert {table: table_rows(world, table) for table in TABLES} == clean


BAD_FACTORS: list[tuple[str, Row, str]] = [
    ("estimation", {"estimation": "magic"}, "estimation 'magic', window_days 90, min_observations 30"),
    ("no estimation", {"estimation": None}, "estimation None, window_days 90, min_observations 30"),
    ("no window", {"window_days": None}, "estimation 'single', window_days 0, min_observations 30"),
    ("window below 0", {"window_days": -9}, "estimation 'single', window_days -9, min_observations 30"),
    ("minimum of 1", {"min_observations": 1}, "estimation 'single', window_days 90, min_observations 1"),
]


@pytest.mark.parametrize(("values", "said"), [row[1:] for row in BAD_FACTORS], ids=[row[0] for row in BAD_FACTORS])
def test_a_broken_factor_definition_is_named_and_the_other_factors_go_on(
    world: Database, values: Row, said: str
) -> None:
    """Its exposures are unknown, not zero; every other factor's are those of a clean run."""
    run(world)
    broken = execute(world, "select id from factor_definitions where name = 'Interest Rate'")[0][0]
    clean = [row for row in table_rows(world, "factor_exposures") if str(broken) not in row]
    snapshots = table_rows(world, "portfolio_snapshots")
    ((column, value),) = values.items()
    execute(world, f"update factor_definitions set {column} = %s where id = %s", value, broken)
    execute(world, "delete from symbol_factor_exposures")
    run(world, run_id="run-2")
    detail = (
        f"factor_definitions row 'Interest Rate': {said}; expected single or joint, from 1 to 3660, above 1."
        " Mend: correct the row; until then only its stored betas are used."
    )
    assert named(world, "bad_factor") == [("portfolio_snapshots", None, None, None, detail)]
    assert [row for row in table_rows(world, "factor_exposures") if str(broken) not in row] == clean
    unknown = execute(
        world,
        "select distinct exposure_dollar, exposure_value, coverage from factor_exposures where factor_id = %s",
        broken,
    )
    assert unknown == [(None, None, 0.0)]
    assert table_rows(world, "portfolio_snapshots") == snapshots


def test_a_factor_without_a_proxy_is_left_out_by_name(world: Database) -> None:
    """The other joint factors are estimated together without it."""
    execute(world, "update factor_definitions set proxy = null where name = 'Size'")
    run(world)
    (row,) = named(world, "factor_left_out")
    assert row == (
        "inline_symbol_betas",
        None,
        None,
        None,
        "factor 'Size' has no proxy, or too few returns up to 2026-03-13: no inline beta to it. Mend: correct its proxy"
        " in factor_definitions, or have the symbol batch load the proxy's closes.",
    )
    covered = "select count(*) from factor_exposures e join factor_definitions f on f.id = e.factor_id"
    assert execute(world, f"{covered} where f.estimation = 'joint' and coverage = 1") == [(5 * 4,)]
