"""What the night computes from: a chunk of portfolios as flat arrays, and their book as of one day.

Here: the Ledger (the platform's rows of a chunk, all dates in it), the rule of what holds on D and D', and the Book that
every analytic takes. Not here: reading the rows (store/read.py), prices and betas (market.py), any figure.

This is where look-ahead ends: a Book is made from a Ledger by `as_of`, and nothing dated after D passes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from refresh_assets.core.money import Bools, Exact, Ints

Days = npt.NDArray[np.int32]
"""Days since 1970-01-01."""
Rows = npt.NDArray[np.int64]
Uuids = npt.NDArray[np.void]
"""(N,) of 16 bytes, in PostgreSQL's order."""

ALWAYS = np.int32(-(2**31))
NEVER = np.int32(2**31 - 1)

PUBLIC, OPTIONS, PRIVATE, UNKNOWN_CLASS = 0, 1, 2, -1
OPTION_MULTIPLIER = 100
OK, MISSING, BAD = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Decimals:
    """N decimals of a column, with what was wrong with each.

    Attributes:
        exact: the numbers; 0 where the state is not OK.
        state: (N,) int8: OK, MISSING (null) or BAD (NaN, infinite, absurdly large).
    """

    exact: Exact
    state: npt.NDArray[np.int8]

    @property
    def ok(self) -> Bools:
        return self.state == OK

    def take(self, rows: Rows) -> Decimals:
        return Decimals(self.exact.take(rows), self.state[rows])


@dataclass(frozen=True, slots=True)
class Portfolios:
    """P portfolios: id, first day they exist, day from which they are deleted (NEVER: not)."""

    id: Uuids
    start: Days
    deleted: Days


def used_rows(ids: Uuids, start: Days | Rows, deleted: Days | Rows) -> Rows:
    """Which rows of portfolios are used, ascending by id: each id once, and of those with one id the row that is deleted last,
    of these the one that begins first. Never the one that a table happens to give first: any update moves a row."""
    _, first = np.unique(ids.view("S16"), return_index=True)
    if len(first) < len(ids):
        order = np.lexsort((start, -deleted))
        _, first = np.unique(ids[order].view("S16"), return_index=True)
        first = order[first]
    return first


@dataclass(frozen=True, slots=True)
class Positions:
    """N positions in the order of (portfolio, id).

    `portfolio` is a row of Portfolios; `symbol` a code of the run's sorted symbols (-1: none); `expiry` the day in an
    option's own symbol (NEVER: none); the decimals are as the platform has them today."""

    id: Uuids
    portfolio: Rows
    symbol: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    quantity: Decimals
    entry_price: Decimals
    entry: Days
    exit_price: Decimals
    exit: Days
    deleted: Days
    market_value: Decimals
    expiry: Days


@dataclass(frozen=True, slots=True)
class Events:
    """Realized events in the order of (position, date, id); `position` is a row of Positions.

    The quantity of an event that cannot be right (unreadable, of the other sign, before the entry) is BAD."""

    position: Rows
    day: Days
    quantity: Decimals
    price: Decimals


@dataclass(frozen=True, slots=True)
class Valuations:
    """Dated valuations in the order of (position, as_of); `position` is a row of Positions."""

    position: Rows
    as_of: Days
    value: Decimals


@dataclass(frozen=True, slots=True)
class Ledger:
    """A chunk of whole portfolios with all that the platform knows of their positions, whatever its date."""

    portfolios: Portfolios
    positions: Positions
    events: Events
    valuations: Valuations


@dataclass(frozen=True, slots=True)
class Sales:
    """What was sold in (D', D]: M legs; `position` is a row of the Book, `quantity` has the position's sign."""

    position: Rows
    quantity: Exact
    price: Decimals


