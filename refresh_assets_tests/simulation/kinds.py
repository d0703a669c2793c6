"""The kinds of night: what happens on each, from when its day can start, and whom it wakes.

Here: one function a kind, from a seeded random and a day to a Night: the simulation's own reading of the spec, by hand.
Not here: which kinds follow each other (script.py), asking the gate for anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from random import Random
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
DEADLINE, DAWN_AT = 60, 690  # minutes after 21:30; the second is 9 in the morning but for the night of a clock change
TABLES = ("portfolio_snapshots", "correlation_calculations", "factor_exposures", "stress_test_results")
KILL_POINTS = ("batch_run_tracking", *TABLES, "positions")
"""Where a run dies: before its first write, with rows of a table copied but not committed, after its last table."""

TIMEOUT, FAILED, LOW_COVERAGE = "symbol_batch_timeout", "symbol_batch_failed", "low_price_coverage"
NIGHT_FAILED, PORTFOLIO_FAILURES = "night_failed", "portfolio_failures"


class What(StrEnum):
    """What can happen."""

    BATCH = "the symbol batch writes"
    SYMBOL = "a symbol is onboarded"
    SCHEDULE = "the schedule ticks"
    LOOK = "the sensor looks"
    RACE = "schedule, sensor and a person's command at one instant"
    KILL = "the schedule ticks, and the worker is killed"
    LOSE = "the schedule ticks, and worker, daemon and Dagster's instance are lost"
    REPORT = "the code server reports that the worker is gone"
    NOTICED = "the sensor looks, and sees for the second time that the run gives no sign of life"
    ABORTED = "the night is on record as aborted"
    BREAK = "a table refuses the day"
    MEND = "it takes the day again"
    SPOIL = "two books get absurd quantities"
    REPAIR = "they get their own back, and a person runs the day again"
    ARRIVE = "a portfolio is created"
    ONBOARD = "a portfolio is created and onboarded by command"
    RESTATE = "a person runs the days again that were computed without the closes that came later"
    RESTART = "the deployment restarts"
    FORGET = "it restarts without Dagster's instance and cursor"
    ANNOUNCE = "a closure is announced: it restarts with the setting"
    DAWN = "the night is over: the sensor looks, everything is compared"


@dataclass(frozen=True)
class Happening:
    """One thing that happens at an instant.

    Attributes:
        status: what the batch (or a symbol's onboarding) says; empty: it writes closes and says nothing.
        closes: which closes arrive: all, half, most, or none.
        table: where a run dies, or what refuses the day.
        since: the inception of a portfolio that arrives, the day whose closes came after later days were computed."""

    at: datetime
    what: What
    day: date
    status: str = ""
    closes: str = "none"
    table: str = ""
    since: date | None = None


@dataclass
class Night:
    """A night: its trading day, what happens, the first instant at which its day can start, what it wakes a person for."""

    day: date
    kind: str
    happenings: list[Happening] = field(default_factory=list)
    ready: datetime | None = None
    alerts: tuple[str, ...] = ()
    ticks: bool = True
    """Whether the schedule ticks and the sensor looks as on any evening."""


def at(day: date, minutes: float) -> datetime:
    """So many minutes after 21:30 New York of a day, in UTC."""
    return datetime.combine(day, time(21, 30), NEW_YORK).astimezone(UTC) + timedelta(minutes=minutes)


def batch(day: date, minutes: float, status: str, closes: str = "all") -> Happening:
    return Happening(at(day, minutes), What.BATCH, day, status, closes)


def look(day: date, minutes: float, what: What = What.LOOK) -> Happening:
    return Happening(at(day, minutes), what, day)


def given_up(day: date, minutes: float = DEADLINE) -> list[Happening]:
    return [look(day, minutes), look(day, minutes, What.ABORTED)]


def on_time(_: Random, day: date) -> Night:
    return Night(day, "on time", [batch(day, -18, "completed")], at(day, 0))


def thin(_: Random, day: date) -> Night:
    """A close or two never come, and nobody waits for them: partial snapshots."""
    return Night(day, "thin", [batch(day, -18, "completed", "most")], at(day, 0))


def late(random: Random, day: date) -> Night:
    minute = random.randint(1, DEADLINE - 1)
    done = [batch(day, minute, "completed"), look(day, minute + 0.5)]
    return Night(day, "late", [batch(day, -5, "running", "none"), *done], at(day, minute))


def overdue(random: Random, day: date) -> Night:
    minute = random.randint(DEADLINE + 1, 600)
    done = [batch(day, minute, "completed"), look(day, minute + 0.5)]
    begun = [batch(day, -5, "running", "none")] if random.random() < 0.5 else []
    return Night(day, "overdue", [*begun, *given_up(day), *done], at(day, minute), (TIMEOUT,))


def failed(random: Random, day: date) -> Night:
    """Alerted at once, also before 21:30; nobody waits an hour to give it up."""
    minute = random.randint(-60, 50)
    mended = minute + random.randint(5, 300)
    happenings = [batch(day, minute, "failed", "half"), look(day, minute + 0.5), batch(day, mended, "completed")]
    if mended > 0:
        happenings += [*given_up(day, max(0.25, minute + 0.75)), look(day, mended + 0.5)]
    return Night(day, "failed", happenings, at(day, max(mended, 0)), (FAILED,))


def failed_then_overdue(random: Random, day: date) -> Night:
    minute = random.randint(DEADLINE + 1, 400)
    happenings = [batch(day, -30, "failed", "none"), look(day, -29.5), batch(day, 20, "running", "none")]
    happenings += [*given_up(day), batch(day, minute, "completed"), look(day, minute + 0.5)]
    return Night(day, "failed, then overdue", happenings, at(day, minute), (FAILED, TIMEOUT))


def half_loaded(random: Random, day: date) -> Night:
    return _held(random, day, "half-loaded", "half")


def empty(random: Random, day: date) -> Night:
    """Completed, without one close: the extreme of a half-loaded night."""
    return _held(random, day, "empty", "none")


def _held(random: Random, day: date, kind: str, closes: str) -> Night:
    minute = random.randint(5, 300)
    waits = given_up(day) if minute > DEADLINE else []
    rest = batch(day, minute, random.choice(["completed", ""]))
    happenings = [batch(day, -10, "completed", closes), *waits, rest, look(day, minute + 0.5)]
    return Night(day, kind, happenings, at(day, minute), (LOW_COVERAGE,))


def onboarding(random: Random, day: date) -> Night:
    """A pending symbol holds the start, at most 120 seconds."""
    ends = random.choice([1, 30])
    happenings = [
        batch(day, -18, "completed"),
        Happening(at(day, -60), What.SYMBOL, day, "pending"),
        Happening(at(day, ends), What.SYMBOL, day, "completed"),
        *(look(day, minute) for minute in (1.5, 2)),
    ]
    return Night(day, "onboarding", happenings, at(day, min(ends, 2)))


def killed(random: Random, day: date) -> Night:
    """In flight until the code server says that the worker is gone; then tried again after 5 minutes."""
    dies = Happening(at(day, 0), What.KILL, day, table=random.choice(KILL_POINTS))
    seen = [look(day, 1, What.REPORT), look(day, 4), look(day, 6)]
    return Night(day, "killed", [batch(day, -18, "completed"), dies, *seen], at(day, 0), ticks=False)


def vanished(random: Random, day: date) -> Night:
    """In flight until the second look that finds no sign of life; then at once, as nobody else repeats it."""
    dies = Happening(at(day, 0), What.KILL, day, table=random.choice(KILL_POINTS))
    seen = [look(day, 1), look(day, 1.5, What.NOTICED)]
    return Night(day, "vanished", [batch(day, -18, "completed"), dies, *seen], at(day, 0), ticks=False)


def lost(random: Random, day: date) -> Night:
    """Nothing is remembered, so nothing is in flight: the tables say what is due, at once."""
    dies = Happening(at(day, 0), What.LOSE, day, table=random.choice(KILL_POINTS))
    return Night(day, "lost", [batch(day, -18, "completed"), dies, look(day, 1)], at(day, 0), ticks=False)


def broken(random: Random, day: date) -> Night:
    """The run fails: alerted, and tried again after 5 minutes."""
    table = random.choice(TABLES)
    happenings = [
        batch(day, -18, "completed"),
        Happening(at(day, -15), What.BREAK, day, table=table),
        look(day, 2),
        Happening(at(day, 3), What.MEND, day, table=table),
        *(look(day, minute) for minute in (4.5, 5)),
    ]
    return Night(day, "broken", happenings, at(day, 0), (NIGHT_FAILED,))


def spoiled(_: Random, day: date) -> Night:
    """Two portfolios fail, the others do not; the gate leaves them alone, a person does not."""
    happenings = [batch(day, -18, "completed"), look(day, -17, What.SPOIL), look(day, 5), look(day, 10, What.REPAIR)]
    return Night(day, "spoiled", happenings, at(day, 0), (PORTFOLIO_FAILURES,))


def race(_: Random, day: date) -> Night:
    happenings = [batch(day, -18, "completed"), look(day, 0, What.RACE)]
    return Night(day, "race", happenings, at(day, 0), ticks=False)


Kind = Callable[[Random, date], Night]
SIMPLE: tuple[Kind, ...] = (late, overdue, failed, failed_then_overdue, half_loaded, empty, thin, onboarding, killed)
RARE: tuple[Kind, ...] = (vanished, lost, broken, spoiled, race)
