"""Getting a database ready: our tables by migration, the platform's only where there are none.

Here: what `refresh-assets init` does, and the check of the platform's columns that every run makes first. Not here: the
tables' shapes (schema.py, which loads SQLAlchemy: only where tables are made), rows of a night (write.py)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import psycopg

from refresh_assets.errors import SchemaError
from refresh_assets.store.database import ENCODING, Database
from refresh_assets.store.schema_names import OPTIONAL_PLATFORM_TABLES, OWNER_MARK, PLATFORM_COLUMNS

FACTOR_NAMESPACE = uuid5(NAMESPACE_URL, "refresh-assets/factors")
# name, type, proxy, short proxy, estimation, window in calendar days, minimum of common returns: spec section 7
DEFAULT_FACTORS = (
    ("Market", "market", "SPY", None, "single", 90, 30),
    ("Interest Rate", "macro", "TLT", None, "single", 90, 30),
    ("Value", "style", "VTV", None, "joint", 90, 30),
    ("Growth", "style", "VUG", None, "joint", 90, 30),
    ("Momentum", "style", "MTUM", None, "joint", 90, 30),
    ("Quality", "style", "QUAL", None, "joint", 90, 30),
    ("Size", "style", "IWM", None, "joint", 90, 30),
    ("Low Volatility", "style", "USMV", None, "joint", 90, 30),
    ("Growth-Value Spread", "spread", "VUG", "VTV", "single", 180, 60),
    ("Momentum Spread", "spread", "MTUM", "SPY", "single", 180, 60),
    ("Size Spread", "spread", "IWM", "SPY", "single", 180, 60),
    ("Quality Spread", "spread", "QUAL", "SPY", "single", 180, 60),
)


TYPES = frozenset({"uuid", "text", "numeric", "date", "timestamptz"})
"""A platform column of one of these the night can read as nothing else; those of other types are as they come. A moment
without its time zone falls on one day or the next as the server's own zone has it: it is refused too."""
ANY_TYPE = frozenset(
    {
        "portfolios.user_id",
        "factor_definitions.factor_type",
        "positions.last_price",
        "symbol_factor_exposures.beta_value",
        "symbol_factor_exposures.r_squared",
        "symbol_onboarding.requested_at",
        "symbol_onboarding.updated_at",
        "batch_run_tracking.started_at",
    }
)
"""Never read, only written, or brought to what is needed by the query."""


@dataclass(frozen=True)
class Provision:
    """What `init` did: names of what it created, and the revisions before and after (None: no tables of ours)."""

    created_platform_tables: tuple[str, ...]
    revision_before: str | None
    revision_after: str


def init(database: Database) -> Provision:
    """Create or upgrade our tables; create the platform's where they do not exist. Safe to run again.

    Raises:
        SchemaError: a table of one of our names is not ours, or a platform table lacks a column.
    """
    with database.connect(autocommit=True) as connection:
        for schema in dict.fromkeys((database.platform_schema, database.schema)):
            if not connection.execute("select to_regnamespace(%s)", [schema]).fetchone()[0]:  # type: ignore[index]
                connection.execute(psycopg.sql.SQL("create schema {}").format(psycopg.sql.Identifier(schema)))
        _refuse_foreign_tables(connection, database)
    created = _create_platform_tables(database)
    with database.connect() as connection:
        check_platform(connection, database)
        _insert_default_factors(connection)
    before, after = _migrate(database)
    return Provision(created, before, after)


def check_platform(connection: psycopg.Connection[Any], database: Database) -> set[str]:
    """The platform's tables that are there. Raises SchemaError where one that is needed, or a column, is missing, or a
    column is of a type that cannot be read."""
    found = _columns(connection, database.platform_schema)
    missing = []
    for name, columns in PLATFORM_COLUMNS.items():
        if name not in found:
            if name not in OPTIONAL_PLATFORM_TABLES:
                missing.append(name)
            continue
        missing += [f"{name}.{column}" for column in columns if column not in found[name]]
    if missing:
        raise SchemaError(
            f"the platform's schema {database.platform_schema!r} lacks {', '.join(missing)}",
            "run `refresh-assets init`, or create views of these names and columns in the schema that"
            " REFRESH_PLATFORM_SCHEMA names",
        )
    wrong = _wrong_types(found)
    if wrong:
        raise SchemaError(
            f"the platform's schema {database.platform_schema!r} has {', '.join(wrong)}",
            "create views that cast these columns in a schema of their own, and name it in REFRESH_PLATFORM_SCHEMA",
        )
    return {name for name in PLATFORM_COLUMNS if name in found}


def check_ours(connection: psycopg.Connection[Any], database: Database) -> None:
    """Raises SchemaError where our tables are missing or of another revision than this program's."""
    found = connection.execute("select to_regclass('refresh_alembic_version')").fetchone()
    revision = None
    if found and found[0]:
        row = connection.execute("select version_num from refresh_alembic_version").fetchone()
        revision = row[0] if row else None
    if revision != head_revision():
        state = "has none of our tables" if revision is None else f"is at revision {revision}, not {head_revision()}"
        raise SchemaError(f"schema {database.schema!r} {state}", "run `refresh-assets init`")


def head_revision() -> str:
    """The newest revision that this program knows; read from file names, as Alembic is slow to import."""
    return max(file.name[1:5] for file in MIGRATIONS.glob("r*.py"))