@dataclass(frozen=True, slots=True)
class Book:
    """A chunk of portfolios as of D: each holds a position on D or sold its last on D.

    The N positions are those held on D or on D', or traded between; M sales. D' is the trading day before D.

    Attributes:
        day, previous: D and D', days since 1970-01-01.
        portfolio_id: (P,).
        starts: (P,) first position of each portfolio; its last stands before the next one's first.
        portfolio: (N,) row of the owner.
        id, symbol, kind, entry_price, expiry: (N,) as in Positions.
        quantity, previous_quantity: (N,) as of D and D'; 0 where not held then.
        quantity_state: (N,) of the platform's quantity.
        held, held_before: (N,) on D and on D'.
        entered: (N,) between D' and D (so at D's entry price, not at P(D')).
        value, previous_value: (N,) hand-entered value of a PRIVATE position as of D and D'.
        undated: (N,) that value is the undated one of positions.
        sales: the legs sold.
        wrong_dates: (N,) held on no day, as exit lies before entry; kept only to be named.
        bad_events, bad_valuations: rows of the Book that have an event, a valuation that cannot be read, so was left out;
            -1 stands for positions that are not in it.
        nothing_held: portfolios that are not in the Book, though their dates say that they hold something: their events
            leave a quantity of 0 on D.
    """

    day: int
    previous: int
    portfolio_id: Uuids
    starts: Ints
    portfolio: Rows
    id: Uuids
    symbol: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int8]
    quantity: Exact
    previous_quantity: Exact
    quantity_state: npt.NDArray[np.int8]
    entry_price: Decimals
    held: Bools
    held_before: Bools
    entered: Bools
    expiry: Days
    value: Decimals
    previous_value: Decimals
    undated: Bools
    sales: Sales
    wrong_dates: Bools
    bad_events: Rows
    bad_valuations: Rows
    nothing_held: Uuids = field(default_factory=lambda: np.array([], dtype="V16"))

    @property
    def size(self) -> int:
        return len(self.portfolio_id)


def as_of(ledger: Ledger, day: int, previous: int, only: Bools | None = None) -> Book:
    """The Book of D from a Ledger.

    Args:
        ledger: of a chunk of portfolios.
        day, previous: D and D', days since 1970-01-01.
        only: (P,) of the ledger's portfolios, those wanted (None: all).

    A position is held on D iff entry <= D < exit, it is not deleted as of D, and its quantity as of D is not 0 (a quantity
    that cannot be read counts as held: it is named, not lost). Source: spec section 3.
    """
    owners, rows = ledger.portfolios, ledger.positions
    exists = (owners.start <= day) & (owners.deleted > day)
    if only is not None:
        exists &= only
    mine = exists[rows.portfolio]
    quantity_now = _quantity_as_of(ledger, np.int32(day))
    quantity_then = _quantity_as_of(ledger, np.int32(previous))
    unreadable = rows.quantity.state != OK
    alive, alive_then = rows.deleted > day, rows.deleted > previous
    held = mine & alive & (rows.entry <= day) & (day < rows.exit)
    held &= unreadable | (quantity_now.sign() != 0)
    # A portfolio that did not exist on D' held nothing then; its positions that were entered before still count as kept.
    held_before = mine & alive_then & (rows.entry <= previous) & (previous < rows.exit)
    held_before &= unreadable | (quantity_then.sign() != 0)
    sold = _sales(ledger, day, previous, mine & alive & ~unreadable & (rows.exit >= rows.entry))
    traded = np.zeros(len(rows.id), dtype=bool)
    traded[sold.position] = True
    wrong_dates = mine & alive & (rows.exit < rows.entry) & (rows.entry <= day)
    due = np.zeros(len(owners.id), dtype=bool)
    due[rows.portfolio[held | traded]] = True
    later = np.zeros(len(rows.id), dtype=bool)
    closes = ledger.events.quantity.ok & (ledger.events.quantity.exact.sign() != 0)
    later[ledger.events.position[(ledger.events.day > day) & closes]] = True
    dated = mine & alive & (rows.entry <= day) & (day < rows.exit) & ((rows.quantity.exact.sign() != 0) | later)
    emptied = np.zeros(len(owners.id), dtype=bool)
    emptied[rows.portfolio[dated]] = True
    keep = np.flatnonzero((held | held_before | traded | wrong_dates) & due[rows.portfolio])
    book = _book(ledger, day, previous, keep, due, quantity_now, quantity_then, held, held_before, sold, wrong_dates)
    return replace(book, nothing_held=owners.id[emptied & ~due])


def _book(
    ledger: Ledger,
    day: int,
    previous: int,
    keep: Rows,
    due: Bools,
    quantity_now: Exact,
    quantity_then: Exact,
    held: Bools,
    held_before: Bools,
    sold: Sales,
    wrong_dates: Bools,
) -> Book:
    rows = ledger.positions
    new_row = np.full(len(rows.id), -1, dtype=np.int64)
    new_row[keep] = np.arange(len(keep))
    due_rows = np.flatnonzero(due)
    portfolio = (np.cumsum(due) - 1)[rows.portfolio[keep]]
    value, undated = _valuation_as_of(ledger, keep, day)
    previous_value, _ = _valuation_as_of(ledger, keep, previous)
    events = ledger.events
    bad = (events.quantity.state != OK) & (events.day > previous) & ((events.day <= day) | (events.day == NEVER))
    return Book(
        day=day,
        previous=previous,
        portfolio_id=ledger.portfolios.id[due_rows],
        starts=np.searchsorted(portfolio, np.arange(len(due_rows))),
        portfolio=portfolio,
        id=rows.id[keep],
        symbol=rows.symbol[keep],
        kind=rows.kind[keep],
        quantity=quantity_now.take(keep).where(held[keep]),
        previous_quantity=quantity_then.take(keep).where(held_before[keep]),
        quantity_state=rows.quantity.state[keep],
        entry_price=rows.entry_price.take(keep),
        held=held[keep],
        held_before=held_before[keep],
        entered=(rows.entry[keep] > previous) & (rows.entry[keep] <= day),
        expiry=rows.expiry[keep],
        value=value,
        previous_value=previous_value,
        undated=undated,
        sales=Sales(new_row[sold.position], sold.quantity, sold.price),
        wrong_dates=wrong_dates[keep],
        bad_events=np.unique(new_row[events.position[bad]]),
        bad_valuations=np.unique(new_row[_bad_valuations(ledger, day, previous)]),
    )


