"""Promises about the settings: defaults, what is read, and refusals by name.

Here: the environment as a person sets it, whole texts of what is refused. Not here: secrets and what a URL means
(test_settings_secrets.py), what a setting does."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest

from refresh_assets.errors import SettingsError
from refresh_assets.settings import Secret, Settings, load, variable

PASSWORD = "hunter2secret"
URL = f"postgresql://risk:{PASSWORD}@db.example:5433/platform"
FIELDS = attrs.fields_dict(Settings)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("REFRESH_"):
            monkeypatch.delenv(name)


def _refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> SettingsError:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert refused.value.exit_code == 2
    return refused.value


def test_without_any_variable_every_setting_has_the_default_of_the_spec() -> None:
    assert attrs.asdict(load(), recurse=False) == {
        "database_url": None,
        "schema_name": "public",
        "platform_schema": "public",
        "start_date": date(2020, 1, 2),
        "extra_closures": (),
        "gate_deadline_minutes": 60,
        "gate_interval_seconds": 30,
        "onboarding_wait_seconds": 120,
        "min_price_coverage": 0.80,
        "failure_alert_fraction": 0.10,
        "correlation_max_symbols": 100,
        "max_heal_days": 250,
        "scenarios_file": None,
        "alert_urls": (),
        "dask_scheduler": None,
    }


def test_every_variable_reaches_its_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "scenarios.toml"
    file.touch()
    for name, value in {
        "DATABASE_URL": URL,
        "SCHEMA": "risk_tables",
        "PLATFORM_SCHEMA": "refresh_views",
        "START_DATE": "2021-01-04",
        "EXTRA_CLOSURES": " 2031-01-10,2030-05-06  2031-01-10, ",
        "GATE_DEADLINE_MINUTES": "90",
        "GATE_INTERVAL_SECONDS": "60",
        "ONBOARDING_WAIT_SECONDS": "0",
        "MIN_PRICE_COVERAGE": "0.95",
        "FAILURE_ALERT_FRACTION": "0",
        "CORRELATION_MAX_SYMBOLS": "50",
        "MAX_HEAL_DAYS": "20",
        "SCENARIOS_FILE": str(file),
        "ALERT_URLS": "mailto://u:p@x.org?to=a@x.org,b@x.org, slack://token  json://host/path",
        "DASK_SCHEDULER": "tcp://dask:8786",
    }.items():
        monkeypatch.setenv(f"REFRESH_{name}", value)
    settings = load()
    assert {variable(field) for field in FIELDS} == {k for k in os.environ if k.startswith("REFRESH_")}
    assert settings.require_database_url().get_secret_value() == URL
    assert [url.get_secret_value() for url in settings.alert_urls] == [
        "mailto://u:p@x.org?to=a@x.org,b@x.org",
        "slack://token",
        "json://host/path",
    ]
    no_secret = attrs.filters.exclude("database_url", "alert_urls")
    assert attrs.asdict(settings, recurse=False, filter=no_secret) == {
        "schema_name": "risk_tables",
        "platform_schema": "refresh_views",
        "start_date": date(2021, 1, 4),
        "extra_closures": (date(2030, 5, 6), date(2031, 1, 10)),
        "gate_deadline_minutes": 90,
        "gate_interval_seconds": 60,
        "onboarding_wait_seconds": 0,
        "min_price_coverage": 0.95,
        "failure_alert_fraction": 0.0,
        "correlation_max_symbols": 50,
        "max_heal_days": 20,
        "scenarios_file": file,
        "dask_scheduler": "tcp://dask:8786",
    }


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in FIELDS:
        monkeypatch.setenv(variable(field), "")
    assert load() == Settings()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (
            "SCHEMA",
            "Risk",
            "REFRESH_SCHEMA is 'Risk', expected the plain lower-case name of the schema of our tables: not lower-case "
            "letters, digits and _, at most 63 of them, with no digit first. "
            "Mend: correct REFRESH_SCHEMA, or unset it (default public).",
        ),
        (
            "SCHEMA",
            "dagster",
            "REFRESH_SCHEMA is 'dagster', expected the plain lower-case name of the schema of our tables: "
            "Dagster's own "
            "storage lives in that schema. Mend: correct REFRESH_SCHEMA, or unset it (default public).",
        ),
        (
            "PLATFORM_SCHEMA",
            "pg_catalog",
            "REFRESH_PLATFORM_SCHEMA is 'pg_catalog', expected the plain lower-case name of the platform's schema: "
            "PostgreSQL keeps that name for itself. "
            "Mend: correct REFRESH_PLATFORM_SCHEMA, or unset it (default public).",
        ),
        (
            "START_DATE",
            "1577923200",
            "REFRESH_START_DATE is '1577923200', expected a date YYYY-MM-DD from 1970 to 2100: '1577923200' is not "
            "YYYY-MM-DD. Mend: correct REFRESH_START_DATE, or unset it (default 2020-01-02).",
        ),
        (
            "START_DATE",
            "1969-12-31",
            "REFRESH_START_DATE is '1969-12-31', expected a date YYYY-MM-DD from 1970 to 2100. "
            "Mend: correct REFRESH_START_DATE, or unset it (default 2020-01-02).",
        ),
        (
            "EXTRA_CLOSURES",
            "2030-01-04, 2030-02-30",
            "REFRESH_EXTRA_CLOSURES is '2030-01-04, 2030-02-30', expected dates YYYY-MM-DD divided by commas "
            "or spaces: "
            "'2030-02-30' is no day of the calendar. "
            "Mend: correct REFRESH_EXTRA_CLOSURES, or unset it (it has no default).",
        ),
        (
            "GATE_DEADLINE_MINUTES",
            "an hour",
            "REFRESH_GATE_DEADLINE_MINUTES is 'an hour', expected a whole number of minutes from 0 to 1440. "
            "Mend: correct REFRESH_GATE_DEADLINE_MINUTES, or unset it (default 60).",
        ),
        (
            "GATE_INTERVAL_SECONDS",
            "301",
            "REFRESH_GATE_INTERVAL_SECONDS is '301', expected a whole number of seconds from 1 to 300. "
            "Mend: correct REFRESH_GATE_INTERVAL_SECONDS, or unset it (default 30).",
        ),
        (
            "ONBOARDING_WAIT_SECONDS",
            "-1",
            "REFRESH_ONBOARDING_WAIT_SECONDS is '-1', expected a whole number of seconds from 0 to 3600. "
            "Mend: correct REFRESH_ONBOARDING_WAIT_SECONDS, or unset it (default 120).",
        ),
        (
            "MIN_PRICE_COVERAGE",
            "80",
            "REFRESH_MIN_PRICE_COVERAGE is '80', expected a fraction from 0 to 1. "
            "Mend: correct REFRESH_MIN_PRICE_COVERAGE, or unset it (default 0.8).",
        ),
        (
            "FAILURE_ALERT_FRACTION",
            "nan",
            "REFRESH_FAILURE_ALERT_FRACTION is 'nan', expected a fraction from 0 to 1. "
            "Mend: correct REFRESH_FAILURE_ALERT_FRACTION, or unset it (default 0.1).",
        ),
        (
            "CORRELATION_MAX_SYMBOLS",
            "1",
            "REFRESH_CORRELATION_MAX_SYMBOLS is '1', expected a whole number of symbols from 2 to 1000. "
            "Mend: correct REFRESH_CORRELATION_MAX_SYMBOLS, or unset it (default 100).",
        ),
        (
            "MAX_HEAL_DAYS",
            "0",
            "REFRESH_MAX_HEAL_DAYS is '0', expected a whole number of days from 1 to 25000. "
            "Mend: correct REFRESH_MAX_HEAL_DAYS, or unset it (default 250).",
        ),
        (
            "SCENARIOS_FILE",
            "no/such.toml",
            "REFRESH_SCENARIOS_FILE is 'no/such.toml', expected the path of a readable file of stress "
            "scenarios: there is "
            "no such file. Mend: correct REFRESH_SCENARIOS_FILE, or unset it (it has no default).",
        ),
        (
            "DASK_SCHEDULER",
            "dask:8786\nx",
            "REFRESH_DASK_SCHEDULER is 'dask:8786\\nx', expected the address of a Dask scheduler such as "
            "tcp://HOST:8786: "
            "it does not start with one of tcp://, tls://, ws://, wss://, ucx://, inproc://. "
            "Mend: correct REFRESH_DASK_SCHEDULER, or unset it (it has no default).",
        ),
        (
            "DATABASE_URL",
            f"mysql://risk:{PASSWORD}@host/db",
            "REFRESH_DATABASE_URL cannot be used, expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE: it does not "
            "start with postgresql://. Mend: correct REFRESH_DATABASE_URL, or unset it (it has no default).",
        ),
        (
            "DATABASE_URL",
            f"postgresql://risk:{PASSWORD}@host:70000/db",
            "REFRESH_DATABASE_URL cannot be used, expected postgresql://USER:PASSWORD@HOST:PORT/DATABASE: "
            "the port is not "
            "between 1 and 65535. Mend: correct REFRESH_DATABASE_URL, or unset it (it has no default).",
        ),
        (
            "ALERT_URLS",
            f"json://host, slack://token {PASSWORD}",
            "REFRESH_ALERT_URLS cannot be used, expected apprise URLs such as mailto://..., divided by "
            "commas or spaces: "
            "URL 2 of 2 is not a service, :// and an address without blanks. "
            "Mend: correct REFRESH_ALERT_URLS, or unset it (it has no default).",
        ),
        (
            "ALERT_URLS",
            PASSWORD,
            "REFRESH_ALERT_URLS cannot be used, expected apprise URLs such as mailto://..., divided by "
            "commas or spaces: "
            "URL 1 of 1 is not a service, :// and an address without blanks. "
            "Mend: correct REFRESH_ALERT_URLS, or unset it (it has no default).",
        ),
        (
            "START_DAY",
            PASSWORD,
            "REFRESH_START_DAY is no setting of the refresh. Mend: rename it to REFRESH_START_DATE, or unset it.",
        ),
        (
            "DATABSE_URL",
            URL,
            "REFRESH_DATABSE_URL is no setting of the refresh. Mend: rename it to REFRESH_DATABASE_URL, or unset it.",
        ),
    ],
)
def test_a_wrong_value_is_refused_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    refused = str(_refusal(monkeypatch, **{f"REFRESH_{name}": value}))
    assert refused == text
    assert "\n" not in refused


def test_a_name_like_no_other_lists_all_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(_refusal(monkeypatch, REFRESH_ZZZ="1"))
    names = ", ".join(variable(field) for field in FIELDS)
    assert text == f"REFRESH_ZZZ is no setting of the refresh. Mend: unset it; there are {names}."


def test_several_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(_refusal(monkeypatch, REFRESH_SCHEMA="1a", REFRESH_MAX_HEAL_DAYS="x", REFRESH_START_DATE="now"))
    assert "REFRESH_SCHEMA is '1a'" in text
    assert "(also wrong: REFRESH_START_DATE, REFRESH_MAX_HEAL_DAYS)" in text


def test_a_long_value_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(_refusal(monkeypatch, REFRESH_GATE_INTERVAL_SECONDS="9" * 10_000))
    assert len(text) < 300


def test_variables_of_opentelemetry_and_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317")
    monkeypatch.setenv("DATABASE_URL", "mysql://somebody/else")
    assert load() == Settings()


def test_loading_the_settings_loads_no_pydantic() -> None:
    """Every command starts with them, and it is slow to import."""
    code = "import sys, refresh_assets.settings as s; print(s.load().max_heal_days, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["250", "False"]


def test_values_given_by_hand_are_checked_as_texts_are(tmp_path: Path) -> None:
    """Tests and other code make settings of what they have; a name or type that is no field's is refused."""
    closures = [date(2031, 1, 10), date(2030, 5, 6), date(2031, 1, 10)]
    settings = Settings(extra_closures=closures, min_price_coverage=1, database_url=Secret(URL), alert_urls=["a://b"])
    assert settings.extra_closures == (date(2030, 5, 6), date(2031, 1, 10))
    assert repr(settings.min_price_coverage) == "1.0"
    assert settings.alert_urls == (Secret("a://b"),)
    wrong: list[dict[str, Any]] = [
        {"max_heal_days": 0},
        {"min_price_coverage": 1.5},
        {"start_date": date(1969, 12, 31)},
        {"schema_name": "dagster"},
        {"scenarios_file": tmp_path},
        {"alert_urls": ["b"]},
    ]
    for one in wrong:
        with pytest.raises(ValueError, match=r"."):
            Settings(**one)
    wrong = [
        {"max_heal_days": 9.5},
        {"max_heal_days": None},
        {"extra_closures": [5]},
        {"start_date": 5},
        {"heal_days": 9},
    ]
    for one in wrong:
        with pytest.raises(TypeError):
            Settings(**one)


def test_a_missing_database_is_named_with_its_mend() -> None:
    for ask in (load().require_database_url, load().psycopg_url, load().sqlalchemy_url):
        with pytest.raises(SettingsError) as refused:
            ask()
        assert str(refused.value) == (
            "REFRESH_DATABASE_URL is not set. Mend: set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
            "`refresh-assets demo` needs none."
        )
