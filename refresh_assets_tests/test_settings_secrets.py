"""Promises about the settings that are secrets: they reach the drivers whole, and nobody else at all.

Here: what a URL means to psycopg and SQLAlchemy; texts, reprs and tracebacks without it. Not here: every other setting
(test_settings.py)."""

from __future__ import annotations

import copy
import json
import traceback
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine

from refresh_assets.errors import SettingsError
from refresh_assets.settings import Secret, Settings, load

PASSWORD = "hunter2secret"
URL = f"postgresql://risk:{PASSWORD}@db.example:5433/platform"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (
            "postgresql://u:p%40s%2Fx@h:5433/db",
            {"user": "u", "password": "p@s/x", "host": "h", "port": "5433", "dbname": "db"},
        ),
        ("postgres://u@h/db", {"user": "u", "host": "h", "dbname": "db"}),
        ("postgresql+psycopg://u@[::1]:5432/db", {"user": "u", "host": "::1", "port": "5432", "dbname": "db"}),
        (
            "postgresql://u@h/db?sslmode=require&options=-csearch_path%3Da+b",
            {"user": "u", "host": "h", "dbname": "db", "sslmode": "require", "options": "-csearch_path=a+b"},
        ),
        ("postgresql://postgres:@/db?host=/run/sock", {"user": "postgres", "host": "/run/sock", "dbname": "db"}),
        ("postgresql://u@%2Frun%2Fsock/db", {"user": "u", "host": "/run/sock", "dbname": "db"}),
        (
            "postgresql://u@h1:1,h2:2/db?target_session_attrs=any",
            {"user": "u", "host": "h1,h2", "port": "1,2", "dbname": "db", "target_session_attrs": "any"},
        ),
    ],
)
def test_psycopg_and_sqlalchemy_reach_the_same_database(url: str, parts: dict[str, str]) -> None:
    settings = Settings(database_url=url)
    assert settings.psycopg_url().startswith("postgresql://")
    assert conninfo_to_dict(settings.psycopg_url()) == parts
    engine = create_engine(settings.sqlalchemy_url())
    _, arguments = engine.dialect.create_connect_args(engine.url)
    arguments.pop("context")
    assert engine.driver == "psycopg"
    assert {key: str(value) for key, value in arguments.items() if value != ""} == parts


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{PASSWORD}@h/db",
        f"postgresql://u:{PASSWORD}/x@h/db",
        f"postgresql://u:{PASSWORD}#x@h/db",
        f"postgresql://u:{PASSWORD}?x@h/db",
        f"postgresql://u:{PASSWORD}@x@h/db",
        f"postgresql://u:{PASSWORD}%zz@h/db",
        f"postgresql://u:12/{PASSWORD}@h/db",
        f"postgresql://u:12?{PASSWORD}@h/db",
        f"postgresql://u:[{PASSWORD}@h:port/db",
        f"postgresql://u:{PASSWORD}@h:{'9' * 5000}/db",
        f"postgresql://u:{PASSWORD}\udcff@h/db",
        f"postgresql://u:{PASSWORD}@h/db?{PASSWORD}=1",
        PASSWORD,
    ],
)
def test_a_refused_url_shows_its_secret_nowhere(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REFRESH_DATABASE_URL", url)
    with pytest.raises(SettingsError) as raised:
        load()
    refused = raised.value
    told = "".join(traceback.format_exception(refused)) + repr(refused) + repr(refused.__context__)
    assert PASSWORD not in told + _with_locals(refused)
    for by_hand in (url, Secret(url)):
        with pytest.raises(ValueError, match=r".") as direct:
            Settings(database_url=by_hand)
        assert PASSWORD not in "".join(traceback.format_exception(direct.value)) + repr(direct.value)
        assert direct.value.__context__ is None
    assert PASSWORD not in _with_locals(direct.value)  # of the wrapped one, that is


def _with_locals(error: BaseException) -> str:
    """As a tool that shows local variables prints it, but for the frame of the test itself, which knows the URL."""
    assert error.__traceback__ is not None
    frames = error.__traceback__.tb_next
    assert frames is not None
    return "".join(traceback.TracebackException(type(error), error, frames, capture_locals=True).format())


def test_an_accepted_secret_shows_nowhere() -> None:
    settings = Settings(database_url=URL, alert_urls=f"slack://{PASSWORD}")
    fields = attrs.asdict(settings)
    told = f"{settings}{settings!r}{fields}{attrs.astuple(settings)}{json.dumps(fields, default=str)}"
    assert PASSWORD not in told
    assert settings.psycopg_url() == URL
    with pytest.raises(attrs.exceptions.FrozenInstanceError) as frozen:
        settings.database_url = None  # type: ignore[misc]
    assert PASSWORD not in str(frozen.value)


def test_a_secret_is_shown_by_no_form_and_known_by_its_text() -> None:
    """Not padded, not in a container, not attribute by attribute; only its own method gives it."""
    secret = Secret(PASSWORD)
    assert str(secret) == f"{secret}" == "**********"
    assert repr(secret) == "Secret('**********')"
    assert PASSWORD not in f"{[secret]}{ {secret: secret} }{secret!a}{json.dumps([secret], default=str)}"
    with pytest.raises(TypeError) as padded:
        f"{secret:>20}"
    with pytest.raises(TypeError) as dumped:
        json.dumps(secret)
    with pytest.raises(TypeError) as opened:
        vars(secret)
    for refused in (padded, dumped, opened):
        assert PASSWORD not in str(refused.value)
    assert secret.get_secret_value() == PASSWORD
    assert secret == Secret(PASSWORD) == copy.deepcopy(secret) != Secret("another")
    assert secret != PASSWORD
    assert len({secret, Secret(PASSWORD)}) == 1


@pytest.mark.parametrize("value", [5, PASSWORD.encode(), [PASSWORD]])
def test_what_is_no_text_is_refused_without_being_shown(value: Any) -> None:
    for field in ("database_url", "alert_urls"):
        with pytest.raises((TypeError, ValueError)) as refused:
            Settings(**{field: value})
        assert PASSWORD not in str(refused.value) + repr(refused.value)


@given(st.text(alphabet="abc0123456789:/@#?%[]=&,+. ", max_size=30))
def test_any_url_is_either_taken_by_both_drivers_or_refused_without_being_shown(rest: str) -> None:
    try:
        settings = Settings(database_url=f"postgresql://secret{rest}")
    except ValueError as error:
        refused = str(error)
    else:
        conninfo_to_dict(settings.psycopg_url())
        create_engine(settings.sqlalchemy_url())
        refused = ""
    assert "secret" not in refused
