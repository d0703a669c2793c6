"""The sensor on a real PostgreSQL and a real Dagster instance: what it starts, says, tells and records.

Here: looks at explicit instants of the demo's world of 2020. Not here: each rule of the gate (test_gate.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus, RunsFilter
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from refresh_assets.assets.run_days import range_tags
from refresh_assets.automation.sensor import (
    JOB,
    Cursor,
    days_in_flight,
    sensor_look,
    symbol_batch_sensor,
)
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.definitions import defs
from refresh_assets.demo.world import symbol_batch
from refresh_assets.errors import SchemaError
from refresh_assets.settings import load
from refresh_assets.store import gate_memory, holdings
from refresh_assets.store.database import Database
from refresh_assets.store.gate_facts import Coverage, read_facts
from refresh_assets_tests.worlds import settled

CALENDAR = TradingCalendar()
FIRST, LAST = date(2020, 2, 18), date(2020, 2, 21)
DAYS = CALENDAR.days(FIRST, LAST)
WHOLE = range_tags(DAYS)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that keeps its runs and events on disk."""
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides={"telemetry": {"enabled": False}}) as local:
        yield local


@pytest.fixture
def four_days(demo_database: Database) -> Database:
    """The demo's platform after four evenings of the symbol batch."""
    for day in DAYS:
        batch(demo_database, day)
    return demo_database


def batch(database: Database, day: date) -> None:
    """One evening of the symbol batch."""
    with database.connect() as connection:
        symbol_batch(connection, day)


def execute(database: Database, statement: str, *values: object) -> None:
    """One statement, committed."""
    with database.connect() as connection:
        connection.execute(statement, values)


def fetch(database: Database, statement: str) -> list[Any]:
    """The rows of a query."""
    with database.connect() as connection:
        return connection.execute(statement).fetchall()


def at(clock: str, day: date = LAST) -> datetime:
    """A New York time."""
    return datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=NEW_YORK)


def seen(instance: dg.DagsterInstance, now: datetime, cursor: str | None = None) -> dg.SensorResult:
    """One look, of a server that has counted what was written."""
    with Database.of(load()).connect() as connection:
        settled(connection)
    return sensor_look(load(), instance, now, cursor)


def reason(result: dg.SensorResult) -> str | None:
    """Why a look starts nothing."""
    return result.skip_reason.skip_message if isinstance(result.skip_reason, dg.SkipReason) else result.skip_reason


def runs_of(result: dg.SensorResult) -> list[str]:
    """The nights of the runs that a look starts."""
    return [request.tags["nights"] for request in result.run_requests or []]


@pytest.mark.usefixtures("four_days")
def test_every_ready_day_starts_in_one_run_of_missing_scope(instance: dg.DagsterInstance) -> None:
    """Tags name the range for Dagster and the nights for people; the key counts the attempts."""
    result = seen(instance, at("21:30"))

    assert runs_of(result) == ["2020-02-18..2020-02-21"]
    (request,) = result.run_requests or []
    assert request.tags == WHOLE
    assert request.run_config == {"resources": {"refresh": {"config": {"scope": "missing"}}}}
    assert request.run_key == "2020-02-18..2020-02-21 attempt 1"
    assert result.skip_reason is None


