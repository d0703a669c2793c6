"""A platform whose columns are of other types than ours would be: nothing that is computed may differ.

Here: enums and padded text. Not here: types that are refused (bad_inputs/schemas.py), other defaults of a database
(test_other_defaults.py)."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest

from refresh_assets.store.batches import completed_batches
from refresh_assets.store.checks import freshness
from refresh_assets.store.database import Database
from refresh_assets.store.liveness import end_tracking
from refresh_assets.store.provision import init
from refresh_assets.store.stale import stale_days
from refresh_assets_tests import worlds
from refresh_assets_tests.store.everything import everything, look
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, batch, execute, insert


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, and a symbol batch that is complete."""
    worlds.three_portfolios(database)
    insert(database, "batch_run_tracking", *batch(DAY))
    return database


def as_enum(database: Database, column: str, *labels: str) -> None:
    """Make a column an enum's, as a platform may have it; rows of it that are no label become null."""
    table, _, name = column.partition(".")
    listed, kind = ", ".join(f"'{label}'" for label in labels), f"{name}_of_{table}"
    execute(database, f"create type {kind} as enum ({listed})")
    execute(
        database,
        f"alter table {table} alter {name} drop default, alter {name} drop not null, alter {name} type {kind}"
        f" using case when {name} in ({listed}) then {name}::{kind} end",
    )


def test_a_class_that_is_an_enum_gives_the_same_night(world: Database) -> None:
    """The gate's look, every row, exceptions, and the values of positions."""
    plain = everything(world)
    as_enum(world, "positions.investment_class", "PUBLIC", "OPTIONS", "PRIVATE")
    init(world)
    assert everything(world) == plain


def test_a_class_that_is_an_enum_without_all_of_our_words_breaks_no_night(world: Database) -> None:
    """A platform without options has no word for them."""
    execute(world, "delete from positions where investment_class <> 'PUBLIC'")
    plain = everything(world)
    as_enum(world, "positions.investment_class", "PUBLIC", "OTHER")
    assert everything(world) == plain


def test_states_that_are_enums_without_all_of_our_words_break_no_look(world: Database) -> None:
    """Neither the gate's, nor the check of the latest night."""
    insert(world, "symbol_onboarding", {"symbol": "NEW", "status": "DONE"})
    before = look(world)
    as_enum(world, "symbol_onboarding.status", "PENDING", "DONE")
    assert look(world) == before
    as_enum(world, "batch_run_tracking.status", "COMPLETED", "BROKEN")
    execute(world, "update batch_run_tracking set status = 'BROKEN'")
    pending, onboarding = look(world)
    assert ([one[1] for one in pending], onboarding) == (["BROKEN"], ())
    with world.connect() as connection:
        assert completed_batches(connection, None, 10) == []
        assert freshness(connection, CALENDAR, DAY) == (BEFORE, None)  # of which nothing is said


def test_a_run_that_died_is_ended_where_its_status_is_an_enum(world: Database) -> None:
    """Completed where the day is, failed where it is not."""
    with closing(worlds.night(world)) as night:
        worlds.play(night)
    rows = [{**one, "batch_type": "portfolio_refresh"} for one in batch(BEFORE, DAY, status="running")]
    insert(world, "batch_run_tracking", *rows)
    as_enum(world, "batch_run_tracking.status", "running", "completed", "failed")
    with world.connect() as connection:
        end_tracking(connection, [BEFORE, DAY], "run-1", datetime(2026, 3, 14, tzinfo=UTC))
    ended = execute(
        world,
        "select target_date, status::text, error_message is null, completed_at is null from batch_run_tracking"
        " where batch_type = 'portfolio_refresh' order by 1",
    )
    assert ended == [(BEFORE, "failed", False, False), (DAY, "completed", True, False)]


PADDED = (
    "positions.symbol",
    "market_data_cache.symbol",
    "symbol_factor_exposures.symbol",
    "symbol_onboarding.symbol",
    "factor_definitions.proxy",
    "factor_definitions.short_proxy",
    "factor_definitions.estimation",
    "positions.investment_class",
    "batch_run_tracking.batch_type",
    "batch_run_tracking.status",
    "symbol_onboarding.status",
)


def test_text_that_is_padded_gives_the_same_night(world: Database) -> None:
    """A `char(n)`, whose blanks are no part of a symbol: stored betas, a symbol held on some days alone, all else as above."""
    market = execute(world, "select id from factor_definitions where name = 'Market'")[0][0]
    beta = {"symbol": "BBB", "factor_id": market, "calculation_date": DAY, "beta_value": "1.25"}
    insert(world, "symbol_factor_exposures", beta)
    insert(world, "symbol_onboarding", {"symbol": "NEW", "status": "pending"})
    insert(world, "batch_run_tracking", *batch(BEFORE))
    insert(world, "positions", worlds.position(32, 3, "IWM", 4, exit_date=DAY, exit_price=60))
    plain = everything(world, BEFORE, DAY), stale_since_a_correction(world)
    for column in PADDED:
        table, _, name = column.partition(".")
        execute(world, f"alter table {table} alter {name} type char(24)")
    assert (everything(world, BEFORE, DAY), stale_since_a_correction(world)) == plain


def stale_since_a_correction(database: Database) -> object:
    """What is stale once closes were corrected; they are as before afterwards."""
    correct = "update market_data_cache set close_price = close_price {} 2 where symbol = 'AAA' and date = %s"
    execute(database, correct.format("*"), DAY)
    stale = stale_days(database, CALENDAR, [BEFORE, DAY])
    execute(database, correct.format("/"), DAY)
    assert [(one.symbol, one.portfolios) for one in stale.prices] == [("AAA", 2)]
    return stale
