"""What a night writes besides its four tables: inline betas, marks, shocks, market values of positions.

Here: one function each, on a connection whose transaction the caller ends. Not here: the four tables (write.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from refresh_assets.core.book import Decimals
from refresh_assets.core.money import LARGEST, Floats
from refresh_assets.core.omissions import Omission
from refresh_assets.store.dates import STARTS, day_number
from refresh_assets.store.exceptions import copy_exceptions
from refresh_assets.store.optional import events_source

INLINE = "inline"
INLINE_ASSET = "inline_symbol_betas"

BetaRow = tuple[str, UUID, float, float | None, int, str | None]
"""symbol, factor, beta, r squared, observations, quality flag."""


def write_inline_betas(
    connection: psycopg.Connection[Any],
    day: date,
    rows: Sequence[BetaRow],
    omissions: Sequence[Omission],
    adds: bool = False,
) -> None:
    """Replace our betas of the day; `adds`: only add those that are not there. What the symbol batch wrote stays."""
    connection.execute("select pg_advisory_xact_lock(hashtext('refresh inline betas'), %s)", [day_number(day)])
    if not adds:
        connection.execute(
            "delete from symbol_factor_exposures where calculation_date = %s and calculation_method = %s", [day, INLINE]
        )
    connection.execute(
        "create temp table inline_betas (symbol text, factor_id uuid, beta numeric, r_squared numeric,"
        " observations int, quality_flag text) on commit drop"
    )
    with connection.cursor().copy("copy inline_betas from stdin") as copy:
        for symbol, factor, beta, r_squared, observations, flag in rows:
            copy.write_row((symbol, factor, Decimal(repr(beta)), r_squared, observations, flag))
    connection.execute(
        "insert into symbol_factor_exposures (symbol, factor_id, calculation_date, beta_value, r_squared, observations,"
        " quality_flag, calculation_method) select symbol, factor_id, %s, beta, r_squared, observations, quality_flag,"
        " %s from inline_betas on conflict do nothing",
        [day, INLINE],
    )
    connection.execute(
        "delete from refresh_exceptions where calculation_date = %s and asset = %s and (not %s or symbol = any(%s))",
        [day, INLINE_ASSET, adds, [one.symbol for one in omissions if one.symbol]],
    )
    if adds:  # what has no symbol is of the day as a whole, and named already
        omissions = [one for one in omissions if one.symbol]
    copy_exceptions(connection, day, INLINE_ASSET, omissions)


def write_marks(
    connection: psycopg.Connection[Any], day: date, symbols: Sequence[str], codes: Sequence[int], closes: Decimals
) -> None:
    """The closes of the day that it used, as they were: what a later correction is seen against."""
    connection.execute("delete from refresh_marks where calculation_date = %s", [day])
    _copy_marks(connection, "refresh_marks", day, symbols, codes, closes)


def add_marks(
    connection: psycopg.Connection[Any], day: date, symbols: Sequence[str], codes: Sequence[int], closes: Decimals
) -> None:
    """The closes that a portfolio added to the day used. One that others have used already stays as they used it."""
    connection.execute("create temp table added_marks (like refresh_marks) on commit drop")
    _copy_marks(connection, "added_marks", day, symbols, codes, closes)
    connection.execute("insert into refresh_marks select * from added_marks on conflict do nothing")


def _copy_marks(
    connection: psycopg.Connection[Any],
    table: str,
    day: date,
    symbols: Sequence[str],
    codes: Sequence[int],
    closes: Decimals,
) -> None:
    used = [code for code in codes if closes.state[code] == 0]
    units = closes.exact.take(np.array(used, dtype=np.int64)).to_integers()
    scale = closes.exact.scale
    # As one text: a Decimal and a row at a time take 40 ms for 5,000 symbols, a hundredth of a night.
    lines = [
        f"{day}\t{_escaped(symbols[code])}\t{_shortest(int(unit), scale)}\n"
        for code, unit in zip(used, units, strict=True)
    ]
    with connection.cursor().copy(f"copy {table} (calculation_date, symbol, close_price) from stdin") as copy:
        copy.write("".join(lines))


def _shortest(units: int, scale: int) -> str:
    """units / 10^scale without trailing zeros, as PostgreSQL reads a numeric."""
    digits = str(units)
    kept = digits.rstrip("0")
    return f"{kept}e{len(digits) - len(kept) - scale}" if kept else "0"


def _escaped(word: str) -> str:
    """A word of COPY's text format."""
    return word.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def write_shocks(
    connection: psycopg.Connection[Any],
    day: date,
    scenarios: Sequence[str],
    factors: Sequence[tuple[bytes, bool]],
    shocks: Floats,
    moves: Floats,
) -> None:
    """What each scenario did to each factor on the day; `factors` are (id, is joint)."""
    connection.execute("delete from stress_factor_shocks where calculation_date = %s", [day])
    with connection.cursor().copy("copy stress_factor_shocks from stdin") as copy:
        for row, scenario in enumerate(scenarios):
            for column, (factor, is_joint) in enumerate(factors):
                shock, move = (_null(float(value[row, column])) for value in (shocks, moves))
                copy.write_row((day, scenario, UUID(bytes=factor), shock, move, is_joint))


