"""The environment, read once and checked.

Here: every setting (`REFRESH_*`) with its type, range and default, secrets wrapped, and the one line that says what is
wrong with a value. Not here: opening what a setting points to (store/, automation/alerts.py), the content of the
scenario file (core/scenarios.py), `OTEL_*` (OpenTelemetry reads those itself)."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote, unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from refresh_assets.errors import SettingsError

PREFIX: Final = "REFRESH_"
DAGSTER_SCHEMA: Final = "dagster"
"""Schema of Dagster's own storage; it has migrations of its own, so our tables may not share it."""

_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_DASK_SCHEMES = ("tcp", "tls", "ws", "wss", "ucx", "inproc")
_SECRETS = ("database_url", "alert_urls")
_LONGEST_VALUE_SHOWN = 80  # characters; an error is one line


def _wrapped(value: object) -> object:
    # Wrapped before anything is checked: pydantic keeps the input of a failed check in its error.
    return SecretStr(value.strip()) if isinstance(value, str) else value


def _database_url(secret: SecretStr) -> SecretStr:
    from psycopg import ProgrammingError, conninfo  # loads libpq: only where there is a database

    url = secret.get_secret_value()
    _split_database_url(url)
    try:
        conninfo.conninfo_to_dict(_plain(url))
    except ProgrammingError:  # libpq's own words quote the part that it dislikes, be it the password
        raise ValueError(
            "PostgreSQL's client library cannot read it (a % that encodes nothing, a wrong option)"
        ) from None
    return secret


def _plain(url: str) -> str:
    return f"postgresql://{url.partition('://')[2]}"


