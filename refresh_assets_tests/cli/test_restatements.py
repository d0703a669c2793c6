"""What `status`, `run --dry-run` and `restatements` say of past days, and that only a run writes.

Here: the commands as a person types them, on three portfolios and five nights. Not here: which days each kind of change
touches (store/test_stale.py), the figures of a record (store/test_restatement.py)."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier

from refresh_assets import cli
from refresh_assets.calendar import NEW_YORK
from refresh_assets.store import stale
from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets_tests import worlds
from refresh_assets_tests.cli.conftest import figures, said
from refresh_assets_tests.worlds import CALENDAR, DAY, LOCKS_OF_OTHERS, execute, insert, run, uid

NIGHTS = CALENDAR.days(CALENDAR.nth_before(DAY, 4), DAY)
MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = NIGHTS
SPAN = f"--from {MONDAY} --to {FRIDAY}"


@pytest.fixture
def world(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Three portfolios and their five nights, and the settings that point to them, on Friday at 21:30."""
    worlds.three_portfolios(database)
    run(database, *NIGHTS)
    monkeypatch.setenv("REFRESH_DATABASE_URL", database.url)
    monkeypatch.setenv("REFRESH_START_DATE", str(MONDAY))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(cli, "_clock", [datetime(DAY.year, DAY.month, DAY.day, 21, 30, tzinfo=NEW_YORK)])
    insert(database, "batch_run_tracking", *worlds.batch(*NIGHTS))
    return database


def correct_a_close(database: Database, symbol: str = "AAA") -> None:
    """Friday's close of a symbol is 2 higher than the night saw it."""
    statement = "update market_data_cache set close_price = close_price + 2 where symbol = %s and date = %s"
    execute(database, statement, symbol, FRIDAY)


def everything(database: Database) -> dict[str, Any]:
    """Each relation of the database with its rows and who wrote them, and every lock that is still held."""
    with database.connect() as connection:
        names = connection.execute(
            "select relname, relkind from pg_class where relnamespace = 'public'::regnamespace order by 1"
        ).fetchall()
        content: dict[str, Any] = {"relations": names}
        for name, kind in names:
            if kind == "r":
                query = SQL("select md5(string_agg(t::text || t.xmin, '|' order by t::text)) from {} t")
                content[name] = connection.execute(query.format(Identifier(name))).fetchone()
    content["locks"] = held_locks(database)
    return content


def held_locks(database: Database) -> list[tuple[Any, ...]]:
    """Those of others that stay: a process of the server ends a moment after its client, on a busy machine a long one."""
    for _ in range(100):
        if not execute(database, LOCKS_OF_OTHERS):
            break
        time.sleep(0.1)
    return execute(database, LOCKS_OF_OTHERS)


