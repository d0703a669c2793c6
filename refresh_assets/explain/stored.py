"""What the night stored for one portfolio and day: rows, runs, marks, omissions.

Here: one query each, on the same snapshot as the inputs. Not here: inputs (evidence.py), what a figure means."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from refresh_assets.core.book import OK
from refresh_assets.core.market import Prices
from refresh_assets.explain.answer import Computed, numbers, trimmed
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.dates import day_number
from refresh_assets.store.days import LeftOut
from refresh_assets.store.schema_names import DAY_TABLES

DAY, PORTFOLIO = value("day", "date"), value("portfolio", "uuid")


def read_days(snapshot: Snapshot) -> dict[str, tuple[str, Computed]]:
    """Table -> status and run of the day."""
    rows = snapshot.fetch(
        "select table_name, status, run_id, code_version, finished_at from refresh_days"
        f" where calculation_date = {DAY} order by 1"
    ).to_pylist()
    return {
        row["table_name"]: (
            row["status"],
            Computed(row["table_name"], row["run_id"], row["code_version"], row["finished_at"]),
        )
        for row in rows
    }


def read_row(snapshot: Snapshot, table: str) -> dict[str, Any] | None:
    """The portfolio's row of the day in one of the tables that have one; money as Decimal."""
    column = DAY_TABLES[table]
    rows = snapshot.fetch(f"select * from {table} where {column} = {DAY} and portfolio_id = {PORTFOLIO}")
    money = [field.name for field in rows.schema if field.name.endswith(MONEY)]
    for row in rows.to_pylist():
        return {**row, **{name: Decimal(row[name]) for name in money}}
    return None


MONEY = ("_value", "_cost", "_pnl", "_exposure")
"""How the names of portfolio_snapshots' money end."""


def read_exposures(snapshot: Snapshot) -> dict[UUID, dict[str, Any]]:
    """Factor -> the portfolio's row of factor_exposures."""
    rows = snapshot.fetch(
        "select factor_id, exposure_value, exposure_dollar, coverage from factor_exposures"
        f" where calculation_date = {DAY} and portfolio_id = {PORTFOLIO}"
    )
    return {row["factor_id"]: row for row in rows.to_pylist()}


def read_scenarios(snapshot: Snapshot) -> list[str]:
    """The scenarios that were applied on the day."""
    rows = snapshot.fetch(f"select distinct scenario_id from stress_factor_shocks where calculation_date = {DAY}")
    return sorted(rows["scenario_id"].to_pylist())


def read_stress(snapshot: Snapshot, scenario: str) -> tuple[dict[str, Any] | None, dict[UUID, dict[str, Any]]]:
    """The portfolio's result, and factor -> shock, expected move, whether it is joint, as they were applied."""
    snapshot.set(scenario=scenario)
    results = snapshot.fetch(
        "select direct_pnl, correlated_pnl, correlation_effect, is_capped from stress_test_results"
        f" where calculation_date = {DAY} and portfolio_id = {PORTFOLIO} and scenario_id = {value('scenario')}"
    ).to_pylist()
    shocks = snapshot.fetch(
        "select factor_id, shock, expected_move, is_joint from stress_factor_shocks"
        f" where calculation_date = {DAY} and scenario_id = {value('scenario')}"
    ).to_pylist()
    return (results[0] if results else None), {row["factor_id"]: row for row in shocks}


def read_p_value(snapshot: Snapshot, correlation: float | None, data_points: int) -> float | None:
    """The p value of a correlation, by the function that the view pairwise_correlations takes."""
    if correlation is None:
        return None
    snapshot.set(correlation=repr(correlation), points=data_points)
    rows = snapshot.fetch(
        f"select correlation_p_value({value('correlation', 'float8')}, {value('points', 'int')}) as p"
    )
    p: float | None = rows["p"][0].as_py()
    return p


def read_pair(snapshot: Snapshot, first: str, second: str) -> dict[str, Any] | None:
    """The row of pairwise_correlations of two symbols of the portfolio, the first before the second."""
    snapshot.set(first=first, second=second)
    rows = snapshot.fetch(
        "select correlation_value::float8 as correlation_value, data_points::int as data_points, p_value,"
        f" statistical_significance from pairwise_correlations where calculation_date = {DAY}"
        f" and portfolio_id = {PORTFOLIO} and symbol_1 = {value('first')} and symbol_2 = {value('second')}"
    ).to_pylist()
    return rows[0] if rows else None


def read_left_out(snapshot: Snapshot, name: str) -> list[LeftOut]:
    """What the day left out of this portfolio, and what it left out for everybody (symbols, factors, scenarios)."""
    rows = snapshot.fetch(
        "select asset, code, portfolio_id is not null as own, symbol, detail from refresh_exceptions"
        f" where calculation_date = {DAY} and (portfolio_id = {PORTFOLIO} or portfolio_id is null)"
        " order by asset, code, symbol, detail"
    ).to_pylist()
    return [
        LeftOut(row["asset"], row["code"], name if row["own"] else None, row["symbol"], row["detail"]) for row in rows
    ]


def changed_closes(snapshot: Snapshot, prices: Prices, codes: Iterable[int], day: date, marked_only: bool) -> list[str]:
    """Closes of a day that are not what its night used, in words; `marked_only`: only those that it used at all."""
    wanted = {prices.symbols[code]: code for code in codes}
    closes = prices.exact[day_number(day)]
    snapshot.set(marked=day, symbols=json.dumps(sorted(wanted), ensure_ascii=False))
    rows = snapshot.fetch(
        f"select symbol, close_price from refresh_marks where calculation_date = {value('marked', 'date')}"
        f" and symbol = any(array(select jsonb_array_elements_text({value('symbols', 'jsonb')})))"
    ).to_pylist()
    used = {row["symbol"]: trimmed(Decimal(row["close_price"])) for row in rows}
    exact, found = numbers(closes.exact), []
    for symbol, code in sorted(wanted.items()):
        then, now = used.get(symbol), exact[code] if closes.state[code] == OK else None
        if then == now or (then is None and marked_only):
            continue
        was = "the night used no close" if then is None else f"the night used {then:f} as the close"
        found.append(f"{was} of {symbol} on {day}, it is {'missing' if now is None else f'{now:f}'} now")
    return found
