"""What a night was doing at the moment of a kill, from what PostgreSQL saw of it.

Here: its sessions, and the name of the phase. Not here: the kill itself (kills.py)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from refresh_assets.store.database import APPLICATION
from refresh_assets_tests.chaos.worker import ENDING, STARTING


@dataclass(frozen=True)
class Session:
    """A backend as pg_stat_activity has it; `query` is the running statement, or the last one."""

    pid: int
    is_writer: bool
    state: str
    query: str


START_UP, READING, COMPUTING, BETWEEN = "start-up", "reading the inputs", "computing", "between two tables"
MARKET_VALUES = "market values"
OF_STATEMENT = (
    (r"commit", "committing"),
    (r"create table|comment on table|alter table|.*refresh partitions|.*pg_inherits", "the month's partition"),
    (r".*inline betas|.*inline_betas|.*symbol_factor_exposures", "inline betas"),
    (r".*pg_advisory_xact_lock", "claiming the day"),
    (r"copy \"new_rows\"|create temp table \"new_rows\"", "copying beside the old day"),
    (r"copy \"?(portfolio_sn|correlation_c|factor_e|stress_t)", "copying into the day"),
    (r"create temp table changed|select count\(\*\), count\(distinct|select v.name, portfolio_id", "comparing"),
    (r"delete from .* using changed|insert into .* select t\.\*", "replacing what changed"),
    (r".*(refresh_marks|added_marks|stress_factor_shocks)", "marks and shocks"),
    (r".*refresh_restatements", "recording a restatement"),
    (r"select .*refresh_days|select distinct portfolio_id|delete from \"", COMPUTING),
    (r".*(refresh_exceptions|insert into refresh_days)", "recording the day"),
    (r".*(update positions|enable_nestloop|refresh_complete_days)", MARKET_VALUES),
    (r".*", "opening a transaction"),
)
"""How a writer's statement begins -> phase; the first that fits."""

PHASES = (START_UP, READING, *dict.fromkeys(name for _, name in OF_STATEMENT), BETWEEN)


def sessions_of(server: psycopg.Connection[Any], name: str) -> list[Session]:
    """Everybody who is connected to a database."""
    rows = server.execute(
        "select pid, application_name = %s, coalesce(state, ''), coalesce(query, '') from pg_stat_activity"
        " where datname = %s and backend_type in ('client backend', 'parallel worker')",
        [APPLICATION, name],
    ).fetchall()
    return [Session(*row) for row in rows]


def phase_of(doing: str, sessions: Sequence[Session]) -> str:
    """The name of the phase: the writer's statement where it is in a transaction, else what the night said last."""
    writers = [one for one in sessions if one.is_writer and one.state != "idle"]
    if any(one.state == "active" and not one.is_writer for one in sessions) and not writers:
        return READING
    if writers:
        # One is ended, another is begun and waits, or is at work as well: what is at work tells more, the update most.
        names = [_name(one.query) for one in writers if one.state == "active"] or [_name(one.query) for one in writers]
        return MARKET_VALUES if MARKET_VALUES in names else names[0]
    if doing == STARTING:
        return READING if sessions else START_UP
    if doing == ENDING:
        return BETWEEN
    return BETWEEN if any(one.is_writer for one in sessions) else COMPUTING


def _name(query: str) -> str:
    """The phase that a writer's statement belongs to."""
    words = " ".join(query.split())
    return next(name for begin, name in OF_STATEMENT if re.match(begin, words, re.IGNORECASE))
