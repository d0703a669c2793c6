"""Digests of the books of many days from one Ledger, at the cost of what changes from day to day.

Here: which positions stand alike on two days, the sums of the days one after the other. Not here: the rule of what holds on
a day (book.py), hashes (digest.py), which days are looked at (store/stale.py).

A digest is a sum over the rows of a Book, and most rows are the same on D as on the day before. So only those that may
differ are taken, as they were and as they are, and the sum goes on by their difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from refresh_assets.core.book import NEVER, OK, Book, Days, Events, Ledger, Positions, Rows, Valuations, as_of
from refresh_assets.core.digest import Sum, added, negated
from refresh_assets.core.money import Bools

BLOCK_DAYS = 16
"""Days for which what moves is first gathered, so that each of them looks through a tenth of a large Ledger only."""

Sums = dict[str, Sum]


def digests_over_days(
    ledger: Ledger, days: Sequence[int], previous: Sequence[int], sums: Callable[[Book], Sums]
) -> Iterator[Sums]:
    """The sums of the Book of each day.

    Args:
        ledger: read for all of the days: whatever any of them or its D' may hold.
        days: D, days since 1970-01-01, ascending.
        previous: D' of each.
        sums: of a Book, additive over its rows, and the same for a row whatever the day (digest.book_digest)."""
    if not days:
        return
    total = sums(as_of(ledger, days[0], previous[0]))
    yield total
    for begin in range(1, len(days), BLOCK_DAYS):
        end = min(begin + BLOCK_DAYS, len(days))
        moving = part_of(ledger, _moving(ledger, previous[begin - 1], days[begin - 1], days[end - 1]))
        dates = _dates(moving)
        for at in range(begin, end):
            # A Book asks its dates against D and D': two are alike if none lies after the D' of the first, up to the second.
            since, day = previous[at - 1], days[at]
            if np.searchsorted(dates, day, "right") > np.searchsorted(dates, since, "right"):
                few = part_of(moving, _moving(moving, since, days[at - 1], day))
                gone, come = sums(as_of(few, days[at - 1], since)), sums(as_of(few, day, previous[at]))
                total = {kind: added(added(value, negated(gone[kind])), come[kind]) for kind, value in total.items()}
            yield total


def _moving(ledger: Ledger, previous: int, first: int, last: int) -> Rows:
    """Positions whose row of a Book may differ between the days `first` to `last`, and one more of each of their owners.

    `previous` is the D' of `first`."""
    owners, rows, events, valuations = ledger.portfolios, ledger.positions, ledger.events, ledger.valuations
    exists, never = (owners.start <= first) & (owners.deleted > last), (owners.start > last) | (owners.deleted <= first)
    steady = exists[rows.portfolio] & (rows.deleted > last) & (rows.entry <= previous) & (rows.exit > last)
    steady &= (rows.expiry < first) | (rows.expiry >= last)
    # Gone before, or not there yet: alike on every day too, in no Book at all.
    absent = never[rows.portfolio] | (rows.entry > last) | (rows.deleted <= previous)
    absent |= (rows.exit <= previous) & (rows.exit >= rows.entry)
    during = events.position[(events.day > previous) & ((events.day <= last) | (events.day == NEVER))]
    valued = valuations.position[(valuations.as_of > previous) & (valuations.as_of <= last)]
    steady[during], steady[valued], absent[during] = False, False, False
    steady &= ~absent
    moves = np.zeros(len(owners.id), dtype=bool)
    moves[rows.portfolio[~steady & ~absent]] = True
    return np.flatnonzero((~steady & ~absent) | _anchors(ledger, steady, moves, last))


def _anchors(ledger: Ledger, steady: Bools, moves: Bools, last: int) -> Bools:
    """(N,) one position that is surely held, of each portfolio in which something moves; all that are steady if none is.

    What a portfolio held on D' counts only if it is due on D: the anchor keeps it due, as its other positions do, and
    stands in both sums alike."""
    owner, events = ledger.positions.portfolio, ledger.events
    quantity = ledger.positions.quantity
    # Without a sale later on, what it is now it was then.
    held = steady & moves[owner] & ((quantity.state != OK) | (quantity.exact.sign() != 0))
    held[events.position[events.day > last]] = False
    anchor = np.full(len(moves), -1, dtype=np.int64)
    sure = np.flatnonzero(held)
    anchor[owner[sure]] = sure
    chosen = steady & (moves & (anchor < 0))[owner]
    chosen[anchor[anchor >= 0]] = True
    return chosen


def part_of(ledger: Ledger, chosen: Rows) -> Ledger:
    """The Ledger with some of its positions, ascending, and all of its portfolios."""
    rows, events, valuations = ledger.positions, ledger.events, ledger.valuations
    row_of = np.full(len(rows.id), -1, dtype=np.int64)
    row_of[chosen] = np.arange(len(chosen))
    columns: dict[str, Any] = {}
    for field in fields(Positions):
        column = getattr(rows, field.name)
        columns[field.name] = column[chosen] if isinstance(column, np.ndarray) else column.take(chosen)
    sold = np.flatnonzero(row_of[events.position] >= 0)
    valued = np.flatnonzero(row_of[valuations.position] >= 0)
    return Ledger(
        ledger.portfolios,
        Positions(**columns),
        Events(row_of[events.position[sold]], events.day[sold], events.quantity.take(sold), events.price.take(sold)),
        Valuations(row_of[valuations.position[valued]], valuations.as_of[valued], valuations.value.take(valued)),
    )


def _dates(ledger: Ledger) -> Days:
    """Every date that a Book of the Ledger may ask D or D' against, ascending."""
    owners, rows = ledger.portfolios, ledger.positions
    mine = np.unique(rows.portfolio)
    # An option expires on the day after the one in its symbol.
    expired = rows.expiry + (rows.expiry < NEVER)
    found = [owners.start[mine], owners.deleted[mine], rows.entry, rows.exit, rows.deleted, expired]
    return np.unique(np.concatenate([*found, ledger.events.day, ledger.valuations.as_of])).astype(np.int32)
