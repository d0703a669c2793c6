"""One portfolio's report says what the tables say.

Here: snapshot, history, correlations, exposures, stress, omissions, and each of them where it is missing. Not here:
everybody's page (test_night_report.py), the form of every page (test_form.py), the command (test_command.py)."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from refresh_assets.report import book
from refresh_assets.report.chart import line
from refresh_assets.store.database import Database
from refresh_assets.store.partitions import ensure_partition
from refresh_assets_tests.report.conftest import Written
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, event, execute, insert, position, run, uid

ONE, TWO, THREE = (uid("portfolio", number) for number in (1, 2, 3))
SNAPSHOT = "USD, per cent and counts"


def test_the_snapshot_is_shown_in_full(done: Database, written: Written) -> None:
    """Every column of the row, money to the cent."""
    money = "total_value", "total_cost", "total_pnl", "long_value", "short_value", "gross_exposure", "daily_pnl"
    columns = ", ".join(f"to_char({name}, 'FM999,999,990.00')" for name in money)
    (stored,) = execute(
        done,
        f"select {columns}, to_char(100 * daily_return::numeric, 'FM990.00') || ' %%',"
        " to_char(pnl_percent::numeric, 'FM990.00') || ' %%', position_count::text, positions_valued::text"
        " from portfolio_snapshots where snapshot_date = %s and portfolio_id = %s",
        DAY,
        ONE,
    )

    page = written(ONE)

    told = page.table(SNAPSHOT).column("stored")
    names = (*money, "daily_return", "pnl_percent", "position_count", "positions_valued")
    assert tuple(told[name.replace("_", " ").replace("pnl", "P&L")] for name in names) == stored
    assert told["is partial"] == "no"
    assert page.headings[0] == "Portfolio 1"
    assert "Nothing was left out of this portfolio." in page.text


def test_a_partial_snapshot_says_so_and_names_what_is_lacking(done: Database, written: Written) -> None:
    """At the figures, and below by name with the mend."""
    execute(done, "delete from market_data_cache where symbol = 'BBB' and date = %s", DAY)
    run(done)

    page = written(ONE)

    assert "Partial: 1 of 4 positions are in no sum below." in page.text
    assert page.table(SNAPSHOT).column("stored")["is partial"] == "yes"
    assert "no_price in portfolio_snapshots" in page.headings
    assert f"positions row {uid('position', 12)} (BBB): close_price is missing for the day. Mend: have" in page.text
    assert str(uid("position", 22)) not in page.text


def test_history_is_a_line_with_gaps(done: Database, written: Written) -> None:
    """A point a stored day, broken where there is none; figures of the range in the title."""
    days = [CALENDAR.nth_before(DAY, number) for number in (6, 5, 4)]
    run(done, *days)

    page = written(ONE)

    value, pnl = page.drawings[:2]
    (low, high) = execute(
        done,
        "select to_char(min(total_value), 'FM999,990.00'), to_char(max(total_value), 'FM999,990.00')"
        " from portfolio_snapshots where portfolio_id = %s",
        ONE,
    )[0]
    assert value.findtext("title") == (
        f"Value, {days[0]} to {DAY}, USD: from {low} to {high}; trading days without a snapshot (gaps): 2"
    )
    for drawing in (value, pnl):
        assert [len((one.get("points") or "").split()) for one in drawing.iter("polyline")] == [3, 2]
    assert "P&L of each day" in (pnl.findtext("title") or "")


def test_history_ends_with_the_day_and_reaches_250_trading_days(done: Database, written: Written) -> None:
    """Nothing dated later is shown, nor what is older."""
    outside = [CALENDAR.nth_before(DAY, 250), CALENDAR.next_on_or_after(DAY + timedelta(days=1))]
    for day in outside:
        with done.connect() as connection:
            ensure_partition(connection, "portfolio_snapshots", day)
    execute(
        done,
        "insert into portfolio_snapshots select d, portfolio_id, 987654321, total_cost, total_pnl, pnl_percent, long_value,"
        " short_value, gross_exposure, net_exposure, daily_pnl, daily_return, position_count, positions_valued,"
        " positions_unpriced, pnl_legs_missing, is_partial from portfolio_snapshots, unnest(%s::date[]) d"
        " where snapshot_date = %s and portfolio_id = %s",
        outside,
        DAY,
        ONE,
    )

    assert "987,654,321" not in written(ONE).text


def test_correlations_are_the_pairs_of_the_view_both_ways(done: Database, written: Written) -> None:
    """Each pair in both of its cells, 1 on the diagonal, the summary beside it."""
    stored = execute(
        done,
        "select symbol_1, symbol_2, to_char(correlation_value, 'FM0.00') from pairwise_correlations"
        " where calculation_date = %s and portfolio_id = %s",
        DAY,
        ONE,
    )
    (weighted,) = execute(
        done,
        "select to_char(weighted_correlation::numeric, 'FM0.0000') from correlation_calculations"
        " where calculation_date = %s and portfolio_id = %s",
        DAY,
        ONE,
    )

    page = written(ONE)

    heat = page.table("All 3 symbols, by weight")
    assert len(stored) == 3
    for first, second, rho in stored:
        assert heat.column(first)[second] == heat.column(second)[first] == rho
    assert [heat.column(symbol)[symbol] for symbol in ("AAA", "BBB", "CCC")] == ["1.00"] * 3
    assert (page.table("Log returns").column("stored")["weighted correlation"],) == weighted


def test_the_heat_table_shows_the_symbols_that_weigh_most(
    done: Database, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By |quantity as of the day x close that the day used|: a later sale does not make a holding small."""
    monkeypatch.setattr(book, "HEAT_SYMBOLS", 2)
    insert(done, "position_realized_events", event(1, 11, date(2026, 3, 20), 99, 70))
    execute(done, "update positions set quantity = 1 where id = %s", uid("position", 11))
    execute(done, "update market_data_cache set close_price = 1e9 where symbol = 'BBB' and date = %s", DAY)

    heat = written(ONE).table("The 2 largest of 3")

    assert heat.rows[0] == ["symbol", "AAA", "CCC"]


