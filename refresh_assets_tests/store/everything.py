"""All that the gate and a night make of a platform, to be compared with what they make of the same one in other clothes.

Here: the gate's look, and the night's rows, exceptions and values of positions. Not here: what may differ between the two
platforms (test_other_types.py, test_other_defaults.py)."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from typing import Any

from refresh_assets.store.database import Database
from refresh_assets.store.gate_facts import read_facts
from refresh_assets.store.stale import stale_days
from refresh_assets_tests import worlds
from refresh_assets_tests.explain.asking import ask
from refresh_assets_tests.worlds import CALENDAR, DAY, WRITERS, exceptions, execute, settled, table_rows, uid

ASKED: tuple[dict[str, Any], ...] = ({}, {"factor": "Market"})

AFTER = datetime(2026, 3, 14, 3, 0, tzinfo=UTC)
"""An instant after the close of DAY."""


def look(database: Database, first: date = DAY) -> tuple[list[Any], tuple[str, ...]]:
    """Which days from the first on are due, what the symbol batch says of each, how many closes it has; symbols in
    onboarding."""
    with database.connect() as connection:
        settled(connection)
        facts, _ = read_facts(connection, CALENDAR, first, AFTER, 10)
    return [(one.day, one.batch, one.coverage) for one in facts.pending], facts.onboarding


def everything(database: Database, *days: date) -> dict[str, Any]:
    """The gate's look before and after a night over some days (DAY where none is given), and all that the night writes.

    What an earlier night wrote is thrown away first."""
    days = days or (DAY,)
    execute(database, f"truncate {', '.join(WRITERS)}, refresh_days, refresh_exceptions, refresh_marks")
    execute(database, "delete from symbol_factor_exposures where calculation_method = 'inline'")
    execute(database, "update positions set last_price = null, last_price_date = null")
    execute(database, "update positions set market_value = null where investment_class::text <> 'PRIVATE'")
    found: dict[str, Any] = {"due": look(database, days[0])}
    with closing(worlds.night(database, *days)) as night:
        worlds.play(night)
    found["due afterwards"] = look(database, days[0])
    for day in days:
        found |= {f"{table} {day}": table_rows(database, table, day) for table in WRITERS}
        found[f"exceptions {day}"] = exceptions(database, day)
    found["betas"] = execute(
        database,
        "select symbol::text, factor_id, calculation_date, beta_value from symbol_factor_exposures order by 1, 2, 3",
    )
    found["marks"] = execute(database, "select * from refresh_marks order by calculation_date, symbol")
    found["positions"] = execute(
        database, "select id, symbol::text, market_value, last_price, last_price_date from positions order by id"
    )
    found["changed since"] = stale_days(database, CALENDAR, days)
    answers = [ask(database, uid("portfolio", 1), day, **asked) for day in days for asked in ASKED]
    found["explained"] = [{**one, "computed": None} for one in answers]  # but for when and by which run
    return found