def _split_database_url(url: str) -> tuple[str, list[str], str]:
    """User part with its `@` (or empty), hosts with their ports, and path with query; messages never quote the URL."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise ValueError("it does not start with postgresql://")
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(netloc) :]
    user, at, hosts = netloc.rpartition("@")
    ports = [re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(\d+))?", host) for host in hosts.split(",")]
    # An @ after the host means that a / or ? of the password was taken for the end of the host.
    misplaced_at = "@" in user or "@" in (tail.partition("?")[0] if at else tail)
    if misplaced_at or "#" in tail or None in ports:
        raise ValueError(
            "user, password, host and port cannot be told apart; write / : @ # ? in a password as %2F and so on"
        )
    if any(port is not None and port[1] and not 0 < int(port[1]) < 2**16 for port in ports):
        raise ValueError("the port is not between 1 and 65535")
    return user + at, hosts.split(","), tail


def _alert_urls(value: object) -> object:
    if not isinstance(value, str):
        return value
    # A comma may be part of an apprise URL (several recipients): only one before the next scheme:// divides.
    return tuple(SecretStr(url) for url in re.split(r"[\s,]+(?=[A-Za-z][\w+.-]*://)", value.strip(" \t\n,")) if url)


def _every_alert_url(urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for number, url in enumerate(urls, start=1):
        if not re.fullmatch(r"[A-Za-z][\w+.-]*://\S+", url.get_secret_value()):
            raise ValueError(f"URL {number} of {len(urls)} is not a service, :// and an address without blanks")
    return urls


def _iso_date(value: object) -> object:
    # pydantic alone would also take seconds since 1970 and instants.
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError(f"{_shortened(text)} is not YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no day of the calendar") from None


def _iso_dates(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [_iso_date(text) for text in re.split(r"[\s,]+", value) if text]


def _sorted_once(days: tuple[date, ...]) -> tuple[date, ...]:
    return tuple(sorted(set(days)))


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value, re.ASCII):
        raise ValueError("not lower-case letters, digits and _, at most 63 of them, with no digit first")
    if value.startswith("pg_") or value == "information_schema":
        raise ValueError("PostgreSQL keeps that name for itself")
    return value


def _not_dagsters(value: str) -> str:
    if value == DAGSTER_SCHEMA:
        raise ValueError("Dagster's own storage lives in that schema")
    return value


def _readable_file(path: Path) -> Path:
    if not os.path.isfile(path):
        raise ValueError("that is not a file" if os.path.exists(path) else "there is no such file")
    if not os.access(path, os.R_OK):
        raise ValueError("that file may not be read")
    return path


def _dask_address(value: str) -> str:
    if not re.fullmatch(rf"({'|'.join(_DASK_SCHEMES)})://\S+", value):
        raise ValueError(f"it does not start with one of {', '.join(scheme + '://' for scheme in _DASK_SCHEMES)}")
    return value


Schema = Annotated[str, AfterValidator(_identifier)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Settings(BaseModel):
    """Every setting of the refresh; `load()` reads it from the environment and words what is wrong.

    The description of a field says what is expected of it: error messages and documentation read it there.
    Source: spec section 14.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, populate_by_name=True, defer_build=True
    )

    database_url: Annotated[SecretStr, AfterValidator(_database_url), BeforeValidator(_wrapped)] | None = Field(
        default=None, description="postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
    )
    # `schema` alone is a method of pydantic's models
    schema_name: Annotated[Schema, AfterValidator(_not_dagsters)] = Field(
        default="public",
        validation_alias=f"{PREFIX}SCHEMA",
        description="the plain lower-case name of the schema of our tables",
    )
    platform_schema: Schema = Field(default="public", description="the plain lower-case name of the platform's schema")
    start_date: Annotated[date, BeforeValidator(_iso_date)] = Field(
        default=date(2020, 1, 2),
        ge=date(1970, 1, 1),
        le=date(2100, 12, 31),
        description="a date YYYY-MM-DD from 1970 to 2100",
    )
    extra_closures: Annotated[tuple[date, ...], BeforeValidator(_iso_dates), AfterValidator(_sorted_once)] = Field(
        default=(), description="dates YYYY-MM-DD divided by commas or spaces"
    )
    gate_deadline_minutes: int = Field(
        default=60, ge=0, le=1440, description="a whole number of minutes from 0 to 1440"
    )
    gate_interval_seconds: int = Field(default=30, ge=1, le=300, description="a whole number of seconds from 1 to 300")
    onboarding_wait_seconds: int = Field(
        default=120, ge=0, le=3600, description="a whole number of seconds from 0 to 3600"
    )
    min_price_coverage: Fraction = Field(default=0.80, description="a fraction from 0 to 1")
    failure_alert_fraction: Fraction = Field(default=0.10, description="a fraction from 0 to 1")
    correlation_max_symbols: int = Field(
        default=100, ge=2, le=1000, description="a whole number of symbols from 2 to 1000"
    )
    max_heal_days: int = Field(default=250, ge=1, le=25_000, description="a whole number of days from 1 to 25000")
    scenarios_file: Annotated[Path, AfterValidator(_readable_file)] | None = Field(
        default=None, description="the path of a readable file of stress scenarios"
    )
    alert_urls: Annotated[tuple[SecretStr, ...], BeforeValidator(_alert_urls), AfterValidator(_every_alert_url)] = (
        Field(default=(), description="apprise URLs such as mailto://..., divided by commas or spaces")
    )
    dask_scheduler: Annotated[str, AfterValidator(_dask_address)] | None = Field(
        default=None, description="the address of a Dask scheduler such as tcp://HOST:8786"
    )

    def require_database_url(self) -> SecretStr:
        """The database's URL, still wrapped.

        Raises:
            SettingsError: there is none.
        """
        if self.database_url is None:
            raise SettingsError(
                what="REFRESH_DATABASE_URL is not set",
                mend="set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE; `refresh-assets demo` needs none",
            )
        return self.database_url

    def psycopg_url(self) -> str:
        """The URL as libpq and psycopg take it, password included: to be handed on, never logged.

        Raises:
            SettingsError: no database is set.
        """
        return _plain(self.require_database_url().get_secret_value())

    def sqlalchemy_url(self) -> str:
        """The URL as SQLAlchemy takes it, with psycopg 3 as driver, password included: to be handed on, never logged.

        Raises:
            SettingsError: no database is set.
        """
        user, hosts, tail = _split_database_url(self.require_database_url().get_secret_value())
        path, mark, query = tail.partition("?")
        query = query.replace("+", "%2B")  # libpq reads a plus as itself, SQLAlchemy as a blank
        if len(hosts) > 1 or "%" in hosts[0]:  # several hosts, or a socket's folder: SQLAlchemy wants them in the query
            query = "&".join([f"host={quote(unquote(host), safe=':')}" for host in hosts] + [query] * bool(query))
            mark, hosts = "?", [""]
        return f"postgresql+psycopg://{user}{hosts[0]}{path or '/' * bool(mark)}{mark}{query}"