def test_status_is_as_it_was_where_nothing_changed(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a word of what could have been, and an empty list for programs."""
    assert said(capsys, "status").endswith("every portfolio is accounted for nothing Up to 2026-03-13: 5 complete")
    assert figures(capsys, "status")["stale"] == {
        "days": [],
        "closes": [],
        "snapshots": [],
        "days_without_snapshots": 0,
        "complete_days": 5,
        "latest_days_looked_at": dict.fromkeys(("prices", "window", "positions", "valuations", "betas"), 5),
        "days_of_another_version": 0,
        "days_of_other_scenarios": [],
    }
    assert "Its inputs are those that it was computed from." in said(capsys, "status", "--date", str(FRIDAY))
    assert world


def test_status_names_a_corrected_close_and_what_to_type(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """The day stays complete; which close, in whose books, how large, and the command that shows more."""
    correct_a_close(world)
    marked = "select close_price from refresh_marks where symbol = 'AAA' and calculation_date = %s"
    old = float(execute(world, marked, FRIDAY)[0][0])

    words, found = said(capsys, "status"), figures(capsys, "status")

    assert "Up to 2026-03-13: 5 complete" in words
    assert f"refresh-assets run --date {FRIDAY} --dry-run (1 no longer agree with their inputs: see below)" in words
    assert "1 of 5 complete days no longer agree with what they were computed from." in words
    assert f"{FRIDAY}: closes of the day refresh-assets run --date {FRIDAY} --dry-run, then without --dry-run" in words
    assert (
        f"AAA {old:,.10g} -> {old + 2:,.10g} on {FRIDAY}: correction, times {1 + 2 / old:.4g}."
        " In 2 portfolios, 210 USD; most in Portfolio 1, +200."
    ) in words
    assert found["counts"] == {"complete": 5}
    assert found["stale"]["days"] == [
        {
            "day": str(FRIDAY),
            "inputs": ["prices"],
            "mend": f"refresh-assets run --date {FRIDAY} --dry-run, then without --dry-run",
        }
    ]
    assert "Snapshots that would change" not in words
    assert figures(capsys, "status", "--date", str(FRIDAY))["stale"]["snapshots"] == []
    (close,) = found["stale"]["closes"]
    assert (close["symbol"], close["portfolios"], close["portfolio"]) == ("AAA", 2, "Portfolio 1")
    assert (close["usd"], close["portfolio_usd"]) == (pytest.approx(210), pytest.approx(200))


def test_status_names_the_portfolios_of_a_late_sale_and_of_a_corrected_valuation(
    world: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 of the 100 AAA of portfolio 1, sold on Wednesday, and 500 USD more in portfolio 2: days, names, USD."""
    execute(world, "update positions set quantity = 60 where id = %s", uid("position", 11))
    insert(world, "position_realized_events", worlds.event(1, 11, WEDNESDAY, 40))
    execute(world, "update private_valuations set market_value = market_value + 500")
    marked = "select close_price from refresh_marks where symbol = 'AAA' and calculation_date = %s"
    sold = {day: 40 * float(execute(world, marked, day)[0][0]) for day in (WEDNESDAY, FRIDAY)}

    words, found = said(capsys, "status"), figures(capsys, "status")["stale"]

    lines = (
        f"on 2 days, {THURSDAY} to {FRIDAY}: 2 portfolios, {sold[FRIDAY] + 500:,.0f} USD of total_value;"
        f" most in Portfolio 1, {-sold[FRIDAY]:+,.0f}.",
        f"on {WEDNESDAY}: 2 portfolios, {sold[WEDNESDAY] + 500:,.0f} USD of total_value;"
        f" most in Portfolio 1, {-sold[WEDNESDAY]:+,.0f}.",
        f"on 2 days, {MONDAY} to {TUESDAY}: 1 portfolio, 500 USD of total_value; most in Portfolio 2, +500.",
    )
    assert " ".join(lines) in words
    assert f"{WEDNESDAY} to {FRIDAY} (3 days): positions or their sales; hand-entered valuations" in words
    last = found["snapshots"][-1]
    assert (last["days"], last["portfolios"], last["portfolio"]) == ([str(MONDAY), str(TUESDAY)], 1, "Portfolio 2")
    assert [last["usd"], last["portfolio_usd"], last["new"] - last["old"]] == pytest.approx([500] * 3)
    monkeypatch.setattr(stale, "Budget", partial(stale.Budget, snapshots=1))
    assert "3 more days were not computed for this: refresh-assets status --date DAY" in said(capsys, "status")


def test_status_of_a_day_names_the_portfolios_of_a_repaired_quantity(
    world: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """50 CCC instead of 40 in portfolio 3; of a day in full, and of all, the same figures."""
    execute(world, "update positions set quantity = 50 where id = %s", uid("position", 31))
    marked = "select close_price from refresh_marks where symbol = 'CCC' and calculation_date = %s"
    more = 10 * float(execute(world, marked, FRIDAY)[0][0])

    words, found = said(capsys, "status", "--date", str(FRIDAY)), figures(capsys, "status", "--date", str(FRIDAY))

    size = f"1 portfolio, {more:,.0f} USD of total_value; most in Portfolio 3, {more:+,.0f}."
    assert f"the figures are of the latest of the days: on {FRIDAY}: {size}" in words
    (day,), (every,) = found["stale"]["snapshots"], figures(capsys, "status")["stale"]["snapshots"]
    assert (day.pop("days"), every.pop("days")) == ([str(FRIDAY)], [str(day) for day in NIGHTS])
    assert day == every


def test_status_of_a_day_looks_at_every_kind_of_input(
    world: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A factor, the scenario file and a setting too, which a look at all days leaves out."""
    from refresh_assets.core import scenarios

    text = (Path(scenarios.__file__).parents[1] / "stress_scenarios.toml").read_text()
    (tmp_path / "mine.toml").write_text(text.replace("-0.35", "-0.36"))
    monkeypatch.setenv("REFRESH_SCENARIOS_FILE", str(tmp_path / "mine.toml"))
    monkeypatch.setenv("REFRESH_CORRELATION_MAX_SYMBOLS", "50")
    correct_a_close(world, "SPY")
    execute(world, "update positions set entry_price = 51 where id = %s", uid("position", 31))

    found = figures(capsys, "status", "--date", str(FRIDAY))["stale"]

    assert found["days"][0]["inputs"] == ["prices", "positions", "factors", "scenarios", "settings"]
    assert f"What to do: refresh-assets run --date {FRIDAY} --dry-run, then without --dry-run" in said(
        capsys, "status", "--date", str(FRIDAY)
    )
    assert figures(capsys, "status")["stale"]["days"][-1]["inputs"] == ["prices", "positions"]


def test_status_tells_changed_scenarios_in_one_line_and_a_file_that_no_run_could_use(
    world: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No day is outdated in the table for it; what stands is told though the file is not TOML."""
    from refresh_assets.core import scenarios

    file, line = tmp_path / "mine.toml", "The stress scenarios changed since"
    assert line not in said(capsys, "status"), world
    text = (Path(scenarios.__file__).parents[1] / "stress_scenarios.toml").read_text()
    file.write_text(text.replace("-0.35", "-0.36"))
    monkeypatch.setenv("REFRESH_SCENARIOS_FILE", str(file))

    words, found = said(capsys, "status"), figures(capsys, "status")
    file.write_text("[scenario")
    broken, told = said(capsys, "status"), figures(capsys, "status")

    assert (
        f"{line} 5 of the 5 complete days were computed (latest: {FRIDAY}): refresh-assets run --date {FRIDAY} --dry-run"
        in words
    )
    assert (found["stale"]["days"], found["scenarios_problem"]) == ([], None)
    assert found["stale"]["days_of_other_scenarios"] == [str(day) for day in NIGHTS]
    assert f"The stress scenarios cannot be used, so every run would fail: {file}: " in broken
    assert "5 complete" in broken
    assert "Mend: " in told["scenarios_problem"]
    assert told["stale"]["days_of_other_scenarios"] == []


def test_a_split_over_all_past_closes_is_one_line(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """130 closes of a symbol over the whole of its past: five nights, one line, called what it is."""
    execute(world, "update market_data_cache set close_price = round(close_price / 4, 4) where symbol = 'CCC'")

    words = said(capsys, "status")

    assert words.count("CCC") == 1
    assert f"on 5 days, {MONDAY} to {FRIDAY}: looks like a 4-for-1 split from 2026-03-16 or later." in words
    assert f"run {SPAN} --dry-run" in words


def test_what_changed_everywhere_is_still_said_in_a_few_lines(
    world: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every close of every symbol by another ratio, and every position."""
    execute(world, "update market_data_cache set close_price = close_price * (1 + extract(day from date) / 1000)")
    execute(world, "update positions set entry_price = entry_price + 1")
    capsys.readouterr()

    assert cli.main(["status"]) == 0

    assert len(capsys.readouterr().out.splitlines()) < 70


def test_a_dry_run_shows_what_the_run_then_records(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Table by table: rows, portfolios, the largest change and whose it is, which inputs differ and which closes."""
    correct_a_close(world)

    would = figures(capsys, "run", "--date", str(FRIDAY), "--dry-run")
    run(world, FRIDAY, run_id="run-2")
    done = figures(capsys, "restatements")["restatements"]

    names = ("rows", "portfolios", "column", "old", "new", "inputs_changed", "prices_changed", "portfolio")
    assert [one["state"] for one in would["days"]] == ["complete"]
    (day,) = would["would_change"]
    assert (day["day"], day["skipped"]) == (str(FRIDAY), None)
    assert {one["table"]: {name: one[name] for name in names} for one in done} == {
        table: {name: found[name] for name in names} for table, found in day["tables"].items()
    }
    snapshots = day["tables"]["portfolio_snapshots"]
    assert (snapshots["portfolio"], snapshots["largest_change"]) == ("Portfolio 1", pytest.approx(200))
    assert snapshots["inputs_changed"] == ["prices"]
    assert snapshots["prices_changed"]["count"] == 1
    assert snapshots["prices_changed"]["largest"][0][0] == "AAA"


def test_a_dry_run_writes_nothing_at_all(
    world: Database, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row, relation or lock in the database, no run in Dagster, over days that stand and one that does not."""
    correct_a_close(world)
    insert(world, "portfolios", worlds.portfolio(4))
    insert(world, "positions", worlds.position(41, 4, "AAA", 1000), worlds.position(42, 4, "BBB", 7))
    execute(world, "delete from refresh_days where calculation_date = %s", TUESDAY)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    before = everything(world)

    words = said(capsys, "run", *SPAN.split(), "--dry-run")

    assert everything(world) == before
    assert before["locks"] == []
    assert list(tmp_path.iterdir()) == []
    assert f"would run {TUESDAY}: due, missing: portfolio_snapshots" in words
    assert f"{TUESDAY} would be restated" not in words
    assert f"{MONDAY} would be restated. What changed since: " in words
    assert f"{FRIDAY} would be restated. What changed since: " in words


def test_a_dry_run_of_a_day_that_agrees_says_so(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Computed for real, and equal."""
    words = said(capsys, "run", "--date", str(FRIDAY), "--dry-run")

    assert words.endswith(f"{FRIDAY} would come out the same, byte for byte.")
    assert figures(capsys, "run", "--date", str(FRIDAY), "--dry-run")["would_change"] == [
        {"day": str(FRIDAY), "skipped": None, "tables": dict.fromkeys(DAY_TABLES)}
    ]
    assert world


def test_a_dry_run_of_a_day_whose_closes_are_gone_says_that_it_would_stay(
    world: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not one close: what stands stays, and nothing is marked as skipped by asking."""
    execute(world, "delete from market_data_cache where date = %s", FRIDAY)
    before = everything(world)

    words = said(capsys, "run", "--date", str(FRIDAY), "--dry-run")

    assert f"{FRIDAY} would be skipped: not one close: what stands would stay." in words
    assert everything(world) == before


def test_a_dry_run_of_one_table_shows_that_table(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """--select as for a run; only due portfolios (--scope missing) change nothing that stands."""
    correct_a_close(world)

    one = figures(capsys, "run", "--date", str(FRIDAY), "--dry-run", "--select", "factor_exposures")
    missing = figures(capsys, "run", "--date", str(FRIDAY), "--dry-run", "--scope", "missing")

    assert list(one["would_change"][0]["tables"]) == ["factor_exposures"]
    assert missing["would_change"] == []


def test_restatements_are_listed_newest_first_with_what_changed_and_why(
    world: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """A split by the first run, an edited valuation by the second."""
    execute(
        world, "update market_data_cache set close_price = close_price / 2 where symbol = 'BBB' and date = %s", FRIDAY
    )
    run(world, FRIDAY, run_id="first-run")
    execute(world, "update private_valuations set market_value = 2234")
    run(world, FRIDAY, run_id="second-run")
    digests = execute(world, "select distinct old_digest, new_digest from refresh_restatements")

    words = said(capsys, "restatements", "--date", str(FRIDAY))

    first, second = words.index("by run first-ru: closes of the day"), words.index("hand-entered valuations")
    assert second < first
    assert "(looks like a 2-for-1 split)" in words[first:]
    assert "portfolio_snapshots 1 1 +1,000.00" in words[second:first]
    assert "long_value of Portfolio 2" in words[second:first]
    assert "correlation_calculations 0 0 no row differs" in words[second:first]
    assert len(digests) == 2
    assert all(f"digest {old[:12]} -> {new[:12]}" in words for old, new in digests)


def test_where_nothing_was_restated_it_says_so(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """In words and as an empty list."""
    assert said(capsys, "restatements") == "No day was ever restated."
    assert said(capsys, "restatements", "--date", str(FRIDAY)) == f"{FRIDAY} was never restated."
    assert figures(capsys, "restatements") == {"restatements": []}
    assert world


def test_a_restated_day_is_silent_again(world: Database, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the command itself: named, run as it says, no longer named."""
    correct_a_close(world)
    assert len(figures(capsys, "status")["stale"]["days"]) == 1

    said(capsys, "run", "--date", str(FRIDAY))

    assert figures(capsys, "status")["stale"]["days"] == []
    assert len(figures(capsys, "restatements")["restatements"]) == 4
