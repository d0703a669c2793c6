"""What the gate remembers from look to look, so that it reads only what somebody wrote to since.

Here: the memory that Dagster keeps in the sensor's cursor, and what is too much for it and stays in the process and in a
table of ours. Not here: which tables what was read from (gate_facts.py, holdings.py), and whether somebody wrote to them
(counters.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol, Self, TypeVar

import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.store.agreement import Agreement
from refresh_assets.store.days import stretches

LONGEST_MEMORY = timedelta(minutes=15)
"""The counters may be lost in a crash: now and then everything is looked at, whatever they say."""

ACCOUNTING, STORED = LONGEST_MEMORY / 3, LONGEST_MEMORY * 5 / 6
"""When in that time it is the turn of who holds what, and of what is stored: not of both in one look, nor at full quarters of
an hour, when nights begin and deadlines end."""


def turn(now: datetime, whose: timedelta) -> str:
    """A text that is another after each LONGEST_MEMORY."""
    return str((now - _EPOCH - whose) // LONGEST_MEMORY)


_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

MOST_PENDING = 250
"""Of more days only the ranges are kept, not what is expected on each: such a look reads both sides again."""


@dataclass(frozen=True)
class Coverage:
    """Listed symbols held on a day, and how many of them have a close."""

    held: int
    priced: int


@dataclass(frozen=True)
class Memory:
    """What an earlier look found, and the state of the tables that it was read from.

    Attributes:
        asked: of which days.
        accounting: state of the tables that say whom the days should account for; empty: never to be trusted.
        pending: the days on which somebody was not.
        closes: state of the tables that `coverage` was read from.
        stored: state of the tables that say whom the days account for.
        agreement: what both sides said, so that one of them alone can be read again; None: too much to be kept.
        uncounted: whether that look had read positions, and left it to the next one to read which symbols are held.
        upto: of more days than one look counts, the one up to which they were.
        uncompared: whether it had read the second half of the owners, and left it to the next one to say what follows.
    """

    asked: str = ""
    accounting: str = ""
    pending: tuple[date, ...] = ()
    closes: str = ""
    coverage: Mapping[date, Coverage] = field(default_factory=dict)
    stored: str = ""
    agreement: Agreement | None = None
    uncounted: bool = False
    uncompared: bool = False
    upto: date | None = None

    def to_json(self, calendar: TradingCalendar) -> dict[str, Any]:
        """Plain figures; days as ranges of trading days, for thousands of them may lie before the first price."""
        every = calendar.days(self.pending[0], self.pending[-1]) if self.pending else []
        return {
            "asked": self.asked,
            "accounting": self.accounting,
            "pending": [[one[0].isoformat(), one[-1].isoformat()] for one in stretches(self.pending, every)],
            "closes": self.closes,
            "coverage": {day.isoformat(): [one.held, one.priced] for day, one in self.coverage.items()},
            "stored": self.stored,
            "agreement": self.agreement.to_json(calendar) if self.agreement else None,
            "uncounted": self.uncounted,
            "uncompared": self.uncompared,
            "upto": self.upto and self.upto.isoformat(),
        }

    @classmethod
    def from_json(cls, figures: Mapping[str, Any], calendar: TradingCalendar) -> Memory:
        ranges = [[date.fromisoformat(day) for day in one] for one in figures["pending"]]
        return cls(
            # What is not there in a cursor of an earlier version is no reason to tell all again.
            figures.get("asked", ""),
            figures["accounting"],
            tuple(day for first, last in ranges for day in calendar.days(first, last)),
            figures["closes"],
            {date.fromisoformat(day): Coverage(*one) for day, one in figures["coverage"].items()},
            figures.get("stored", ""),
            Agreement.from_json(figures["agreement"], calendar) if figures.get("agreement") else None,
            figures.get("uncounted", False),
            figures.get("uncompared", False),
            date.fromisoformat(figures["upto"]) if figures.get("upto") else None,
        )


def joined(states: Mapping[str, str], tables: Sequence[str], asked: str = "") -> str:
    """One state of several tables and of what was asked of them; empty where that of one is not known."""
    return " ".join([*(states[table] for table in tables), asked]) if all(table in states for table in tables) else ""


class Parts(Protocol):
    """What can be kept as some runs of bytes."""

    def to_parts(self) -> list[bytes]: ...

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Self: ...


T = TypeVar("T", bound=Parts)
KEPT: dict[str, tuple[str, Any]] = {}
"""What this process read last, with the state that it was read in."""


def look_up(connection: psycopg.Connection[Any], what: str, state: str, form: type[T]) -> T | None:
    """What is kept of this state.

    Thousands of portfolios and symbols are too much for a cursor, and Dagster starts a new process about every minute: so
    they are in a table of ours too, one row a kind, and a row of another state says nothing.

    Args:
        state: of all that it was read from; empty: not known, so nothing is kept."""
    if not state:
        return None
    known = KEPT.get(what)
    if known and known[0] == f"{_FORM} {state}":
        found: T = known[1]
        return found
    row = connection.execute(_KEPT, [what, f"{_FORM} {state}"], binary=True).fetchone()
    if not row:
        return None
    found = form.from_parts(row[0])
    KEPT[what] = (f"{_FORM} {state}", found)
    return found


def keep(connection: psycopg.Connection[Any], what: str, state: str, found: Parts) -> None:
    if state:
        KEPT[what] = (f"{_FORM} {state}", found)
        connection.execute(_KEEP, [what, f"{_FORM} {state}", found.to_parts()])


_FORM = 4  # of the parts: a process of another one reads anew
_KEPT = "select content from refresh_gate_memory where kind = %s and state = %s"
_KEEP = (
    "insert into refresh_gate_memory values (%s, %s, %b) on conflict (kind) do update"
    " set state = excluded.state, content = excluded.content"
)
