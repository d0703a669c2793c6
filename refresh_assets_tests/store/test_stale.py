"""A past day whose inputs changed is noticed, and a day whose inputs did not is not.

Here: each kind of change after five nights, which days, symbols and portfolios it touches and how large it is, what one look
leaves out. Not here: what is shown of it (cli/test_restatements.py), what re-computing records (test_restatement.py)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from refresh_assets.store.database import Database
from refresh_assets.store.stale import Budget, Stale, stale_days
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import CALENDAR, DAY, OPTION, close_of, event, execute, insert, run, uid, valuation

NIGHTS = CALENDAR.days(CALENDAR.nth_before(DAY, 4), DAY)
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = NIGHTS
AFTER = CALENDAR.next_on_or_after(DAY + timedelta(days=1))


@pytest.fixture
def world(database: Database) -> Database:
    """Three portfolios with one stored beta a night and their five nights."""
    worlds.three_portfolios(database)
    factor = execute(database, "select id from factor_definitions where name = 'Market'")[0][0]
    for day in NIGHTS:
        row = {"symbol": "AAA", "factor_id": factor, "calculation_date": day, "beta_value": 1.1}
        insert(database, "symbol_factor_exposures", row)
    run(database, *NIGHTS)
    return database


def look(database: Database, budget: Budget | None = None) -> Stale:
    return stale_days(database, CALENDAR, NIGHTS, budget)


def test_days_whose_inputs_are_as_they_were_are_silent(world: Database) -> None:
    """Also with a portfolio, a position, closes, a valuation and a beta that came later and are dated later."""
    insert(world, "portfolios", worlds.portfolio(9, inception_date=AFTER))
    insert(world, "positions", worlds.position(91, 9, "AAA", 5), worlds.position(92, 1, "BBB", 5, entry_date=AFTER))
    insert(world, "market_data_cache", {"symbol": "AAA", "date": AFTER, "close_price": 1})
    insert(world, "private_valuations", valuation(23, AFTER, 9))
    # Half of a position is sold later: the platform shrinks it in place, and the event says so.
    execute(world, "update positions set quantity = 50 where id = %s", uid("position", 11))
    insert(world, "position_realized_events", event(1, 11, AFTER, 50))

    found = look(world)

    assert (found.days, found.prices) == ({}, [])
    assert found.looked_at == dict.fromkeys(("prices", "window", "positions", "valuations", "betas"), 5)
    assert (found.complete, found.older_version) == (5, 0)


def test_a_corrected_close_names_its_day_its_holders_and_the_days_that_look_back_to_it(world: Database) -> None:
    """100 and 5 shares of a stock that closed 2 higher on Tuesday: 210 USD, 200 of them in portfolio 1."""
    old = close_of(world, "AAA", TUESDAY)
    execute(
        world, "update market_data_cache set close_price = close_price + 2 where symbol = 'AAA' and date = %s", TUESDAY
    )

    found = look(world)

    assert found.days == {TUESDAY: ("prices",), **dict.fromkeys((WEDNESDAY, THURSDAY, FRIDAY), ("window",))}
    (change,) = found.prices
    assert (change.symbol, change.days, change.split) == ("AAA", (TUESDAY,), None)
    assert [change.old, change.new] == pytest.approx([old, old + 2])
    assert [change.low, change.high] == pytest.approx([1 + 2 / old] * 2)
    assert (change.portfolios, change.portfolio) == (2, "Portfolio 1")
    assert [change.usd, change.portfolio_usd] == pytest.approx([210, 200])


def test_a_split_over_all_past_closes_is_one_change_called_so(world: Database) -> None:
    """A quarter on each of 130 days, kept to 4 decimals, is one line for the five nights, and reaches all of them."""
    execute(world, "update market_data_cache set close_price = round(close_price / 4, 4) where symbol = 'CCC'")

    found = look(world)

    assert found.days == dict.fromkeys(NIGHTS, ("prices",))
    (split,) = found.prices
    assert (split.symbol, split.days) == ("CCC", tuple(NIGHTS))
    assert (split.split, split.split_from, split.reaches_last) == ("4-for-1 split", AFTER, True)
    # 30 short in portfolio 1, 40 in portfolio 3: three quarters of the close are gone.
    close = 4 * close_of(world, "CCC", FRIDAY)
    assert split.usd == pytest.approx(70 * close * 0.75, rel=1e-4)
    assert split.portfolio == "Portfolio 3"
    assert split.portfolio_usd == pytest.approx(-40 * close * 0.75, rel=1e-4)


def test_a_split_of_wednesday_leaves_the_closes_from_then_on(world: Database) -> None:
    """Only earlier closes are adjusted; the day of the split is the first that is not."""
    execute(
        world,
        "update market_data_cache set close_price = round(close_price * 10, 3) where symbol = 'BBB' and date < %s",
        WEDNESDAY,
    )

    (split,) = look(world).prices

    assert split.days == (MONDAY, TUESDAY)
    assert (split.split, split.split_from, split.reaches_last) == ("1-for-10 reverse split", WEDNESDAY, False)


def test_corrections_of_one_symbol_on_days_in_a_row_are_one_change_and_others_are_not(world: Database) -> None:
    """Monday and Tuesday by different ratios; Thursday apart from them."""
    for day, ratio in ((MONDAY, "1.01"), (TUESDAY, "1.02"), (THURSDAY, "1.03")):
        execute(
            world,
            "update market_data_cache set close_price = close_price * %s where symbol = 'BBB' and date = %s",
            *(ratio, day),
        )

    found = sorted(look(world).prices, key=lambda one: one.days)

    assert [one.days for one in found] == [(MONDAY, TUESDAY), (THURSDAY,)]
    assert [found[0].low, found[0].high] == pytest.approx([1.01, 1.02])


def test_a_close_that_went_and_one_that_came_are_changes_of_the_whole_position(database: Database) -> None:
    """CCC had none on Friday and has one now; the option had one and has none, 2 contracts of 100."""
    worlds.three_portfolios(database)
    late = close_of(database, "CCC", FRIDAY)
    execute(database, "delete from market_data_cache where symbol = 'CCC' and date = %s", FRIDAY)
    run(database, *NIGHTS)
    insert(database, "market_data_cache", {"symbol": "CCC", "date": FRIDAY, "close_price": late})
    gone = close_of(database, OPTION, FRIDAY)
    execute(database, "delete from market_data_cache where symbol = %s and date = %s", OPTION, FRIDAY)

    found = look(database)

    assert found.days == {FRIDAY: ("prices",)}
    assert [
        (one.symbol, one.old, one.new, one.portfolios)
        for one in sorted(found.prices, key=lambda one: one.portfolios or 0)
    ] == [
        (OPTION, gone, None, 1),
        ("CCC", None, late, 2),
    ]
    assert {one.symbol: one.usd for one in found.prices} == pytest.approx({"CCC": 70 * late, OPTION: 200 * gone})


def test_a_repaired_position_touches_every_day_that_holds_it(world: Database) -> None:
    """An entry price that was wrong, of a position entered before the nights."""
    execute(world, "update positions set entry_price = 51 where id = %s", uid("position", 31))

    assert look(world).days == dict.fromkeys(NIGHTS, ("positions",))


def test_a_late_sale_touches_the_days_from_it_on(world: Database) -> None:
    """Recorded now, traded on Wednesday: the quantity of the days before is what it was."""
    execute(world, "update positions set quantity = 60 where id = %s", uid("position", 11))
    insert(world, "position_realized_events", event(1, 11, WEDNESDAY, 40))

    assert look(world).days == dict.fromkeys((WEDNESDAY, THURSDAY, FRIDAY), ("positions",))


def test_a_corrected_sale_touches_the_days_before_it(world: Database) -> None:
    """The quantity of today stays, so with another quantity sold on Thursday there was another one before."""
    insert(world, "position_realized_events", event(1, 11, THURSDAY, 40))
    run(world, *NIGHTS)
    assert look(world).days == {}

    execute(world, "update position_realized_events set quantity_closed = 41")

    # On Thursday itself it is the sale that differs.
    assert look(world).days == dict.fromkeys((MONDAY, TUESDAY, WEDNESDAY, THURSDAY), ("positions",))


def test_a_changed_dated_valuation_touches_the_days_that_it_was_in_force(world: Database) -> None:
    """A value entered now for Tuesday is the one from Tuesday on; for Tuesday's P&L Monday's still counts."""
    insert(world, "private_valuations", valuation(23, TUESDAY, 1300))

    assert look(world).days == dict.fromkeys((TUESDAY, WEDNESDAY, THURSDAY, FRIDAY), ("valuations",))


def test_a_changed_stored_beta_touches_its_day(world: Database) -> None:
    """The symbol batch wrote another beta of Thursday; inline ones, which are ours, are not looked at."""
    execute(world, "update symbol_factor_exposures set beta_value = 2 where calculation_method = 'inline'")
    assert look(world).days == {}

    execute(
        world,
        "update symbol_factor_exposures set beta_value = 1.2 where calculation_method is null and calculation_date = %s",
        THURSDAY,
    )

    assert look(world).days == {THURSDAY: ("betas",)}


def test_an_old_close_that_no_night_marked_is_seen_in_the_windows_that_have_it(world: Database) -> None:
    """Of a January day before the first night: no mark of its own, but every night's correlations look back to it."""
    execute(
        world,
        "update market_data_cache set close_price = close_price * 1.01 where symbol = 'CCC' and date = %s",
        date(2026, 1, 30),
    )

    found = look(world)

    assert found.days == dict.fromkeys(NIGHTS, ("window",))
    assert found.prices == []


