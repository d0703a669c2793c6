"""The sensor: looks every half minute whether a night can start, and starts it.

Here: one look (facts from the tables, runs from Dagster, the gate's decision and what follows from it), which the schedule
takes as well; telling Dagster which symbol batches completed. Not here: deciding (gate.py), the queries
(store/gate_facts.py), delivering an alert (alerts.py), runs whose process is gone (runs.py)."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import dagster as dg
import psycopg
from dagster import DagsterRunStatus, RunsFilter

from refresh_assets.assets.run_days import NIGHTS, days_of, range_tags
from refresh_assets.automation.alerts import deliver_pending, raise_alert
from refresh_assets.automation.gate import Decision, GateSettings, decide
from refresh_assets.automation.launch import MISSING
from refresh_assets.automation.runs import (
    ENDED_BADLY,
    FAILURES_COUNT_FOR,
    RUNS_READ,
    UNFINISHED,
    alert_of_killed_runs,
    end_dead_runs,
    is_left_to_the_gate,
    writes_the_night,
)
from refresh_assets.automation.runs import JOB as JOB
from refresh_assets.automation.telemetry import export_aborted
from refresh_assets.calendar import TradingCalendar
from refresh_assets.settings import Settings, load
from refresh_assets.store.batches import CompletedBatch, completed_batches, record_aborted
from refresh_assets.store.database import Database
from refresh_assets.store.gate_facts import FailedRuns, Memory, read_facts
from refresh_assets.store.provision import check_ours, check_platform
from refresh_assets.store.schema_names import DAY_TABLES

UPSTREAM = ("market_data_cache", "symbol_factor_exposures")
BATCHES_TOLD_AT_ONCE = 25
"""A platform with years of batches is told to Dagster over some looks: each event costs some milliseconds."""

RUNS_AT_ONCE = 5
"""Runs of a day in 24 hours that succeed and are followed by the next at once, if it is due again: by then it is not somebody
new who is due, but somebody whom the night never accounts for."""
_NEVER = datetime.min.replace(tzinfo=UTC)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cursor:
    """What the sensor remembers from look to look: what it saw, the last symbol batch that it told Dagster of, and since
    when runs give no sign of life."""

    memory: Memory | None = None
    told: CompletedBatch | None = None
    silent: Mapping[str, datetime] = field(default_factory=dict)

    def to_text(self, calendar: TradingCalendar) -> str:
        return json.dumps(
            {
                "memory": self.memory.to_json(calendar) if self.memory else None,
                "told": [self.told.at.isoformat(), self.told.day.isoformat()] if self.told else None,
                "silent": {run: since.isoformat() for run, since in self.silent.items()},
            }
        )

    @classmethod
    def from_text(cls, text: str | None, calendar: TradingCalendar) -> Cursor:
        """One that cannot be read is an empty one: then everything is looked at, and told, again."""
        try:
            figures = json.loads(text or "{}")
            memory, told = figures.get("memory"), figures.get("told")
            return cls(
                Memory.from_json(memory, calendar) if memory else None,
                CompletedBatch(datetime.fromisoformat(told[0]), date.fromisoformat(told[1])) if told else None,
                {run: datetime.fromisoformat(since) for run, since in (figures.get("silent") or {}).items()},
            )
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return cls()


@dg.sensor(
    name="symbol_batch_sensor",
    job_name=JOB,
    minimum_interval_seconds=load().gate_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Starts every night that is due and ready: late batches, holes, what the schedule found waiting. Its skip"
    " reason says what it waits for; after the deadline it wakes a person, and keeps looking.",
)
def symbol_batch_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """One look, at the instant at which it is taken."""
    return sensor_look(load(), context.instance, datetime.now(UTC), context.cursor)


def sensor_look(settings: Settings, instance: dg.DagsterInstance, now: datetime, cursor: str | None) -> dg.SensorResult:
    """What the sensor finds at an instant: runs to start or why none, and symbol batches that completed.

    Runs whose process is gone are reported to Dagster as failed first, so that what they left is due in this very look.
    Alerts are raised and `aborted` is recorded before it returns."""
    calendar = TradingCalendar(settings.extra_closures)
    before = Cursor.from_text(cursor, calendar)
    database = Database.of(settings)
    silent = end_dead_runs(database, instance, calendar, now, before.silent)
    decision, memory = look(settings, instance, now, before.memory or Memory())
    alert_of_killed_runs(database, instance, calendar, now)
    deliver_pending(database, settings, now)
    with database.connect() as connection:
        batches = completed_batches(connection, before.told, BATCHES_TOLD_AT_ONCE)
    after = Cursor(memory, batches[-1] if batches else before.told, silent)
    return dg.SensorResult(
        run_requests=run_requests(instance, decision),
        skip_reason=decision.skip_reason,
        asset_events=list(_events(batches, settings, calendar, now)),
        cursor=after.to_text(calendar),
    )


def look(
    settings: Settings, instance: dg.DagsterInstance, now: datetime, memory: Memory | None = None
) -> tuple[Decision, Memory]:
    """The gate's decision at an instant, with its alerts raised and `aborted` recorded; and what to remember.

    Raises SchemaError where a table or column is missing, DatabaseUnreachable."""
    database, gate = Database.of(settings), GateSettings.of(settings)
    in_flight = days_in_flight(instance, gate.calendar)
    failed = failed_runs(instance, gate.calendar, now)
    with database.connect() as connection:
        try:
            facts, memory = read_facts(
                connection, gate.calendar, settings.start_date, now, gate.max_heal_days, in_flight, failed, memory
            )
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedFunction):
            connection.rollback()
            check_platform(connection, database)  # both name what is missing, with the mend
            check_ours(connection, database)
            raise
        decision = decide(facts, now, gate)
        aborted = decision.aborted
        new = aborted is not None and record_aborted(connection, aborted, decision.aborted_words, now)
    for alert in decision.alerts:
        raise_alert(database, alert.kind.value, alert.day, alert.words, now)
    if new and aborted is not None:
        export_aborted(aborted, decision.aborted_words)
    if decision.runs:  # then there is no skip reason to say what is left out
        starts = ", ".join(range_tags(stretch)[NIGHTS] for stretch in decision.runs)
        log.info("starts %s; %s", starts, decision.waiting or "nothing else is due")
    return decision, memory


def run_requests(instance: dg.DagsterInstance, decision: Decision) -> list[dg.RunRequest]:
    """One run a stretch. A run key is for ever, also that of a run that failed: so it counts the runs before."""
    requests = []
    for stretch in decision.runs:
        tags = range_tags(stretch)
        attempt = instance.get_runs_count(RunsFilter(job_name=JOB, tags={NIGHTS: tags[NIGHTS]})) + 1
        requests.append(
            dg.RunRequest(
                run_key=f"{tags[NIGHTS]} attempt {attempt}",
                run_config={"resources": {"refresh": {"config": {"scope": MISSING}}}},
                tags=tags,
            )
        )
    return requests


def days_in_flight(instance: dg.DagsterInstance, calendar: TradingCalendar) -> frozenset[date]:
    """Days that an unfinished run covers: of the night's job, of onboarding, or of a person who materializes its tables."""
    runs = instance.get_runs(RunsFilter(statuses=UNFINISHED))
    return frozenset(day for run in runs if writes_the_night(run) for day in days_of(run.tags, calendar))


