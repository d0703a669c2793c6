"""Promises about what stands in the tables, asked of the tables themselves.

Here: one statement a day that reads each table once and counts, promise by promise, what breaks it; who is due against
who is there; whether the latest night is there. Not here: what Dagster shows of it (assets/checks.py), figures (core/).

A statement for each promise would read the two large tables twice and three times over. So the tables are reduced to a row
a portfolio first, and a promise that nobody asks for costs nothing: PostgreSQL leaves out what its text does not name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import digest
from refresh_assets.core.stress import LOSS_CAP
from refresh_assets.errors import ACCOUNTS_FOR_PORTFOLIO
from refresh_assets.store.dates import HAS_CLOSES
from refresh_assets.store.days import SYMBOL_BATCH
from refresh_assets.store.expected import expected_portfolios
from refresh_assets.store.scans import plan_for_scans
from refresh_assets.store.schema_names import DAY_TABLES

IMPACTS, GROSS, COVERAGE, CORRELATIONS, LATER = "impacts", "gross", "coverage", "correlations", "later"
"""The promises of a day, besides that everyone is accounted for: asked for by the name of the table."""

RELATIVE, CENT = 1e-9, 0.01
"""What two ways to the same double may differ by: a share of what was added up, and the cent that money is rounded to."""
READY_DAYS = 10
"""Trading days up to the latest close among which the latest that is due is looked for."""


@dataclass(frozen=True)
class Finding:
    """What was found of a promise on a day.

    Attributes:
        looked_at: rows or portfolios that were looked at.
        wrong: how many of them break the promise.
        measure: for coverage, its mean, 0 to 1; where everyone is to be accounted for, how many are due; else None.
        example: the first that breaks it, and how.
        table: where a promise is asked of each table, which.
    """

    day: date
    looked_at: int
    wrong: int
    measure: float | None = None
    example: str = ""
    table: str = ""


# The impacts of 19 scenarios x 12 factors a portfolio are not written out one by one, which would take as long as the
# stress tests did. Weighted by scenario, their sum is the sum of exposure x (weighted sum of shocks), so one figure a
# portfolio tells them all: with weights that nobody chose no two errors cancel.
_WEIGHT = "(1 + hashtext(scenario_id) / 4294967296.0::float8)"
_SHARED = f"""
with moves as (  -- not materialized, or the join with it and the sums over it would be left to one process
    select factor_id, sum({_WEIGHT} * shock) as direct,
        sum({_WEIGHT} * expected_move) filter (where is_joint) as correlated
    from stress_factor_shocks where calculation_date = %(day)s group by factor_id
), valued as materialized (
    select portfolio_id, gross_exposure::float8 as gross, position_count, is_partial
    from portfolio_snapshots where snapshot_date = %(day)s
), correlated as materialized (
    select portfolio_id, positions_included, cardinality(symbols) * (cardinality(symbols) - 1) / 2 as pairs,
        cardinality(correlations) as found, cardinality(data_points) as counted,
        (1::real >= all(correlations)) is not false and (-1::real <= all(correlations)) is not false
        and (overall_correlation between 0 and 1 + {RELATIVE}) is not false
        and (abs(weighted_correlation) <= 1 + {RELATIVE}) is not false as in_bounds
    from correlation_calculations where calculation_date = %(day)s
), exposed as materialized (
    select portfolio_id, count(*) as rows, sum(coverage) as coverage,
        count(*) filter (where not (coverage between 0 and 1 and (exposure_dollar is not null or coverage = 0))) as odd,
        min(exposure_dollar / nullif(exposure_value, 0)) as gross_low,
        max(exposure_dollar / nullif(exposure_value, 0)) as gross_high,
        sum(exposure_dollar * m.direct) as direct, sum(exposure_dollar * m.correlated) as correlated,
        sum(abs(exposure_dollar * m.direct)) as size, sum(abs(exposure_dollar * m.correlated)) as correlated_size
    from factor_exposures e left join moves m using (factor_id)
    where e.calculation_date = %(day)s group by portfolio_id
), stressed as materialized (
    select portfolio_id, count(*) as rows, sum({_WEIGHT} * direct_pnl) as direct,
        sum({_WEIGHT} * correlated_pnl) as correlated, bool_or(is_capped) as is_capped,
        bool_or(correlation_effect is distinct from correlated_pnl - direct_pnl) as odd
    from stress_test_results where calculation_date = %(day)s group by portfolio_id
), capped as materialized (
    select portfolio_id, scenario_id, sum(direct_impact) filter (where factor_id is not null) as direct,
        sum(correlated_impact) filter (where factor_id is not null) as correlated,
        sum(direct_impact) as direct_lines, sum(correlated_impact) as correlated_lines
    from stress_factor_impacts
    where calculation_date = %(day)s and portfolio_id = any(array(select portfolio_id from stressed where is_capped))
    group by portfolio_id, scenario_id
)
"""


def _near(one: str, other: str, size: str) -> str:
    """SQL for: two sums are the same but for rounding; a null counts as 0, and NaN is near to nothing."""
    return f"(abs(coalesce({one}, 0) - coalesce({other}, 0)) <= {RELATIVE} * coalesce({size}, 0) + {CENT})"


def _floored(lines: str) -> str:
    return f"case when {lines} is not null then greatest({lines}, floor) end"


_DATED = {
    **DAY_TABLES,
    **dict.fromkeys(
        ("refresh_days", "refresh_marks", "stress_factor_shocks", "refresh_exceptions"), "calculation_date"
    ),
}
_LATER_ROWS = (
    " or ".join(f"exists (select from {table} where {column} > %(effective)s)" for table, column in _DATED.items())
    + " or exists (select from symbol_factor_exposures where calculation_date > %(effective)s"
    " and calculation_method = 'inline')"
)

# A capped book's lines are read from the view, as a reader would: they add up to the result, and the cap holds exactly
# where, and as far as, a loss is greater than it.
_STATEMENTS = {
    IMPACTS: f"""
