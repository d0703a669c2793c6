"""How much of a day's closes is there: listed symbols held, and how many of them have a close.

Here: which symbols are held when, a scan of all positions; and how many of them have a close, a look at some days' closes.
Not here: how many are enough (automation/gate.py), how long either may be remembered (gate_facts.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.store.dates import DELETED, ENTRY, EXIT
from refresh_assets.store.expected import JOINED_STARTS
from refresh_assets.store.optional import events_source
from refresh_assets.store.owned import Part
from refresh_assets.store.read import LONGEST_SYMBOL
from refresh_assets.store.scans import as_array, plan_for_scans

# A position that is still held shrinks to its symbol's first day while the scan goes on; what was sold or deleted is a
# span. Of what is sold down to 0, only sales after the first day matter, so those are read from the events' side: mostly
# none. Names are looked at once a symbol, not once a position, and what concerns an owner (`offset 0`) once an owner; not as
# a common table expression, which only one process may read.
NAMED = f"btrim(symbol) <> '' and length(symbol) <= {LONGEST_SYMBOL}"
_OWNER = f"""(
    select id, deleted_at is null and {JOINED_STARTS} <= %(first)s as plain, {DELETED} as deleted, {JOINED_STARTS} as start
    from portfolios f left join refresh_first_days g on g.portfolio_id = f.id offset 0
) owner"""
_PLAIN = "exit_date is null and deleted_at is null and plain"
_LISTED = "investment_class in ('PUBLIC', 'OPTIONS')"
_HELD = f"""
with held as (
    select symbol, min(coalesce(entry_date, date '-infinity')) filter (where {_PLAIN}) as since,
        array_agg(case when greatest({ENTRY}, start) < least({EXIT}, {DELETED}, deleted)
            then daterange(greatest({ENTRY}, start), least({EXIT}, {DELETED}, deleted)) end
        ) filter (where not ({_PLAIN})) as spans
    from positions join {_OWNER} on owner.id = portfolio_id
    where {_LISTED} and quantity is distinct from 0
        and (entry_date is null or entry_date <= %(last)s) and (exit_date is null or exit_date > %(first)s)
    group by symbol
), sold as (
    select symbol, greatest({ENTRY}, start) as low, least({EXIT}, {DELETED}, deleted, last) as high
    from (
        select position_id, least(max(trade_date), date '9999-12-31') as last from {{events}} e
        where trade_date > %(first)s group by position_id
    ) sale join positions on positions.id = position_id join {_OWNER} on owner.id = portfolio_id
    where {_LISTED} and quantity = 0
), span as (
    select symbol, greatest(since, date '1900-01-01') as low, date '9999-12-31' as high from held where since is not null
    union all select symbol, lower(one), upper(one) from held cross join unnest(spans) one where one is not null
    union all select symbol, low, high from sold where low < high
)
select array_agg(symbol)::text, array_agg(low - date '1970-01-01')::text, array_agg(high - date '1970-01-01')::text
from span where {NAMED}
"""
# On one day. `but`: not of owners who do not exist on it, mostly none: to look each owner up among none takes 2 ms as well.
# `offset 0`: else the names would be looked at once a position.
_ON_THE_DAY = f"""{_LISTED} and (entry_date is null or entry_date <= %(day)s)
    and (exit_date is null or exit_date > %(day)s) and (deleted_at is null or {DELETED} > %(day)s)
    and portfolio_id is not null{{but}}"""
_BUT = " and not portfolio_id = any(%(absent)s::uuid[])"
_HELD_ON = f"""
select array_agg(symbol::text), array_agg(held)
from (
    select symbol, bool_or(quantity is distinct from 0) as held from positions where {_ON_THE_DAY}{{part}}
    group by symbol offset 0
) held where {NAMED}
"""
# What was sold down to 0, for the few symbols that nobody holds more of.
_SOLD_LATER = f"""
select array_agg(distinct symbol::text)
from positions join (select position_id from {{events}} e where trade_date > %(day)s group by position_id) sale
    on positions.id = position_id
