"""Who holds what, read once and then only where somebody wrote.

Here: what of it is kept from look to look, in which state of which tables, what is read in its place, and what is left to the
next look. Not here: the reading (expected.py, owned.py, coverage.py), where it is kept (gate_memory.py), what the gate makes
of it (gate_facts.py)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.store.counters import plain_table
from refresh_assets.store.coverage import Held, HeldOn, held_on, held_symbols
from refresh_assets.store.expected import Portfolios, day_numbers, read_portfolios
from refresh_assets.store.gate_memory import ACCOUNTING, joined, keep, look_up, turn
from refresh_assets.store.owned import Base, Owned, Part, read_base, read_owned, written_since
from refresh_assets.store.scans import places_of, rows_of

PORTFOLIO_TABLES = ("portfolios", "refresh_first_days")
HOLDING_TABLES = ("portfolios", "positions", "position_realized_events", "refresh_first_days")

MOST_WRITTEN = 500
"""Rows written to positions since they were read as a whole; after more they are read so again, which takes 10 ms more."""


class Holdings:
    """Portfolios and their positions at one look.

    What is kept of positions is compared with every row of theirs whenever somebody wrote, or it is the accounting's turn, so
    it is never too old; all else is read again when it is its turn.

    Attributes:
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
        anew: nothing that is kept is trusted."""
        self._connection, self._states, self._first, self._anew = connection, states, first, anew
        self._turn = turn(now, ACCOUNTING)
        self._portfolios: Portfolios | None = None
        self._owned: Owned | None = None
        self._is_read = False
        self.nearly = False

    def portfolios(self) -> Portfolios:
        """All of them."""
        if self._portfolios is None:
            state = joined(self._states, PORTFOLIO_TABLES, self._turn)
            found = None if self._anew else look_up(self._connection, "portfolios", state, Portfolios)
            if found is None:
                found = read_portfolios(self._connection)
                keep(self._connection, "portfolios", state, found)
            self._portfolios = found
        return self._portfolios

    def owned(self) -> Owned:
        """What positions say of their owners."""
        if self._owned is None:
            self._is_read = True
            table = self._table()
            built = self._built(*table) if table else None
            self._owned = read_owned(self._connection, self._first) if built is None else built
        return self._owned

    def read_in_part(self) -> bool:
        """Read the first half of the owners, if so much was written to positions that they must be read as a whole; gives
        whether that was done, and the rest is for the next look."""
        table, base = self._table(), self._base()
        if table is None or base is None or table[1] - base.counter <= MOST_WRITTEN:
            return False
        half = look_up(self._connection, "half", self._of(table[0]), Base)
        if half is not None and half.counter > base.counter:
            return False
        self._is_read = True
        half = read_base(self._connection, self._first, table[1], Part.FIRST_HALF)
        keep(self._connection, "half", self._of(table[0]), half)
        return True

    def held_on(self, day: date, at_once: bool = True) -> HeldOn | None:
        """Listed symbols held on a day; None where positions were read at this look and must be read again for it.

        Args:
            at_once: that is no reason to leave it to the next look. What an earlier look left is used, even if somebody wrote
                since: then `nearly` is true."""
        state = joined(self._states, HOLDING_TABLES, f"{day} {self._turn}")
        found = None if self._anew else look_up(self._connection, "held", state, HeldOn)
        if found is not None:
            return found
        if self._is_read and self._owned is None and not at_once:
            return None
        absent = self._known_absent(day, state, at_once) or self._absent(day, state)
        if self._is_read and not at_once:
            keep(self._connection, "absent", f"{day}", absent)
            return None
        self.nearly = absent.state != state
        found = held_on(self._connection, day, absent.owners)
        if not self.nearly:
            keep(self._connection, "held", state, found)
        return found

    def held_between(self, first: date, last: date, at_once: bool = True) -> Held | None:
        """Which listed symbols are held from when to when; None likewise."""
        state = joined(self._states, HOLDING_TABLES, f"{first}..{last} {self._turn}")
        found = None if self._anew else look_up(self._connection, "spans", state, Held)
        if found is None and (at_once or not self._is_read):
            found = held_symbols(self._connection, first, last)
            keep(self._connection, "spans", state, found)
        return found

    def _known_absent(self, day: date, state: str, at_once: bool) -> Absent | None:
        """As an earlier look left it."""
        if self._anew or self._owned is not None:
            return None
        found = look_up(self._connection, "absent", f"{day}", Absent)
        return found if found is not None and (at_once or found.state == state != "") else None

    def _absent(self, day: date, state: str) -> Absent:
        base, table = self._base(), self._table()
        if self._owned is None and base and base.whole and table and table[1] == base.counter:
            self._owned = base.owned  # nobody wrote since
        ids, portfolios = self.owned().owners["id"], self.portfolios()
        row, known = places_of(ids, portfolios.ids)
        number = int(day_numbers([day])[0])
        exists = known.copy()
        exists[known] = (portfolios.start[row[known]] <= number) & (portfolios.deleted[row[known]] > number)
        return Absent(ids[~exists], state)

    def _table(self) -> tuple[str, int] | None:
        return plain_table(self._states.get("positions", ""))

    def _base(self) -> Base | None:
        """What an earlier look read as a whole."""
        table = self._table()
        return look_up(self._connection, "owned", self._of(table[0]), Base) if table and not self._anew else None

    def _of(self, which: str) -> str:
        return f"{which} {self._first}"

    def _built(self, which: str, counter: int) -> Owned | None:
        """On what was read as a whole, or is read so now; None where nothing can be built on it."""
        base = self._base()
        built = self._built_on(base, counter) if base else None
        if built is not None:
            return built
        half = look_up(self._connection, "half", self._of(which), Base) if base else None
        if base and half and base.counter < half.counter == counter:  # nobody wrote since that half was read
            base = half.joined(read_base(self._connection, self._first, counter, Part.SECOND_HALF))
        else:
            base = read_base(self._connection, self._first, counter)
        keep(self._connection, "owned", self._of(which), base)
        if base.whole:
            return base.owned
        since = written_since(self._connection, base, self._first)
        return since[0] if since else None

    def _built_on(self, base: Base, counter: int) -> Owned | None:
        if counter - base.counter > MOST_WRITTEN:
            return None
        since = written_since(self._connection, base, self._first)
        if since is None:
            return None
        # A writer whom the counters do not tell of (lost, or switched off) must not be taken for nobody later.
        return None if since[1] and base.whole and counter == base.counter else since[0]


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
