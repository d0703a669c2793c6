"""No look-ahead over the whole night: whatever is dated after D, not one byte of D's tables, exceptions, marks, shocks,
betas or digests changes, on the night itself or when the day is run again later.

Here: poisoned futures through real tables (hypothesis). Not here: the same on arrays (core/test_look_ahead.py), the same bytes
on other machines and cuts (test_same_bytes.py).

What has no date cannot be poisoned: a factor definition, a scenario and a setting hold for every day on which they are
used, so a factor created later changes a later run of D, under another digest, as a restatement. So does the undated
`positions.market_value` of a PRIVATE position, which D names as `undated_valuation`; of all others it is never read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.store.test_same_bytes import bytes_of, forget_everything
from refresh_assets_tests.worlds import CALENDAR, DAY, OPTION, PROXIES, STOCKS, Row, execute, insert, uid

MONDAY = CALENDAR.next_on_or_after(DAY + timedelta(days=1))
SYMBOLS = (*STOCKS, OPTION, *PROXIES)
OLD = ("OLD1", "OLD2", "OLD3")
ABSURD = ("NaN", "Infinity", "-Infinity", "-1", "0", "1e30", "7.25")

past = st.integers(0, 60).map(lambda back: DAY - timedelta(days=back))
recent = st.integers(-3, 12).map(lambda back: DAY - timedelta(days=back))
later = st.integers(1, 60).map(lambda ahead: DAY + timedelta(days=ahead))
amounts = st.integers(1, 10**6).map(lambda n: Decimal(n) / 1000)
Poison = Callable[[Database, date, str], None]


@st.composite
def held_rows(draw: st.DrawFn) -> list[tuple[str, Row]]:
    """Rows of a fourth portfolio, all dated up to D: (table, row)."""
    rows = [("portfolios", worlds.portfolio(4))]
    for number in range(40, 40 + draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["PUBLIC", "PUBLIC", "OPTIONS", "PRIVATE"]))
        symbol = OPTION if kind == "OPTIONS" else draw(st.sampled_from(STOCKS))
        quantity, sign = draw(amounts), draw(st.sampled_from([1, -1]))
        entry = draw(st.none() | past)
        row = worlds.position(number, 4, symbol, sign * quantity, investment_class=kind, entry_date=entry)
        left = draw(st.none() | past)
        if left is not None and (entry is None or left >= entry):
            row |= {"exit_date": left, "exit_price": draw(st.none() | amounts)}
        sold = draw(st.none() | past)
        rows.append(("positions", row))
        if sold is not None and (entry is None or sold >= entry):
            rows.append(("position_realized_events", worlds.event(number, number, sold, sign * quantity / 2)))
        if kind == "PRIVATE":
            rows.append(("private_valuations", worlds.valuation(number, draw(past), draw(amounts))))
    return rows


@st.composite
def odd_rows(draw: st.DrawFn) -> list[tuple[str, Row]]:
    """What concerns some past days and others not: symbols that nobody else holds, positions of nobody."""
    rows: list[tuple[str, Row]] = []
    for number in range(draw(st.integers(0, 3))):
        entry, left = draw(st.none() | recent), draw(st.none() | recent)
        row = worlds.position(60 + number, draw(st.sampled_from([1, 99])), OLD[number], 2, entry_date=entry)
        rows.append(("positions", {**row, "exit_date": left, "exit_price": 70}))
    return rows


def closes_of_later_days(database: Database, day: date, value: str) -> None:
    """Of everything, proxies included, on a trading day and on one that is none."""
    days = {CALENDAR.next_on_or_after(day), day, MONDAY}
    rows = [{"symbol": symbol, "date": one, "close_price": value} for symbol in SYMBOLS for one in days]
    for row in rows:
        values = row["symbol"], row["date"], row["close_price"]
        execute(
            database,
            "insert into market_data_cache values (%s, %s, %s)"
            " on conflict (symbol, date) do update set close_price = excluded.close_price",
            *values,
        )


def betas_of_later_days(database: Database, day: date, value: str) -> None:
    execute(
        database,
        "insert into symbol_factor_exposures (symbol, factor_id, calculation_date, beta_value) select s, f.id, d, %s"
        " from unnest(%s::text[]) s, unnest(%s::date[]) d, factor_definitions f on conflict (symbol, factor_id,"
        " calculation_date) do update set beta_value = excluded.beta_value, calculation_method = null",
        *(value, list(STOCKS), sorted({MONDAY, day})),
    )


def later_valuations(database: Database, day: date, value: str) -> None:
    execute(
        database,
        "insert into private_valuations select id, %s, %s from positions on conflict do nothing",
        *(day, value),
    )


def later_sales(database: Database, day: date, value: str) -> None:
    """Part of one, all of another: the platform shrinks `quantity` in place, whatever the sale's own price says."""
    price = "60" if value == "0" else value
    for number, share in ((12, 4), (21, 1), (40, 2)):
        rows = execute(database, "select quantity from positions where id = %s", uid("position", number))
        sold = rows[0][0] / share
        insert(database, "position_realized_events", worlds.event(500 + number, number, day, sold, price))
        execute(database, "update positions set quantity = quantity - %s where id = %s", sold, uid("position", number))


