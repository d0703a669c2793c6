"""Whether somebody wrote to a table, or to what a view shows: by PostgreSQL's own counters.

Here: counters.py on views, views of views, partitions, tables of which a role may read some columns. Not here: what the gate
remembers by it (test_gate_facts.py)."""

from __future__ import annotations

import psycopg
import pytest

from refresh_assets.store.counters import plain_table, states_of
from refresh_assets.store.database import Database
from refresh_assets_tests.worlds import execute, insert, portfolio, settled

VIEWS = [
    ("select id, entry_date from positions where quantity > 0", True),
    ("select upper(symbol) as symbol, (deleted_at at time zone 'America/New_York')::date as gone from positions", True),
    ("select p.* from positions p join portfolios f on f.id = p.portfolio_id", True),
    ("select * from positions where entry_date <= current_date", False),
    ("select * from positions where deleted_at > now()", False),
    ("select *, random() from positions", False),
    ("select *, told() from positions", False),
]


@pytest.mark.parametrize(("query", "known"), VIEWS, ids=[row[0] for row in VIEWS])
def test_a_view_is_followed_to_its_tables_unless_it_depends_on_more_than_them(
    database: Database, query: str, known: bool
) -> None:
    """Then nothing may be remembered: its rows change without a write."""
    insert(database, "portfolios", portfolio(1))
    told = "create function told() returns bigint stable language sql return (select count(*) from portfolios)"
    execute(database, told)
    execute(database, f"create view first_view as {query}")
    execute(database, "create view second_view as select * from first_view")
    states = []
    for write in ("select 1", "select 1", "insert into positions (id) values (gen_random_uuid())"):
        execute(database, write)
        with database.connect() as connection:
            settled(connection)
            states.append(states_of(connection, ["portfolios", "second_view"]))
    before, unchanged, written = states
    assert ("second_view" in before) is known
    assert before == unchanged
    assert (written != before) is known
    assert written["portfolios"] == before["portfolios"] != ""


def test_a_view_that_is_defined_anew_is_looked_at_anew(database: Database) -> None:
    """No row was written, yet it may show others."""
    states = []
    for least in (0, 5):
        execute(database, f"create or replace view held as select * from positions where quantity > {least}")
        with database.connect() as connection:
            states.append(states_of(connection, ["held"])["held"])
    assert states[0] != states[1]


def test_a_partitioned_table_is_followed_to_its_partitions(database: Database) -> None:
    """Its own counters stay at 0."""
    execute(database, "create table closes (day date) partition by range (day)")
    execute(database, "create table closes_ever partition of closes default")
    with database.connect() as connection:
        settled(connection)
        before = states_of(connection, ["closes"])["closes"]
    execute(database, "insert into closes values ('2026-03-13')")
    with database.connect() as connection:
        settled(connection)
        assert before != states_of(connection, ["closes"])["closes"]


def test_a_role_that_may_not_ask_who_wrote_a_row_reads_all(database: Database) -> None:
    """Columns alone are granted to it, and the transaction's is not among them."""
    with psycopg.connect(database.url) as connection:
        role = f"columns_{database.url.rpartition('/')[2].partition('?')[0]}"
        connection.execute(f"create role {role}".encode())
        connection.execute(f"grant usage on schema public to {role}; grant select (id) on positions to {role}".encode())
        connection.execute(f"set role {role}".encode())
        assert plain_table(states_of(connection, ["positions"])["positions"]) is None
        connection.execute("reset role")
        connection.execute(f"grant select (xmin) on positions to {role}".encode())
        connection.execute(f"set role {role}".encode())
        assert plain_table(states_of(connection, ["positions"])["positions"]) is not None
        connection.rollback()
