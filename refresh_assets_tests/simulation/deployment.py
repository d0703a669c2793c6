"""The deployed program, in processes of its own: each does what it is asked, a line of JSON each time.

Here: the real sensor, schedule, job, commands and onboarding, at the instants that the simulation names; one Dagster
instance on disk that the processes share. Not here: what should come of it (play.py). Run as a module."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import traceback
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.storage.runs.schema import RunsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._utils.schedules import schedule_execution_time_iterator

from refresh_assets.automation.launch import run_days
from refresh_assets.automation.onboarding import onboard
from refresh_assets.automation.schedule import portfolio_refresh_schedule, schedule_look
from refresh_assets.automation.sensor import JOB, sensor_look
from refresh_assets.calendar import TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.stale import stale_days

Answer = dict[str, Any]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Deployment:
    """One process of the deployment."""

    def __init__(self, home: Path) -> None:
        self.instance = dg.DagsterInstance.from_config(str(home))
        self.job = defs.resolve_job_def(JOB)

    def answer(self, question: Answer) -> Answer:
        """Do one thing."""
        now = datetime.fromisoformat(question["now"])
        match question["do"]:
            case "schedule":
                found = schedule_look(load(), self.instance, now)
                if isinstance(found, dg.SkipReason):
                    return {"requests": [], "skip": found.skip_message}
                return {"requests": [_request(one) for one in found], "skip": None}
            case "sensor":
                return self._sensor(now, question["cursor"])
            case "run":
                return self._run(question["request"], now)
            case "command":
                days = [date.fromisoformat(day) for day in question["days"]]
                outcomes = run_days(load(), days, question["scope"])
                return {"success": all(one.success for one in outcomes), "error": [one.error for one in outcomes]}
            case "outdated":
                database, calendar = Database.of(load()), TradingCalendar(load().extra_closures)
                complete = [date.fromisoformat(day) for day in question["days"]]
                return {"days": [str(day) for day in stale_days(database, calendar, complete).days]}
            case "clean":
                os.environ["REFRESH_DATABASE_URL"] = question["url"]
                return self.answer({**question, "do": "command", "scope": "all"})
            case "onboard":
                done = onboard(load(), question["portfolio"], now)
                return {
                    "success": done.success,
                    "days": [str(day) for day in done.days],
                    "left_out": len(done.left_out),
                }
            case "report":
                return self._report(now)
            case "ticks":
                return {"ticks": _ticks(now, datetime.fromisoformat(question["to"]))}
        raise ValueError(question["do"])

    def _sensor(self, now: datetime, cursor: str | None) -> Answer:
        found = sensor_look(load(), self.instance, now, cursor)
        for event in found.asset_events:
            self.instance.report_runless_asset_event(event)
        skip = found.skip_reason
        return {
            "requests": [_request(one) for one in found.run_requests or []],
            "skip": skip.skip_message if isinstance(skip, dg.SkipReason) else skip,
            "cursor": found.cursor,
        }

    def _run(self, request: Answer, now: datetime) -> Answer:
        result = self.job.execute_in_process(
            instance=self.instance,
            tags=request["tags"],
            run_config={**request["config"], **QUIET},
            raise_on_error=False,
        )
        if not result.success:
            self._ended(result.run_id, now)
        return {"success": result.success, "run_id": result.run_id}

    def _report(self, now: datetime) -> Answer:
        """What Dagster's code server does once it sees that a worker is gone."""
        dead = self.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
        for run in dead:
            self.instance.report_run_failed(run, "the worker is gone")
            self._ended(run.run_id, now)
        return {"dead": len(dead)}

    def _ended(self, run_id: str, now: datetime) -> None:
        """Dagster stamps runs with the machine's clock; the simulated evening lies years before it."""
        storage = self.instance.run_storage
        assert isinstance(storage, SqlRunStorage)
        ended = now.astimezone(UTC)
        with storage.connect() as connection:
            connection.execute(
                RunsTable.update()
                .where(RunsTable.c.run_id == run_id)
                .values(end_time=ended.timestamp(), update_timestamp=ended.replace(tzinfo=None))
            )


def _request(one: dg.RunRequest) -> Answer:
    return {"tags": dict(one.tags), "config": dict(one.run_config or {}), "key": one.run_key}


def _ticks(first: datetime, last: datetime) -> list[str]:
    """When Dagster's daemon fires the schedule."""
    zone = portfolio_refresh_schedule.execution_timezone
    found: list[str] = []
    for tick in schedule_execution_time_iterator(first.timestamp(), portfolio_refresh_schedule.cron_schedule, zone):
        if tick > last:
            return found
        found.append(tick.astimezone(UTC).isoformat())
    return found


def serve(path: str) -> None:
    """Be loaded once, with the settings of the environment, and fork a process of the deployment for each that connects.

    So a restart costs no import; a process that is killed takes nothing with it but itself."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    defs.resolve_job_def(JOB)
    assert threading.active_count() == 1, "a fork takes no thread along"
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(1)
        while os.getppid() == parent:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                connection.settimeout(None)
                _answer_all(connection)
                os._exit(0)
            connection.close()


def _answer_all(connection: socket.socket) -> None:
    """The first line names the Dagster home; then a question a line, until nobody asks."""
    with connection, connection.makefile("r") as questions, connection.makefile("w") as answers:
        deployment = Deployment(Path(questions.readline().strip()))
        print(json.dumps({"pid": os.getpid()}), file=answers, flush=True)
        for line in questions:
            try:
                answer = deployment.answer(json.loads(line))
            except Exception:  # told to who asked
                answer = {"raised": traceback.format_exc()}
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
