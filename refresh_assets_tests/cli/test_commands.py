"""The commands as a person types them: what they print, what they leave, how they end.

Here: init, run, status and their errors. Not here: what they advise (test_advice.py), the demo (test_demo.py), the
figures (core/)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from refresh_assets import cli
from refresh_assets.store.database import Database
from refresh_assets_tests.cli.conftest import DAYS


def test_run_without_dates_does_whatever_is_due_and_then_nothing(
    evening: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five missed nights heal at once; a second call finds nothing to do."""
    assert cli.main(["run"]) == 0
    first = capsys.readouterr().out
    assert cli.main(["run"]) == 0
    second = capsys.readouterr().out

    with evening.connect() as connection:
        days = connection.execute("select calculation_date from refresh_complete_days order by 1").fetchall()
    assert [row[0] for row in days] == DAYS
    assert [line.split()[:2] for line in first.splitlines() if line.startswith("2020")] == [
        [str(day), "complete"] for day in DAYS
    ]
    assert second == "Nothing is due: every day is complete.\n"


def test_a_hole_in_the_middle_is_found_and_healed(evening: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """What is missing is looked for everywhere, not only after the last snapshot."""
    cli.main(["run"])
    hole = DAYS[2]
    with evening.connect() as connection:
        connection.execute("delete from stress_test_results where calculation_date = %s", [hole])
        connection.execute(
            "delete from refresh_days where table_name = 'stress_test_results' and calculation_date = %s",
            [hole],
        )
    capsys.readouterr()

    assert cli.main(["run", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)

    assert [one["day"] for one in figures["days"]] == [str(hole)]
    assert figures["days"][0]["state"] == "complete"


def test_a_dry_run_writes_nothing(evening: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """--dry-run says which days, and leaves every table as it is."""
    assert cli.main(["run", "--dry-run"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"would run {day}" for day in DAYS]
    assert lines[0].startswith(f"would run {DAYS[0]}: due, missing: portfolio_snapshots, ")
    with evening.connect() as connection:
        assert connection.execute("select count(*) from refresh_days").fetchone() == (0,)


def test_run_of_selected_assets_leaves_the_others(evening: Database) -> None:
    """--select materializes the named assets alone."""
    assert cli.main(["run", "--date", str(DAYS[0]), "--select", "portfolio_snapshots,correlation_calculations"]) == 0

    with evening.connect() as connection:
        tables = connection.execute("select table_name from refresh_days order by 1").fetchall()
    assert tables == [("correlation_calculations",), ("portfolio_snapshots",)]


def test_status_says_in_words_what_each_stretch_of_days_is(
    evening: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Complete days, a failed symbol batch, days that are due: each with the reason and the mend."""
    cli.main(["run", "--from", str(DAYS[0]), "--to", str(DAYS[1])])
    with evening.connect() as connection:
        connection.execute(
            "update batch_run_tracking set status = 'failed' where batch_type = 'symbol_batch' and target_date = %s",
            [DAYS[-1]],
        )
    capsys.readouterr()

    assert cli.main(["status", "--json"]) == 0
    found = {one["day"]: (one["state"], one["why"], one["mend"]) for one in json.loads(capsys.readouterr().out)["days"]}
    assert cli.main(["status"]) == 0
    words = capsys.readouterr().out

    everything = "missing: portfolio_snapshots, correlation_calculations, factor_exposures, stress_test_results"
    assert found[str(DAYS[0])] == ("complete", "every portfolio is accounted for", "")
    assert found[str(DAYS[2])] == ("due", everything, f"refresh-assets run --date {DAYS[2]} --scope missing")
    assert found[str(DAYS[-1])] == ("blocked", "the symbol batch says failed", "wait for it, or run it again")
    assert "Up to 2020-02-24: 1 blocked, 2 complete, 2 due" in words


@pytest.mark.usefixtures("evening")
def test_status_of_a_day_names_everything_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    """One day in full: tables, and each omission with its mend."""
    cli.main(["run", "--date", str(DAYS[0])])
    capsys.readouterr()

    assert cli.main(["status", "--date", str(DAYS[0])]) == 0

    out = capsys.readouterr().out
    assert f"{DAYS[0]}: complete, every portfolio is accounted for." in out
    assert "no_price  1 in portfolio_snapshots" in out
    assert (
        "(RDS.B): close_price is missing for the day. Mend: have the symbol batch load it, then re-run the day." in out
    )


def test_a_blocked_day_ends_with_3(evening: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Asked for or due: a day whose symbol batch is not complete is not run, and the exit code says so."""
    with evening.connect() as connection:
        connection.execute(
            "update batch_run_tracking set status = 'running' where batch_type = 'symbol_batch' and target_date = %s",
            [DAYS[-1]],
        )

    assert cli.main(["run", "--date", str(DAYS[-1])]) == 3
    asked = capsys.readouterr().out
    assert cli.main(["run"]) == 3

    assert asked == "2020-02-24 is blocked: the symbol batch says running. What to do: wait for it, or run it again.\n"
    with evening.connect() as connection:
        done = connection.execute("select count(*) from refresh_complete_days").fetchone()
    assert done == (4,)


def test_a_failed_portfolio_ends_with_1(evening: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """A book that no column can hold fails by name; every other book is there."""
    with evening.connect() as connection:
        connection.execute(
            "update positions set quantity = 9e17 where symbol = 'AAPL' and portfolio_id ="
            " (select id from portfolios where name like 'Northgate%')"
        )

    assert cli.main(["run", "--date", str(DAYS[0]), "--json"]) == 1

    day = json.loads(capsys.readouterr().out)["days"][0]
    assert (day["state"], day["failed"]) == ("complete", 1)
    assert day["tables"]["portfolio_snapshots"] == day["portfolios"] - 1


def test_a_day_that_cannot_be_written_costs_that_day_alone(
    evening: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """One bad day in a range: the run says so and ends with 1; every other day is complete in every table."""
    broken = DAYS[2]
    with evening.connect() as connection:
        connection.execute(f"alter table factor_exposures add constraint broken check (calculation_date <> '{broken}')")

    assert cli.main(["run", "--json"]) == 1

    found = {one["day"]: one["state"] for one in json.loads(capsys.readouterr().out)["days"]}
    assert found == {str(day): "due" if day == broken else "complete" for day in DAYS}


REFUSED = [
    (["run", "--date", "2020-02-22"], "2020-02-22 is not a trading day (Saturday)"),
    (["run", "--date", "2020-02-17"], "2020-02-17 is not a trading day (Washington's Birthday)"),
    (["run", "--date", "2020-02-25"], "2020-02-25 is later than the effective trading date 2020-02-24"),
    (["run", "--date", "2019-12-30"], "2019-12-30 is before the first partition, 2020-02-18"),
    (["run", "--date", "24.2.2020"], "'24.2.2020' is not a date YYYY-MM-DD"),
    (["run", "--date", "2020-02-30"], "'2020-02-30' is not a date YYYY-MM-DD"),
    (["run", "--from", "2020-02-20"], "a range needs both ends"),
    (["run", "--from", "2020-02-21", "--to", "2020-02-20"], "the range begins on 2020-02-21 and ends before it"),
    (["run", "--date", "2020-02-20", "--to", "2020-02-21"], "--date and a range were both given"),
    (["run", "--select", "snapshots"], "--select names no asset of the night: snapshots"),
    (["run", "--scope", "some"], "argument --scope: invalid choice: 'some'"),
    (["run", "--nonsense"], "refresh-assets run has no option --nonsense. Mend: see refresh-assets run --help."),
    (["run", "--dat=2020-02-24"], "refresh-assets run has no option --dat=2020-02-24. Mend: write --date, or see "),
    (["nonsense"], "argument COMMAND: invalid choice: 'nonsense'"),
    (["--json"], "refresh-assets has no option --json. Mend: see refresh-assets --help."),
    (["grants"], "the following arguments are required: --role. Mend: see refresh-assets grants --help."),
    (["status", "--date", "2020-02-22"], "2020-02-22 is not a trading day (Saturday)"),
    (["restatements", "--date", "2020-02-22"], "2020-02-22 is not a trading day (Saturday)"),
    (["run", "2020-02-24"], "'2020-02-24' is one word too many for refresh-assets run. Mend: name a day with --date"),
]


@pytest.mark.parametrize(("words", "what"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_cannot_be_carried_out_is_one_line_with_its_mend(
    evening: Database, capsys: pytest.CaptureFixture[str], words: list[str], what: str
) -> None:
    """Usage errors: exit code 2, one line on stderr that says what is wrong and how to mend it, nothing written."""
    assert cli.main(words) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"refresh-assets: {what}"), err
    assert " Mend: " in err
    assert err.count("\n") == 1
    with evening.connect() as connection:
        assert connection.execute("select count(*) from refresh_days").fetchone() == (0,)


def test_an_unset_database_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Without REFRESH_DATABASE_URL: exit code 2, and the variable by name."""
    assert cli.main(["status"]) == 2

    assert capsys.readouterr().err == (
        "refresh-assets: REFRESH_DATABASE_URL is not set. Mend: set it to postgresql://USER:PASSWORD@HOST:PORT/DATABASE;"
        " `refresh-assets demo` needs none.\n"
    )


@pytest.mark.parametrize("command", ["init", "run", "status"])
def test_an_unreachable_database_ends_with_4_and_never_shows_the_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Nobody listens on that port: one line with host and port."""
    monkeypatch.setenv("REFRESH_DATABASE_URL", "postgresql://night:s3cret-pass@127.0.0.1:9/books")

    assert cli.main([command]) == 4

    err = capsys.readouterr().err
    assert err.startswith("refresh-assets: The database at 127.0.0.1:9/books does not answer (")
    assert err.count("\n") == 1
    assert "s3cret-pass" not in err


def test_a_platform_without_tables_is_told_to_init(
    empty_database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing tables: exit code 2, by name, with the mend; init then makes them, and run has nothing to do."""
    monkeypatch.setenv("REFRESH_DATABASE_URL", empty_database.url)

    assert cli.main(["run"]) == 2
    refused = capsys.readouterr().err
    assert cli.main(["init"]) == 0
    assert cli.main(["init", "--json"]) == 0
    again = capsys.readouterr().out
    assert cli.main(["run"]) == 0

    assert refused.startswith("refresh-assets: the platform's schema 'public' lacks portfolios, positions, ")
    assert "Mend: run `refresh-assets init`" in refused
    assert '"created_platform_tables": []' in again


def test_a_wrong_setting_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that cannot be used: exit code 2, its name, its value, what is expected."""
    monkeypatch.setenv("REFRESH_MIN_PRICE_COVERAGE", "80")

    assert cli.main(["status"]) == 2

    err = capsys.readouterr().err
    assert err.startswith("refresh-assets: REFRESH_MIN_PRICE_COVERAGE is '80', expected a fraction from 0 to 1")
    assert err.count("\n") == 1


COMMANDS = ("init", "run", "status", "restatements", "explain", "report", "onboard", "grants", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    """--help prints what the command is for, and every one of its options, and ends with 0."""
    assert cli.main([command, "--help"]) == 0

    out = capsys.readouterr().out
    assert out.startswith(f"usage: refresh-assets {command} ")
    assert "  --json " in out


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_without_a_command_all_are_named(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """As --help does, which ends with 0."""
    assert cli.main(words) == 0

    out = capsys.readouterr().out
    assert out.startswith("usage: refresh-assets [-h] [--version] COMMAND ...")
    named = [line.split()[0] for line in out.splitlines() if line[:4] == "    " and line[4:5].strip()]
    assert tuple(named) == COMMANDS


def test_help_loads_nothing_heavy() -> None:
    """Start-up imports no Dagster, SQLAlchemy, pandas, numpy or Arrow."""
    code = (
        "import sys; from refresh_assets import cli; cli.main(['--help']);"
        "print([m for m in ('dagster','sqlalchemy','pandas','numpy','pyarrow','holidays') if m in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["status", "--date", str(DAYS[0])]], ids=" ".join)
def test_status_loads_nothing_that_it_does_not_need(evening: Database, words: list[str]) -> None:
    """A look at some days imports no Dagster, SQLAlchemy, Alembic, pandas or pydantic, and no holidays, which another process
    works out; one at days that agree with their inputs, nothing that computes or writes a day.

    In a process of its own, which sees the same evening."""
    of_a_day = () if "--date" in words else ("refresh_assets.core.snapshots", "refresh_assets.store.write")
    cli.main(["run", "--from", str(DAYS[0]), "--to", str(DAYS[1])])
    code = (
        "import sys; from datetime import datetime; from refresh_assets import cli;"
        f"cli._clock.append(datetime.fromisoformat({cli._clock[0].isoformat()!r})); code = cli.main({words!r});"
        "unwanted = ('dagster', 'sqlalchemy', 'alembic', 'pandas', 'scipy', 'apprise', 'opentelemetry', 'pydantic',"
        f" 'holidays', *{of_a_day!r});"
        "print(code, [name for name in unwanted if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "REFRESH_DATABASE_URL": evening.url, "REFRESH_START_DATE": str(DAYS[0])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)

    assert done.stderr.strip() == "0 []"
    assert str(DAYS[0]) in done.stdout


def test_the_installed_status_leaves_with_what_it_printed(evening: Database) -> None:
    """The process ends at once: output that waits in a buffer is written before, and the exit code is the command's."""
    program = Path(sys.executable).with_name("refresh-assets")
    environment = {**os.environ, "REFRESH_DATABASE_URL": evening.url, "REFRESH_START_DATE": str(DAYS[0])}
    done = subprocess.run([program, "status", "--json"], capture_output=True, text=True, check=True, env=environment)
    wrong = subprocess.run([program, "status", "--date", "never"], capture_output=True, text=True, env=environment)

    assert "counts" in json.loads(done.stdout)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("refresh-assets: 'never' is not a date")


def test_the_installed_command_is_this_one() -> None:
    """`refresh-assets --version` prints the package's version."""
    program = Path(sys.executable).with_name("refresh-assets")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "0.1.0"
