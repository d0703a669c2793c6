"""No secret of the environment is found in anything that a night leaves behind, whatever goes wrong in it.

Here: passwords with every character that a URL must quote, planted in the database's URL, an alert's URL and the headers of
telemetry; nights and failures through the commands and Dagster; then everything is searched. Not here: the settings' own
words (test_settings_secrets.py), one alert's delivery (automation/test_alerts.py)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import attrs
import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from refresh_assets.store.database import Database
from refresh_assets_tests import worlds
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.worlds import BEFORE, DAY, insert

ROOT = Path(__file__).parents[1]
ROLE = "planted"
AWKWARD = "@/:#?%+ &='é"
DATABASE, WRONG, ALERT, HEADER = (f"Zq7{one}" for one in ("database", "wrong", "alert", "header"))
"""The part of each secret that is the same raw and quoted: where it is not found, neither form is."""
SECRETS = (DATABASE, WRONG, ALERT, HEADER)
LONGEST = 300.0  # seconds for one command
UNREACHABLE = "postgresql://planted:{}@127.0.0.1:1/bank"


@dataclass
class Deployment:
    """A platform that asks for a password, the environment of a night in it, and all that was said so far."""

    url: str
    socket: str
    name: str
    environment: dict[str, str]
    said: dict[str, str] = field(default_factory=dict)

    def database_url(self, secret: str) -> str:
        """The URL as a person writes it: the password quoted."""
        return f"postgresql://{ROLE}:{quote(secret + AWKWARD, safe='')}@/{self.name}?host={self.socket}"

    def typed(self, *words: str, **variables: str) -> int:
        """Run a command in a process of its own; keeps what it printed, and the title of every process meanwhile."""
        command = [sys.executable, "-m", *words]
        titles = set[str]()
        with tempfile.TemporaryFile() as out:  # a pipe that nobody empties would hold the command up
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.environment, **variables},
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
            )
            deadline = time.monotonic() + LONGEST
            while process.poll() is None:
                titles |= _titles()
                if time.monotonic() > deadline:
                    process.kill()
                time.sleep(0.05)  # between two samples of what may be there for a moment only
            out.seek(0)
            printed = out.read().decode(errors="replace")
        number = f"{len(self.said) + 1}. {' '.join(words)} {sorted(variables)}"
        self.said[number] = "\n".join([printed, *titles])
        return process.returncode


def _titles() -> set[str]:
    found = set()
    for number in filter(str.isdigit, os.listdir("/proc")):  # a pattern with cmdline would look into processes that end
        try:
            title = Path("/proc", number, "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        found.add(title.replace(b"\0", b" ").decode(errors="replace"))
    return found


@pytest.fixture(scope="module")
def deployment(
    server_url: str, initialised_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Three portfolios; the server wants the role's password, and DAGSTER_HOME is as shipped."""
    home = tmp_path_factory.mktemp("dagster")
    shutil.copy(ROOT / "dagster.yaml", home)
    with wants_password(server_url), new_database(server_url, initialised_template) as (name, url):
        database = Database(url)
        worlds.three_portfolios(database)
        insert(database, "batch_run_tracking", *worlds.batch(DAY))
        one = Deployment(url, parse_qs(urlsplit(url).query)["host"][0], name, {})
        one.environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG", "PYTHONPATH") if key in os.environ},
            "DAGSTER_HOME": str(home),
            "REFRESH_DATABASE_URL": one.database_url(DATABASE),
            "REFRESH_START_DATE": str(BEFORE),
            "REFRESH_ALERT_URLS": f"json://night:{quote(ALERT + AWKWARD, safe='')}@127.0.0.1:1/{ALERT}?key={ALERT}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://night:{HEADER}@127.0.0.1:1/{HEADER}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{quote(HEADER + AWKWARD, safe='')}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        }
        yield one


@contextmanager
def wants_password(server_url: str) -> Iterator[None]:
    """A superuser whom the server does not let in without a password, for the length of a block."""
    with psycopg.connect(server_url, autocommit=True) as server:
        (file,) = server.execute("show hba_file").fetchone() or ("",)
        rules, before = Path(file), Path(file).read_text()
        password = Literal(DATABASE + AWKWARD)
        server.execute(SQL("create role {} login superuser password {}").format(Identifier(ROLE), password))
        rules.write_text(f"local all {ROLE} scram-sha-256\n{before}")
        server.execute("select pg_reload_conf()")
    try:
        yield
    finally:
        with psycopg.connect(server_url, autocommit=True) as server:
            rules.write_text(before)
            server.execute("select pg_reload_conf()")
            server.execute(SQL("drop role {}").format(Identifier(ROLE)))