select '{IMPACTS}', count(*), count(*) filter (where wrong), null::float8,
    min(portfolio_id::text) filter (where wrong), null::bytea
from (
    select portfolio_id, s.odd is true or ({_near("e.direct", "s.direct", "e.size")}
        and {_near("e.correlated", "s.correlated", "e.correlated_size")}) is not true as wrong
    from exposed e full join stressed s using (portfolio_id) where s.is_capped is not true
    union all
    select portfolio_id, bool_or(correlation_effect is distinct from correlated_pnl - direct_pnl
        or ({_near("direct_pnl", _floored("direct"), "-floor")}
            and {_near("correlated_pnl", _floored("correlated"), "-floor")}
            and {_near("direct_pnl", "direct_lines", "-floor")}
            and {_near("correlated_pnl", "correlated_lines", "-floor")}
            and is_capped = (coalesce(direct < floor, false) or coalesce(correlated < floor, false))) is not true)
    from stress_test_results r left join capped using (portfolio_id, scenario_id)
        join (select portfolio_id, -{LOSS_CAP} * gross_high as floor from exposed) g using (portfolio_id)
    where r.calculation_date = %(day)s
    and r.portfolio_id = any(array(select portfolio_id from stressed where is_capped)) group by portfolio_id
) looked""",
    # A partial book may be priced where it has no cost: its snapshot's sums then leave out what its exposures hold.
    GROSS: f"""
select '{GROSS}', count(*), count(*) filter (where wrong), null::float8,
    min(portfolio_id::text) filter (where wrong), null::bytea
from (
    select portfolio_id, ({_near("gross_low", "gross_high", "gross_high")}
        and (v.is_partial or gross_high <= v.gross * (1 + {RELATIVE}) + {CENT})
        and (v.is_partial or c.positions_included is distinct from v.position_count
            or {_near("gross_high", "v.gross", "v.gross")})) is not true as wrong
    from exposed e join valued v using (portfolio_id) left join correlated c using (portfolio_id)
    where gross_low is not null
) looked""",
    COVERAGE: f"""
select '{COVERAGE}', coalesce(sum(rows), 0), coalesce(sum(odd), 0), sum(coverage) / nullif(sum(rows), 0),
    min(portfolio_id::text) filter (where odd > 0), null::bytea
from exposed""",
    CORRELATIONS: f"""
select '{CORRELATIONS}', count(*), count(*) filter (where wrong), null::float8,
    min(portfolio_id::text) filter (where wrong), null::bytea
from (
    select portfolio_id, (in_bounds and found = pairs and counted = pairs) is not true as wrong from correlated
) looked""",
    # A mark that is not D's close, but that of a later day; exposures of a day that has no beta; rows of days to come.
    LATER: f"""
select '{LATER}', count(*), count(*) filter (where wrong), null::float8, min(what) filter (where wrong), null::bytea
from (
    select 'the mark of ' || m.symbol || ' is a later close' as what, case when p.close_price = m.close_price then false
        else (select max(l.date) from market_data_cache l where l.symbol::text = m.symbol and l.date > %(day)s
            and l.close_price = m.close_price) is not null end as wrong
    from refresh_marks m left join market_data_cache p on p.symbol::text = m.symbol and p.date = %(day)s
    where m.calculation_date = %(day)s
    union all
    select 'exposures rest on betas of another day', exists (select from exposed where coverage > 0)
        and not exists (select from symbol_factor_exposures where calculation_date = %(day)s)
    union all
    select 'a row is dated later than the last close', {_LATER_ROWS}
) looked""",
}
_BY_PORTFOLIO = {
    "portfolio_snapshots": "select portfolio_id, 1 as rows from valued",
    "correlation_calculations": "select portfolio_id, 1 as rows from correlated",
    "factor_exposures": "select portfolio_id, rows from exposed",
    "stress_test_results": "select portfolio_id, rows from stressed",
}
# Rows that stand there, rows that the night says it wrote, and the ids of everyone accounted for.
_EVERYONE = """
select '{table}', coalesce((select sum(rows) from ({rows}) r), 0),
    coalesce((select d.rows from refresh_days d where d.calculation_date = %(day)s and d.table_name = '{table}'
        and d.status = 'complete'), 0), null::float8, (select d.status from refresh_days d where d.calculation_date = %(day)s
        and d.table_name = '{table}'), string_agg(uuid_send(portfolio_id), '')
