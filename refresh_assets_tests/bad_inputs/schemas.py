"""Databases that are not as they should be, and the refusal.

Here: statements that spoil a good one, and the line after `refresh-assets: `. Not here: what `init` makes of them
(store/test_provision.py)."""

from __future__ import annotations

from refresh_assets_tests.bad_inputs.cases import Refused

LACKS = "the platform's schema 'public' lacks"
HAS = "the platform's schema 'public' has"
VIEWS = (
    "Mend: run `refresh-assets init`, or create views of these names and columns in the schema that"
    " REFRESH_PLATFORM_SCHEMA names."
)
CAST = "Mend: create views that cast these columns in a schema of their own, and name it in REFRESH_PLATFORM_SCHEMA."


def retyped(column: str, type_: str, has: str, expected: str) -> Refused:
    """A column of another type."""
    table, _, name = column.partition(".")
    statement = f"alter table {table} alter {name} type {type_} using null"
    return Refused(f"schema: {column} is {has}", [statement], f"{HAS} {column} as {has} (expected {expected}). {CAST}")


SCHEMAS = [
    Refused("schema: a table is missing", ["drop table market_data_cache"], f"{LACKS} market_data_cache. {VIEWS}"),
    Refused(
        "schema: columns are missing",
        ["alter table positions drop quantity", "alter table portfolios rename deleted_at to gone_at"],
        f"{LACKS} portfolios.deleted_at, positions.quantity. {VIEWS}",
    ),
    Refused(
        "schema: a view lacks a column",
        [
            "alter table positions rename to lots",
            "create view positions as select id, portfolio_id, symbol, investment_class, quantity, entry_price, entry_date,"
            " exit_price, exit_date, market_value, last_price, last_price_date from lots",
        ],
        f"{LACKS} positions.deleted_at. {VIEWS}",
    ),
    retyped("positions.quantity", "text", "text", "numeric"),
    retyped("positions.entry_price", "float8", "float8", "numeric"),
    retyped("positions.entry_date", "timestamptz", "timestamptz", "date"),
    retyped("positions.portfolio_id", "text", "text", "uuid"),
    retyped("market_data_cache.close_price", "int8", "int8", "numeric"),
    retyped("portfolios.created_at", "text", "text", "timestamptz"),
    retyped("portfolios.deleted_at", "date", "date", "timestamptz"),
    retyped("positions.deleted_at", "timestamp", "timestamp", "timestamptz"),
    retyped("batch_run_tracking.completed_at", "text", "text", "timestamptz"),
    Refused(
        "schema: none of our tables",
        ["drop table refresh_alembic_version"],
        "schema 'public' has none of our tables. Mend: run `refresh-assets init`.",
    ),
    Refused(
        "schema: of another revision",
        ["update refresh_alembic_version set version_num = '9999'"],
        "schema 'public' is at revision 9999, not {head}. Mend: run `refresh-assets init`.",
    ),
]
