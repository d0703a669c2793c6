"""Rows of the platform that cannot be right: each is named, with its mend, and costs nobody else anything.

Here: one line a fault, with the whole text of its exception row. Not here: closes, betas, factors (test_bad_market.py),
computations that raise (test_isolation.py), days that must not stay due for it (test_expected.py)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import (
    BEFORE,
    DAY,
    Row,
    event,
    exceptions,
    execute,
    insert,
    portfolio,
    position,
    run,
    table_rows,
    uid,
    valuation,
)

OWNER = uid("portfolio", 4)
BAD = uid("position", 49)
TABLES = list(worlds.WRITERS)
WEDNESDAY = worlds.CALENDAR.previous(BEFORE)
TUESDAY = worlds.CALENDAR.previous(WEDNESDAY)


@pytest.fixture
def world(database: Database) -> Database:
    """The three portfolios, and a fourth that holds one sound position: the bad one will be its second."""
    return four_portfolios(database)


def four_portfolios(database: Database) -> Database:
    """The three portfolios, and a fourth that holds one sound position."""
    worlds.three_portfolios(database)
    insert(database, "portfolios", portfolio(4))
    insert(database, "positions", position(41, 4, "AAA", 3))
    return database


def others(database: Database) -> dict[str, list[str]]:
    """Every row of the three sound portfolios, by table."""
    ids = [str(uid("portfolio", number)) for number in (1, 2, 3)]
    return {table: [row for row in table_rows(database, table) if any(one in row for one in ids)] for table in TABLES}


def named(database: Database, code: str) -> list[tuple[Any, ...]]:
    """(asset, portfolio, position, symbol, detail) of the day's exceptions of a code."""
    return [(row[0], *row[2:]) for row in exceptions(database) if row[1] == code]


@dataclass(frozen=True)
class Fault:
    """A position of portfolio 4 that is wrong, the exception row's code and fault, what still counts of it."""

    name: str
    code: str
    text: str
    values: Row
    symbol: str | None = "AAA"
    events: tuple[Row, ...] = ()
    valuations: tuple[Row, ...] = ()
    positions_unpriced: int = 1


QUANTITY = "quantity is null, not finite or absurdly large. Mend: correct it in positions"
ENTRY = "entry_price is negative, not finite or absurdly large. Mend: correct it in positions"
CLASS = "investment_class is not PUBLIC, OPTIONS or PRIVATE. Mend: correct it in positions"
SYMBOL = "symbol is null, empty, of more than 200 characters or has a separator (U+001F) in it. Mend: correct it in positions"
DATES = "exit_date lies before entry_date, so it is never held. Mend: correct it in positions"
EVENT = (
    "quantity_closed or trade_date of a realized event is null, not finite, absurdly large, of the position's other sign or"
    " before its entry. Mend: correct the event"
)
VALUATION = "market_value of a valuation is not finite or absurdly large. Mend: correct the valuation"
ABSURD = "1" + "0" * 19
PRIVATE: Row = {"investment_class": "PRIVATE", "symbol": None}

