"""Promises of the demo's world: real closes, believable books, every odd case, the same rows at every load.

Here: what load_platform and symbol_batch leave in a real PostgreSQL. Not here: the nights that the demo computes from
it (cli/), the platform's tables themselves (store/)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import holidays
import psycopg
import pytest
from psycopg import sql
from sqlalchemy import NullPool, create_engine

from refresh_assets.demo.option_marks import Option, option_mark
from refresh_assets.demo.world import MISSED_NIGHT, NEW_YORK, NIGHTS, load_platform, options, sessions, symbol_batch
from refresh_assets.errors import UsageError
from refresh_assets.store.schema import platform
from refresh_assets_tests.conftest import new_database

Rows = list[tuple[Any, ...]]
Connection = psycopg.Connection[tuple[Any, ...]]

EVE = date(2020, 2, 14)  # the trading day before the first night: 02-17 was Presidents' Day

LOADED = (
    *("portfolios", "positions", "private_valuations", "position_realized_events"),
    *("market_data_cache", "factor_definitions", "batch_run_tracking"),
)


def empty_platform(uri: str, schema: str) -> Connection:
    """The platform's tables in a schema of their own, with a default factor that the demo has no prices for."""
    connection = psycopg.connect(uri, autocommit=True)
    connection.execute(sql.SQL("create schema {0}; set search_path to {0}").format(sql.Identifier(schema)))
    search_path = f"-c search_path={schema}"
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(uri, options=search_path), poolclass=NullPool
    )
    platform.create_all(engine)
    connection.execute("insert into factor_definitions (id, name) values (gen_random_uuid(), 'Growth')")
    return connection


def rows(connection: Connection, query: str, *values: object) -> Rows:
    return connection.execute(query, values).fetchall()


def contents(connection: Connection) -> dict[str, Rows]:
    return {table: rows(connection, f"select * from {table} order by 1, 2") for table in LOADED}


@pytest.fixture(scope="module")
def uri(server_url: str) -> Iterator[str]:
    """A database of its own on the session's server."""
    with new_database(server_url) as (_, url):
        yield url


@pytest.fixture(scope="module")
def world(uri: str) -> Iterator[Connection]:
    """The demo at its end: loaded on the eve, then the symbol batch of every evening."""
    with empty_platform(uri, "whole") as connection:
        load_platform(connection, EVE)
        for day in nights():
            symbol_batch(connection, day)
        yield connection


def nights() -> list[date]:
    return [day for day in sessions() if NIGHTS.first <= day <= NIGHTS.last]


def test_two_loads_are_equal(uri: str) -> None:
    """Ids come from names: a demo run twice shows the same books under the same ids."""
    with empty_platform(uri, "first_load") as first, empty_platform(uri, "second_load") as second:
        for connection in (first, second):
            load_platform(connection, EVE)
            symbol_batch(connection, NIGHTS.first)
        assert contents(first) == contents(second)
        assert all(contents(first).values())


def test_a_second_load_changes_nothing(uri: str) -> None:
    """Loading into a world that is there already is refused whole."""
    with empty_platform(uri, "loaded_twice") as connection:
        load_platform(connection, EVE)
        before = contents(connection)
        with pytest.raises(psycopg.errors.UniqueViolation):
            load_platform(connection, NIGHTS.last)
        assert contents(connection) == before


def test_closes_arrive_only_with_their_own_evening(uri: str) -> None:
    """Before its symbol batch a day has no price and no tracking row; after it, both, and again after a re-run."""
    with empty_platform(uri, "one_evening") as connection:
        load_platform(connection, EVE)
        assert rows(connection, "select max(date) from market_data_cache") == [(EVE,)]
        assert rows(connection, "select * from batch_run_tracking") == []
        symbol_batch(connection, NIGHTS.first)
        after = contents(connection)
        symbol_batch(connection, NIGHTS.first)
        assert contents(connection) == after
        day = NIGHTS.first
        assert rows(connection, "select * from batch_run_tracking") == [
            (
                *("symbol_batch", day, "completed"),
                datetime(day.year, day.month, day.day, 21, 0, tzinfo=NEW_YORK),
                datetime(day.year, day.month, day.day, 21, 12, tzinfo=NEW_YORK),
                *(None, None),
            )
        ]


def test_a_day_without_packaged_prices_is_refused_by_name(world: Connection) -> None:
    """A Saturday is no evening of the symbol batch."""
    with pytest.raises(UsageError) as refused:
        symbol_batch(world, date(2020, 2, 22))
    assert str(refused.value) == (
        "The packaged prices hold no trading day 2020-02-22. Mend: choose a NYSE session from 2018-01-02 to 2022-12-28."
    )


