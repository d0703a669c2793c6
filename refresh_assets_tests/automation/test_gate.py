"""The gate as a function: one case a sentence of the spec.

Here: facts in, decision out, with its words in full. Not here: what holds whatever the facts (test_gate_properties.py),
where facts come from (test_sensor.py)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from refresh_assets.automation.gate import AlertKind, Decision, GateAlert, GateSettings, decide, night_begins
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.store.gate_facts import Coverage, FailedRuns, GateFacts, PendingDay

CALENDAR = TradingCalendar()
SETTINGS = GateSettings(CALENDAR)
FRIDAY = date(2026, 11, 20)
TUESDAY, WEDNESDAY, THURSDAY = date(2026, 11, 17), date(2026, 11, 18), date(2026, 11, 19)
FULL = Coverage(412, 412)


def at(clock: str, day: date = FRIDAY) -> datetime:
    """A New York time."""
    return datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=NEW_YORK)


def done(day: date = FRIDAY, **other: object) -> PendingDay:
    """A day whose symbol batch completed at 21:12 with every close."""
    figures = {"batch": "completed", "completed_at": at("21:12", day), "coverage": FULL, **other}
    return PendingDay(day, **figures)  # type: ignore[arg-type]


def facts(*pending: PendingDay, **other: object) -> GateFacts:
    """Friday's facts."""
    return GateFacts(effective=FRIDAY, pending=pending, **other)  # type: ignore[arg-type]


WAITS = [
    (
        "nothing is due where everybody is accounted for",
        facts(),
        "22:00",
        "nothing is due: every portfolio is accounted for up to 2026-11-20",
    ),
    (
        "before 21:30 the night is not due, batch or not",
        facts(done()),
        "21:29:59",
        "nothing is due: the night of 2026-11-20 is due from 21:30 New York on",
    ),
    (
        "the batch has not begun: the gate waits",
        facts(PendingDay(FRIDAY, has_prices=False)),
        "21:30",
        "waiting for the symbol batch of 2026-11-20 since 21:30, 0 of 60 minutes",
    ),
    (
        "the batch runs: the gate waits, prices or not",
        facts(PendingDay(FRIDAY, "running")),
        "21:42:30",
        "waiting for the symbol batch of 2026-11-20 since 21:30, 12 of 60 minutes",
    ),
    (
        "prices of today without a word of the batch are not enough",
        facts(PendingDay(FRIDAY, None, has_prices=True)),
        "22:29:59",
        "waiting for the symbol batch of 2026-11-20 since 21:30, 59 of 60 minutes",
    ),
    (
        "an earlier day whose batch still runs is named, and stops nobody",
        facts(PendingDay(THURSDAY, "running"), PendingDay(FRIDAY)),
        "21:31",
        "waiting for the symbol batch of 2026-11-20 since 21:30, 1 of 60 minutes;"
        " the symbol batch is not complete: 2026-11-19",
    ),
    (
        "days without one price are skipped, by name",
        facts(
            PendingDay(date(2026, 11, 13), has_prices=False),
            PendingDay(date(2026, 11, 16), has_prices=False),
            done(WEDNESDAY, has_prices=False, coverage=None),
        ),
        "22:00",
        "skipped, not one close: 2026-11-13 to 2026-11-16, 2026-11-18",
    ),
    (
        "a day in flight is nobody's",
        facts(done(), in_flight=frozenset({FRIDAY})),
        "22:00",
        "in flight: 2026-11-20",
    ),
    (
        "symbols in onboarding hold the start from 21:30 on",
        facts(done(), onboarding=("NVDA", "TSLA")),
        "21:31:59",
        "waiting for 2 symbols (NVDA, TSLA) in onboarding, until 21:32:00 New York: 2026-11-20",
    ),
    (
        "after a late batch they hold it from its completion on",
        facts(done(completed_at=at("22:05")), onboarding=("A", "B", "C", "D")),
        "22:06",
        "waiting for 4 symbols (A, B, C, ...) in onboarding, until 22:07:00 New York: 2026-11-20",
    ),
    (
        "a day whose run failed is not tried again at every look",
        facts(done(), failed_runs={FRIDAY: FailedRuns(1, at("21:33"))}),
        "21:37:59",
        "the last run of 2026-11-20 failed, it is tried again at 21:38 New York",
    ),
    (
        "and less often the more often it failed",
        facts(done(), failed_runs={FRIDAY: FailedRuns(40, at("21:33"))}),
        "22:32",
        "the last run of 2026-11-20 failed, it is tried again at 22:33 New York",
    ),
    (
        "nor one that is due after many runs that succeeded",
        facts(done(), failed_runs={FRIDAY: FailedRuns(2, at("21:33"), succeeded=True)}),
        "21:42",
        "2026-11-20: still due after runs that succeeded, tried again at 21:43 New York; `refresh-assets status --date` shows"
        " the day",
    ),
    (
        "what was not counted yet waits for the next look",
        facts(done(THURSDAY, coverage=None)),
        "22:00",
        "closes are counted within three looks: 2026-11-19",
    ),
    (
        "nor is the latest day called one without closes before it was counted",
        facts(done(has_prices=False, coverage=None)),
        "22:31",
        "closes are counted within three looks: 2026-11-20",
    ),
]


