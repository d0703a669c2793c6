"""Platform rows as arrays: what is read, what is not, and that nothing is lost on the way.

Here: read.py, arrow.py and inputs.py on real tables. Not here: what holds on a day (core/), bad rows (test_bad_rows.py)."""

from __future__ import annotations

from contextlib import closing
from datetime import date
from decimal import Context, Decimal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.book import BAD, MISSING, NEVER, OK
from refresh_assets.core.money import LARGEST
from refresh_assets.store import inputs as inputs_of_a_run
from refresh_assets.store import read_market
from refresh_assets.store.arrow import decimals, money_column
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.inputs import RunInputs
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import (
    BEFORE,
    CALENDAR,
    DAY,
    execute,
    insert,
    portfolio,
    position,
    run,
    table_rows,
    uid,
)

FINITE = st.decimals(-(10**17), 10**17, places=20, allow_nan=False, allow_infinity=False)


def read(database: Database, *days: date) -> RunInputs:
    """The inputs of a run, to be closed."""
    return worlds.night(database, *days).inputs


def exact(column: list[Decimal | None]) -> list[Decimal]:
    """Numerics through `decimals` and back."""
    found = decimals(pa.chunked_array([pa.array([None if one is None else str(one) for one in column], pa.string())]))
    wide = Context(prec=60)
    return [Decimal(int(unit)).scaleb(-found.exact.scale, wide) for unit in found.exact.to_integers()]


@given(st.lists(FINITE, max_size=20))
def test_a_numeric_of_any_scale_and_size_is_read_exactly(column: list[Decimal]) -> None:
    """Whichever other rows it is read with, up to 20 decimals and 17 digits before the point."""
    assert exact(list(column)) == column


def test_what_is_no_number_is_bad_and_what_is_null_is_missing() -> None:
    """NaN, infinities and what is beyond 10^18 are BAD; the limit itself is still a number."""
    column = ["1.5", None, "NaN", "Infinity", "-Infinity", str(LARGEST), str(-LARGEST), "1e19", "1" + "0" * 60, "-0.0"]
    found = decimals(pa.chunked_array([pa.array(column)]))
    assert found.state.tolist() == [OK, MISSING, BAD, BAD, BAD, OK, OK, BAD, BAD, OK]
    assert [int(unit) for unit in found.exact.to_integers()][1:5] == [0, 0, 0, 0]
    assert decimals(pa.chunked_array([pa.array(["-1", "0", "2"])]), negative_is_bad=True).state.tolist() == [
        BAD,
        OK,
        OK,
    ]


@pytest.mark.parametrize("beside", ["1", "8.373473054325841E-14", "0." + "0" * 38 + "1"])
def test_the_limit_is_the_same_whatever_stands_beside_a_number(beside: str) -> None:
    """As a float the last number below 10^18 is one beyond it, once a finer number has the column's scale grow."""
    column = [str(LARGEST - 1), str(LARGEST), str(LARGEST + 1), str(LARGEST + Decimal("0.1")), str(-LARGEST), beside]
    found = decimals(pa.chunked_array([pa.array([f"{Decimal(one):f}" for one in column])]))
    assert found.state.tolist() == [OK, OK, BAD, BAD, OK, OK]


def test_an_empty_column_is_read_as_no_numbers() -> None:
    """A platform without rows is not an error."""
    assert decimals(pa.chunked_array([pa.array([], pa.string())])).exact.size == 0


def test_cents_are_written_as_they_are() -> None:
    """Up to the largest that numeric(20,2) holds, both signs."""
    cents = np.array([0, -1, 10**20 - 1, -(10**20) + 1], dtype=object)
    assert money_column(cents).to_pylist() == [Decimal(int(one)).scaleb(-2) for one in cents]


def test_quantities_of_twelve_decimals_and_trillions_reach_the_table_to_the_cent(database: Database) -> None:
    """A book of 10^12 USD with crumbs equals the Decimal sum, rounded half-even once."""
    lots = [("25000000.000000000001", "39999.12345678"), ("0.123456789012", "17.00000001"), ("-3", "0.005")]
    insert(database, "portfolios", portfolio(1))
    total = Decimal(0)
    for number, (quantity, close) in enumerate(lots):
        insert(database, "positions", position(number, 1, f"S{number}", quantity))
        insert(database, "market_data_cache", {"symbol": f"S{number}", "date": DAY, "close_price": close})
        total += Decimal(quantity) * Decimal(close)
    run(database)
    assert execute(database, "select total_value from portfolio_snapshots") == [(round(total, 2),)]
    assert total > 9 * 10**11