def _quantity_as_of(ledger: Ledger, day: np.int32 | Days) -> Exact:
    """q(D) = quantity + sum of quantity_closed of its events with trade_date > D; one D for all positions, or (N,)."""
    since = np.broadcast_to(day, ledger.positions.entry.shape)[ledger.events.position]
    later = np.flatnonzero((ledger.events.day > since) & ledger.events.quantity.ok)
    if not len(later):
        return ledger.positions.quantity.exact
    return ledger.positions.quantity.exact.plus_at(
        ledger.events.position[later], ledger.events.quantity.exact.take(later)
    )


def _sales(ledger: Ledger, day: int, previous: int, allowed: Bools) -> Sales:
    """The events in (D', D], then what was left on an exit date in (D', D], at its exit price.

    The exit sells all that is left, so an event dated after it sells nothing once more."""
    rows, events = ledger.positions, ledger.events
    during = (events.day > previous) & (events.day <= day) & events.quantity.ok & allowed[events.position]
    partial = np.flatnonzero(during & (events.day <= rows.exit[events.position]))
    left = _quantity_as_of(ledger, np.minimum(rows.exit, np.int32(day)))
    closed = np.flatnonzero(allowed & (rows.exit > previous) & (rows.exit <= day) & (left.sign() != 0))
    quantity = events.quantity.exact.take(partial).followed_by(left.take(closed))
    price = events.price.exact.take(partial).followed_by(rows.exit_price.exact.take(closed))
    state = np.concatenate([events.price.state[partial], rows.exit_price.state[closed]])
    position = np.concatenate([events.position[partial], closed])
    return Sales(position, quantity, Decimals(price, state))


def _bad_valuations(ledger: Ledger, day: int, previous: int) -> Rows:
    """Positions with a value that cannot be read, unless a later one that can was already there on D'.

    The ledger of a range of days holds older valuations than that of one day: what they say of a day is the same."""
    dated, undated = ledger.valuations, ledger.positions
    settled = np.full(len(undated.id), -NEVER, dtype=np.int64)
    usable = (dated.as_of <= previous) & dated.value.ok
    np.maximum.at(settled, dated.position[usable], dated.as_of[usable])
    bad = dated.position[(dated.as_of <= day) & ~dated.value.ok & (dated.as_of > settled[dated.position])]
    return np.concatenate([bad, np.flatnonzero((undated.kind == PRIVATE) & (undated.market_value.state == BAD))])


def _valuation_as_of(ledger: Ledger, keep: Rows, day: int) -> tuple[Decimals, Bools]:
    """Of PRIVATE positions the latest usable valuation with as_of <= D, else the undated market value; and where it is the
    undated one."""
    dated, private = ledger.valuations, np.flatnonzero(ledger.positions.kind[keep] == PRIVATE)
    usable = np.flatnonzero((dated.as_of <= day) & dated.value.ok)
    own, value = keep[private], ledger.positions.market_value.take(keep[private])
    found = np.zeros(len(own), dtype=bool)
    if len(usable):
        # Sorted by (position, as_of): the last usable one of a position is the latest.
        last = np.searchsorted(dated.position[usable], own, side="right") - 1
        row = usable[np.maximum(last, 0)]
        found = (last >= 0) & (dated.position[row] == own)
        exact = value.exact.where(~found).plus_at(np.flatnonzero(found), dated.value.exact.take(row[found]))
        value = Decimals(exact, np.where(found, OK, value.state).astype(np.int8))
    state, undated = np.full(len(keep), MISSING, dtype=np.int8), np.zeros(len(keep), dtype=bool)
    state[private], undated[private] = value.state, ~found & value.ok
    return Decimals(value.exact.spread(private, len(keep)), state), undated
