"""Whether somebody wrote to a table since an earlier look: PostgreSQL's own counters, also behind the platform's views.

Here: a text a table that changes with every write. Not here: what is read from the tables, and how long it may be remembered
(gate_facts.py)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import psycopg

# A table of its own, which most are: planned in a third of the time. The same words as below.
_PLAIN_STATES = """
select name, concat(current_user, ' ', (select oid::int8 from pg_database where datname = current_database()), ' ',
    extract(epoch from pg_postmaster_start_time()), ' ', c.oid::int8, concat_ws('-', ' ' || c.oid::int8, relfilenode::int8,
    case amname when 'heap' then case when has_column_privilege(c.oid, 'xmin', 'select') then amname end end,
    pg_stat_get_tuples_inserted(c.oid), pg_stat_get_tuples_updated(c.oid), pg_stat_get_tuples_deleted(c.oid)))
from unnest(%s::text[]) name join pg_class c on c.oid = to_regclass(name) left join pg_am on pg_am.oid = relam
where relkind = 'r' and not relhassubclass and current_setting('track_counts') = 'on'
"""
# A view is followed to the tables that it reads, through the catalogue's own record of what it depends on, and a
# partitioned table to its partitions. What a view's result may change with besides them (the time, who asks, a random
# number, a function that reads tables of its own) is found by the functions in its rule: only those that depend on
# nothing but their arguments are let pass, and casts, which depend on settings of the session that we never change.
# Who asks, which database and since when its server runs: the same text in two databases would be taken for one table.
_STATES = """
with recursive named as (
    select place, name, to_regclass(name)::oid as oid from unnest(%s::text[]) with ordinality as t(name, place)
), behind as (
    select place, oid from named where oid is not null
    union
    select place, found.oid from behind cross join lateral (
        select d.refobjid from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
            and d.refclassid = 'pg_class'::regclass and d.refobjid <> r.ev_class
        where r.ev_class = behind.oid
        union all
        select inhrelid from pg_inherits where inhparent = behind.oid
    ) as found(oid)
), kind as materialized (
    select place, c.oid, relkind, relfilenode::int8 as file,
        case amname when 'heap' then case when has_column_privilege(c.oid, 'xmin', 'select') then amname end end as form
    from behind join pg_class c using (oid) left join pg_am on pg_am.oid = relam
), rule as (
    select place, r.ev_class, r.xmin::text as version, r.ev_action::text as action
    from kind join pg_rewrite r on r.ev_class = kind.oid where relkind = 'v'
), fickle as (
    select place from kind where relkind not in ('r', 'm', 'v', 'p', 'i', 'I')
    union all
    select place from rule where action ~ 'SQLVALUEFUNCTION|NEXTVALUEEXPR' or exists (
        select from regexp_matches(action, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') as found(id)
        join pg_proc p on p.oid = found.id[1]::oid
        where p.provolatile <> 'i' and not exists (select from pg_cast where castfunc = p.oid)
    )
)
select name, concat(
    current_user, (select ' ' || oid::int8 from pg_database where datname = current_database()),
    ' ', extract(epoch from pg_postmaster_start_time()), ' ', coalesce(oid::int8, 0),
    (select string_agg(' ' || ev_class::int8 || ':' || version, '' order by ev_class, version) from rule
        where rule.place = named.place),
    (select string_agg(concat_ws('-', ' ' || kind.oid::int8, file, form, pg_stat_get_tuples_inserted(kind.oid),
            pg_stat_get_tuples_updated(kind.oid), pg_stat_get_tuples_deleted(kind.oid)), '' order by kind.oid)
        from kind where kind.place = named.place and relkind in ('r', 'm')))
from named where current_setting('track_counts') = 'on' and place not in (select place from fickle)
"""


def states_of(connection: psycopg.Connection[Any], tables: Sequence[str]) -> dict[str, str]:
    """By table or view, a text that changes whenever somebody writes to what it is read from; none where PostgreSQL cannot
    tell (a foreign table, a view that depends on the time).

    A writer's counters arrive up to some ten seconds after its commit: no matter to who looks again in 30 s."""
    found = dict(connection.execute(_PLAIN_STATES, [list(tables)]).fetchall())
    others = [table for table in tables if table not in found]
    return {**found, **dict(connection.execute(_STATES, [others]).fetchall())} if others else found


_PLAIN = re.compile(r"(?P<which>.* (?P<oid>\d+) (?P=oid)-\d+-heap)-(\d+)-(\d+)-(\d+)", re.DOTALL)


def plain_table(state: str) -> tuple[str, int] | None:
    """Which table a state is of, and how many rows were ever written to it; None where it is a view, has partitions, is not
    kept in PostgreSQL's own form, or may not be asked which transaction wrote a row."""
    found = _PLAIN.fullmatch(state)
    return (found["which"], sum(map(int, found.groups()[2:]))) if found else None


def without_counters(state: str) -> str:
    """Which table, or which view of which tables, a state is of, whatever was written to it."""
    return _COUNTERS.sub("", state)


def rows_in(state: str) -> int:
    """How many rows are in the table, or in all of those that a view reads: about, for counters may be lost in a crash."""
    return sum(int(inserted) - int(deleted) for inserted, _, deleted in _COUNTERS.findall(state))


_COUNTERS = re.compile(r"-(\d+)-(\d+)-(\d+)(?= |$)")