def pairs_of(connection: psycopg.Connection[Any], day: date) -> tuple[int, int]:
    """Pairs of symbols of a day, over all portfolios, and those that have a correlation."""
    row = connection.execute(
        "select coalesce(sum(cardinality(data_points)), 0), coalesce(sum(cardinality(correlations)"
        " - cardinality(array_positions(correlations, null))), 0)"
        " from correlation_calculations where calculation_date = %s",
        [day],
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def latest_complete_day(connection: psycopg.Connection[Any]) -> date | None:
    """The latest day on which every table is complete, of one set of inputs."""
    row = connection.execute("select max(calculation_date) from refresh_complete_days").fetchone()
    return row[0] if row else None


def update_market_values(connection: psycopg.Connection[Any], day: date) -> int:
    """Market value, last price and its date of the PUBLIC and OPTIONS positions held on the day, from its marks.

    Nothing that is deleted is touched, neither a position nor those of a portfolio. Never moves a position back in time. Gives
    the number of positions changed."""
    # The events that the night can use, as in read.py: others are named there, and left out here.
    connection.execute(
        f"""
        create temp table sold_since on commit drop as
        select e.position_id, sum(e.quantity_closed) as quantity
        from {events_source(connection)} e join positions p on p.id = e.position_id
        where e.trade_date > %(day)s and abs(e.quantity_closed) <= {LARGEST}
        and sign(e.quantity_closed) is distinct from -sign(p.quantity) group by e.position_id
        """,
        {"day": day},
    )
    # The marks were written a moment ago, so the planner takes them for few, and would look up each position by itself.
    connection.execute("set local enable_nestloop = off")
    # Nearly all positions have sold nothing since. As a list their ids are looked up row by row: joined with them, the
    # planner would hash all positions instead.
    rows = connection.execute("select position_id from sold_since").fetchall()
    nobodys = connection.execute(_NOT_THERE.encode(), {"day": day}).fetchall()
    values = {"day": day, "sold": [row[0] for row in rows], "nobodys": [row[0] for row in nobodys]}
    changed = 0
    for quantity, more, chosen in (("p.quantity", "", _UNSOLD), ("(p.quantity + s.quantity)", ", sold_since s", _SOLD)):
        statement = _MARKED.format(quantity=quantity, more=more, chosen=chosen)
        changed += connection.execute(statement.encode(), values).rowcount
    return changed


# Without a null among them, which a view may have: compared with that, no position would be another's.
_NOT_THERE = (
    f"select f.id from portfolios f where f.id is not null and (f.deleted_at is not null or {STARTS} > %(day)s)"
)
_UNSOLD = "p.id <> all(%(sold)s::uuid[])"
_SOLD = "p.id = any(%(sold)s::uuid[]) and s.position_id = p.id"
_MARKED = f"""
    update positions p set last_price = m.close_price, last_price_date = %(day)s,
        market_value = {{quantity}} * m.close_price * case p.investment_class::text when 'OPTIONS' then 100 else 1 end
    from refresh_marks m{{more}}
    where m.symbol = p.symbol::text and m.calculation_date = %(day)s and {{chosen}}
    and p.investment_class::text in ('PUBLIC', 'OPTIONS') and abs(p.quantity) <= {LARGEST}
    and (p.entry_date is null or p.entry_date <= %(day)s) and (p.exit_date is null or p.exit_date > %(day)s)
    and p.deleted_at is null and (p.last_price_date is null or p.last_price_date <= %(day)s)
    and p.portfolio_id <> all(%(nobodys)s::uuid[]) and {{quantity}} <> 0
    and (p.last_price_date is distinct from %(day)s or p.last_price is distinct from m.close_price or p.market_value is
        distinct from {{quantity}} * m.close_price * case p.investment_class::text when 'OPTIONS' then 100 else 1 end)
"""


def _null(value: float) -> float | None:
    return None if np.isnan(value) else value