def test_an_undefined_pair_says_so(done: Database, written: Written) -> None:
    """Never a 0 that nobody measured."""
    execute(
        done,
        "update correlation_calculations set correlations[1] = null, data_points[1] = 12 where portfolio_id = %s",
        TWO,
    )

    page = written(TWO)

    heat = page.table("All 2 symbols")
    assert heat.column("AAA")["BBB"] == heat.column("BBB")["AAA"] == "n/a"
    assert ("title", "12 common days") in page.attributes
    assert "fewer than 30 common days" in heat.caption


def test_exposures_are_bars_with_coverage_and_unknown_is_not_zero(done: Database, written: Written) -> None:
    """In the platform's order of factors; without a beta there is no figure and no bar."""
    execute(
        done,
        "update factor_exposures set exposure_dollar = null, exposure_value = null, coverage = 0 where portfolio_id = %s"
        " and factor_id = (select id from factor_definitions where name = 'Value')",
        ONE,
    )
    stored = execute(
        done,
        "select f.name, coalesce(to_char(exposure_dollar::numeric, 'FM999,990.00'), 'unknown'),"
        " to_char(100 * coverage::numeric, 'FM990.00') || ' %%' from factor_exposures e join factor_definitions f"
        " on f.id = e.factor_id where calculation_date = %s and portfolio_id = %s order by display_order",
        DAY,
        ONE,
    )

    page = written(ONE)

    rows = page.table("Coverage: share of PUBLIC value").rows[1:]
    assert [(row[0], row[1], row[4]) for row in rows] == stored
    bars = {(one.findtext("title") or "").split(":")[0]: one.find("rect") for one in page.drawings}
    unknown, market = bars["Value"], bars["Market"]
    assert unknown is not None and unknown.get("width") == "0.0"
    assert market is not None and Decimal(market.get("width") or 0) > 0


