"""What a database role needs to run the night, and nothing beyond it.

Here: the platform's columns that are read and written, and the statements that give a role those, schemas of its own, and
our tables. Not here: carrying them out (a person pipes them to psql), the connection (database.py).

Month partitions are made while the night runs, and PostgreSQL lets only the owner of a table attach one: so the role owns
our tables, and the schemas that they and Dagster's storage live in. Of the platform it owns nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from refresh_assets.errors import UsageError
from refresh_assets.settings import DAGSTER_SCHEMA
from refresh_assets.store.database import Database
from refresh_assets.store.provision import OUR_VIEWS, check_platform
from refresh_assets.store.schema_names import OWNER_MARK

_BETA = ("symbol", "factor_id", "calculation_date", "beta_value", "calculation_method")

EXPLAINED = ("r_squared", "observations", "quality_flag")
"""Columns of a beta that `explain` shows; the night itself only writes them."""

READ: dict[str, tuple[str, ...]] = {
    "portfolios": ("id", "name", "inception_date", "created_at", "deleted_at"),
    "positions": (
        *("id", "portfolio_id", "symbol", "investment_class", "quantity", "entry_price", "entry_date", "exit_price"),
        *("exit_date", "market_value", "last_price", "last_price_date", "deleted_at"),
    ),
    "private_valuations": ("position_id", "as_of", "market_value"),
    "position_realized_events": ("id", "position_id", "trade_date", "quantity_closed", "price"),
    "market_data_cache": ("symbol", "date", "close_price"),
    "factor_definitions": (
        *("id", "name", "proxy", "short_proxy", "estimation", "window_days", "min_observations", "display_order"),
        "is_active",
    ),
    "symbol_factor_exposures": (*_BETA, *EXPLAINED),
    "symbol_onboarding": ("symbol", "status"),
    "batch_run_tracking": ("batch_type", "target_date", "status", "started_at", "completed_at", "error_message"),
}
"""The platform's columns that the night reads; portfolios.user_id and factor_definitions.factor_type are not among them."""

QUICKER = {"positions": ("xmin", "ctid")}
"""Which transaction wrote a row: where it may be asked, the gate reads only what was written since it last read all. And where
it lies: then a large platform's positions are read in that order. A view has neither."""

_TRACKED = ("status", "started_at", "completed_at", "error_message")
WRITTEN: dict[str, dict[str, tuple[str, ...]]] = {
    "positions": {"update": ("market_value", "last_price", "last_price_date")},
    "symbol_factor_exposures": {"insert": (*_BETA, *EXPLAINED), "delete": ()},
    "batch_run_tracking": {
        "insert": ("batch_type", "target_date", *_TRACKED, "metrics"),
        "update": (*_TRACKED, "metrics"),
    },
}
"""What the night writes of the platform's tables; PostgreSQL knows no DELETE of some columns, so that is of the table."""


def grant_statements(database: Database, role: str) -> list[str]:
    """SQL that lets a role run `init` and every night, as the database stands now; for an owner to carry out.

    Run again after it was carried out, it gives what is lacking then and all grants once more: they do no harm twice.

    Raises:
        UsageError: there is no such role.
        SchemaError: a platform table that is needed, or a column, is missing.
    """
    with database.connect() as connection:
        row = connection.execute("select current_database() from pg_roles where rolname = %s", [role]).fetchone()
        if row is None:
            raise UsageError(
                f"there is no role {role!r} in the database's server",
                "create it first, for example CREATE ROLE .. LOGIN",
            )
        there = check_platform(connection, database)
        name = Identifier(role)
        statements = [
            # Temporary tables hold a recomputed day while it is compared with the one that stands.
            SQL("grant connect, temporary on database {} to {}").format(Identifier(row[0]), name),
            *(_schema(connection, schema, role) for schema in (database.schema, DAGSTER_SCHEMA)),
        ]
        if database.platform_schema != database.schema:
            statements.append(SQL("grant usage on schema {} to {}").format(Identifier(database.platform_schema), name))
        statements += [one for table in READ if table in there for one in _platform(database, table, name)]
        statements += [one for table in QUICKER for one in _quicker(connection, database, table, name)]
        statements += _ownership(connection, database, role)
        return [one.as_string(connection) + ";" for one in statements]


def _schema(connection: psycopg.Connection[Any], schema: str, role: str) -> Composed:
    """A schema of the role's own; in one that is there already it may make tables."""
    row = connection.execute("select to_regnamespace(quote_ident(%s)) is not null", [schema]).fetchone()
    if row and row[0]:
        return SQL("grant usage, create on schema {} to {}").format(Identifier(schema), Identifier(role))
    return SQL("create schema if not exists {} authorization {}").format(Identifier(schema), Identifier(role))


def _platform(database: Database, table: str, role: Identifier) -> Iterator[Composed]:
    wanted = {"select": READ[table], **WRITTEN.get(table, {})}
    for right, columns in wanted.items():
        some = SQL(" ({})").format(SQL(", ").join(map(Identifier, columns))) if columns else SQL("")
        yield SQL("grant {}{} on {} to {}").format(SQL(right), some, Identifier(database.platform_schema, table), role)


def _quicker(
    connection: psycopg.Connection[Any], database: Database, table: str, role: Identifier
) -> Iterator[Composed]:
    row = connection.execute(
        "select count(*) from pg_attribute where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text))"
        " and attname = any(%s)",
        [database.platform_schema, table, list(QUICKER[table])],
    ).fetchone()
    if row and row[0] == len(QUICKER[table]):
        where, columns = Identifier(database.platform_schema, table), map(Identifier, QUICKER[table])
        yield SQL("grant select ({}) on {} to {}").format(SQL(", ").join(columns), where, role)


def _ownership(connection: psycopg.Connection[Any], database: Database, role: str) -> Sequence[Composed]:
    """What `init` or Dagster made as somebody else is handed over: tables with their partitions, views, our function."""
    rows = connection.execute(
        "select n.nspname, c.relname, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relkind in ('r', 'p', 'v') and pg_get_userbyid(c.relowner) <> %(role)s and (n.nspname = %(dagster)s"
        " or n.nspname = %(ours)s and (c.relname = any(%(views)s) or c.relname = 'refresh_alembic_version'"
        " or obj_description(c.oid, 'pg_class') like %(mark)s)) order by n.nspname <> %(ours)s, c.relname",
        {
            "role": role,
            "dagster": DAGSTER_SCHEMA,
            "ours": database.schema,
            "views": list(OUR_VIEWS),
            "mark": OWNER_MARK + "%",
        },
    ).fetchall()
    statements = [
        SQL("alter {} {} owner to {}").format(
            SQL("view" if kind == "v" else "table"), Identifier(schema, name), Identifier(role)
        )
        for schema, name, kind in rows
    ]
    function = connection.execute(
        "select exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = %s"
        " and p.proname = 'correlation_p_value' and pg_get_userbyid(p.proowner) <> %s)",
        [database.schema, role],
    ).fetchone()
    if function and function[0]:
        whole = SQL("alter function {}(double precision, integer) owner to {}")
        statements.append(whole.format(Identifier(database.schema, "correlation_p_value"), Identifier(role)))
    return statements
