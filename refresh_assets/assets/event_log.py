"""Dagster's event log during a run: one connection for all of its events.

Here: a pool in place of none, for as long as a run lasts. Not here: where the log is kept (automation/dagster_storage.py),
what is written to it (refresh.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def on_one_connection(instance: dg.DagsterInstance) -> Iterator[None]:
    """Within the block, events in PostgreSQL go through a connection that stays, made anew where it was lost.

    Dagster connects for each of a run's hundred events, 5 ms a time, so that instances without end leave no sessions
    behind; a run has an end. Its webserver does the same (`optimize_for_webserver`), without looking whether the
    connection still lives."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    events = instance.event_log_storage
    shared = getattr(events, "_engine", None)
    has_tokens = bool(getattr(events, "_token_provider", None))  # in place of a password: Dagster's own affair
    if shared is None or has_tokens or shared.dialect.name != "postgresql" or not isinstance(shared.pool, NullPool):
        yield
        return
    kept = create_engine(shared.url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=20, pool_pre_ping=True)
    events._engine = kept  # type: ignore[attr-defined]
    try:
        yield
    finally:
        events._engine = shared  # type: ignore[attr-defined]
        kept.dispose()