def test_computing_the_days_again_makes_them_agree(world: Database) -> None:
    """One day alone first: it agrees, also with the closes of days that still do not."""
    execute(world, "update market_data_cache set close_price = close_price * 1.1 where symbol = 'AAA'")
    insert(world, "private_valuations", valuation(23, MONDAY, 1300))
    assert look(world).days == dict.fromkeys(NIGHTS, ("prices", "valuations"))

    run(world, WEDNESDAY)
    assert look(world).days == dict.fromkeys((MONDAY, TUESDAY, THURSDAY, FRIDAY), ("prices", "valuations"))

    run(world, *NIGHTS)
    assert look(world).days == {}


def test_portfolios_added_to_a_day_later_do_not_make_it_disagree(world: Database) -> None:
    """Their inputs were added to the day's sums; the others' are as they were."""
    insert(world, "portfolios", worlds.portfolio(4))
    insert(world, "positions", worlds.position(41, 4, "AAA", 3), worlds.position(42, 4, "SPY", 3))
    assert look(world).days == dict.fromkeys(NIGHTS, ("window", "positions", "betas"))

    run(world, *NIGHTS, missing_only=True)

    assert look(world).days == {}


def test_a_look_that_would_be_dear_is_bounded_and_says_so(world: Database) -> None:
    """Of one mark and one beta it affords one day, the latest; of no position none."""
    execute(world, "update market_data_cache set close_price = close_price * 1.1 where symbol = 'AAA'")
    execute(world, "update positions set entry_price = 51 where id = %s", uid("position", 31))

    little = look(world, Budget(marks=1, betas=1, closes=1, days=2))
    nothing = look(world, Budget(positions=0))

    assert little.looked_at == {"prices": 1, "window": 0, "positions": 2, "valuations": 2, "betas": 1}
    assert little.days == {THURSDAY: ("positions",), FRIDAY: ("prices", "positions")}
    assert nothing.looked_at == {"prices": 5, "window": 0, "positions": 0, "valuations": 0, "betas": 0}
    assert nothing.days == dict.fromkeys(NIGHTS, ("prices",))


