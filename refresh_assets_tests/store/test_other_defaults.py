"""A database or a role with other defaults than PostgreSQL's own: nothing that is computed may differ.

Here: encodings, isolation, what a backslash is. Not here: columns of other types (test_other_types.py)."""

from __future__ import annotations

from datetime import date

import pytest

from refresh_assets.automation.dagster_storage import storage_url
from refresh_assets.store.counters import states_of
from refresh_assets.store.database import Database
from refresh_assets.store.liveness import NO_SIGN, sign_of_life
from refresh_assets.store.provision import head_revision, init
from refresh_assets_tests import worlds
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.store.everything import everything
from refresh_assets_tests.worlds import BEFORE, DAY, batch, execute, insert, one, portfolio, position

UMLAUTS = "ÄÖ"


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, a fourth that holds a symbol beyond ASCII, and a symbol batch that is complete."""
    return four_portfolios(database)


def four_portfolios(database: Database) -> Database:
    worlds.three_portfolios(database)
    insert(database, "portfolios", portfolio(4, name="Größe"))
    insert(database, "positions", position(41, 4, UMLAUTS, 3), position(42, 4, "AAA", 4))
    worlds.load_closes(database, [{**row, "symbol": UMLAUTS} for row in worlds.closes(["ABC"])])
    insert(database, "batch_run_tracking", *batch(BEFORE, DAY))
    return database


def default(database: Database, name: str, value: str) -> None:
    """Of every session of the database that begins after this."""
    statement = f"execute format('alter database %I set {name} to ' || quote_literal('{value}'), current_database())"
    execute(database, f"do $$ begin {statement}; end $$")


@pytest.mark.parametrize("of", ["database", "environment"])
def test_another_encoding_of_the_session_gives_the_same_night(
    world: Database, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbol beyond ASCII is priced, written and explained as ever; init and the sign of a run's life work."""
    plain = everything(world)
    assert any(UMLAUTS in row for row in plain[f"correlation_calculations {DAY}"])
    if of == "database":
        default(world, "client_encoding", "LATIN1")
    else:
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    assert everything(world) == plain
    assert init(world).revision_after == head_revision()
    with sign_of_life(world, "run-1") as sign:
        assert sign != NO_SIGN


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_gives_the_same_night(world: Database, server_url: str, encoding: str) -> None:
    """Also one that has none, and takes the bytes as they come."""
    made = {"LATIN1": "encoding 'LATIN1'", "SQL_ASCII": "encoding 'SQL_ASCII'"}
    with new_database(server_url, "template0", made[encoding] + " lc_collate 'C' lc_ctype 'C'") as (_, url):
        other = Database(url)
        assert init(other).revision_after == head_revision()
        with other.connect() as connection:
            assert one(connection, "show server_encoding") == encoding
        assert everything(four_portfolios(other)) == everything(world)


def test_dagsters_storage_takes_tags_in_whatever_letters() -> None:
    """Whatever encoding the URL of the night names."""
    wanted = "options=-csearch_path%3Ddagster&client_encoding=UTF8"
    for query, kept in (
        ("", ""),
        ("?client_encoding=LATIN1", ""),
        ("?client_encoding=LATIN1&sslmode=require", "sslmode=require&"),
    ):
        url = storage_url(f"postgresql+psycopg://u@h/db{query}")
        assert url == f"postgresql+psycopg2://u@h/db?{kept}{wanted}"


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_another_isolation_of_transactions_gives_the_same_night(
    database: Database, server_url: str, initialised_template: str, isolation: str
) -> None:
    """Two days of months that have no partitions yet, each table begun while the one before is ended; then the values of
    positions, which wait for the day to be complete."""
    days = date(2026, 2, 27), date(2026, 3, 2)
    default(database, "default_transaction_isolation", isolation)
    init(database)
    with new_database(server_url, initialised_template) as (_, url):
        plain = everything(four_portfolios(Database(url)), *days)
    assert everything(four_portfolios(database), *days) == plain
    assert {row[4] for row in plain["positions"]} == {None, days[-1]}


def test_backslashes_that_escape_give_the_same_night(world: Database) -> None:
    """As before PostgreSQL 9.1; a view that depends on the time is still known for one."""
    fickle = "select * from bank.positions where deleted_at is null or deleted_at > clock_timestamp()"
    execute(world, "create schema bank")
    execute(world, "alter table positions set schema bank")
    execute(world, f"create view positions as {fickle}")
    plain = everything(world, BEFORE, DAY)
    default(world, "standard_conforming_strings", "off")
    assert everything(world, BEFORE, DAY) == plain
    with world.connect() as connection:
        assert states_of(connection, ["positions"]) == {}
