"""Known answers of the reference itself: computed by hand, from a textbook table, or from a closed form.

Here: small worlds whose figures a person can check on paper. Not here: comparing the product with the reference."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from . import dev_world
from .betas import betas
from .correlations import correlations, p_value
from .exposures import exposures
from .snapshots import omissions, snapshots
from .stress import expected_moves, factor_covariance, stress
from .world import World, is_trading_day, option_expiry, previous_trading_day, trading_days

FRIDAY, SATURDAY, MONDAY = dt.date(2026, 3, 6), dt.date(2026, 3, 7), dt.date(2026, 3, 9)
LONG_AGO = dt.date(2026, 1, 5)
BOOK = uuid.UUID(int=1)


def book(**changes: Any) -> dict[str, Any]:
    """A portfolio that has existed for long."""
    created = dt.datetime(2026, 1, 5, 15, tzinfo=dt.UTC)
    row = {
        "id": BOOK,
        "name": "b",
        "user_id": BOOK,
        "inception_date": LONG_AGO,
        "created_at": created,
        "deleted_at": None,
    }
    return {**row, **changes}


def lot(number: int, symbol: str | None, quantity: str, entry: str | None, **changes: Any) -> dict[str, Any]:
    """A PUBLIC position held for long, never sold, unless told otherwise."""
    row = {
        "id": uuid.UUID(int=100 + number),
        "portfolio_id": BOOK,
        "symbol": symbol,
        "investment_class": "PUBLIC",
        "quantity": Decimal(quantity),
        "entry_price": None if entry is None else Decimal(entry),
        "entry_date": LONG_AGO,
        "exit_price": None,
        "exit_date": None,
        "market_value": None,
        "last_price": None,
        "last_price_date": None,
        "deleted_at": None,
    }
    return {**row, **changes}


def close(symbol: str, day: dt.date, price: str | float) -> dict[str, Any]:
    """A row of market_data_cache."""
    return {"symbol": symbol, "date": day, "close_price": Decimal(str(price))}


def event(number: int, day: dt.date, quantity: str, price: str) -> dict[str, Any]:
    """A sale of part of lot `number`."""
    closed, at = Decimal(quantity), Decimal(price)
    position_id = uuid.UUID(int=100 + number)
    return {"id": uuid.uuid4(), "position_id": position_id, "trade_date": day, "quantity_closed": closed, "price": at}


def factor(name: str, proxy: str, estimation: str, short_proxy: str | None = None) -> dict[str, Any]:
    """A factor of 90 days and 30 observations."""
    row = {"id": dev_world.factor_uuid(name), "name": name, "factor_type": "style", "proxy": proxy, "is_active": True}
    row |= {"short_proxy": short_proxy, "estimation": estimation, "window_days": 90, "min_observations": 30}
    return {**row, "display_order": 1}


def one_row(positions: list[dict[str, Any]], closes: list[dict[str, Any]], **tables: Any) -> dict[str, Any]:
    """The snapshot of Monday of the one portfolio."""
    world = World(portfolios=[book()], positions=positions, market_data_cache=closes, **tables)
    (row,) = snapshots(world, MONDAY)
    return row


A_CLOSES = [close("A", FRIDAY, 100), close("A", MONDAY, 110)]


def test_the_calendar_closes_for_mourning_and_opens_on_half_days() -> None:
    """NYSE: closed on 2025-01-09 (President Carter), open on 2024-11-29 until 13:00."""
    assert not is_trading_day(dt.date(2025, 1, 9))
    assert is_trading_day(dt.date(2024, 11, 29))
    assert previous_trading_day(MONDAY) == FRIDAY
    assert previous_trading_day(MONDAY, frozenset({FRIDAY})) == dt.date(2026, 3, 5)


@pytest.mark.parametrize("symbol", ["SPY   180921C00290000", "SPY180921P00290000"])
def test_an_occ_symbol_states_its_expiry_padded_or_not(symbol: str) -> None:
    """The six digits after the root are yymmdd."""
    assert option_expiry(symbol) == dt.date(2018, 9, 21)
    assert option_expiry("SPY") is None


def test_a_long_short_book_with_an_option_by_hand() -> None:
    """10 A at 110 (cost 90), -5 B at 40 (cost 50), 2 calls at 3.50 (cost 3): 1100 - 200 + 700."""
    call = lot(3, "A   270115C00120000", "2", "3", investment_class="OPTIONS")
    closes = [*A_CLOSES, close("B", FRIDAY, 42), close("B", MONDAY, 40)]
    closes += [close(call["symbol"], FRIDAY, 3), close(call["symbol"], MONDAY, "3.5")]
    row = one_row([lot(1, "A", "10", "90"), lot(2, "B", "-5", "50"), call], closes)
    assert row["total_value"] == Decimal("1600.00")
    assert row["total_cost"] == Decimal("1250.00")
    assert row["total_pnl"] == Decimal("350.00")
    assert row["pnl_percent"] == pytest.approx(100 * 350 / (900 + 250 + 600))
    assert (row["long_value"], row["short_value"]) == (Decimal("1800.00"), Decimal("-200.00"))
    assert (row["gross_exposure"], row["net_exposure"]) == (Decimal("2000.00"), Decimal("1600.00"))
    assert row["daily_pnl"] == Decimal("210.00")  # 10*10 - 5*(-2) + 200*0.5
    assert row["daily_return"] == pytest.approx(210 / (1000 + 210 + 600))
    assert (row["position_count"], row["is_partial"], row["pnl_legs_missing"]) == (3, False, 0)


def test_a_partial_sale_on_saturday_counts_on_monday() -> None:
    """4 of 10 sold at 105: the 6 kept make 60, the 4 sold make 20; Friday still holds 10."""
    sold = {"position_realized_events": [event(1, SATURDAY, "4", "105")]}
    row = one_row([lot(1, "A", "6", "90")], A_CLOSES, **sold)
    assert row["total_value"] == Decimal("660.00")
    assert row["daily_pnl"] == Decimal("80.00")
    assert row["daily_return"] == pytest.approx(80 / 1000)


def test_a_position_bought_and_sold_on_one_day_makes_the_difference() -> None:
    """3 bought at 107 on Saturday, all sold at 111 on Monday: a row without positions, 12 dollars."""
    gone = lot(1, "A", "3", "107", entry_date=SATURDAY, exit_date=MONDAY, exit_price=Decimal(111))
    row = one_row([gone], A_CLOSES)
    assert (row["position_count"], row["total_value"], row["daily_pnl"]) == (0, Decimal("0.00"), Decimal("12.00"))
    assert row["daily_return"] is None and row["pnl_percent"] is None


def test_what_events_sold_in_full_is_not_sold_again_on_exit_date() -> None:
    """quantity 0, the event on exit_date holds the price; exit_price finds nothing left."""
    gone = lot(1, "A", "0", "90", exit_date=MONDAY, exit_price=Decimal(999))
    row = one_row([gone], A_CLOSES, position_realized_events=[event(1, MONDAY, "10", "108")])
    assert row["daily_pnl"] == Decimal("80.00")


def test_a_private_position_makes_the_change_of_its_valuation() -> None:
    """Valued 500, then 600 on Monday with half of it sold for 280: 600 + 280 - 500."""
    fund = lot(1, None, "5", "80", investment_class="PRIVATE")
    dated = [(LONG_AGO, 500), (MONDAY, 600)]
    valuations = [{"position_id": fund["id"], "as_of": day, "market_value": Decimal(value)} for day, value in dated]
    events = [event(1, MONDAY, "5", "56")]
    row = one_row([fund], A_CLOSES, private_valuations=valuations, position_realized_events=events)
    assert (row["total_value"], row["total_cost"]) == (Decimal("600.00"), Decimal("400.00"))
    assert row["daily_pnl"] == Decimal("380.00")


def test_what_has_no_price_is_left_out_and_named() -> None:
    """No price on Monday; no entry price; an option that expired on Friday; PRIVATE with an undated value."""
    expired = lot(3, "A260306C00120000", "1", "3", investment_class="OPTIONS")
    fund = lot(4, None, "1", "70", investment_class="PRIVATE", market_value=Decimal(75))
    positions = [lot(1, "B", "1", "9"), lot(2, "A", "1", None), expired, fund]
    world = World(portfolios=[book()], positions=positions, market_data_cache=A_CLOSES)
    (row,) = snapshots(world, MONDAY)
    assert row["total_value"] == Decimal("75.00")
    assert (row["position_count"], row["positions_valued"], row["positions_unpriced"]) == (4, 1, 3)
    assert (row["is_partial"], row["pnl_legs_missing"]) == (True, 1)
    codes = {(p["id"].int - 100, code) for p in positions for i, code in omissions(world, MONDAY) if i == p["id"]}
    assert codes == {(1, "no_price"), (2, "no_entry_price"), (3, "option_expired"), (4, "undated_valuation")}


def test_a_deletion_counts_from_its_date_in_new_york() -> None:
    """03:00 UTC on Tuesday is still Monday in New York; 03:00 UTC on Monday is Sunday."""
    tuesday = dt.datetime(2026, 3, 10, 3, tzinfo=dt.UTC)
    deleted = World(
        portfolios=[book(deleted_at=tuesday)], positions=[lot(1, "A", "1", "9")], market_data_cache=A_CLOSES
    )
    assert snapshots(deleted, MONDAY) == []
    assert len(snapshots(deleted, FRIDAY)) == 1


def test_half_cents_round_to_even_once_at_the_end() -> None:
    """0.5 of 0.01 and 0.5 of 0.03: 0.005 -> 0.00 and 0.015 -> 0.02, but their sum is 0.02 exactly."""
    closes = [close("A", MONDAY, "0.01"), close("B", MONDAY, "0.03")]
    assert one_row([lot(1, "A", "0.5", "0")], closes)["total_value"] == Decimal("0.00")
    assert one_row([lot(1, "B", "0.5", "0")], closes)["total_value"] == Decimal("0.02")
    assert one_row([lot(1, "A", "0.5", "0"), lot(2, "B", "0.5", "0")], closes)["total_value"] == Decimal("0.02")


def test_the_textbook_critical_value_has_p_of_five_percent() -> None:
    """Table of Pearson's r, 10 degrees of freedom, two-sided: 0.576 at 5 %, 0.708 at 1 %."""
    assert p_value(0.576, 12) == pytest.approx(0.05, abs=2e-4)
    assert p_value(0.708, 12) == pytest.approx(0.01, abs=2e-4)
    assert p_value(1.0, 12) == 0 and p_value(None, 12) is None


