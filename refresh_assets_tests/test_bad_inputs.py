"""A hundred bad inputs: each is answered with its exact words, and nobody else's bytes change.

Here: what is done with the tables of bad_inputs/. Not here: the tables; faults one by one, with what follows from each
(store/test_bad_rows.py, store/test_bad_market.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from refresh_assets import cli
from refresh_assets.calendar import NEW_YORK
from refresh_assets.core.scenarios import read
from refresh_assets.errors import ScenarioFileError, SettingsError
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.provision import head_revision
from refresh_assets_tests import worlds
from refresh_assets_tests.bad_inputs import commands, files, market, positions, schemas, settings
from refresh_assets_tests.bad_inputs.cases import BadRow, Refused
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.worlds import (
    BEFORE,
    DAY,
    exceptions,
    execute,
    insert,
    portfolio,
    position,
    run,
    table_rows,
    uid,
)

ROWS = [*positions.POSITIONS, *positions.HISTORY]
OF_ROWS = ["portfolio: no date at all", "portfolio: there twice", "position: there twice", "position: of nobody"]
UNIQUE = {
    "portfolios": ["portfolios_pkey"],
    "positions": ["positions_pkey"],
    "private_valuations": ["private_valuations_pkey"],
    "market_data_cache": ["market_data_cache_symbol_date_key"],
    "symbol_factor_exposures": ["symbol_factor_exposures_symbol_factor_id_calculation_date_key"],
    "factor_definitions": ["factor_definitions_pkey", "factor_definitions_name_key"],
}
"""Constraints that a platform need not have: without them, rows can stand there twice, or without an id."""
NOT_NULL = [("factor_definitions", "id"), ("private_valuations", "as_of")]


def number_of(place: int) -> int:
    """The portfolio of a line of the tables."""
    return 1000 + place


def test_the_tables_hold_a_hundred_bad_inputs() -> None:
    """Each with an id of its own."""
    names = [one.what for one in ROWS] + [one.what for one in market.CLOSES] + OF_ROWS
    names += [one[0] for one in market.BETAS] + [one[0] for one in market.FACTORS]
    refused: list[Refused] = [*files.FILES, *settings.SETTINGS, *commands.COMMANDS, *schemas.SCHEMAS]
    names += [one.what for one in refused]
    assert len(names) == len(set(names))
    assert len(names) >= 100


@dataclass(frozen=True)
class Night:
    """A night over every bad row at once: the clean night's rows before it, its own, and what it named."""

    database: Database
    clean: dict[str, list[str]]
    dirty: dict[str, list[str]]
    named: list[tuple[Any, ...]]
    completed: int

    def of(self, portfolio_: UUID) -> set[tuple[Any, ...]]:
        """(code, position, symbol, detail) of everything named of a portfolio."""
        return {(row[1], *row[3:]) for row in self.named if row[2] == portfolio_}


@pytest.fixture(scope="module")
def night(server_url: str, initialised_template: str) -> Iterator[Night]:
    """All bad rows in one platform; every line of the tables has a portfolio of its own with two sound positions."""
    with new_database(server_url, initialised_template) as (_, url):
        database = Database(url)
        worlds.three_portfolios(database)
        _sound_rows(database)
        run(database)
        clean = _sound_bytes(database)
        for table, names in UNIQUE.items():
            for name in names:
                execute(database, f"alter table {table} drop constraint {name}")
        for table, column in NOT_NULL:
            execute(database, f"alter table {table} alter {column} drop not null")
        _bad_rows(database)
        run(database, run_id="run-2")
        worlds.update_positions(database)
        completed = len(execute(database, "select * from refresh_complete_days"))
        yield Night(database, clean, _sound_bytes(database), exceptions(database), completed)


def _sound_rows(database: Database) -> None:
    for place in range(len(ROWS) + len(market.CLOSES)):
        number = number_of(place)
        insert(database, "portfolios", portfolio(number))
        insert(
            database, "positions", position(number * 10, number, "AAA", 3), position(number * 10 + 1, number, "BBB", 4)
        )


