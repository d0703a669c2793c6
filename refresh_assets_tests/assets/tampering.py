"""What somebody may do to the tables of two good nights, by the check that has to find it.

Here: the statements, and words that the check says of each. Not here: the nights, the checks' runs (test_checks.py)."""

from __future__ import annotations

from refresh_assets_tests.worlds import BEFORE, DAY, uid

ONE, THREE, FOUR = (str(uid("portfolio", number)) for number in (1, 3, 4))
DAY_OF_1 = f"calculation_date = '{DAY}' and portfolio_id = '{ONE}'"
A_FACTOR = "factor_id = (select id from factor_definitions where name = 'Value')"
A_SCENARIO = "scenario_id = 'market_up_5'"


def stress(change: str) -> str:
    return f"update stress_test_results set {change} where {DAY_OF_1} and {A_SCENARIO}"


def exposure(change: str) -> str:
    return f"update factor_exposures set {change} where {DAY_OF_1} and {A_FACTOR}"


def correlation(change: str) -> str:
    return f"update correlation_calculations set {change} where {DAY_OF_1}"


TAMPERED = {
    ("portfolio_snapshots", "everyone_accounted_for"): {
        "a snapshot is gone": (
            f"delete from portfolio_snapshots where snapshot_date = '{DAY}' and portfolio_id = '{THREE}'",
            "4 portfolios are due, 3 have rows or an exception that says why not; 3 rows stand there, the night wrote 4",
        ),
        "one owner's rows are another's": (
            f"update portfolio_snapshots set portfolio_id = gen_random_uuid() where portfolio_id = '{THREE}'",
            "4 portfolios are due, 4 have rows",
        ),
        "the exception that says why a book has no correlations is gone": (
            "delete from refresh_exceptions where code = 'too_few_symbols'",
            "4 portfolios are due, 3 have rows",
        ),
        "one factor of one book is gone": (
            f"delete from factor_exposures where {DAY_OF_1} and {A_FACTOR}",
            "47 rows stand there, the night wrote 48",
        ),
        "one book's stress results are gone": (
            f"delete from stress_test_results where {DAY_OF_1}",
            "4 portfolios are due, 3 have rows",
        ),
    },
    ("portfolio_snapshots", "nothing_dated_later"): {
        "a mark is the next day's close": (
            "insert into market_data_cache values ('AAA', '2026-03-16', 71.5);"
            f"update refresh_marks set close_price = 71.50 where symbol = 'AAA' and calculation_date = '{DAY}'",
            "the mark of AAA is a later close",
        ),
        "the day's betas are another day's": (
            f"update symbol_factor_exposures set calculation_date = '2026-03-16' where calculation_date = '{DAY}'",
            "exposures rest on betas of another day",
        ),
        "a row is of a day to come": (
            f"update refresh_exceptions set calculation_date = current_date + 9 where calculation_date = '{BEFORE}'",
            "a row is dated later than the last close",
        ),
    },
    ("correlation_calculations", "correlations_in_bounds"): {
        "a correlation beyond 1": (correlation("correlations[1] = 1.0001"), ONE),
        "a correlation that is no number": (correlation("correlations[2] = 'NaN'"), ONE),
        "a pair too few": (correlation("data_points = data_points[2:]"), ONE),
    },
    ("factor_exposures", "gross_equals_snapshots"): {
        "a gross exposure below its stocks'": (
            f"update portfolio_snapshots set gross_exposure = gross_exposure / 20 where portfolio_id = '{ONE}'",
            ONE,
        ),
        "a PUBLIC book's gross exposure by two cents": (
            f"update portfolio_snapshots set gross_exposure = gross_exposure + 0.02 where portfolio_id = '{FOUR}'",
            FOUR,
        ),
        "one factor's fraction of gross": (exposure("exposure_value = exposure_value * 1.01"), ONE),
    },
    ("factor_exposures", "coverage"): {
        "a coverage above 1": (exposure("coverage = 1.01"), ONE),
        "a coverage of what is unknown": (exposure("exposure_dollar = null"), ONE),
        "half of the betas": (
            f"update factor_exposures set coverage = 0.5 where calculation_date = '{DAY}'",
            "mean coverage 50.0%, below 80%",
        ),
    },
    ("stress_test_results", "impacts_add_up"): {
        "a direct loss by three cents": (
            stress("direct_pnl = direct_pnl - 0.03, correlation_effect = correlated_pnl - (direct_pnl - 0.03)"),
            ONE,
        ),
        "two scenarios exchanged": (
            "update stress_test_results r set direct_pnl = o.direct_pnl, correlated_pnl = o.correlated_pnl,"
            " correlation_effect = o.correlation_effect from (select * from stress_test_results) o"
            f" where r.portfolio_id = '{ONE}' and (o.calculation_date, o.portfolio_id) = (r.calculation_date, r.portfolio_id)"
            " and (r.scenario_id, o.scenario_id) in (('market_up_5', 'market_up_10'), ('market_up_10', 'market_up_5'))",
            ONE,
        ),
        "a correlated loss unknown": (stress("correlated_pnl = null, correlation_effect = null"), ONE),
        "the effect is not the difference": (stress("correlation_effect = 0"), ONE),
        "a shock that was not applied": (
            f"update stress_factor_shocks set shock = shock * 1.01 where {A_SCENARIO} and shock is not null",
            ONE,
        ),
        "a cap above 99 % of gross": (
            "update stress_test_results set direct_pnl = direct_pnl + 1, correlation_effect = correlated_pnl - direct_pnl - 1"
            f" where is_capped and calculation_date = '{DAY}'",
            THREE,
        ),
        "a cap that nobody needs": (stress("is_capped = true"), ONE),
    },
}
