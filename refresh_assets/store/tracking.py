"""The night's own rows of batch_run_tracking.

Here: running, completed or failed, with the metrics under the names that the platform knows; those of a night that did not
start. Not here: the symbol batch's rows (days.py reads them), who else is told (automation/telemetry.py)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import psycopg

from refresh_assets.errors import FAILURES
from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets.store.write import Written

BATCH = "portfolio_refresh"
COMPLETED, FAILED, ABORTED = "completed", "failed", "aborted"
SKIPPED_CODES = ("too_few_symbols", "no_public_value", "nothing_held")


@dataclass(frozen=True)
class DayEnd:
    """How a day stands at the end of a run: completed, failed or aborted, and its metrics."""

    day: date
    status: str
    metrics: dict[str, Any]


def metrics_of_none(reason: str) -> dict[str, Any]:
    """The metrics of a night that did not start, with the reason in words."""
    return {
        "duration_seconds": 0.0,
        "portfolios_processed": 0,
        "portfolios_failed": 0,
        "snapshots_created": 0,
        "days_backfilled": 0,
        "portfolios_partial": 0,
        "skipped": {},
        "seconds": {},
        "reason": reason,
    }


@dataclass
class Tracking:
    """What a run did, by day; written when it starts and when it ends. A killed run leaves `running`: the next one ends it.

    Attributes:
        effective: the effective trading date when the run begins; an earlier day is one that is backfilled. None: none is.
        adds: the run adds portfolios to days that stand, and is told only for what it added."""

    database: Database
    days: list[date]
    run_id: str
    effective: date | None = None
    adds: bool = False
    written: dict[date, dict[str, Written]] = field(default_factory=dict)
    seconds: dict[date, dict[str, float]] = field(default_factory=dict)
    begin: float = field(default_factory=time.perf_counter)
    _before: dict[tuple[date, str], tuple[int, int]] = field(default_factory=dict)

    def start(self, now: datetime) -> None:
        """Mark the run's days as running, and end the row of a run that was killed after its day was complete."""
        with self.database.connect() as connection:
            connection.execute(
                "update batch_run_tracking set status = 'completed', completed_at = %s"
                " where batch_type = %s and status::text = 'running'"
                " and target_date in (select calculation_date from refresh_complete_days)",
                [now, BATCH],
            )
            for day in self.days:
                connection.execute(
                    "insert into batch_run_tracking (batch_type, target_date, status, started_at)"
                    " values (%s, %s, 'running', %s) on conflict (batch_type, target_date) do update set"
                    " status = 'running', started_at = excluded.started_at, completed_at = null, error_message = null,"
                    " metrics = null",
                    [BATCH, day, now],
                )
            if self.adds:
                self._before = {
                    (day, table): (portfolios, rows)
                    for day, table, portfolios, rows in connection.execute(
                        "select calculation_date, table_name, portfolios, rows from refresh_days"
                        " where calculation_date = any(%s) and status = 'complete'",
                        [self.days],
                    ).fetchall()
                }

    def note(self, asset: str, day: date, outcome: Written | dict[str, Any] | None, seconds: float) -> None:
        """Remember what an asset did for a day, or, where it failed (None), how long it took to."""
        self.seconds.setdefault(day, {})[asset] = round(seconds, 3)
        if isinstance(outcome, Written):
            self.written.setdefault(day, {})[asset] = outcome

    def finish(self, now: datetime) -> list[DayEnd]:
        """Completed where every table of the day stands complete, failed otherwise; written down, and given back."""
        ends = []
        with self.database.connect() as connection:
            complete, skipped = self._tables_by_day(connection, "complete"), self._tables_by_day(connection, "skipped")
            failed = self._failed_portfolios(connection)
            good = [day for day in self.days if complete.get(day) == len(DAY_TABLES) or skipped.get(day)]
            earlier = [day for day in good if self.effective and day < self.effective]
            backfilled = sum(not skipped.get(day) for day in earlier)
            for day in self.days:
                metrics = self.metrics(day, failed.get(day, 0), backfilled)
                ends.append(DayEnd(day, COMPLETED if day in good else FAILED, metrics))
                tables = f"{complete.get(day, 0)} of {len(DAY_TABLES)} tables are complete"
                connection.execute(
                    "update batch_run_tracking set status = %s, completed_at = %s, error_message = %s, metrics = %s"
                    " where batch_type = %s and target_date = %s",
                    [
                        ends[-1].status,
                        now,
                        None if day in good else f"{tables}; see run {self.run_id}",
                        json.dumps(metrics),
                        BATCH,
                        day,
                    ],
                )
        return ends

    def lost(self) -> list[DayEnd]:
        """The same where it cannot be read or written down: what the run knows by itself, every day as failed."""
        return [DayEnd(day, FAILED, self.metrics(day, 0, 0)) for day in self.days]

    def metrics(self, day: date, failed: int, backfilled: int) -> dict[str, Any]:
        """The platform's five metrics, partial and skipped counts, and the seconds of each asset.

        Args:
            failed: portfolios that stand as failed in some table.
            backfilled: complete days of the run before its effective trading date."""
        tables = self.written.get(day, {})
        added = {table: self._added(one) for table, one in tables.items()}
        snapshots = tables.get("portfolio_snapshots")
        processed, created = added.get("portfolio_snapshots", (0, 0))
        if not processed:  # the run was for another table
            processed = max((portfolios for portfolios, _ in added.values()), default=0)
        return {
            "duration_seconds": round(time.perf_counter() - self.begin, 3),
            "portfolios_processed": processed,
            "portfolios_failed": failed,
            "snapshots_created": created,
            "days_backfilled": backfilled,
            "portfolios_partial": snapshots.partial if snapshots else 0,
            "skipped": {table: sum(one.codes.get(code, 0) for code in SKIPPED_CODES) for table, one in tables.items()},
            "seconds": self.seconds.get(day, {}),
        }

    def _added(self, written: Written) -> tuple[int, int]:
        """Portfolios and rows that came by this run; a day that was replaced came whole."""
        portfolios, rows = self._before.get((written.day, written.table), (0, 0))
        return max(written.portfolios - portfolios, 0), max(written.rows - rows, 0)

    def _tables_by_day(self, connection: psycopg.Connection[Any], status: str) -> Mapping[date, int]:
        return dict(
            connection.execute(
                "select calculation_date, count(*) from refresh_days where calculation_date = any(%s) and status = %s"
                " group by calculation_date",
                [self.days, status],
            ).fetchall()
        )

    def _failed_portfolios(self, connection: psycopg.Connection[Any]) -> Mapping[date, int]:
        return dict(
            connection.execute(
                "select calculation_date, count(distinct portfolio_id) from refresh_exceptions"
                " where calculation_date = any(%s) and asset = any(%s) and code = any(%s) group by calculation_date",
                [self.days, list(DAY_TABLES), sorted(code.value for code in FAILURES)],
            ).fetchall()
        )
