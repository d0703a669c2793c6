"""Who holds what, read once and then only where somebody wrote.

Here: what of it is kept from look to look, in which state of which tables, and what is read in its place. Not here: the
reading (expected.py, owned.py, coverage.py), where it is kept (gate_memory.py), what the gate makes of it (gate_facts.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.store.counters import plain_table
from refresh_assets.store.coverage import Held, HeldOn, held_on, held_since, held_symbols
from refresh_assets.store.expected import Portfolios, day_numbers, read_portfolios
from refresh_assets.store.gate_memory import joined, kept
from refresh_assets.store.owned import NOBODY, Base, Owned, Writers, read_base, read_owned, written_since
from refresh_assets.store.scans import places_of

PORTFOLIO_TABLES = ("portfolios", "refresh_first_days")
EVENTS = "position_realized_events"
HOLDING_TABLES = ("portfolios", "positions", EVENTS, "refresh_first_days")

MOST_WRITTEN = 5000
"""Rows written to positions since they were read as a whole; after more they are read so again."""


class Holdings:
    """Portfolios and their positions at one look.

    What is kept is kept since an instant, at which everything was looked at, and not beyond the next such instant."""

    def __init__(self, connection: psycopg.Connection[Any], states: Mapping[str, str], first: date) -> None:
        """Args:
        states: of HOLDING_TABLES, read before anything else.
        first: what ended before this day concerns nobody."""
        self._connection, self._states, self._first = connection, states, first
        self._current: _Now | None = None

    def portfolios(self, at: datetime) -> Portfolios:
        """All of them."""
        state = self._state(at, *PORTFOLIO_TABLES)
        return kept(self._connection, "portfolios", state, Portfolios, lambda: read_portfolios(self._connection))

    def owned(self, at: datetime) -> Owned:
        """What positions say of their owners."""
        return self._now(at).owned

    def held_on(self, day: date, at: datetime) -> HeldOn:
        """Listed symbols held on a day."""
        state = self._state(at, *HOLDING_TABLES, asked=f"{day}")
        return kept(self._connection, "held", state, HeldOn, lambda: self._held_on(day, at))

    def held_between(self, first: date, last: date, at: datetime) -> Held:
        """Which listed symbols are held from when to when."""
        state = self._state(at, *HOLDING_TABLES, asked=f"{first}..{last}")
        return kept(self._connection, "spans", state, Held, lambda: held_symbols(self._connection, first, last))

    def _held_on(self, day: date, at: datetime) -> HeldOn:
        portfolios, now = self.portfolios(at), self._now(at)
        absent = _absent(now.owned, portfolios, day)
        if now.base is None:
            return held_on(self._connection, day, absent)
        oldest = now.base.oldest
        state = self._state(at, *PORTFOLIO_TABLES, EVENTS, asked=f"{day} {now.base.name}")
        before = kept(
            self._connection, "held before", state, HeldOn, lambda: held_on(self._connection, day, absent, oldest)
        )
        return held_since(self._connection, day, before, now.writers, absent)

    def _state(self, at: datetime, *tables: str, asked: str = "") -> str:
        return joined(self._states, tables, f"{at.isoformat()} {asked}")

    def _now(self, at: datetime) -> _Now:
        if self._current is None:
            table = plain_table(self._states.get("positions", ""))
            built = self._built(*table, at) if table else None
            self._current = built or _Now(read_owned(self._connection, self._first))
        return self._current

    def _built(self, which: str, counter: int, at: datetime) -> _Now | None:
        """On what was read as a whole, once more if that is too long ago; None where nothing can be built on it."""
        state, fresh = f"{which} {at.isoformat()} {self._first}", False

        def read() -> Base:
            nonlocal fresh
            fresh = True
            return read_base(self._connection, self._first, counter)

        base = kept(self._connection, "owned", state, Base, read)
        built = self._built_on(base, fresh, counter)
        if built is None and not fresh:
            base = kept(self._connection, "owned", state, Base, read, anew=True)
            built = self._built_on(base, fresh, counter)
        return built

    def _built_on(self, base: Base, fresh: bool, counter: int) -> _Now | None:
        if fresh and base.whole:
            return _Now(base.owned, NOBODY, base)
        if counter - base.counter > MOST_WRITTEN:
            return None
        now = written_since(self._connection, base, self._first)
        return _Now(*now, base) if now else None


@dataclass(frozen=True)
class _Now:
    """What positions say; whose were written since they were read as a whole, and that reading: None where nothing may be
    built on it."""

    owned: Owned
    writers: Writers = NOBODY
    base: Base | None = None


def _absent(owned: Owned, portfolios: Portfolios, day: date) -> npt.NDArray[np.void]:
    """Owners of positions that do not exist on a day."""
    ids = owned.owners["id"]
    row, known = places_of(ids, portfolios.ids)
    number = int(day_numbers([day])[0])
    exists = known.copy()
    exists[known] = (portfolios.start[row[known]] <= number) & (portfolios.deleted[row[known]] > number)
    return ids[~exists]