def history(returns: dict[str, np.ndarray], end: dt.date = MONDAY) -> list[dict[str, Any]]:
    """Closes from 100 onwards whose simple returns on the last trading days up to `end` are the given ones."""
    rows = []
    for symbol, moves in returns.items():
        days = trading_days(end - dt.timedelta(days=2 * len(moves) + 10), end)[-len(moves) - 1 :]
        price = 100.0
        rows.append(close(symbol, days[0], price))
        for day, move in zip(days[1:], moves, strict=True):
            price *= 1 + move
            rows.append(close(symbol, day, repr(float(price))))
    return rows


MOVES = np.random.default_rng(7).normal(0, 0.01, (4, 300))


def test_correlations_of_three_symbols_by_hand() -> None:
    """Y has the log returns of X, Z the opposite: rho 1, -1, -1; two lots of X are one symbol."""
    log = MOVES[0]
    closes = history({"X": np.expm1(log), "Y": np.expm1(log), "Z": np.expm1(-log)})
    at = {row["symbol"]: row["close_price"] for row in closes if row["date"] == MONDAY}
    shares = {"X": 1 / at["X"], "Y": 1 / at["Y"], "Z": 2 / at["Z"]}
    positions = [lot(n, s, str(q / 2 if s == "X" else q), "1") for n, (s, q) in enumerate(shares.items())]
    positions.append({**positions[0], "id": uuid.UUID(int=999)})
    world = World(portfolios=[book()], positions=positions, market_data_cache=closes)
    (row,) = correlations(world, MONDAY)
    assert row["symbols"] == ["X", "Y", "Z"]
    assert row["correlations"] == pytest.approx([1, -1, -1])
    assert row["data_points"] == [
        61,
        61,
        61,
    ]  # 65 weekdays from 2025-12-09, less 25 December, 1 and 19 January, 16 February
    assert row["overall_correlation"] == pytest.approx(1)
    assert row["weighted_correlation"] == pytest.approx((1 / 16 - 2 / 16 - 2 / 16) / (5 / 16))
    assert row["effective_positions"] is None  # weights 1/4, 1/4, 1/2 hedge to no variance at all
    assert row["correlation_concentration_score"] == pytest.approx(1)
    assert (row["positions_included"], row["positions_excluded"], row["data_quality"]) == (4, 0, "sufficient")