def test_the_nights_hold_the_sell_off_and_the_missed_one_lies_inside() -> None:
    """Peak 2020-02-19 and low 2020-03-23 of the S&P 500 are among the nights; a hole has nights on both sides."""
    assert {date(2020, 2, 19), date(2020, 3, 23), MISSED_NIGHT} <= set(nights())
    assert NIGHTS.first < MISSED_NIGHT < NIGHTS.last
    assert (nights()[0], nights()[-1]) == NIGHTS


def test_every_session_of_the_exchange_has_a_close_of_every_symbol(world: Connection) -> None:
    """Sessions by `holidays` XNYS from the first packaged day to the last night; 27 symbols, and the options' own."""
    closed = holidays.financial_holidays("XNYS", years=range(2018, 2021))
    span = (NIGHTS.last - date(2018, 1, 2)).days + 1
    days = [date(2018, 1, 2) + timedelta(n) for n in range(span)]
    expected = {day for day in days if day.weekday() < 5 and day not in closed}
    listed = [option.symbol for option in options()]
    counts: dict[date, int] = dict(
        rows(
            world,
            "select date, count(*) from market_data_cache where symbol <> all(%s) and close_price > 0 group by date",
            listed,
        )
    )
    assert set(counts) == expected
    assert set(counts.values()) == {27}


def test_option_marks_are_positive_on_every_night(world: Connection) -> None:
    """Each option has a mark above zero on each night, and from its entry on."""
    for option in options():
        marks: dict[date, Decimal] = dict(
            rows(world, "select date, close_price from market_data_cache where symbol = %s", option.symbol)
        )
        assert set(nights()) <= set(marks)
        assert min(marks.values()) > 0
        entry = rows(world, "select entry_date from positions where symbol = %s", option.symbol)[0][0]
        assert entry in marks


def test_an_option_mark_is_the_textbook_value() -> None:
    """Black and Scholes' formula decides, worked apart from this package.

    With SciPy's normal distribution, S 42, K 40, 183 days, 1.5 %, volatility 20 %: d1 0.4684, d2 0.3268, call 3.6354,
    put 1.3357. The same lines give Hull's 4.76 and 0.81 at his 10 % and half a year."""
    step = 0.20 / 252**0.5 * (21 / 22) ** 0.5  # 11 steps up, 10 down: a sample deviation of 20 %
    closes = [42.0]
    for n in range(21):
        closes.insert(0, closes[0] * (2.718281828459045**step) ** (-1 if n % 2 else 1))
    day, expiry = date(2020, 1, 2), date(2020, 7, 3)
    call = Option("X200703C00040000", "X", "call", 40.0, expiry, day)
    put = Option("X200703P00040000", "X", "put", 40.0, expiry, day)
    assert option_mark(call, closes, day) == Decimal("3.64")
    assert option_mark(put, closes, day) == Decimal("1.34")


def test_entry_and_sale_prices_are_near_the_close_of_their_day(world: Connection) -> None:
    """Within 2 %; only PRIVATE and the symbol without prices have no close to compare with."""
    trades = """
        select p.symbol, t.on_day, t.price, c.close_price from positions p
        cross join lateral (select entry_date, entry_price union all select exit_date, exit_price union all
          select trade_date, price from position_realized_events where position_id = p.id) t (on_day, price)
        left join market_data_cache c on c.symbol = p.symbol and c.date = t.on_day
        where t.on_day is not null"""
    found = rows(world, trades)
    assert {symbol for symbol, _, _, close in found if close is None} == {
        "RDS.B",
        "CALDER BUYOUT FUND III",
        "ELK RIVER TIMBERLAND LP",
    }
    far = [trade for trade in found if trade[3] is not None and abs(trade[2] / trade[3] - 1) > Decimal("0.02")]
    assert far == []


