"""A role with the printed grants and nothing else: it runs every night, and can do no more than that.

Here: nights, upgrade, onboarding and the gate under such a role; each right shown to be needed; what it is refused. Not
here: rows of the tables (test_write.py), the command's words on a terminal (cli/)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

from refresh_assets import cli
from refresh_assets.assets.inline_betas import write_betas
from refresh_assets.calendar import NEW_YORK
from refresh_assets.errors import SchemaError, UsageError
from refresh_assets.store import holdings
from refresh_assets.store.alerts import claim_alerts, record_alert
from refresh_assets.store.batches import completed_batches, record_aborted
from refresh_assets.store.database import Database
from refresh_assets.store.days import day_statuses, exceptions_of
from refresh_assets.store.extras import update_market_values
from refresh_assets.store.gate_facts import read_facts
from refresh_assets.store.grants import EXPLAINED, READ, WRITTEN, grant_statements
from refresh_assets.store.onboarding import plan_onboarding
from refresh_assets.store.provision import init
from refresh_assets.store.tracking import Tracking
from refresh_assets_tests import worlds
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.worlds import CALENDAR, execute, insert, portfolio, position, settled, table_rows, uid

ROLE = """night's "own" Role"""
MARCH, APRIL = date(2026, 3, 31), date(2026, 4, 1)
EVENING = datetime(2026, 4, 1, 21, 30, tzinfo=NEW_YORK)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Bank:
    """A platform with a table of its own more, and two ways in: the owner's, and the night's."""

    owner: Database
    night: Database

    def grant(self) -> list[str]:
        """Carry out what the command prints."""
        statements = grant_statements(self.owner, ROLE)
        for statement in statements:
            execute(self.owner, statement)
        return statements


@pytest.fixture
def bank(server_url: str, request: pytest.FixtureRequest) -> Iterator[Bank]:
    """Three portfolios, with our tables to be made in the schema `refresh` or the parameter's; nothing is granted to PUBLIC."""
    schema = getattr(request, "param", "refresh")
    try:
        with new_database(server_url) as (name, url):
            init(Database(url, schema="elsewhere", platform_schema="public"))
            owner = Database(url, schema=schema)
            execute(owner, "drop schema elsewhere cascade")
            worlds.three_portfolios(owner, last=APRIL)
            insert(owner, "batch_run_tracking", *worlds.batch(MARCH, APRIL))
            execute(owner, "create table clients (id int, name text)")
            execute(owner, "alter table positions add column adviser text")
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("revoke all on schema public from public")
                connection.execute(SQL("revoke all on database {} from public").format(Identifier(name)))
                connection.execute(SQL("create role {} login").format(Identifier(ROLE)))
            parts = urlsplit(url)
            own = parts._replace(netloc=f"{quote(ROLE, safe='')}@{parts.netloc.rpartition('@')[2]}").geturl()
            yield Bank(owner, Database(own, schema=schema))
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(SQL("drop role if exists {}").format(Identifier(ROLE)))


