"""Connections to the database.

Here: how a connection finds our tables and the platform's (search_path), read snapshots in columns (ADBC), what an
unreachable database is called, and the retry of a lost connection. Not here: any query (read.py, write.py, days.py)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from refresh_assets.errors import DatabaseUnreachable
from refresh_assets.settings import Settings

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa

T = TypeVar("T")
CONNECT_SECONDS = 10
ENCODING = "UTF8"
"""What the server sends and takes, whatever a role, a database or PGCLIENTENCODING says: columns are read as nothing else."""
RETRIES = 3  # more tries after a lost connection, spec section 12


@dataclass(frozen=True)
class Database:
    """Where the night works. The URL holds the password: it is never shown."""

    url: str = field(repr=False)
    schema: str = "public"
    platform_schema: str = "public"

    @classmethod
    def of(cls, settings: Settings) -> Database:
        """Raises SettingsError where REFRESH_DATABASE_URL is not set."""
        settings.require_database_url()
        return cls(settings.psycopg_url(), settings.schema_name, settings.platform_schema)

    @property
    def search_path(self) -> str:
        """Ours first: a table of ours is never taken for one of the platform's. Temporary tables last."""
        schemas = dict.fromkeys((self.schema, self.platform_schema))
        return ", ".join((*schemas, "pg_temp"))

    @contextmanager
    def connect(self, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:
        """A psycopg connection: committed at the end of the block, rolled back if it raises.

        Raises DatabaseUnreachable, which names host, port and database."""
        import psycopg

        try:
            connection = psycopg.connect(
                self.url,
                autocommit=autocommit,
                connect_timeout=CONNECT_SECONDS,
                application_name=APPLICATION,
                client_encoding=ENCODING,
            )
        except psycopg.OperationalError as error:
            raise self._unreachable(error) from None
        with connection:
            connection.execute(_SESSION, [self.search_path])
            if not autocommit:
                connection.commit()
            yield connection

    def snapshot(self) -> Snapshot:
        """A read-only view of the database as it is at this moment, read in columns."""
        return Snapshot(self, _for_columns(self))

    @contextmanager
    def snapshot_later(self) -> Iterator[Callable[[], Snapshot]]:
        """Connect at once, beside what the block does: that takes 60 ms, mostly of waiting. Gives what makes the snapshot,
        of the moment at which it is called, once."""
        _import_columns()  # here: two threads that import at once wait for each other
        taken: list[Snapshot] = []
        with ThreadPoolExecutor(1) as connecting:
            connection = connecting.submit(_for_columns, self)

            def take() -> Snapshot:
                taken.append(Snapshot(self, connection.result()))
                return taken[-1]

            try:
                yield take
            finally:
                if not taken and connection.exception() is None:
                    connection.result().close()

    def _unreachable(self, error: Exception) -> DatabaseUnreachable:
        from psycopg import conninfo

        parts = conninfo.conninfo_to_dict(self.url)
        where = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', 'postgres')}"
        lines = [
            line for line in str(error).splitlines() if line.strip() and not line.startswith(("DETAIL", "HINT", "\t"))
        ]
        reason = lines[-1].strip() if lines else type(error).__name__
        # By the server's words: an error while connecting carries no code. In words of another language it "does not answer".
        what, mend, hidden = (
            "does not answer",
            "start it, or correct REFRESH_DATABASE_URL, then try again",
            "connection refused",
        )
        if NO_SUCH_DATABASE.search(reason):
            what, hidden = "does not exist", "no such database"
            mend = "create the database, or correct its name in REFRESH_DATABASE_URL"
        elif REFUSED.search(reason):
            what, hidden = "refuses this user", "not let in"
            mend = "correct user and password in REFRESH_DATABASE_URL, or let the role connect"
        password = str(parts.get("password") or "")
        if password and password in reason:
            reason = hidden
        return DatabaseUnreachable(f"The database at {where} {what} ({reason}). Mend: {mend}.")


APPLICATION = "refresh-assets"
# Whoever waited for another's work has to see it afterwards, whatever a role or a database has as its default.
_SESSION = (
    "select set_config('search_path', %s, false), set_config('default_transaction_isolation', 'read committed', false)"
)
NO_SUCH_DATABASE = re.compile(r'database ".*" does not exist')
REFUSED = re.compile(
    r'authentication failed|no password supplied|role ".*" does not exist|not permitted to log in|no pg_hba\.conf entry'
    r"|permission denied for database"
)
NO_SUCH_SNAPSHOT = {"42704", "22023"}  # undefined_object; before PostgreSQL 16 invalid_parameter_value
SNAPSHOT_ID = re.compile(r"[0-9A-F]+-[0-9A-F]+-[0-9]+")


class Snapshot:
    """One read-only transaction: every query sees the same moment. Rows come as Arrow columns.

    Values reach a query through settings of the transaction (`value('day')` below reads them), never through its text.
    One thread at a time may use it."""

    def __init__(self, database: Database, connection: Any) -> None:
        self._begin(connection, {"search_path": database.search_path})

    def beside(self) -> Snapshot:
        """A second connection that sees the same moment, with the same values, so that two threads can read at once.

        Raises DatabaseUnreachable where this connection was lost before the other one saw it."""
        import adbc_driver_manager

        moment = self.fetch("select pg_export_snapshot() as moment")["moment"][0].as_py()
        connection = self._connection.adbc_clone()  # it knows the types already: a new one asks for them in 40 ms
        other = Snapshot.__new__(Snapshot)
        try:
            other._begin(connection, self._values, moment)
        except (adbc_driver_manager.ProgrammingError, adbc_driver_manager.DataError) as error:
            other.close()
            if error.sqlstate not in NO_SUCH_SNAPSHOT:
                raise
            # The moment goes with the session that exported it, and with nothing else.
            raise DatabaseUnreachable(
                "The database ended the first of the night's two reading connections."
                " Mend: none if it was restarted, the work is tried again; else look into the server's log."
            ) from None
        return other

    def _begin(self, connection: Any, values: Mapping[str, object], moment: str | None = None) -> None:
        self._connection, self._values = connection, dict[str, object]()
        self._cursor = connection.cursor()
        self._cursor.execute("set transaction isolation level repeatable read, read only")
        # Two of these read at once: workers beside them took the cores from each other, and string_agg is dearer in parts.
        self._cursor.execute("set local max_parallel_workers_per_gather = 0")
        if moment is not None:
            if not SNAPSHOT_ID.fullmatch(moment):  # the statement takes no parameter
                raise ValueError(f"{moment!r} is not the id of a snapshot")
            self._cursor.execute(f"set transaction snapshot '{moment}'")
        self.set(**values)

    def set(self, **values: object) -> None:
        """Give values to the queries that follow."""
        self._values |= values
        for name, value in values.items():
            key = name if name == "search_path" else f"refresh_assets.{name}"
            self._cursor.execute("select set_config($1, $2, true)", parameters=(key, str(value)))
            self._cursor.fetchall()

    def fetch(self, query: str) -> pa.Table:
        """The rows of a query, in columns."""
        self._cursor.execute(query)
        return self._cursor.fetch_arrow_table()

    def batches(self, query: str) -> Iterator[pa.Table]:
        """The same, some rows at a time; nothing else may be asked until all are taken. One table at least, maybe empty."""
        import pyarrow as pa

        self._cursor.execute(query)
        with self._cursor.fetch_record_batch() as reader:
            yield reader.schema.empty_table()
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def close(self) -> None:
        self._cursor.close()
        self._connection.close()


def _import_columns() -> None:
    """Load what reads columns: our own part of it first, which keeps pandas out."""
    from refresh_assets.store import arrow  # noqa: F401  isort: skip
    import adbc_driver_postgresql.dbapi  # noqa: F401


def _for_columns(database: Database) -> Any:
    """A connection for a Snapshot. Raises DatabaseUnreachable."""
    import adbc_driver_manager
    import adbc_driver_postgresql.dbapi as adbc
    from psycopg import conninfo

    try:
        url = conninfo.make_conninfo(database.url, connect_timeout=CONNECT_SECONDS, client_encoding=ENCODING)
        return adbc.connect(url, autocommit=False)
    except adbc_driver_manager.OperationalError as error:
        raise database._unreachable(error) from None


def value(name: str, type_: str = "text") -> str:
    """SQL for a value that `Snapshot.set` gave."""
    return f"current_setting('refresh_assets.{name}')::{type_}"


def is_lost_connection(error: BaseException) -> bool:
    """Whether an error says that the connection went, not that the work is wrong: worth another try."""
    import adbc_driver_manager
    import psycopg

    if isinstance(error, psycopg.OperationalError):
        state = error.sqlstate or "08"
        # 57P is a server that goes down or is not up yet; a statement cancelled for its time (57014) is no such thing.
        return state[:2] in {"08", "53"} or state[:3] == "57P" or state in {"40001", "40P01"}
    # Where rows are taken batch by batch, Arrow passes the driver's error on as its own.
    if isinstance(error, adbc_driver_manager.OperationalError | adbc_driver_manager.InternalError | OSError):
        return "connection" in str(error).lower() or "terminat" in str(error).lower()
    return isinstance(error, DatabaseUnreachable)


def retried(work: Callable[[], T]) -> T:
    """Run work; after a lost connection 3 more times, waiting longer each time with jitter."""
    import stamina

    for attempt in stamina.retry_context(on=is_lost_connection, attempts=RETRIES + 1, wait_initial=0.5, wait_max=10):
        with attempt:
            return work()
    raise AssertionError("a retry context ends by a result or by an error")