FAULTS = [
    Fault("quantity NaN", "bad_quantity", QUANTITY, {"quantity": "NaN"}),
    Fault("quantity Infinity", "bad_quantity", QUANTITY, {"quantity": "Infinity"}),
    Fault("quantity -Infinity", "bad_quantity", QUANTITY, {"quantity": "-Infinity"}),
    Fault("quantity null", "bad_quantity", QUANTITY, {"quantity": None}),
    Fault("quantity absurd", "bad_quantity", QUANTITY, {"quantity": ABSURD}),
    Fault("quantity of 60 digits", "bad_quantity", QUANTITY, {"quantity": "1" + "0" * 60}),
    Fault("entry price negative", "bad_entry_price", ENTRY, {"entry_price": -1}),
    Fault("entry price NaN", "bad_entry_price", ENTRY, {"entry_price": "NaN"}),
    Fault("entry price Infinity", "bad_entry_price", ENTRY, {"entry_price": "Infinity"}),
    Fault("entry price absurd", "bad_entry_price", ENTRY, {"entry_price": ABSURD}),
    Fault("entry price null", "no_entry_price", "entry_price is null. Mend: enter it in positions", {"entry_price": None}),
    Fault("class unknown", "unknown_class", CLASS, {"investment_class": "STOCK"}, None),
    Fault("class null", "unknown_class", CLASS, {"investment_class": None}, None),
    Fault("class in lower case", "unknown_class", CLASS, {"investment_class": "public"}, None),
    Fault("symbol null", "no_symbol", SYMBOL, {"symbol": None}, None),
    Fault("symbol empty", "no_symbol", SYMBOL, {"symbol": ""}, None),
    Fault("symbol blank", "no_symbol", SYMBOL, {"symbol": "   "}, None),
    Fault("option without a symbol", "no_symbol", SYMBOL, {"symbol": None, "investment_class": "OPTIONS"}, None),
    Fault("exit before entry", "bad_dates", DATES, {"entry_date": DAY, "exit_date": BEFORE}, positions_unpriced=0),
    Fault("exit -infinity", "bad_dates", DATES, {"exit_date": "-infinity"}, positions_unpriced=0),
    Fault("event NaN", "bad_event", EVENT, {}, events=(event(1, 49, DAY, "NaN"),), positions_unpriced=0),
    Fault("event infinite", "bad_event", EVENT, {}, events=(event(1, 49, DAY, "Infinity"),), positions_unpriced=0),
    Fault("event null", "bad_event", EVENT, {}, events=(event(1, 49, DAY, None),), positions_unpriced=0),
    Fault("event absurd", "bad_event", EVENT, {}, events=(event(1, 49, DAY, ABSURD),), positions_unpriced=0),
    Fault("event without a date", "bad_event", EVENT, {}, events=(event(1, 49, None, 1),), positions_unpriced=0),
    Fault("event of the wrong sign", "bad_event", EVENT, {}, events=(event(1, 49, DAY, -1),), positions_unpriced=0),
    Fault(
        "valuation NaN", "bad_valuation", VALUATION, PRIVATE, None,
        valuations=(valuation(49, BEFORE, 500), valuation(49, DAY, "NaN")), positions_unpriced=0,
    ),
    Fault(
        "valuation infinite", "bad_valuation", VALUATION, PRIVATE, None,
        valuations=(valuation(49, BEFORE, 500), valuation(49, DAY, "-Infinity")), positions_unpriced=0,
    ),
    Fault(
        "valuation null", "bad_valuation", VALUATION, PRIVATE, None,
        valuations=(valuation(49, BEFORE, 500), valuation(49, DAY, None)), positions_unpriced=0,
    ),
    Fault("undated value NaN", "bad_valuation", VALUATION, {**PRIVATE, "market_value": "NaN"}, None),
    Fault(
        "no valuation", "no_valuation",
        "market_value is missing: no dated valuation, no undated one. Mend: add one", PRIVATE, None,
    ),
    Fault("no close", "no_price", "close_price is missing for the day. Mend: have the symbol batch load it",
          {"symbol": "NEW"}, "NEW"),
    Fault(
        "option expired", "option_expired",
        "symbol says that the option expired before the day. Mend: close it in positions",
        {"symbol": "AAA   260312C00100000", "investment_class": "OPTIONS"}, "AAA   260312C00100000",
    ),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[one.name for one in FAULTS])
