"""Dagster's event log and its runs during a run: one connection for all of its events, its schema looked at once.

Here: a pool in place of none, for as long as a run lasts. Not here: where the log is kept (automation/dagster_storage.py),
what is written to it (refresh.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from sqlalchemy import Engine

SCHEMA_QUESTIONS = ("get_columns", "has_table")
"""What Dagster asks PostgreSQL of its own tables, for compatibility with older ones, at each event of an asset or check."""


@contextmanager
def on_one_connection(instance: dg.DagsterInstance) -> Iterator[None]:
    """Within the block, events in PostgreSQL go through a connection that stays, made anew where it was lost.

    Dagster connects for each of a run's hundred events, 5 ms a time, so that instances without end leave no sessions
    behind; a run has an end. Its webserver does the same (`optimize_for_webserver`), without looking whether the
    connection still lives. The status of the run, which a few of the events change, goes the same way where it is kept
    in the same database."""
    with ExitStack() as held:
        events = instance.event_log_storage
        shared = _replaceable(events)
        if shared is not None:
            kept = _kept(shared)
            held.callback(kept.dispose)
            storages: tuple[Any, ...] = (events, instance.run_storage)
            for storage in storages:
                theirs = _replaceable(storage)
                if theirs is not None and theirs.url == shared.url:
                    held.callback(setattr, storage, "_engine", theirs)
                    storage._engine = kept
        yield


def _replaceable(storage: object) -> Engine | None:
    """The engine of a storage that connects to PostgreSQL anew each time; one with tokens in place of a password is
    Dagster's own affair."""
    from sqlalchemy.pool import NullPool

    shared: Engine | None = getattr(storage, "_engine", None)
    if shared is None or bool(getattr(storage, "_token_provider", None)):
        return None
    return shared if shared.dialect.name == "postgresql" and isinstance(shared.pool, NullPool) else None


def _kept(shared: Engine) -> Engine:
    """An engine to the same database that keeps a connection, and remembers what tables and columns there are."""
    from sqlalchemy import create_engine

    kept = create_engine(shared.url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=20, pool_pre_ping=True)
    for question in SCHEMA_QUESTIONS:
        _remember(kept.dialect, question)
    return kept


def _remember(dialect: Any, question: str) -> None:
    """Have a dialect answer a question about a table once, by the memory that SQLAlchemy gives each of its inspectors."""
    asked, known = getattr(dialect, question), dict[Any, Any]()

    def remembered(connection: Any, table: str, schema: str | None = None, **options: Any) -> Any:
        return asked(connection, table, schema, **{**options, "info_cache": known})

    setattr(dialect, question, remembered)
