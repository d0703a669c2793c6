"""Promises about a scenario file that cannot be used: refused by place, field, value and mend, never with a traceback.

Here: whole texts of refusals, and any text and value whatever. Not here: what a good file means (test_scenarios.py)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refresh_assets.core.scenarios import BEST_SHOCK, WORST_SHOCK, ScenarioSet, parse, read
from refresh_assets.errors import ScenarioFileError
from refresh_assets_tests.core.test_scenarios import GOOD, HEAD

S = "mine.toml: scenario 'crash': "
NUMBERED = "mine.toml: scenario 1: "
ID = (
    "expected at most 63 lower-case letters, digits and _, a letter first. "
    "Mend: give it an id such as 'market_down_10'."
)
RANGE = "expected a return from -1 to 2. Mend: write a fraction, not per cent: -10 % is -0.10."
KEYS = "expected id, name, category, severity, active, shocks. Mend: correct or remove the key."


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        # the file
        (GOOD, "", "mine.toml: factors is missing. Mend: add factors."),
        (GOOD, HEAD, "mine.toml: scenario is missing. Mend: add scenario."),
        (
            GOOD,
            "a = ",
            "mine.toml: not TOML: Invalid value (at end of document). Mend: correct the file at that place.",
        ),
        (
            "[factors]",
            "version = 1\n[factors]",
            "mine.toml: unknown key 'version', expected factors, scenario. Mend: correct or remove the key.",
        ),
        (
            GOOD,
            "scenario = []\n[factors]\nMarket = {}",
            "mine.toml: scenario is [], expected one table or more. Mend: head every scenario with [[scenario]].",
        ),
        (
            GOOD,
            "scenario = [1]\n[factors]\nMarket = {}",
            "mine.toml: scenario 1 is 1, expected a table. Mend: write scenario 1 as a table of keys and values.",
        ),
        (
            "active = true",
            "active = false",
            "mine.toml: no scenario is active. Mend: set active = true in at least one.",
        ),
        # factors
        (
            GOOD,
            "factors = 1\nscenario = []",
            "mine.toml: factors is 1, expected a table. Mend: write factors as a table of keys and values.",
        ),
        (
            GOOD,
            "scenario = []\n[factors]",
            'mine.toml: factors is empty. Mend: declare every factor that a scenario shocks, such as "Market" = {}.',
        ),
        (
            '"Market" = {}',
            '" " = {}',
            "mine.toml: factor name ' ' is blank or unprintable. Mend: name the factor as factor_definitions does.",
        ),
        (
            '"Market" = {}',
            '"Market" = 1',
            "mine.toml: factor 'Market': value is 1, expected a table. Mend: write value as a table of keys "
            "and values.",
        ),
        (
            "duration =",
            "years =",
            "mine.toml: factor 'Interest Rate': unknown key 'years', expected duration. Mend: correct or "
            "remove the key.",
        ),
        (
            "16.5",
            "0",
            "mine.toml: factor 'Interest Rate': duration is 0, expected years above 0. "
            "Mend: set it to the proxy's effective duration.",
        ),
        (
            "16.5",
            "inf",
            "mine.toml: factor 'Interest Rate': duration is inf, expected a finite number. "
            "Mend: write duration as a number such as 0.1.",
        ),
        # a scenario
        ('id = "crash"', "", NUMBERED + "id is missing. Mend: add id."),
        ('id = "crash"', 'id = "Crash 1"', NUMBERED + "id is 'Crash 1', " + ID),
        ('id = "crash"', 'id = "crash\\n"', NUMBERED + "id is 'crash\\n', " + ID),
        ('id = "crash"', "id = 7", NUMBERED + "id is 7, " + ID),
        (
            "boom",
            "crash",
            "mine.toml: scenario 2: id is 'crash', which an earlier scenario has. Mend: give it an id of its own.",
        ),
        ('category = "market"', "", S + "category is missing. Mend: add category."),
        ("severity =", "sevrity =", S + "unknown key 'sevrity', " + KEYS),
        (
            '"Crash"',
            '""',
            S + "name is '', expected a line of text. Mend: set name to what a report should call it.",
        ),
        (
            '"Crash"',
            '"a\\u0000b"',
            S + "name is 'a\\x00b', expected a line of text. Mend: set name to what a report should call it.",
        ),
        (
            '"market"',
            '"fx"',
            S + "category is 'fx', expected market, rates, style, volatility, liquidity or historical. "
            "Mend: set category to one of these.",
        ),
        (
            '"severe"',
            '"bad"',
            S + "severity is 'bad', expected mild, moderate, severe or extreme. Mend: set severity to one of these.",
        ),
        (
            "active = true",
            'active = "yes"',
            S + "active is 'yes', expected true or false. Mend: set active to true or false, without quotes.",
        ),
        # shocks
        (
            '"Market" = -0.2\n"Interest Rate" = { bp = -50 }',
            "",
            S + 'shocks is empty. Mend: add a line such as "Market" = -0.10 under [scenario.shocks].',
        ),
        (
            '"Market" = -0.2',
            '"Markets" = -0.2',
            S + "shock on factor 'Markets', which [factors] does not declare. "
            "Mend: correct the name, or declare it under [factors] (Market, Interest Rate).",
        ),
        ("-0.2", "-1.01", S + "shock on 'Market' is -1.01, " + RANGE),
        ("-0.2", "5", S + "shock on 'Market' is 5, " + RANGE),
        (
            "-0.2",
            "nan",
            S + "shock on 'Market' is nan, expected a finite number. "
            "Mend: write shock on 'Market' as a number such as 0.1.",
        ),
        (
            "-0.2",
            "true",
            S + "shock on 'Market' is True, expected a finite number. "
            "Mend: write shock on 'Market' as a number such as 0.1.",
        ),
        (
            "-0.2",
            '"-20 %"',
            S + "shock on 'Market' is '-20 %', expected a finite number. "
            "Mend: write shock on 'Market' as a number such as 0.1.",
        ),
        (
            "-0.2",
            "{ bp = 10 }",
            S
            + "shock on 'Market' is {'bp': 10}, but the factor has no duration. Mend: write the shock as a fraction of "
            "return, or give the factor { duration = YEARS } under [factors].",
        ),
        (
            "bp = -50",
            "bps = -50",
            S + "shock on 'Interest Rate': unknown key 'bps', expected bp. Mend: correct or remove the key.",
        ),
        ("{ bp = -50 }", "{}", S + "shock on 'Interest Rate': bp is missing. Mend: add bp."),
        (
            "bp = -50",
            "bp = -inf",
            S + "bp of the shock on 'Interest Rate' is -inf, expected a finite number. "
            "Mend: write bp of the shock on 'Interest Rate' as a number such as 0.1.",
        ),
        (
            "bp = -50",
            "bp = 700",
            S + "shock on 'Interest Rate' is {'bp': 700}, a return of -1.155, " + RANGE,
        ),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_place_field_value_and_mend(old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(ScenarioFileError) as refused:
        parse(GOOD.replace(old, new), "mine.toml")
    assert str(refused.value) == text
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_too_large_for_a_float_is_refused(digits: int) -> None:
    with pytest.raises(ScenarioFileError) as refused:
        parse(GOOD.replace("-0.2", "9" * digits), "mine.toml")
    assert len(str(refused.value)) < 300


def test_brackets_without_end_are_refused() -> None:
    with pytest.raises(ScenarioFileError, match=r"^mine\.toml: not TOML: "):
        parse("a = " + "[" * 100_000, "mine.toml")


TOKENS = [
    *"[]{}=\n\"'#,.-_ ",
    *GOOD.split(),
    "[[scenario]]",
    "[scenario.shocks]",
    "nan",
    "inf",
    "1e400",
    "1979-05-27",
    "é",
    "\x00",
]


@given(st.lists(st.sampled_from(TOKENS), max_size=40), st.integers(0, len(GOOD)), st.booleans())
def test_any_text_gives_a_set_or_a_refusal(tokens: list[str], at: int, spliced: bool) -> None:
    noise = " ".join(tokens)
    text = GOOD[:at] + noise + GOOD[at + len(noise) :] if spliced else noise
    try:
        scenarios = parse(text, "fuzz")
    except ScenarioFileError as refused:
        _is_one_line_with_a_mend(refused)
    else:
        _is_sound(scenarios)


@given(st.binary(max_size=60), st.integers(0, len(GOOD)))
def test_any_bytes_in_a_file_give_a_set_or_a_refusal(noise: bytes, at: int) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(GOOD[:at].encode() + noise + GOOD[at:].encode())
        file.flush()
        try:
            scenarios = read(Path(file.name))
        except ScenarioFileError as refused:
            _is_one_line_with_a_mend(refused, file.name)
        else:
            _is_sound(scenarios)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("bp"), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(["id", "name", "category", "severity", "active", "shocks", "Market", "duration"]), VALUES)
def test_any_value_in_any_field_gives_a_set_or_a_refusal(field: str, value: object) -> None:
    entry: dict[str, object] = {
        "id": "crash",
        "name": "Crash",
        "category": "market",
        "severity": "mild",
        "active": True,
        "shocks": {"Market": 0.1},
    }
    factors: dict[str, object] = {"Market": {}}
    if field == "Market":
        entry["shocks"] = {"Market": value}
    elif field == "duration":
        factors = {"Market": {"duration": value}}
    else:
        entry[field] = value
    text = f"scenario = [{_toml(entry)}]\nfactors = {_toml(factors)}"
    try:
        scenarios = parse(text, "fuzz")
    except ScenarioFileError as refused:
        _is_one_line_with_a_mend(refused)
    else:
        _is_sound(scenarios)


def _is_one_line_with_a_mend(refused: ScenarioFileError, source: str = "fuzz") -> None:
    assert str(refused).startswith(f"{source}: ")
    assert "\n" not in str(refused)
    assert "Mend: " in str(refused)


def _is_sound(scenarios: ScenarioSet) -> None:
    assert len({scenario.id for scenario in scenarios.scenarios}) == len(scenarios.scenarios)
    assert scenarios.active
    for scenario in scenarios.scenarios:
        assert set(scenario.shocks) <= set(scenarios.factors)
        assert all(WORST_SHOCK <= shock <= BEST_SHOCK for shock in scenario.shocks.values())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(char):08x}" for char in value) + '"'
    return str(value).lower() if isinstance(value, bool) else str(value)