def later_entries(database: Database, day: date, value: str) -> None:
    """Good ones and such as D would name, were they its own: no number, no symbol, no class, no entry price."""
    insert(
        database,
        "positions",
        worlds.position(901, 1, "AAA", 5, entry_date=day),
        worlds.position(902, 1, "NEW", value, entry_date=day),
        worlds.position(903, 2, None, 5, entry_date=day),
        worlds.position(904, 2, "BBB", 5, entry_date=day, investment_class="STOCK"),
        worlds.position(905, 3, "CCC", 5, entry_date=day, entry_price=value),
        worlds.position(906, 3, "CCC", 5, entry_date=day, exit_date=day - timedelta(days=1)),
        worlds.position(907, 3, "CCC", 5, entry_date=day, entry_price=None),
    )
    insert(database, "position_realized_events", worlds.event(907, 907, day, value))


def later_exits(database: Database, day: date, value: str) -> None:
    execute(
        database,
        "update positions set exit_date = %s, exit_price = %s where id = any(%s)",
        *(day, value, [uid("position", number) for number in (11, 13, 14, 31)]),
    )


def later_deletions(database: Database, day: date, _value: str) -> None:
    """From the first instant of the next day in New York on."""
    midnight = f"{day} 00:00 America/New_York"
    execute(database, "update portfolios set deleted_at = %s where id = %s", midnight, uid("portfolio", 3))
    execute(database, "update positions set deleted_at = %s where id = %s", midnight, uid("position", 22))


def later_portfolios(database: Database, day: date, value: str) -> None:
    """Their positions may be older than they are, or never say when they were entered."""
    insert(
        database,
        "portfolios",
        worlds.portfolio(8, created_at=f"{day} 00:00 America/New_York"),
        worlds.portfolio(9, inception_date=day),
    )
    insert(
        database,
        "positions",
        worlds.position(801, 8, "AAA", 5, entry_date=None),
        worlds.position(802, 8, "NEW", 5),
        worlds.position(901 + 50, 9, "BBB", value, entry_date=None),
        worlds.position(902 + 50, 9, "QQQ", 5),
    )


def what_the_platform_keeps_now(database: Database, day: date, value: str) -> None:
    """Batches and symbols of later days, and the market values that a later night writes."""
    insert(database, "batch_run_tracking", *worlds.batch(day, status="running"))
    insert(database, "symbol_onboarding", {"symbol": "AAA", "status": "pending", "requested_at": f"{day} 12:00+00"})
    execute(
        database,
        "update positions set market_value = %s, last_price = %s, last_price_date = %s"
        " where investment_class is distinct from 'PRIVATE'",
        *(value, value, day),
    )


POISONS: dict[str, Poison] = {
    "closes": closes_of_later_days,
    "betas": betas_of_later_days,
    "valuations": later_valuations,
    "sales": later_sales,
    "entries": later_entries,
    "exits": later_exits,
    "deletions": later_deletions,
    "portfolios": later_portfolios,
    "platform": what_the_platform_keeps_now,
}


@pytest.fixture(scope="module")
def platform(server_url: str, initialised_template: str) -> Iterator[str]:
    """The name of a database with three portfolios, some stored betas, and Monday's closes; no night has run."""
    with new_database(server_url, initialised_template) as (name, url):
        database = Database(url)
        worlds.three_portfolios(database)
        worlds.load_closes(database, worlds.closes(OLD))
        factors = execute(database, "select id from factor_definitions where name in ('Market', 'Value')")
        rows: list[Row] = [
            {"symbol": "AAA", "factor_id": factor, "calculation_date": DAY, "beta_value": "1.25"}
            for (factor,) in factors
        ]
        insert(database, "symbol_factor_exposures", *rows)
        insert(database, "position_realized_events", worlds.event(1, 12, DAY, "0.5"))
        yield name


def good_closes_of_monday(database: Database) -> None:
    """So that Monday can be run beside D, whatever else is missing on it."""
    execute(
        database,
        "insert into market_data_cache select symbol, %s, close_price from market_data_cache where date = %s"
        " on conflict do nothing",
        *(MONDAY, DAY),
    )