def test_symbols_are_those_held_and_the_proxies_sorted_by_code_point(database: Database) -> None:
    """Not those of PRIVATE, of positions that ended before, nor blank ones; a quote in a symbol is only a character."""
    odd = "O'N; drop table positions --"
    insert(database, "portfolios", portfolio(1))
    insert(
        database,
        "positions",
        position(1, 1, "b"),
        position(2, 1, "Z"),
        position(3, 1, odd),
        position(4, 1, "GONE", exit_date=BEFORE),
        position(5, 1, "PRIV", investment_class="PRIVATE"),
        position(6, 1, "  "),
        position(7, 1, "LATER", entry_date=date(2026, 3, 16)),
        position(8, 1, "é"),
    )
    worlds.load_closes(database, worlds.closes((odd, "Z", "b", "é")))
    inputs = read(database)
    with closing(inputs):
        assert inputs.symbols == sorted({"b", "Z", odd, "é", *worlds.PROXIES})
        assert inputs.prices.exact[day_number(DAY)].state[inputs.symbols.index(odd)] == OK
    run(database)
    assert execute(database, "select positions_valued from portfolio_snapshots") == [(4,)]


def test_an_option_expires_on_the_day_in_its_own_symbol(database: Database) -> None:
    """OCC's form, with or without padding; a day that does not exist, or a stock of that name, has none."""
    names = {
        "AAA   260313C00100000": date(2026, 3, 13),
        "AAA260312P00100000": date(2026, 3, 12),
        "AAA   260231C00100000": None,
        "OPTION": None,
    }
    insert(database, "portfolios", portfolio(1))
    for number, name in enumerate(names):
        insert(database, "positions", position(number, 1, name, investment_class="OPTIONS"))
    insert(database, "positions", position(9, 1, "BBB   260312C00100000"))
    inputs = read(database)
    with closing(inputs):
        found = inputs.ledger(0).positions.expiry.tolist()
    assert found == [NEVER if day is None else day_number(day) for day in (*names.values(), None)]


def test_portfolios_begin_at_their_inception_or_the_new_york_day_of_their_creation(database: Database) -> None:
    """And end on the New York day of their deletion: 23:30 there is the next day elsewhere."""
    insert(
        database,
        "portfolios",
        portfolio(1, inception_date=date(2026, 1, 5)),
        portfolio(2, created_at="2026-03-13 03:30+00"),
        portfolio(3, deleted_at="2026-03-14 03:30+00"),
        portfolio(4, created_at=None),
    )
    inputs = read(database)
    with closing(inputs):
        start, deleted = inputs.portfolios.start.tolist(), inputs.portfolios.deleted.tolist()
    never = day_number(date(9999, 12, 31))
    assert start == [day_number(date(2026, 1, 5)), day_number(date(2026, 3, 12)), day_number(date(2025, 1, 2)), never]
    assert deleted == [never, never, day_number(date(2026, 3, 13)), never]


def test_betas_that_we_computed_inline_are_not_read_back(database: Database) -> None:
    """Else a re-run would depend on the run before; the symbol batch's are taken, and win over ours."""
    worlds.three_portfolios(database)
    run(database)
    first = table_rows(database, "factor_exposures")
    execute(database, "update symbol_factor_exposures set beta_value = 4 where calculation_method = 'inline'")
    run(database)
    assert table_rows(database, "factor_exposures") == first
    market = execute(database, "select id from factor_definitions where name = 'Market'")[0][0]
    execute(database, "delete from symbol_factor_exposures where symbol = 'CCC' and factor_id = %s", market)
    row = {"symbol": "CCC", "factor_id": market, "calculation_date": DAY, "beta_value": "1.5"}
    insert(database, "symbol_factor_exposures", row)
    run(database)
    exposed = execute(
        database,
        "select exposure_value, coverage from factor_exposures where portfolio_id = %s and factor_id = %s",
        uid("portfolio", 3),
        market,
    )
    assert exposed == [(1.5, 1.0)]
    assert execute(
        database, "select beta_value, calculation_method from symbol_factor_exposures where symbol = 'CCC'"
        " and factor_id = %s", market,
    ) == [(Decimal("1.5"), None)]  # fmt: skip


def test_a_beta_of_another_day_is_not_read(database: Database) -> None:
    """The day before and the day after count for nothing."""
    worlds.three_portfolios(database)
    run(database)
    first = table_rows(database, "factor_exposures")
    for factor in execute(database, "select id from factor_definitions"):
        for day in (BEFORE, date(2026, 3, 16)):
            row = {"symbol": "CCC", "factor_id": factor[0], "calculation_date": day, "beta_value": 3}
            insert(database, "symbol_factor_exposures", row)
    run(database)
    assert table_rows(database, "factor_exposures") == first


def test_a_run_reads_one_moment(database: Database) -> None:
    """What is written to the platform while it runs is for the next run."""
    worlds.three_portfolios(database)
    run(database)
    first = {table: table_rows(database, table) for table in worlds.WRITERS}
    with closing(worlds.night(database, run_id="run-2")) as night:
        assert night.inputs.chunks == 1
        execute(database, "update positions set quantity = quantity * 2")
        execute(database, "update market_data_cache set close_price = 1")
        execute(database, "delete from position_realized_events")
        for table, write in worlds.WRITERS.items():
            write(night, DAY)
            assert table_rows(database, table) == first[table]


