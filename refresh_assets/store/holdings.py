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
import numpy.typing as npt
import psycopg

from refresh_assets.store.counters import plain_table, rows_in, without_counters
from refresh_assets.store.coverage import Found, Held, HeldOn, found_on, held_on, held_symbols
from refresh_assets.store.expected import Portfolios, day_numbers, read_portfolios
from refresh_assets.store.gate_memory import ACCOUNTING, joined, keep, look_up, turn
from refresh_assets.store.owned import Base, Owned, Part, read_base, read_owned, written_since
from refresh_assets.store.scans import places_of, rows_of

PORTFOLIO_TABLES = ("portfolios", "refresh_first_days")
HOLDING_TABLES = ("portfolios", "positions", "position_realized_events", "refresh_first_days")

MOST_WRITTEN = 500
"""Rows written to positions since they were read; after more they are read anew."""

HALF_HELD = "held by half"

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

    def held_on(self, day: date, at_once: bool = True) -> HeldOn | None:
        """Listed symbols held on a day; None where positions were read at this look and must be read again for it, or half
        of the owners' were read and the rest is for the next.

        Args:
            at_once: what an earlier look left is used, even if somebody wrote since: then `nearly` is true."""
        state = joined(self._states, HOLDING_TABLES, f"{day} {self._turn}")
        found = None if self._anew else look_up(self._connection, "held", state, HeldOn)
        if found is not None:
            return found
        absent = self._known_absent(day, state, at_once) or self._absent(day, state)
        if absent is None:
            return None
        if self.full:
            return None
        if not self._large:
            symbols = found_on(self._connection, day, absent.owners)
        elif (first := self._found_of_half(day, state, absent, at_once)) is not None:
            symbols = first.with_more(found_on(self._connection, day, absent.owners, Part.SECOND_HALF))
        else:
            return None
        found = held_on(self._connection, day, absent.owners, symbols)
        self.nearly = self.nearly or absent.state != state
        if not self.nearly:
            keep(self._connection, "held", state, found)
        return found

    def _found_of_half(self, day: date, state: str, absent: Absent, at_once: bool) -> Found | None:
        """Of the first half of the owners, as the last look read it, which is used once; None: this look did."""
        which = f"{day} {self._turn}"
        known = look_up(self._connection, HALF_HELD, which, HeldHalf)
        if known is not None and not known.used and (at_once or known.state == state):
            keep(self._connection, HALF_HELD, which, replace(known, used=True))
            self.nearly = known.state != state
            return known.found
        self.full = True
        found = found_on(self._connection, day, absent.owners, Part.FIRST_HALF)
        keep(self._connection, HALF_HELD, which, HeldHalf(found, state))
        return None

    def held_between(self, first: date, last: date, at_once: bool = True) -> Held | None:
        """Which listed symbols are held from when to when; None likewise."""
        state = joined(self._states, HOLDING_TABLES, f"{first}..{last} {self._turn}")
        found = None if self._anew else look_up(self._connection, "spans", state, Held)
        if found is None and (at_once or not self.full):
            found = held_symbols(self._connection, first, last)
            keep(self._connection, "spans", state, found)
        return found

    def _known_absent(self, day: date, state: str, at_once: bool) -> Absent | None:
        """As an earlier look left it."""
        if self._anew or self._owned is not None:
            return None
        found = look_up(self._connection, "absent", f"{day}", Absent)
        return found if found is not None and (at_once or found.state == state != "") else None

    def _absent(self, day: date, state: str) -> Absent | None:
        owned = self.owned(trusting=True)
        if owned is None:
            return None
        ids, portfolios = owned.owners["id"], self.portfolios()
        row, known = places_of(ids, portfolios.ids)
        number = int(day_numbers([day])[0])
        exists = known.copy()
        exists[known] = (portfolios.start[row[known]] <= number) & (portfolios.deleted[row[known]] > number)
        absent = Absent(ids[~exists], state if self.current else "")
        keep(self._connection, "absent", f"{day}", absent)
        return absent


@dataclass(frozen=True)
class HeldHalf:
    """What was found of the first half of the owners on a day, with the state of what that was read from."""

    found: Found
    state: str
    used: bool = False

    def to_parts(self) -> list[bytes]:
        symbols = [part for some in (self.found.held, self.found.unsure) for part in HeldOn(some).to_parts()]
        return [*symbols, self.state.encode(), str(int(self.used)).encode()]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> HeldHalf:
        held, unsure = (HeldOn.from_parts([part]).symbols for part in parts[:2])
        return cls(Found(held, unsure), parts[2].decode(), parts[3] == b"1")


@dataclass(frozen=True)
class Absent:
    """Owners of positions that do not exist on a day, with the state of what that was read from."""

    owners: npt.NDArray[np.void]
    state: str

    def to_parts(self) -> list[bytes]:
        return [self.owners.tobytes(), self.state.encode()]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Absent:
        return cls(rows_of(parts[0], np.dtype("V16")), parts[1].decode())
