"""Whether somebody wrote to a table since an earlier look: PostgreSQL's own counters, also behind the platform's views.

Here: one text that changes with every write. Not here: what is read from the tables, and how long it may be remembered
(gate_facts.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

# A view is followed to the tables that it reads, through the catalogue's own record of what it depends on, and a
# partitioned table to its partitions. What a view's result may change with besides them (the time, who asks, a random
# number, a function that reads tables of its own) is found by the functions in its rule: only those that depend on
# nothing but their arguments are let pass, and casts, which depend on settings of the session that we never change.
_STATE = r"""
with recursive named as (
    select place, to_regclass(name)::oid as oid from unnest(%s::text[]) with ordinality as t(name, place)
), behind as (
    select oid from named where oid is not null
    union
    select found.oid from behind cross join lateral (
        select d.refobjid from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
            and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
        where r.ev_class = behind.oid
        union all
        select inhrelid from pg_inherits where inhparent = behind.oid
    ) as found(oid)
), rule as (
    select r.ev_class, r.xmin::text as version, r.ev_action::text as action
    from behind join pg_class c using (oid) join pg_rewrite r on r.ev_class = c.oid where c.relkind = 'v'
), fickle as (
    select from rule where action ~ 'SQLVALUEFUNCTION|NEXTVALUEEXPR' or exists (
        select from regexp_matches(action, ':(?:funcid|opfuncid|aggfnoid|winfnoid) (\d+)', 'g') as found(id)
        join pg_proc p on p.oid = found.id[1]::oid
        where p.provolatile <> 'i' and not exists (select from pg_cast where castfunc = p.oid)
    )
)
select (select string_agg(coalesce(oid::int8, 0)::text, ' ' order by place) from named)
    || (select coalesce(string_agg(' ' || ev_class::int8 || ':' || version, '' order by ev_class, version), '') from rule)
    || (select string_agg(concat_ws('-', '', c.oid::int8, c.relfilenode::int8, pg_stat_get_tuples_inserted(c.oid),
            pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid)), ' ' order by c.oid)
        from behind join pg_class c using (oid) where c.relkind in ('r', 'm'))
    || extract(epoch from pg_postmaster_start_time())::int8
where current_setting('track_counts') = 'on' and not exists (select from fickle)
    and not exists (select from behind join pg_class c using (oid) where c.relkind not in ('r', 'm', 'v', 'p', 'i', 'I'))
"""


def state_of(connection: psycopg.Connection[Any], tables: Sequence[str]) -> str:
    """A text that changes whenever somebody writes to what some tables or views are read from; empty where PostgreSQL
    cannot tell (a foreign table, a view that depends on the time).

    A writer's counters arrive up to some ten seconds after its commit: no matter to who looks again in 30 s."""
    row = connection.execute(_STATE, [list(tables)]).fetchone()
    return str(row[0]) if row and row[0] else ""
