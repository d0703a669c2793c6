"""The gate: which nights start now, what the others wait for, and whom to wake.

Here: one pure function from (facts, instant, settings) to a decision with words; sensor and schedule both ask it. Not
here: the facts (store/gate_facts.py; no SQL, no Dagster, no clock in this file), starting a run (sensor.py, schedule.py),
delivering an alert (alerts.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.settings import Settings
from refresh_assets.store.batches import COMPLETED
from refresh_assets.store.days import stretches
from refresh_assets.store.gate_facts import Coverage, GateFacts, PendingDay

NIGHT_BEGINS = time(21, 30)  # New York, spec section 11
RECENT_DAYS = 5
"""Trading days back to which a failed or half-loaded batch wakes a person: older ones are no news, `status` names them."""
FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=5), timedelta(minutes=60)
"""A day whose run failed is tried again after 5, 10, 20, 40, then every 60 minutes, not at every look."""
FAILED_BATCH = ("failed", "aborted")
NAMES_SHOWN = 3
ERROR_SHOWN = 200  # characters of the batch's own words


class AlertKind(StrEnum):
    """What the gate wakes a person for."""

    TIMEOUT = "symbol_batch_timeout"
    FAILED = "symbol_batch_failed"
    LOW_COVERAGE = "low_price_coverage"


@dataclass(frozen=True)
class GateSettings:
    """How long the gate waits and what it lets pass."""

    calendar: TradingCalendar = field(default_factory=TradingCalendar)
    deadline_minutes: int = 60
    onboarding_wait_seconds: int = 120
    min_price_coverage: float = 0.80
    max_heal_days: int = 250

    @classmethod
    def of(cls, settings: Settings) -> GateSettings:
        """Those of the environment."""
        return cls(
            TradingCalendar(settings.extra_closures),
            settings.gate_deadline_minutes,
            settings.onboarding_wait_seconds,
            settings.min_price_coverage,
            settings.max_heal_days,
        )


@dataclass(frozen=True)
class GateAlert:
    """Something to wake a person for, once a kind and day."""

    kind: AlertKind
    day: date
    words: str


@dataclass(frozen=True)
class Decision:
    """What to do now.

    Attributes:
        runs: stretches of consecutive trading days, oldest first; each becomes one run.
        alerts: to be raised; none that the facts say was raised.
        aborted: the day to be recorded as aborted, with `aborted_words`; None: none.
        waiting: in words, what every day that does not start waits for; where nothing starts, the skip reason.
    """

    runs: tuple[tuple[date, ...], ...] = ()
    alerts: tuple[GateAlert, ...] = ()
    aborted: date | None = None
    aborted_words: str = ""
    waiting: str = ""

    @property
    def skip_reason(self) -> str | None:
        """Why nothing starts; None where something does."""
        return None if self.runs else self.waiting


class _Verdict(StrEnum):
    """What a pending day is. In the order in which the words are told."""

    READY = "ready"
    NOT_YET = "not yet"
    WAITING = "waiting"
    TIMED_OUT = "timed out"
    FAILED = "failed"
    HALF_LOADED = "half-loaded"
    ONBOARDING = "onboarding"
    RETRY = "retry"
    IN_FLIGHT = "in flight"
    UNKNOWN = "unknown"
    RUNNING = "running"
    NO_PRICES = "no prices"


def night_begins(day: date) -> datetime:
    """When the night of a trading day is due: 21:30 New York, whatever the clocks there show against UTC."""
    return datetime.combine(day, NIGHT_BEGINS, tzinfo=NEW_YORK).astimezone(UTC)


def decide(facts: GateFacts, now: datetime, settings: GateSettings) -> Decision:
    """Which nights start at an instant, what the others wait for, whom to wake.

    Args:
        facts: read at `now`, so that `facts.effective` is the effective trading date at `now`.
        now: aware.

    Source: spec sections 3 and 11."""
    verdicts = {one.day: _verdict(one, facts, now, settings) for one in facts.pending if one.day <= facts.effective}
    ready = [day for day, verdict in verdicts.items() if verdict is _Verdict.READY]
    room = max(settings.max_heal_days - len(facts.in_flight), 0)
    chosen = sorted(ready)[:room]
    every = settings.calendar.days(chosen[0], chosen[-1]) if chosen else []
    words = [_words(verdict, days, facts, now, settings) for verdict, days in _grouped(verdicts, facts)]
    if len(ready) > len(chosen):
        words.append(
            f"{_days(len(ready) - len(chosen))} more than REFRESH_MAX_HEAL_DAYS ({settings.max_heal_days}) wait"
        )
    if facts.unknown:
        words.append("which nights are due is not known yet: who holds what is read over some looks")
    elif not verdicts:
        words.append(f"nothing is due: every portfolio is accounted for up to {facts.effective}")
    if facts.unread:
        words.append("what was written to positions since the last look is read at the next")
    latest = verdicts.get(facts.effective)
    aborted = (
        facts.night is None and now >= night_begins(facts.effective) and _is_given_up(latest, facts, now, settings)
    )
    return Decision(
        runs=tuple(tuple(one) for one in stretches(chosen, every)),
        alerts=tuple(_alerts(verdicts, facts, now, settings)),
        aborted=facts.effective if aborted else None,
        aborted_words=_words(latest, [facts.effective], facts, now, settings) if aborted and latest else "",
        waiting="; ".join(words),
    )


def _verdict(one: PendingDay, facts: GateFacts, now: datetime, settings: GateSettings) -> _Verdict:
    is_latest = one.day == facts.effective
    if one.day in facts.in_flight:
        return _Verdict.IN_FLIGHT
    if one.batch in FAILED_BATCH:
        return _Verdict.FAILED
    if is_latest and now < night_begins(one.day):
        return _Verdict.NOT_YET
    if one.batch != COMPLETED and is_latest:
        return _Verdict.TIMED_OUT if now >= _deadline(one.day, settings) else _Verdict.WAITING
    if one.batch not in (None, COMPLETED):
        return _Verdict.RUNNING
    if not one.has_prices and not (is_latest and (one.coverage is None or one.coverage.held)):
        return _Verdict.NO_PRICES
    if one.batch == COMPLETED and one.coverage is None:
        return _Verdict.UNKNOWN
    if one.batch == COMPLETED and _is_half_loaded(one.coverage, settings):
        return _Verdict.HALF_LOADED
    if facts.onboarding and now < _onboarding_ends(one, settings):
        return _Verdict.ONBOARDING
    return _Verdict.RETRY if now < _retry_at(one.day, facts) else _Verdict.READY


def _is_half_loaded(coverage: Coverage | None, settings: GateSettings) -> bool:
    return coverage is not None and coverage.priced < settings.min_price_coverage * coverage.held


def _deadline(day: date, settings: GateSettings) -> datetime:
    return night_begins(day) + timedelta(minutes=settings.deadline_minutes)


def _onboarding_ends(one: PendingDay, settings: GateSettings) -> datetime:
    """A day was first ready when its batch completed, at the earliest when its night was due."""
    begin = night_begins(one.day)
    ready = max(begin, one.completed_at) if one.completed_at else begin
    return ready + timedelta(seconds=settings.onboarding_wait_seconds)


def _retry_at(day: date, facts: GateFacts) -> datetime:
    failed = facts.failed_runs.get(day)
    if failed is None:
        return datetime.min.replace(tzinfo=UTC)
    # Beyond 2^4 the longest wait holds anyway.
    return failed.last + min(FIRST_RETRY * 2 ** min(failed.count - 1, 4), LONGEST_RETRY)


def _is_given_up(verdict: _Verdict | None, facts: GateFacts, now: datetime, settings: GateSettings) -> bool:
    """The night cannot start in time. A batch that says failed is not waited out."""
    if verdict is _Verdict.HALF_LOADED:
        return now >= _deadline(facts.effective, settings)
    return verdict in (_Verdict.TIMED_OUT, _Verdict.FAILED)


def _alerts(verdicts: dict[date, _Verdict], facts: GateFacts, now: datetime, settings: GateSettings) -> list[GateAlert]:
    kinds = {_Verdict.FAILED: AlertKind.FAILED, _Verdict.HALF_LOADED: AlertKind.LOW_COVERAGE}
    first = settings.calendar.nth_before(facts.effective, RECENT_DAYS - 1)
    alerts = []
    for day, verdict in verdicts.items():
        kind = kinds.get(verdict) if day >= first else None
        # A batch that is run once more after the night was done aborts nothing.
        if verdict is _Verdict.TIMED_OUT and facts.night != "completed":
            kind = AlertKind.TIMEOUT
        if kind is not None and (kind, day) not in facts.raised:
            what = _words(verdict, [day], facts, now, settings)
            alerts.append(GateAlert(kind, day, f"{what[0].upper()}{what[1:]}. Mend: {_MEND[kind].format(day=day)}."))
    return alerts


_MEND = {
    AlertKind.TIMEOUT: "see what holds the symbol batch up; when it completes the night starts by itself",
    AlertKind.FAILED: "run the symbol batch again; when it completes the night starts by itself",
    AlertKind.LOW_COVERAGE: "have the symbol batch load the missing closes; the night then starts by itself, or start it"
    " as it is with `refresh-assets run --date {day}`",
}


def _grouped(verdicts: dict[date, _Verdict], facts: GateFacts) -> list[tuple[_Verdict, list[date]]]:
    """The days that do not start, by what they wait for; the latest day first."""
    groups: dict[_Verdict, list[date]] = {}
    for day, verdict in verdicts.items():
        groups.setdefault(verdict, []).append(day)
    groups.pop(_Verdict.READY, None)
    order = list(_Verdict)
    return sorted(groups.items(), key=lambda group: (facts.effective not in group[1], order.index(group[0])))


def _words(verdict: _Verdict, days: Sequence[date], facts: GateFacts, now: datetime, settings: GateSettings) -> str:
    """What the days of one verdict wait for."""
    named, latest = _named(days, settings.calendar), facts.effective
    one = next((one for one in facts.pending if one.day == days[-1]), PendingDay(days[-1]))
    match verdict:
        case _Verdict.WAITING:
            gone = int((now - night_begins(latest)).total_seconds()) // 60
            return f"waiting for the symbol batch of {named} since 21:30, {gone} of {settings.deadline_minutes} minutes"
        case _Verdict.TIMED_OUT:
            says = f"says {one.batch}" if one.batch else "has not begun"
            return (
                f"the symbol batch of {named} {says} {settings.deadline_minutes} minutes after 21:30 New York:"
                " the night starts when it completes"
            )
        case _Verdict.FAILED:
            # One error speaks for one day only.
            error = f" ({' '.join(one.error.split())[:ERROR_SHOWN]})" if one.error and len(days) == 1 else ""
            status = one.batch if len(days) == 1 else "failed"
            return f"the symbol batch of {named} says {status}{error}: the night starts when it completes"
        case _Verdict.HALF_LOADED:
            return _half_loaded_words(named, one, len(days), settings)
        case _Verdict.ONBOARDING:
            until = f"{_onboarding_ends(one, settings).astimezone(NEW_YORK):%H:%M:%S}"
            return f"waiting for {_symbols(facts.onboarding)} in onboarding, until {until} New York: {named}"
        case _Verdict.RETRY:
            at = f"{_retry_at(days[-1], facts).astimezone(NEW_YORK):%H:%M}"
            if facts.failed_runs[days[-1]].succeeded:
                return (
                    f"{named}: still due after runs that succeeded, tried again at {at} New York;"
                    " `refresh-assets status --date` shows the day"
                )
            return f"the last run of {named} failed, it is tried again at {at} New York"
        case _:
            return _PLAIN[verdict].format(named)


_PLAIN = {
    _Verdict.READY: "ready: {}",
    _Verdict.NOT_YET: "nothing is due: the night of {} is due from 21:30 New York on",
    _Verdict.IN_FLIGHT: "in flight: {}",
    _Verdict.UNKNOWN: "closes are counted within three looks: {}",
    _Verdict.RUNNING: "the symbol batch is not complete: {}",
    _Verdict.NO_PRICES: "skipped, not one close: {}",
}


def _half_loaded_words(named: str, one: PendingDay, days: int, settings: GateSettings) -> str:
    asked = f"REFRESH_MIN_PRICE_COVERAGE asks for {settings.min_price_coverage:.0%}"
    if days > 1 or one.coverage is None:
        return f"half-loaded, {asked}: {named}"
    held, priced = one.coverage.held, one.coverage.priced
    return f"{named} is half-loaded: {priced} of {held} symbols held have a close ({priced / held:.1%}), {asked}"


def _named(days: Sequence[date], calendar: TradingCalendar) -> str:
    """Days as ranges of trading days, the first few of them."""
    found = stretches(days, calendar.days(days[0], days[-1]))
    shown = [f"{one[0]}" if len(one) == 1 else f"{one[0]} to {one[-1]}" for one in found[:NAMES_SHOWN]]
    more = sum(len(one) for one in found[NAMES_SHOWN:])
    return ", ".join(shown) + (f" and {_days(more)} more" if more else "")


def _symbols(symbols: Sequence[str]) -> str:
    shown = ", ".join(symbols[:NAMES_SHOWN]) + (", ..." if len(symbols) > NAMES_SHOWN else "")
    return f"{len(symbols)} symbol{'s' if len(symbols) > 1 else ''} ({shown})"


def _days(number: int) -> str:
    return f"{number} day{'s' if number != 1 else ''}"