def test_a_missing_close_costs_both_returns_and_a_constant_series_is_undefined() -> None:
    """One hole in X takes two of 61 common days; C never moves."""
    closes = history({"X": MOVES[0], "Y": MOVES[1], "C": np.zeros(300)})
    closes = [row for row in closes if (row["symbol"], row["date"]) != ("X", dt.date(2026, 2, 3))]
    positions = [lot(n, symbol, "1", "1") for n, symbol in enumerate("XYC")]
    (row,) = correlations(World(portfolios=[book()], positions=positions, market_data_cache=closes), MONDAY)
    assert row["symbols"] == ["C", "X", "Y"]
    assert row["data_points"] == [59, 61, 59]
    assert row["correlations"][:2] == [None, None] and row["data_quality"] == "limited"


def test_betas_equal_their_closed_forms() -> None:
    """Twice the market and a bit: slope 2, capped at 5 for nine times; ridge is (Z'Z + I)^-1 Z'y / scale."""
    market, value, size, noise = MOVES
    y = 0.5 * value - 0.3 * size + 0.1 * noise
    closes = history({"SPY": market, "VTV": value, "IWM": size, "T": 2 * market + 0.001, "N": -9 * market, "Y": y})
    factors = [factor("Market", "SPY", "single"), factor("Value", "VTV", "joint"), factor("Size", "IWM", "joint")]
    positions = [lot(n, symbol, "1", "1") for n, symbol in enumerate("TNY")]
    world = World([book()], positions, market_data_cache=closes, factor_definitions=factors)
    found = betas(world, MONDAY)
    assert found["T", "Market"]["beta"] == pytest.approx(2)
    assert found["T", "Market"]["r_squared"] == pytest.approx(1)
    assert (found["N", "Market"]["beta"], found["N", "Market"]["capped"]) == (-5, True)
    x = np.column_stack([value, size])[-61:]
    z = (x - x.mean(0)) / x.std(0)
    expected = np.linalg.solve(z.T @ z + np.eye(2), z.T @ (y[-61:] - y[-61:].mean())) / x.std(0)
    got = [found["Y", "Value"]["beta"], found["Y", "Size"]["beta"]]
    assert got == pytest.approx(expected, rel=1e-8)
    assert found["Y", "Value"]["observations"] == 61


