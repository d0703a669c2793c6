"""What was left out is copied a few at a time, and stands as if it had been copied at once.

Here: how many wait, their order, days written whole, again and by addition. Not here: the words (core/, test_bad_rows.py)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from refresh_assets.core.omissions import Omission, portfolio_omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store import exceptions
from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import DAY, execute, insert, portfolio, position, run, table_rows, uid

COUNTS = (
    "select table_name, portfolios, rows, exceptions, failed, accounted, inputs_digest from refresh_days order by 1"
)
STORED_ORDER = "select asset, portfolio_id, code, position_id, symbol from refresh_exceptions order by asset, ctid"


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, whose BBB has no close: so two have an exception, and the third one has no correlations."""
    worlds.three_portfolios(database)
    execute(database, "delete from market_data_cache where symbol = 'BBB' and date = %s", DAY)
    return database


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One omission is many; gives how many each copy held."""
    monkeypatch.setattr(exceptions, "EXCEPTIONS_KEPT", 1)
    made: list[int] = []
    whole = exceptions.copy_rows

    def counted(connection: object, table: str, rows: object) -> None:
        made.append(rows.num_rows)  # type: ignore[attr-defined]
        whole(connection, table, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(exceptions, "copy_rows", counted)
    return made


def stands(database: Database) -> tuple[object, ...]:
    """Everything that a night left, its exceptions in the order in which they lie in the table."""
    tables = {table: table_rows(database, table) for table in worlds.WRITERS}
    return tables, worlds.exceptions(database), execute(database, STORED_ORDER), execute(database, COUNTS)


def forget(database: Database) -> None:
    """No day was ever computed."""
    execute(database, f"truncate {', '.join(worlds.WRITERS)}, refresh_days, refresh_exceptions")


def test_copied_one_portfolio_at_a_time_they_stand_as_if_copied_at_once(world: Database, copies: list[int]) -> None:
    """The rows between them too, and the order in the table; in between means before the end of the day."""
    run(world, chunk_portfolios=1)
    assert copies.count(1) >= 2
    parts = stands(world)
    forget(world)
    exceptions.EXCEPTIONS_KEPT = 1000  # the fixture puts it back
    copies.clear()
    run(world, chunk_portfolios=1)
    assert max(copies) >= 2
    assert stands(world) == parts


def test_a_day_written_again_has_each_once(world: Database, copies: list[int]) -> None:
    """What the earlier run left goes before the first copy, and not what this run copied before the second."""
    run(world, chunk_portfolios=1)
    before = stands(world)
    run(world, run_id="run-2", chunk_portfolios=1)
    assert stands(world) == before
    assert copies
    assert execute(world, "select * from refresh_restatements") == []


def test_a_portfolio_added_to_the_day_leaves_the_exceptions_of_the_others(world: Database, copies: list[int]) -> None:
    """Two are added, each copied by itself; the day then equals one that was computed whole."""
    run(world, chunk_portfolios=1)
    insert(world, "portfolios", portfolio(4), portfolio(5))
    insert(world, "positions", *(position(10 * one + 1, one, "AAA", 3) for one in (4, 5)))
    insert(world, "positions", *(position(10 * one + 2, one, "BBB", 3) for one in (4, 5)))
    run(world, run_id="run-2", missing_only=True, chunk_portfolios=1)
    added = worlds.exceptions(world), execute(world, COUNTS)
    named = {row[2] for row in worlds.exceptions(world) if row[1] == "no_price"}
    assert {uid("portfolio", 4), uid("portfolio", 5)} < named
    forget(world)
    run(world, run_id="run-3")
    assert (worlds.exceptions(world), execute(world, COUNTS)) == added
    assert copies


def test_they_lie_portfolio_by_portfolio_and_those_of_nobody_last(database: Database) -> None:
    """So that copies of consecutive chunks make one order, wherever they are cut."""
    ids = [UUID(int=number).bytes for number in (1, 2)]
    given = [
        Omission(ExceptionCode.NO_PRICES, "the day"),
        portfolio_omission(ExceptionCode.TOO_FEW_SYMBOLS, ids[1], "few"),
        portfolio_omission(ExceptionCode.NOTHING_HELD, ids[1], "nothing"),
        portfolio_omission(ExceptionCode.TOO_FEW_SYMBOLS, ids[0], "few"),
    ]
    with database.connect() as connection:
        exceptions.copy_exceptions(connection, date(2026, 3, 13), "portfolio_snapshots", given)
    order = [(row[1] and row[1].int, row[2]) for row in execute(database, STORED_ORDER)]
    assert order == [(1, "too_few_symbols"), (2, "nothing_held"), (2, "too_few_symbols"), (None, "no_prices")]
