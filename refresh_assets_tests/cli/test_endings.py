"""How a command ends where something is wrong: its exit code, its one line, the traceback with --debug.

Here: errors of any command. Not here: which calls are refused (test_commands.py), the words of a database that cannot be
reached (store/test_database.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from refresh_assets import cli
from refresh_assets.errors import GRANTS_MEND
from refresh_assets.store.database import Database
from refresh_assets_tests.cli.conftest import DAYS
from refresh_assets_tests.worlds import execute

UNREACHABLE = {"REFRESH_DATABASE_URL": "postgresql://night:s3cret-pass@127.0.0.1:9/books"}
ENDINGS = [
    (["status"], UNREACHABLE, 4),
    (["status"], {"REFRESH_MIN_PRICE_COVERAGE": "80"}, 2),
    (["status", "--date", "never"], UNREACHABLE, 2),
    (["status", "--nonsense"], {}, 2),
    (["grants", "--role", "night"], {}, 1),
]


@pytest.mark.parametrize(("words", "settings", "code"), ENDINGS)
def test_debug_adds_a_traceback_and_changes_nothing_else(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    settings: dict[str, str],
    code: int,
) -> None:
    """The same exit code and the same last line, whatever the error."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    if code == 1:
        monkeypatch.setattr("refresh_assets.settings.load", lambda: 1 // 0)

    assert cli.main(words) == code
    plain = capsys.readouterr()
    assert cli.main([*words, "--debug"]) == code
    debug = capsys.readouterr()

    assert plain.err.startswith("refresh-assets: ")
    assert plain.err.count("\n") == 1
    assert debug.err.startswith("Traceback (most recent call last):\n")
    assert debug.err.endswith(f"\n{plain.err}")
    assert "s3cret-pass" not in debug.err
    assert (plain.out, debug.out) == ("", "")


@pytest.mark.parametrize(
    ("home", "wrong"),
    [("no/such/../folder", "is not an absolute path"), ("/no/such/folder", "does not exist or is no folder")],
)
def test_a_dagster_home_that_is_no_folder_is_a_wrong_setting(
    evening: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: str, wrong: str
) -> None:
    """By name, before anything is written."""
    monkeypatch.setenv("DAGSTER_HOME", home)

    assert cli.main(["run"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"refresh-assets: DAGSTER_HOME is {home!r}, which {wrong}. Mend: make it an existing folder with its full path,"
        " or unset it: nothing is then recorded in Dagster.\n"
    )
    assert execute(evening, "select count(*) from refresh_days") == [(0,)]


def test_a_failed_run_says_so_before_what_stands_from_before(
    evening: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day that stood, and one that did not: neither is shown as done by the run that failed. The third was done."""
    stood, new, done = DAYS[:3]
    assert cli.main(["run", "--date", str(stood)]) == 0
    days = f"'{stood}', '{new}'"
    execute(evening, "update market_data_cache set close_price = close_price + 1 where symbol = 'AAPL'")
    execute(
        evening, f"alter table portfolio_snapshots add constraint no check (snapshot_date not in ({days})) not valid"
    )
    capsys.readouterr()
    span = ["run", "--from", str(stood), "--to", str(done)]

    assert cli.main(["run", "--date", str(stood), "--select", "portfolio_snapshots"]) == 1
    alone = capsys.readouterr().out.splitlines()
    assert cli.main(span) == 1
    lines = capsys.readouterr().out.splitlines()
    assert cli.main([*span, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)

    failures = [number for number, line in enumerate(lines) if line.startswith("run ")]
    shown = [line for line in lines if line.startswith("2020")]
    assert failures, lines
    assert failures[-1] < lines.index(shown[0])
    assert all('violates check constraint "no"' in lines[number] for number in failures)
    assert alone[0].startswith("run ")
    (first,) = [line for line in alone if line.startswith("2020")]
    assert first.startswith(f"{stood}  run failed; what stands is from before: complete  portfolio_snapshots 13")
    assert shown[0].startswith(f"{stood}  run failed; what is there now: mixed  portfolio_snapshots 13")
    assert shown[1].startswith(f"{new}  run failed; what is there now: due  portfolio_snapshots ")
    assert shown[2].startswith(f"{done}  complete  portfolio_snapshots 13")
    assert [one["run_failed"] for one in found["days"]] == [True, True, False]


@pytest.fixture
def reader(evening: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The settings' role may read everything, and write nothing; its name."""
    name = "role_of_endings"
    with psycopg.connect(evening.url, autocommit=True) as connection:
        connection.execute(f"create role {name} login")
        connection.execute(f"grant usage on schema public to {name}")
        connection.execute(f"grant select on all tables in schema public to {name}")
    parts = urlsplit(evening.url)
    url = parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}").geturl()
    monkeypatch.setenv("REFRESH_DATABASE_URL", url)
    yield name
    with psycopg.connect(evening.url, autocommit=True) as connection:
        connection.execute(f"drop owned by {name}")
        connection.execute(f"drop role {name}")


@pytest.mark.parametrize("unreadable", [None, "factor_definitions"])
def test_a_run_without_rights_names_the_grants(
    evening: Database, reader: str, capsys: pytest.CaptureFixture[str], unreadable: str | None
) -> None:
    """Rights that lack in the middle of a run, for writing rows and for reading columns: the mend of every command."""
    if unreadable:
        execute(evening, f"grant all on all tables in schema public to {reader}")
        execute(evening, f"revoke select on {unreadable} from {reader}")

    assert cli.main(["run", "--date", str(DAYS[0])]) == 1

    out = capsys.readouterr().out
    assert f"permission denied for table {unreadable or ''}" in out
    assert f"Mend: {GRANTS_MEND}." in out
