"""`refresh-assets report` as a person types it: the file, its name, what is printed, errors, what it loads.

Here: the command and its refusals. Not here: what the pages say (test_night_report.py, test_book_report.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import pytest

from refresh_assets import cli
from refresh_assets.calendar import NEW_YORK
from refresh_assets.report import file
from refresh_assets.store.database import Database
from refresh_assets_tests.report.reading import read
from refresh_assets_tests.worlds import DAY, execute, insert, portfolio, position, uid

EVENING = datetime(DAY.year, DAY.month, DAY.day, 21, 30, tzinfo=NEW_YORK)
ONE = uid("portfolio", 1)


@pytest.fixture
def evening(done: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Database:
    """The night of DAY is done; the working folder is an empty one."""
    monkeypatch.setattr(cli, "_clock", [EVENING])
    monkeypatch.setenv("REFRESH_DATABASE_URL", done.url)
    monkeypatch.chdir(tmp_path)
    return done


@pytest.mark.usefixtures("evening")
def test_it_writes_into_the_working_folder_and_prints_the_path(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Named by the day, and by the portfolio's uuid where one is asked for, by whatever it is called."""
    assert cli.main(["report", "--date", str(DAY)]) == 0
    assert cli.main(["report", "Portfolio 1", "--date", str(DAY)]) == 0
    assert cli.main(["report", str(ONE), "--date", str(DAY)]) == 0

    night, book = tmp_path / f"report-{DAY}.html", tmp_path / f"report-{DAY}-{ONE}.html"
    assert capsys.readouterr().out.splitlines() == [str(night), str(book), str(book)]
    assert sorted(tmp_path.iterdir()) == sorted([night, book])
    assert read(night).headings[0] == f"Portfolio refresh of {DAY}"
    assert read(book).headings[0] == "Portfolio 1"


