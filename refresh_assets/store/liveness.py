"""The sign of life of a run: a lock that its session holds for as long as its process lives.

Here: holding it, asking whose is held, ending the tracking rows of a run that died, what it
committed. Not here: which runs to ask for, and what follows where nobody holds it (automation/runs.py)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from refresh_assets.store.database import ENCODING, Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets.store.tracking import BATCH, COMPLETED, FAILED

if TYPE_CHECKING:
    import psycopg

SIGN_TAG = "refresh_assets/sign_of_life"
"""A run's tag: where its sign is to be looked for. One of another database says nothing here."""
NO_SIGN = "none"
"""Of a run that could not give its sign when it began: nobody may conclude anything from its silence."""
LOOK_SECONDS, RETRY_SECONDS = 2.0, 0.25
"""How often the holder asks whether its connection still stands (that the server hung up it hears at once), and how soon
it tries again where there is none."""

_KEY = "hashtextextended('refresh run ' || {run}, 0)"
_CLUSTER = "select system_identifier::text from pg_control_system()"
_SESSION = (
    # A client that is gone is noticed though its machine said no goodbye; one that is idle is no reason to hang up.
    ("client_connection_check_interval", "5s"),
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("idle_session_timeout", "0"),
)


@dataclass(frozen=True)
class Sign:
    """Of one run: the text that its tag has if it was given here, and whether a session holds it now."""

    text: str
    held: bool


@contextmanager
def sign_of_life(database: Database, run_id: str) -> Iterator[str]:
    """Within the block a session of its own holds the run's lock; a lost connection is replaced in the background.

    Shared, so that it is taken again at once while the server still believes in the lost session.

    Yields the text for the run's tag: NO_SIGN where the lock could not be taken at first. Raises nothing of its own."""
    holder = _Holder(database, run_id)
    text = holder.take()
    thread = threading.Thread(target=holder.keep, name=f"sign of life of {run_id}", daemon=True)
    thread.start()
    try:
        yield text
    finally:
        holder.end()
        thread.join(LOOK_SECONDS)  # one that is just connecting to a dead server ends by itself


def signs_of_life(connection: psycopg.Connection[Any], runs: Sequence[str]) -> dict[str, Sign]:
    """The signs of some runs, by id."""
    place = _place(connection)
    rows = connection.execute(
        f"select run, {_KEY.format(run='run')} as key, exists (select from pg_locks where locktype = 'advisory'"
        " and granted and objsubid = 1 and database = (select oid from pg_database where datname = current_database())"
        f" and (classid::int8 << 32) | objid::int8 = {_KEY.format(run='run')}) from unnest(%s::text[]) run",
        [list(runs)],
    ).fetchall()
    return {run: Sign(f"{place}/{key}", held) for run, key, held in rows}


def end_tracking(connection: psycopg.Connection[Any], days: Sequence[date], run_id: str, now: datetime) -> None:
    """End the rows of the days of a run that died, where they still say running: as what the tables say of the day."""
    done, mixed = _done(connection, days), mixed_days(connection, days)
    gone = f"the process of run {run_id} is gone; the day is"
    rest = [day for day in days if day not in done]
    # A statement each: a status that a `case` chose would be text, which no column of an enum takes.
    for status, message, some in (
        (COMPLETED, None, done),
        *(
            (FAILED, f"{gone} mixed, which is not mended by itself: refresh-assets run --date {day}", [day])
            for day in rest
            if day in mixed
        ),
        (FAILED, f"{gone} computed again by itself", [day for day in rest if day not in mixed]),
    ):
        connection.execute(
            "update batch_run_tracking set completed_at = %s, status = %s, error_message = %s"
            " where batch_type = %s and status::text = 'running' and target_date = any(%s)",
            [now, status, message, BATCH, list(some)],
        )


def running_rows(connection: psycopg.Connection[Any]) -> dict[date, datetime]:
    """The days whose rows of ours say running, and since when."""
    rows = connection.execute(
        "select target_date, started_at::timestamptz from batch_run_tracking"
        " where batch_type = %s and status::text = 'running' and started_at is not null",
        [BATCH],
    ).fetchall()
    return dict(rows)


