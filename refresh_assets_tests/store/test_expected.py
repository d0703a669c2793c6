"""Who is expected on a day: portfolios that exist, and hold a position or sold their last on it.

Here: expected_portfolios against a plain loop over the spec's sentences, against the night's own books, and over rows that
are odd. Not here: what a day is called for it (test_days.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refresh_assets.core import digest
from refresh_assets.store.database import Database
from refresh_assets.store.days import State, day_statuses
from refresh_assets.store.expected import expected_portfolios
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, Row, event, execute, insert, portfolio, position, run

NEXT = date(2026, 3, 16)
NEW_YORK = ZoneInfo("America/New_York")
WEEK = CALENDAR.days(date(2026, 3, 9), NEXT)


def expected(database: Database, days: Sequence[date]) -> list[int]:
    """How many portfolios are expected on each day."""
    with database.connect() as connection:
        return [int(one) for one in expected_portfolios(connection, CALENDAR, days).count]


@pytest.mark.parametrize(
    ("sold", "due"),
    [
        pytest.param(date(2026, 3, 12), date(2026, 3, 12), id="on a Thursday"),
        pytest.param(date(2026, 3, 14), NEXT, id="on a Saturday: Monday's"),
        pytest.param(date(2026, 3, 9), date(2026, 3, 9), id="on the first day asked for"),
    ],
)
@pytest.mark.parametrize("how", ["exit", "event"])
def test_a_portfolio_is_due_on_the_day_it_sold_its_last_and_not_later(
    database: Database, sold: date, due: date, how: str
) -> None:
    """That day's P&L needs its row; a weekend's sale counts on the next trading day."""
    insert(database, "portfolios", portfolio(1))
    if how == "exit":
        insert(database, "positions", position(1, 1, exit_date=sold, exit_price=60))
    else:
        insert(database, "positions", position(1, 1, quantity=0))
        insert(database, "position_realized_events", event(1, 1, date(2026, 2, 2), 4), event(2, 1, sold, 6))
    days = CALENDAR.days(date(2026, 3, 9), date(2026, 3, 20))
    assert expected(database, days) == [int(day <= due) for day in days]
    assert [expected(database, [day])[0] for day in days] == [int(day <= due) for day in days]


def test_a_deletion_counts_from_its_date_in_new_york(database: Database) -> None:
    """Of a portfolio and of a position alike; nothing was sold, so the day itself needs no row."""
    insert(database, "portfolios", portfolio(1, deleted_at="2026-03-12 03:30+00"), portfolio(2), portfolio(3))
    insert(
        database,
        "positions",
        position(1, 1),
        position(2, 2, deleted_at="2026-03-12 23:30-04"),
        position(3, 3, exit_date=date(2026, 3, 13), deleted_at="2026-03-11 12:00-04"),
    )
    assert expected(database, WEEK) == [3, 3, 1, 0, 0, 0]


def test_a_portfolio_that_a_view_shows_twice_is_expected_once(database: Database) -> None:
    """With its positions, held and sold, whichever of the two rows is read."""
    insert(database, "portfolios", portfolio(1), portfolio(2))
    insert(database, "positions", position(1, 1, exit_date=date(2026, 3, 11), exit_price=60), position(2, 2))
    once = expected(database, WEEK)
    execute(database, "create schema platform")
    execute(database, "create view platform.portfolios as table public.portfolios union all table public.portfolios")
    assert expected(Database(database.url, "platform", "public"), WEEK) == once == [2, 2, 2, 1, 1, 1]


DATES = st.dates(date(2026, 3, 5), date(2026, 3, 18))
QUANTITIES: list[object] = [10, -5, 0, 0, None, "NaN", "Infinity", "1" + "0" * 30]


@st.composite
def platforms(draw: st.DrawFn) -> dict[str, list[Row]]:
    """A few portfolios, their positions, and sales that a quantity of today is already less."""
    world: dict[str, list[Row]] = {"portfolios": [], "positions": [], "position_realized_events": []}
    for owner in range(draw(st.integers(1, 3))):
        deleted = draw(st.none() | DATES)
        world["portfolios"].append(
            portfolio(owner, inception_date=draw(st.none() | DATES), created_at=_noon(draw(st.none() | DATES)),
                      deleted_at=_noon(deleted))
        )  # fmt: skip
        for _ in range(draw(st.integers(0, 3))):
            number = len(world["positions"])
            quantity = draw(st.sampled_from(QUANTITIES))
            entry, leaves = draw(st.none() | DATES), draw(st.none() | DATES)
            world["positions"].append(
                position(number, owner, quantity=quantity, entry_date=entry, exit_date=leaves, exit_price=60,
                         deleted_at=_noon(draw(st.none() | st.none() | DATES)))
            )  # fmt: skip
            for day in draw(st.lists(DATES, max_size=2)):
                events = world["position_realized_events"]
                if quantity in (10, -5, 0) and (entry is None or entry <= day):
                    events.append(event(len(events), number, day, -5 if quantity == -5 else 4))
    return world


def _noon(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(12), NEW_YORK)


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date()


def due_by_the_spec(world: dict[str, list[Row]], day: date) -> set[bytes]:
    """Spec section 3 as a loop: ids of the portfolios that are due on a day."""
    previous = CALENDAR.previous(day)
    due = set()
    for owner in world["portfolios"]:
        start = owner["inception_date"] or _day(owner["created_at"])
        deleted = _day(owner["deleted_at"])
        if start is None or start > day or (deleted is not None and deleted <= day):
            continue
        for one in world["positions"]:
            gone = _day(one["deleted_at"])
            if one["portfolio_id"] != owner["id"] or (gone is not None and gone <= day):
                continue
            sales = [e for e in world["position_realized_events"] if e["position_id"] == one["id"]]
            readable = isinstance(one["quantity"], int)
            entry, end = one["entry_date"] or date.min, one["exit_date"] or date.max

            def left(of: date, one: Row = one, sales: list[Row] = sales) -> int:
                return int(one["quantity"]) + sum(e["quantity_closed"] for e in sales if e["trade_date"] > of)

            held = entry <= day < end and (not readable or left(day) != 0)
            # The exit sells what is left; an event dated after it sells nothing more.
            sold = readable and entry <= end and any(previous < e["trade_date"] <= min(day, end) for e in sales)
            sold |= readable and entry <= end and previous < end <= day and left(end) != 0
            if held or sold:
                due.add(owner["id"].bytes)
    return due


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(platforms())
def test_who_is_expected_is_what_a_plain_loop_over_the_spec_says(
    database: Database, world: dict[str, list[Row]]
) -> None:
    """And what the night itself makes books of: else a day would stay due for ever."""
    execute(database, "truncate portfolios, positions, position_realized_events")
    for table, rows in world.items():
        insert(database, table, *rows)
    days = CALENDAR.days(date(2026, 3, 4), date(2026, 3, 19))
    with database.connect() as connection:
        found = expected_portfolios(connection, CALENDAR, days)
    with closing(worlds.night(database, *days)) as night:
        for row, day in enumerate(days):
            due = due_by_the_spec(world, day)
            books = {one.tobytes() for valued in night.books(day) for one in valued.book.portfolio_id}
            assert books == due, day
            assert found.count[row] == len(due), day
            ids = np.array(sorted(due), dtype="V16")
            with np.errstate(over="ignore"):
                assert found.hashes[row] == digest.portfolio_hashes(ids).sum(dtype=np.uint64) if len(due) else True, day


ODD: list[tuple[str, Callable[[Database], None]]] = [
    ("a null quantity that exits", lambda d: insert(d, "positions", position(99, 3, None, None, exit_date=DAY))),
    ("only a NaN event", lambda d: _sold_out(d, "NaN", BEFORE)),
    ("only a null event", lambda d: _sold_out(d, None, BEFORE)),
    ("only an event on the day", lambda d: _sold_out(d, 5, DAY)),
    ("only an undated event", lambda d: _sold_out(d, 5, None)),
    ("only an infinite date", lambda d: _sold_out(d, 5, "infinity")),
    ("an event before the entry", lambda d: _sold_out(d, 5, date(2024, 1, 2))),
    ("an event after the exit", lambda d: _sold_out(d, 5, DAY, date(2026, 3, 2))),
    ("an absurd quantity that exits", lambda d: _only(d, position(99, 4, quantity="1e30", exit_date=DAY))),
    ("an absurd quantity", lambda d: _only(d, position(99, 4, quantity="1e30"))),
    ("exit before entry", lambda d: _only(d, position(99, 4, entry_date=DAY, exit_date=BEFORE))),
    ("an event of the wrong sign", lambda d: _only(d, position(99, 4), event(1, 99, DAY, -3))),
    ("an event that makes a quantity 0", lambda d: _only(d, position(99, 4), event(1, 99, NEXT, -10))),
    (
        "nobody's position",
        lambda d: insert(d, "positions", position(99, 77), {**position(98, 1), "portfolio_id": None}),
    ),
]


def _only(database: Database, row: Row, *events: Row) -> None:
    """A fourth portfolio that holds one position."""
    insert(database, "portfolios", portfolio(4))
    insert(database, "positions", row)
    insert(database, "position_realized_events", *events)


def _sold_out(database: Database, quantity: object, day: object, exit_date: date | None = None) -> None:
    """A fourth portfolio whose one position is down to 0, with one event."""
    _only(
        database, position(99, 4, quantity=0, exit_date=exit_date), {**event(1, 99, None, quantity), "trade_date": day}
    )


@pytest.mark.parametrize("spoil", [row[1] for row in ODD], ids=[row[0] for row in ODD])
def test_a_night_over_odd_rows_still_completes_its_days(database: Database, spoil: Callable[[Database], None]) -> None:
    """Whoever is expected is accounted for, whatever is wrong with the rows: no day stays due for ever."""
    days = [BEFORE, DAY, NEXT]
    worlds.three_portfolios(database, last=NEXT)
    spoil(database)
    run(database, *days)
    with database.connect() as connection:
        found = day_statuses(connection, CALENDAR, days, NEXT)
    assert [(one.day, one.state, one.why) for one in found] == [
        (day, State.COMPLETE, "every portfolio is accounted for") for day in days
    ]
