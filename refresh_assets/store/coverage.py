"""How much of a day's closes is there: listed symbols held, and how many of them have a close.

Here: which symbols are held when, a scan of all positions; and how many of them have a close, a look at some days' closes.
Not here: how many are enough (automation/gate.py), how long either may be remembered (gate_facts.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.store.expected import JOINED_STARTS
from refresh_assets.store.owned import OLDER, Writers
from refresh_assets.store.read import DELETED, ENTRY, EXIT, LONGEST_SYMBOL, events_source
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
# On one day: each symbol, and a hash of one of those who hold it. `absent`: owners who do not exist on the day.
_HELD_ON = f"""
with holding as (
    select symbol, portfolio_id from positions
    where {_LISTED} and quantity is distinct from 0 and (entry_date is null or entry_date <= %(day)s)
        and (exit_date is null or exit_date > %(day)s) and (deleted_at is null or {DELETED} > %(day)s)
        and {{chosen}}
    union all
    select symbol, portfolio_id from positions
        join (select position_id from {{events}} e where trade_date > %(day)s group by position_id) sale
        on positions.id = position_id
    where {_LISTED} and quantity = 0 and (entry_date is null or entry_date <= %(day)s)
        and (exit_date is null or exit_date > %(day)s) and (deleted_at is null or {DELETED} > %(day)s)
        and {{chosen}}
)
select array_agg(symbol::text), array_agg(witness)
from (
    select symbol, min(uuid_hash(portfolio_id)) as witness from holding
    where portfolio_id is not null and not portfolio_id = any(%(absent)s::uuid[]) group by symbol
) held where {NAMED}
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
    """Listed symbols held on one day, each with PostgreSQL's hash of one portfolio that holds it."""

    witnesses: Mapping[str, int]

    def to_parts(self) -> list[bytes]:
        hashes = np.fromiter(self.witnesses.values(), dtype=np.int32, count=len(self.witnesses))
        return ["\0".join(self.witnesses).encode(), hashes.tobytes()]

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> HeldOn:
        names = parts[0].decode().split("\0") if parts[1] else []
        return cls(dict(zip(names, np.frombuffer(parts[1], dtype=np.int32).tolist(), strict=True)))


def held_on(
    connection: psycopg.Connection[Any], day: date, absent: npt.NDArray[np.void], oldest: str | None = None
) -> HeldOn:
    """Symbols of PUBLIC and OPTIONS positions held on a day.

    Args:
        absent: owners of positions that do not exist on the day.
        oldest: only what earlier transactions than this one wrote; None: everything."""
    plan_for_scans(connection)
    return _held_on(connection, day, absent, OLDER if oldest else "true", {"oldest": oldest})


def held_since(
    connection: psycopg.Connection[Any], day: date, before: HeldOn, writers: Writers, absent: npt.NDArray[np.void]
) -> HeldOn:
    """The same, from what earlier transactions wrote and the owners of whom something was written since.

    A symbol is held still where its witness is none of them, or where one of them holds it now; the few others are asked
    for. Two owners of one hash only mean that more is asked for."""
    if not len(writers.ids):
        return before
    # As PostgreSQL plans by itself: for so few rows no process more is started.
    asked = {"owners": as_array(writers.ids)}
    theirs = _held_on(connection, day, absent, "portfolio_id = any(%(owners)s::uuid[])", asked).witnesses
    hashes = set(writers.hashes.tolist())
    sure = {symbol: witness for symbol, witness in before.witnesses.items() if witness not in hashes}
    unsure = [symbol for symbol in before.witnesses if symbol not in sure and symbol not in theirs]
    found = (
        _held_on(connection, day, absent, "symbol = any(%(symbols)s)", {"symbols": unsure}) if unsure else HeldOn({})
    )
    return HeldOn({**theirs, **found.witnesses, **sure})


def _held_on(
    connection: psycopg.Connection[Any],
    day: date,
    absent: npt.NDArray[np.void],
    chosen: str,
    asked: Mapping[str, object] | None = None,
) -> HeldOn:
    # The few positions that were sold later are found by the index, if it is not taken for four times as dear as it is.
    connection.execute("select set_config('random_page_cost', '1.1', true)")
    query = _HELD_ON.format(events=events_source(connection), chosen=chosen)
    asked = {"day": day, "absent": as_array(absent), **(asked or {})}
    row = connection.execute(query, asked, binary=True, prepare=False).fetchone()
    return HeldOn(dict(zip(row[0], row[1], strict=True)) if row and row[0] else {})


def closes_on(connection: psycopg.Connection[Any], held: HeldOn, day: date) -> tuple[int, int]:
    """How many symbols are held on a day, and how many of them have a usable close."""
    row = connection.execute(_CLOSES_ON, [day], binary=True).fetchone()
    return len(held.witnesses), len(held.witnesses.keys() & set(row[0] or () if row else ()))


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
    # The few positions that were sold later are found by the index, if it is not taken for four times as dear as it is.
    connection.execute("select set_config('random_page_cost', '1.1', true)")
    query = _HELD.format(events=events_source(connection))
    row = connection.execute(query, {"first": first, "last": last}).fetchone()
    return Held(*(one or "{}" for one in row or [None] * 3))


def closes_of(connection: psycopg.Connection[Any], held: Held, days: Sequence[date]) -> dict[date, tuple[int, int]]:
    """How many symbols are held on each of some days, ascending, and how many of them have a usable close."""
    arrays = {"symbols": held.symbols, "lows": held.lows, "highs": held.highs}
    rows = connection.execute(_CLOSES, {"days": list(days), **arrays}).fetchall()
    return {day: (there, priced) for day, there, priced in rows}