@pytest.fixture
def commands(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """The environment's settings are those of the night's role, on the evening of the first of April."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "")  # set by Dagster's storage: put back at the end
    monkeypatch.setenv("REFRESH_DATABASE_URL", bank.night.url)
    monkeypatch.setenv("REFRESH_SCHEMA", bank.night.schema)
    monkeypatch.setenv("REFRESH_START_DATE", str(MARCH))
    monkeypatch.setattr(cli, "_clock", [EVENING])
    return bank


@pytest.mark.parametrize("bank", ["refresh", "public"], indirect=True)
def test_nights_upgrade_onboarding_and_the_gate_run_under_the_role(
    commands: Bank, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Made by the role itself: two months, a replaced day, Dagster's storage; the same rows as the owner's."""
    import dagster as dg

    from refresh_assets.automation.sensor import sensor_look
    from refresh_assets.settings import load

    commands.grant()
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert [cli.main(["init"]), cli.main(["init"])] == [0, 0]
    assert cli.main(["run", "--date", str(MARCH)]) == 0
    with dg.DagsterInstance.get() as instance:
        look = sensor_look(load(), instance, EVENING, None)
        assert [request.tags["nights"] for request in look.run_requests or []] == [str(APRIL)]
        assert cli.main(["run"]) == 0
        execute(commands.owner, "update positions set quantity = 6 where id = %s", uid("position", 21))
        assert cli.main(["run", "--from", str(MARCH), "--to", str(APRIL)]) == 0
        recorded = [run.status.value for run in instance.get_runs()]
    assert recorded == ["SUCCESS"] * 3
    insert(commands.owner, "portfolios", portfolio(4, inception_date=MARCH, created_at=EVENING))
    insert(commands.owner, "positions", position(41, 4, "AAA", 3), position(42, 4, "BBB", 3))
    assert cli.main(["onboard", "Portfolio 4"]) == 0
    assert [cli.main(["status"]), cli.main(["status", "--date", str(MARCH)])] == [0, 0]
    found = execute(commands.owner, "select calculation_date from refresh_complete_days order by 1")
    assert [row[0] for row in found] == [MARCH, APRIL]
    assert execute(commands.owner, "select count(*) from refresh_restatements where rows_changed > 0")[0][0] > 0
    assert execute(commands.owner, "select count(*) from positions where last_price_date = %s", APRIL) == [(9,)]
    rows = {table: table_rows(commands.owner, table, APRIL) for table in worlds.WRITERS}
    worlds.run(commands.owner, APRIL, run_id="owner")
    assert {table: table_rows(commands.owner, table, APRIL) for table in worlds.WRITERS} == rows


def test_tables_that_an_owner_made_are_handed_over(commands: Bank) -> None:
    """`init` and a night by the owner, then the grants: a new month's partition is the role's to make; twice is as once."""
    init(commands.owner)
    worlds.run(commands.owner, MARCH)
    first = commands.grant()
    second = commands.grant()
    assert any("portfolio_snapshots_2026_03" in one and "owner to" in one for one in first)
    assert [one for one in second if one.startswith("alter")] == []
    assert cli.main(["init"]) == 0
    assert cli.main(["run"]) == 0
    assert execute(commands.owner, "select count(*) from pairwise_correlations where calculation_date = %s", APRIL) == [
        (4,)
    ]


REFUSED = [
    "select user_id from portfolios",
    "select * from portfolios",
    "select factor_type from factor_definitions",
    "select adviser from positions",
    "select requested_at from symbol_onboarding",
    "select metrics from batch_run_tracking",
    "select * from clients",
    "update positions set quantity = 0",
    "update positions set symbol = 'X'",
    "update portfolios set name = 'X'",
    "update market_data_cache set close_price = 1",
    "update symbol_factor_exposures set beta_value = 0",
    "update batch_run_tracking set batch_type = 'X'",
    "delete from positions",
    "delete from portfolios",
    "delete from batch_run_tracking",
    "delete from market_data_cache",
    "insert into positions (id) values (gen_random_uuid())",
    "insert into market_data_cache (symbol) values ('X')",
    "insert into factor_definitions (name) values ('X')",
    *(f"truncate {table}" for table in READ),
    *(f"drop table {table}" for table in READ),
    *(f"alter table {table} add column x int" for table in READ),
    "create index on positions (symbol)",
    "create trigger t before update on positions for each row execute function suppress_redundant_updates_trigger()",
    "create schema more",
    "create role more",
    "alter schema public owner to current_user",
]


def test_it_can_neither_alter_the_platform_nor_read_more_than_it_needs(commands: Bank) -> None:
    """Other columns, other tables, other verbs: each is refused."""
    commands.grant()
    init(commands.night)
    taken = []
    for statement in REFUSED:
        try:
            execute(commands.night, statement)
        except InsufficientPrivilege:
            continue
        taken.append(statement)
    assert taken == []


def test_every_right_is_needed(bank: Bank) -> None:
    """Each column's right is taken away alone: something of a night, onboarding, `status` or the gate then fails.

    But for what `explain` alone reads."""
    bank.grant()
    init(bank.night)
    spare = []
    for table, right, column in _rights():
        some = SQL(" ({})").format(Identifier(column)) if column else SQL("")
        words = (SQL(right), some, Identifier("public", table), Identifier(ROLE))
        with psycopg.connect(bank.owner.url) as connection:
            connection.execute(SQL("revoke {}{} on {} from {}").format(*words))
        if not any(_refused(work, bank.night) for work in WORKS):
            spare.append((table, right, column))
        with psycopg.connect(bank.owner.url) as connection:
            connection.execute(SQL("grant {}{} on {} to {}").format(*words))
    assert spare == []
    assert not any(_refused(work, bank.night) for work in WORKS)


def _rights() -> Iterator[tuple[str, str, str | None]]:
    for table, columns in READ.items():
        for column in columns:
            if column not in EXPLAINED:
                yield table, "select", column
        for right, written in WRITTEN.get(table, {}).items():
            for name in written or (None,):
                yield table, right, name


def _refused(work: Callable[[Database], object], database: Database) -> bool:
    try:
        work(database)
    except Exception as error:
        if getattr(error, "sqlstate", None) != "42501":
            raise
        return True
    return False


def _tracked(database: Database) -> None:
    tracking = Tracking(database, [APRIL], "run-1")
    tracking.start(EVENING)
    tracking.finish(EVENING)


def test_the_gates_second_look_reads_what_was_written_under_the_role(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks which transaction wrote a row, and no column that is not granted."""
    bank.grant()
    init(bank.night)
    with bank.night.connect() as connection:
        facts, memory = read_facts(connection, CALENDAR, MARCH, EVENING, 1)
    execute(bank.owner, "update positions set exit_date = %s", MARCH)
    monkeypatch.setattr(holdings, "read_base", None)
    monkeypatch.setattr(holdings, "read_owned", None)
    with bank.owner.connect() as connection:
        settled(connection)
    with bank.night.connect() as connection:
        now, _ = read_facts(connection, CALENDAR, MARCH, EVENING, 1, memory=memory)
    assert [one.day for one in facts.pending] == [MARCH, APRIL]
    assert [one.day for one in now.pending] == [MARCH]


def _gate(database: Database) -> None:
    with database.connect() as connection:
        read_facts(connection, CALENDAR, MARCH, EVENING, 10)
        completed_batches(connection, None, 10)
        record_aborted(connection, APRIL, "words", EVENING)
        record_alert(connection, "kind", APRIL, "words", EVENING)
        claim_alerts(connection, EVENING)


def _told(database: Database) -> None:
    with database.connect() as connection:
        day_statuses(connection, CALENDAR, [MARCH, APRIL], APRIL)
        exceptions_of(connection, APRIL)
    plan_onboarding(database, CALENDAR, str(uid("portfolio", 1)), [APRIL], EVENING)


def _written(database: Database) -> None:
    with closing(worlds.night(database, APRIL)) as one:
        write_betas(one, APRIL)
    worlds.update_positions(database, APRIL)


def _whole_night(database: Database) -> None:
    worlds.run(database, APRIL)
    with database.connect() as connection:
        update_market_values(connection, APRIL)


WORKS = (_tracked, _gate, _told, _written, _whole_night)


def test_the_command_prints_statements_and_nothing_else(
    commands: Bank, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One a line, to be piped to psql; --json has the same; names are quoted."""
    assert cli.main(["grants", "--role", ROLE, "--json"]) == 4  # the role may not even connect yet
    capsys.readouterr()
    monkeypatch.setenv("REFRESH_DATABASE_URL", commands.owner.url)
    assert cli.main(["grants", "--role", ROLE]) == 0
    printed = capsys.readouterr()
    assert cli.main(["grants", "--role", ROLE, "--json"]) == 0
    statements = json.loads(capsys.readouterr().out)["statements"]
    assert printed.err == ""
    assert printed.out.splitlines() == statements
    name = '"night\'s ""own"" Role"'
    assert (
        f'grant select ("id", "name", "inception_date", "created_at", "deleted_at") on "public"."portfolios" to {name};'
        in (statements)
    )
    assert f'create schema if not exists "dagster" authorization {name};' in statements
    assert all(one.endswith(f"{name};") for one in statements)


def test_a_role_that_does_not_exist_and_a_platform_that_lacks_a_table_are_named(bank: Bank) -> None:
    """With the mend, before anything is printed."""
    with pytest.raises(UsageError) as refused:
        grant_statements(bank.owner, "nobody")
    assert str(refused.value) == (
        "there is no role 'nobody' in the database's server. Mend: create it first, for example CREATE ROLE .. LOGIN."
    )
    execute(bank.owner, "drop table symbol_onboarding")
    with pytest.raises(SchemaError, match="lacks symbol_onboarding"):
        grant_statements(bank.owner, ROLE)


def test_tables_that_may_be_absent_are_neither_granted_nor_made(commands: Bank) -> None:
    """`init` under the role leaves a platform without valuations and sales as it is, and the night runs."""
    execute(commands.owner, "drop table private_valuations")
    execute(commands.owner, "drop table position_realized_events")
    statements = commands.grant()
    assert not any("private_valuations" in one or "position_realized_events" in one for one in statements)
    assert init(commands.night).created_platform_tables == ()
    assert worlds.run(commands.night, APRIL)["stress_test_results"].portfolios == 3


def test_what_only_an_owner_may_make_is_named_by_init(commands: Bank, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing platform table, an empty factor_definitions, a role without grants: one line each, with the mend."""
    execute(commands.owner, "create table spare as select * from factor_definitions")
    commands.grant()
    execute(commands.owner, "truncate factor_definitions")
    assert cli.main(["init"]) == 2
    assert capsys.readouterr().err == (
        f"refresh-assets: factor_definitions is empty, and the role {ROLE!r} may not fill it."
        " Mend: run `refresh-assets init` once as a role that may, or enter the factors.\n"
    )
    execute(commands.owner, "insert into factor_definitions select * from spare")
    execute(commands.owner, "drop table symbol_onboarding")
    assert cli.main(["init"]) == 2
    assert capsys.readouterr().err == (
        f"refresh-assets: the platform's schema 'public' lacks symbol_onboarding, and the role {ROLE!r} may not make them"
        " there. Mend: run `refresh-assets init` once as a role that may, or create views of these names in it.\n"
    )
    with psycopg.connect(commands.owner.url) as connection:
        connection.execute(SQL("revoke select on factor_definitions from {}").format(Identifier(ROLE)))
    execute(
        commands.owner,
        "create table public.symbol_onboarding (symbol text, status text, requested_at timestamptz,"
        " updated_at timestamptz)",
    )
    assert cli.main(["init"]) == 1
    assert capsys.readouterr().err == (
        "refresh-assets: InsufficientPrivilege: permission denied for table factor_definitions Mend: have an owner carry"
        " out what `refresh-assets grants --role ROLE` prints, with ROLE as in the URL.\n"
    )