def test_stress_stands_by_loss_and_the_worst_by_factor(done: Database, written: Written) -> None:
    """Direct and correlated, the largest loss first; the impacts are those of the view."""
    stored = execute(
        done,
        "select scenario_id, to_char(direct_pnl::numeric, 'FM999,990.00'), to_char(correlated_pnl::numeric, 'FM999,990.00')"
        " from stress_test_results where calculation_date = %s and portfolio_id = %s"
        " order by least(direct_pnl, correlated_pnl), scenario_id",
        DAY,
        ONE,
    )
    impacts = execute(
        done,
        "select f.name, coalesce(to_char(direct_impact::numeric, 'FM999,990.00'), 'none') from stress_factor_impacts i"
        " join factor_definitions f on f.id = i.factor_id"
        " where calculation_date = %s and portfolio_id = %s and scenario_id = %s",
        DAY,
        ONE,
        stored[0][0],
    )

    page = written(ONE)

    assert [tuple(row[:3]) for row in page.table("the largest loss first").rows[1:]] == stored
    assert page.table(f"The worst, {stored[0][0]}").column("direct") == dict(impacts)
    assert len(stored) == 19 and len(impacts) == 12


def test_a_cap_is_a_line_of_its_own(done: Database, written: Written) -> None:
    """So that what is shown adds up to the result."""
    execute(
        done,
        "update stress_test_results set is_capped = true, direct_pnl = -99999 where calculation_date = %s"
        " and portfolio_id = %s and scenario_id = 'market_down_35'",
        DAY,
        THREE,
    )

    page = written(THREE)

    assert page.table("the largest loss first").column("capped")["market_down_35"] == "capped"
    direct = page.table("The worst, market_down_35").column("direct")
    assert "taken off by the cap" in direct
    shown = sum(Decimal(one.replace(",", "")) for one in direct.values() if one != "none")
    assert shown == Decimal("-99999.00")


def test_one_symbol_has_no_correlations_and_says_why(written: Written) -> None:
    """The words of the exception, not an empty table."""
    page = written(THREE)

    assert (
        f"None: no row in correlation_calculations (too_few_symbols): portfolios row {THREE}: 1 priced PUBLIC symbol, a"
        " correlation needs 2: no row." in page.text
    )
    assert page.table("the largest loss first")


def test_no_public_value_has_neither_exposures_nor_stress_and_says_why(done: Database, written: Written) -> None:
    """A book of hand-valued holdings: its snapshot stands, the rest is told."""
    execute(done, "delete from positions where portfolio_id = %s and investment_class = 'PUBLIC'", TWO)
    run(done)

    page = written(TWO)

    for table in ("factor_exposures", "stress_test_results"):
        assert f"None: no row in {table} (no_public_value): portfolios row {TWO}: " in page.text
    assert page.table(SNAPSHOT).column("stored")["total value"] == "1,234.00"


def test_a_table_that_is_not_computed_is_told_and_the_day_marked(done: Database, written: Written) -> None:
    """Half a night is shown as half a night."""
    execute(done, "delete from refresh_days where table_name = 'factor_exposures' and calculation_date = %s", DAY)
    execute(done, "delete from factor_exposures where calculation_date = %s", DAY)

    page = written(ONE)

    assert "Not complete. The figures below are of a day that is not complete." in page.text
    assert f"None: factor_exposures of {DAY} is not complete: it was not computed." in page.text


def test_a_first_day_has_no_return_and_says_why(done: Database, written: Written) -> None:
    """Null is told in words."""
    insert(done, "portfolios", {"id": uid("portfolio", 9), "name": "New", "created_at": DAY, "inception_date": DAY})
    insert(done, "positions", position(91, 9, entry_date=DAY))
    run(done)

    page = written("New")

    assert page.table(SNAPSHOT).column("stored")["daily return"] == "none: nothing was held the day before"
    assert [one.find("circle") is not None for one in page.drawings[:2]] == [True, True]


def test_the_day_before_is_reported_as_it_stands(done: Database, written: Written) -> None:
    """Any stored day, not only the last."""
    (value,) = execute(
        done,
        "select to_char(total_value, 'FM999,990.00') from portfolio_snapshots where snapshot_date = %s and portfolio_id = %s",
        BEFORE,
        ONE,
    )

    assert written(ONE, BEFORE).table(SNAPSHOT).column("stored")["total value"] == value[0]


def test_a_line_without_reach_or_with_one_day_is_drawn() -> None:
    """Constant series and single days divide by nothing."""
    flat = line({BEFORE: 5.0, DAY: 5.0}, "flat")
    single = line({DAY: 0.0}, "single", zero=True)

    assert "nan" not in flat + single
    assert flat.count("<polyline") == 1 and single.count("<circle") == 1
