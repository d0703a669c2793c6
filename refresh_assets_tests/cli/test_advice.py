"""What status and run tell a person to type, and that it does what they say.

Here: the advice for stretches of days, and where nothing is due. Not here: the states of days (store/test_days.py)."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest

from refresh_assets import cli, terminal
from refresh_assets.automation.launch import Plan
from refresh_assets.store.database import Database
from refresh_assets.store.days import DayStatus, State
from refresh_assets.terminal import SHOWN
from refresh_assets_tests.cli.conftest import DAYS, figures, said
from refresh_assets_tests.worlds import execute, insert, portfolio, position, uid

SPAN = f"--from {DAYS[0]} --to {DAYS[-1]}"


def test_the_advice_for_a_stretch_of_due_days_leaves_the_others_as_they_are(
    evening: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """A portfolio came late, and a close was corrected since: what status says to type adds the one, restates nobody."""
    assert cli.main(["run"]) == 0
    insert(evening, "portfolios", portfolio(4, created_at=datetime(2020, 1, 2, tzinfo=UTC)))
    insert(evening, "positions", position(41, 4, "AAPL", entry_date=date(2020, 1, 2)))
    execute(evening, "update market_data_cache set close_price = close_price + 2 where symbol = 'AAPL'")
    others = "select md5(string_agg(s::text, '|' order by s::text)) from portfolio_snapshots s where portfolio_id <> %s"
    before = execute(evening, others, uid("portfolio", 4))

    words = said(capsys, "status")
    advised = re.search(r"refresh-assets (run --from \S+ --to \S+ --scope missing)", words)
    assert advised is not None, words
    said(capsys, *advised[1].split())

    assert advised[1] == f"run {SPAN} --scope missing"
    assert execute(evening, others, uid("portfolio", 4)) == before
    assert figures(capsys, "restatements") == {"restatements": []}
    assert figures(capsys, "status")["counts"] == {"complete": len(DAYS)}


def test_the_advice_for_a_stretch_of_mixed_days_computes_them_whole(
    evening: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables of different inputs: adding what is missing would mend nothing."""
    assert cli.main(["run"]) == 0
    execute(evening, "update refresh_days set inputs_digest = 'other' where table_name = 'factor_exposures'")

    words = said(capsys, "status")

    assert f"refresh-assets run --from {DAYS[0]}" in words
    assert f"--to {DAYS[-1]}" in words
    assert "--scope missing" not in words


MIXED = f"{DAYS[1]} is mixed: its tables were computed from different inputs. What to do: refresh-assets run --date {DAYS[1]}."
SKIPPED = f"{DAYS[2]} is skipped: not one close. What to do: have the symbol batch load the day."


def test_where_nothing_is_due_days_that_are_not_complete_are_named(
    evening: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mixed day and one without a close: no run without dates mends them, and it does not call them complete."""
    assert cli.main(["run"]) == 0
    changed = (
        "update refresh_days set inputs_digest = 'x' where table_name = 'factor_exposures' and calculation_date = %s"
    )
    execute(evening, changed, DAYS[1])
    execute(evening, "delete from refresh_days where calculation_date = %s", DAYS[2])
    execute(evening, "delete from market_data_cache where date = %s", DAYS[2])

    ran, planned = said(capsys, "run"), said(capsys, "run", "--dry-run")
    found = figures(capsys, "run")

    assert ran == planned == f"Nothing is due, but not every day is complete: {MIXED} {SKIPPED}"
    assert [one["day"] for one in found["mixed"]] == [str(DAYS[1])]
    assert [one["day"] for one in found["skipped"]] == [str(DAYS[2])]
    assert found["mixed"] == figures(capsys, "run", "--dry-run")["mixed"]
    said(capsys, "run", "--date", str(DAYS[1]))
    assert said(capsys, "run") == f"Nothing is due, but not every day is complete: {SKIPPED}"


def test_where_nobody_holds_anything_that_is_said(evening: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """No day is complete there, and none is due."""
    execute(evening, "delete from positions")

    assert said(capsys, "run") == said(capsys, "run", "--dry-run") == "Nothing is due: no portfolio holds anything."


def test_many_days_that_are_not_complete_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A few by name; status has the others."""
    few = [DayStatus(DAYS[0] + timedelta(number), State.MIXED, "why", "mend") for number in range(SHOWN + 2)]

    terminal.print_run(Plan([], [], mixed=few), [], [])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == "... and 2 more that are mixed or skipped: refresh-assets status"