@pytest.mark.parametrize(("promise", "given", "clock", "words"), WAITS, ids=[one[0] for one in WAITS])
def test_what_the_gate_waits_for_is_said_in_words(promise: str, given: GateFacts, clock: str, words: str) -> None:
    """Nothing starts, nobody is woken, and the skip reason is the whole truth."""
    assert decide(given, at(clock), SETTINGS) == Decision(waiting=words), promise


STARTS = [
    ("at 21:30 sharp what is ready starts", facts(done()), "21:30", [[FRIDAY]]),
    ("at 2 in the morning the night is still Friday's", facts(done()), "26:00", [[FRIDAY]]),
    (
        "with every earlier day that is due, one run a stretch of consecutive days, oldest first",
        facts(done(date(2026, 11, 13)), done(date(2026, 11, 16)), done(WEDNESDAY), done(THURSDAY), done()),
        "21:30",
        [[date(2026, 11, 13), date(2026, 11, 16)], [WEDNESDAY, THURSDAY, FRIDAY]],
    ),
    (
        "an earlier day without a word of the batch starts on its prices",
        facts(PendingDay(TUESDAY), done()),
        "21:30",
        [[TUESDAY], [FRIDAY]],
    ),
    ("a hole heals at noon as well", facts(done(TUESDAY)), "12:00", [[TUESDAY]]),
    (
        "a hole heals while tonight's batch is waited for",
        facts(done(THURSDAY), PendingDay(FRIDAY, "running")),
        "21:45",
        [[THURSDAY]],
    ),
    (
        "a batch that completes after the deadline heals the night at once",
        facts(done(), night="aborted"),
        "23:59",
        [[FRIDAY]],
    ),
    ("onboarding holds no longer than 120 s", facts(done(), onboarding=("NVDA",)), "21:32", [[FRIDAY]]),
    ("four of five symbols held is enough", facts(done(coverage=Coverage(5, 4))), "21:30", [[FRIDAY]]),
    (
        "a platform that holds nothing listed needs no close of it",
        facts(done(coverage=Coverage(0, 0))),
        "21:30",
        [[FRIDAY]],
    ),
    (
        "a failed day is tried again after its pause",
        facts(done(), failed_runs={FRIDAY: FailedRuns(2, at("21:33"))}),
        "21:43",
        [[FRIDAY]],
    ),
    (
        "days in flight are left to their run, and divide a stretch",
        facts(done(WEDNESDAY), done(THURSDAY), done(), in_flight=frozenset({THURSDAY})),
        "21:30",
        [[WEDNESDAY], [FRIDAY]],
    ),
]


@pytest.mark.parametrize(("promise", "given", "clock", "runs"), STARTS, ids=[one[0] for one in STARTS])
def test_what_is_due_and_ready_starts(promise: str, given: GateFacts, clock: str, runs: list[list[date]]) -> None:
    """One run a stretch; nobody is woken."""
    now = at(clock) if clock < "24" else at("02:00", date(2026, 11, 21))
    decision = decide(given, now, SETTINGS)

    assert [list(one) for one in decision.runs] == runs, promise
    assert (decision.skip_reason, decision.alerts, decision.aborted) == (None, (), None)


NO_BATCH = (
    "the symbol batch of 2026-11-20 has not begun 60 minutes after 21:30 New York: the night starts when it completes"
)
RUNNING = NO_BATCH.replace("has not begun", "says running")
FAILED = "the symbol batch of 2026-11-20 says failed (feed: 503 from vendor): the night starts when it completes"
HALF = (
    "2026-11-20 is half-loaded: 120 of 412 symbols held have a close (29.1%), REFRESH_MIN_PRICE_COVERAGE asks for 80%"
)
AGAIN = "run the symbol batch again; when it completes the night starts by itself"
LATE = "see what holds the symbol batch up; when it completes the night starts by itself"
LOAD = (
    "have the symbol batch load the missing closes; the night then starts by itself,"
    " or start it as it is with `refresh-assets run --date 2026-11-20`"
)
failed = PendingDay(FRIDAY, "failed", "feed: 503\n  from vendor")
half = done(coverage=Coverage(412, 120))
ALERTS = [
    ("60 minutes after 21:30, no batch", facts(PendingDay(FRIDAY)), "22:30", AlertKind.TIMEOUT, NO_BATCH, LATE, True),
    ("a batch that never ends", facts(PendingDay(FRIDAY, "running")), "23:00", AlertKind.TIMEOUT, RUNNING, LATE, True),
    ("a batch that failed before the night", facts(failed), "21:10", AlertKind.FAILED, FAILED, AGAIN, False),
    ("a batch that failed is not waited out", facts(failed), "21:31", AlertKind.FAILED, FAILED, AGAIN, True),
    ("a half-loaded night holds", facts(half), "21:30", AlertKind.LOW_COVERAGE, HALF, LOAD, False),
    ("a half-loaded night after the deadline", facts(half), "22:30", AlertKind.LOW_COVERAGE, HALF, LOAD, True),
]


