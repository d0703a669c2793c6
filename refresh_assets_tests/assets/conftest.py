"""The platform that the night's checks are asked about, and a Dagster instance for runs over it.

Here: four portfolios, `home`. Not here: the nights and what the checks say of them (test_checks.py, test_asking.py)."""

from __future__ import annotations

from pathlib import Path

import pytest

from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import BEFORE, DAY, execute, insert, portfolio, position


def platform(database: Database) -> None:
    """Three portfolios and a fourth that is all PUBLIC; a beta by which the third's loss is capped."""
    worlds.three_portfolios(database)
    insert(database, "portfolios", portfolio(4))
    insert(database, "positions", position(41, 4, "AAA", 10), position(42, 4, "BBB", -20))
    (market,) = execute(database, "select id from factor_definitions where name = 'Market'")[0]
    beta = {"symbol": "CCC", "factor_id": market, "beta_value": 4}
    insert(database, "symbol_factor_exposures", *({**beta, "calculation_date": day} for day in (BEFORE, DAY)))


@pytest.fixture
def home(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    """The platform before its first night, and a Dagster instance that keeps what runs leave."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("REFRESH_DATABASE_URL", database.url)
    platform(database)
    return database
