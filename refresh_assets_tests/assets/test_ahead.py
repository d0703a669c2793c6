"""Computing and writing ahead: every unit gets its own result, and none is seen before its turn.

Here: the two alone, and the order of the run that they count on. Not here: a night's figures (store/test_write.py), a night
whose tables are begun ahead (test_in_turn.py)."""

from __future__ import annotations

import queue
import threading
import warnings
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.assets.ahead import InTurn, NotWanted, computed_ahead
from refresh_assets.assets.night import IN_TURN
from refresh_assets.store.schema_names import DAY_TABLES


@given(st.integers(0, 9), st.integers(0, 12))
def test_results_come_in_order_whatever_is_computed_ahead(units: int, depth: int) -> None:
    """Each its own, and none twice."""
    computed = list[int]()

    def compute(unit: int) -> int:
        computed.append(unit)
        return unit * unit

    assert list(computed_ahead(range(units), compute, depth)) == [unit * unit for unit in range(units)]
    assert computed == list(range(units))


def test_the_next_units_are_computed_while_one_is_held_and_no_more() -> None:
    """`depth` of them; whoever leaves off has nothing more computed."""
    computed, all_done = list[int](), threading.Event()

    def compute(unit: int) -> int:
        computed.append(unit)
        if unit == 3:
            all_done.set()
        return unit

    with closing(computed_ahead(range(10), compute, 3)) as results:
        assert next(results) == 0
        assert all_done.wait(10)
    assert computed == [0, 1, 2, 3]


def test_what_computing_a_unit_raised_is_raised_in_its_turn() -> None:
    """Not before: the results of those before it are good."""

    def compute(unit: int) -> int:
        if unit == 1:
            raise ConnectionError("lost")
        return unit

    results = computed_ahead(range(3), compute, 2)
    assert next(results) == 0
    with pytest.raises(ConnectionError, match="lost"):
        next(results)


class Ending:
    """Work whose end others can see: it waits for its turn, and then says that it ended. `begun` says what is under way."""

    def __init__(self, units: int, fails: int = -1, **settings: Any) -> None:
        self.begun, self.ended, self.fails = queue.SimpleQueue[int](), list[int](), fails
        self.turns: InTurn[int, int] = InTurn(range(units), self.work, **settings)

    def work(self, unit: int) -> int:
        """Double the unit, or fail."""
        self.begun.put(unit)
        if unit == self.fails:
            raise ConnectionError("lost")
        self.turns.wait(unit)
        self.ended.append(unit)
        return 2 * unit

    def under_way(self, count: int) -> set[int]:
        """The next so many units that are begun."""
        return {self.begun.get(timeout=10) for _ in range(count)}


@given(st.lists(st.integers(0, 5), max_size=12))
def test_units_end_in_their_order_however_they_are_asked_for(taken: list[int]) -> None:
    """Each with those in front of it, once; what is asked for again is done again. Nobody sees the end of what is behind."""
    work = Ending(6)
    expected, asked_for = list[int](), set[int]()
    for unit in taken:
        in_front = [one for one in range(unit + 1) if one not in expected]
        again = not in_front and unit in asked_for
        expected += [unit] if again else in_front
        asked_for.add(unit)
    assert [work.turns.take(unit) for unit in taken] == [2 * unit for unit in taken]
    work.turns.stop()
    assert work.ended == expected
    assert work.turns.not_asked_for() == {unit: 2 * unit for unit in sorted(set(expected) - asked_for)}
    assert work.turns.seconds.keys() == set(expected)


def test_the_next_unit_is_begun_and_waits_for_its_turn() -> None:
    """One, and not the one after it."""
    work = Ending(4)
    assert work.turns.take(0) == 0
    assert work.under_way(2) == {0, 1}
    assert work.ended == [0]
    assert work.turns.take(1) == 2
    assert work.under_way(1) == {2}
    assert work.ended == [0, 1]
    work.turns.stop()
    assert work.begun.empty()
    assert work.ended == [0, 1]


def test_a_unit_that_was_given_up_is_told_so_and_does_not_end() -> None:
    """Whoever stops, or goes on behind a failure of the same, has waited for it to be gone."""
    told, next_begun = list[int](), threading.Event()

    def work(unit: int) -> int:
        if unit == 0:
            assert next_begun.wait(10)
            raise ConnectionError("lost")
        next_begun.set()
        try:
            turns.wait(unit)
        except NotWanted:
            told.append(unit)
            raise
        return unit

    turns = InTurn(range(7), work, together=lambda unit: unit // 3)
    with pytest.raises(ConnectionError, match="lost"):
        turns.take(0)
    assert told == []
    assert turns.take(3) == 3
    assert told == [1]
    turns.stop()
    assert told == [1, 4]


def test_behind_a_unit_that_failed_nothing_of_the_same_ends_before_it_is_asked_for() -> None:
    """What belongs to others ends as ever; the error waits until somebody asks, and each of the rest is done when asked for."""
    work = Ending(9, fails=3, together=lambda unit: unit // 3)
    assert work.turns.take(7) == 14
    assert work.ended == [0, 1, 2, 6, 7]
    with pytest.raises(ConnectionError, match="lost"):
        work.turns.take(3)
    work.fails = -1
    assert [work.turns.take(unit) for unit in (3, 5, 0)] == [6, 10, 0]
    assert work.ended == [0, 1, 2, 6, 7, 3, 5]
    assert work.turns.not_asked_for() == {1: 2, 2: 4, 6: 12}
    work.turns.end_all()
    assert work.ended[-1] == 8
    assert work.turns.not_asked_for() == {1: 2, 2: 4, 6: 12, 8: 16}


def test_behind_a_light_unit_the_next_one_is_begun_as_well() -> None:
    """And no more; both wait for their turns."""
    work = Ending(5, is_light=lambda unit: unit == 1)
    assert work.turns.take(0) == 0
    assert work.under_way(3) == {0, 1, 2}
    assert work.turns.take(1) == 2
    assert work.ended == [0, 1]
    work.turns.stop()
    assert work.begun.empty()


def test_a_unit_that_nobody_expected_is_done_at_once_and_gives_up_nothing() -> None:
    """The one that was begun goes on waiting for its turn."""
    work = Ending(3)
    assert [work.turns.take(unit) for unit in (0, 7)] == [0, 14]
    assert work.ended == [0, 7]
    assert work.turns.take(1) == 2
    assert sorted(work.under_way(4)) == [0, 1, 2, 7]
    work.turns.stop()


def test_an_error_ahead_is_told_to_who_asks_for_the_unit_and_is_tried_again() -> None:
    """The unit before it ends as ever."""
    work = Ending(3, fails=1)
    assert work.turns.take(0) == 0
    with pytest.raises(ConnectionError, match="lost"):
        work.turns.take(1)
    work.fails = -1
    assert [work.turns.take(unit) for unit in (1, 2)] == [2, 4]
    assert work.ended == [0, 1, 2]


def test_a_run_takes_the_tables_in_the_order_in_which_they_are_computed_ahead() -> None:
    """Else each would be computed when it is asked for, and the one that was guessed thrown away."""
    from dagster._core.execution.plan.active import _default_sort_key

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* is currently in beta")
        from dagster._core.execution.api import create_execution_plan

        from refresh_assets.definitions import defs

        plan = create_execution_plan(defs.resolve_job_def("portfolio_refresh"))
    order: list[str] = []
    for level in plan.get_steps_to_execute_by_level():
        order += [step.key for step in sorted(level, key=_default_sort_key)]
    assert [key for key in order if key in IN_TURN] == list(IN_TURN)
    assert set(IN_TURN) > set(DAY_TABLES)
