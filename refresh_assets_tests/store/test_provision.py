"""Getting a database ready, twice, beside other people's tables, and over a platform's views.

Here: init and the check of the platform's columns. Not here: the command line's words (cli/)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine
from sqlalchemy.pool import NullPool

from refresh_assets.errors import SchemaError
from refresh_assets.store.database import Database
from refresh_assets.store.provision import DEFAULT_FACTORS, check_ours, check_platform, head_revision, init
from refresh_assets.store.schema import ours, platform
from refresh_assets.store.schema_names import OPTIONAL_PLATFORM_TABLES
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import execute, insert, run, table_rows

VIEWS = ("pairwise_correlations", "refresh_complete_days", "stress_factor_impacts")
RELATIONS = (
    "select n.nspname || '.' || c.relname, c.relkind, c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname not like 'pg_%%' and n.nspname <> 'information_schema' order by 1"
)


def relations(database: Database) -> list[tuple[Any, ...]]:
    """Name, kind and identity of everything in the database."""
    return execute(database, RELATIONS.replace("%%", "%"))


def described(database: Database, schema: str, metadata: MetaData) -> dict[str, object]:
    """Columns (name, type, nullability) in their order, key and comment of tables, as PostgreSQL has them."""
    found: dict[str, object] = {}
    with database.connect() as connection:
        for name in metadata.tables:
            columns = connection.execute(
                "select attname, format_type(atttypid, atttypmod), attnotnull from pg_attribute"
                " where attrelid = %s::regclass and attnum > 0 order by attnum",
                [f"{schema}.{name}"],
            ).fetchall()
            constraints = connection.execute(
                "select contype, pg_get_constraintdef(oid) from pg_constraint where conrelid = %s::regclass"
                " and contype in ('p', 'u', 'f', 'c') order by 1, 2",
                [f"{schema}.{name}"],
            ).fetchall()
            about = connection.execute(
                "select obj_description(c.oid, 'pg_class'), c.relkind, c.reloptions, pg_get_partkeydef(c.oid),"
                " (select array_agg(replace(pg_get_indexdef(indexrelid), %s, '') order by 1) from pg_index"
                "  where indrelid = c.oid) from pg_class c where c.oid = %s::regclass",
                [f"{schema}.", f"{schema}.{name}"],
            ).fetchall()
            found[name] = (columns, constraints, about)
    return found


def test_init_creates_everything_in_an_empty_database(empty_database: Database) -> None:
    """The platform's tables, ours, the views; it says what it did."""
    done = init(empty_database)
    assert set(done.created_platform_tables) == set(platform.tables)
    assert (done.revision_before, done.revision_after) == (None, head_revision())
    with empty_database.connect() as connection:
        check_ours(connection, empty_database)
        assert check_platform(connection, empty_database) == set(platform.tables)
    for view in VIEWS:
        assert execute(empty_database, f"select * from {view}") == []


def test_init_twice_changes_nothing(empty_database: Database) -> None:
    """No relation is made anew, no factor inserted again."""
    init(empty_database)
    before = relations(empty_database), execute(empty_database, "select * from factor_definitions order by 1")
    done = init(empty_database)
    assert done.created_platform_tables == ()
    assert (done.revision_before, done.revision_after) == (head_revision(), head_revision())
    assert (relations(empty_database), execute(empty_database, "select * from factor_definitions order by 1")) == before


def test_a_database_with_nights_in_it_survives_another_init(database: Database) -> None:
    """Rows and partitions stay."""
    worlds.three_portfolios(database)
    run(database)
    rows = table_rows(database, "portfolio_snapshots")
    init(database)
    assert table_rows(database, "portfolio_snapshots") == rows


def test_migrations_end_at_the_tables_that_the_program_knows(database: Database) -> None:
    """Columns, types, nullability, keys, indexes, partitioning and comments are those of schema.py."""
    execute(database, "create schema metadata")
    engine = create_engine("postgresql+psycopg://", poolclass=NullPool, creator=lambda: _connect(database, "metadata"))
    ours.create_all(engine)
    assert described(database, "public", ours) == described(database, "metadata", ours)


