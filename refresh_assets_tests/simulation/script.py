"""The script of a quarter: which kinds of night follow each other, from a seed alone.

Here: the trading days (a clock change among them), blocks of nights, a closure, restarts, a portfolio in the middle. Not
here: one night's happenings (kinds.py), carrying them out (play.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random

from refresh_assets.calendar import TradingCalendar
from refresh_assets.demo.world import sessions
from refresh_assets_tests.simulation import kinds
from refresh_assets_tests.simulation.kinds import DAWN_AT, TIMEOUT, Happening, Night, What, at, batch, look

CALENDAR = TradingCalendar()
CLOCK_CHANGES = (date(2020, 3, 9), date(2020, 11, 2), date(2021, 3, 15), date(2021, 11, 8), date(2022, 3, 14))
"""Mondays after the clocks in New York changed."""
BOOKS_SINCE = date(2020, 2, 18)  # the demo's books
AFTERNOON = -450  # minutes before 21:30: 14:00

Block = Callable[[Random, list[date]], list[Night]]


@dataclass
class Script:
    """A quarter: its nights in order, all that happens in order of time, the closure that nobody knew of at first."""

    seed: int
    nights: list[Night]
    closure: date
    announced: datetime
    happenings: list[Happening] = field(default_factory=list)

    @property
    def first(self) -> date:
        return self.nights[0].day

    def trading_days(self, now: datetime) -> list[date]:
        """As the exchange's calendar has them at an instant."""
        days = [night.day for night in self.nights]
        return sorted(days if now >= self.announced else [*days, self.closure])

    def alerts(self, upto: date) -> set[tuple[str, date]]:
        """What a person is woken for on the nights up to a day: kind and day."""
        found = {(kind, night.day) for night in self.nights for kind in night.alerts if night.day <= upto}
        if self.announced > at(self.closure, kinds.DEADLINE) and self.closure <= upto:
            found.add((TIMEOUT, self.closure))
        return found


def build(seed: int, nights: int) -> Script:
    """The script of a seed; a longer one is another one."""
    random = Random(f"{seed}/{nights}")
    days = _days(random, nights + 1)
    # Neither first nor last, and announced a few days ahead or the morning after.
    place = random.randint(2, nights - 2)
    closure = days.pop(place)
    is_late = random.random() < 0.3
    announced = at(closure, 680) if is_late else at(days[max(place - random.randint(1, 5), 0)], 680)
    calm = {0, nights - 1} | ({place - 1, place} if is_late else set())
    script = Script(seed, _nights(random, days, calm), closure, announced)
    script.happenings = sorted(_happenings(random, script), key=lambda one: one.at)
    return script


def _days(random: Random, number: int) -> list[date]:
    """Consecutive trading days of the packaged prices, with a clock change inside."""
    every = sessions()
    earliest, latest = every.index(BOOKS_SINCE), len(every) - number - 2
    change = every.index(random.choice(CLOCK_CHANGES))
    first = min(max(change - random.randint(2, number - 2), earliest), latest)
    return every[first : first + number]


def _nights(random: Random, days: list[date], calm: set[int]) -> list[Night]:
    """A night of each kind, as far as there is room for them, between others at random."""
    blocks: list[Block] = [_single(kind) for kind in (*kinds.SIMPLE, *kinds.RARE, kinds.onboarding)]
    blocks += [_absent, _away, _empty_for_days, _arriving(What.ARRIVE), _arriving(What.ONBOARD)]
    random.shuffle(blocks)
    room = len(days) - len(calm) - sum(5 if block in (_absent, _away, _empty_for_days) else 1 for block in blocks)
    blocks += [_single(_any_kind(random)) for _ in range(max(room, 0))]
    random.shuffle(blocks)
    nights: list[Night] = []
    while len(nights) < len(days):
        place = len(nights)
        left = min([one for one in calm if one >= place], default=len(days)) - place
        if left == 0 or not blocks:
            nights.append(kinds.on_time(random, days[place]))
            continue
        made = blocks.pop()(random, days[place : place + left])
        nights += made or [kinds.on_time(random, days[place])]
    return nights


def _any_kind(random: Random) -> kinds.Kind:
    return kinds.on_time if random.random() < 0.6 else random.choice(kinds.SIMPLE)


