"""Telemetry: real nights, and a real little collector (collector.py).

Here: what arrives there, what stays in batch_run_tracking and in the run's events, what a dead collector costs. Not here:
each figure of a day (assets/test_runs.py), alerts (test_alerts.py)."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from refresh_assets.automation import telemetry
from refresh_assets.automation.launch import ALL, MISSING, run_days
from refresh_assets.automation.sensor import look
from refresh_assets.calendar import NEW_YORK, TradingCalendar
from refresh_assets.demo.world import symbol_batch
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets.store.tracking import DayEnd, metrics_of_none
from refresh_assets_tests.automation.collector import Collector, listening

DAYS = TradingCalendar().days(date(2020, 2, 18), date(2020, 2, 20))
FIRST, LAST = DAYS[0], DAYS[-1]
FIVE = {"duration_seconds", "portfolios_processed", "portfolios_failed", "snapshots_created", "days_backfilled"}
SECRET = "s3cr3t-api-key"


@pytest.fixture(autouse=True)
def no_telemetry_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads an OTEL_ variable that happens to be set."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector on a free port, to which OTEL_EXPORTER_OTLP_ENDPOINT points."""
    with listening() as heard:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", heard.url)
        yield heard


@pytest.fixture
def three_days(demo_database: Database) -> Database:
    """The demo's platform after three evenings of the symbol batch."""
    with demo_database.connect() as connection:
        for day in DAYS:
            symbol_batch(connection, day)
    return demo_database


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of DAGSTER_HOME, which keeps events on disk."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as local:
        yield local


def tracked(database: Database) -> dict[date, tuple[str, dict[str, Any]]]:
    """Day -> status and metrics of the night's own rows."""
    with database.connect() as connection:
        rows = connection.execute(
            "select target_date, status, metrics from batch_run_tracking where batch_type = 'portfolio_refresh'"
        ).fetchall()
    return {day: (status, metrics) for day, status, metrics in rows}


