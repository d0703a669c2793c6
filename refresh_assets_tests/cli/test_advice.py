"""What status and run tell a person to type, and that it does what they say.

Here: the advice for stretches of days. Not here: the states of days (store/test_days.py)."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest

from refresh_assets import cli
from refresh_assets.store.database import Database
from refresh_assets_tests.cli.conftest import DAYS
from refresh_assets_tests.worlds import execute, insert, portfolio, position, uid

SPAN = f"--from {DAYS[0]} --to {DAYS[-1]}"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints, which must end well; runs of spaces as one."""
    capsys.readouterr()
    assert cli.main(list(words)) == 0
    return " ".join(capsys.readouterr().out.split())


def figures(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    return json.loads(said(capsys, *words, "--json"))


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
