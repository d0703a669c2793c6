"""Stress scenarios: what moves by how much.

Here: reading and checking the scenario file, turning basis points into returns, the packaged set. Not here: what a
scenario does to a portfolio (core/stress.py), where a user's file is configured (settings.py)."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final, NoReturn

from refresh_assets.errors import ScenarioFileError

BASIS_POINTS: Final = 10_000  # in 1; divided by, as 0.0001 is no exact number and 10,000 is
CATEGORIES: Final = ("market", "rates", "style", "volatility", "liquidity", "historical")
SEVERITIES: Final = ("mild", "moderate", "severe", "extreme")
WORST_SHOCK: Final = -1.0  # a factor's proxy cannot lose more than all of itself
BEST_SHOCK: Final = 2.0  # far beyond any year of any of the proxies; +5 is a per cent figure by mistake
PACKAGED_FILE: Final = "stress_scenarios.toml"

_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LONGEST_NAME = 200  # characters
_LONGEST_VALUE_SHOWN = 60  # characters; an error is one line
_SCENARIO_KEYS = ("id", "name", "category", "severity", "active", "shocks")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario; `shocks` is factor name -> simple return of the factor, as a fraction (-0.10 is -10 %)."""

    id: str
    name: str
    category: str
    severity: str
    active: bool
    shocks: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class ScenarioSet:
    """A checked scenario file.

    `factors` is factor name -> duration in years, None where a shock in basis points has no meaning; `scenarios` are in
    the order of the file; `digest` is a SHA-256 of what the active scenarios say, whatever their order and comments.
    """

    factors: Mapping[str, float | None]
    scenarios: tuple[Scenario, ...]
    digest: str

    @property
    def active(self) -> tuple[Scenario, ...]:
        """The scenarios that are computed each night, in the order of the file."""
        return tuple(scenario for scenario in self.scenarios if scenario.active)


def packaged() -> ScenarioSet:
    """The scenarios that come with the package (spec section 8)."""
    return parse(resources.files("refresh_assets").joinpath(PACKAGED_FILE).read_text("utf-8"), PACKAGED_FILE)


def read(path: Path) -> ScenarioSet:
    """The scenarios of a user's file.

    Raises:
        ScenarioFileError: the file cannot be read, is not UTF-8, or says something that cannot be used.
    """
    try:
        text = path.read_text("utf-8-sig")  # editors on Windows put a mark in front
    except OSError as error:
        problem = f"{path}: cannot be read ({error.strerror})"
    except UnicodeDecodeError as error:
        problem = f"{path}: is not UTF-8 from byte {error.start} on"
    else:
        return parse(text, str(path))
    raise ScenarioFileError(problem, "name a readable TOML file in UTF-8")


def configured(file: Path | None) -> ScenarioSet:
    """Those of a user's file where there is one, else the packaged ones."""
    return read(file) if file else packaged()


def parse(text: str, source: str) -> ScenarioSet:
    """The scenarios that a TOML text holds, every one checked.

    Args:
        text: TOML of the form of spec section 8: `[factors]`, then one `[[scenario]]` after the other.
        source: what to call the text in an error, its file name.

    Raises:
        ScenarioFileError: at the first thing that cannot be used; names source, scenario, field, value and mend.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # besides TOML's own: integers of 4,300 digits, brackets 1,000 deep
        detail = " ".join(str(error).split())
        raise ScenarioFileError(f"{source}: not TOML: {detail}", "correct the file at that place") from None
    top = _Place(source)
    top.keys(content, ("factors", "scenario"))
    factors = _factors(content["factors"], top)
    scenarios = _scenarios(content["scenario"], factors, top)
    return ScenarioSet(factors, scenarios, _digest(scenario for scenario in scenarios if scenario.active))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in a file we are; words every refusal."""

    name: str

    def within(self, name: str) -> _Place:
        return _Place(f"{self.name}: {name}")

    def refuse(self, what: str, mend: str) -> NoReturn:
        raise ScenarioFileError(f"{self.name}: {what}", mend)

    def table(self, value: object, field: str) -> dict[str, object]:
        if not isinstance(value, dict):
            self.refuse(f"{field} is {_shown(value)}, expected a table", f"write {field} as a table of keys and values")
        return value

    def keys(self, table: Mapping[str, object], wanted: tuple[str, ...]) -> None:
        for key in table:
            if key not in wanted:
                self.refuse(f"unknown key {_shown(key)}, expected {', '.join(wanted)}", "correct or remove the key")
        for key in wanted:
            if key not in table:
                self.refuse(f"{key} is missing", f"add {key}")

    def number(self, value: object, field: str) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:  # TOML's integers have no end
                number = math.inf
            if math.isfinite(number):
                return number + 0.0  # -0.0 becomes 0.0: the same shock, the same digest
        self.refuse(f"{field} is {_shown(value)}, expected a finite number", f"write {field} as a number such as 0.1")

    def one_of(self, value: object, field: str, choices: tuple[str, ...]) -> str:
        if not isinstance(value, str) or value not in choices:
            expected = f"{', '.join(choices[:-1])} or {choices[-1]}"
            self.refuse(f"{field} is {_shown(value)}, expected {expected}", f"set {field} to one of these")
        return value