def _columns(connection: psycopg.Connection[Any], schema: str) -> dict[str, dict[str, str]]:
    """Table -> column -> the name of its type (of a domain: of what it is made of; any text or enum: text)."""
    rows = connection.execute(
        "select c.relname, a.attname, case when t.typcategory in ('S', 'E') then 'text' else t.typname end"
        " from pg_class c join pg_attribute a on a.attrelid = c.oid join pg_type d on d.oid = a.atttypid"
        " join pg_type t on t.oid = coalesce(nullif(d.typbasetype, 0), d.oid)"
        " where c.relnamespace = to_regnamespace(%s) and c.relkind in ('r', 'p', 'v', 'm', 'f')"
        " and a.attnum > 0 and not a.attisdropped",
        [schema],
    ).fetchall()
    columns: dict[str, dict[str, str]] = {}
    for table, column, type_ in rows:
        columns.setdefault(table, {})[column] = type_
    return columns


def _wrong_types(found: dict[str, dict[str, str]]) -> list[str]:
    """Columns of a type that the night cannot read, each with what it is and what is expected."""
    wrong = []
    for name, columns in PLATFORM_COLUMNS.items():
        for column, expected in columns.items():
            has = found.get(name, {}).get(column, expected)
            if expected in TYPES and has != expected and f"{name}.{column}" not in ANY_TYPE:
                wrong.append(f"{name}.{column} as {has} (expected {expected})")
    return wrong


def _refuse_foreign_tables(connection: psycopg.Connection[Any], database: Database) -> None:
    """A table of one of our names without our mark is somebody else's."""
    from refresh_assets.store.schema import ours

    rows = connection.execute(
        "select c.relname from pg_class c where c.relnamespace = to_regnamespace(%s) and c.relname = any(%s)"
        " and coalesce(obj_description(c.oid, 'pg_class'), '') not like %s order by 1",
        [database.schema, [*ours.tables, *OUR_VIEWS], OWNER_MARK + "%"],
    ).fetchall()
    if rows:
        names = ", ".join(row[0] for row in rows)
        raise SchemaError(
            f"schema {database.schema!r} has tables of our names that we did not create: {names}",
            "set REFRESH_SCHEMA to another schema, for example refresh",
        )


MIGRATIONS = Path(__file__).with_name("migrations") / "versions"
OUR_VIEWS = ("pairwise_correlations", "stress_factor_impacts", "refresh_complete_days")


def _create_platform_tables(database: Database) -> tuple[str, ...]:
    from refresh_assets.store.schema import platform

    with database.connect() as connection:
        found = _columns(connection, database.platform_schema)
        row = connection.execute(
            "select current_user, has_schema_privilege(to_regnamespace(%s), 'create')", [database.platform_schema]
        ).fetchone()
    missing = [table for name, table in platform.tables.items() if name not in found]
    if missing and row and not row[1]:
        needed = [table.name for table in missing if table.name not in OPTIONAL_PLATFORM_TABLES]
        if needed:
            raise SchemaError(
                f"the platform's schema {database.platform_schema!r} lacks {', '.join(needed)}, and the role {row[0]!r}"
                " may not make them there",
                "run `refresh-assets init` once as a role that may, or create views of these names in it",
            )
        return ()
    if missing:
        with _engine(database, first=database.platform_schema).begin() as connection:
            platform.create_all(connection, tables=missing, checkfirst=False)
    return tuple(table.name for table in missing)


def _insert_default_factors(connection: psycopg.Connection[Any]) -> None:
    """Only into an empty table, and only where it is one (a view of the platform's is its own affair)."""
    taken = connection.execute("select exists (select from factor_definitions)").fetchone()
    if taken and taken[0]:
        return
    row = connection.execute("select current_user, has_any_column_privilege('factor_definitions', 'insert')").fetchone()
    if row and not row[1]:
        raise SchemaError(
            f"factor_definitions is empty, and the role {row[0]!r} may not fill it",
            "run `refresh-assets init` once as a role that may, or enter the factors",
        )
    rows: Iterable[tuple[object, ...]] = (
        (uuid5(FACTOR_NAMESPACE, factor[0]), *factor, order, True) for order, factor in enumerate(DEFAULT_FACTORS, 1)
    )
    connection.cursor().executemany(
        "insert into factor_definitions (id, name, factor_type, proxy, short_proxy, estimation, window_days,"
        " min_observations, display_order, is_active) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        rows,
    )


def _migrate(database: Database) -> tuple[str | None, str]:
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext

    config = Config()
    config.set_main_option("script_location", "refresh_assets.store:migrations")
    options = {"version_table": "refresh_alembic_version", "version_table_schema": database.schema}
    with _engine(database, first=database.schema).connect() as connection:
        before = MigrationContext.configure(connection, opts=options).get_current_revision()
        connection.rollback()
        config.attributes.update(connection=connection, schema=database.schema)
        command.upgrade(config, "head")
        connection.commit()
        after = MigrationContext.configure(connection, opts=options).get_current_revision()
    return before, after or ""


def _engine(database: Database, first: str) -> Any:
    """An SQLAlchemy engine whose unqualified names are created in the schema `first`."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    options = "-csearch_path=" + ",".join(dict.fromkeys((first, database.schema, database.platform_schema)))
    # psycopg opens the connection itself: no URL of it has to be written in SQLAlchemy's way.
    return create_engine(
        "postgresql+psycopg://",
        poolclass=NullPool,
        isolation_level="READ COMMITTED",
        creator=lambda: psycopg.connect(database.url, options=options, client_encoding=ENCODING),
    )
