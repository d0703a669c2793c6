"""A simulated quarter ends as one clean computation of the same days, and woke exactly whom it should.

Here: a whole quarter and a short one, and what the scripts promise. Not here: many seeds (`make simulate`)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pytest

from refresh_assets.store.database import Database
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.simulation.clean import compare, play_seed
from refresh_assets_tests.simulation.kinds import KILL_POINTS, NEW_YORK, What, at
from refresh_assets_tests.simulation.play import Difference
from refresh_assets_tests.simulation.script import build
from refresh_assets_tests.worlds import execute

QUARTER, SHORT = (1, 63), (2, 20)
"""Seed, and number of nights."""
KINDS = {
    *(
        "on time",
        "late",
        "overdue",
        "failed",
        "failed, then overdue",
        "half-loaded",
        "empty",
        "thin",
        "onboarding",
        "killed",
    ),
    *("vanished", "lost", "broken", "spoiled", "race", "absent", "away", "empty for days", "arriving"),
}


def test_a_quarter_of_every_kind_of_night_equals_one_clean_computation(
    server_url: str, initialised_template: str
) -> None:
    """Byte for byte; each look starts what can start, each alert is raised once, nothing stays behind."""
    with ThreadPoolExecutor(2) as pool:
        playing = [pool.submit(play_seed, server_url, initialised_template, *one) for one in (QUARTER, SHORT)]
        played = [one.result() for one in playing]

    assert [one.nights for one in played] == [63, 20]
    assert all(one.rows > 500 * one.nights and one.looks > 2 * one.nights and one.alerts > 3 for one in played)


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_quarter_has_every_kind_of_night_and_a_clock_change(seed: int) -> None:
    """63 trading days in a row but for one closure that nobody knew of at first."""
    script = build(seed, 63)
    days = [night.day for night in script.nights]

    assert {night.kind for night in script.nights} == KINDS
    assert len(days) == 63 and days == sorted(days) and days[0] < script.closure < days[-1]
    assert len({at(day, 0).astimezone(NEW_YORK).utcoffset() for day in days}) == 2
    assert {one.what for one in script.happenings} == set(What)
    assert script.happenings == build(seed, 63).happenings != build(seed + 1, 63).happenings


def test_over_many_seeds_a_run_dies_at_every_point() -> None:
    """Before its first write, in each table, after its last."""
    happenings = [one for seed in range(20) for one in build(seed, 63).happenings]

    assert {one.table for one in happenings if one.what in (What.KILL, What.LOSE)} == set(KILL_POINTS)


def test_a_night_wakes_a_person_for_what_the_spec_says() -> None:
    """By hand: kinds that alert, and on which nights."""
    script = build(1, 63)
    alerts = {night.kind: night.alerts for night in script.nights}

    assert alerts["on time"] == alerts["late"] == alerts["killed"] == alerts["lost"] == alerts["race"] == ()
    assert alerts["overdue"] == alerts["absent"] == ("symbol_batch_timeout",)
    assert alerts["failed, then overdue"] == ("symbol_batch_failed", "symbol_batch_timeout")
    assert alerts["half-loaded"] == alerts["empty"] == ("low_price_coverage",)
    before_the_first = script.first - timedelta(days=1)
    assert script.alerts(before_the_first) == set() != script.alerts(script.nights[-1].day)


def test_one_row_too_many_is_a_difference(server_url: str, initialised_template: str) -> None:
    """The comparison can fail: it names the seed, the table, the night and the row."""
    script = build(1, 20)
    with (
        new_database(server_url, initialised_template) as (_, one),
        new_database(server_url, initialised_template) as (_, other),
    ):
        assert compare(Database(one), Database(other), script) == 0
        day: date = script.nights[3].day
        execute(Database(one), "insert into refresh_marks values (%s, 'AAPL', 1)", day)
        with pytest.raises(Difference, match=rf"seed 1, 20 nights: refresh_marks differs .*{day} \("):
            compare(Database(one), Database(other), script)
