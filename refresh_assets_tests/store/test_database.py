"""Connections: what an unreachable database is called, what is shown of it, what is tried again.

Here: Database, Snapshot, retried. Not here: queries (test_read.py, test_write.py)."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import adbc_driver_manager
import psycopg
import pyarrow as pa
import pytest
import stamina

from refresh_assets.errors import DatabaseUnreachable
from refresh_assets.store.database import Database, Snapshot, is_lost_connection, retried
from refresh_assets_tests.worlds import execute, insert, one, portfolio


@pytest.fixture
def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def without_waiting() -> Iterator[None]:
    """Tries follow each other at once, as many as in earnest."""
    stamina.set_testing(True, attempts=100, cap=True)
    yield
    stamina.set_testing(False)


def connect(database: Database) -> None:
    with database.connect():
        pass


def snapshot(database: Database) -> None:
    database.snapshot().close()


WAYS = pytest.mark.parametrize("way", [connect, snapshot])


@WAYS
def test_a_database_that_does_not_answer_is_named_by_host_and_port_without_its_password(
    way: object, closed_port: int
) -> None:
    """One line with the mend, for rows and for columns."""
    database = Database(f"postgresql://night:s3cr3t@127.0.0.1:{closed_port}/books")
    with pytest.raises(DatabaseUnreachable) as refused:
        way(database)  # type: ignore[operator]
    text = str(refused.value)
    assert text.startswith(f"The database at 127.0.0.1:{closed_port}/books does not answer (")
    assert text.endswith("). Mend: start it, or correct REFRESH_DATABASE_URL, then try again.")
    assert "s3cr3t" not in text
    assert "\n" not in text
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@WAYS
def test_a_wrong_user_or_password_is_told_without_the_password(way: object, server_url: str) -> None:
    """The server's own reason is shown; the password is not."""
    with psycopg.connect(server_url) as connection:
        host = connection.info.host
    database = Database(f"postgresql://nobody:s3cr3t@/postgres?host={host}")
    with pytest.raises(DatabaseUnreachable) as refused:
        way(database)  # type: ignore[operator]
    assert 'role "nobody" does not exist' in str(refused.value)
    assert str(refused.value).startswith(f"The database at {host}:5432/postgres refuses this user (")
    assert str(refused.value).endswith(
        "Mend: correct user and password in REFRESH_DATABASE_URL, or let the role connect."
    )
    assert "s3cr3t" not in str(refused.value)


@WAYS
def test_a_database_that_is_not_there_is_told_to_be_created(way: object, server_url: str) -> None:
    """The server answers: it is not to be started."""
    database = Database(urlsplit(server_url)._replace(path="/role_books").geturl())
    with pytest.raises(DatabaseUnreachable) as refused:
        way(database)  # type: ignore[operator]
    assert "/role_books does not exist (" in str(refused.value)
    assert str(refused.value).endswith("Mend: create the database, or correct its name in REFRESH_DATABASE_URL.")


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ('FATAL:  password authentication failed for user "night"', "refuses this user"),
        ("fe_sendauth: no password supplied", "refuses this user"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "night", database "books"', "refuses this user"),
        ('FATAL:  role "night" is not permitted to log in', "refuses this user"),
        ('FATAL:  permission denied for database "books"\nDETAIL:  User does not have CONNECT', "refuses this user"),
        ('FATAL:  database "books" does not exist', "does not exist"),
        ("FATAL:  the database system is starting up", "does not answer"),
        ("FATAL:  sorry, too many clients already", "does not answer"),
        ('could not translate host name "db" to address', "does not answer"),
    ],
)
def test_the_servers_words_say_what_is_to_be_mended(reason: str, what: str) -> None:
    """Refused, not there, or no answer."""
    found = Database("postgresql://night:s3cr3t@db/books")._unreachable(psycopg.OperationalError(reason))
    assert str(found).startswith(f"The database at db:5432/books {what} (")
    assert found.exit_code == 4


def test_a_password_that_is_a_word_of_the_reason_hides_the_reason_and_keeps_the_mend() -> None:
    """A password that equals the user's name."""
    reason = 'FATAL:  password authentication failed for user "n1ght"'
    found = str(Database("postgresql://n1ght:n1ght@db/books")._unreachable(psycopg.OperationalError(reason)))
    assert found.startswith(
        "The database at db:5432/books refuses this user (not let in). Mend: correct user and password"
    )
    assert "n1ght" not in found


def test_a_database_shows_no_secret() -> None:
    """Neither repr nor str holds the URL."""
    database = Database("postgresql://night:s3cr3t@db.example/books", schema="refresh")
    assert repr(database) == "Database(schema='refresh', platform_schema='public')"
    assert "s3cr3t" not in f"{database!s} {database!r} {database}"


def test_a_connection_finds_our_tables_before_the_platforms(database: Database) -> None:
    """The search path is ours, the platform's, temporary tables last."""
    other = Database(database.url, schema="refresh", platform_schema="public")
    with other.connect() as connection:
        assert one(connection, "show search_path") == "refresh, public, pg_temp"


