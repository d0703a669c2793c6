"""Playing a script: each thing happens, each look is held against what the script says, each dawn against the tables.

Here: the order of things, and an oracle that is a list of days with the instant at which each can start. Not here: asking
the gate what should be (nothing here imports it), the comparison of every byte at the end (clean.py)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

from refresh_assets_tests.simulation.kinds import Happening, What, at
from refresh_assets_tests.simulation.platform import Platform
from refresh_assets_tests.simulation.processes import Answer, Processes
from refresh_assets_tests.simulation.script import CALENDAR, Script
from refresh_assets_tests.simulation.watch import Watch

PAUSE = timedelta(minutes=5)
"""After a failed run of a day. The script fails no day twice."""


_LEFT = "closes are counted within three looks"
"""A look that has read positions leaves that to the next one, half a minute later."""


class Difference(AssertionError):
    """What happened is not what the script says. The message names seed, night, instant and both."""


class Play:
    """One script on one database."""

    def __init__(self, script: Script, platform: Platform, processes: Processes, watch: Watch) -> None:
        self.script, self.platform, self.processes, self.watch = script, platform, processes, watch
        self.done: set[date] = set()
        self.flying: set[date] = set()
        self.retry: dict[date, datetime] = {}
        self.looks = self.runs = 0
        self._random = Random(f"play {script.seed}")
        self._now, self._night = at(script.first, 0), script.first
        self._happen: dict[What, Callable[[Happening], None]] = {
            What.BATCH: platform.batch,
            What.SYMBOL: platform.symbol,
            What.SCHEDULE: self._schedule,
            What.LOOK: self._look,
            What.RACE: self._race,
            What.KILL: self._kill,
            What.LOSE: self._lose,
            What.REPORT: self._report,
            What.NOTICED: self._noticed,
            What.ABORTED: self._aborted,
            What.BREAK: lambda one: platform.refuse(one.day, one.table, refuses=True),
            What.MEND: lambda one: platform.refuse(one.day, one.table, refuses=False),
            What.SPOIL: lambda _: platform.spoil(),
            What.REPAIR: self._repair,
            What.ARRIVE: self._arrive,
            What.ONBOARD: self._onboard,
            What.RESTATE: self._restate,
            What.RESTART: lambda _: self.processes.restart(),
            What.FORGET: lambda _: self.processes.forget(),
            What.ANNOUNCE: lambda _: self.processes.announce(),
            What.DAWN: self._dawn,
        }

    def to_the_end(self) -> None:
        """All of it. Raises Difference at the first."""
        self._check_ticks()
        for one in self.script.happenings:
            self._now, self._night = one.at, one.day
            self._happen[one.what](one)
        left = [night.day for night in self.script.nights if night.day not in self.done]
        self._same("days that were never computed", left, [])
        self._same("days that are outdated", self._outdated(), [])

    def _same(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            kind = next((night.kind for night in self.script.nights if night.day == self._night), "closure")
            raise Difference(
                f"seed {self.script.seed}, {len(self.script.nights)} nights, night {self._night} ({kind}),"
                f" at {self._now:%Y-%m-%d %H:%M:%S} UTC: {what}: found {found!r}, expected {expected!r}"
            )

    def _check_ticks(self) -> None:
        """The schedule's ticks are 21:30 New York on weekdays, on both sides of the clock change."""
        first, last = at(self.script.first, -60), at(self.script.nights[-1].day, 60)
        days = (self.script.first + timedelta(days=number) for number in range((last - first).days + 1))
        expected = [at(day, 0).isoformat() for day in days if day.weekday() < 5]
        self._same("ticks", self.processes.daemon.ask("ticks", first, to=last)["ticks"], expected)

    # What should start now, by the script alone.

    def _expected(self) -> list[list[date]]:
        """Stretches of consecutive trading days that can start at this instant."""
        ready = {
            night.day
            for night in self.script.nights
            if night.ready is not None
            and night.ready <= self._now
            and night.day not in self.done | self.flying
            and self.retry.get(night.day, self._now) <= self._now
        }
        found: list[list[date]] = []
        every = self.script.trading_days(self._now)
        before = {later: earlier for earlier, later in pairwise(every)}
        for day in sorted(ready):
            if found and before.get(day) == found[-1][-1]:
                found[-1].append(day)
            else:
                found.append([day])
        return found

    def _asked(self, do: str) -> list[Answer]:
        """One look: the requests that it made, held against the script."""
        self._same("connections that stay behind", self.watch.quiet(), [])
        self.looks += 1
        if do == "sensor":
            answer = self._sensor()
            if _LEFT in (answer["skip"] or ""):
                answer = self._sensor()
                self._same("what two looks leave to the next", _LEFT in (answer["skip"] or ""), False)
        else:
            answer = self.processes.daemon.ask(do, self._now)
        stretches = [_days_of(request, self.script.trading_days(self._now)) for request in answer["requests"]]
        self._same(f"what the {do} starts (its skip reason: {answer['skip']})", stretches, self._expected())
        self._same("a skip reason where nothing starts", bool(answer["skip"]), not stretches)
        self._words = answer["skip"] or ""
        return answer["requests"]

    def _sensor(self) -> Answer:
        answer = self.processes.daemon.ask("sensor", self._now, cursor=self.processes.cursor)
        self.processes.cursor = answer["cursor"]
        return answer

    def _run(self, request: Answer) -> None:
        """The worker runs a request to its end."""
        days = _days_of(request, self.script.trading_days(self._now))
        self.runs += 1
        answer = self.processes.worker.ask("run", self._now, request=request)
        refused = self._refused_today()
        self._same(f"success of the run of {days}", answer["success"], not refused)
        if refused:
            self.retry |= dict.fromkeys(days, self._now + PAUSE)
        else:
            self.done |= set(days)

    def _refused_today(self) -> bool:
        events = [one for one in self.script.happenings if one.at <= self._now and one.what in (What.BREAK, What.MEND)]
        return bool(events) and events[-1].what is What.BREAK

    # What happens.

    def _look(self, _: Happening) -> None:
        for request in self._asked("sensor"):
            self._run(request)

    def _schedule(self, one: Happening) -> None:
        if one.day in self.script.trading_days(self._now):
            for request in self._asked("schedule"):
                self._run(request)
            return
        skip = self.processes.daemon.ask("schedule", self._now)["skip"] or ""
        self._same("words on a closed day", f"{one.day} is no trading day" in skip, True)

    def _race(self, one: Happening) -> None:
        """Two requests for one day in the queue, while a person's command, which passes by the queue, runs it too."""
        first, second = self._asked("schedule"), self._asked("sensor")
        self._same(
            "requests of schedule and sensor", [request["tags"] for request in first], [r["tags"] for r in second]
        )
        daemon, worker, now = self.processes.daemon, self.processes.worker, self._now
        worker.send("run", now, request=first[0])
        daemon.send("command", now, days=[one.day], scope=self._random.choice(["all", "missing"]))
        self._same("success of both", [worker.receive()["success"], daemon.receive()["success"]], [True, True])
        self._run(second[0])

    def _kill(self, one: Happening) -> None:
        (request,) = self._asked("schedule")
        with self.watch.snare(one.table, one.day):
            self.processes.worker.send("run", self._now, request=request)
            self._same(f"the run comes to {one.table}", self.watch.someone_waits(), True)
            self.processes.replace_worker()
        self.flying = set(_days_of(request, self.script.trading_days(self._now)))
        self._read_done()

    def _lose(self, one: Happening) -> None:
        self._kill(one)
        self.processes.forget()
        self.flying = set()

    def _report(self, _: Happening) -> None:
        self._same("runs found dead", self.processes.daemon.ask("report", self._now)["dead"], 1)
        self.retry |= dict.fromkeys(self.flying, self._now + PAUSE)
        self.flying = set()

    def _noticed(self, one: Happening) -> None:
        self.flying = set()
        self._look(one)

    def _read_done(self) -> None:
        """Whether a killed run had done its work: as readers see it."""
        self._same("connections that stay behind", self.watch.quiet(), [])
        rows = self.watch.connection.execute("select calculation_date from refresh_complete_days").fetchall()
        self.done |= {row[0] for row in rows} & self.flying

    def _aborted(self, one: Happening) -> None:
        row = self.watch.connection.execute(
            "select status from batch_run_tracking where batch_type = 'portfolio_refresh' and target_date = %s",
            [one.day],
        ).fetchone()
        self._same("the night's own row", row, ("aborted",))

    def _repair(self, one: Happening) -> None:
        self.platform.repair()
        answer = self.processes.daemon.ask("command", self._now, days=[one.day], scope="all")
        self._same("the command", answer, {"success": True, "error": [None]})

    def _restate(self, one: Happening) -> None:
        """Closes that came late change later days: nothing is restated by itself, `status` names them, a person does it."""
        assert one.since is not None
        days = [day for day in sorted(self.done) if day > one.since]
        self._same("days that are outdated", self._outdated(), [str(day) for day in days])
        answer = self.processes.daemon.ask("command", self._now, days=days, scope="all")
        self._same("the command", answer, {"success": True, "error": [None]})

    def _outdated(self) -> list[str]:
        """Complete days that no longer agree with the platform, as `status` finds them."""
        answer: list[str] = self.processes.daemon.ask("outdated", self._now, days=sorted(self.done))["days"]
        return answer

    def _arrive(self, one: Happening) -> None:
        self.platform.arrive(one)
        assert one.since is not None
        self.done = {day for day in self.done if day < one.since}

    def _onboard(self, one: Happening) -> None:
        """At once, on all days since its inception (without one: on the last close); so no look finds anything."""
        name = self.platform.arrive(one)
        answer = self.processes.daemon.ask("onboard", self._now, portfolio=name)
        expected = (
            sorted(self.done)[-1:] if one.since is None else [day for day in sorted(self.done) if day >= one.since]
        )
        days = [str(day) for day in expected]
        self._same("what the onboarding did", answer, {"success": True, "days": days, "left_out": 0})

    def _dawn(self, one: Happening) -> None:
        """The night ended computed or named; whom it woke; nothing stays behind."""
        self._look(one)
        pending = {
            night.day
            for night in self.script.nights
            if night.day not in self.done and CALENDAR.close_time(night.day) <= self._now
        }
        self._same("something still starts", self._asked("sensor"), [])
        named = _named(self._words, self.script.trading_days(self._now))
        self._same("days that are neither computed nor named", sorted(pending - named), [])
        self._same("connections that stay behind", self.watch.quiet(), [])
        self._same("locks that stay behind", self.watch.locks(), [])
        complete = self.watch.connection.execute(
            "select calculation_date from refresh_complete_days order by 1"
        ).fetchall()
        self._same("complete days", [row[0] for row in complete], sorted(self.done))
        alerts = self.watch.connection.execute(
            "select kind, day from refresh_alerts where day <= %s or day is null order by day, kind", [one.day]
        ).fetchall()
        expected = sorted(self.script.alerts(one.day), key=lambda alert: (alert[1], alert[0]))
        self._same("alerts", alerts, expected)


def _days_of(request: Answer, trading_days: Sequence[date]) -> list[date]:
    """The trading days that a request covers."""
    tags: dict[str, Any] = request["tags"]
    first, last = (date.fromisoformat(tags[f"dagster/asset_partition_range_{end}"]) for end in ("start", "end"))
    return [day for day in trading_days if first <= day <= last]


def _named(words: str, trading_days: Sequence[date]) -> set[date]:
    """The days that a skip reason names, alone or as ranges."""
    found = set()
    for first, last in re.findall(r"(\d{4}-\d\d-\d\d)(?: to (\d{4}-\d\d-\d\d))?", words):
        until = date.fromisoformat(last or first)
        found |= {day for day in trading_days if date.fromisoformat(first) <= day <= until}
    return found
