"""The demo from start to end, as a person who has just cloned the project runs it.

Here: its page, its nights, the commands that it names. Not here: its books (demo/test_world.py)."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def played() -> Iterator[tuple[Path, str]]:
    """A folder in which the demo was played, and what it printed."""
    with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        done = call(Path(folder), "demo")
        assert done.returncode == 0, done.stderr
        yield Path(folder), done.stdout


def call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command, in a folder."""
    program = Path(sys.executable).with_name("refresh-assets")
    home = {"PATH": f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)}
    return subprocess.run(
        [program, *words], cwd=folder, env=home, capture_output=True, text=True, timeout=300, check=False
    )


def test_every_night_is_complete_and_the_books_are_shown(played: tuple[Path, str]) -> None:
    """26 nights, the missed one among them; value, day P&L, correlation and stress of each book; omissions by name."""
    page = played[1]

    assert "26 nights, 2020-02-18 .. 2020-03-24: 26 complete" in page
    for book in ("Harborview Core Equity", "Meridian Market Neutral", "Permian Energy Partners (partial)"):
        assert book in page
    assert "no_price: 1  RDS.B" in page
    assert "undated_valuation: 1  Whitfield Family Office" in page


def test_the_commands_that_it_names_work(played: tuple[Path, str]) -> None:
    """What to type next is typed: each command ends with 0 and says something."""
    folder, page = played
    lines = [line.strip().split("  ")[0] for line in page.splitlines() if line.startswith("  refresh-assets ")]
    commands = [shlex.split(line) for line in lines]

    assert [command[1] for command in commands] == ["status", "explain", "run"]
    for command, word in zip(commands, ("complete", "Equal: the tables above add up", "complete"), strict=True):
        done = call(folder, *command[1:])
        assert done.returncode == 0, done.stderr
        assert word in done.stdout


def test_a_folder_that_holds_something_else_is_not_touched(tmp_path: Path) -> None:
    """The demo empties only a folder that it made."""
    (tmp_path / "thesis.txt").write_text("ten years of work")

    done = call(tmp_path, "demo", "--folder", str(tmp_path))

    assert done.returncode == 2
    assert "holds something that is no demo" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"