@pytest.mark.parametrize("days", [[BEFORE, DAY], [date(2026, 2, 27), date(2026, 3, 3), DAY]])
def test_days_run_together_or_apart_give_the_same_bytes(database: Database, days: list[date]) -> None:
    """How far a run reads depends on its days, what a day is computed from does not."""
    worlds.three_portfolios(database)
    insert(database, "position_realized_events", worlds.event(1, 12, date(2026, 3, 3), "0.5"))
    execute(database, "delete from market_data_cache where symbol = 'BBB' and date = %s", date(2026, 2, 26))
    run(database, *days)
    tables = ("refresh_exceptions", *worlds.WRITERS)
    together = {(day, table): table_rows(database, table, day) for day in days for table in tables}
    digests = execute(database, "select calculation_date, table_name, inputs_digest from refresh_days order by 1, 2")
    for day in days:
        run(database, day)
    assert {(day, table): table_rows(database, table, day) for day in days for table in tables} == together
    query = "select calculation_date, table_name, inputs_digest from refresh_days order by 1, 2"
    assert execute(database, query) == digests
    assert all(CALENDAR.is_trading_day(day) for day in days)


def test_an_empty_platform_gives_an_empty_night(database: Database) -> None:
    """Prices but no portfolio: each table is complete with no row."""
    worlds.load_closes(database)
    written = run(database)
    assert [one.rows for one in written.values()] == [0, 0, 0, 0]
    assert len(execute(database, "select * from refresh_complete_days")) == 1


WAYS = {
    "most symbols": "",
    "many": read_market.AMONG,
    "a few": "and symbol = any(array(select jsonb_array_elements_text({0})))",
}


def test_closes_are_the_same_whichever_way_their_symbols_are_found(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many of the market's symbols are held decides, and how long the window is what is read at once."""
    worlds.three_portfolios(database)
    day = date(2026, 3, 11)
    insert(database, "market_data_cache", {"symbol": "NOBODYS", "date": day, "close_price": 5})
    execute(database, "update market_data_cache set close_price = null where symbol = 'BBB' and date = %s", day)
    execute(database, "alter table market_data_cache drop constraint market_data_cache_symbol_date_key")
    insert(database, "market_data_cache", {"symbol": "AAA", "date": day, "close_price": 7})
    found = {}
    for name, way in WAYS.items():
        for slices in (1, 7, 1000):
            monkeypatch.setattr(read_market, "_member", lambda *_, way=way: way)
            monkeypatch.setattr(read_market, "SLICE_DAYS", slices)
            inputs = read(database)
            with closing(inputs):
                exact = {one: (closes.exact.to_integers().tolist(), closes.state.tolist())
                         for one, closes in inputs.prices.exact.items()}  # fmt: skip
                found[name, slices] = inputs.symbols, inputs.prices.close.tobytes(), exact
    first = found["most symbols", 1]
    assert all(one == first for one in found.values())
    close = np.frombuffer(first[1]).reshape(-1, len(first[0]))
    assert np.isnan(close[-3, first[0].index("AAA")])  # there twice
    assert np.isnan(close[-3, first[0].index("BBB")])
    assert close[-4, first[0].index("BBB")] == worlds.close_of(database, "BBB", date(2026, 3, 10))


def test_chunks_are_the_same_read_by_one_query_and_by_one_each(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions of nobody and those that stand there twice are named once, wherever their owner would stand."""
    insert(database, "portfolios", *(portfolio(number) for number in (1, 2, 5, 7)))
    for number in range(1, 13):
        insert(database, "positions", position(number, (1, 2, 7)[number % 3], "AAA", number))
    for number, nobody in enumerate((UUID(int=5), uid("portfolio", 3), UUID(int=2**128 - 2)), start=20):
        insert(database, "positions", {**position(number, 1), "portfolio_id": nobody})
    worlds.load_closes(database)
    found = []
    for most in (0, 4):
        monkeypatch.setattr(inputs_of_a_run, "CHUNKS_AT_ONCE", most)
        inputs = worlds.night(database, DAY, chunk_portfolios=1).inputs
        with closing(inputs):
            assert inputs.chunks == 4
            ledgers = list(inputs.ledgers())
            rows = [(ledger.positions.id.tolist(), ledger.positions.quantity.exact.to_integers().tolist())
                    for ledger in ledgers]  # fmt: skip
            found.append((rows, sorted(str(one) for one in inputs.named_on(DAY))))
    assert found[0] == found[1]
    assert [len(ids) for ids, _ in found[0][0]] == [4, 4, 0, 4]
    assert len(found[0][1]) == 3
