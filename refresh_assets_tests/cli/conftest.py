"""The evening on which commands are typed, and what they print.

Here: the demo's platform, before any night has run; a command's words and figures. Not here: databases (the conftest above),
rows (worlds.py)."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import pytest

from refresh_assets import cli
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.demo.world import symbol_batch
from refresh_assets.store.database import Database

DAYS = TradingCalendar().days(date(2020, 2, 18), date(2020, 2, 24))


@pytest.fixture
def evening(demo_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The demo's platform on the evening of 2020-02-24, after five symbol batches; no night has run."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(cli, "_clock", [datetime(2020, 2, 24, 21, 30, tzinfo=NEW_YORK)])
    with demo_database.connect() as connection:
        for day in DAYS:
            symbol_batch(connection, day)
    return demo_database


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints, which must end well; runs of spaces as one."""
    capsys.readouterr()
    assert cli.main(list(words)) == 0
    return " ".join(capsys.readouterr().out.split())


def figures(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command prints with --json."""
    return json.loads(said(capsys, *words, "--json"))