def test_a_connection_commits_at_the_end_of_its_block_and_rolls_back_where_it_raises(database: Database) -> None:
    """No half of a block stays."""
    with database.connect() as connection:
        connection.execute("create table kept (x int)")

    def broken() -> None:
        with database.connect() as connection:
            connection.execute("insert into kept values (1)")
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert execute(database, "select * from kept") == []


def test_a_snapshot_sees_one_moment_and_cannot_write(database: Database) -> None:
    """A row that comes after the first query is not seen by the second."""
    first = database.snapshot()
    assert first.fetch("select count(*) as n from portfolios").to_pylist() == [{"n": 0}]
    insert(database, "portfolios", portfolio(1))
    assert first.fetch("select count(*) as n from portfolios").to_pylist() == [{"n": 0}]
    with pytest.raises(adbc_driver_manager.Error, match="read-only"):
        first.fetch("delete from portfolios returning id")
    first.close()
    second = database.snapshot()
    assert second.fetch("select count(*) as n from portfolios").to_pylist() == [{"n": 1}]
    second.close()


@pytest.mark.usefixtures("without_waiting")
def test_work_whose_connection_is_terminated_is_tried_four_times(database: Database) -> None:
    """The server ends each connection; after the fourth the error is let through."""
    tries = []

    def work() -> None:
        tries.append(1)
        with database.connect() as connection:
            execute(database, "select pg_terminate_backend(%s, 5000)", connection.info.backend_pid)
            connection.execute("select 1")

    with pytest.raises(psycopg.OperationalError):
        retried(work)
    assert len(tries) == 4


@pytest.mark.usefixtures("without_waiting")
def test_a_terminated_snapshot_is_a_lost_connection_too(database: Database) -> None:
    """Columns are read again like rows; the second try succeeds."""
    tries = []

    def work() -> int:
        tries.append(1)
        view = database.snapshot()
        try:
            pid = view.fetch("select pg_backend_pid() as pid").to_pylist()[0]["pid"]
            if len(tries) == 1:
                execute(database, "select pg_terminate_backend(%s, 5000)", pid)
            return int(view.fetch("select 7 as x").to_pylist()[0]["x"])
        finally:
            view.close()

    assert retried(work) == 7
    assert len(tries) == 2


@pytest.mark.usefixtures("without_waiting")
@pytest.mark.parametrize("statement", ["select 1 / 0", "select * from nowhere", "insert into portfolios values (null)"])
def test_work_that_is_wrong_is_tried_once(database: Database, statement: str) -> None:
    """Another try would only repeat the error."""
    tries = []

    def work() -> None:
        tries.append(1)
        execute(database, statement)

    with pytest.raises(psycopg.Error):
        retried(work)
    assert len(tries) == 1


def test_a_statement_that_was_cancelled_for_its_time_is_not_a_lost_connection(database: Database) -> None:
    """`statement_timeout` is somebody's decision: three more tries would take four times as long."""
    with database.connect(autocommit=True) as connection:
        connection.execute("set statement_timeout = 10")
        with pytest.raises(psycopg.Error) as cancelled:
            connection.execute("select count(*) from generate_series(1, 1000000000)")
    assert not is_lost_connection(cancelled.value)


@pytest.mark.usefixtures("without_waiting")
def test_a_session_lost_before_the_one_beside_it_saw_its_moment_is_a_lost_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Terminated after it exported its snapshot, which goes with it; the second try succeeds."""
    tries: list[int] = []
    fetch = Snapshot.fetch

    def fetch_and_lose(view: Snapshot, query: str) -> pa.Table:
        pid = fetch(view, "select pg_backend_pid() as pid").to_pylist()[0]["pid"]
        found = fetch(view, query)
        if "pg_export_snapshot" in query and len(tries) == 1:
            execute(database, "select pg_terminate_backend(%s, 5000)", pid)
        return found

    def work() -> int:
        tries.append(1)
        view = database.snapshot()
        try:
            other = view.beside()
            try:
                return int(other.fetch("select 7 as x").to_pylist()[0]["x"])
            finally:
                other.close()
        finally:
            view.close()

    monkeypatch.setattr(Snapshot, "fetch", fetch_and_lose)
    assert retried(work) == 7
    assert len(tries) == 2


def test_a_session_that_ends_while_rows_are_taken_batch_by_batch_is_a_lost_connection(database: Database) -> None:
    """Arrow tells it as an error of its own; a disk that is full is none."""
    with closing(database.snapshot()) as snapshot:
        batches = snapshot.batches(
            "select repeat('x', 1000) as a, pg_backend_pid() as pid from generate_series(1, 2000000)"
        )
        next(batches)
        pid = next(batches)["pid"][0].as_py()
        with database.connect(autocommit=True) as other:
            other.execute("select pg_terminate_backend(%s)", [pid])
        with pytest.raises(Exception) as ended:  # noqa: PT011
            deque(batches, maxlen=0)
    assert is_lost_connection(ended.value)
    assert not is_lost_connection(OSError(28, "No space left on device"))
