"""What holds of the gate whatever the facts and the instant.

Here: properties, by hypothesis. Not here: the cases of the spec with their words (test_gate.py)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.automation.gate import AlertKind, GateSettings, decide, night_begins
from refresh_assets.calendar import TradingCalendar
from refresh_assets.store.gate_facts import Coverage, GateFacts, PendingDay

CALENDAR = TradingCalendar()
SETTINGS = GateSettings(CALENDAR)
DAYS = CALENDAR.days(date(2026, 10, 1), date(2026, 11, 27))
pending_days = st.builds(
    PendingDay,
    day=st.sampled_from(DAYS),
    batch=st.sampled_from([None, "running", "completed", "failed", "aborted"]),
    error=st.none() | st.text(max_size=20),
    completed_at=st.none() | st.datetimes(datetime(2026, 10, 1), datetime(2026, 11, 28), timezones=st.just(UTC)),
    has_prices=st.booleans(),
    coverage=st.none()
    | st.builds(lambda held, part: Coverage(held, held * part // 10), st.integers(0, 50), st.integers(0, 10)),
)
moments = st.datetimes(datetime(2026, 10, 2), datetime(2026, 11, 28), timezones=st.just(UTC))


@st.composite
def anything(draw: st.DrawFn) -> tuple[GateFacts, datetime]:
    """Facts of any kind, read at any instant."""
    now = draw(moments)
    pending = draw(st.lists(pending_days, max_size=12, unique_by=lambda one: one.day))
    raised = draw(st.sets(st.tuples(st.sampled_from([kind.value for kind in AlertKind]), st.sampled_from(DAYS))))
    return (
        GateFacts(
            effective=CALENDAR.effective_date(now),
            pending=tuple(sorted(pending, key=lambda one: one.day)),
            night=draw(st.sampled_from([None, "running", "completed", "failed", "aborted"])),
            onboarding=tuple(draw(st.lists(st.sampled_from("ABC"), unique=True))),
            raised=frozenset(raised),
            in_flight=frozenset(draw(st.sets(st.sampled_from(DAYS), max_size=5))),
        ),
        now,
    )


@given(anything(), st.integers(1, 8))
def test_whatever_the_facts_only_days_that_may_start_do(case: tuple[GateFacts, datetime], limit: int) -> None:
    """Never a future, blocked, half-loaded or flying day; oldest first; at most the limit; stretches without a gap."""
    given_facts, now = case
    decision = decide(given_facts, now, replace(SETTINGS, max_heal_days=limit))

    by_day = {one.day: one for one in given_facts.pending}
    started = [day for stretch in decision.runs for day in stretch]
    assert started == sorted(set(started))
    assert len(started) + len(given_facts.in_flight) <= max(limit, len(given_facts.in_flight))
    for day in started:
        one = by_day[day]
        assert day <= given_facts.effective and day not in given_facts.in_flight
        assert one.batch == "completed" or (one.batch is None and one.has_prices and day < given_facts.effective)
        if one.batch == "completed":
            assert one.coverage is not None and one.coverage.priced * 10 >= one.coverage.held * 8
        if day == given_facts.effective:
            assert now >= night_begins(day)
    for stretch in decision.runs:
        assert list(stretch) == CALENDAR.days(stretch[0], stretch[-1])
    assert bool(decision.runs) == (decision.skip_reason is None)
    assert decision.runs or decision.waiting


@given(anything())
def test_whatever_the_facts_nobody_is_woken_twice(case: tuple[GateFacts, datetime]) -> None:
    """An alert comes at most once a kind and day; once told, and recorded, the same look says nothing more."""
    given_facts, now = case
    decision = decide(given_facts, now, SETTINGS)

    keys = [(one.kind.value, one.day) for one in decision.alerts]
    assert len(keys) == len(set(keys)) and not set(keys) & given_facts.raised
    assert decision.aborted in (None, given_facts.effective)
    told = replace(given_facts, raised=given_facts.raised | set(keys))
    assert decide(told, now, SETTINGS).alerts == ()
    if decision.aborted:
        assert given_facts.night is None
        assert decide(replace(told, night="aborted"), now, SETTINGS).aborted is None


@given(anything())
def test_the_same_facts_at_the_same_instant_give_the_same_decision(case: tuple[GateFacts, datetime]) -> None:
    """Whoever asks, sensor or schedule."""
    assert decide(*case, SETTINGS) == decide(*case, SETTINGS)
