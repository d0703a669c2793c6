"""The platform to which it all happens: the demo's books and real closes, written as a symbol batch would.

Here: every write to the platform's tables. Not here: when (script.py), any table of the night."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid5

import psycopg

from refresh_assets.demo.world import ID_NAMESPACE, close_rows, factor_rows, load_platform
from refresh_assets.store.database import Database
from refresh_assets_tests.simulation.kinds import Happening
from refresh_assets_tests.simulation.script import CALENDAR, Script

BATCH_HAS_BETAS_OF = ("AAPL", "JPM", "KO", "MSFT", "QUAL", "XOM")
"""To the market; the rest are left to the night, which computes them inline."""
LATE_BOOK = {"AAPL": 1200, "MSFT": -350, "RRC": "2500.5"}
SPOILED = ("Cascade Smart Beta", "Sorensen Founder Shares")
ABSURD = 10**17
"""Shares: a value beyond what a snapshot's columns hold, of a quantity that can still be read."""


class Platform:
    """The platform's tables in one database."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database, self.seed = database, seed
        self._own: dict[UUID, Decimal] = {}

    @contextmanager
    def _writing(self) -> Iterator[psycopg.Connection[Any]]:
        # A connection for each write, as of a process that ends: its counters are then in PostgreSQL's statistics.
        with self.database.connect() as connection:
            yield connection

    def load(self, script: Script) -> None:
        """Books, factors, and closes up to the eve of the first night."""
        with self._writing() as connection:
            load_platform(connection, CALENDAR.previous(script.first))

    def batch(self, one: Happening) -> None:
        """The symbol batch writes closes and betas of a day, and what it says of itself."""
        with self._writing() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into market_data_cache (symbol, date, close_price) values (%s, %s, %s) on conflict do nothing",
                self._closes(one),
            )
            if one.status == "completed":
                cursor.executemany(
                    "insert into symbol_factor_exposures (symbol, factor_id, calculation_date, beta_value,"
                    " calculation_method) values (%s, %s, %s, %s, 'symbol_batch') on conflict do nothing",
                    [(symbol, factor_rows()[0][0], one.day, self._beta(symbol)) for symbol in BATCH_HAS_BETAS_OF],
                )
            if one.status:
                done = one.at if one.status == "completed" else None
                error = "vendor: 503" if one.status == "failed" else None
                cursor.execute(
                    "insert into batch_run_tracking (batch_type, target_date, status, started_at, completed_at,"
                    " error_message) values ('symbol_batch', %s, %s, %s, %s, %s) on conflict (batch_type, target_date)"
                    " do update set status = excluded.status, started_at = excluded.started_at,"
                    " completed_at = excluded.completed_at, error_message = excluded.error_message",
                    [one.day, one.status, one.at, done, error],
                )

    def symbol(self, one: Happening) -> None:
        """A symbol of the platform is being onboarded, or was."""
        with self._writing() as connection:
            connection.execute(
                "insert into symbol_onboarding (symbol, status, requested_at, updated_at) values (%s, %s, %s, %s)"
                " on conflict (symbol) do update set status = excluded.status, updated_at = excluded.updated_at",
                ["NVDA", one.status, one.at, one.at],
            )

    def arrive(self, one: Happening) -> str:
        """A portfolio is created at this moment; gives its name."""
        name = f"Newcomer of {one.day}"
        owner = uuid5(ID_NAMESPACE, name)
        with self._writing() as connection:
            connection.execute(
                "insert into portfolios (id, name, inception_date, created_at) values (%s, %s, %s, %s)",
                [owner, name, one.since, one.at],
            )
            for symbol, quantity in LATE_BOOK.items():
                connection.execute(
                    "insert into positions (id, portfolio_id, symbol, investment_class, quantity, entry_price)"
                    " values (%s, %s, %s, 'PUBLIC', %s, 100)",
                    [uuid5(owner, symbol), owner, symbol, quantity],
                )
        return name

    def spoil(self) -> None:
        """One position of each of two portfolios gets an absurd quantity."""
        with self._writing() as connection:
            rows = connection.execute(
                "select distinct on (portfolio_id) p.id, quantity from positions p join portfolios f on f.id = portfolio_id"
                " where f.name = any(%s) order by portfolio_id, p.id",
                [list(SPOILED)],
            ).fetchall()
            self._own = dict(rows)
            connection.execute("update positions set quantity = %s where id = any(%s)", [ABSURD, list(self._own)])

    def repair(self) -> None:
        """They get back what they had."""
        with self._writing() as connection:
            for one, quantity in self._own.items():
                connection.execute("update positions set quantity = %s where id = %s", [quantity, one])

    def refuse(self, day: date, table: str, refuses: bool) -> None:
        """One of the night's tables refuses a day, or takes it again: whatever may be wrong with a database."""
        column = "snapshot_date" if table == "portfolio_snapshots" else "calculation_date"
        with self._writing() as connection:
            if refuses:
                connection.execute(f"alter table {table} add constraint refused check ({column} <> '{day}')")
            else:
                connection.execute(f"alter table {table} drop constraint refused")

    def _closes(self, one: Happening) -> list[tuple[Any, ...]]:
        if one.closes == "none":
            return []
        rows = sorted(close_rows(on=one.day))
        if one.closes == "all":
            return rows
        random = Random(f"{self.seed}/{one.day}")
        return random.sample(rows, len(rows) // 2 if one.closes == "half" else len(rows) - 1)

    def _beta(self, symbol: str) -> Decimal:
        return Decimal(Random(f"{self.seed}/{symbol}").randint(6000, 15000)) / 10000