from (
    select portfolio_id from ({rows}) r union select portfolio_id from refresh_exceptions
    where calculation_date = %(day)s and asset = '{table}' and code = any(%(codes)s) and portfolio_id is not null
) accounted"""
_STATEMENTS |= {table: _EVERYONE.format(table=table, rows=rows) for table, rows in _BY_PORTFOLIO.items()}
assert set(_BY_PORTFOLIO) == set(DAY_TABLES)


def findings(
    connection: psycopg.Connection[Any],
    calendar: TradingCalendar,
    days: Sequence[date],
    promises: Collection[str],
    effective: date,
    beside: bool = False,
) -> dict[str, list[Finding]]:
    """What was found of each promise, on each of some trading days.

    Args:
        connection: at the begin of a transaction, which becomes one that reads a single moment.
        promises: IMPACTS, GROSS, COVERAGE, CORRELATIONS, LATER, or a table's name: everyone is accounted for in it.
        effective: the effective trading date: nothing may be dated later.
        beside: the run does something else meanwhile: one process reads, as two would take that work's core from it."""
    connection.execute("set transaction isolation level repeatable read, read only")
    plan_for_scans(connection)
    if beside:
        connection.execute("select set_config('max_parallel_workers_per_gather', '0', true)")
    # The rows of the day were written a moment ago: the planner, which takes them for few, would look up each by itself.
    connection.execute("select set_config('enable_nestloop', 'off', true)")
    found: dict[str, list[Finding]] = {promise: [] for promise in promises}
    chosen = [promise for promise in _STATEMENTS if promise in found]
    due = expected_portfolios(connection, calendar, days) if set(chosen) & set(DAY_TABLES) and days else None
    for number, day in enumerate(days):
        for promise, looked_at, wrong, measure, example, ids in _looked(connection, day, chosen, effective):
            if promise in DAY_TABLES and due is not None:
                count, hashes = int(due.count[number]), due.hashes[number]
                finding = _accounted(day, (int(looked_at), int(wrong)), ids or b"", (count, hashes), example)
                finding = replace(finding, table=promise)
            else:
                finding = Finding(day, int(looked_at), int(wrong), measure, example or "")
            found[promise].append(finding)
    return found


def _looked(
    connection: psycopg.Connection[Any], day: date, promises: Sequence[str], effective: date
) -> Iterator[tuple[Any, ...]]:
    if not promises:
        return
    codes = sorted(code.value for code in ACCOUNTS_FOR_PORTFOLIO)
    values = {"day": day, "effective": effective, "codes": codes}
    statement = _SHARED + " union all ".join(_STATEMENTS[promise] for promise in promises)
    yield from connection.execute(statement.encode(), values, prepare=False).fetchall()


def _accounted(day: date, rows: tuple[int, int], ids: bytes, due: tuple[int, np.uint64], status: str | None) -> Finding:
    """Who is there against who is due, by number and by the sum of hashes.

    Args:
        rows: that stand there, and that the night wrote.
        ids: of everyone who has rows or an exception, 16 bytes each."""
    there = np.frombuffer(ids, dtype="V16")
    if status == "skipped":
        return Finding(day, len(there), 0, float(due[0]), "skipped: not one close")
    with np.errstate(over="ignore"):
        same = digest.portfolio_hashes(there).sum(dtype=np.uint64) == due[1] if len(there) else not due[0]
    wrong = 0 if same else max(abs(due[0] - len(there)), 1)
    words = [] if same else [f"{due[0]} portfolios are due, {len(there)} have rows or an exception that says why not"]
    if rows[0] != rows[1]:
        wrong = max(wrong, 1)
        words.append(f"{rows[0]} rows stand there, the night wrote {rows[1]}")
    return Finding(day, len(there), wrong, float(due[0]), "; ".join(words))


def freshness(
    connection: psycopg.Connection[Any], calendar: TradingCalendar, effective: date
) -> tuple[date | None, date | None]:
    """The latest trading day that is ready (spec section 3), and the latest complete one; None where there is none."""
    priced = connection.execute("select max(date) from market_data_cache where date <= %s", [effective]).fetchone()
    latest = priced[0] if priced else None
    if latest is None:
        return None, None
    first = calendar.nth_before(calendar.next_on_or_after(latest), READY_DAYS)
    row = connection.execute(
        f"select (select max(d) from unnest(%(days)s::date[]) d left join batch_run_tracking b on b.target_date = d"
        " and b.batch_type = %(batch)s where (b.status::text = 'completed' or (b.status is null and d < %(effective)s))"
        f" and {HAS_CLOSES.format(day='d')}),"
        " (select max(calculation_date) from refresh_complete_days)",
        {"days": calendar.days(first, latest), "batch": SYMBOL_BATCH, "effective": effective},
    ).fetchone()
    return row if row else (None, None)
