"""The tables: the platform's, which we read, and ours, which the night writes.

Here: columns, types, keys, and the comment that marks a table as ours. Not here: the names that are needed without
SQLAlchemy, and the platform's columns (schema_names.py), how a database gets the tables (migrations/ and provision.py), views
(migrations/), what the columns mean in full (docs and the comments below).

All SQL of this package names tables without a schema; a connection's search_path (store/database.py) finds them."""

from __future__ import annotations

from typing import Any

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
    LargeBinary,
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
from sqlalchemy.schema import SchemaItem

from refresh_assets.store.schema_names import DAY_KEYS, DAY_TABLES, OWNER_MARK, PLATFORM_COLUMNS

platform = MetaData()
ours = MetaData()

MOMENT = DateTime(timezone=True)
MONEY = Numeric(20, 2)

TYPES: dict[str, Any] = {
    "uuid": Uuid,
    "text": Text,
    "numeric": Numeric,
    "date": Date,
    "timestamptz": MOMENT,
    "int4": Integer,
    "bool": Boolean,
    "jsonb": JSONB,
}


def _of_platform(name: str, *constraints: SchemaItem, **options: Any) -> Table:
    """A table of the platform, with the columns that schema_names.py says."""
    columns = (Column(column, TYPES[type_]) for column, type_ in PLATFORM_COLUMNS[name].items())
    return Table(name, platform, *columns, *constraints, **options)


portfolios = _of_platform("portfolios", PrimaryKeyConstraint("id"))
# Half-empty pages keep the nightly update of market values HOT: no index is touched.
positions = _of_platform(
    "positions", PrimaryKeyConstraint("id"), Index(None, "portfolio_id"), postgresql_with={"fillfactor": 50}
)
private_valuations = _of_platform("private_valuations", PrimaryKeyConstraint("position_id", "as_of"))
position_realized_events = _of_platform(
    "position_realized_events", PrimaryKeyConstraint("id"), Index(None, "position_id")
)
market_data_cache = _of_platform("market_data_cache", UniqueConstraint("symbol", "date"), Index(None, "date"))
factor_definitions = _of_platform("factor_definitions", PrimaryKeyConstraint("id"), UniqueConstraint("name"))
symbol_factor_exposures = _of_platform(
    "symbol_factor_exposures",
    UniqueConstraint("symbol", "factor_id", "calculation_date"),
    Index(None, "calculation_date"),
)
symbol_onboarding = _of_platform("symbol_onboarding", PrimaryKeyConstraint("symbol"))
batch_run_tracking = _of_platform("batch_run_tracking", PrimaryKeyConstraint("batch_type", "target_date"))


def _by_month(name: str, *columns: Column[object], comment: str) -> Table:
    """A table of ours with one partition a month of its day, primary key that day and its key."""
    day, key = DAY_TABLES[name], DAY_KEYS[name]
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
    comment="value, cost, P&L and exposure of each portfolio on each day, USD; one row a portfolio and day",
)
correlation_calculations = _by_month(
    "correlation_calculations",
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
    comment="correlations of log returns inside each portfolio; the pairs are an upper triangle, row by row",
)
factor_exposures = _by_month(
    "factor_exposures",
    Column("portfolio_id", Uuid, nullable=False),
    Column("factor_id", Uuid, nullable=False),
    Column("exposure_value", Double),
    Column("exposure_dollar", Double),
    Column("coverage", Double, nullable=False),
    comment="exposure of each portfolio to each active factor, USD and fraction of PUBLIC gross; null is unknown",
)
stress_test_results = _by_month(
    "stress_test_results",
    Column("portfolio_id", Uuid, nullable=False),
    Column("scenario_id", Text, nullable=False),
    Column("direct_pnl", Double),
    Column("correlated_pnl", Double),
    Column("correlation_effect", Double),
    Column("is_capped", Boolean, nullable=False),
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
refresh_gate_memory = Table(
    "refresh_gate_memory",
    ours,
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("content", ARRAY(LargeBinary), nullable=False),
    PrimaryKeyConstraint("kind"),
    prefixes=["UNLOGGED"],
    comment=OWNER_MARK
    + "what the gate's last look read, so that the next reads only what was written since; may be emptied",
)
