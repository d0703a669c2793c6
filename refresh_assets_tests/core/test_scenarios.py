"""Promises about the scenario file: what the packaged one holds, how any other is read.

Here: known figures, reading, the digest. Not here: refusals (test_scenario_refusals.py), what a scenario
does to a portfolio (test_stress.py)."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest

from refresh_assets.core.scenarios import BEST_SHOCK, WORST_SHOCK, packaged, parse, read
from refresh_assets.errors import ScenarioFileError

FACTORS = {
    "Market", "Interest Rate", "Value", "Growth", "Momentum", "Quality", "Size", "Low Volatility",
    "Growth-Value Spread", "Momentum Spread", "Size Spread", "Quality Spread",
}  # fmt: skip
JOINT = {"Value", "Growth", "Momentum", "Quality", "Size", "Low Volatility"}

GOOD = """
[factors]
"Market" = {}
"Interest Rate" = { duration = 16.5 }

[[scenario]]
id = "crash"
name = "Crash"
category = "market"
severity = "severe"
active = true
[scenario.shocks]
"Market" = -0.2
"Interest Rate" = { bp = -50 }

[[scenario]]
id = "boom"
name = "Boom"
category = "market"
severity = "mild"
active = true
[scenario.shocks]
"Market" = 0.1
"""
HEAD, CRASH, BOOM = GOOD.split("\n[[scenario]]\n")


def test_the_packaged_file_holds_what_the_spec_lists() -> None:
    scenarios = packaged()
    assert set(scenarios.factors) == FACTORS
    assert {name for name, duration in scenarios.factors.items() if duration is not None} == {"Interest Rate"}
    assert [scenario.id for scenario in scenarios.active] == [
        "market_down_5", "market_up_5", "market_down_10", "market_up_10", "market_down_35", "market_up_25",
        "rates_up_25bp", "rates_down_25bp", "rates_up_50bp", "rates_down_50bp", "rates_up_100bp", "rates_down_100bp",
        "rates_up_300bp", "value_rotation", "growth_rotation", "small_cap_rotation", "quality_rotation",
        "volatility_spike", "liquidity_crisis",
    ]  # fmt: skip
    assert [scenario.id for scenario in scenarios.scenarios if not scenario.active] == [
        "replay_2008",
        "replay_2020",
        "replay_2022",
    ]


@pytest.mark.parametrize(
    ("scenario", "shocks"),
    [
        ("market_down_5", {"Market": -0.05}),
        ("market_up_10", {"Market": 0.10}),
        ("market_down_35", {"Market": -0.35}),
        ("market_up_25", {"Market": 0.25}),
        ("rates_up_25bp", {"Interest Rate": -0.04125}),
        ("rates_up_100bp", {"Interest Rate": -0.165}),  # 16.5 years times 1 %: yields up, bonds lose
        ("rates_down_100bp", {"Interest Rate": 0.165}),
        ("rates_up_300bp", {"Interest Rate": -0.495}),
    ],
)
def test_a_packaged_shock_is_the_known_return(scenario: str, shocks: dict[str, float]) -> None:
    assert {entry.id: entry.shocks for entry in packaged().scenarios}[scenario] == shocks


def test_a_packaged_scenario_never_counts_one_loss_twice() -> None:
    """One factor alone, or joint factors only: a single beta already holds what moves along with its factor."""
    for scenario in packaged().scenarios:
        assert len(scenario.shocks) == 1 or set(scenario.shocks) <= JOINT, scenario.id


def test_a_good_file_is_read_in_its_order() -> None:
    scenarios = parse(GOOD, "mine.toml")
    assert [scenario.id for scenario in scenarios.scenarios] == ["crash", "boom"]
    assert scenarios.factors == {"Market": None, "Interest Rate": 16.5}
    assert scenarios.scenarios[0].shocks == {"Market": -0.2, "Interest Rate": 0.0825}


def test_a_set_survives_being_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(packaged())) == packaged()


@pytest.mark.parametrize(
    "same",
    [
        "\n[[scenario]]\n".join([HEAD, BOOM, CRASH]),
        GOOD.replace("[factors]", "# a comment\n[factors]\n\n"),
        GOOD.replace("{ bp = -50 }", "0.0825"),
        GOOD.replace('"Market" = {}', '"Market" = {}\n"Size" = {}'),
        GOOD + "\n[[scenario]]\n" + BOOM.replace("boom", "other").replace("true", "false"),
    ],
    ids=["order", "comment", "basis points as return", "unused factor", "inactive scenario"],
)
def test_the_digest_is_free_of_what_changes_no_figure(same: str) -> None:
    assert parse(same, "a").digest == parse(GOOD, "b").digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-0.2", "-0.21"),
        ('"crash"', '"crush"'),
        ('"Crash"', '"Crush"'),
        ("duration = 16.5", "duration = 16"),
        ("mild", "severe"),
    ],
)
def test_the_digest_changes_with_what_an_active_scenario_says(old: str, new: str) -> None:
    assert parse(GOOD.replace(old, new), "a").digest != parse(GOOD, "a").digest


def test_a_negative_zero_is_a_zero() -> None:
    assert math.copysign(1, parse(GOOD.replace("-0.2", "-0.0"), "a").scenarios[0].shocks["Market"]) == 1


@pytest.mark.parametrize("shock", [WORST_SHOCK, BEST_SHOCK, 0.0])
def test_the_ends_of_the_range_are_allowed(shock: float) -> None:
    assert parse(GOOD.replace("-0.2", str(shock)), "a").scenarios[0].shocks["Market"] == shock


def test_a_file_is_read_and_one_that_cannot_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD, "utf-8-sig")
    assert read(file) == parse(GOOD, "mine.toml")
    file.write_bytes(GOOD.encode() + b"# caf\xe9")
    with pytest.raises(ScenarioFileError) as refused:
        read(file)
    assert str(refused.value) == (
        f"{file}: is not UTF-8 from byte {len(GOOD) + 5} on. Mend: name a readable TOML file in UTF-8."
    )
    with pytest.raises(ScenarioFileError) as refused:
        read(tmp_path / "none.toml")
    assert str(refused.value) == (
        f"{tmp_path / 'none.toml'}: cannot be read (No such file or directory). "
        "Mend: name a readable TOML file in UTF-8."
    )