def test_the_run_that_it_asks_for_completes_the_days_and_nothing_is_due_any_more(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """From the request to the tables, through the job; the next look says so, with the memory of the first or without."""
    first = seen(instance, at("21:30"))
    (request,) = first.run_requests or []
    job = defs.resolve_job_def(JOB)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert job.execute_in_process(
        instance=instance, tags=request.tags, run_config={**request.run_config, **quiet}
    ).success

    for cursor in (None, first.cursor):
        after = seen(instance, at("21:40"), cursor)
        assert after.run_requests == []
        assert reason(after) == "nothing is due: every portfolio is accounted for up to 2020-02-21"
    assert fetch(four_days, "select count(*) from refresh_complete_days") == [(4,)]


def test_a_late_batch_heals_the_night_the_same_night(demo_database: Database, instance: dg.DagsterInstance) -> None:
    """Waiting, then `aborted` and one alert at the deadline, then the run, at 23:10: each said in words."""
    waiting = seen(instance, at("21:42", FIRST))
    assert reason(waiting) == "waiting for the symbol batch of 2020-02-18 since 21:30, 12 of 60 minutes"
    assert fetch(demo_database, "select count(*) from batch_run_tracking") == [(0,)]

    words = "the symbol batch of 2020-02-18 has not begun 60 minutes after 21:30 New York: the night starts when it completes"
    for clock in ("22:30", "22:31"):
        assert reason(seen(instance, at(clock, FIRST), waiting.cursor)) == words
    assert fetch(demo_database, "select kind, day from refresh_alerts") == [("symbol_batch_timeout", FIRST)]
    assert fetch(
        demo_database, "select batch_type, target_date, status, error_message, completed_at from batch_run_tracking"
    ) == [("portfolio_refresh", FIRST, "aborted", words, at("22:30", FIRST))]

    batch(demo_database, FIRST)
    assert runs_of(seen(instance, at("23:10", FIRST), waiting.cursor)) == ["2020-02-18"]


def test_a_failed_batch_is_alerted_at_once_with_its_own_words(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """Not waited out: the alert comes at the next look, also before 21:30."""
    execute(
        four_days,
        "update batch_run_tracking set status = 'failed', error_message = 'vendor: 503' where target_date = %s",
        LAST,
    )
    result = seen(instance, at("21:05"))

    assert runs_of(result) == ["2020-02-18..2020-02-20"]
    assert fetch(four_days, "select kind, day, words from refresh_alerts") == [
        (
            "symbol_batch_failed",
            LAST,
            "The symbol batch of 2020-02-21 says failed (vendor: 503): the night starts when it completes."
            " Mend: run the symbol batch again; when it completes the night starts by itself.",
        )
    ]


def test_a_half_loaded_night_holds_and_heals_when_the_closes_arrive(
    four_days: Database, instance: dg.DagsterInstance
) -> None:
    """Completed, with a quarter of the closes: held and alerted with counts; earlier days go on."""
    with four_days.connect() as connection:
        connection.execute(
            "delete from market_data_cache m using (select symbol, row_number() over (order by symbol) as number"
            " from market_data_cache where date = %s) n where m.date = %s and m.symbol = n.symbol and number %% 4 > 0",
            [LAST, LAST],
        )
        facts, memory = read_facts(connection, CALENDAR, FIRST, at("21:30"), 250)
    found = {one.day: one.coverage for one in facts.pending}
    coverage, full = found[LAST], found[DAYS[0]]
    assert coverage is not None and full is not None and 0 < coverage.priced < 0.8 * coverage.held
    assert memory.coverage[LAST] == coverage

    held = seen(instance, at("21:30"))
    assert runs_of(held) == ["2020-02-18..2020-02-20"]
    ((kind, words),) = fetch(four_days, "select kind, words from refresh_alerts")
    assert kind == "low_price_coverage"
    assert f"{coverage.priced} of {coverage.held} symbols held have a close" in words

    batch(four_days, LAST)
    assert runs_of(seen(instance, at("21:31"))) == ["2020-02-18..2020-02-21"]


def test_coverage_counts_the_listed_symbols_held_on_the_day(demo_database: Database) -> None:
    """Against the night's own count of symbols: a plain query over the books of one day."""
    batch(demo_database, FIRST)
    with demo_database.connect() as connection:
        facts, _ = read_facts(connection, CALENDAR, FIRST, at("21:30", FIRST), 250)
        held = dict(
            connection.execute(
                "select p.symbol, m.close_price from positions p join portfolios f on f.id = portfolio_id"
                " left join market_data_cache m on m.symbol = p.symbol and m.date = %(day)s"
                " where investment_class <> 'PRIVATE' and (entry_date is null or entry_date <= %(day)s)"
                " and (exit_date is null or exit_date > %(day)s) and coalesce(inception_date, created_at::date) <= %(day)s"
                " and quantity + coalesce((select sum(quantity_closed) from position_realized_events e"
                "   where e.position_id = p.id and trade_date > %(day)s), 0) <> 0",
                {"day": FIRST},
            ).fetchall()
        )
    priced = sum(close is not None for close in held.values())
    assert [one.coverage for one in facts.pending] == [Coverage(len(held), priced)]
    assert len(held) > 20


UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


@pytest.mark.usefixtures("four_days")
@pytest.mark.parametrize("status", UNFINISHED, ids=lambda status: status.value)
def test_a_day_in_flight_is_nobodys(instance: dg.DagsterInstance, status: DagsterRunStatus) -> None:
    """An unfinished run of the job covers its range; the days around it start."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("refresh_assets"), "__repository__")
    instance.create_run_for_job(
        defs.resolve_job_def(JOB),
        tags=range_tags(DAYS[1:3]),
        status=status,
        remote_job_origin=RemoteJobOrigin(repository, JOB),
    )

    assert days_in_flight(instance, CALENDAR) == frozenset(DAYS[1:3])
    assert runs_of(seen(instance, at("21:30"))) == ["2020-02-18", "2020-02-21"]


def test_what_a_person_materializes_in_the_ui_is_in_flight_too(instance: dg.DagsterInstance) -> None:
    """A run of another job that selects a table of the night, for one partition."""
    job = defs.resolve_implicit_global_asset_job_def()
    for selected, day in (("portfolio_snapshots", DAYS[0]), ("inline_symbol_betas", DAYS[1])):
        chosen = job.get_subset(asset_selection={dg.AssetKey(selected)})
        instance.create_run_for_job(
            chosen,
            tags={"dagster/partition": day.isoformat()},
            status=DagsterRunStatus.STARTED,
            asset_selection=frozenset({dg.AssetKey(selected)}),
        )

    assert days_in_flight(instance, CALENDAR) == {DAYS[0]}


@pytest.mark.usefixtures("four_days")
def test_a_failed_run_is_tried_again_after_a_pause_under_a_new_key(instance: dg.DagsterInstance) -> None:
    """Not at the next look, half a minute later; and a key that was used is never used again."""
    run = instance.create_run_for_job(defs.resolve_job_def(JOB), tags=WHOLE, status=DagsterRunStatus.STARTED)
    instance.report_run_failed(run)
    ended = instance.get_run_records(RunsFilter(run_ids=[run.run_id]))[0].end_time
    assert ended is not None

    # The run failed on the real clock: the world's evening lies years before that, within the pause.
    held = seen(instance, at("21:30"))
    assert held.run_requests == []
    assert "the last run of 2020-02-18 to 2020-02-21 failed, it is tried again at " in (reason(held) or "")
    later = sensor_look(load(), instance, datetime.fromtimestamp(ended + 301, NEW_YORK), None)
    assert [request.run_key for request in later.run_requests or []][:1] == ["2020-02-18..2020-02-21 attempt 2"]


def test_each_completed_batch_is_told_to_dagster_once(four_days: Database, instance: dg.DagsterInstance) -> None:
    """Closes and betas of the day as materializations, remembered in the cursor; one that ran again is told again."""
    first = seen(instance, at("21:30"))
    told = [(event.asset_key.to_user_string(), event.partition) for event in first.asset_events]
    assert told == [
        (name, day.isoformat()) for day in DAYS for name in ("market_data_cache", "symbol_factor_exposures")
    ]
    assert seen(instance, at("21:31"), first.cursor).asset_events == []

    execute(four_days, "update batch_run_tracking set completed_at = %s where target_date = %s", at("21:50"), DAYS[1])
    again = seen(instance, at("21:51"), first.cursor)
    assert {event.partition for event in again.asset_events} == {DAYS[1].isoformat()}


@pytest.mark.usefixtures("four_days")
def test_the_memory_of_a_look_is_used_until_somebody_writes(instance: dg.DagsterInstance) -> None:
    """The cursor holds which days are pending; a memory that is wrong about them shows that it is read."""
    settings, first = load(), seen(instance, at("21:30"))
    figures = json.loads(first.cursor or "")
    assert figures["memory"]["pending"] == [["2020-02-18", "2020-02-21"]]
    figures["memory"]["pending"] = [["2020-02-19", "2020-02-19"]]

    assert runs_of(sensor_look(settings, instance, at("21:31"), json.dumps(figures))) == ["2020-02-19"]
    anew = sensor_look(settings, instance, at("21:46"), json.dumps(figures))
    assert runs_of(sensor_look(settings, instance, at("21:46:30"), anew.cursor)) == ["2020-02-18..2020-02-21"]
    figures["memory"]["accounting"] = "the tables were written to"
    anew = sensor_look(settings, instance, at("21:31"), json.dumps(figures))
    assert runs_of(sensor_look(settings, instance, at("21:31:30"), anew.cursor)) == ["2020-02-18..2020-02-21"]


def seen_after_a_write(
    database: Database, instance: dg.DagsterInstance, clock: str, cursor: str | None
) -> dg.SensorResult:
    """A look of another process, once every position was written."""
    execute(database, "update positions set last_price = last_price + 1")
    gate_memory.KEPT.clear()
    return seen(instance, at(clock), cursor)


COUNTED_LATER = "closes are counted within three looks: 2020-02-18 to 2020-02-21"


def test_days_that_are_due_start_within_three_looks_though_many_positions_are_written_before_each(
    four_days: Database, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first looks say that they have not counted the closes; the last does, in whatever process."""
    cursor = seen(instance, at("21:00")).cursor
    monkeypatch.setattr(holdings, "ROWS_AT_ONCE", -1)
    for clock, words in (
        ("21:30:00", COUNTED_LATER),
        ("21:30:30", COUNTED_LATER),
        ("21:31:00", None),
        ("21:31:30", COUNTED_LATER),
        ("21:32:00", COUNTED_LATER),
        ("21:32:30", None),
    ):
        result = seen_after_a_write(four_days, instance, clock, cursor)
        cursor = result.cursor
        assert (reason(result) or "").split(";")[0] == (words or "")
        assert runs_of(result) == ([] if words else ["2020-02-18..2020-02-21"])


def test_an_empty_cursor_over_many_positions_starts_nothing_before_it_knows_who_holds_what(
    four_days: Database, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the owners, the others, the days and what half of the owners holds, what the others hold: a look each."""
    monkeypatch.setattr(holdings, "ROWS_AT_ONCE", -1)
    cursor, unknown = None, "which nights are due is not known yet: who holds what is read over some looks"
    for minute, words in enumerate((unknown, unknown, COUNTED_LATER, COUNTED_LATER, None)):
        result = seen_after_a_write(four_days, instance, f"21:4{minute}", cursor)
        cursor = result.cursor
        assert (reason(result) or "").split(";")[0] == (words or "")
    assert runs_of(result) == ["2020-02-18..2020-02-21"]


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "null", '{"memory": 1}', '{"told": ["x"]}', '{"memory": {"at": 1}}']
)
def test_a_cursor_that_cannot_be_read_is_an_empty_one(text: str | None) -> None:
    """A cursor that a person edited, or an older version wrote, stops nothing."""
    assert Cursor.from_text(text, CALENDAR) == Cursor()


def test_a_missing_table_is_named_with_the_mend(empty_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `init` the tick fails in one line, not with a query."""
    monkeypatch.setenv("REFRESH_DATABASE_URL", empty_database.url)
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(SchemaError):
        sensor_look(load(), instance, at("21:30"), None)


@pytest.mark.usefixtures("demo_database")
def test_the_sensor_is_born_running_and_looks_at_the_real_clock(instance: dg.DagsterInstance) -> None:
    """Every 30 s at most; the world of 2020 ended long ago: its days have neither batch nor price."""
    assert symbol_batch_sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert symbol_batch_sensor.minimum_interval_seconds == 30
    with dg.build_sensor_context(instance=instance, definitions=defs) as context:
        result = symbol_batch_sensor(context)

    assert isinstance(result, dg.SensorResult)
    assert result.run_requests == []
    assert "skipped, not one close: 2020-02-18 to " in (reason(result) or "")