@pytest.mark.usefixtures("evening")
def test_another_folder_and_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--out, and the path as data."""
    folder = tmp_path / "of the night"
    folder.mkdir()

    assert cli.main(["report", "--date", str(DAY), "--out", "of the night", "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == {"path": str(folder / f"report-{DAY}.html")}
    assert [one.name for one in tmp_path.iterdir()] == ["of the night"]


def new_book(database: Database) -> None:
    """A portfolio that holds something, and that no night has met yet."""
    insert(database, "portfolios", portfolio(9))
    insert(database, "positions", position(91, 9))


def later_book(database: Database) -> None:
    """A portfolio that begins after DAY."""
    insert(database, "portfolios", portfolio(9, inception_date=date(2026, 3, 16)))


Prepare = Callable[[Database], object]
REFUSED: list[tuple[str, Prepare | None, list[str], str]] = [
    (
        "nobody",
        None,
        ["Nobody", "--date", str(DAY)],
        "there is no portfolio 'Nobody'. Mend: give the uuid or the exact name of a portfolio.",
    ),
    (
        "a Saturday",
        None,
        ["--date", "2026-03-14"],
        "2026-03-14 is not a trading day (Saturday). Mend: take 2026-03-13 or 2026-03-16, the nearest trading days.",
    ),
    (
        "to come",
        None,
        ["--date", "2026-03-16"],
        "2026-03-16 is later than the effective trading date 2026-03-13. Mend: ask for 2026-03-13 or an earlier day.",
    ),
    (
        "before the start",
        None,
        ["--date", "2019-12-31"],
        "2019-12-31 is before the first partition, 2020-01-02. Mend: set REFRESH_START_DATE to an earlier day.",
    ),
    (
        "due",
        None,
        ["--date", "2026-03-10"],
        "2026-03-10 has no figures: it is due, missing: portfolio_snapshots, correlation_calculations, factor_exposures,"
        " stress_test_results. Mend: refresh-assets run --date 2026-03-10 --scope missing.",
    ),
    (
        "nobody held anything",
        None,
        ["--date", "2024-03-12"],
        "2024-03-12 has no figures: it is empty, no portfolio holds anything."
        " Mend: ask for a day on which a portfolio holds something.",
    ),
    (
        "begins later",
        later_book,
        ["Portfolio 9", "--date", str(DAY)],
        "Portfolio 9 begins on 2026-03-16, after 2026-03-13. Mend: ask for 2026-03-16 or later.",
    ),
    (
        "came after the night",
        new_book,
        ["Portfolio 9", "--date", str(DAY)],
        "Portfolio 9 has no figures on 2026-03-13: no row in portfolio_snapshots, and nothing says why: it held nothing,"
        " was deleted by then, or came after its night. Mend: ask for a day on which it has some, or see refresh-assets"
        " status --date 2026-03-13.",
    ),
    (
        "two of one name",
        lambda database: execute(database, "update portfolios set name = 'Twin' where name <> 'Portfolio 3'"),
        ["Twin", "--date", str(DAY)],
        f"2 portfolios are named 'Twin'. Mend: give the uuid of one: {ONE}, {uid('portfolio', 2)}.",
    ),
    (
        "no folder",
        None,
        ["--date", str(DAY), "--out", "elsewhere"],
        "elsewhere is not there. Mend: name a folder that exists and can be written with --out.",
    ),
    (
        "a file as folder",
        lambda _database: Path("taken").write_text(""),
        ["--date", str(DAY), "--out", "taken"],
        "taken is no folder. Mend: name a folder that exists and can be written with --out.",
    ),
]


@pytest.mark.parametrize(("prepare", "words", "line"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED])
def test_what_cannot_be_reported_is_one_line_with_its_mend(
    evening: Database, capsys: pytest.CaptureFixture[str], prepare: Prepare | None, words: list[str], line: str
) -> None:
    """The whole text on stderr, exit code 2, and no file."""
    if prepare is not None:
        prepare(evening)

    assert cli.main(["report", *words]) == 2

    assert capsys.readouterr() == ("", f"refresh-assets: {line}\n")
    assert not list(Path().glob("*report*"))


@pytest.mark.usefixtures("evening")
def test_a_file_that_cannot_be_put_into_place_leaves_nothing_half_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One line; neither a part of a file nor the one beside it."""
    (tmp_path / f"report-{DAY}.html").mkdir()

    assert cli.main(["report", "--date", str(DAY)]) == 2

    assert capsys.readouterr().err == (
        f"refresh-assets: {tmp_path}/report-{DAY}.html cannot be written (Is a directory)."
        " Mend: name a folder that exists and can be written with --out.\n"
    )
    assert [one.name for one in tmp_path.iterdir()] == [f"report-{DAY}.html"]


def test_a_writing_that_fails_keeps_the_old_file(tmp_path: Path) -> None:
    """Whole or not at all: text that cannot be encoded breaks off in the middle."""
    path = tmp_path / "report.html"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        file._put(path, "new" * 100_000 + "\ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_it_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """What it is for, and its options."""
    assert cli.main(["report", "--help"]) == 0

    text = capsys.readouterr().out
    assert "usage: refresh-assets report" in text
    for option in ("--date", "--out", "--json"):
        assert option in text


def test_it_loads_no_dagster_pandas_or_sqlalchemy(evening: Database) -> None:
    """Nothing of the night's machinery is loaded for a report."""
    code = (
        "import sys; from datetime import datetime; from refresh_assets import cli;"
        f"cli._clock.append(datetime.fromisoformat('{EVENING.isoformat()}'));"
        f"code = cli.main(['report', {str(ONE)!r}, '--date', '{DAY}']) + cli.main(['report', '--date', '{DAY}']);"
        "print(code, [m for m in ('dagster', 'sqlalchemy', 'pandas', 'scipy', 'jinja2') if m in sys.modules],"
        " file=sys.stderr)"
    )
    home = {"REFRESH_DATABASE_URL": evening.url, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=home, capture_output=True, text=True, check=True)

    assert done.stderr == "0 []\n"