def test_a_bad_position_is_named_with_its_mend_and_harms_no_other_portfolio(world: Database, fault: Fault) -> None:
    """Its own portfolio keeps a snapshot of what is sound; the three others keep every byte of a clean run."""
    run(world)
    clean = others(world)
    insert(world, "positions", {**position(49, 4, quantity=5), **fault.values})
    insert(world, "position_realized_events", *fault.events)
    insert(world, "private_valuations", *fault.valuations)
    run(world, run_id="run-2")
    about = f" ({fault.symbol})" if fault.symbol else ""
    detail = f"positions row {BAD}{about}: {fault.text}, then re-run the day."
    assert named(world, fault.code) == [("portfolio_snapshots", OWNER, BAD, fault.symbol, detail)]
    assert others(world) == clean
    snapshot = execute(
        world, "select positions_unpriced, is_partial from portfolio_snapshots where portfolio_id = %s", OWNER
    )
    assert snapshot == [(fault.positions_unpriced, fault.positions_unpriced > 0)]
    assert len(execute(world, "select * from refresh_complete_days")) == 1


def test_an_event_before_the_entry_is_named_on_the_day_that_it_would_have_counted_on(world: Database) -> None:
    """Sold on Saturday, entered on Monday: nothing was sold, all of it is held on Monday."""
    monday = date(2026, 3, 16)
    worlds.load_closes(world, [row for row in worlds.closes(last=monday) if row["date"] == monday])
    insert(world, "positions", position(49, 4, quantity=5, entry_date=monday))
    insert(world, "position_realized_events", event(1, 49, date(2026, 3, 14), 2))
    run(world, monday)
    assert [(row[1], row[3]) for row in exceptions(world, monday)] == [("too_few_symbols", None)] * 2 + [
        ("bad_event", BAD)
    ]
    pnl = execute(
        world, "select pnl_legs_missing, position_count from portfolio_snapshots where portfolio_id = %s", OWNER
    )
    assert pnl == [(0, 2)]


@pytest.mark.parametrize("values", [{"entry_date": "infinity"}, {"exit_date": "infinity"}, {"entry_date": "-infinity"}])
def test_infinite_dates_mean_never_or_always(world: Database, values: Row) -> None:
    """They are dates to PostgreSQL, so they are kept as what they say and nothing stops."""
    run(world)
    clean = others(world)
    insert(world, "positions", {**position(49, 4, quantity=5), **values})
    run(world, run_id="run-2")
    counted = execute(world, "select position_count from portfolio_snapshots where portfolio_id = %s", OWNER)
    assert counted == [(1 if values == {"entry_date": "infinity"} else 2,)]
    assert others(world) == clean


@pytest.mark.parametrize("owner", [None, uid("portfolio", 77)], ids=["null", "nobody"])
@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_position_of_nobody_is_named_once(world: Database, owner: object, chunk: int) -> None:
    """Whatever its portfolio_id, and however portfolios are cut into chunks."""
    run(world)
    clean = others(world)
    insert(world, "positions", {**position(49, 4), "portfolio_id": owner})
    run(world, run_id="run-2", chunk_portfolios=chunk)
    assert named(world, "orphan_position") == [
        (
            "portfolio_snapshots",
            None,
            BAD,
            None,
            f"positions row {BAD}: portfolio_id names no row of portfolios, so it belongs to nobody."
            " Mend: correct portfolio_id, then re-run the day.",
        )
    ]
    assert others(world) == clean


@pytest.mark.parametrize(
    ("dates", "days"),
    [
        ({}, [TUESDAY, WEDNESDAY, BEFORE, DAY]),
        ({"entry_date": BEFORE}, [BEFORE, DAY]),
        ({"exit_date": WEDNESDAY, "exit_price": 5}, [TUESDAY, WEDNESDAY]),
        ({"exit_date": TUESDAY - timedelta(days=60)}, []),
        ({"exit_date": date(2025, 1, 2)}, [TUESDAY, WEDNESDAY, BEFORE, DAY]),
        ({"deleted_at": f"{BEFORE} 12:00 America/New_York"}, [TUESDAY, WEDNESDAY, BEFORE]),
        ({"entry_date": DAY + timedelta(days=1)}, []),
    ],
    ids=["held", "entered", "sold", "sold before", "sold before it was entered", "deleted", "not yet entered"],
)
def test_a_position_of_nobody_is_named_on_the_days_that_it_concerns_alone_and_in_a_range(
    world: Database, dates: Row, days: list[date]
) -> None:
    """From its entry to the day on which it is sold; what a range reads for its other days is not told of them."""
    insert(world, "positions", {**position(49, 4), "portfolio_id": None, **dates})
    for asked in ([TUESDAY, WEDNESDAY, BEFORE, DAY], [DAY], [WEDNESDAY]):
        run(world, *asked, run_id=f"run of {len(asked)}")
        found = [day for day in asked if [row for row in exceptions(world, day) if row[1] == "orphan_position"]]
        assert found == [day for day in asked if day in days]