def _build() -> None:
    """Make the model's validator without pydantic's plugins: the first one made looks for them in the metadata of every
    installed distribution, a fifth of what loading this module takes, and none of them is to see a secret."""
    before = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = "__all__"
    try:
        Settings.model_rebuild()
    finally:
        # Not for the models of others, such as Dagster's, nor for processes that this one starts.
        if before is None:
            del os.environ[_PLUGINS]
        else:
            os.environ[_PLUGINS] = before


_PLUGINS: Final = "PYDANTIC_DISABLE_PLUGINS"
_build()


def load() -> Settings:
    """The settings of this process's environment.

    Raises:
        SettingsError: a value cannot be used, or a `REFRESH_*` variable is no setting; one line that names the
            variable, its value unless it is a secret, and the mend.
    """
    _refuse_unknown(os.environ)
    try:
        # Without a name of its own here: a traceback may show the local variables of this function.
        return Settings.model_validate(_given(os.environ))
    except ValidationError as error:
        wrong = error.errors(include_url=False)
    # Raised out here, so that no traceback leads back to an error that knows the input.
    raise _in_words(wrong)


def variable(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{field.upper()}"


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    """Field -> text; compose files pass unset variables on as empty ones."""
    texts = {name.upper(): text for name, text in environment.items() if text}
    return {field: texts[variable(field)] for field in Settings.model_fields if variable(field) in texts}


def _refuse_unknown(names: Iterable[str]) -> None:
    known = [variable(field) for field in Settings.model_fields]
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            # Compared without the prefix, which would make everything look alike.
            near = difflib.get_close_matches(
                name.upper().removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], n=1
            )
            raise SettingsError(
                what=f"{name if name.isprintable() and len(name) < 64 else _shortened(name)} is no setting of the refresh",
                mend=f"rename it to {PREFIX}{near[0]}, or unset it"
                if near
                else f"unset it; there are {', '.join(known)}",
            )


def _in_words(wrong: list[ErrorDetails]) -> SettingsError:
    fields = {variable(field): field for field in Settings.model_fields}
    names = [str(error["loc"][0]) for error in wrong]
    names = [name if name in fields else variable(name) for name in names]
    first, field = wrong[0], fields[names[0]]
    info = Settings.model_fields[field]
    shown = "cannot be used" if field in _SECRETS else f"is {_shortened(first['input'])}"
    also = list(dict.fromkeys(name for name in names if name != names[0]))
    return SettingsError(
        what=f"{names[0]} {shown}, expected {info.description}{_reason(first)}"
        + (f" (also wrong: {', '.join(also)})" if also else ""),
        mend=f"correct {names[0]}, or unset it ({_default(info)})",
    )


def _shortened(value: Any) -> str:
    text = repr(str(value) if isinstance(value, date) else value)
    return text if len(text) <= _LONGEST_VALUE_SHOWN else f"{text[:_LONGEST_VALUE_SHOWN]}..."


def _reason(error: ErrorDetails) -> str:
    cause = error.get("ctx", {}).get("error")
    return f": {cause}" if isinstance(cause, ValueError) else ""


def _default(info: FieldInfo) -> str:
    return "it has no default" if info.default in (None, ()) else f"default {info.default}"
