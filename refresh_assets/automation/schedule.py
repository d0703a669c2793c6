"""The schedule: 21:30 New York on trading days, summer and winter.

Here: when it fires, and the words with which it skips. Not here: what it starts (sensor.py takes the same look), deciding
(gate.py)."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from refresh_assets.automation.gate import NIGHT_BEGINS
from refresh_assets.automation.sensor import JOB, look, run_requests
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.settings import Settings, load


@dg.schedule(
    name="portfolio_refresh_schedule",
    cron_schedule=f"{NIGHT_BEGINS.minute} {NIGHT_BEGINS.hour} * * 1-5",
    execution_timezone=str(NEW_YORK),
    job_name=JOB,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Starts what is ready at 21:30 New York on trading days; symbol_batch_sensor has all the rest.",
)
def portfolio_refresh_schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """One look, at the instant for which it is scheduled."""
    return schedule_look(load(), context.instance, context.scheduled_execution_time)


def schedule_look(
    settings: Settings, instance: dg.DagsterInstance, now: datetime
) -> list[dg.RunRequest] | dg.SkipReason:
    """What the schedule starts at an instant, or why nothing.

    Dagster may catch up on an evening that it missed: that evening's night is asked for, as of that evening."""
    today = now.astimezone(NEW_YORK).date()
    calendar = TradingCalendar(settings.extra_closures)
    reason = calendar.closed_reason(today)
    if reason is not None:
        coming = calendar.next_on_or_after(today)
        return dg.SkipReason(f"{today} is no trading day ({reason}): the next night is that of {coming}")
    decision, _ = look(settings, instance, now.astimezone(UTC))
    return run_requests(instance, decision) or dg.SkipReason(decision.skip_reason)