@pytest.mark.parametrize(
    ("promise", "given", "clock", "kind", "words", "mend", "aborts"), ALERTS, ids=[one[0] for one in ALERTS]
)
def test_a_person_is_woken_once_and_the_gate_keeps_looking(
    promise: str, given: GateFacts, clock: str, kind: AlertKind, words: str, mend: str, aborts: bool
) -> None:
    """The alert says what happened and the mend; raised once, it is not raised again, nor is `aborted` recorded twice."""
    decision = decide(given, at(clock), SETTINGS)

    alert = GateAlert(kind, FRIDAY, f"{words[0].upper()}{words[1:]}. Mend: {mend}.")
    assert (decision.runs, decision.alerts, decision.skip_reason) == ((), (alert,), words), promise
    assert (decision.aborted, decision.aborted_words) == ((FRIDAY, words) if aborts else (None, ""))
    told = replace(given, raised=frozenset({(kind.value, FRIDAY)}), night="aborted")
    assert decide(told, at(clock), SETTINGS) == Decision(waiting=words)
    completed = replace(given, pending=(done(completed_at=at("21:05")),), night="aborted")
    assert decide(completed, max(at(clock), at("21:30")), SETTINGS) == Decision(runs=((FRIDAY,),))


def test_what_was_written_to_positions_and_is_not_read_yet_is_said() -> None:
    """Nothing is due but for that."""
    assert decide(facts(), at("22:00"), SETTINGS).skip_reason == (
        "nothing is due: every portfolio is accounted for up to 2026-11-20"
    )
    assert decide(replace(facts(), unread=True), at("22:00"), SETTINGS).skip_reason == (
        "nothing is due: every portfolio is accounted for up to 2026-11-20; what was written to positions since the last look"
        " is read at the next"
    )


def test_not_one_close_on_a_completed_night_is_a_half_loaded_night() -> None:
    """It is held and alerted while it is the latest day; afterwards it is a day without a price."""
    empty = done(has_prices=False, coverage=Coverage(412, 0))

    tonight = decide(facts(empty), at("21:30"), SETTINGS)
    later = decide(replace(facts(empty), effective=date(2026, 11, 23)), at("17:00", date(2026, 11, 23)), SETTINGS)

    assert [one.kind for one in tonight.alerts] == [AlertKind.LOW_COVERAGE]
    assert later == Decision(waiting="skipped, not one close: 2026-11-20")


def test_a_batch_that_runs_once_more_after_a_complete_night_aborts_nothing() -> None:
    """A portfolio that came later waits for it; nobody is woken, and `completed` stays."""
    again = facts(PendingDay(FRIDAY, "running"), night="completed")

    assert decide(again, at("23:00"), SETTINGS) == Decision(waiting=RUNNING)


def test_old_failures_are_named_and_wake_nobody() -> None:
    """A first start on a platform with years of failed batches sends no flood: only the last five trading days' count."""
    days = CALENDAR.days(date(2026, 10, 1), THURSDAY)
    decision = decide(facts(*(PendingDay(day, "failed", "x") for day in days)), at("12:00"), SETTINGS)

    assert [one.day for one in decision.alerts] == [date(2026, 11, 16), TUESDAY, WEDNESDAY, THURSDAY]
    assert decision.skip_reason == (
        "the symbol batch of 2026-10-01 to 2026-11-19 says failed: the night starts when it completes"
    )


def test_at_most_so_many_days_heal_at_once_the_oldest_first() -> None:
    """The rest is counted, and days in flight count as well."""
    days = CALENDAR.days(date(2026, 10, 1), FRIDAY)
    given = facts(*(done(day) for day in days), in_flight=frozenset(days[:2]))
    decision = decide(given, at("22:00"), replace(SETTINGS, max_heal_days=5))

    assert decision.runs == (tuple(days[2:5]),)
    assert decision.waiting == (
        f"in flight: 2026-10-01 to 2026-10-02; {len(days) - 5} days more than REFRESH_MAX_HEAL_DAYS (5) wait"
    )


@pytest.mark.parametrize(
    ("day", "utc"),
    [
        (date(2026, 3, 6), "2026-03-07T02:30"),
        (date(2026, 3, 9), "2026-03-10T01:30"),
        (date(2026, 10, 30), "2026-10-31T01:30"),
        (date(2026, 11, 2), "2026-11-03T02:30"),
    ],
)
def test_the_night_begins_at_half_past_nine_in_new_york_summer_and_winter(day: date, utc: str) -> None:
    """On either side of both clock changes; a minute before it nothing starts."""
    begin = datetime.fromisoformat(f"{utc}+00:00")
    given = GateFacts(day, (done(day),))

    assert night_begins(day) == begin
    assert decide(given, begin, SETTINGS).runs == ((day,),)
    assert decide(given, begin - timedelta(minutes=1), SETTINGS).runs == ()
