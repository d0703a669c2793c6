"""The tables that explain and report read are there.

Here: one cheap look. Not here: the words, which come from the check that every run makes (provision.py), called only where
something is missing."""

from __future__ import annotations

from typing import Any

import psycopg

from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES

NEEDED = (
    "portfolios",
    "positions",
    "market_data_cache",
    "factor_definitions",
    "symbol_factor_exposures",
    *DAY_TABLES,
    "stress_factor_shocks",
    "pairwise_correlations",
    "refresh_days",
    "refresh_exceptions",
    "refresh_marks",
    "refresh_first_days",
)


def require_tables(connection: psycopg.Connection[Any], database: Database) -> None:
    """Raises SchemaError where a table is missing; names it, and the mend."""
    row = connection.execute(
        "select count(*) from unnest(%s::text[]) t where to_regclass(t) is null", [list(NEEDED)]
    ).fetchone()
    if row and row[0]:
        from refresh_assets.store.provision import check_ours, check_platform

        check_platform(connection, database)
        check_ours(connection, database)
