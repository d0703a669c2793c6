"""Everybody's report says what the tables say.

Here: totals, portfolios, omissions, restatements, days that are not complete. Not here: one portfolio's page
(test_book_report.py), the form of every page (test_form.py), the command (test_command.py)."""

from __future__ import annotations

import pytest

from refresh_assets.report import figures
from refresh_assets.store.database import Database
from refresh_assets_tests.report.conftest import Written
from refresh_assets_tests.worlds import DAY, execute, run, uid

NAMES = ["Portfolio 1", "Portfolio 2", "Portfolio 3"]


def test_totals_are_the_sums_of_the_snapshots(done: Database, written: Written) -> None:
    """To the cent, as PostgreSQL formats them."""
    columns = "total_value", "daily_pnl", "gross_exposure", "net_exposure"
    sums = ", ".join(f"to_char(sum({name}), 'FM999,999,999,990.00')" for name in columns)
    (stored,) = execute(done, f"select {sums}, count(*)::text from portfolio_snapshots where snapshot_date = %s", DAY)

    page = written()

    told = page.table("Sums over the 3 snapshots").column("sum")
    assert (*(told[name.replace("_", " ").replace("pnl", "P&L")] for name in columns), "3") == stored
    assert "Portfolios due on the day: 3; with a snapshot: 3, partial of these: 0; failed: 0." in page.text
    assert f"{DAY} is complete: every portfolio is accounted for." in page.text
    assert "Not complete" not in page.text


def test_portfolios_stand_by_value_with_the_figures_of_their_tables(done: Database, written: Written) -> None:
    """Value, P&L, return, exposures; the largest comes first."""
    stored = execute(
        done,
        "select p.name, to_char(total_value, 'FM999,990.00'), to_char(daily_pnl, 'FM999,990.00'),"
        " to_char(100 * daily_return::numeric, 'FM990.00') || ' %%', to_char(gross_exposure, 'FM999,990.00'),"
        " to_char(net_exposure, 'FM999,990.00') from portfolio_snapshots s join portfolios p on p.id = s.portfolio_id"
        " where snapshot_date = %s order by total_value desc",
        DAY,
    )

    rows = written().table("Portfolios, all 3").rows[1:]

    assert [tuple(row[:6]) for row in rows] == stored
    assert sorted(row[0] for row in rows) == NAMES


def test_top_correlation_and_worst_stress_are_those_of_their_tables(done: Database, written: Written) -> None:
    """The highest pair of the view; the scenario of the lowest of both P&Ls; none is said in words."""
    top = execute(
        done,
        "select symbol_1 || ' ' || symbol_2 || ' ' || to_char(correlation_value, 'FM0.00') from pairwise_correlations"
        " where calculation_date = %s and portfolio_id = %s order by correlation_value desc limit 1",
        DAY,
        uid("portfolio", 1),
    )[0][0]
    worst = execute(
        done,
        "select to_char(least(direct_pnl, correlated_pnl)::numeric, 'FM999,990.00'), scenario_id from stress_test_results"
        " where calculation_date = %s and portfolio_id = %s order by least(direct_pnl, correlated_pnl) limit 1",
        DAY,
        uid("portfolio", 3),
    )[0]

    table = written().table("Portfolios, all 3")

    assert table.column("top correlation")["Portfolio 1"] == top
    assert table.column("top correlation")["Portfolio 3"] == "none"
    assert (table.column("worst stress")["Portfolio 3"], table.column("scenario")["Portfolio 3"]) == worst


def test_only_the_largest_are_listed_and_the_rest_is_counted(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """A platform of 10,000 portfolios gives a page that opens."""
    monkeypatch.setattr(figures, "LARGEST_SHOWN", 2)

    page = written()

    table = page.table("Portfolios, the 2 largest by value; 1 more are not listed")
    assert len(table.rows) == 3
    assert page.table("Sums over the 3 snapshots")


def test_what_was_left_out_stands_by_code_with_counts_and_first_words(done: Database, written: Written) -> None:
    """Three of a kind in words, the rest counted, the meaning of the code beside it; the partial are marked."""
    execute(done, "delete from market_data_cache where symbol = 'CCC' and date = %s", DAY)
    run(done)
    execute(
        done,
        "insert into refresh_exceptions (calculation_date, asset, code, detail)"
        " select %s, 'portfolio_snapshots', 'no_price', 'made up ' || n from generate_series(1, 4) n",
        DAY,
    )

    page = written()

    assert "no_price: 6 in portfolio_snapshots" in page.headings
    assert "too_few_symbols: 1 in correlation_calculations" in page.headings
    assert "no close on the day: the position is left out and the snapshot is partial" in page.text
    assert f"and 3 more: refresh-assets status --date {DAY} --json" in page.text
    assert page.text.count("close_price is missing for the day. Mend: have the symbol batch load it") == 2
    assert page.table("Portfolios").column("partial")["Portfolio 3"] == "partial (1)"
    assert page.table("Portfolios").column("partial")["Portfolio 2"] == "no"


def test_a_restated_day_shows_what_changed_and_why(done: Database, written: Written) -> None:
    """The largest change with its portfolio, from what to what, and the inputs in words."""
    assert "The day was not restated." in written().text
    execute(done, "update market_data_cache set close_price = close_price * 2 where symbol = 'CCC' and date = %s", DAY)
    run(done, run_id="run-2")

    table = written().table("What re-computing the day changed")

    stored = execute(
        done,
        "select table_name, to_char(largest_change::numeric, 'FM999,990.00'), to_char(new_value::numeric, 'FM999,990.00')"
        " from refresh_restatements where table_name = 'portfolio_snapshots'",
    )
    assert [(row[0], row[4], row[7]) for row in table.rows[1:] if row[0] == "portfolio_snapshots"] == stored
    assert table.column("run")["portfolio_snapshots"] == "run-2"
    assert "closes of the day" in table.column("inputs that differ")["portfolio_snapshots"]
    assert table.column("of")["portfolio_snapshots"] == "long_value of Portfolio 3"


def test_a_day_that_is_not_complete_is_marked_at_the_top(done: Database, written: Written) -> None:
    """What is there is shown, the rest said in words, with the mend that status gives."""
    execute(done, "delete from refresh_days where table_name = 'stress_test_results' and calculation_date = %s", DAY)
    execute(done, "delete from stress_test_results where calculation_date = %s", DAY)

    page = written()

    assert (
        f"Not complete. The figures below are of a day that is not complete. {DAY} is blocked: the symbol batch has not run."
        " What to do: wait for it, or run it." in page.text
    )
    assert page.text.index("Not complete.") < page.text.index("Totals")
    assert set(page.table("Portfolios").column("worst stress").values()) == {"not computed"}
    assert page.table("Each table").column("status")["stress_test_results"] == "not computed"
