"""What a recomputed day says it changed.

Here: the rows of refresh_restatements, against figures worked out by hand. Not here: that unchanged rows stay
(test_write.py)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import DAY, execute, insert, run, table_rows, uid


@pytest.fixture
def world(database: Database) -> Database:
    """The database with the three portfolios and their night."""
    worlds.three_portfolios(database)
    run(database)
    return database


def restatements(database: Database, table: str) -> list[dict[str, Any]]:
    """Rows of a table's restatements by column name, oldest first."""
    columns = (
        "calculation_date, run_id, rows_changed, portfolios_changed, largest_change, largest_change_column,"
        " largest_change_portfolio, old_value, new_value, old_digest, new_digest, inputs_changed"
    )
    rows = execute(
        database, f"select {columns} from refresh_restatements where table_name = %s order by restated_at", table
    )
    return [dict(zip(columns.replace(",", " ").split(), row, strict=True)) for row in rows]


def digest(database: Database, table: str) -> str:
    """The digest that stands for the day."""
    query = "select inputs_digest from refresh_days where calculation_date = %s and table_name = %s"
    return str(execute(database, query, DAY, table)[0][0])


def test_a_corrected_close_leaves_the_largest_change_in_dollars_with_its_portfolio(world: Database) -> None:
    """100 and 5 shares of a stock whose close rose by 2: portfolio 1 gained 200 of value, the largest change."""
    old = digest(world, "portfolio_snapshots")
    before = execute(world, "select total_value from portfolio_snapshots where portfolio_id = %s", uid("portfolio", 1))
    execute(world, "update market_data_cache set close_price = close_price + 2 where symbol = 'AAA' and date = %s", DAY)
    run(world, run_id="run-2")
    (found,) = restatements(world, "portfolio_snapshots")
    value = float(before[0][0])
    assert found == {
        "calculation_date": DAY,
        "run_id": "run-2",
        "rows_changed": 2,
        "portfolios_changed": 2,
        "largest_change": pytest.approx(200.0),
        "largest_change_column": "daily_pnl",
        "largest_change_portfolio": uid("portfolio", 1),
        "old_value": found["old_value"],
        "new_value": pytest.approx(found["old_value"] + 200),
        "old_digest": old,
        "new_digest": digest(world, "portfolio_snapshots"),
        "inputs_changed": ["prices"],
    }
    after = execute(world, "select total_value from portfolio_snapshots where portfolio_id = %s", uid("portfolio", 1))
    assert float(after[0][0]) == pytest.approx(value + 200)
    (exposures,) = restatements(world, "factor_exposures")
    assert exposures["inputs_changed"] == ["prices"]
    assert exposures["largest_change_column"] == "exposure_dollar"
    assert exposures["portfolios_changed"] == 2


def test_the_snapshots_record_names_the_closes_that_differ(world: Database) -> None:
    """The one that went first, then the furthest moved; an earlier close of the window is none of the day's."""
    prices = "select table_name, prices_changed from refresh_restatements where run_id = %s"
    execute(world, "delete from market_data_cache where symbol = 'CCC' and date = %s", DAY)
    for symbol, close in (("AAA", 40), ("BBB", 240)):
        execute(
            world, "update market_data_cache set close_price = %s where symbol = %s and date = %s", close, symbol, DAY
        )
    marks = dict(
        execute(world, "select symbol, close_price::float8 from refresh_marks where calculation_date = %s", DAY)
    )

    run(world, run_id="run-2")
    execute(world, "update market_data_cache set close_price = close_price * 1.01 where date = %s", date(2026, 1, 30))
    run(world, run_id="run-3")

    found = dict(execute(world, prices, "run-2"))
    assert found.pop("portfolio_snapshots") == {
        "count": 3,
        "largest": [["CCC", marks["CCC"], None], ["BBB", marks["BBB"], 240], ["AAA", marks["AAA"], 40]],
    }
    assert set(found.values()) == {None}
    assert set(dict(execute(world, prices, "run-3")).values()) == {None}


