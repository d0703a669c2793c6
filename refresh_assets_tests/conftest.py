"""What every test may ask for: a PostgreSQL of its own, and an environment without our settings.

Here: the embedded server, databases cloned from one that was initialised once, the calendar. Not here: rows in a
platform's tables (worlds.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from refresh_assets.calendar import TradingCalendar
from refresh_assets.store.database import Database
from refresh_assets.store.provision import init
from refresh_assets_tests.servers import NOT_DURABLE, running_server

NUMBERS = count(1)
LONGEST = ("simulation/test_quarter.py", "automation/test_live.py", "chaos/test_kills.py")
"""Of a minute and more each: begun first, so that at the end nobody waits for the last of them."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of tests; each stands on its own."""
    items.sort(key=lambda item: not str(item.path).endswith(LONGEST))


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads a REFRESH_ variable that happens to be set."""
    for name in list(os.environ):
        if name.upper().startswith("REFRESH_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the superuser's database of one server, for the whole session; without a parameter the embedded one."""
    with running_server(NOT_DURABLE, getattr(request, "param", None)) as server:
        yield server.url


@pytest.fixture(scope="session")
def initialised_template(server_url: str) -> Iterator[str]:
    """The name of a database on which `init` ran once; nobody stays connected to it."""
    with new_database(server_url) as (name, url):
        init(Database(url))
        yield name


@pytest.fixture
def database(server_url: str, initialised_template: str) -> Iterator[Database]:
    """A fresh database with the platform's tables and ours, all empty but for the default factors."""
    with new_database(server_url, initialised_template) as (_, url):
        yield Database(url)


@pytest.fixture
def empty_database(server_url: str) -> Iterator[Database]:
    """A fresh database with nothing in it."""
    with new_database(server_url) as (_, url):
        yield Database(url)


@pytest.fixture(scope="session")
def calendar() -> TradingCalendar:
    """The NYSE's trading days."""
    return TradingCalendar()


@contextmanager
def new_database(server_url: str, template: str = "template1", more: LiteralString = "") -> Iterator[tuple[str, str]]:
    """Name and URL of a database that is dropped afterwards, whoever is still connected; `more` of how it is made."""
    name = f"test_{os.getpid()}_{next(NUMBERS)}"
    with psycopg.connect(server_url, autocommit=True) as server:
        made = SQL("create database {} template {} " + more)
        server.execute(made.format(Identifier(name), Identifier(template)))
    try:
        yield name, urlsplit(server_url)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server_url, autocommit=True) as server:
            server.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture(scope="session")
def demo_template(server_url: str, initialised_template: str) -> Iterator[str]:
    """The name of a database that holds the demo's platform on the eve of its first night."""
    from refresh_assets.demo.world import NIGHTS, load_platform

    with new_database(server_url, initialised_template) as (name, url):
        with Database(url).connect() as connection:
            load_platform(connection, TradingCalendar().previous(NIGHTS.first))
        yield name


@pytest.fixture
def demo_database(server_url: str, demo_template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """The demo's platform in a fresh database, to which the environment's settings point; no night has run yet."""
    with new_database(server_url, demo_template) as (_, url):
        monkeypatch.setenv("REFRESH_DATABASE_URL", url)
        monkeypatch.setenv("REFRESH_START_DATE", "2020-02-18")
        yield Database(url)
