"""The environment, read once and checked.

Here: every setting (`REFRESH_*`) with its type, range and default, secrets wrapped, and the one line that says what is
wrong with a value. Not here: opening what a setting points to (store/, automation/alerts.py), the content of the
scenario file (core/scenarios.py), `OTEL_*` (OpenTelemetry reads those itself)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import date
from operator import index
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote

import attrs
from attrs.validators import deep_iterable, ge, instance_of, le

from refresh_assets.errors import SettingsError

PREFIX: Final = "REFRESH_"
DAGSTER_SCHEMA: Final = "dagster"
"""Schema of Dagster's own storage; it has migrations of its own, so our tables may not share it."""

_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_DASK_SCHEMES = ("tcp", "tls", "ws", "wss", "ucx", "inproc")
_SECRETS = ("database_url", "alert_urls")
_LONGEST_VALUE_SHOWN = 80  # characters; an error is one line


class Secret:
    """A text that shows itself nowhere but where it is asked for; equal to another of the same text.

    No class of attrs or dataclasses, as `asdict` would take it apart."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """The text itself: to be handed on, never logged."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return self._value == other._value if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return "**********"

    def __repr__(self) -> str:
        return f"Secret('{self}')"


class Unfit(ValueError):
    """A value that a setting does not take, and why: words that may stand in a log, so never a secret's."""


def _secret(value: str | Secret) -> Secret:
    # Not value.strip(): bytes may be a password too, and would pass.
    return value if isinstance(value, Secret) else Secret(str.strip(value))


def _database_url(_settings: object, _field: attrs.Attribute[Any], secret: Secret) -> None:
    if reason := _unreadable(secret):
        raise Unfit(reason)


def _unreadable(secret: Secret) -> str | None:
    """Why the drivers cannot use a URL. Told, not raised: a traceback would lead here, to the URL itself."""
    from psycopg import ProgrammingError, conninfo  # loads libpq: only where there is a database

    url = secret.get_secret_value()
    try:
        _split_database_url(url)
        conninfo.conninfo_to_dict(_plain(url))
    except Unfit as unfit:
        return str(unfit)
    except (ProgrammingError, ValueError):  # their words quote the part that they dislike, be it the password
        return "PostgreSQL's client library cannot read it (a % that encodes nothing, a wrong option)"
    return None


def _plain(url: str) -> str:
    return f"postgresql://{url.partition('://')[2]}"