def _connect(database: Database, schema: str) -> Any:
    import psycopg

    return psycopg.connect(database.url, options=f"-csearch_path={schema}")


def test_platform_tables_with_more_columns_than_we_know_are_taken_as_they_are(empty_database: Database) -> None:
    """Nothing of the platform is altered, and a night works over it."""
    with create_engine(
        "postgresql+psycopg://", poolclass=NullPool, creator=lambda: _connect(empty_database, "public")
    ).begin() as connection:
        platform.create_all(connection)
    for name in platform.tables:
        execute(empty_database, f"alter table {name} add column owner_note text default 'x', add column sector int")
    execute(empty_database, "alter table positions reset (fillfactor)")
    before = described(empty_database, "public", platform)
    done = init(empty_database)
    assert done.created_platform_tables == ()
    assert described(empty_database, "public", platform) == before
    worlds.three_portfolios(empty_database)
    assert run(empty_database)["portfolio_snapshots"].portfolios == 3
    worlds.update_positions(empty_database)
    assert described(empty_database, "public", platform) == before


@pytest.mark.parametrize("kind", ["table", "view"])
def test_a_table_of_our_name_that_is_not_ours_is_refused_before_anything_is_created(
    empty_database: Database, kind: str
) -> None:
    """It is named, another schema is proposed, and the database is as it was."""
    execute(empty_database, "create table portfolio_snapshots (id int primary key, total_value numeric)")
    execute(empty_database, "insert into portfolio_snapshots values (1, 5)")
    if kind == "table":
        execute(empty_database, "create table stress_factor_impacts (id int)")
    else:
        execute(empty_database, "create view stress_factor_impacts as select 1 as id")
    before = relations(empty_database)
    with pytest.raises(SchemaError) as refused:
        init(empty_database)
    assert str(refused.value) == (
        "schema 'public' has tables of our names that we did not create: portfolio_snapshots, stress_factor_impacts."
        " Mend: set REFRESH_SCHEMA to another schema, for example refresh."
    )
    assert refused.value.exit_code == 2
    assert relations(empty_database) == before
    assert execute(empty_database, "select * from portfolio_snapshots") == [(1, 5)]


def test_another_schema_works_beside_a_table_of_our_name(empty_database: Database) -> None:
    """The platform's own portfolio_snapshots stays; the night writes into ours, and the views read ours."""
    execute(empty_database, "create table portfolio_snapshots (id int primary key, total_value numeric)")
    database = Database(empty_database.url, schema="refresh")
    init(database)
    worlds.three_portfolios(database)
    run(database)
    assert len(table_rows(database, "portfolio_snapshots")) == 3
    assert execute(empty_database, "select count(*) from portfolio_snapshots") == [(0,)]
    schemas = execute(
        database,
        "select distinct n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where c.relname ~ '^(portfolio_snapshots_2|stress_test|refresh_|factor_exposures|pairwise)'",
    )
    assert schemas == [("refresh",)]
    assert execute(database, "select count(*) from pairwise_correlations") == [(4,)]
    assert execute(empty_database, "select count(*) from refresh.pairwise_correlations") == [(4,)]
    assert execute(empty_database, "select count(*) from refresh.refresh_complete_days") == [(1,)]
    assert execute(empty_database, "select count(*) > 0 from refresh.stress_factor_impacts") == [(True,)]


