"""Ten kills of a night, one or more of each kind: `make chaos` does 200.

Here: the promise. Not here: how it is checked (kills.py, states.py)."""

from __future__ import annotations

from datetime import date

import pytest

from refresh_assets_tests.chaos import states
from refresh_assets_tests.chaos.kills import Kind, arena, plan

SEED, KILLS = 20261125, 10


def test_killed_at_any_instant_every_day_of_every_table_is_absent_old_or_complete_and_the_next_run_heals() -> None:
    """Worker, sessions, a backend, the server, all at once: nothing half-visible, no lock or session stays, same bytes."""
    kills = plan(SEED, KILLS)
    assert {kill.kind for kill in kills} == set(Kind)
    assert [kill.by_command for kill in kills] == [False] * 9 + [True]
    with arena(SEED) as one:
        hits = [one.strike(kill) for kill in kills]
    # A kill that always came before the first commit, or after the last, would show nothing.
    assert any(0 < hit.new < hit.units for hit in hits)
    for hit in hits:
        assert (hit.cleared is None) == (
            hit.kill.kind in {Kind.TERMINATE, Kind.BACKEND, Kind.SERVER} and not hit.gave_up
        )
        assert not (hit.gave_up and hit.kill.kind is Kind.TERMINATE)


OLD: states.State = {
    (date(2026, 3, 30), "portfolio_snapshots"): ("a", "b"),
    (date(2026, 4, 1), "portfolio_snapshots"): (),
}
NEW: states.State = {
    (date(2026, 3, 30), "portfolio_snapshots"): ("a", "c"),
    (date(2026, 4, 1), "portfolio_snapshots"): ("d", "e"),
}


@pytest.mark.parametrize("rows", [("a",), ("a", "b", "c"), ("b", "c"), ()])
def test_a_day_that_is_neither_old_nor_new_is_called_half_written(rows: tuple[str, ...]) -> None:
    """The check itself: a row too few, a mixture, an old day that is gone."""
    unit: states.Unit = (date(2026, 3, 30), "portfolio_snapshots")
    with pytest.raises(AssertionError, match="half-written"):
        states.versions({unit: rows}, OLD, NEW)


def test_a_new_day_of_which_a_part_is_there_is_called_half_written() -> None:
    """Absent and complete are told apart from a part."""
    unit: states.Unit = (date(2026, 4, 1), "portfolio_snapshots")
    assert states.versions({unit: ()}, OLD, NEW) == {unit: "old"}
    assert states.versions({unit: ("d", "e")}, OLD, NEW) == {unit: "new"}
    with pytest.raises(AssertionError, match="half-written"):
        states.versions({unit: ("d",)}, OLD, NEW)