def _bad_rows(database: Database) -> None:
    for place, one in enumerate(ROWS):
        number = number_of(place)
        mine = uid("position", number * 10 + 9)
        insert(database, "positions", {**position(0, number, quantity=5), **one.values, "id": mine})
        for table, rows in one.more.items():
            own = {"id": uid("event", number)} if table == "position_realized_events" else {}
            insert(database, table, *({**row, **own, "position_id": mine} for row in rows))
    for place, close in enumerate(market.CLOSES, len(ROWS)):
        number = number_of(place)
        insert(database, "positions", position(number * 10 + 9, number, f"S{place}", 5))
        for day, prices in ((BEFORE, close.before), (DAY, close.close)):
            closes = [{"symbol": f"S{place}", "date": day, "close_price": price} for price in prices]
            insert(database, "market_data_cache", *closes)
    for _, rows in market.HARMLESS:
        insert(database, "market_data_cache", *rows)
    ((factor,),) = execute(database, "select id from factor_definitions where name = 'Market'")
    for place, (_, betas) in enumerate(market.BETAS):
        insert(database, "portfolios", portfolio(2000 + place))
        insert(database, "positions", position(20000 + place, 2000 + place, f"B{place}", 5))
        row = {"symbol": f"B{place}", "factor_id": factor, "calculation_date": DAY}
        insert(database, "symbol_factor_exposures", *({**row, "beta_value": beta} for beta in betas))
    insert(database, "factor_definitions", market.FIRST)
    for place, (_, values, _) in enumerate(market.FACTORS):
        insert(database, "factor_definitions", {**market.SOUND, "id": uid("user", 80 + place), **values})
    insert(database, "portfolios", portfolio(3001, created_at=None), portfolio(3002), portfolio(3002))
    insert(database, "positions", position(30010, 3001), position(30020, 3002), position(30020, 3002))
    insert(database, "positions", position(30030, 3003))


def _sound_bytes(database: Database) -> dict[str, list[str]]:
    """Every row of the three portfolios that nothing bad was added to, but for factors that were."""
    ids = [str(uid("portfolio", number)) for number in (1, 2, 3)]
    factors = [str(row[0]) for row in execute(database, "select id from factor_definitions where display_order < 50")]
    return {
        table: [
            row
            for row in table_rows(database, table)
            if any(one in row for one in ids) and (table != "factor_exposures" or any(one in row for one in factors))
        ]
        for table in worlds.WRITERS
    }


def test_every_other_portfolio_keeps_every_byte_of_a_clean_night(night: Night) -> None:
    """And the day is complete, for everybody."""
    assert night.dirty == night.clean
    assert all(night.clean.values())
    assert night.completed == 1
    failed = [row for row in night.named if row[1] in ("computation_failed", "value_overflow")]
    assert failed == []


@pytest.mark.parametrize("place", range(len(ROWS)), ids=[one.what for one in ROWS])
def test_a_bad_row_is_named_by_row_field_and_mend(night: Night, place: int) -> None:
    """Once, in the portfolio's own exceptions; the sound positions beside it count."""
    one: BadRow = ROWS[place]
    number = number_of(place)
    mine = uid("position", number * 10 + 9)
    about = f" ({one.symbol})" if one.symbol else ""
    found = night.of(uid("portfolio", number))
    detail = f"positions row {mine}{about}: {one.words}, then re-run the day."
    assert {row for row in found if row[0] not in one.besides} == {(one.code, mine, one.symbol, detail)}
    assert {row[0] for row in found} == {one.code, *one.besides}
    _has_snapshot(night, number, one.unpriced)


@pytest.mark.parametrize("place", range(len(market.CLOSES)), ids=[one.what for one in market.CLOSES])
def test_a_bad_close_is_named_by_row_field_and_mend(night: Night, place: int) -> None:
    """Of whoever holds the symbol, and of nobody else."""
    one = market.CLOSES[place]
    number, symbol = number_of(len(ROWS) + place), f"S{len(ROWS) + place}"
    mine = uid("position", number * 10 + 9)
    detail = f"positions row {mine} ({symbol}): {one.words}, then re-run the day."
    assert night.of(uid("portfolio", number)) == {(one.code, mine, symbol, detail)}
    _has_snapshot(night, number, one.unpriced)


