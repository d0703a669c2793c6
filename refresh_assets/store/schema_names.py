"""The names of the four tables that a night fills.

Here: names alone, so that a command can print them without loading SQLAlchemy. Not here: their columns (schema.py)."""

DAY_TABLES: dict[str, str] = {
    "portfolio_snapshots": "snapshot_date",
    "correlation_calculations": "calculation_date",
    "factor_exposures": "calculation_date",
    "stress_test_results": "calculation_date",
}
"""Each with the column that holds the day."""
