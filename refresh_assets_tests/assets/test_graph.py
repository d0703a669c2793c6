"""The asset graph as others see it: names, lineage, partitions, jobs; and its trading days.

Here: what the definitions say. Not here: running them (test_runs.py)."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import pytest

from refresh_assets.assets.partitions import trading_day_partitions, trading_days
from refresh_assets.assets.refresh import NIGHTLY
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.errors import DayRefused
from refresh_assets.settings import Settings

ROOT = Path(__file__).parents[2]

LINEAGE = {
    "market_data_cache": ("symbol_batch", []),
    "symbol_factor_exposures": ("symbol_batch", []),
    "portfolios": ("platform", []),
    "positions": ("platform", []),
    "inline_symbol_betas": (
        "portfolio_refresh",
        ["market_data_cache", "portfolios", "positions", "symbol_factor_exposures"],
    ),
    "portfolio_snapshots": ("portfolio_refresh", ["market_data_cache", "portfolios", "positions"]),
    "correlation_calculations": ("portfolio_refresh", ["market_data_cache", "portfolios", "positions"]),
    "pairwise_correlations": ("portfolio_refresh", ["correlation_calculations"]),
    "factor_exposures": (
        "portfolio_refresh",
        ["inline_symbol_betas", "market_data_cache", "portfolios", "positions", "symbol_factor_exposures"],
    ),
    "stress_test_results": ("portfolio_refresh", ["factor_exposures", "market_data_cache"]),
    "position_market_values": (
        "portfolio_refresh",
        ["correlation_calculations", "factor_exposures", "portfolio_snapshots", "stress_test_results"],
    ),
}


def test_the_graph_is_the_one_that_the_spec_names() -> None:
    """Every asset stands in its group, and its upstream assets are the tables that it reads."""
    graph = defs.resolve_asset_graph()
    found = {
        key.to_user_string(): (
            graph.get(key).group_name,
            sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
        )
        for key in graph.get_all_asset_keys()
    }

    assert found == LINEAGE


def test_what_others_write_cannot_be_materialized_here() -> None:
    """The symbol batch's and the platform's tables are external."""
    graph = defs.resolve_asset_graph()
    external = {key.to_user_string() for key in graph.get_all_asset_keys() - graph.materializable_asset_keys}

    assert external == {"market_data_cache", "symbol_factor_exposures", "portfolios", "positions"}


def test_the_platforms_tables_have_no_partitions_and_all_others_have_trading_days() -> None:
    """A partition is a trading day; portfolios and positions are whole tables."""
    graph = defs.resolve_asset_graph()
    without = {key.to_user_string() for key in graph.get_all_asset_keys() if graph.get(key).partitions_def is None}

    assert without == {"portfolios", "positions"}


def test_the_job_covers_the_whole_night() -> None:
    """portfolio_refresh materializes every asset of its group."""
    job = defs.resolve_job_def("portfolio_refresh")

    nightly = {name for name, (group, _) in LINEAGE.items() if group == "portfolio_refresh"}
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == nightly


KEYS = [
    ("2026-11-20 12:00", "2026-11-20", "a Friday: today is the last key"),
    ("2026-11-21 12:00", "2026-11-23", "a Saturday: Dagster offers the coming Monday"),
    ("2026-11-26 12:00", "2026-11-27", "Thanksgiving: Dagster offers the half day after it"),
]


@pytest.mark.parametrize(("instant", "last", "reason"), KEYS, ids=[reason for _, _, reason in KEYS])
def test_the_last_key_that_dagster_offers_is_known(instant: str, last: str, reason: str) -> None:
    """On weekends and holidays Dagster's last key is a day that is not there yet (dagster#33551): we expect that."""
    now = datetime.fromisoformat(instant).replace(tzinfo=NEW_YORK)

    keys = NIGHTLY["partitions_def"].get_partition_keys(current_time=now)

    assert keys[-1] == last, reason


@pytest.mark.parametrize(("instant", "offered", "reason"), KEYS[1:], ids=["Saturday", "Thanksgiving"])
def test_a_day_that_is_not_there_yet_is_refused(instant: str, offered: str, reason: str) -> None:
    """Whatever key Dagster offers, no day after the effective trading date is run."""
    now = datetime.fromisoformat(instant).replace(tzinfo=NEW_YORK)

    with pytest.raises(DayRefused) as refused:
        trading_days([offered], TradingCalendar(), now)

    effective = TradingCalendar().effective_date(now)
    close = "16:00" if offered == "2026-11-23" else "13:00"
    assert str(refused.value) == (
        f"{offered} is later than the effective trading date {effective}."
        f" Mend: run it after its close, {offered} {close} New York."
    ), reason


def test_today_is_refused_before_its_close_and_taken_after_it() -> None:
    """The day counts from its close on: 16:00 New York."""
    day = date(2026, 11, 20)
    before, after = (datetime(2026, 11, 20, hour, minute, tzinfo=NEW_YORK) for hour, minute in ((15, 59), (16, 0)))

    with pytest.raises(DayRefused):
        trading_days([day.isoformat()], TradingCalendar(), before)
    assert trading_days([day.isoformat()], TradingCalendar(), after) == [day]


def test_partition_keys_of_forty_quarters_are_the_calendars_trading_days() -> None:
    """No weekend and no holiday is a partition, and no trading day is missing."""
    now = datetime(2026, 11, 20, 22, tzinfo=NEW_YORK)
    partitions = trading_day_partitions(Settings(start_date=date(2016, 1, 4)), now)

    keys = partitions.get_partition_keys(current_time=now)

    assert keys == [day.isoformat() for day in TradingCalendar().days(date(2016, 1, 4), date(2026, 11, 20))]


def test_an_extra_closure_is_no_partition() -> None:
    """A day of mourning that no library knows is taken out by a setting."""
    now = datetime(2026, 11, 20, 22, tzinfo=NEW_YORK)
    partitions = trading_day_partitions(Settings(extra_closures=(date(2026, 11, 18),)), now)

    assert "2026-11-18" not in partitions.get_partition_keys(current_time=now)
    assert "2026-11-19" in partitions.get_partition_keys(current_time=now)


@pytest.mark.parametrize(
    "command",
    [
        ("dagster", "definitions", "validate"),
        ("dagster", "job", "list"),
        ("dg", "check", "defs"),
        ("dg", "list", "defs"),
    ],
    ids=" ".join,
)
def test_dagsters_own_commands_find_the_definitions_from_the_project_root(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """No flag, no path: workspace.yaml, [tool.dagster] and [tool.dg] say where the definitions are."""
    program = Path(sys.executable).with_name(command[0])
    home = {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}

    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, env=home, capture_output=True, text=True, timeout=180, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    if "list" in command:
        assert "portfolio_refresh" in done.stdout