def events_of(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """The metadata of the event of the run that has its figures."""
    found = [
        entry.dagster_event.engine_event_data.metadata
        for entry in instance.all_logs(run_id)
        if entry.dagster_event is not None
        and entry.dagster_event.is_engine_event
        and (entry.dagster_event.message or "").startswith("portfolio_refresh 20")
    ]
    (metadata,) = found
    return {name: value.value for name, value in metadata.items()}


def test_a_night_sends_its_figures_once_under_their_names(
    three_days: Database, instance: dg.DagsterInstance, collector: Collector
) -> None:
    """The five and the seconds of each asset, as batch_run_tracking has them by day, and in the run's own events."""
    (done,) = run_days(load(), DAYS, MISSING)
    assert done.success

    ((path, headers, _),) = collector.requests
    assert (path, headers["content-type"]) == ("/v1/metrics", "application/x-protobuf")
    points, days = collector.points(), tracked(three_days)
    assert {name.removeprefix("portfolio_refresh.") for name in points} == {*FIVE, "asset_seconds"}
    run = {"first_day": str(FIRST), "last_day": str(LAST), "status": "completed"}
    for name in FIVE:
        ((attributes, value),) = points[f"portfolio_refresh.{name}"]
        of_days = [metrics[name] for _, metrics in days.values()]
        assert attributes == run
        assert value == (sum(of_days) if name == "snapshots_created" else max(of_days)), name
    with three_days.connect() as connection:
        snapshots = connection.execute("select count(*) from portfolio_snapshots").fetchone()
    assert snapshots == (points["portfolio_refresh.snapshots_created"][0][1],)
    assert points["portfolio_refresh.days_backfilled"][0][1] == len(DAYS)  # the effective trading date is years later
    by_asset = {attributes.pop("asset"): value for attributes, value in points["portfolio_refresh.asset_seconds"]}
    assert {*DAY_TABLES, "pairwise_correlations", "inline_symbol_betas", "position_market_values"} == set(by_asset)
    for asset, taken in by_asset.items():
        assert taken == pytest.approx(sum(metrics["seconds"][asset] for _, metrics in days.values()))
    assert all(by_asset[table] > 0 for table in DAY_TABLES)
    assert collector.resource()["service.name"] == "refresh-assets"
    assert collector.resource()["service.instance.id"] == done.run_id
    told = events_of(instance, done.run_id)
    assert {name: told[name] for name in FIVE} == {name: points[f"portfolio_refresh.{name}"][0][1] for name in FIVE}
    assert (told["status"], told["telemetry"]) == ("completed", "exported")
    assert "| portfolio_snapshots | " in told["seconds"]


def test_nothing_that_is_sent_names_a_portfolio(three_days: Database, collector: Collector) -> None:
    """A collector is often somebody else's."""
    run_days(load(), [FIRST], ALL)

    ((_, _, request),) = collector.requests
    with three_days.connect() as connection:
        names = [str(one) for row in connection.execute("select id, name from portfolios").fetchall() for one in row]
    assert not [name for name in names if name in str(request)]


def test_a_run_that_fails_in_the_middle_sends_what_it_did(
    three_days: Database, instance: dg.DagsterInstance, collector: Collector
) -> None:
    """One table of one day cannot be written: failed, with the snapshots that are there and the time of what failed."""
    with three_days.connect() as connection:
        connection.execute(
            "create function refuse() returns trigger language plpgsql as $$begin raise 'disk of sand'; end$$"
        )
        connection.execute(
            "create trigger refuse before insert on factor_exposures for each row execute function refuse()"
        )
    (failed,) = run_days(load(), [FIRST], ALL)
    assert not failed.success

    points = collector.points()
    attributes, created = points["portfolio_refresh.snapshots_created"][0]
    assert attributes == {"first_day": str(FIRST), "last_day": str(FIRST), "status": "failed"}
    assert created > 10
    by_asset = {attributes["asset"] for attributes, _ in points["portfolio_refresh.asset_seconds"]}
    assert {"portfolio_snapshots", "factor_exposures"} <= by_asset
    assert "stress_test_results" not in by_asset
    status, metrics = tracked(three_days)[FIRST]
    assert (status, metrics["snapshots_created"], metrics["days_backfilled"]) == ("failed", created, 0)
    # Nearly none: it was begun, and failed, while the table before it was ended.
    assert 0 <= metrics["seconds"]["factor_exposures"] < metrics["seconds"]["portfolio_snapshots"]
    assert events_of(instance, failed.run_id)["status"] == "failed"


def test_a_run_that_adds_counts_what_it_added(three_days: Database) -> None:
    """The rows that stood before are no creation of this run."""
    run_days(load(), [FIRST], ALL)
    with three_days.connect() as connection:
        row = connection.execute("select portfolio_id from portfolio_snapshots order by 1 limit 1").fetchone()
        assert row is not None
        for statement in (
            "insert into portfolios select gen_random_uuid(), 'Late', user_id, inception_date, created_at, deleted_at"
            " from portfolios where id = %s",
            "insert into positions (id, portfolio_id, symbol, investment_class, quantity, entry_price, entry_date)"
            " select gen_random_uuid(), id, 'AAPL', 'PUBLIC', 10, 100, '2020-01-02' from portfolios"
            " where name = 'Late' and id <> %s",
        ):
            connection.execute(statement, [row[0]])

    run_days(load(), [FIRST], MISSING)

    _, metrics = tracked(three_days)[FIRST]
    assert (metrics["portfolios_processed"], metrics["snapshots_created"]) == (1, 1)


def test_an_aborted_night_is_told_with_zeros_and_the_reason(
    demo_database: Database, instance: dg.DagsterInstance, collector: Collector
) -> None:
    """At the deadline, once: the second look finds it recorded. The night that comes after all replaces it."""
    for minute in (30, 31):
        decision, _ = look(load(), instance, datetime(2020, 2, 18, 22, minute, tzinfo=NEW_YORK))

    status, metrics = tracked(demo_database)[FIRST]
    assert status == "aborted"
    assert {name: metrics[name] for name in FIVE} == dict.fromkeys(FIVE, 0)
    assert (metrics["reason"], metrics["seconds"], metrics["portfolios_partial"]) == (decision.waiting, {}, 0)
    points = collector.points()
    run = {"first_day": str(FIRST), "last_day": str(FIRST), "status": "aborted"}
    assert points == {f"portfolio_refresh.{name}": [(run, 0)] for name in FIVE}

    with demo_database.connect() as connection:
        symbol_batch(connection, FIRST)
    run_days(load(), [FIRST], MISSING)
    status, metrics = tracked(demo_database)[FIRST]
    assert (status, "reason" in metrics, metrics["snapshots_created"] > 10) == ("completed", False, True)


ENDS = [DayEnd(FIRST, "aborted", metrics_of_none("nobody came"))]
FIGURES = telemetry.RunFigures.of(ENDS)


def test_a_dead_collector_costs_seconds_and_no_failure(
    three_days: Database,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that takes the connection and never answers is the worst: the night is complete, and a warning says where."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://user:{SECRET}@127.0.0.1:{port}/?key={SECRET}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
        monkeypatch.setattr(telemetry, "LONGEST_EXPORT", 1.0)
        (done,) = run_days(load(), [FIRST], ALL)

    assert done.success
    assert tracked(three_days)[FIRST][0] == "completed"
    words = f"the metrics of {done.run_id} did not reach the collector at 127.0.0.1:{port}:"
    (warning,) = [one.getMessage() for one in caplog.records if one.name == telemetry.__name__]
    assert warning == (
        f"{words} it has not taken them within 1 seconds. The night is unharmed; batch_run_tracking.metrics has them"
    )
    assert events_of(instance, done.run_id)["telemetry"].startswith(f"not exported: {words}")


def test_a_closed_port_is_said_in_words_and_a_shorter_timeout_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own default is ten seconds; ours is the longest that a night is held."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"http://127.0.0.1:{port}/v1/metrics")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.5")
    begin = time.monotonic()
    words = telemetry.export(FIGURES, "run 1")

    assert time.monotonic() - begin < telemetry.LONGEST_EXPORT <= 5
    assert words == (
        f"not exported: the metrics of run 1 did not reach the collector at 127.0.0.1:{port}: nobody answers there"
    )


def test_headers_are_sent_and_reach_no_log(
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Taken or refused, also one that is not of the form that the library wants and complains about in full."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"api-key={SECRET},{SECRET} without a value")
    assert telemetry.export(FIGURES, "run 1") == "exported"
    collector.answer = 401
    refused = telemetry.export(FIGURES, "run 1")

    assert [headers["api-key"] for _, headers, _ in collector.requests] == [SECRET, SECRET]
    assert refused.endswith(": it answered 401")
    said = "\n".join([caplog.text, *capfd.readouterr(), refused, repr(FIGURES), repr(ENDS)])
    assert "it answered 401" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "false"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "console, otlp"}, True),
    ],
    ids=str,
)
def test_the_standard_variables_switch_it(variables: dict[str, str], on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On where a collector of metrics is named, and nothing says no."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert telemetry.is_on() is on


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "not exported: the metrics of run 1 did not reach the collector at c:4317: OTEL_EXPORTER_OTLP_PROTOCOL is grpc."
            " Mend: set http/protobuf and the collector's port for it (4318)",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
            "not exported: the metrics of run 1 did not reach the collector at ?:80: OTEL_EXPORTER_OTLP_ENDPOINT is no http"
            " URL. Mend: set one such as http://HOST:4318",
        ),
    ],
    ids=["protocol", "endpoint"],
)
def test_what_cannot_work_is_named_with_the_mend(
    variables: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is tried."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert telemetry.export(FIGURES, "run 1") == words


def test_opentelemetry_is_not_even_imported_where_nothing_asks_for_it(three_days: Database) -> None:
    """A fresh process that runs `status`, and then a night."""
    program = (
        "import sys\nfrom refresh_assets.cli import main\n"
        "for words in (['status'], ['run', '--date', '2020-02-18']):\n"
        "    assert main(words) == 0\n"
        "    assert not [name for name in sys.modules if name.startswith('opentelemetry')], words\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    assert tracked(three_days)[FIRST][0] == "completed"
