"""How a command ends where something is wrong: its exit code, its one line, the traceback with --debug.

Here: errors of any command. Not here: which calls are refused (test_commands.py), the words of a database that cannot be
reached (store/test_database.py)."""

from __future__ import annotations

import pytest

from refresh_assets import cli

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
