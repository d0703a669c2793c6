"""What the gate remembers from look to look, so that it reads only what somebody wrote to since.

Here: the memory that Dagster keeps in the sensor's cursor, and what is too much for it and stays in the process and in a
table of ours. Not here: which tables what was read from (gate_facts.py, holdings.py), and whether somebody wrote to them
(counters.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Protocol, Self, TypeVar

import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.store.agreement import Agreement
from refresh_assets.store.days import stretches

LONGEST_MEMORY = timedelta(minutes=15)
"""The counters may be lost in a crash: now and then everything is looked at, whatever they say."""

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
        at: when everything was looked at.
        accounting: state of the tables that say whom the days should account for; empty: never to be trusted.
        pending: the days on which somebody was not.
        closes: state of the tables that `coverage` was read from.
        stored: state of the tables that say whom the days account for.
        agreement: what both sides said, so that one of them alone can be read again; None: too much to be kept.
    """

    at: datetime
    accounting: str = ""
    pending: tuple[date, ...] = ()
    closes: str = ""
    coverage: Mapping[date, Coverage] = field(default_factory=dict)
    stored: str = ""
    agreement: Agreement | None = None

    def to_json(self, calendar: TradingCalendar) -> dict[str, Any]:
        """Plain figures; days as ranges of trading days, for thousands of them may lie before the first price."""
        every = calendar.days(self.pending[0], self.pending[-1]) if self.pending else []
        return {
            "at": self.at.isoformat(),
            "accounting": self.accounting,
            "pending": [[one[0].isoformat(), one[-1].isoformat()] for one in stretches(self.pending, every)],
            "closes": self.closes,
            "coverage": {day.isoformat(): [one.held, one.priced] for day, one in self.coverage.items()},
            "stored": self.stored,
            "agreement": self.agreement.to_json(calendar) if self.agreement else None,
        }

    @classmethod
    def from_json(cls, figures: Mapping[str, Any], calendar: TradingCalendar) -> Memory:
        ranges = [[date.fromisoformat(day) for day in one] for one in figures["pending"]]
        return cls(
            datetime.fromisoformat(figures["at"]),
            figures["accounting"],
            tuple(day for first, last in ranges for day in calendar.days(first, last)),
            figures["closes"],
            {date.fromisoformat(day): Coverage(*one) for day, one in figures["coverage"].items()},
            figures.get(
                "stored", ""
            ),  # not there in a cursor of an earlier version, which is no reason to tell all again
            Agreement.from_json(figures["agreement"], calendar) if figures.get("agreement") else None,
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


def kept(
    connection: psycopg.Connection[Any], what: str, state: str, form: type[T], read: Callable[[], T], anew: bool = False
) -> T:
    """What was read in the same state, by this process or an earlier one, or is read now.

    Thousands of portfolios and symbols are too much for a cursor, and Dagster starts a new process about every minute: so
    they are in a table of ours too, one row a kind, and a row of another state says nothing.

    Args:
        state: of all that it was read from; empty: not known, so nothing is kept.
        anew: whatever is kept is out of date."""
    state = state and f"{_FORM} {state}"
    known = KEPT.get(what)
    if not anew and state and known and known[0] == state:
        found: T = known[1]
        return found
    row = None if anew or not state else connection.execute(_KEPT, [what, state], binary=True).fetchone()
    found = form.from_parts(row[0]) if row else read()
    if state:
        KEPT[what] = (state, found)
        if row is None:
            connection.execute(_KEEP, [what, state, found.to_parts()])
    return found


_FORM = 1  # of the parts: a process of another one reads anew
_KEPT = "select content from refresh_gate_memory where kind = %s and state = %s"
_KEEP = (
    "insert into refresh_gate_memory values (%s, %s, %b) on conflict (kind) do update"
    " set state = excluded.state, content = excluded.content"
)
