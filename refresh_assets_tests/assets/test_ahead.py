"""Computing ahead: every unit gets its own result, whatever the order in which they are taken.

Here: Ahead alone, and the order of the run that it counts on. Not here: a night's figures (store/test_write.py)."""

from __future__ import annotations

import threading
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.assets.ahead import Ahead
from refresh_assets.store.schema_names import DAY_TABLES


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 12))
def test_a_unit_gives_its_own_result_in_any_order(taken: list[int], depth: int) -> None:
    """Also when one is asked for again, or out of order."""
    ahead = Ahead(range(10), lambda unit: unit * unit, depth)
    assert [ahead.take(unit) for unit in taken] == [unit * unit for unit in taken]
    ahead.stop()


def test_the_next_units_are_computed_while_one_is_held() -> None:
    """`depth` of them, and not one more."""
    computed, all_done = list[int](), threading.Event()

    def compute(unit: int) -> int:
        computed.append(unit)
        if unit == 3:
            all_done.set()
        return unit

    ahead = Ahead(range(10), compute, 3)
    assert ahead.take(0) == 0
    assert all_done.wait(10)
    ahead.stop()
    assert computed == [0, 1, 2, 3]


def test_a_unit_that_raised_is_computed_again_when_it_is_asked_for_again() -> None:
    """The error is told to who takes it; those after it are not lost."""
    tries = list[int]()

    def compute(unit: int) -> int:
        tries.append(unit)
        if unit == 1 and tries.count(1) == 1:
            raise ConnectionError("lost")
        return unit

    ahead = Ahead(range(3), compute, 2)
    assert ahead.take(0) == 0
    with pytest.raises(ConnectionError, match="lost"):
        ahead.take(1)
    assert [ahead.take(1), ahead.take(2)] == [1, 2]
    ahead.stop()


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
    assert [key for key in order if key in DAY_TABLES] == list(DAY_TABLES)