def _single(kind: kinds.Kind) -> Block:
    return lambda random, days: [kind(random, days[0])]


def _absent(random: Random, days: list[date]) -> list[Night]:
    """No word of the batch for some nights, each given up; then closes alone: each day starts once it is a past one."""
    count = random.randint(1, 4)
    if len(days) <= count:
        return []
    closes = at(days[count - 1], 650)
    nights = []
    for day, following in pairwise(days[: count + 1]):
        ready = max(closes, CALENDAR.close_time(following).astimezone(UTC))
        come = replace(batch(day, 0, ""), at=closes)
        nights.append(Night(day, "absent", [*kinds.given_up(day), come], ready, (TIMEOUT,)))
    return [*nights, kinds.on_time(random, days[count])]


def _away(random: Random, days: list[date]) -> list[Night]:
    """Nobody looks for some nights, while the batch does its work; then the deployment is back."""
    nights = [replace(kinds.on_time(random, day), kind="away", ticks=False) for day in days[: random.randint(2, 5)]]
    last = nights[-1].day
    nights[-1].happenings.append(look(last, 680, random.choice([What.RESTART, What.FORGET])))
    return nights


def _empty_for_days(random: Random, days: list[date]) -> list[Night]:
    """Completed without one close, for days: skipped, until the closes come; days in between were computed without them."""
    count = random.randint(2, 4)
    if len(days) < count:
        return []
    night = kinds.empty(random, days[0])
    night.happenings = [batch(days[0], -10, "completed", "none"), *kinds.given_up(days[0])]
    night.ready = at(days[count - 1], 600)
    night.kind = "empty for days"
    night.happenings.append(replace(batch(days[0], 0, ""), at=night.ready))
    nights = [night, *(kinds.on_time(random, day) for day in days[1:count])]
    last = nights[-1].day
    nights[-1].happenings.append(Happening(at(last, DAWN_AT + 10), What.RESTATE, last, since=days[0]))
    return nights


def _arriving(what: What) -> Block:
    def block(random: Random, days: list[date]) -> list[Night]:
        night = kinds.on_time(random, days[0])
        back = random.randint(1, 5) if what is What.ARRIVE or random.random() < 0.5 else 0
        since = CALENDAR.nth_before(days[0], back) if back else None
        night.happenings += [
            Happening(at(days[0], AFTERNOON), what, days[0], since=since),
            look(days[0], AFTERNOON + 1),
        ]
        night.kind = "arriving"
        return [night]

    return block


def _happenings(random: Random, script: Script) -> Iterator[Happening]:
    for night in script.nights:
        yield from night.happenings
        if night.ticks:
            yield look(night.day, 0, What.SCHEDULE)
            yield look(night.day, 0.5)
    yield from (look(one, 0, What.SCHEDULE) for one in _closed_weekdays(script))
    yield Happening(script.announced, What.ANNOUNCE, script.closure)
    yield from (look(script.closure, minutes) for minutes in (0.5, kinds.DEADLINE))
    away = [night.day for night in script.nights if night.kind == "away"]
    awake = [night.day for night in script.nights if night.kind != "away"]
    yield from (look(day, DAWN_AT, What.DAWN) for day in awake)
    yield from (look(day, DAWN_AT, What.DAWN) for day in _last_of_each(away, script))
    anew = (What.FORGET, What.RESTART)
    yield from (look(day, 640, what) for day, what in zip(random.sample(awake, len(anew)), anew, strict=True))


def _closed_weekdays(script: Script) -> list[date]:
    """Weekdays without a night: the schedule ticks all the same. Not while the deployment is away."""
    nights = {night.day: night for night in script.nights}
    found = []
    day, latest = script.first, script.first
    while day < script.nights[-1].day:
        if day in nights:
            latest = day
        elif day.weekday() < 5 and nights[latest].kind != "away":
            found.append(day)
        day += timedelta(days=1)
    return found


def _last_of_each(days: Sequence[date], script: Script) -> list[date]:
    order = [night.day for night in script.nights]
    return [day for day in days if order.index(day) + 1 == len(order) or order[order.index(day) + 1] not in days]
