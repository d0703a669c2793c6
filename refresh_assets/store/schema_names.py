"""What the tables are called: the four that a night fills, the platform's with their columns.

Here: names and types alone, so that a command can look at them without loading SQLAlchemy. Not here: the tables made of
them (schema.py), whether a database has them (provision.py)."""

from __future__ import annotations

OWNER_MARK = "refresh-assets: "
"""Every table of ours carries a comment that begins with this: how `init` tells it from one that only has its name."""

DAY_TABLES: dict[str, str] = {
    "portfolio_snapshots": "snapshot_date",
    "correlation_calculations": "calculation_date",
    "factor_exposures": "calculation_date",
    "stress_test_results": "calculation_date",
}
"""Each with the column that holds the day."""

POSITION_VALUES = "position_market_values"
"""What the night calls its update of the platform's positions."""

DAY_KEYS: dict[str, tuple[str, ...]] = {
    "portfolio_snapshots": ("portfolio_id",),
    "correlation_calculations": ("portfolio_id",),
    "factor_exposures": ("portfolio_id", "factor_id"),
    "stress_test_results": ("portfolio_id", "scenario_id"),
}
"""Each with what tells its rows of one day apart."""

PLATFORM_COLUMNS: dict[str, dict[str, str]] = {
    "portfolios": {
        "id": "uuid",
        "name": "text",
        "user_id": "uuid",
        "inception_date": "date",
        "created_at": "timestamptz",
        "deleted_at": "timestamptz",
    },
    "positions": {
        "id": "uuid",
        "portfolio_id": "uuid",
        "symbol": "text",
        "investment_class": "text",
        "quantity": "numeric",
        "entry_price": "numeric",
        "entry_date": "date",
        "exit_price": "numeric",
        "exit_date": "date",
        "market_value": "numeric",
        "last_price": "numeric",
        "last_price_date": "date",
        "deleted_at": "timestamptz",
    },
    "private_valuations": {"position_id": "uuid", "as_of": "date", "market_value": "numeric"},
    "position_realized_events": {
        "id": "uuid",
        "position_id": "uuid",
        "trade_date": "date",
        "quantity_closed": "numeric",
        "price": "numeric",
    },
    "market_data_cache": {"symbol": "text", "date": "date", "close_price": "numeric"},
    "factor_definitions": {
        "id": "uuid",
        "name": "text",
        "factor_type": "text",
        "proxy": "text",
        "short_proxy": "text",
        "estimation": "text",
        "window_days": "int4",
        "min_observations": "int4",
        "display_order": "int4",
        "is_active": "bool",
    },
    "symbol_factor_exposures": {
        "symbol": "text",
        "factor_id": "uuid",
        "calculation_date": "date",
        "beta_value": "numeric",
        "r_squared": "numeric",
        "observations": "int4",
        "quality_flag": "text",
        "calculation_method": "text",
    },
    "symbol_onboarding": {
        "symbol": "text",
        "status": "text",
        "requested_at": "timestamptz",
        "updated_at": "timestamptz",
    },
    "batch_run_tracking": {
        "batch_type": "text",
        "target_date": "date",
        "status": "text",
        "started_at": "timestamptz",
        "completed_at": "timestamptz",
        "error_message": "text",
        "metrics": "jsonb",
    },
}
"""Each with its columns and their types, as PostgreSQL calls them; in the order in which `init` makes them."""

OPTIONAL_PLATFORM_TABLES = frozenset({"private_valuations", "position_realized_events"})
"""May be absent: then nothing is valued by date, and nothing was ever partly sold."""