def _factors(value: object, top: _Place) -> dict[str, float | None]:
    factors: dict[str, float | None] = {}
    for name, entry in top.table(value, "factors").items():
        if not _is_name(name):
            top.refuse(
                f"factor name {_shown(name)} is blank or unprintable", "name the factor as factor_definitions does"
            )
        place = top.within(f"factor {name!r}")
        properties = place.table(entry, "value")
        if properties:
            place.keys(properties, ("duration",))
        factors[name] = _duration(properties["duration"], place) if properties else None
    if not factors:
        top.refuse("factors is empty", 'declare every factor that a scenario shocks, such as "Market" = {}')
    return factors


def _duration(value: object, place: _Place) -> float:
    duration = place.number(value, "duration")
    if duration <= 0:
        place.refuse(f"duration is {_shown(value)}, expected years above 0", "set it to the proxy's effective duration")
    return duration


def _scenarios(value: object, factors: Mapping[str, float | None], top: _Place) -> tuple[Scenario, ...]:
    if not isinstance(value, list) or not value:
        top.refuse(f"scenario is {_shown(value)}, expected one table or more", "head every scenario with [[scenario]]")
    scenarios: dict[str, Scenario] = {}
    for number, entry in enumerate(value, start=1):
        scenario = _scenario(top.table(entry, f"scenario {number}"), factors, top, number)
        if scenario.id in scenarios:
            top.refuse(
                f"scenario {number}: id is {scenario.id!r}, which an earlier scenario has", "give it an id of its own"
            )
        scenarios[scenario.id] = scenario
    if not any(scenario.active for scenario in scenarios.values()):
        top.refuse("no scenario is active", "set active = true in at least one")
    return tuple(scenarios.values())


def _scenario(entry: dict[str, object], factors: Mapping[str, float | None], top: _Place, number: int) -> Scenario:
    by_number = top.within(f"scenario {number}")
    if "id" not in entry:
        by_number.refuse("id is missing", "add id")
    identity = entry["id"]
    if not isinstance(identity, str) or not _ID.fullmatch(identity):
        by_number.refuse(
            f"id is {_shown(identity)}, expected at most 63 lower-case letters, digits and _, a letter first",
            "give it an id such as 'market_down_10'",
        )
    place = top.within(f"scenario {identity!r}")
    place.keys(entry, _SCENARIO_KEYS)
    name, active = entry["name"], entry["active"]
    if not isinstance(name, str) or not _is_name(name):
        place.refuse(f"name is {_shown(name)}, expected a line of text", "set name to what a report should call it")
    if not isinstance(active, bool):
        place.refuse(
            f"active is {_shown(active)}, expected true or false", "set active to true or false, without quotes"
        )
    return Scenario(
        id=identity,
        name=name,
        category=place.one_of(entry["category"], "category", CATEGORIES),
        severity=place.one_of(entry["severity"], "severity", SEVERITIES),
        active=active,
        shocks=_shocks(place.table(entry["shocks"], "shocks"), factors, place),
    )


def _shocks(entry: dict[str, object], factors: Mapping[str, float | None], place: _Place) -> dict[str, float]:
    if not entry:
        place.refuse("shocks is empty", 'add a line such as "Market" = -0.10 under [scenario.shocks]')
    shocks: dict[str, float] = {}
    for factor, value in entry.items():
        if factor not in factors:
            place.refuse(
                f"shock on factor {_shown(factor)}, which [factors] does not declare",
                f"correct the name, or declare it under [factors] ({', '.join(factors)})",
            )
        shocks[factor] = _shock(value, factor, factors[factor], place)
    return shocks


def _shock(value: object, factor: str, duration: float | None, place: _Place) -> float:
    """The simple return that a shock means, as a fraction: -duration * bp / 10000 where it is in basis points."""
    field = f"shock on {factor!r}"
    if isinstance(value, dict):
        place.within(field).keys(value, ("bp",))
        basis_points = place.number(value["bp"], f"bp of the {field}")
        if duration is None:
            place.refuse(
                f"{field} is {_shown(value)}, but the factor has no duration",
                "write the shock as a fraction of return, or give the factor { duration = YEARS } under [factors]",
            )
        shock = -duration * basis_points / BASIS_POINTS + 0.0
    else:
        shock = place.number(value, field)
    if not WORST_SHOCK <= shock <= BEST_SHOCK:
        meaning = f", a return of {shock:g}" if isinstance(value, dict) else ""
        place.refuse(
            f"{field} is {_shown(value)}{meaning}, expected a return from {WORST_SHOCK:g} to {BEST_SHOCK:g}",
            "write a fraction, not per cent: -10 % is -0.10",
        )
    return shock


def _digest(scenarios: Iterable[Scenario]) -> str:
    content = [
        [scenario.id, scenario.name, scenario.category, scenario.severity, sorted(scenario.shocks.items())]
        for scenario in sorted(scenarios, key=lambda scenario: scenario.id)
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def _is_name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= _LONGEST_NAME


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_VALUE_SHOWN else f"{text[:_LONGEST_VALUE_SHOWN]}..."
