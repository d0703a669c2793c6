"""Books that are not plain: each omission named, each answer still adding up; and inputs that changed since.

Here: a partial sale, an option, a short, PRIVATE holdings, missing prices, a capped loss, restated inputs. Not here: plain
books (test_every_figure.py), questions that cannot be answered (test_questions.py)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from refresh_assets.store.database import Database
from refresh_assets_tests.explain.asking import answer, ask, exactly, stored_figure
from refresh_assets_tests.worlds import (
    BEFORE,
    DAY,
    OPTION,
    event,
    execute,
    insert,
    load_closes,
    portfolio,
    position,
    run,
    uid,
    valuation,
)

AFTER = date(2026, 3, 20)
CAPPED = "market_down_35"


@pytest.fixture
def odd(database: Database) -> Database:
    """One book with everything that is not plain, one whose loss is capped; the night of DAY is done."""
    load_closes(database)
    insert(database, "portfolios", portfolio(1, name="Odd"), portfolio(2, name="Levered"), portfolio(3, name="One"))
    insert(
        database,
        "positions",
        position(11, 1, "AAA", "60.125", entry_date=None),
        position(12, 1, "BBB", -30),
        position(13, 1, OPTION, 2, investment_class="OPTIONS", entry_price="1.5"),
        position(14, 1, "Barn", 1, investment_class="PRIVATE", entry_price=1000, market_value=1500),
        position(15, 1, "Boat", 1, investment_class="PRIVATE", entry_price=900, market_value=1),
        position(16, 1, "GONE", 7),
        position(17, 1, "CCC", 40, entry_price=None),
        position(18, 1, "AAA", 9, entry_date=DAY, entry_price=61),
        position(21, 2, "AAA", 10),
        position(22, 2, "BBB", 10),
        position(31, 3, "CCC", 5),
    )
    insert(database, "position_realized_events", event(1, 11, DAY, "1.5", 62), event(2, 11, AFTER, "10.25", 70))
    insert(database, "private_valuations", valuation(15, BEFORE, 800), valuation(15, DAY, "750.5"))
    ((market,),) = execute(database, "select id from factor_definitions where name = 'Market'")
    for symbol in ("AAA", "BBB"):
        row = {"symbol": symbol, "factor_id": market, "calculation_date": DAY, "beta_value": 4}
        insert(database, "symbol_factor_exposures", {**row, "calculation_method": "batch", "observations": 61})
    run(database)
    return database


def test_each_position_of_an_odd_book_is_there_and_the_sums_are_of_those_with_a_value(odd: Database) -> None:
    """Left out is shown as left out, with the code under which it is named; the rest adds up to the stored sums."""
    told = ask(odd, uid("portfolio", 1), DAY)
    rows = {row["symbol"]: row for row in told["positions"]["rows"] if row["position"] != str(uid("position", 18))}

    assert told["equal"] is True
    assert (rows["AAA"]["quantity"], rows["AAA"]["quantity_now"]) == ("70.375", "60.125")
    assert rows["AAA"]["sold_since"] == [{"date": "2026-03-20", "quantity": "10.25"}]
    assert rows[OPTION]["multiplier"] == 100
    assert Decimal(rows[OPTION]["value"]) == 200 * Decimal(rows[OPTION]["close"])
    assert Decimal(rows["BBB"]["value"]) == -30 * Decimal(rows["BBB"]["close"])
    assert (rows["Barn"]["value"], rows["Barn"]["code"]) == ("1500", "undated_valuation")
    assert (rows["Boat"]["value"], rows["Boat"]["valued_as_of"]) == ("750.5", "2026-03-13")
    assert (rows["GONE"]["value"], rows["GONE"]["code"]) == (None, "no_price")
    assert (rows["CCC"]["value"], rows["CCC"]["code"]) == (None, "no_entry_price")
    assert {row["code"] for row in told["left_out"]} >= {"undated_valuation", "no_price", "no_entry_price"}
    assert exactly(told["positions"]["rows"], "value").quantize(Decimal("0.01")) == Decimal(
        stored_figure(told, "total_value")
    )


def test_each_leg_of_an_odd_book_says_from_where_to_where(odd: Database) -> None:
    """Kept, entered, sold, PRIVATE, left out: as spec section 4 has them, adding up to daily_pnl."""
    told = ask(odd, uid("portfolio", 1), DAY)
    legs = {(leg["symbol"], leg["leg"]): leg for leg in told["legs"]["rows"]}
    closes = dict(
        execute(odd, "select date, close_price from market_data_cache where symbol = 'AAA' and date >= %s", BEFORE)
    )

    kept, entered, sold = (legs["AAA", kind] for kind in ("kept", "entered", "sold"))
    assert (kept["quantity"], Decimal(kept["from"]), Decimal(kept["to"])) == ("70.375", closes[BEFORE], closes[DAY])
    assert (entered["quantity"], entered["from"], Decimal(entered["to"])) == ("9", "61", closes[DAY])
    assert (sold["quantity"], Decimal(sold["from"]), sold["to"]) == ("1.5", closes[BEFORE], "62")
    assert legs["Boat", "private, kept"]["pnl"] == "-49.5"
    assert ("GONE", "kept, left out") in legs and ("CCC", "kept") in legs
    assert exactly(told["legs"]["rows"], "pnl").quantize(Decimal("0.01")) == Decimal(stored_figure(told, "daily_pnl"))
    assert stored_figure(told, "pnl_legs_missing") == 1


def test_a_beta_says_whether_the_batch_stored_it_or_the_night_estimated_it(odd: Database) -> None:
    """Stored ones with their method, inline ones with their days and fit; a position without a beta is not covered."""
    market = {row["symbol"]: row for row in ask(odd, uid("portfolio", 1), DAY, factor="market")["exposures"]["rows"]}
    value = {row["symbol"]: row for row in ask(odd, uid("portfolio", 1), DAY, factor="Value")["exposures"]["rows"]}

    assert (market["AAA"]["origin"], market["AAA"]["method"], market["AAA"]["beta"]) == ("stored", "batch", "4.0")
    assert (market["CCC"]["origin"], market["CCC"]["observations"], market["CCC"]["capped"]) == ("inline", 61, False)
    assert 0 < float(market["CCC"]["r_squared"]) < 1
    assert {row["origin"] for row in value.values()} == {"inline"}
    assert "GONE" not in market and OPTION not in market


def test_the_cap_is_a_line_of_its_own_and_the_lines_add_up(odd: Database) -> None:
    """A book of betas 4 under market -35 % loses 140 %: held at 99 %, the rest in the line of the cap."""
    told = ask(odd, "Levered", DAY, scenario=CAPPED)
    rows = told["direct"]["rows"]
    worth = exactly(ask(odd, "Levered", DAY)["positions"]["rows"], "value")

    assert [row["factor"] for row in rows] == ["Market", "cap"]
    assert float(rows[0]["impact"]) == pytest.approx(-1.4 * float(worth))
    assert float(exactly(rows, "impact")) == pytest.approx(-0.99 * float(worth))
    assert float(exactly(rows, "impact")) == pytest.approx(float(stored_figure(told, "direct_pnl")), abs=1e-9)
    assert (stored_figure(told, "is_capped"), told["equal"]) == (True, True)


def test_a_price_that_changed_since_is_said_with_both_figures_and_the_command(odd: Database) -> None:
    """Nothing is shown as if it were stored: what differs, from what to what, which close, and how to restate."""
    before = ask(odd, "Levered", DAY)
    ((close,),) = execute(odd, "select close_price from market_data_cache where symbol = 'AAA' and date = %s", DAY)
    execute(odd, "update market_data_cache set close_price = 100 where symbol = 'AAA' and date = %s", DAY)

    told = ask(odd, "Levered", DAY)
    value = next(one for one in told["figures"] if one["name"] == "total_value")

    assert told["equal"] is False and told["restate"] == "refresh-assets run --date 2026-03-13"
    assert value["stored"] == stored_figure(before, "total_value") and value["equal"] is False
    change = Decimal(value["recomputed"]) - Decimal(value["stored"])
    assert change == pytest.approx(10 * (100 - close), abs=Decimal("0.01"))
    assert told["changes"] == [f"the night used {close.normalize():f} as the close of AAA on 2026-03-13, it is 100 now"]
    run(odd)
    assert ask(odd, "Levered", DAY)["equal"] is True


def test_an_earlier_price_that_changed_is_said_by_the_beta_that_it_moves(odd: Database) -> None:
    """A close inside the window of a beta: the exposure differs, and the inline beta is named with both values."""
    execute(odd, "update market_data_cache set close_price = 90 where symbol = 'CCC' and date = '2026-02-10'")

    told = answer(odd, "Odd", DAY, factor="Momentum")

    assert not told.equal
    (change,) = told.changes
    assert change.startswith("the inline beta of CCC to Momentum was ")
    assert change.endswith(" from today's closes")
    assert ask(odd, "Odd", DAY)["equal"] is False  # its correlations read that close too


CHANGES: list[tuple[str, str, list[Any]]] = [
    ("a quantity", "update positions set quantity = quantity + 1 where id = %s", [uid("position", 31)]),
    ("a position that is gone", "delete from positions where id = %s", [uid("position", 31)]),
    ("an entry price", "update positions set entry_price = 51 where id = %s", [uid("position", 31)]),
    (
        "a late sale",
        "update positions set exit_date = '2026-03-12', exit_price = 60 where id = %s",
        [uid("position", 31)],
    ),
]


@pytest.mark.parametrize(("what", "statement", "values"), CHANGES, ids=[one[0] for one in CHANGES])
def test_a_position_that_was_repaired_since_is_said(
    odd: Database, what: str, statement: str, values: list[Any]
) -> None:
    """Whatever changed: the answer does not call itself equal, even where nothing is left to recompute."""
    execute(odd, statement, *values)

    told = ask(odd, "One", DAY)

    assert told["equal"] is False, what
    assert told["restate"] == "refresh-assets run --date 2026-03-13"
    assert [one["name"] for one in told["figures"] if not one["equal"]]


def test_a_deleted_portfolio_is_explained_on_the_days_that_it_had(odd: Database) -> None:
    """What stands in the tables can be traced, also after the book was closed."""
    execute(odd, "update portfolios set deleted_at = '2026-03-16 12:00+00' where id = %s", uid("portfolio", 1))

    assert ask(odd, "Odd", DAY)["equal"] is True