def test_exposures_use_the_betas_of_the_day_and_count_what_has_none() -> None:
    """600 of A with beta 1.5 and -200 of B without: 900 dollars, 900/800 of gross, coverage 3/4; Value unknown."""
    factors = [factor("Market", "SPY", "single"), factor("Value", "VTV", "joint")]
    stored = {"symbol": "A", "factor_id": factors[0]["id"], "calculation_date": MONDAY, "beta_value": Decimal("1.5")}
    old = {**stored, "symbol": "B", "calculation_date": FRIDAY}
    closes = [close("A", MONDAY, 60), close("B", MONDAY, 20)]
    world = World([book()], [lot(1, "A", "10", "1"), lot(2, "B", "-10", "1")], market_data_cache=closes)
    world.factor_definitions, world.symbol_factor_exposures = factors, [stored, old]
    market, value = exposures(world, MONDAY)
    assert (market["exposure_dollar"], market["exposure_value"], market["coverage"]) == (900, 900 / 800, 600 / 800)
    assert (value["exposure_dollar"], value["exposure_value"], value["coverage"]) == (None, None, 0)


def stressed_world() -> World:
    """A book of 100 dollars in F, a Market and two joint factors; stored betas 1 to Market, 0.5 to Value."""
    factors = [factor("Market", "SPY", "single"), factor("Value", "VTV", "joint"), factor("Size", "IWM", "joint")]
    closes = history({"SPY": MOVES[0], "VTV": 0.8 * MOVES[0] + MOVES[1] / 4, "IWM": MOVES[2]})
    world = World([book()], [lot(1, "F", "1", "1")], market_data_cache=[*closes, close("F", MONDAY, 100)])
    world.factor_definitions = factors
    world.symbol_factor_exposures = [
        {"symbol": "F", "factor_id": row["id"], "calculation_date": MONDAY, "beta_value": Decimal(beta)}
        for row, beta in zip(factors, ("1", "0.5"), strict=False)
    ]
    return world