def found_in(text: str) -> list[str]:
    """The secrets that a text holds, with what stands around them."""
    return [text[max(text.find(one) - 80, 0) : text.find(one) + 40] for one in SECRETS if one in text]


def everything_in_the_database(url: str) -> dict[str, str]:
    """Every row of every table of every schema as text: ours, the platform's, Dagster's."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')"
        ).fetchall()
        return {
            f"{schema}.{table}": "\n".join(
                row[0]
                for row in connection.execute(
                    SQL("select t::text from {} t").format(Identifier(schema, table))
                ).fetchall()
            )
            for schema, table in tables
        }


def test_no_secret_is_in_anything_that_nights_and_failures_leave_behind(deployment: Deployment) -> None:
    """Commands with --debug, Dagster's tables and files, our tables, titles of processes; every failure did happen."""
    one, cli = deployment, "refresh_assets.cli"
    day = ("--date", str(DAY), "--debug")
    assert one.typed(cli, "init", "--debug") == 0
    assert one.typed(cli, "run", *day) == 0
    with psycopg.connect(one.url) as connection:
        connection.execute("create function boom() returns trigger language plpgsql as $$ begin raise 'boom'; end $$")
        connection.execute("create trigger boom before insert on refresh_marks execute function boom()")
    assert one.typed(cli, "run", "--date", str(BEFORE), "--debug") == 1
    assert one.typed(cli, "status", *day) == 0
    assert one.typed("dagster", "instance", "info") == 0
    assert one.typed(cli, "onboard", "nobody", "--debug") == 2
    assert one.typed(cli, "grants", "--role", ROLE, "--debug") == 0
    for url in (one.database_url(WRONG), UNREACHABLE.format(WRONG), UNREACHABLE.format(WRONG) + f"?password={WRONG}"):
        assert one.typed(cli, "run", *day, REFRESH_DATABASE_URL=url) == 4
    assert one.typed(cli, "run", *day[:2], REFRESH_DATABASE_URL=one.database_url(WRONG)) == 4
    assert one.typed("dagster", "instance", "info", REFRESH_DATABASE_URL=one.database_url(WRONG)) != 0
    assert one.typed(cli, "status", "--debug", REFRESH_DATABASE_URL=f"postgresql://u:{WRONG}@x@h:port/db") == 2
    assert one.typed(cli, "status", "--debug", REFRESH_ALERT_URLS=f"json://ok {WRONG}") == 2
    assert one.typed(cli, "status", REFRESH_DATABSE_URL=WRONG) == 2

    told = {**one.said, **everything_in_the_database(one.url)}
    for file in Path(one.environment["DAGSTER_HOME"]).rglob("*"):
        if file.is_file():
            told[str(file)] = file.read_bytes().decode(errors="replace")
    assert {name: found for name, text in told.items() if (found := found_in(text))} == {}
    # And all of it was there to be searched.
    assert "boom" in told["dagster.event_logs"]
    assert "night_failed" in told["public.refresh_alerts"]
    assert "URL 1 of 1 (json) did not take it" in told["public.refresh_alerts"]
    assert "password authentication failed" in "".join(one.said.values())
    assert any("Traceback" in text for text in one.said.values())
    assert any(name.endswith((".err", ".out")) for name in told)


def test_no_secret_is_in_what_the_process_shows_of_itself(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reprs of settings, database, night and resource; Dagster's instance as the UI and its workers get it."""
    import dagster as dg
    from dagster._serdes import serialize_value

    from refresh_assets.assets.refresh import Refresh
    from refresh_assets.settings import load
    from refresh_assets.store.tracking import Tracking

    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "")  # set by Dagster's storage: put back at the end
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    settings = load()
    database = Database.of(settings)
    with dg.DagsterInstance.get() as instance:
        shown = [instance.info_str(), serialize_value(instance.get_ref()), repr(instance)]
    with closing(worlds.night(database)) as night:
        assert night.inputs.portfolios.id.size == 3
        refresh = Refresh()
        shown += [repr(one) for one in (settings, database, night, refresh, Tracking(database, [DAY], "run-1"))]
        shown += [
            str(settings),
            str(database),
            json.dumps(attrs.asdict(settings), default=str),
            repr(vars(refresh)),
            repr(night.inputs.snapshot),
        ]
    assert found_in("\n".join(shown)) == []
    assert found_in(settings.psycopg_url()) != []
