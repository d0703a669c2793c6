"""A database that has been upgraded is the one that a fresh `init` makes, with its nights still in it.

Here: every revision up to the newest, by PostgreSQL's own catalogues. Not here: `init` beside other people's tables
(test_provision.py), single columns of a revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from refresh_assets.store.database import Database
from refresh_assets.store.partitions import ensure_partition
from refresh_assets.store.provision import head_revision, init
from refresh_assets.store.schema import ours, platform
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import DAY, execute, run

DAYS = (date(2026, 2, 27), DAY)
OLDER = [f"{number:04d}" for number in range(1, int(head_revision()))]
"""Every revision but the newest, whichever that is."""
OURS = "c.relnamespace = 'public'::regnamespace"
CATALOGUE = {
    "relations": (
        "select c.relname, c.relkind, c.relpersistence, c.relispartition, c.reloptions, c.relreplident,"
        " c.relrowsecurity, am.amname, pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),"
        " obj_description(c.oid, 'pg_class'), c.relacl::text"
        f" from pg_class c left join pg_am am on am.oid = c.relam where {OURS}"
    ),
    "columns": (
        # Their order, not their numbers: a column that was dropped leaves a gap in an old table only.
        "select c.relname, row_number() over (partition by c.oid order by a.attnum), a.attname,"
        " format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,"
        " a.attgenerated, a.attstorage, a.attcompression, a.attoptions, a.attcollation::regcollation::text,"
        " pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)"
        " from pg_class c join pg_attribute a on a.attrelid = c.oid"
        " left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum"
        f" where {OURS} and c.relkind in ('r', 'p', 'v', 'm', 'S') and a.attnum > 0 and not a.attisdropped"
    ),
    "constraints": (
        "select c.relname, k.conname, k.contype, k.condeferrable, k.convalidated, pg_get_constraintdef(k.oid)"
        f" from pg_constraint k join pg_class c on c.oid = k.conrelid where {OURS}"
    ),
    "indexes": (
        "select c.relname, pg_get_indexdef(i.indexrelid), i.indisunique, i.indisprimary, i.indisvalid, i.indisclustered"
        f" from pg_index i join pg_class c on c.oid = i.indrelid where {OURS}"
    ),
    "inheritance": (
        "select h.inhrelid::regclass::text, h.inhparent::regclass::text, h.inhseqno from pg_inherits h"
        f" join pg_class c on c.oid = h.inhrelid where {OURS}"
    ),
    "views": f"select c.relname, pg_get_viewdef(c.oid) from pg_class c where {OURS} and c.relkind in ('v', 'm')",
    "functions": (
        "select p.proname, pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc') from pg_proc p"
        " where p.pronamespace = 'public'::regnamespace and p.prokind in ('f', 'p')"
    ),
    "triggers": (
        "select c.relname, t.tgname, pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid"
        f" where {OURS} and not t.tgisinternal"
    ),
    "statistics": "select stxname, pg_get_statisticsobjdef(oid) from pg_statistic_ext",
    "types": (
        "select typname, typtype from pg_type t where typnamespace = 'public'::regnamespace and typtype <> 'c'"
        " and typelem = 0"
    ),
}
"""What pg_dump --schema-only would show: each a query, whose rows are compared as a set."""


def catalogue(database: Database) -> dict[str, list[str]]:
    """Everything of the schema, as text, sorted."""
    with database.connect() as connection:
        return {
            what: sorted(repr(row) for row in connection.execute(query.encode())) for what, query in CATALOGUE.items()
        }


def at_revision(database: Database, revision: str) -> None:
    """Our tables as that revision left them, beside the platform's."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", "refresh_assets.store:migrations")
    engine = create_engine("postgresql+psycopg://", poolclass=NullPool, creator=lambda: psycopg.connect(database.url))
    with engine.begin() as connection:
        platform.create_all(connection)
        config.attributes.update(connection=connection, schema="public")
        command.upgrade(config, revision)
    assert execute(database, "select version_num from refresh_alembic_version") == [(revision,)]