def test_expected_moves_are_the_weighted_regression_on_the_shocked_factor() -> None:
    """Given one shocked factor, m_U / s is the slope of a weighted least-squares fit with weights 0.99^age."""
    world = stressed_world()
    weights = 0.99 ** np.arange(252)[::-1]
    # polyfit multiplies residuals by w, so it takes the square root of the weights
    slope = np.polyfit(MOVES[0][-252:], (0.8 * MOVES[0] + MOVES[1] / 4)[-252:], 1, w=np.sqrt(weights))[0]
    moves = expected_moves(factor_covariance(world, MONDAY), {"Market": -0.1})
    assert moves["Market"] == -0.1
    assert moves["Value"] == pytest.approx(-0.1 * slope, rel=1e-6)


def test_only_joint_betas_add_up_and_a_loss_is_capped() -> None:
    """Market -10 %: direct -10, correlated 50 dollars of Value times its move; -300 % is capped at -99."""
    scenarios = [{"id": "m", "shocks": {"Market": -0.1, "Size": -0.2}}, {"id": "crash", "shocks": {"Market": -3.0}}]
    (mild, crash), moves = stress(stressed_world(), MONDAY, scenarios)
    move = {row["factor"]: row["expected_move"] for row in moves if row["scenario_id"] == "m"}
    assert mild["direct_pnl"] == pytest.approx(-10)
    assert mild["correlated_pnl"] == pytest.approx(50 * move["Value"])
    assert mild["correlation_effect"] == pytest.approx(50 * move["Value"] + 10)
    assert (mild["is_capped"], mild["unmapped"]) == (False, ["Size"])
    assert (crash["direct_pnl"], crash["is_capped"]) == (pytest.approx(-99), True)
    assert len(moves) == 2 * 3


def test_a_folder_of_files_becomes_a_world(tmp_path: Path) -> None:
    """An equity, an option with a mark, a private fund of 2 units worth 7.50 each."""
    (tmp_path / "portfolios.csv").write_text("portfolio_id,name,inception\nP1,One,2026-01-05\n")
    header = "position_id,portfolio_id,symbol,asset_type,quantity,opened_on,closed_on,entry_price"
    lines = ["P1-1,P1,A,equity,1.5,2026-01-05,2026-03-08,90.1", "P1-2,P1,A   270115C00120000,option,-1,2026-01-05,,3"]
    (tmp_path / "positions.csv").write_text("\n".join([header, *lines, "P1-3,P1,FUND,private,2,2026-01-05,,7\n"]))
    marks = "portfolio_id,position_id,as_of,unit_value\nP1,P1-2,2026-03-06,3.5\nP1,P1-3,2026-03-06,7.50\n"
    (tmp_path / "manual_values.csv").write_text(marks)
    (tmp_path / "prices.csv").write_text("date,symbol,close\n2026-03-06,A,100.1\n2026-03-09,A,110\n")
    pd.read_csv(tmp_path / "prices.csv").to_csv(tmp_path / "prices.csv.gz", index=False)
    world = dev_world.load(tmp_path)
    assert world.positions[0]["exit_price"] == Decimal("100.1000")
    (row,) = snapshots(world, FRIDAY)
    assert row["total_value"] == Decimal("150.15") - 350 + 15
    assert len(world.factor_definitions) == 12 and not math.isnan(row["pnl_percent"])