def _split_database_url(url: str) -> tuple[str, list[str], str]:
    """User part with its `@` (or empty), hosts with their ports, and path with query; messages never quote the URL."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise Unfit("it does not start with postgresql://")
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    tail = rest[len(netloc) :]
    user, at, hosts = netloc.rpartition("@")
    ports = [re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(\d+))?", host) for host in hosts.split(",")]
    # An @ after the host means that a / or ? of the password was taken for the end of the host.
    misplaced_at = "@" in user or "@" in (tail.partition("?")[0] if at else tail)
    if misplaced_at or "#" in tail or None in ports:
        raise Unfit(
            "user, password, host and port cannot be told apart; write / : @ # ? in a password as %2F and so on"
        )
    if any(port is not None and port[1] and not 0 < int(port[1]) < 2**16 for port in ports):
        raise Unfit("the port is not between 1 and 65535")
    return user + at, hosts.split(","), tail


def _alert_urls(value: str | Secret | Iterable[str | Secret]) -> tuple[Secret, ...]:
    if not isinstance(value, (str, Secret)):
        return tuple(_secret(url) for url in value)
    text = _secret(value).get_secret_value().strip(" \t\n,")
    # A comma may be part of an apprise URL (several recipients): only one before the next scheme:// divides.
    return tuple(Secret(url) for url in re.split(r"[\s,]+(?=[A-Za-z][\w+.-]*://)", text) if url)


def _every_alert_url(_settings: object, _field: attrs.Attribute[Any], urls: tuple[Secret, ...]) -> None:
    for number, url in enumerate(urls, start=1):
        if not re.fullmatch(r"[A-Za-z][\w+.-]*://\S+", url.get_secret_value()):
            raise Unfit(f"URL {number} of {len(urls)} is not a service, :// and an address without blanks")


def _whole_number(value: str | int) -> int:
    return int(_digits(value)) if isinstance(value, str) else index(value)


def _fraction(value: str | float) -> float:
    return float(_digits(value) if isinstance(value, str) else value)


def _digits(text: str) -> str:
    # int() and float() alone would also take 1_0 and the digits of other scripts: slips rather than numbers.
    if "_" in text or not text.strip().isascii():
        raise ValueError("not a number in plain digits")
    return text


def _iso_date(value: str | date) -> date:
    if not isinstance(value, str):
        return value
    text = value.strip()
    # date.fromisoformat alone would also take weeks, and dates without dashes.
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise Unfit(f"{_shortened(text)} is not YYYY-MM-DD")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Unfit(f"{text!r} is no day of the calendar") from None


def _iso_dates(value: str | Iterable[str | date]) -> tuple[date, ...]:
    if isinstance(value, str):
        value = [text for text in re.split(r"[\s,]+", value) if text]
    return tuple(sorted({_iso_date(day) for day in value}))


def _identifier(_settings: object, _field: attrs.Attribute[Any], name: str) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", name, re.ASCII):
        raise Unfit("not lower-case letters, digits and _, at most 63 of them, with no digit first")
    if name.startswith("pg_") or name == "information_schema":
        raise Unfit("PostgreSQL keeps that name for itself")


def _not_dagsters(_settings: object, _field: attrs.Attribute[Any], name: str) -> None:
    if name == DAGSTER_SCHEMA:
        raise Unfit("Dagster's own storage lives in that schema")


def _readable_file(_settings: object, _field: attrs.Attribute[Any], path: Path) -> None:
    if not os.path.isfile(path):
        raise Unfit("that is not a file" if os.path.exists(path) else "there is no such file")
    if not os.access(path, os.R_OK):
        raise Unfit("that file may not be read")


def _dask_address(_settings: object, _field: attrs.Attribute[Any], address: str) -> None:
    if not re.fullmatch(rf"({'|'.join(_DASK_SCHEMES)})://\S+", address):
        raise Unfit(f"it does not start with one of {', '.join(scheme + '://' for scheme in _DASK_SCHEMES)}")


def _count(default: int, of: str, least: int, most: int) -> Any:
    """A field of a whole number, whose description says the bounds that it is held to."""
    return attrs.field(
        default=default,
        converter=_whole_number,
        validator=[ge(least), le(most)],
        metadata={"description": f"a whole number of {of} from {least} to {most}"},
    )


@attrs.frozen(kw_only=True)
class Settings:
    """Every setting of the refresh; `load()` reads it from the environment and words what is wrong.

    The description of a field says what is expected of it: error messages and documentation read it there. On attrs,
    which the command line has loaded anyway: every command waits for this module. Source: spec section 14.

    Raises:
        ValueError: a value, or the text of one, that a field does not take.
        TypeError: a value of another type, or a name that is no field's. Neither's words show a secret.
    """

    database_url: Secret | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(_secret),
        validator=attrs.validators.optional(_database_url),
        metadata={"description": "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"},
    )
    schema_name: str = attrs.field(
        default="public",
        validator=[_identifier, _not_dagsters],
        metadata={
            "variable": f"{PREFIX}SCHEMA",
            "description": "the plain lower-case name of the schema of our tables",
        },
    )
    platform_schema: str = attrs.field(
        default="public",
        validator=_identifier,
        metadata={"description": "the plain lower-case name of the platform's schema"},
    )
    start_date: date = attrs.field(
        default=date(2020, 1, 2),
        converter=_iso_date,
        validator=[instance_of(date), ge(date(1970, 1, 1)), le(date(2100, 12, 31))],
        metadata={"description": "a date YYYY-MM-DD from 1970 to 2100"},
    )
    extra_closures: tuple[date, ...] = attrs.field(
        default=(),
        converter=_iso_dates,
        validator=deep_iterable(instance_of(date)),
        metadata={"description": "dates YYYY-MM-DD divided by commas or spaces"},
    )
    gate_deadline_minutes: int = _count(60, "minutes", 0, 1440)
    gate_interval_seconds: int = _count(30, "seconds", 1, 300)
    onboarding_wait_seconds: int = _count(120, "seconds", 0, 3600)
    min_price_coverage: float = attrs.field(
        default=0.80,
        converter=_fraction,
        validator=[ge(0), le(1)],
        metadata={"description": "a fraction from 0 to 1"},
    )
    failure_alert_fraction: float = attrs.field(
        default=0.10,
        converter=_fraction,
        validator=[ge(0), le(1)],
        metadata={"description": "a fraction from 0 to 1"},
    )
    correlation_max_symbols: int = _count(100, "symbols", 2, 1000)
    max_heal_days: int = _count(250, "days", 1, 25_000)
    scenarios_file: Path | None = attrs.field(
        default=None,
        converter=attrs.converters.optional(Path),
        validator=attrs.validators.optional(_readable_file),
        metadata={"description": "the path of a readable file of stress scenarios"},
    )
    alert_urls: tuple[Secret, ...] = attrs.field(
        default=(),
        converter=_alert_urls,
        validator=_every_alert_url,
        metadata={"description": "apprise URLs such as mailto://..., divided by commas or spaces"},
    )
    dask_scheduler: str | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(_dask_address),
        metadata={"description": "the address of a Dask scheduler such as tcp://HOST:8786"},
    )

    def require_database_url(self) -> Secret:
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


_FIELDS: Final = attrs.fields_dict(Settings)


def load() -> Settings:
    """The settings of this process's environment.

    Raises:
        SettingsError: a value cannot be used, or a `REFRESH_*` variable is no setting; one line that names the
            variable, its value unless it is a secret, and the mend.
    """
    _refuse_unknown(os.environ)
    settings, wrong = _read(_given(os.environ))
    if wrong:
        raise _in_words(wrong)
    return settings


def variable(field: str) -> str:
    """The environment variable of a field of `Settings`."""
    name: str = _FIELDS[field].metadata.get("variable", f"{PREFIX}{field.upper()}")
    return name


def _given(environment: Mapping[str, str]) -> dict[str, Any]:
    """Field -> text, a secret's wrapped before anything looks at it; compose files pass unset variables on as empty ones."""
    texts = {name.upper(): text for name, text in environment.items() if text}
    given = {field: texts[variable(field)] for field in _FIELDS if variable(field) in texts}
    return {field: _secret(text) if field in _SECRETS else text for field, text in given.items()}


