"""How much of a day's closes is there: listed symbols held, and how many of them have a close.

Here: one query for some days. Not here: how many are enough (automation/gate.py), how long a count may be remembered
(gate_facts.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import psycopg

from refresh_assets.store.expected import JOINED_STARTS, plan_for_scans
from refresh_assets.store.read import DELETED, ENTRY, EXIT, LONGEST_SYMBOL, events_source

# A position that is still held shrinks to its symbol's first day while the scan goes on; what was sold or deleted is a
# span. Of what is sold down to 0, only sales after the first day matter, so those are read from the events' side.
# Closes are counted from their side too, so that 250 days are one scan by date.
NAMED = f"btrim(symbol) <> '' and length(symbol) <= {LONGEST_SYMBOL}"
_OPEN = "exit_date is null and deleted_at is null and owner.gone is null"
_HELD_ON = "({0} >= since or {0} <@ any(spans) or {0} <@ any(late))"
_COVERAGE = f"""
with owner as materialized (
    select id, deleted_at as gone, {DELETED} as deleted, {JOINED_STARTS} as start
    from portfolios f left join refresh_first_days g on g.portfolio_id = f.id
), held as (
    select symbol, min(greatest(coalesce(entry_date, date '-infinity'), start)) filter (where {_OPEN}) as since,
        array_agg(case when greatest({ENTRY}, start) < least({EXIT}, {DELETED}, deleted)
            then daterange(greatest({ENTRY}, start), least({EXIT}, {DELETED}, deleted)) end
        ) filter (where not ({_OPEN})) as spans
    from positions join owner on owner.id = portfolio_id
    where investment_class in ('PUBLIC', 'OPTIONS') and {NAMED} and quantity is distinct from 0
        and (entry_date is null or entry_date <= %(last)s) and (exit_date is null or exit_date > %(first)s)
    group by symbol
), sale as (
    select position_id, least(max(trade_date), date '9999-12-31') as last from {{events}} e
    where trade_date > %(first)s group by position_id
), sold as (
    select symbol, array_agg(daterange(greatest({ENTRY}, start), least({EXIT}, {DELETED}, deleted, last))) as late
    from sale join positions on positions.id = position_id join owner on owner.id = portfolio_id
    where investment_class in ('PUBLIC', 'OPTIONS') and {NAMED} and quantity = 0
        and greatest({ENTRY}, start) < least({EXIT}, {DELETED}, deleted, last)
    group by symbol
), known as materialized (
    select symbol, since, spans, late from held full join sold using (symbol)
), holding as (
    select d as day, count(*) as symbols from unnest(%(days)s::date[]) d join known on {_HELD_ON.format("d")} group by d
), priced as (
    select m.date as day, count(distinct m.symbol) as symbols from market_data_cache m join known using (symbol)
    where m.date = any(%(days)s) and {_HELD_ON.format("m.date")} and close_price >= 0 and close_price < 'Infinity'
    group by m.date
)
select d, coalesce(holding.symbols, 0), coalesce(priced.symbols, 0) from unnest(%(days)s::date[]) d
    left join holding on holding.day = d left join priced on priced.day = d
"""


def symbols_held(connection: psycopg.Connection[Any], days: Sequence[date]) -> dict[date, tuple[int, int]]:
    """Symbols of PUBLIC and OPTIONS positions held on each of some days, ascending, and how many have a usable close."""
    if not days:
        return {}
    plan_for_scans(connection)
    query = _COVERAGE.format(events=events_source(connection))
    rows = connection.execute(query, {"days": list(days), "first": days[0], "last": days[-1]}).fetchall()
    return {day: (held, priced) for day, held, priced in rows}