where quantity = 0 and {_ON_THE_DAY} and symbol = any(%(symbols)s)
"""
_CLOSES_ON = """
select array_agg(symbol::text) from market_data_cache where date = %s and close_price >= 0 and close_price < 'Infinity'
"""
_CLOSES = """
with span as materialized (
    select symbol, date '1970-01-01' + low as low, date '1970-01-01' + high as high
    from unnest(%(symbols)s::text[], %(lows)s::int[], %(highs)s::int[]) as s(symbol, low, high)
), held as (
    select distinct d as day, symbol from unnest(%(days)s::date[]) d join span on d >= low and d < high
), priced as (
    select distinct m.date as day, m.symbol from market_data_cache m join span on span.symbol = m.symbol
        and m.date >= low and m.date < high
    where m.date = any(%(days)s) and close_price >= 0 and close_price < 'Infinity'
)
select d, coalesce(held.symbols, 0), coalesce(priced.symbols, 0) from unnest(%(days)s::date[]) d
    left join (select day, count(*) as symbols from held group by day) held on held.day = d
    left join (select day, count(*) as symbols from priced group by day) priced on priced.day = d
"""


@dataclass(frozen=True)
class HeldOn:
    """Listed symbols held on one day."""

    symbols: frozenset[str]

    def to_parts(self) -> list[bytes]:
        return ["\0".join([str(len(self.symbols)), *self.symbols]).encode()]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> HeldOn:
        return cls(frozenset(parts[0].decode().split("\0")[1:]))


@dataclass(frozen=True)
class Found:
    """Listed symbols of some owners: held on a day, and those of which they hold nothing, but may have on that day."""

    held: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()

    def with_more(self, other: Found) -> Found:
        """Of other owners too."""
        return Found(self.held | other.held, self.unsure | other.unsure)


def found_on(
    connection: psycopg.Connection[Any], day: date, absent: npt.NDArray[np.void], part: Part | None = None
) -> Found:
    """Symbols of PUBLIC and OPTIONS positions on a day.

    Args:
        absent: owners of positions that do not exist on the day.
        part: of whose positions; None: of all."""
    plan_for_scans(connection)
    query = _HELD_ON.format(but=_BUT if len(absent) else "", part=f" and {part}" if part else "")
    row = connection.execute(query, {"day": day, "absent": as_array(absent)}, binary=True, prepare=False).fetchone()
    found = list(zip(row[0], row[1], strict=True)) if row and row[0] else []
    return Found(
        frozenset(symbol for symbol, there in found if there), frozenset(symbol for symbol, there in found if not there)
    )


def held_on(connection: psycopg.Connection[Any], day: date, absent: npt.NDArray[np.void], found: Found) -> HeldOn:
    """Symbols held on a day, of what was found of all owners: those too that were sold since, of which nobody holds more."""
    held, unsure = found.held, found.unsure - found.held
    if unsure:
        query = _SOLD_LATER.format(events=events_source(connection), but=_BUT if len(absent) else "")
        asked = {"day": day, "absent": as_array(absent), "symbols": list(unsure)}
        sold = connection.execute(query, asked, binary=True, prepare=False).fetchone()
        held = held.union((sold[0] if sold else None) or ())
    return HeldOn(held)


def closes_on(connection: psycopg.Connection[Any], held: HeldOn, day: date) -> tuple[int, int]:
    """How many symbols are held on a day, and how many of them have a usable close."""
    row = connection.execute(_CLOSES_ON, [day], binary=True).fetchone()
    return len(held.symbols), len(held.symbols.intersection(row[0] or () if row else ()))


@dataclass(frozen=True)
class Held:
    """Which listed symbols are held from when to when, for some days: PostgreSQL's own words, to be handed back to it.

    Attributes:
        symbols, lows, highs: arrays of the same length; from the days (since 1970) `lows` on, before `highs`.
    """

    symbols: str
    lows: str
    highs: str

    def to_parts(self) -> list[bytes]:
        return [self.symbols.encode(), self.lows.encode(), self.highs.encode()]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Held:
        return cls(*(part.decode() for part in parts))


def held_symbols(connection: psycopg.Connection[Any], first: date, last: date) -> Held:
    """Symbols of PUBLIC and OPTIONS positions held on some day between two."""
    plan_for_scans(connection)
    query = _HELD.format(events=events_source(connection))
    row = connection.execute(query, {"first": first, "last": last}).fetchone()
    return Held(*(one or "{}" for one in row or [None] * 3))


def closes_of(connection: psycopg.Connection[Any], held: Held, days: Sequence[date]) -> dict[date, tuple[int, int]]:
    """How many symbols are held on each of some days, ascending, and how many of them have a usable close."""
    arrays = {"symbols": held.symbols, "lows": held.lows, "highs": held.highs}
    rows = connection.execute(_CLOSES, {"days": list(days), **arrays}).fetchall()
    return {day: (there, priced) for day, there, priced in rows}
