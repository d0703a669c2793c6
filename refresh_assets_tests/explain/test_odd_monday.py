"""The hand-made Monday of odd cases (agreement.py), traced: Saturday's trades, day trades, partial sales of each class.

Here: every book of it, every figure. Not here: whether the stored figures are right (test_agreement.py)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import pytest

from refresh_assets.store.database import Database
from refresh_assets_tests.agreement import fill, odd_world, run_night
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.explain.asking import ask, ask_each, cents, exactly, stored_figure
from refresh_assets_tests.worlds import execute

MONDAY = date(2020, 3, 9)
FRIDAY = MONDAY - timedelta(days=3)


@pytest.fixture(scope="module")
def monday(server_url: str, initialised_template: str) -> Iterator[Database]:
    """The night of the odd Monday, done."""
    with new_database(server_url, initialised_template) as (_, url):
        with Database(url).connect() as connection:
            fill(connection, odd_world(MONDAY, FRIDAY))
        run_night(Database(url), MONDAY)
        yield Database(url)


def test_every_odd_book_adds_up(monday: Database) -> None:
    """Positions and legs to the stored sums, to the cent, with every column equal."""
    stored = execute(monday, "select portfolio_id, total_value, total_cost, daily_pnl from portfolio_snapshots")
    assert len(stored) >= 7

    legs: set[str] = set()
    for portfolio, *sums in stored:
        told = ask(monday, portfolio, MONDAY)
        rows = (("positions", "value"), ("positions", "cost"), ("legs", "pnl"))
        assert [cents(exactly(told[sheet]["rows"], key)) for sheet, key in rows] == sums
        assert told["equal"] is True, [one for one in told["figures"] if not one["equal"]]
        legs.update(leg["leg"] for leg in told["legs"]["rows"])
    assert {"kept", "entered", "sold", "sold, entered", "private, kept", "private, entered"} <= legs
    assert {"kept, left out", "sold, left out", "private, sold, left out", "none"} <= legs


def test_every_exposure_and_stress_result_of_odd_books_adds_up(monday: Database) -> None:
    """Factors without a proxy are unknown, not zero; shocks on them add nothing, and are shown."""
    factors = [row[0] for row in execute(monday, "select name from factor_definitions where is_active")]
    scenarios = [row[0] for row in execute(monday, "select distinct scenario_id from stress_factor_shocks")]
    books = [row[0] for row in execute(monday, "select distinct portfolio_id from factor_exposures")]
    assert (len(factors), len(scenarios), len(books)) == (12, 19, 6)

    for book in books:
        for kind, names in (("factor", factors), ("scenario", scenarios)):
            for told in ask_each(monday, book, MONDAY, kind, names):
                assert told["equal"] is True, (book, told["asked"])
    unknown = ask(monday, books[0], MONDAY, factor="Growth-Value Spread")
    assert (stored_figure(unknown, "exposure_dollar"), stored_figure(unknown, "coverage")) == (None, "0.0")
    unmapped = ask(monday, books[0], MONDAY, scenario="value_rotation")
    notes = {row["factor"]: row["note"] for row in unmapped["direct"]["rows"]}
    assert "no exposure: adds nothing" in notes.values()
    assert "shock_unmapped" in {one["code"] for one in unmapped["left_out"]}


def test_a_position_deleted_on_the_day_counts_before_it_and_has_no_leg(monday: Database) -> None:
    """Its value is in the gross exposure of D', from which daily_return is taken: shown, so that the column adds up."""
    legs = ask(monday, "deletions", MONDAY)["legs"]["rows"]
    without = [leg for leg in legs if leg["leg"] == "none"]

    assert without and all(leg["pnl"] is None and Decimal(leg["previous_gross"]) > 0 for leg in without)