def columns_of(database: Database, table: str) -> list[str]:
    """Names in their order; none where there is no such table."""
    query = (
        "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
        " order by attnum"
    )
    return [row[0] for row in execute(database, query, table)]


def move(origin: Database, target: Database) -> None:
    """The platform and its nights into tables of an older revision: in the columns that it has."""
    with target.connect(autocommit=True) as connection:
        for table in DAY_TABLES:
            for day in DAYS:
                ensure_partition(connection, table, day)
    for table in (*platform.tables, *ours.tables):
        if columns := columns_of(target, table):
            names = SQL(", ").join(map(Identifier, columns))
            with origin.connect() as one, target.connect() as other:
                there = one.cursor().copy(SQL("copy (select {} from {}) to stdout").format(names, Identifier(table)))
                here = other.cursor().copy(SQL("copy {} ({}) from stdin").format(Identifier(table), names))
                with there as read, here as written:
                    for block in read:
                        written.write(block)


def rows_of(database: Database, columns: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The rows of some tables, in some of their columns, as text, sorted."""
    found = {}
    with database.connect() as connection:
        for table, names in columns.items():
            picked = SQL("select {} from {}").format(SQL(", ").join(map(Identifier, names)), Identifier(table))
            rows = connection.execute(SQL("select row(t.*)::text from ({}) t order by 1").format(picked))
            found[table] = [row[0] for row in rows]
    return found


@pytest.fixture
def nights(database: Database) -> Database:
    """A fresh database of the newest revision in which two nights, of two months, have run."""
    worlds.three_portfolios(database)
    run(database, *DAYS)
    worlds.update_positions(database)
    return database


@pytest.mark.parametrize("revision", OLDER)
def test_a_database_upgraded_from_any_revision_equals_a_fresh_one_and_keeps_its_nights(
    nights: Database, empty_database: Database, revision: str
) -> None:
    """Columns, defaults, constraints, indexes, partitions, views, functions, options; the rows; the bytes of a re-run."""
    upgraded = empty_database
    at_revision(upgraded, revision)
    move(nights, upgraded)
    known = {table: columns for table in (*platform.tables, *ours.tables) if (columns := columns_of(upgraded, table))}
    before = rows_of(upgraded, known)
    assert before == rows_of(nights, known)
    assert before["refresh_days"] and before["stress_test_results"] and before["refresh_exceptions"]

    done = init(upgraded)

    assert (done.revision_before, done.revision_after) == (revision, head_revision())
    assert catalogue(upgraded) == catalogue(nights)
    assert rows_of(upgraded, known) == before
    written = run(upgraded, *DAYS, run_id="after the upgrade")
    assert all(one.restatement is None for one in written.values())
    figures = {table: columns for table, columns in known.items() if table != "refresh_days"}
    assert rows_of(upgraded, figures) == rows_of(nights, figures)
    digests = {"refresh_days": ["calculation_date", "table_name", "status", "rows", "inputs_digest", "inputs"]}
    assert rows_of(upgraded, digests) == rows_of(nights, digests)


def test_the_comparison_sees_what_a_migration_may_forget(nights: Database) -> None:
    """A column's default, a check, an option of one partition, a view's text: each makes the catalogues differ."""
    fresh = catalogue(nights)
    for forgotten, undone in (
        ("alter table refresh_days alter failed set default 0", "alter table refresh_days alter failed drop default"),
        (
            "alter table refresh_days add constraint late check (rows >= 0)",
            "alter table refresh_days drop constraint late",
        ),
        (
            "alter table portfolio_snapshots_2026_03 set (fillfactor = 50)",
            "alter table portfolio_snapshots_2026_03 reset (fillfactor)",
        ),
        ("create index late on factor_exposures_2026_03 (coverage)", "drop index late"),
        ("alter view refresh_complete_days rename column portfolios to people", None),
    ):
        execute(nights, forgotten)
        assert catalogue(nights) != fresh, forgotten
        if undone is not None:
            execute(nights, undone)
            assert catalogue(nights) == fresh, undone
