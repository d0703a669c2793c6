"""Where what is stored is what is expected, day by day, in a form that is small enough to be kept from look to look.

Here: a digest of the days on which both agree, the others by name; and what follows when only one of the two sides is
read again. Not here: reading either side (expected.py, gate_facts.py).

Thousands of past days agree and a few do not. Of the many one digest is enough: as long as it comes out the same from one
side alone, the other side still says what it said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from refresh_assets.calendar import TradingCalendar
from refresh_assets.store.days import stretches

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sums:
    """Of T days, the sums of the hashes of their portfolios.

    Attributes:
        there: (T,) whether somebody is expected on the day, or it is stored at all.
        sums: (T,) 0 where not.
    """

    there: Bools
    sums: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """Some trading days, ascending, as two sides see them.

    Attributes:
        digest: of the days on which somebody is expected, and just that is stored.
        nobody: days on which nobody is expected, whatever is stored.
        pending: the other days, ascending: what is expected, and what is stored if anything is.
    """

    digest: str
    nobody: frozenset[date] = frozenset()
    pending: Mapping[date, tuple[int, int | None]] = field(default_factory=dict)

    @classmethod
    def of(cls, days: Sequence[date], expected: Sums, stored: Sums) -> Agreement:
        agreed = expected.there & stored.there & (expected.sums == stored.sums)
        return cls(
            _digest(expected.sums[agreed]),
            frozenset(days[row] for row in np.flatnonzero(~expected.there).tolist()),
            {
                days[row]: (int(expected.sums[row]), int(stored.sums[row]) if stored.there[row] else None)
                for row in np.flatnonzero(expected.there & ~agreed).tolist()
            },
        )

    def with_stored(self, days: Sequence[date], stored: Sums) -> Agreement | None:
        """The same expectations of the same days, and what is stored now; None where the expectations are needed."""
        agreed = self._agreed(days)
        if not self._still_says(stored, agreed):
            return None
        rows = {day: row for row, day in enumerate(days)}
        expected, somebody = np.where(agreed, stored.sums, 0), agreed.copy()
        for day, (wanted, _) in self.pending.items():
            somebody[rows[day]], expected[rows[day]] = True, wanted
        return Agreement.of(days, Sums(somebody, expected), stored)

    def with_expected(self, days: Sequence[date], expected: Sums) -> Agreement | None:
        """The same days stored as before, and what is expected now; None where what is stored is needed."""
        agreed = self._agreed(days)
        rows = {day: row for row, day in enumerate(days)}
        if not self._still_says(expected, agreed) or any(expected.there[rows[day]] for day in self.nobody):
            return None
        stored, there = np.where(agreed, expected.sums, 0), agreed.copy()
        for day, (_, known) in self.pending.items():
            if known is not None:
                there[rows[day]], stored[rows[day]] = True, known
        return Agreement.of(days, expected, Sums(there, stored))

    def _agreed(self, days: Sequence[date]) -> Bools:
        others = {*self.pending, *self.nobody}
        return np.fromiter((day not in others for day in days), dtype=bool)

    def _still_says(self, side: Sums, agreed: Bools) -> bool:
        """Whether one side says of the days that agreed what it said."""
        return bool(side.there[agreed].all()) and _digest(side.sums[agreed]) == self.digest

    def to_json(self, calendar: TradingCalendar) -> dict[str, Any]:
        """Plain figures; days of nobody as ranges, for they are mostly the years before the first portfolio."""
        nobody = sorted(self.nobody)
        every = calendar.days(nobody[0], nobody[-1]) if nobody else []
        return {
            "digest": self.digest,
            "nobody": [[one[0].isoformat(), one[-1].isoformat()] for one in stretches(nobody, every)],
            "pending": [[day.isoformat(), wanted, there] for day, (wanted, there) in self.pending.items()],
        }

    @classmethod
    def from_json(cls, figures: Mapping[str, Any], calendar: TradingCalendar) -> Agreement:
        ranges = [[date.fromisoformat(day) for day in one] for one in figures["nobody"]]
        return cls(
            figures["digest"],
            frozenset(day for first, last in ranges for day in calendar.days(first, last)),
            {date.fromisoformat(day): (wanted, there) for day, wanted, there in figures["pending"]},
        )


def _digest(sums: npt.NDArray[np.int64]) -> str:
    return blake2b(sums.tobytes(), digest_size=16).hexdigest()
