"""The night's own rows of batch_run_tracking.

Here: running, completed or failed, with the metrics under the names that the platform knows. Not here: the symbol batch's
rows (days.py reads them), telemetry (automation/telemetry.py)."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from refresh_assets.store.database import Database
from refresh_assets.store.write import Written

BATCH = "portfolio_refresh"


@dataclass
class Tracking:
    """What a run did, by day; written when it starts and when it ends. A killed run leaves `running`: the next one ends it."""

    database: Database
    days: list[date]
    run_id: str
    written: dict[date, dict[str, Written]] = field(default_factory=dict)
    seconds: dict[date, dict[str, float]] = field(default_factory=dict)
    begin: float = field(default_factory=time.perf_counter)

    def start(self, now: datetime) -> None:
        """Mark the run's days as running, and end the row of a run that was killed after its day was complete."""
        with self.database.connect() as connection:
            connection.execute(
                "update batch_run_tracking set status = 'completed', completed_at = %s"
                " where batch_type = %s and status = 'running'"
                " and target_date in (select calculation_date from refresh_complete_days)",
                [now, BATCH],
            )
            for day in self.days:
                connection.execute(
                    "insert into batch_run_tracking (batch_type, target_date, status, started_at)"
                    " values (%s, %s, 'running', %s) on conflict (batch_type, target_date) do update set"
                    " status = 'running', started_at = excluded.started_at, completed_at = null, error_message = null",
                    [BATCH, day, now],
                )

    def note(self, asset: str, day: date, outcome: Written | dict[str, Any], seconds: float) -> None:
        """Remember what an asset did for a day."""
        self.seconds.setdefault(day, {})[asset] = round(seconds, 3)
        if isinstance(outcome, Written):
            self.written.setdefault(day, {})[asset] = outcome

    def finish(self, now: datetime) -> None:
        """Completed where every table of the day stands complete, failed otherwise."""
        with self.database.connect() as connection:
            for day in self.days:
                row = connection.execute(
                    "select count(*) filter (where status = 'complete'), count(*) filter (where status = 'skipped')"
                    " from refresh_days where calculation_date = %s",
                    [day],
                ).fetchone()
                complete, skipped = row or (0, 0)
                good = complete == 4 or skipped > 0
                connection.execute(
                    "update batch_run_tracking set status = %s, completed_at = %s, error_message = %s, metrics = %s"
                    " where batch_type = %s and target_date = %s",
                    [
                        "completed" if good else "failed",
                        now,
                        None if good else f"{complete} of 4 tables are complete; see run {self.run_id}",
                        json.dumps(self.metrics(day)),
                        BATCH,
                        day,
                    ],
                )

    def metrics(self, day: date) -> dict[str, Any]:
        """The platform's five metrics, and partial and skipped counts."""
        tables = self.written.get(day, {})
        snapshots = tables.get("portfolio_snapshots")
        return {
            "duration_seconds": round(time.perf_counter() - self.begin, 3),
            "portfolios_processed": snapshots.portfolios if snapshots else 0,
            "portfolios_failed": max((one.failed for one in tables.values()), default=0),
            "snapshots_created": snapshots.rows if snapshots else 0,
            "days_backfilled": len(self.days) - 1,
            "portfolios_partial": snapshots.partial if snapshots else 0,
            "skipped": {
                table: sum(one.codes.get(code, 0) for code in ("too_few_symbols", "no_public_value", "nothing_held"))
                for table, one in tables.items()
            },
            "seconds": self.seconds.get(day, {}),
        }