def test_a_missing_column_of_the_platform_is_named_with_its_mend(database: Database) -> None:
    """All that is missing at once: columns, and a table that is needed; init and a run say the same."""
    execute(database, "alter table positions drop column exit_date")
    execute(database, "alter table market_data_cache rename column close_price to close")
    execute(database, "drop table symbol_onboarding")
    text = (
        "the platform's schema 'public' lacks positions.exit_date, market_data_cache.close_price{}. Mend: run"
        " `refresh-assets init`, or create views of these names and columns in the schema that"
        " REFRESH_PLATFORM_SCHEMA names."
    )
    with pytest.raises(SchemaError) as refused:
        run(database)
    assert str(refused.value) == text.format(", symbol_onboarding")
    with pytest.raises(SchemaError) as refused:
        init(database)
    assert str(refused.value) == text.format("")


@pytest.mark.parametrize("table", sorted(OPTIONAL_PLATFORM_TABLES))
def test_a_table_that_may_be_absent_may_be_absent_in_a_night(database: Database, table: str) -> None:
    """Without dated valuations or sales a whole night is written, market values included."""
    worlds.three_portfolios(database)
    execute(database, f"drop table {table}")
    assert run(database)["stress_test_results"].portfolios == 3
    assert worlds.update_positions(database) == {"positions_updated": 7}
    assert len(execute(database, "select * from refresh_complete_days")) == 1


def test_a_run_before_init_says_so(empty_database: Database) -> None:
    """Both where nothing is there and where the tables are of another revision."""
    with empty_database.connect() as connection, pytest.raises(SchemaError) as refused:
        check_ours(connection, empty_database)
    assert str(refused.value) == "schema 'public' has none of our tables. Mend: run `refresh-assets init`."
    init(empty_database)
    execute(empty_database, "update refresh_alembic_version set version_num = '0000'")
    with empty_database.connect() as connection, pytest.raises(SchemaError) as refused:
        check_ours(connection, empty_database)
    head = head_revision()
    assert str(refused.value) == f"schema 'public' is at revision 0000, not {head}. Mend: run `refresh-assets init`."


def test_default_factors_go_only_into_an_empty_table(empty_database: Database) -> None:
    """Twelve, in the order of the spec, into an empty one; a platform's own set is never added to."""
    init(empty_database)
    rows = execute(
        empty_database,
        "select name, factor_type, proxy, short_proxy, estimation, window_days, min_observations, display_order, is_active"
        " from factor_definitions order by display_order",
    )
    assert rows == [(*factor, order, True) for order, factor in enumerate(DEFAULT_FACTORS, 1)]
    assert len(rows) == 12
    execute(empty_database, "delete from factor_definitions where name <> 'Market'")
    init(empty_database)
    assert execute(empty_database, "select name from factor_definitions") == [("Market",)]


def test_a_night_works_over_views_of_a_platform_whose_tables_have_other_names(database: Database) -> None:
    """REFRESH_PLATFORM_SCHEMA names a schema of views, ours is another; the rows are those of a plain platform."""
    worlds.three_portfolios(database)
    run(database)
    execute(database, "create schema bank")
    execute(database, "create schema seen")
    for name, table in platform.tables.items():
        execute(database, f"alter table {name} set schema bank")
        execute(database, f"alter table bank.{name} rename to t_{name}")
        renamed = []
        for column in table.columns:
            execute(database, f'alter table bank.t_{name} rename column "{column.name}" to "c_{column.name}"')
            renamed.append(f'"c_{column.name}" as "{column.name}"')
        execute(database, f"create view seen.{name} as select {', '.join(renamed)} from bank.t_{name}")
    views = Database(database.url, schema="risk", platform_schema="seen")
    done = init(views)
    assert done.created_platform_tables == ()
    written = run(views)
    assert written["portfolio_snapshots"].portfolios == 3
    for ours_ in worlds.WRITERS:
        assert table_rows(views, ours_) == table_rows(database, ours_)
    assert worlds.update_positions(views) == {"positions_updated": 7}
    assert execute(database, "select count(c_market_value) from bank.t_positions") == [(7,)]
    assert execute(views, "select count(*) from stress_factor_impacts")[0][0] > 0
    insert(views, "portfolios", worlds.portfolio(9))
    assert execute(database, "select count(*) from bank.t_portfolios") == [(4,)]
