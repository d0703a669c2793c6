"""Who holds what, read once and then only where somebody wrote.

Here: what of it is kept from look to look, in which state of which tables, what is read in its place, and what is left to the
next look. Not here: the reading (expected.py, owned.py, coverage.py), where it is kept (gate_memory.py), what the gate makes
of it (gate_facts.py)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import psycopg

from refresh_assets.store.counters import plain_table, rows_in, without_counters
from refresh_assets.store.coverage import Absent, Found, Held, absent_between, found_between, held_between
from refresh_assets.store.expected import Portfolios, read_portfolios
from refresh_assets.store.gate_memory import ACCOUNTING, joined, keep, look_up, turn
from refresh_assets.store.owned import Base, Owned, Part, read_base, read_owned, written_since
from refresh_assets.store.scans import rows_of

PORTFOLIO_TABLES = ("portfolios", "refresh_first_days")
HOLDING_TABLES = ("portfolios", "positions", "position_realized_events", "refresh_first_days")

MOST_WRITTEN = 500
"""Rows written to positions since they were read; after more they are read anew."""

FOUND_SO_FAR = "found so far"

ROWS_AT_ONCE = 50_000
"""Of more positions a look reads half of the owners at a time, and one thing at a time."""


class Holdings:
    """Portfolios and their positions at one look.

    What is kept of positions is compared with every row of theirs whenever somebody wrote, or it is the accounting's turn, so
    it is never too old; all else is read again when it is its turn.

    Attributes:
        full: whether this look has read many positions, and what needs them once more is for the next.
        halved: whether it has read half of the owners.
        current: whether `owned` is what positions say now.
        nearly: whether symbols held were read without the owners that were written last, and must be read once more."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        states: Mapping[str, str],
        first: date,
        now: datetime,
        anew: bool = False,
    ) -> None:
        """Args:
        states: of HOLDING_TABLES, read before anything else.
        first: what ended before this day concerns nobody.
        anew: nothing that is kept is trusted, and nothing is left to a next look."""
        self._connection, self._states, self._first, self._anew = connection, states, first, anew
        self._turn = turn(now, ACCOUNTING)
        state = states.get("positions", "")
        self._which = f"{without_counters(state)} {first}" if state else ""
        self._table = plain_table(state)
        self._large = not anew and (not state or rows_in(state) > ROWS_AT_ONCE)
        # Rows of a table are compared when it is the turn; those of a view can only be read again.
        self._state = state if self._table else f"{state} {self._turn}"
        self._portfolios: Portfolios | None = None
        self._owned: Owned | None = None
        self.full = self.halved = self.current = self.nearly = False

    def portfolios(self) -> Portfolios:
        """All of them."""
        found = self._known_portfolios()
        if found is None:
            found = self._portfolios = read_portfolios(self._connection)
            keep(self._connection, "portfolios", self._portfolios_state(), found)
        return found

    def portfolios_first(self) -> bool:
        """Read them, unless they are known, if there is much else to be read; gives whether that was done."""
        return self._large and self._known_portfolios() is None and self.portfolios() is not None

    def _known_portfolios(self) -> Portfolios | None:
        if self._portfolios is None and not self._anew:
            self._portfolios = look_up(self._connection, "portfolios", self._portfolios_state(), Portfolios)
        return self._portfolios

    def _portfolios_state(self) -> str:
        return joined(self._states, PORTFOLIO_TABLES, self._turn)

    def owned(self, reading: bool = True, trusting: bool = False) -> Owned | None:
        """What positions say of their owners; None where half of them is read at this look and the rest at the next.

        Args:
            reading: False: as the last looks read it.
            trusting: nothing is read where PostgreSQL's counters say that nobody wrote."""
        if self._owned is None and not self.full:
            if self._which and not self._anew:
                self._owned = self._kept(reading, trusting)
            else:
                self._owned = self._read_all()
        return self._owned

    def _read_all(self) -> Owned:
        self.full, self.current = self._large, True
        if self._which:
            base = read_base(self._connection, self._first, None, self._state, 0)
            self._keep(base.halves())
            since = None if base.whole or not self._table else written_since(self._connection, base, self._first)
            if base.whole or since:
                return since[0] if since else base.owned
        return read_owned(self._connection, self._first)

    def _kept(self, reading: bool, trusting: bool) -> Owned | None:
        halves = {part: look_up(self._connection, part.name, self._which, Base) for part in Part}
        first, second = halves.values()
        base = first.joined(second) if first and second else None
        unwritten = base is not None and base.whole and base.state == self._state
        if base and (not reading or (unwritten and (trusting or not self._table))):
            self.current = unwritten
            self.full = self._large and not reading  # what follows from it is enough
            return base.owned
        if not reading:
            return None
        found = self._brought_up(base, unwritten) if base and self._written(base) <= MOST_WRITTEN else None
        if found or self.full:
            return found
        return self._read_half(halves) if self._large else self._read_all()

    def _written(self, base: Base) -> float:
        """How many rows were written since; infinite where nothing can be built on it."""
        before = plain_table(base.state)
        return self._table[1] - before[1] if self._table and before and base.oldest else math.inf

    def _brought_up(self, base: Base, unwritten: bool) -> Owned | None:
        """With what was written since; None where that does not add up: then all is read again."""
        self.full = self._large
        since = written_since(self._connection, base, self._first)
        self.current = since is not None
        if since is None:
            self._keep(replace(base, oldest="").halves())
        elif since[1] and unwritten:  # a writer whom the counters do not tell of must not be taken for nobody later
            self._keep(replace(base, whole=False).halves())
        return since[0] if since else None

    def _read_half(self, halves: Mapping[Part, Base | None]) -> Owned | None:
        """The half that was read earlier. Only with the second both are of about now, and at most a look apart."""
        self.full = self.halved = True
        reads = {part: half.read if half else -1 for part, half in halves.items()}
        part = min(reads, key=lambda part: reads[part])
        half = read_base(self._connection, self._first, part, self._state, max(reads.values()) + 1)
        self._keep({part: half})
        other = halves[Part.FIRST_HALF]
        if part is Part.FIRST_HALF or other is None:
            return None
        base = other.joined(half)
        self.current = base.whole and base.state == self._state
        return base.owned

    def _keep(self, halves: Mapping[Part, Base]) -> None:
        for part, half in halves.items():
            keep(self._connection, part.name, self._which, half)

    def held(self, first: date, last: date, at_once: bool = True) -> Held | None:
        """Listed symbols held from one day to another; None where that is for the next looks: positions were read at this
        one, and must be read again for it by halves of the owners, and where not all is said then, once more.

        Args:
            at_once: what an earlier look left is used, even if somebody wrote since: then `nearly` is true."""
        days, state = f"{first}..{last}", joined(self._states, HOLDING_TABLES, f"{first}..{last} {self._turn}")
        held = None if self._anew else look_up(self._connection, "held", state, Held)
        if held is not None:
            return held
        absent = self._known_absent(days, state, at_once) or self._absent(first, last, state)
        if absent is None or self.full:
            return None
        found = (
            self._found_in_parts(first, last, state, absent.owners, at_once)
            if self._large
            else found_between(self._connection, first, last, absent.owners)
        )
        if found is None:
            return None
        held = held_between(self._connection, first, last, found)
        self.nearly = self.nearly or absent.state != state
        if not self.nearly:
            keep(self._connection, "held", state, held)
        return held

    def _found_in_parts(self, first: date, last: date, state: str, absent: Absent, at_once: bool) -> Found | None:
        """What the last looks found, which is used once, as it stands or with the second half of the owners; None: this look
        read a half, and what follows is for the next."""
        which = f"{first}..{last} {self._turn}"
        known = look_up(self._connection, FOUND_SO_FAR, which, FoundSoFar)
        if known is None or known.used or not (at_once or known.state == state):
            known = FoundSoFar(found_between(self._connection, first, last, absent, Part.FIRST_HALF), state, False)
        elif not known.whole:
            found = known.found.with_more(found_between(self._connection, first, last, absent, Part.SECOND_HALF))
            known = FoundSoFar(found, state if known.state == state else "", True, used=not found.others)
        else:
            known = replace(known, used=True)
        keep(self._connection, FOUND_SO_FAR, which, known)
        self.full = not known.used
        self.nearly = self.nearly or known.state != state
        return known.found if known.used else None

    def _known_absent(self, days: str, state: str, at_once: bool) -> AbsentOwners | None:
        """As an earlier look left it."""
        if self._anew or self._owned is not None:
            return None
        found = look_up(self._connection, "absent", days, AbsentOwners)
        return found if found is not None and (at_once or found.state == state != "") else None

    def _absent(self, first: date, last: date, state: str) -> AbsentOwners | None:
        owned = self.owned(trusting=True)
        if owned is None:
            return None
        there = absent_between(owned, self.portfolios(), first, last)
        absent = AbsentOwners(there, state if self.current else "")
        keep(self._connection, "absent", f"{first}..{last}", absent)
        return absent


@dataclass(frozen=True)
class FoundSoFar:
    """What was found of the first half of the owners, or of both, with the state of what that was read from."""

    found: Found
    state: str
    whole: bool
    used: bool = False

    def to_parts(self) -> list[bytes]:
        return [*self.found.to_parts(), self.state.encode(), f"{self.whole:d}{self.used:d}".encode()]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> FoundSoFar:
        whole, used = (one == "1" for one in parts[3].decode())
        return cls(Found.from_parts(parts[:2]), parts[2].decode(), whole, used)


@dataclass(frozen=True)
class AbsentOwners:
    """With the state of what that was read from."""

    owners: Absent
    state: str

    def to_parts(self) -> list[bytes]:
        return [self.owners.never.tobytes(), self.owners.at_times.tobytes(), self.state.encode()]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> AbsentOwners:
        never, at_times = (rows_of(part, np.dtype("V16")) for part in parts[:2])
        return cls(Absent(never, at_times), parts[2].decode())