ODD_CASES = {
    "shorts beside longs": """select 1 from positions group by portfolio_id
        having min(quantity) < 0 and max(quantity) > 0""",
    "a long and a short lot of one symbol in one book": """select 1 from positions group by portfolio_id, symbol
        having min(quantity) < 0 and max(quantity) > 0""",
    "several lots of one symbol": "select 1 from positions group by portfolio_id, symbol having count(*) > 2",
    "PRIVATE with a valuation dated inside the nights": """select 1 from positions p join private_valuations v
        on v.position_id = p.id where investment_class = 'PRIVATE' and as_of between '2020-02-19' and '2020-03-24'""",
    "PRIVATE with an undated value only": """select 1 from positions p where investment_class = 'PRIVATE'
        and market_value > 0 and not exists (select from private_valuations where position_id = p.id)""",
    "a long option": "select 1 from positions where investment_class = 'OPTIONS' and quantity > 0",
    "a written option": "select 1 from positions where investment_class = 'OPTIONS' and quantity < 0",
    "a one-position book": "select 1 from positions group by portfolio_id having count(*) = 1",
    "a partial sale, the quantity shrunk": """select 1 from positions p join position_realized_events e
        on e.position_id = p.id where quantity > 0 and trade_date between '2020-02-19' and '2020-03-24'""",
    "a short partly bought back": """select 1 from positions p join position_realized_events e
        on e.position_id = p.id where quantity < 0 and quantity_closed < 0""",
    "a position sold whole by exit_date, without an event": """select 1 from positions p where quantity > 0
        and exit_date is not null and not exists (select from position_realized_events where position_id = p.id)""",
    "a book that began between the nights": """select 1 from portfolios f where inception_date > '2020-02-29'
        and (created_at at time zone 'America/New_York')::date = inception_date
        and inception_date <= all (select entry_date from positions where portfolio_id = f.id)""",
    "a book all sold between the nights": """select 1 from positions group by portfolio_id
        having max(abs(quantity)) = 0 and max(exit_date) between '2020-02-19' and '2020-03-23'""",
    "a symbol without prices": """select 1 from positions p where investment_class = 'PUBLIC'
        and not exists (select from market_data_cache where symbol = p.symbol)""",
    "fractions of a share": "select 1 from positions where quantity <> trunc(quantity)",
}


@pytest.mark.parametrize("case", ODD_CASES)
def test_the_books_hold_every_odd_case(world: Connection, case: str) -> None:
    """What breaks refreshes in real life happens in the demo too."""
    assert rows(world, ODD_CASES[case])


def test_books_are_of_the_size_of_real_ones(world: Connection) -> None:
    """From 50,000 to 250 million USD gross on a book's first day."""
    gross = """
        select f.name, sum(abs(coalesce(nullif(p.quantity, 0), (select sum(quantity_closed) from
          position_realized_events where position_id = p.id)) * c.close_price
          * case investment_class when 'OPTIONS' then 100 else 1 end))
        from portfolios f join positions p on p.portfolio_id = f.id join market_data_cache c on c.symbol = p.symbol
          and c.date = greatest((f.created_at at time zone 'America/New_York')::date, p.entry_date) group by f.name"""
    sizes: dict[str, Decimal] = dict(rows(world, gross))
    assert len(sizes) == 14
    assert 50_000 <= min(sizes.values()) <= 70_000
    assert 200_000_000 <= max(sizes.values()) <= 250_000_000


def test_the_market_neutral_book_is_neutral_on_its_first_day(world: Connection) -> None:
    """Net within 1 % of gross."""
    query = """select sum(quantity * close_price), sum(abs(quantity) * close_price) from positions p
        join portfolios f on f.id = p.portfolio_id join market_data_cache c using (symbol)
        where f.name = 'Meridian Market Neutral' and c.date = %s"""
    net, gross = rows(world, query, NIGHTS.first)[0]
    assert abs(net) < gross / 100


def test_seven_factors_replace_the_default_set_and_no_beta_is_given(world: Connection) -> None:
    """Names of the default set, each with a proxy that has closes; betas are left to the night."""
    found = rows(world, "select name, proxy, estimation from factor_definitions where is_active order by display_order")
    assert found == [
        ("Market", "SP500", "single"),
        ("Interest Rate", "UST10Y", "single"),
        ("Value", "VLUE", "joint"),
        ("Momentum", "MTUM", "joint"),
        ("Quality", "QUAL", "joint"),
        ("Size", "SIZE", "joint"),
        ("Low Volatility", "USMV", "joint"),
    ]
    windows = "select distinct window_days, min_observations, short_proxy from factor_definitions"
    assert rows(world, windows) == [(90, 30, None)]
    assert rows(world, "select * from symbol_factor_exposures") == []


def test_importing_the_world_loads_neither_pyarrow_nor_pandas_nor_psycopg() -> None:
    """The command line lists its commands without paying for the demo."""
    code = "import sys, refresh_assets.demo.world; print({'pyarrow', 'pandas', 'numpy', 'psycopg'} & set(sys.modules))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"


def test_the_licence_of_the_prices_travels_with_them() -> None:
    """BSD 3-Clause asks for its copyright line, conditions and disclaimer."""
    text = (Path(__file__).parents[2] / "refresh_assets" / "demo" / "README.md").read_text(encoding="utf-8")
    for part in (
        "Copyright (c) 2023-2026 The skfolio developers.",
        "* Neither the name of the copyright holder",
        'SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"',
        "portfolios: owners, positions, sales, private valuations | **made up**",
    ):
        assert part in text
