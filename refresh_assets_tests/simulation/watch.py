"""Watching the database: who is connected, who waits, and holding a run at a chosen moment.

Here: conditions that are awaited, and the locks by which a run is caught. Not here: what is compared (play.py, clean.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg

from refresh_assets_tests.worlds import LOCKS_OF_OTHERS

PATIENCE = 120.0  # seconds, for what takes milliseconds on an idle machine
OTHERS = " from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and pid <> "


class Watch:
    """A connection of its own; what it does shows in no statistics of the platform's tables."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.connection = psycopg.connect(url, autocommit=True)

    def close(self) -> None:
        self.connection.close()

    def others(self) -> list[tuple[Any, ...]]:
        """Connections of others: state, what they wait for, their last query."""
        query = "select state, wait_event_type, left(query, 200)" + OTHERS + "pg_backend_pid()"
        return self.connection.execute(query.encode()).fetchall()

    def locks(self) -> list[tuple[Any, ...]]:
        """Claims and waits that anybody holds in this database."""
        return self.connection.execute(LOCKS_OF_OTHERS.encode()).fetchall()

    def quiet(self) -> list[tuple[Any, ...]]:
        """Wait until nobody else is connected; gives who still is when patience ends: nobody, as it should be.

        Between two real looks half a minute passes, and a writer's counters are in the statistics by then; here they
        are once its connection has ended."""
        self._await(lambda: not self.others())
        return self.others()

    def someone_waits(self) -> bool:
        """Wait until a connection waits for a lock; False where none does."""
        return self._await(lambda: any(kind == "Lock" for _, kind, _ in self.others()))

    @contextmanager
    def snare(self, table: str, day: date) -> Iterator[None]:
        """Hold what a run needs at the moment that `table` names, once it has copied its rows of the day there.

        Nothing is committed: a run that is killed in it finds the tables as it left them."""
        with psycopg.connect(self._url) as connection:
            statement, values = _snare(table, day)
            connection.execute(statement.encode(), values)
            yield
            connection.rollback()

    @staticmethod
    def _await(condition: Callable[[], bool]) -> bool:
        end = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True


def _snare(table: str, day: date) -> tuple[str, list[Any]]:
    if table == "positions":
        return "select from positions for update", []
    if table == "batch_run_tracking":
        return (
            "insert into batch_run_tracking (batch_type, target_date, status) values ('portfolio_refresh', %s, 'running')"
            " on conflict (batch_type, target_date) do update set status = excluded.status",
            [day],
        )
    return (
        "insert into refresh_days (calculation_date, table_name, status, portfolios, rows, exceptions, failed, accounted,"
        " inputs_digest, inputs, run_id, code_version, finished_at) values (%s, %s, 'skipped', 0, 0, 0, 0, 0, '', '{}',"
        " '', '', now()) on conflict (calculation_date, table_name) do update set status = excluded.status",
        [day, table],
    )
