"""The two figures of a portfolio's day that people look at first, as SQL to be joined.

Here: its highest correlation and its worst stress result. Not here: who shows them (demo/summary.py, report/figures.py).

They are joined with a row `s` of portfolio_snapshots; the day is the parameter `day`."""

HIGHEST_PAIR = """
left join lateral (
    select symbol_1, symbol_2, correlation_value from pairwise_correlations c
    where c.portfolio_id = s.portfolio_id and c.calculation_date = %(day)s and correlation_value is not null
    order by correlation_value desc, symbol_1, symbol_2 limit 1
) pair on true
"""
"""`pair.symbol_1`, `symbol_2`, `correlation_value`; null where no pair is defined."""

WORST_STRESS = """
left join lateral (
    select scenario_id, least(direct_pnl, correlated_pnl) as loss from stress_test_results r
    where r.portfolio_id = s.portfolio_id and r.calculation_date = %(day)s order by loss nulls last, scenario_id limit 1
) worst on true
"""
"""`worst.scenario_id` and `loss`, USD: the lower of direct and correlated."""
