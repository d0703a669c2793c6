"""Promises about the settings that are secrets: they reach the drivers whole, and nobody else at all.

Here: what a URL means to psycopg and SQLAlchemy; texts, reprs and tracebacks without it. Not here: every other setting
(test_settings.py)."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError
from sqlalchemy import create_engine

from refresh_assets.errors import SettingsError
from refresh_assets.settings import Settings, load

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
    settings = Settings(database_url=url)  # type: ignore[arg-type]
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
    frames = refused.__traceback__
    while frames is not None and frames.tb_frame.f_code is not load.__code__:  # this test's own frames know the URL
        frames = frames.tb_next
    assert frames is not None
    told += "".join(traceback.TracebackException(type(refused), refused, frames, capture_locals=True).format())
    assert PASSWORD not in told
    with pytest.raises(ValidationError) as direct:
        Settings(database_url=url)  # type: ignore[arg-type]
    assert PASSWORD not in str(direct.value) + repr(direct.value.errors())


def test_an_accepted_secret_shows_nowhere() -> None:
    settings = Settings(database_url=URL, alert_urls=f"slack://{PASSWORD}")  # type: ignore[arg-type]
    told = f"{settings}{settings!r}{settings.model_dump()}{settings.model_dump_json()}"
    assert PASSWORD not in told
    assert settings.psycopg_url() == URL
    with pytest.raises(ValidationError) as frozen:
        settings.database_url = None
    assert PASSWORD not in str(frozen.value)


@given(st.text(alphabet="abc0123456789:/@#?%[]=&,+. ", max_size=30))
def test_any_url_is_either_taken_by_both_drivers_or_refused_without_being_shown(rest: str) -> None:
    try:
        settings = Settings(database_url=f"postgresql://secret{rest}")  # type: ignore[arg-type]
    except ValidationError as error:
        refused = str(error).replace("SecretStr", "")
    else:
        conninfo_to_dict(settings.psycopg_url())
        create_engine(settings.sqlalchemy_url())
        refused = ""
    assert "secret" not in refused