def test_a_record_names_twenty_closes_and_counts_the_rest(world: Database) -> None:
    """A vendor's rewriting of everything does not blow a record up."""
    symbols = [f"S{number:02}" for number in range(30)]
    insert(world, "market_data_cache", *({"symbol": one, "date": DAY, "close_price": 10} for one in symbols))
    insert(world, "positions", *(worlds.position(100 + n, 1, one) for n, one in enumerate(symbols)))
    run(world, run_id="run-2")
    execute(world, "update market_data_cache set close_price = 11 where date = %s and symbol like 'S__'", DAY)

    written = run(world, run_id="run-3")["portfolio_snapshots"]

    assert written.restatement is not None
    assert written.restatement.prices_changed is not None
    assert written.restatement.prices_changed["count"] == 31  # SPY is one of them
    assert len(written.restatement.prices_changed["largest"]) == 20


def test_a_portfolio_that_is_gone_and_one_that_is_new_are_both_changes(world: Database) -> None:
    """A deleted portfolio's row leaves, a back-dated one's comes; both are counted."""
    execute(world, "update portfolios set deleted_at = '2026-01-01' where id = %s", uid("portfolio", 3))
    insert(world, "portfolios", worlds.portfolio(4))
    insert(world, "positions", worlds.position(41, 4, "AAA", 1_000_000))
    written = run(world, run_id="run-2")["portfolio_snapshots"]
    (found,) = restatements(world, "portfolio_snapshots")
    assert (found["rows_changed"], found["portfolios_changed"]) == (2, 2)
    assert found["largest_change_portfolio"] == uid("portfolio", 4)
    assert found["old_value"] is None
    assert found["largest_change"] == found["new_value"]
    assert found["new_value"] > 1_000_000
    assert found["inputs_changed"] == ["positions", "prices"] or "positions" in found["inputs_changed"]
    assert written.restatement is not None
    assert written.restatement.largest == found["largest_change"]
    assert str(uid("portfolio", 3)) not in "".join(table_rows(world, "portfolio_snapshots"))


def test_inputs_that_changed_without_changing_a_row_are_recorded_as_no_rows(world: Database) -> None:
    """An old close enters correlations, not values: the snapshots' restatement names the input and no change."""
    execute(
        world,
        "update market_data_cache set close_price = close_price * 1.01 where symbol = 'CCC' and date = %s",
        date(2026, 1, 30),
    )
    run(world, run_id="run-2")
    (found,) = restatements(world, "portfolio_snapshots")
    assert (found["rows_changed"], found["portfolios_changed"], found["largest_change"]) == (0, 0, None)
    assert found["inputs_changed"] == ["prices"]
    (correlations,) = restatements(world, "correlation_calculations")
    assert (correlations["rows_changed"], correlations["portfolios_changed"]) == (1, 1)
    assert correlations["largest_change_portfolio"] == uid("portfolio", 1)


def test_restatements_are_kept_one_after_the_other(world: Database) -> None:
    """Each names the digest that it replaced, so the chain leads back to the first night."""
    first = digest(world, "portfolio_snapshots")
    for price, name in ((70, "run-2"), (80, "run-3")):
        execute(world, "update market_data_cache set close_price = %s where symbol = 'AAA' and date = %s", price, DAY)
        run(world, run_id=name)
    found = restatements(world, "portfolio_snapshots")
    assert [one["run_id"] for one in found] == ["run-2", "run-3"]
    assert found[0]["old_digest"] == first
    assert found[1]["old_digest"] == found[0]["new_digest"]
    assert found[1]["new_digest"] == digest(world, "portfolio_snapshots")
    assert found[1]["largest_change"] == pytest.approx(1000.0)  # 100 shares, from 70 to 80


def test_an_edited_valuation_is_a_restatement_by_valuations_alone(world: Database) -> None:
    """A PRIVATE holding's new value changes the snapshot by just that, and nothing else."""
    execute(world, "update private_valuations set market_value = 2234 where position_id = %s", uid("position", 23))
    run(world, run_id="run-2")
    (found,) = restatements(world, "portfolio_snapshots")
    assert found["inputs_changed"] == ["valuations"]
    assert found["largest_change"] == 1000.0
    assert found["largest_change_portfolio"] == uid("portfolio", 2)
    (correlations,) = restatements(world, "correlation_calculations")
    assert correlations["rows_changed"] == 0
    total = execute(world, "select total_cost from portfolio_snapshots where portfolio_id = %s", uid("portfolio", 2))
    assert total == [(Decimal("1600.00"),)]