def _read(given: Mapping[str, Any]) -> tuple[Settings, dict[str, str]]:
    """The settings, and field -> what is wrong with it: one by one, as attrs stops at the first that is wrong."""
    settings, wrong = Settings(), {}
    for field, value in given.items():
        try:
            settings = attrs.evolve(settings, **{field: value})
        except ValueError as error:
            shown = "cannot be used" if isinstance(value, Secret) else f"is {_shortened(value)}"
            # Words of others, on a range or a number, say less than what is expected.
            reason = f": {error}" if isinstance(error, Unfit) else ""
            wrong[field] = f"{variable(field)} {shown}, expected {_FIELDS[field].metadata['description']}{reason}"
    return settings, wrong


def _refuse_unknown(names: Iterable[str]) -> None:
    known = [variable(field) for field in _FIELDS]
    for name in sorted(names):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = _most_like(name.upper().removeprefix(PREFIX), [one.removeprefix(PREFIX) for one in known])
            raise SettingsError(
                what=f"{name if name.isprintable() and len(name) < 64 else _shortened(name)} is no setting of the refresh",
                mend=f"rename it to {PREFIX}{near}, or unset it" if near else f"unset it; there are {', '.join(known)}",
            )


def _most_like(name: str, known: list[str]) -> str | None:
    """Both without the prefix, which would make everything look alike."""
    import difflib  # no start-up waits for it

    return next(iter(difflib.get_close_matches(name, known, n=1)), None)


def _in_words(wrong: Mapping[str, str]) -> SettingsError:
    first, *others = wrong
    default = _FIELDS[first].default
    also = f" (also wrong: {', '.join(variable(field) for field in others)})" if others else ""
    has = "it has no default" if default in (None, ()) else f"default {default}"
    return SettingsError(what=f"{wrong[first]}{also}", mend=f"correct {variable(first)}, or unset it ({has})")


def _shortened(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= _LONGEST_VALUE_SHOWN else f"{shown[:_LONGEST_VALUE_SHOWN]}..."
