"""The tables: the platform's, which we read, and ours, which the night writes.

Here: names, columns, types, keys, and the comment that marks a table as ours. Not here: how a database gets them
(migrations/ and provision.py), views (migrations/), what the columns mean in full (docs and the comments below).

All SQL of this package names tables without a schema; a connection's search_path (store/database.py) finds them."""

from __future__ import annotations

from sqlalchemy import (
    ARRAY,
    REAL,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

OWNER_MARK = "refresh-assets: "
"""Every table of ours carries a comment that begins with this: how `init` tells it from one that only has its name."""

platform = MetaData()
ours = MetaData()

MOMENT = DateTime(timezone=True)
MONEY = Numeric(20, 2)

portfolios = Table(
    "portfolios",
    platform,
    Column("id", Uuid, primary_key=True),
    Column("name", Text),
    Column("user_id", Uuid),
    Column("inception_date", Date),
    Column("created_at", MOMENT),
    Column("deleted_at", MOMENT),
)
positions = Table(
    "positions",
    platform,
    Column("id", Uuid, primary_key=True),
    Column("portfolio_id", Uuid, index=True),
    Column("symbol", Text),
    Column("investment_class", Text),
    Column("quantity", Numeric),
    Column("entry_price", Numeric),
    Column("entry_date", Date),
    Column("exit_price", Numeric),
    Column("exit_date", Date),
    Column("market_value", Numeric),
    Column("last_price", Numeric),
    Column("last_price_date", Date),
    Column("deleted_at", MOMENT),
    # Half-empty pages keep the nightly update of market values HOT: no index is touched.
    postgresql_with={"fillfactor": 50},
)
private_valuations = Table(
    "private_valuations",
    platform,
    Column("position_id", Uuid),
    Column("as_of", Date),
    Column("market_value", Numeric),
    PrimaryKeyConstraint("position_id", "as_of"),
)
position_realized_events = Table(
    "position_realized_events",
    platform,
    Column("id", Uuid, primary_key=True),
    Column("position_id", Uuid, index=True),
    Column("trade_date", Date),
    Column("quantity_closed", Numeric),
    Column("price", Numeric),
)
market_data_cache = Table(
    "market_data_cache",
    platform,
    Column("symbol", Text),
    Column("date", Date),
    Column("close_price", Numeric),
    UniqueConstraint("symbol", "date"),
    Index(None, "date"),
)
factor_definitions = Table(
    "factor_definitions",
    platform,
    Column("id", Uuid, primary_key=True),
    Column("name", Text, unique=True),
    Column("factor_type", Text),
    Column("proxy", Text),
    Column("short_proxy", Text),
    Column("estimation", Text),
    Column("window_days", Integer),
    Column("min_observations", Integer),
    Column("display_order", Integer),
    Column("is_active", Boolean),
)
symbol_factor_exposures = Table(
    "symbol_factor_exposures",
    platform,
    Column("symbol", Text),
    Column("factor_id", Uuid),
    Column("calculation_date", Date),
    Column("beta_value", Numeric),
    Column("r_squared", Numeric),
    Column("observations", Integer),
    Column("quality_flag", Text),
    Column("calculation_method", Text),
    UniqueConstraint("symbol", "factor_id", "calculation_date"),
    Index(None, "calculation_date"),
)
symbol_onboarding = Table(
    "symbol_onboarding",
    platform,
    Column("symbol", Text, primary_key=True),
    Column("status", Text),
    Column("requested_at", MOMENT),
    Column("updated_at", MOMENT),
)
batch_run_tracking = Table(
    "batch_run_tracking",
    platform,
    Column("batch_type", Text),
    Column("target_date", Date),
    Column("status", Text),
    Column("started_at", MOMENT),
    Column("completed_at", MOMENT),
    Column("error_message", Text),
    Column("metrics", JSONB),
    PrimaryKeyConstraint("batch_type", "target_date"),
)

OPTIONAL_PLATFORM_TABLES = frozenset({"private_valuations", "position_realized_events"})
"""May be absent: then nothing is valued by date, and nothing was ever partly sold."""


def _by_month(name: str, day: str, *columns: Column[object], key: tuple[str, ...], comment: str) -> Table:
    """A table of ours with one partition a month of `day`, primary key (day, *key)."""
    return Table(
        name,
        ours,
        Column(day, Date, nullable=False),
        *columns,
        PrimaryKeyConstraint(day, *key),
        comment=OWNER_MARK + comment,
        postgresql_partition_by=f"RANGE ({day})",
    )


portfolio_snapshots = _by_month(
    "portfolio_snapshots",
    "snapshot_date",
    Column("portfolio_id", Uuid, nullable=False),
    Column("total_value", MONEY, nullable=False),
    Column("total_cost", MONEY, nullable=False),
    Column("total_pnl", MONEY, nullable=False),
    Column("pnl_percent", Double),
    Column("long_value", MONEY, nullable=False),
    Column("short_value", MONEY, nullable=False),
    Column("gross_exposure", MONEY, nullable=False),
    Column("net_exposure", MONEY, nullable=False),
    Column("daily_pnl", MONEY, nullable=False),
    Column("daily_return", Double),
    Column("position_count", Integer, nullable=False),
    Column("positions_valued", Integer, nullable=False),
    Column("positions_unpriced", Integer, nullable=False),
    Column("pnl_legs_missing", Integer, nullable=False),
    Column("is_partial", Boolean, nullable=False),
    key=("portfolio_id",),
    comment="value, cost, P&L and exposure of each portfolio on each day, USD; one row a portfolio and day",
)
correlation_calculations = _by_month(
    "correlation_calculations",
    "calculation_date",
    Column("portfolio_id", Uuid, nullable=False),
    Column("symbols", ARRAY(Text), nullable=False),
    Column("correlations", ARRAY(REAL), nullable=False),
    Column("data_points", ARRAY(SmallInteger), nullable=False),
    Column("overall_correlation", Double),
    Column("weighted_correlation", Double),
    Column("effective_positions", Double),
    Column("correlation_concentration_score", Double),
    Column("data_quality", Text, nullable=False),
    Column("positions_included", Integer, nullable=False),
    Column("positions_excluded", Integer, nullable=False),
    Column("duration_days", Integer, nullable=False),
    key=("portfolio_id",),
    comment="correlations of log returns inside each portfolio; the pairs are an upper triangle, row by row",
)
factor_exposures = _by_month(
    "factor_exposures",
    "calculation_date",
    Column("portfolio_id", Uuid, nullable=False),
    Column("factor_id", Uuid, nullable=False),
    Column("exposure_value", Double),
    Column("exposure_dollar", Double),
    Column("coverage", Double, nullable=False),
    key=("portfolio_id", "factor_id"),
    comment="exposure of each portfolio to each active factor, USD and fraction of PUBLIC gross; null is unknown",
)
stress_test_results = _by_month(
    "stress_test_results",
    "calculation_date",
    Column("portfolio_id", Uuid, nullable=False),
    Column("scenario_id", Text, nullable=False),
    Column("direct_pnl", Double),
    Column("correlated_pnl", Double),
    Column("correlation_effect", Double),
    Column("is_capped", Boolean, nullable=False),
    key=("portfolio_id", "scenario_id"),
    comment="P&L of each portfolio under each scenario, USD; null is unknown",
)
stress_factor_shocks = Table(
    "stress_factor_shocks",
    ours,
    Column("calculation_date", Date, nullable=False),
    Column("scenario_id", Text, nullable=False),
    Column("factor_id", Uuid, nullable=False),
    Column("shock", Double),
    Column("expected_move", Double),
    Column("is_joint", Boolean, nullable=False),
    PrimaryKeyConstraint("calculation_date", "scenario_id", "factor_id"),
    comment=OWNER_MARK + "what each scenario did to each factor on the day, fraction of return",
)
refresh_exceptions = Table(
    "refresh_exceptions",
    ours,
    Column("calculation_date", Date, nullable=False),
    Column("asset", Text, nullable=False),
    Column("portfolio_id", Uuid),
    Column("position_id", Uuid),
    Column("symbol", Text),
    Column("code", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Index("refresh_exceptions_by_day", "calculation_date", "asset"),
    comment=OWNER_MARK + "everything that was left out, skipped or failed, by name",
)
refresh_days = Table(
    "refresh_days",
    ours,
    Column("calculation_date", Date, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("portfolios", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("exceptions", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("accounted", BigInteger, nullable=False),
    Column("inputs_digest", Text, nullable=False),
    Column("inputs", JSONB, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("finished_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("calculation_date", "table_name"),
    comment=OWNER_MARK + "which day of which table is there, from which inputs; same transaction as its rows",
)
refresh_marks = Table(
    "refresh_marks",
    ours,
    Column("calculation_date", Date, nullable=False),
    Column("symbol", Text, nullable=False),
    Column("close_price", Numeric, nullable=False),
    PrimaryKeyConstraint("calculation_date", "symbol"),
    comment=OWNER_MARK + "the closes that the day used, as they were then",
)
refresh_restatements = Table(
    "refresh_restatements",
    ours,
    Column("calculation_date", Date, nullable=False),
    Column("table_name", Text, nullable=False),
    Column("restated_at", MOMENT, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("rows_changed", BigInteger, nullable=False),
    Column("portfolios_changed", Integer, nullable=False),
    Column("largest_change", Double),
    Column("largest_change_column", Text),
    Column("largest_change_portfolio", Uuid),
    Column("old_value", Double),
    Column("new_value", Double),
    Column("old_digest", Text, nullable=False),
    Column("new_digest", Text, nullable=False),
    Column("inputs_changed", ARRAY(Text), nullable=False),
    Column("prices_changed", JSONB),
    Index("refresh_restatements_by_day", "calculation_date", "table_name"),
    comment=OWNER_MARK + "what a recomputed day changed against what stood there before",
)
refresh_alerts = Table(
    "refresh_alerts",
    ours,
    Column("kind", Text, nullable=False),
    Column("day", Date),
    Column("raised_at", MOMENT, nullable=False),
    Column("words", Text, nullable=False),
    Column("delivered_at", MOMENT),
    Column("attempts", Integer, nullable=False),
    Column("next_try_at", MOMENT, nullable=False),
    Column("last_error", Text),
    UniqueConstraint("kind", "day", name="refresh_alerts_once", postgresql_nulls_not_distinct=True),
    comment=OWNER_MARK + "what a person was, or is still to be, woken for; each kind once a day",
)
refresh_first_days = Table(
    "refresh_first_days",
    ours,
    Column("portfolio_id", Uuid, nullable=False),
    Column("first_day", Date, nullable=False),
    Column("granted_at", MOMENT, nullable=False),
    PrimaryKeyConstraint("portfolio_id"),
    comment=OWNER_MARK + "the day before its creation from which an onboarded portfolio exists for the night",
)
