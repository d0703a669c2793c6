"""How a command ends where something is wrong: its exit code, its one line, the traceback with --debug.

Here: errors of any command. Not here: which calls are refused (test_commands.py), the words of a database that cannot be
reached (store/test_database.py)."""

from __future__ import annotations

import pytest

from refresh_assets import cli
from refresh_assets.store.database import Database
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
