"""A computation that raises for one portfolio costs that portfolio alone.

Here: computations made to fail, through Night.replace. Not here: rows that cannot be read (test_bad_rows.py)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from refresh_assets.assets.analytic import Part
from refresh_assets.assets.books import ValuedBook
from refresh_assets.assets.night import Night
from refresh_assets.core.snapshots import snapshots
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.tables import snapshot_rows
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import DAY, computed_by, execute, run, table_rows, uid

SECOND = uid("portfolio", 2)


@pytest.fixture
def world(database: Database) -> Database:
    """The database with the three portfolios."""
    worlds.three_portfolios(database)
    return database


def failing(night: Night, error: Exception) -> Callable[[ValuedBook], Part]:
    """The snapshots' computation, which raises whenever the second portfolio is among those it is given."""

    def compute(valued: ValuedBook) -> Part:
        if SECOND.bytes in {one.tobytes() for one in valued.book.portfolio_id}:
            raise error
        result = snapshots(valued.book, night.inputs.prices)
        return Part(snapshot_rows(day_number(DAY), result), result.portfolio_id, result.omissions)

    return compute


@pytest.mark.parametrize("chunk", [1, 2, 1000])
def test_a_portfolio_whose_computation_raises_costs_itself_alone(world: Database, chunk: int) -> None:
    """The others' rows are those of a clean run; it is named as computation_failed, with the error's own words."""
    run(world)
    clean = [row for row in table_rows(world, "portfolio_snapshots") if str(SECOND) not in row]
    execute(world, "truncate portfolio_snapshots, refresh_days, refresh_exceptions")
    error = ZeroDivisionError("division by zero")
    with closing(worlds.night(world, chunk_portfolios=chunk)) as night, computed_by(failing(night, error)):
        written = night.replace(DAY, "portfolio_snapshots")
    assert table_rows(world, "portfolio_snapshots") == clean
    assert (written.portfolios, written.failed) == (2, 1)
    assert worlds.exceptions(world) == [
        (
            "portfolio_snapshots",
            "computation_failed",
            SECOND,
            None,
            None,
            f"portfolios row {SECOND}: ZeroDivisionError: division by zero."
            " Mend: look at its positions; the day can be re-run for it alone.",
        )
    ]


def test_a_portfolio_that_failed_is_computed_by_missing_scope_and_the_day_is_whole_again(world: Database) -> None:
    """Its row, no exception, and the digest of a day on which nothing failed."""
    run(world)
    clean, digest = table_rows(world, "portfolio_snapshots"), "select inputs_digest, failed from refresh_days"
    stored = execute(world, f"{digest} where table_name = 'portfolio_snapshots'")
    with closing(worlds.night(world)) as night, computed_by(failing(night, ValueError("odd"))):
        night.replace(DAY, "portfolio_snapshots")
    assert len(table_rows(world, "portfolio_snapshots")) == 2
    run(world, missing_only=True)
    assert table_rows(world, "portfolio_snapshots") == clean
    assert execute(world, f"{digest} where table_name = 'portfolio_snapshots'") == stored
    assert [row for row in worlds.exceptions(world) if row[1] == "computation_failed"] == []


def test_a_portfolio_that_fails_again_is_named_once(world: Database) -> None:
    """Two failures leave one exception row and the same digest."""
    for scope in (False, True):
        with closing(worlds.night(world, missing_only=scope)) as night, computed_by(failing(night, ValueError("odd"))):
            night.replace(DAY, "portfolio_snapshots")
    rows = execute(world, "select failed, exceptions from refresh_days")
    assert rows == [(1, 1)]
    assert len(worlds.exceptions(world)) == 1


def test_a_lost_connection_inside_a_computation_is_not_taken_for_a_bad_portfolio(world: Database) -> None:
    """It ends the write, so that it is tried again, instead of failing every portfolio by name."""
    lost = psycopg.OperationalError("server closed the connection unexpectedly")
    with (
        closing(worlds.night(world)) as night,
        pytest.raises(psycopg.OperationalError),
        computed_by(failing(night, lost)),
    ):
        night.replace(DAY, "portfolio_snapshots")
    assert worlds.exceptions(world) == []
    assert execute(world, "select * from refresh_days") == []
