"""How much of some days' closes is there: listed symbols held, and how many of them have a close.

Here: which symbols are held when, a scan of all positions; and how many of them have a close, a look at the days' closes.
Not here: how many are enough (automation/gate.py), how long either may be remembered (gate_facts.py)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.store.dates import DELETED, ENTRY, EXIT, day_number
from refresh_assets.store.expected import (
    JOINED_STARTS,
    SOLD,
    Portfolios,
    day_numbers,
    first_needed,
    read_portfolios,
)
from refresh_assets.store.optional import events_source
from refresh_assets.store.owned import Owned, Part, read_owned
from refresh_assets.store.read import LISTED, LONGEST_SYMBOL
from refresh_assets.store.scans import as_array, places_of, plan_for_scans

# Nearly every symbol is held by somebody throughout some days: that is asked of all positions, without their owners, once a
# symbol. When the few others are held is asked of their positions alone. Names are looked at once a symbol, not once a
# position (`offset 0`).
NAMED = f"btrim(symbol) <> '' and length(symbol) <= {LONGEST_SYMBOL}"
_WITHIN = f"""(entry_date is null or entry_date <= %(last)s) and (exit_date is null or exit_date > %(first)s)
    and (deleted_at is null or {DELETED} > %(first)s)"""
_THROUGHOUT = f"""(entry_date is null or entry_date <= %(first)s) and (exit_date is null or exit_date > %(last)s)
    and (deleted_at is null or {DELETED} > %(last)s)"""
# Of owners who do not exist: mostly none, and to look each owner up among none takes 2 ms as well.
_NOT_OF = " and not portfolio_id = any(%({0})s::uuid[])"
_FOUND = f"""
select array_agg(symbol), array_agg(held)
from (
    select symbol::text as symbol, bool_or(quantity is distinct from 0{{throughout}}) as held from positions
    where {{part}}{LISTED} and {_WITHIN} and portfolio_id is not null{{but}}
    group by symbol::text offset 0
) held where {NAMED}
"""
# What is sold down to 0 was held until its last sale.
_SPANS = f"""
with theirs as materialized (
    select positions.id, portfolio_id, symbol::text as symbol, quantity, {ENTRY} as entry, least({EXIT}, {DELETED}) as until
    from positions where symbol::text = any(%(symbols)s) and {LISTED} and {_WITHIN}
), sale as (
    select position_id, least(max(trade_date), date '9999-12-31') as last
    from {{events}} e where trade_date > %(first)s and {SOLD} group by position_id
), span as (
    select symbol, greatest(entry, %(first)s::date, {JOINED_STARTS}) as low,
        least(until, {DELETED}, sale.last, %(last)s::date + 1) as high
    from theirs join portfolios f on f.id = portfolio_id left join refresh_first_days g on g.portfolio_id = f.id
        left join sale on sale.position_id = theirs.id and quantity = 0
    where quantity is distinct from 0 or sale.last is not null
)
select symbol, min(low) - date '1970-01-01', high - date '1970-01-01' from span where low < high
group by symbol, high
"""
# No text has a zero byte: a symbol as an object of its own takes longer than to read it.
_CLOSES = """
select (
    select string_agg(textsend(symbol::text), decode('00', 'hex')) from market_data_cache
    where date = d and close_price >= 0 and close_price < 'Infinity'
) from unnest(%s::date[]) with ordinality as days(d, place) order by place
"""


@dataclass(frozen=True)
class Held:
    """Listed symbols held on some days.

    Attributes:
        throughout: on each of them.
        spans: of others, from the day (since 1970) `low` on, before `high`.
    """

    throughout: frozenset[str]
    spans: tuple[tuple[str, int, int], ...] = ()

    def on(self, day: date) -> frozenset[str]:
        """On one of the days."""
        number = day_number(day)
        return self.throughout.union(symbol for symbol, low, high in self.spans if low <= number < high)

    def to_parts(self) -> list[bytes]:
        spans = [f"{low} {high} {symbol}" for symbol, low, high in self.spans]
        return [_packed(self.throughout), _packed(spans)]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Held:
        spans = (one.split(" ", 2) for one in _unpacked(parts[1]))
        return cls(frozenset(_unpacked(parts[0])), tuple((symbol, int(low), int(high)) for low, high, symbol in spans))


@dataclass(frozen=True)
class Found:
    """Listed symbols of some owners: held by one of them throughout some days, and others, held on some of the days if at
    all."""

    held: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()

    def with_more(self, other: Found) -> Found:
        """Of other owners too."""
        held = self.held | other.held
        return Found(held, (self.others | other.others) - held)

    def to_parts(self) -> list[bytes]:
        return [_packed(self.held), _packed(self.others)]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Found:
        return cls(*(frozenset(_unpacked(part)) for part in parts))


@dataclass(frozen=True)
class Absent:
    """Owners of positions who do not exist: on none of some days, and on some of them."""

    never: npt.NDArray[np.void]
    at_times: npt.NDArray[np.void]


def _packed(texts: Collection[str]) -> bytes:
    return "\0".join([str(len(texts)), *texts]).encode()


def _unpacked(part: bytes) -> list[str]:
    return part.decode().split("\0")[1:]


def absent_between(owned: Owned, portfolios: Portfolios, first: date, last: date) -> Absent:
    """Of the owners of positions those who do not exist from one day to another."""
    ids = owned.owners["id"]
    row, known = places_of(ids, portfolios.ids)
    begin, end = day_numbers([first, last])
    start, deleted = portfolios.start[row[known]], portfolios.deleted[row[known]]
    ever, throughout = known.copy(), known.copy()
    ever[known] = (start <= end) & (deleted > begin)
    throughout[known] = (start <= begin) & (deleted > end)
    return Absent(ids[~ever], ids[ever & ~throughout])


def found_between(
    connection: psycopg.Connection[Any], first: date, last: date, absent: Absent, part: Part | None = None
) -> Found:
    """Symbols of PUBLIC and OPTIONS positions from one day to another.

    Args:
        part: of whose positions; None: of all."""
    plan_for_scans(connection)
    throughout = [f" and {_THROUGHOUT}"] if first != last else []
    throughout += [_NOT_OF.format("at_times")] if len(absent.at_times) else []
    query = _FOUND.format(
        throughout="".join(throughout),
        part=f"{part} and " if part else "",
        but=_NOT_OF.format("never") if len(absent.never) else "",
    )
    asked = {"first": first, "last": last, "never": as_array(absent.never), "at_times": as_array(absent.at_times)}
    row = connection.execute(query, asked, binary=True, prepare=False).fetchone()
    found: dict[bool, list[str]] = {True: [], False: []}
    for symbol, there in zip(*(row or ((), ())), strict=True) if row and row[0] else ():
        found[there].append(symbol)
    return Found(frozenset(found[True]), frozenset(found[False]))


def held_between(connection: psycopg.Connection[Any], first: date, last: date, found: Found) -> Held:
    """When what was found of all owners from one day to another is held."""
    if not found.others:
        return Held(found.held)
    plan_for_scans(connection)
    query = _SPANS.format(events=events_source(connection))
    asked = {"first": first, "last": last, "symbols": list(found.others)}
    rows = connection.execute(query, asked, binary=True, prepare=False).fetchall()
    return Held(found.held, tuple(rows))


def closes_on(connection: psycopg.Connection[Any], held: Held, days: Sequence[date]) -> dict[date, tuple[int, int]]:
    """How many symbols are held on each of some days, and how many of them have a usable close."""
    rows = connection.execute(_CLOSES, [list(days)], binary=True).fetchall()
    counts = {}
    for day, (symbols,) in zip(days, rows, strict=True):
        there = held.on(day)
        priced = (symbols or b"").decode(connection.info.encoding).split("\0")
        counts[day] = len(there), len(there.intersection(priced))
    return counts


def counted(
    connection: psycopg.Connection[Any], calendar: TradingCalendar, days: Sequence[date]
) -> dict[date, tuple[int, int]]:
    """The same, read anew as a whole: of some days, ascending."""
    first, last = days[0], days[-1]
    owned, portfolios = read_owned(connection, first_needed(calendar, days)), read_portfolios(connection)
    found = found_between(connection, first, last, absent_between(owned, portfolios, first, last))
    return closes_on(connection, held_between(connection, first, last, found), days)