def test_positions_of_nobody_are_named_where_there_is_no_portfolio_at_all(database: Database) -> None:
    """A platform whose portfolios are lost, or not loaded yet: nothing is computed, and nothing is passed over in silence."""
    worlds.three_portfolios(database)
    execute(database, "delete from portfolios")
    written = run(database)
    assert {one.portfolios for one in written.values()} == {0}
    assert len(named(database, "orphan_position")) == 8


def test_a_position_that_stands_there_twice_is_used_once_and_named(world: Database) -> None:
    """A view without a unique id; the rest of its portfolio and everybody else are as before."""
    run(world)
    clean = {table: table_rows(world, table) for table in TABLES}
    execute(world, "alter table positions rename to real_positions")
    twice = f"select * from real_positions union all select * from real_positions where id = '{uid('position', 41)}'"
    execute(world, f"create view positions as {twice}")
    run(world, run_id="run-2")
    assert [row[2] for row in named(world, "duplicate_row")] == [uid("position", 41)]
    assert {table: table_rows(world, table) for table in TABLES} == clean


@pytest.mark.parametrize("spoil", ["quantity", "price"])
def test_a_value_that_no_column_holds_costs_its_portfolio_its_snapshot_alone(world: Database, spoil: str) -> None:
    """10^18 USD and more: named with the mend, the others untouched."""
    run(world)
    clean = others(world)
    if spoil == "quantity":
        insert(world, "positions", position(49, 4, "AAA", 10**18))
    else:
        insert(world, "market_data_cache", {"symbol": "ODD", "date": DAY, "close_price": 10**17})
        insert(world, "positions", position(49, 4, "ODD", 10**4))
    written = run(world, run_id="run-2")
    detail = (
        f"portfolios row {OWNER}: a figure reaches 10^18 USD, which no column holds. Mend: correct the absurd quantity or"
        " price among its positions, then re-run the day."
    )
    assert named(world, "value_overflow") == [("portfolio_snapshots", OWNER, None, None, detail)]
    assert others(world) == clean
    assert written["portfolio_snapshots"].failed == 1
    assert len(execute(world, "select * from refresh_complete_days")) == 1


def test_all_faults_at_once_are_all_named_and_the_sound_portfolios_keep_every_byte(world: Database) -> None:
    """Each position's row is there, in one night."""
    run(world)
    clean = others(world)
    for number, fault in enumerate(FAULTS, 1000):
        insert(world, "positions", {**position(number, 4, quantity=5), **fault.values})
        mine = uid("position", number)
        for row in fault.events:
            insert(world, "position_realized_events", {**row, "id": uid("event", number), "position_id": mine})
        insert(world, "private_valuations", *({**row, "position_id": mine} for row in fault.valuations))
    run(world, run_id="run-2")
    found = {(row[3], row[1]) for row in exceptions(world)}
    assert {(uid("position", number), fault.code) for number, fault in enumerate(FAULTS, 1000)} <= found
    assert others(world) == clean
    worlds.update_positions(world)
    strange = (
        "select count(*) from positions where market_value in ('NaN', 'Infinity') and investment_class <> 'PRIVATE'"
    )
    assert execute(world, strange) == [(0,)]