def failed_runs(instance: dg.DagsterInstance, calendar: TradingCalendar, now: datetime) -> dict[date, FailedRuns]:
    """How often runs of a day failed or were cancelled in the last 24 hours, and when the last one ended.

    A failure that a later run of the day made good counts no more: what is due then is new. But a day that was due after so
    many runs that succeeded is made good by none: those after the first RUNS_AT_ONCE count as if they had failed. A run of
    the command line that was killed is no reason to pause: nobody else repeats it."""
    made_good = defaultdict[date, list[datetime]](list)
    for day, ended, run in _ended(instance, calendar, [DagsterRunStatus.SUCCESS], now):
        if run.asset_selection is None or {dg.AssetKey(table) for table in DAY_TABLES} <= run.asset_selection:
            made_good[day].append(ended)
    found = {
        day: FailedRuns(len(ends) - RUNS_AT_ONCE + 1, max(ends), succeeded=True)
        for day, ends in made_good.items()
        if len(ends) >= RUNS_AT_ONCE
    }
    failed = defaultdict[date, list[datetime]](list)
    for day, ended, run in _ended(instance, calendar, ENDED_BADLY, now):
        if not is_left_to_the_gate(run) and ended > max(made_good.get(day, []), default=_NEVER):
            failed[day].append(ended)
    return found | {day: FailedRuns(len(ends), max(ends)) for day, ends in failed.items()}


def _ended(
    instance: dg.DagsterInstance, calendar: TradingCalendar, statuses: list[DagsterRunStatus], now: datetime
) -> Iterable[tuple[date, datetime, dg.DagsterRun]]:
    """Days of the job's runs that ended so in the last 24 hours, and when."""
    records = instance.get_run_records(
        RunsFilter(job_name=JOB, statuses=statuses, updated_after=now - FAILURES_COUNT_FOR), limit=RUNS_READ
    )
    for record in records:
        run = record.dagster_run
        ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else record.update_timestamp
        for day in days_of(run.tags, calendar):
            yield day, ended, run


def _events(
    batches: Iterable[CompletedBatch], settings: Settings, calendar: TradingCalendar, now: datetime
) -> Iterable[dg.AssetMaterialization]:
    """What the symbol batches wrote, for Dagster's lineage; days that are no partition are not told."""
    effective = calendar.effective_date(now)
    for batch in batches:
        if settings.start_date <= batch.day <= effective and calendar.is_trading_day(batch.day):
            for name in UPSTREAM:
                yield dg.AssetMaterialization(
                    name,
                    partition=batch.day.isoformat(),
                    description="the symbol batch completed",
                    metadata={"completed_at": dg.MetadataValue.timestamp(batch.at)},
                )