def mixed_days(connection: psycopg.Connection[Any], days: Sequence[date]) -> list[date]:
    """Those of some days whose tables all stand, but are of different inputs; ascending. Nobody computes them unasked."""
    rows = connection.execute(
        "select calculation_date from refresh_days where status = 'complete' and calculation_date = any(%s)"
        " group by 1 having count(*) = %s and (count(distinct inputs_digest) > 1 or count(distinct code_version) > 1)"
        " order by 1",
        [list(days), len(DAY_TABLES)],
    ).fetchall()
    return [row[0] for row in rows]


def committed_by(connection: psycopg.Connection[Any], run_id: str) -> dict[str, list[date]]:
    """The days that a run committed, by table."""
    rows = connection.execute(
        "select table_name, array_agg(calculation_date order by calculation_date) from refresh_days"
        " where status = 'complete' and run_id = %s group by 1 order by 1",
        [run_id],
    ).fetchall()
    return dict(rows)


def _done(connection: psycopg.Connection[Any], days: Sequence[date]) -> list[date]:
    """Days of which nothing is left to do: complete, or without one close."""
    rows = connection.execute(
        "select calculation_date from refresh_complete_days where calculation_date = any(%(days)s) union"
        " select calculation_date from refresh_days where status = 'skipped' and calculation_date = any(%(days)s)",
        {"days": list(days)},
    ).fetchall()
    return [row[0] for row in rows]


def _place(connection: psycopg.Connection[Any]) -> str:
    """Server and database: the same after a restart and after a failover, under whatever name they are reached."""
    import psycopg

    try:
        with connection.transaction():
            cluster = connection.execute(_CLUSTER).fetchone()
    except psycopg.errors.InsufficientPrivilege:  # some owner of a server took it from everybody
        cluster = None
    row = connection.execute("select oid::text from pg_database where datname = current_database()").fetchone()
    return f"{cluster[0] if cluster else '-'}/{row[0] if row else '-'}"


class _Holder:
    """The session behind a sign. `take` belongs to the run's thread, `keep` to the holder's own, which comes after it."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._ended = threading.Event()
        self._woken, self._waker = os.pipe()
        self._database, self._run_id = database, run_id
        self._connection: psycopg.Connection[Any] | None = None

    def take(self) -> str:
        """The text for the run's tag, once the lock is held; NO_SIGN where it is not."""
        import psycopg

        try:
            self._connection, text = self._connected()
        except psycopg.Error:  # the run has a connection of its own to fail with, and words for it
            return NO_SIGN
        return text

    def keep(self) -> None:
        """Look after the connection until the end; take the lock again on a new one where it is lost."""
        import psycopg

        while not self._ended.is_set():
            try:
                if self._connection is None:
                    self._connection, _ = self._connected()
                else:
                    self._connection.execute("select 1")
                wait([self._woken, self._connection.fileno()], LOOK_SECONDS)
            except psycopg.Error:
                self._drop()
                wait([self._woken], RETRY_SECONDS)
        self._drop()
        os.close(self._woken)

    def end(self) -> None:
        """Have `keep` give the lock up and return."""
        self._ended.set()
        os.close(self._waker)

    def _connected(self) -> tuple[psycopg.Connection[Any], str]:
        import psycopg

        connection = psycopg.connect(
            self._database.url,
            autocommit=True,
            connect_timeout=10,
            application_name=f"refresh-assets lives {self._run_id}",
            client_encoding=ENCODING,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        try:
            names, values = zip(*_SESSION, strict=True)
            settings = "select set_config(name, value, false) from unnest(%s::text[], %s::text[]) as t (name, value)"
            connection.execute(settings, [list(names), list(values)])
            key = connection.execute(f"select {_KEY.format(run='%s')} as key", [self._run_id]).fetchone()
            text = f"{_place(connection)}/{key[0] if key else '-'}"
            connection.execute(f"select pg_advisory_lock_shared({_KEY.format(run='%s')})", [self._run_id])
        except BaseException:
            connection.close()
            raise
        return connection, text

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