def _has_snapshot(night: Night, number: int, unpriced: int) -> None:
    found = execute(
        night.database,
        "select positions_unpriced from portfolio_snapshots where portfolio_id = %s",
        uid("portfolio", number),
    )
    assert found == [(unpriced,)]


def test_bad_betas_factors_and_owners_are_named(night: Night) -> None:
    """Each with its whole text; they belong to no portfolio, or the portfolio itself is at fault."""
    told = [(row[1], row[4], row[5]) for row in night.named if row[1] in ("bad_beta", "bad_factor")]
    betas = [("bad_beta", f"B{place}", market.BETA.format(f"B{place}")) for place in range(len(market.BETAS))]
    assert sorted(told, key=str) == sorted(
        [*betas, *(("bad_factor", None, words) for _, _, words in market.FACTORS)], key=str
    )
    owners = {row[1:] for row in night.named if row[1] in ("bad_dates", "duplicate_row", "orphan_position")}
    nobody, twice, undated, doubled = uid("position", 30030), uid("position", 30020), 3001, 3002
    assert owners == {
        ("orphan_position", None, nobody, None, f"positions row {nobody}: {positions.NOBODY}, then re-run the day."),
        ("duplicate_row", None, twice, None, f"positions row {twice}: {positions.TWICE}, then re-run the day."),
        *(
            (
                code,
                uid("portfolio", number),
                None,
                None,
                f"portfolios row {uid('portfolio', number)}: {words}, then re-run the day.",
            )
            for code, number, words in (
                ("bad_dates", undated, positions.NO_DATE),
                ("duplicate_row", doubled, positions.PORTFOLIO_TWICE),
            )
        ),
    }


@pytest.mark.parametrize("one", files.FILES, ids=[one.what for one in files.FILES])
def test_a_bad_scenario_file_is_refused_in_one_line(one: Refused, tmp_path: Path) -> None:
    """By file, place, field and mend."""
    file = tmp_path / "mine.toml"
    file.write_bytes(one.given)
    with pytest.raises(ScenarioFileError) as refused:
        read(file)
    assert str(refused.value).replace(str(file), "mine.toml") == one.words
    assert refused.value.exit_code == one.exit_code


@pytest.mark.parametrize("one", settings.SETTINGS, ids=[one.what for one in settings.SETTINGS])
def test_a_bad_setting_is_refused_in_one_line(one: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name, with what is expected and the mend."""
    for name, value in one.given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    assert str(refused.value) == one.words
    assert refused.value.exit_code == one.exit_code


@pytest.mark.parametrize("one", commands.COMMANDS, ids=[one.what for one in commands.COMMANDS])
def test_a_bad_command_line_is_refused_in_one_line(
    one: Refused, night: Night, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the evening of the day; nothing is printed as if it were a result."""
    monkeypatch.setenv("REFRESH_DATABASE_URL", night.database.url)
    monkeypatch.setenv("REFRESH_START_DATE", str(BEFORE))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setattr(cli, "_clock", [datetime(2026, 3, 13, 21, 30, tzinfo=NEW_YORK)])
    assert cli.main(one.given) == one.exit_code
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"refresh-assets: {one.words}\n")


@pytest.mark.parametrize("one", schemas.SCHEMAS, ids=[one.what for one in schemas.SCHEMAS])
def test_a_bad_schema_is_refused_in_one_line(
    one: Refused, database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By `status` and every run, before anything is written."""
    worlds.three_portfolios(database)
    for statement in one.given:
        execute(database, statement)
    monkeypatch.setenv("REFRESH_DATABASE_URL", database.url)
    monkeypatch.setenv("REFRESH_START_DATE", str(BEFORE))
    monkeypatch.setattr(cli, "_clock", [datetime(2026, 3, 13, 21, 30, tzinfo=NEW_YORK)])
    assert cli.main(["status"]) == one.exit_code
    printed = capsys.readouterr()
    assert re.sub(r"\s+", " ", printed.err) == f"refresh-assets: {one.words.format(head=head_revision())} "
    assert printed.out == ""
