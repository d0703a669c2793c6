"""`refresh-assets explain` as a person types it: the page, --json, exit codes, what it loads.

Here: words on a terminal and start-up. Not here: the figures (test_every_figure.py), every error (test_questions.py)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from decimal import Decimal

import pytest

from refresh_assets import cli
from refresh_assets.calendar import NEW_YORK
from refresh_assets.store.database import Database
from refresh_assets_tests.worlds import DAY, event, execute, insert, run, three_portfolios

EVENING = datetime(DAY.year, DAY.month, DAY.day, 21, 30, tzinfo=NEW_YORK)
ONE, TWO = "Portfolio 1", "Portfolio 2"


@pytest.fixture
def evening(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Three portfolios, one sale dated after the night of DAY, which is done."""
    three_portfolios(database)
    insert(database, "position_realized_events", event(1, 12, datetime(2026, 3, 20).date(), "4.25", 70))
    run(database)
    monkeypatch.setattr(cli, "_clock", [EVENING])
    monkeypatch.setenv("REFRESH_DATABASE_URL", database.url)
    return database


def page(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a call prints; it ends with 0."""
    assert cli.main(["explain", *words]) == 0
    return capsys.readouterr().out


def money(cell: str) -> Decimal:
    return Decimal(cell.replace(",", "") or "0")


def column(text: str, title: str, heading: str) -> tuple[list[Decimal], Decimal]:
    """The figures of a right-aligned column as they are shown, and the sum under it."""
    lines = text[text.index(title) :].splitlines()
    start = next(number for number, line in enumerate(lines) if heading in line)
    end = lines[start].index(heading) + len(heading)
    shown: list[Decimal] = []
    for line in lines[start + 2 :]:
        cell = re.split(r"\s{2,}", line[:end])[-1].strip() if line[:end].strip() else ""
        if line.startswith(" sum"):
            return shown, money(cell)
        shown.append(money(cell) if re.fullmatch(r"-?[\d,]+\.\d\d", cell) else Decimal(0))
    raise AssertionError(f"{title}: no sum")


@pytest.mark.usefixtures("evening")
def test_each_column_adds_up_as_it_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """To the cent, by what is printed: where the rounding of rows leaves a cent, a line says so."""
    snapshot = page(capsys, ONE, str(DAY))
    factor = page(capsys, ONE, str(DAY), "--factor", "Market")
    stress = page(capsys, ONE, str(DAY), "--scenario", "market_down_35")

    for text, title, heading in (
        (snapshot, "Positions of", "value"),
        (snapshot, "Positions of", "cost"),
        (snapshot, "P&L of 2026-03-13 by leg", "P&L of the day"),
        (factor, "Exposure to Market", "value x beta"),
        (stress, "Correlated P&L", "exposure x move"),
    ):
        rows, total = column(text, title, heading)
        assert sum(rows) == total != 0, heading
        assert len(rows) >= 3


@pytest.mark.usefixtures("evening")
def test_the_page_says_that_it_is_equal_and_what_was_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain text without a terminal; the sale that came later is told beside the quantity that it brings back."""
    text = page(capsys, ONE, str(DAY))

    assert "\x1b" not in text
    assert "Equal: the tables above add up to what is stored (" in text
    assert "now 20.5, +4.25 sold 2026-03-20" in " ".join(text.split())
    assert "24.75" in text
    assert text.rstrip().endswith("Nothing was left out.")
    assert max(len(line) for line in text.splitlines() if "─" in line) < 160


def test_the_page_says_in_words_what_is_not_equal(evening: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Both figures, the close that changed, the command: nobody takes the tables for what is stored."""
    execute(evening, "update market_data_cache set close_price = 99 where symbol = 'AAA' and date = %s", DAY)

    text = page(capsys, TWO, str(DAY))

    assert "NOT EQUAL to what is stored" in text and "Equal:" not in text
    assert re.search(r"  total_value is [\d,.]+ from these inputs, [\d,.]+ as stored\n", text)
    assert "Why: the night used 54.1032 as the close of AAA on 2026-03-13, it is 99 now." in text
    assert "To restate the day from the inputs of today: refresh-assets run --date 2026-03-13\n" in text


@pytest.mark.usefixtures("evening")
def test_a_pair_shows_the_ends_of_its_series_and_json_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Five rows at either end in the terminal."""
    text = page(capsys, ONE, str(DAY), "--pair", "BBB", "AAA")
    told = json.loads(page(capsys, ONE, str(DAY), "--pair", "BBB", "AAA", "--json"))

    rows = told["returns"]["rows"]
    assert len(rows) == 62 and all(row["common"] for row in rows[1:])
    assert f"... {len(rows) - 10} more" in text
    assert [row["date"] in text for row in rows] == [True] * 5 + [False] * (len(rows) - 10) + [True] * 5
    assert told["asked"] == {"pair": ["AAA", "BBB"]}


@pytest.mark.usefixtures("evening")
def test_json_gives_figures_as_decimal_strings(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is rounded on its way out, and counts stay numbers."""
    told = json.loads(page(capsys, ONE, str(DAY), "--json"))

    row = told["positions"]["rows"][0]
    assert Decimal(row["quantity"]) * Decimal(row["close"]) * row["multiplier"] == Decimal(row["value"])
    assert {type(one["stored"]) for one in told["figures"]} <= {str, int, bool}
    assert told["equal"] is True and told["date"] == "2026-03-13" and told["name"] == ONE


@pytest.mark.usefixtures("evening")
def test_an_error_is_one_line_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with the mend."""
    assert cli.main(["explain", "Nobody", str(DAY)]) == 2
    assert cli.main(["explain", ONE, "13.3.2026"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "refresh-assets: there is no portfolio 'Nobody'. Mend: give the uuid or the exact name of a portfolio.",
        "refresh-assets: '13.3.2026' is not a date YYYY-MM-DD. Mend: write for example 2026-03-13.",
    ]


def test_it_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    """What it is for, and its three options."""
    text = page(capsys, "--help")

    assert "usage: refresh-assets explain" in text
    for option in ("--factor", "--scenario", "--pair", "--json"):
        assert option in text


def test_it_loads_no_dagster_pandas_or_sqlalchemy(evening: Database) -> None:
    """A question is answered at once: nothing of the night's machinery is loaded for it."""
    code = (
        "import sys; from datetime import datetime; from refresh_assets import cli;"
        f"cli._clock.append(datetime.fromisoformat('{EVENING.isoformat()}'));"
        f"code = cli.main(['explain', {ONE!r}, '{DAY}', '--scenario', 'market_up_5']);"
        "print(code, [m for m in ('dagster', 'sqlalchemy', 'pandas', 'scipy') if m in sys.modules], file=sys.stderr)"
    )
    home = {"REFRESH_DATABASE_URL": evening.url, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=home, capture_output=True, text=True, check=True)

    assert done.stderr == "0 []\n"
    assert "Equal: " in done.stdout