@pytest.mark.parametrize("kind", POISONS)
def test_each_kind_of_later_row_alone_changes_nothing(server_url: str, platform: str, kind: str) -> None:
    """So that a leak has a name: with a value that is no number, run anew and run again."""
    with new_database(server_url, platform) as (_, url):
        database = Database(url)
        insert(database, "portfolios", worlds.portfolio(4))
        insert(database, "positions", worlds.position(40, 4, "AAA", 8))
        worlds.run(database)
        first = bytes_of(database)

        POISONS[kind](database, MONDAY, "NaN")
        _rerun_and_run_anew(database, first, [DAY], 2)


@pytest.mark.parametrize("kind", sorted(set(POISONS) - {"platform"}))
def test_the_same_rows_dated_on_the_day_do_change_it(server_url: str, platform: str, kind: str) -> None:
    """Else the tests here would prove nothing: each kind of row reaches the figures or the names of what was left out."""
    with new_database(server_url, platform) as (_, url):
        database = Database(url)
        insert(database, "portfolios", worlds.portfolio(4))
        insert(database, "positions", worlds.position(40, 4, "AAA", 8))
        worlds.run(database)
        first = bytes_of(database)

        POISONS[kind](database, DAY, "7.25")
        worlds.run(database)
        changed = bytes_of(database)

        assert [table for table in worlds.WRITERS if changed[table] != first[table]]
        assert changed["refresh_days"] != first["refresh_days"]


@given(
    held_rows(),
    st.lists(
        st.tuples(st.sampled_from(sorted(POISONS)), later, st.sampled_from(ABSURD)),
        min_size=2,
        unique_by=lambda p: p[0],
    ),
    st.sampled_from([[DAY], [DAY, MONDAY]]),
    st.sampled_from([1, 2, 3, 1000]),
)
@settings(max_examples=8, deadline=None)
def test_no_future_changes_a_byte_of_the_day(
    server_url: str,
    platform: str,
    rows: list[tuple[str, Row]],
    future: list[tuple[str, date, str]],
    days: list[date],
    chunk: int,
) -> None:
    """Any mixture of later rows, absurd ones too; run alone or beside the day after; again or for the first time."""
    with new_database(server_url, platform) as (_, url):
        database = Database(url)
        for table, row in rows:
            insert(database, table, row)
        worlds.run(database)
        first = bytes_of(database)

        for kind, day, value in future:
            POISONS[kind](database, day, value)
        good_closes_of_monday(database)
        _rerun_and_run_anew(database, first, days, chunk)


@given(
    held_rows(),
    odd_rows(),
    st.lists(st.tuples(st.sampled_from(sorted(POISONS)), st.integers(0, 12), st.sampled_from(ABSURD)), max_size=3),
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from(ABSURD)), max_size=4, unique_by=lambda one: one[0]),
    st.integers(1, 6),
    st.sampled_from([1, 2, 1000]),
)
@settings(max_examples=8, deadline=None)
def test_a_past_of_any_mess_gives_the_day_the_same_bytes_alone_and_in_a_range(
    server_url: str,
    platform: str,
    rows: list[tuple[str, Row]],
    odd: list[tuple[str, Row]],
    mess: list[tuple[str, int, str]],
    valuations: list[tuple[int, str]],
    earlier: int,
    chunk: int,
) -> None:
    """A range reads what its earlier days need: of that D sees no more than a run of D alone, which reads less."""
    with new_database(server_url, platform) as (_, url):
        database = Database(url)
        for table, row in [*rows, *odd]:
            insert(database, table, row)
        insert(database, "positions", worlds.position(48, 4, "FUND", 3, investment_class="PRIVATE"))
        insert(database, "private_valuations", *(worlds.valuation(48, _back(n), value) for n, value in valuations))
        done = set()
        for kind, back, value in mess:
            if kind not in done:
                POISONS[kind](database, _back(back), value)
            done.add(kind)
        worlds.run(database)
        alone = bytes_of(database)

        forget_everything(database)
        days = CALENDAR.days(_back(30), DAY)[-1 - earlier :]
        worlds.run(database, *days, chunk_portfolios=chunk)
        assert bytes_of(database) == alone


def _back(days: int) -> date:
    return DAY - timedelta(days=days)


def _rerun_and_run_anew(database: Database, first: dict[str, Any], days: list[date], chunk: int) -> None:
    """The day's bytes are those of its first night: when it is run again, and where it was never run before."""
    worlds.run(database, *days, run_id="later", chunk_portfolios=chunk)
    assert bytes_of(database) == first
    assert execute(database, "select * from refresh_restatements where calculation_date = %s", DAY) == []

    forget_everything(database)
    worlds.run(database, *days, run_id="anew", chunk_portfolios=chunk)
    assert bytes_of(database) == first