def test_where_windows_are_too_large_to_read_the_days_after_a_changed_close_are_named(world: Database) -> None:
    """By the calendar: they look back to it, whatever their digests say."""
    execute(
        world, "update market_data_cache set close_price = close_price + 2 where symbol = 'AAA' and date = %s", TUESDAY
    )

    found = look(world, Budget(closes=1))

    assert found.days == {TUESDAY: ("prices",), **dict.fromkeys((WEDNESDAY, THURSDAY, FRIDAY), ("window",))}


def test_days_of_another_version_are_compared_by_their_closes_alone(world: Database) -> None:
    """Digests of another version mean something else."""
    execute(world, "update refresh_days set code_version = 'before', inputs = '{}' where calculation_date = %s", MONDAY)
    execute(world, "update positions set entry_price = 51 where id = %s", uid("position", 31))

    found = look(world)

    assert found.days == dict.fromkeys((TUESDAY, WEDNESDAY, THURSDAY, FRIDAY), ("positions",))
    assert found.older_version == 1


def test_nobody_holds_the_close_of_a_factors_proxy_that_changed(world: Database) -> None:
    """It is named all the same: betas and the stress covariance come from it."""
    execute(
        world, "update market_data_cache set close_price = close_price + 1 where symbol = 'TLT' and date = %s", FRIDAY
    )

    found = look(world)

    assert found.days == {FRIDAY: ("prices",)}
    assert [(one.symbol, one.portfolios, one.usd, one.portfolio) for one in found.prices] == [("TLT", 0, 0.0, None)]


@pytest.mark.parametrize("close", ["NaN", "Infinity", "-1", "1e30", "1e-300"])
def test_a_close_that_cannot_be_used_is_a_close_that_is_gone(world: Database, close: str) -> None:
    """What the night would take for missing."""
    execute(
        world,
        "update market_data_cache set close_price = %s::numeric where symbol = 'BBB' and date = %s",
        *(close, FRIDAY),
    )

    (change,) = look(world).prices

    assert (change.symbol, change.days, change.new, change.split) == ("BBB", (FRIDAY,), None, None)


def test_nothing_is_written_by_looking(world: Database) -> None:
    """Not a row, whatever changed."""
    execute(world, "update market_data_cache set close_price = close_price * 1.1 where symbol = 'AAA'")
    before = execute(world, "select md5(string_agg(d::text, '' order by d)) from refresh_days d")

    look(world)

    assert execute(world, "select md5(string_agg(d::text, '' order by d)) from refresh_days d") == before
    assert execute(world, "select count(*) from refresh_restatements") == [(0,)]
