"""The sign of life of a run, on real servers: whatever happens to its connection, it is given while the process lives.

Here: lost connections, a crash of the server, no connection at all, the rights that it needs. Not here: what follows from a
sign that nobody gives (automation/test_liveness.py)."""

from __future__ import annotations

import psycopg
from psycopg.sql import SQL, Identifier

from refresh_assets.store.database import Database
from refresh_assets.store.liveness import NO_SIGN, sign_of_life, signs_of_life
from refresh_assets_tests.servers import NOT_DURABLE, running_server
from refresh_assets_tests.worlds import awaited, execute

RUN = "5b0ca4a3-2a5c-4f5e-9d0e-4f0d1f6f0a11"
SESSION = "select pid from pg_stat_activity where application_name = %s"
NAME = f"refresh-assets lives {RUN}"


def test_a_sign_is_given_within_the_block_and_to_this_run_alone(database: Database) -> None:
    """One idle session, outside of any transaction; nothing stays behind."""
    with sign_of_life(database, RUN) as sign:
        assert held(database)
        with database.connect() as connection:
            found = signs_of_life(connection, [RUN, "another"])
        assert (found[RUN].text, found["another"].held) == (sign, False)
        states = execute(database, "select state from pg_stat_activity where application_name = %s", NAME)
        assert states == [("idle",)]
    assert not held(database)
    awaited(lambda: execute(database, SESSION, NAME) == [])


def test_a_lost_connection_is_replaced_at_once(database: Database) -> None:
    """The server hangs up: a new session holds the lock long before the next look of the sensor."""
    with sign_of_life(database, RUN):
        ((first,),) = execute(database, SESSION, NAME)
        execute(database, "select pg_terminate_backend(%s)", first)
        awaited(lambda: execute(database, SESSION, NAME) not in ([], [(first,)]) and held(database), 5)
    assert not held(database)


def test_a_sign_outlives_a_crash_of_the_server() -> None:
    """A server that goes down at once and comes back finds the run alive, under the same sign."""
    with running_server(NOT_DURABLE, in_memory=True) as server, sign_of_life(Database(server.url), RUN) as sign:
        assert held(Database(server.url))
        server.stop_immediately()
        server.start_again()
        awaited(lambda: held(Database(server.url)))
        with Database(server.url).connect() as connection:
            assert signs_of_life(connection, [RUN])[RUN].text == sign


def test_a_run_without_a_connection_to_spare_says_so_and_gives_its_sign_later(
    database: Database, server_url: str
) -> None:
    """It is no reason to fail: the work has a connection of its own to fail with."""
    ((name,),) = execute(database, "select current_database()")
    limit = SQL("alter database {} allow_connections {}")
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(limit.format(Identifier(name), SQL("false")))
        try:
            lives = sign_of_life(database, RUN)
            assert lives.__enter__() == NO_SIGN
        finally:
            server.execute(limit.format(Identifier(name), SQL("true")))
    awaited(lambda: held(database))
    lives.__exit__(None, None, None)
    assert not held(database)


def test_a_role_without_any_grant_can_give_its_sign(database: Database) -> None:
    """The lock and its name need no right but to connect."""
    ((name,),) = execute(database, "select 'reader_' || current_database()")
    with database.connect() as connection:
        connection.execute(SQL("create role {} login").format(Identifier(name)))
    try:
        theirs = Database(database.url.replace("postgres:@", f"{name}:@"))
        assert execute(theirs, "select current_user::text") == [(name,)]
        with sign_of_life(theirs, RUN) as sign, database.connect() as connection:
            assert signs_of_life(connection, [RUN])[RUN].text == sign
            assert held(theirs)
    finally:
        execute(database, "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", name)
        with database.connect() as connection:
            connection.execute(SQL("drop role {}").format(Identifier(name)))


def held(database: Database) -> bool:
    """Whether somebody holds the sign of the run."""
    with database.connect() as connection:
        return signs_of_life(connection, [RUN])[RUN].held
