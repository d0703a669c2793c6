"""Alerts: once a kind and day, delivered until somebody has them, and no secret on the way.

Here: raising and delivering against a real HTTP server, and what the end of a run raises. Not here: the gate's alerts."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from refresh_assets import cli
from refresh_assets.automation import launch
from refresh_assets.automation.alerts import (
    NIGHT_FAILED,
    PORTFOLIO_FAILURES,
    alert_after_run,
    deliver_pending,
    raise_alert,
)
from refresh_assets.demo.world import symbol_batch
from refresh_assets.settings import load
from refresh_assets.store.alerts import undelivered_alerts
from refresh_assets.store.database import Database

NOW = datetime(2020, 2, 18, 23, 30, tzinfo=UTC)
DAY = date(2020, 2, 18)
WORDS = "2020-02-18: the symbol batch is not complete after 60 minutes. Mend: look at it."
SECRET = "s3cret-token"


class Service(ThreadingHTTPServer):
    """A service on loopback that takes JSON; answers `status`, and keeps what came."""

    daemon_threads = True
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.came: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"json://night:{SECRET}@127.0.0.1:{self.server_port}/{SECRET}"


class _Taking(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Service)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.came.append(body)
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A running service, which REFRESH_ALERT_URLS names."""
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("REFRESH_ALERT_URLS", server.url)
        yield server
        server.shutdown()
        thread.join()


def rows(database: Database) -> list[tuple[Any, ...]]:
    """Every alert: kind, day, words, delivered_at, attempts, last_error."""
    with database.connect() as connection:
        return connection.execute(
            "select kind, day, words, delivered_at, attempts, last_error from refresh_alerts order by 1, 2"
        ).fetchall()


def test_an_alert_arrives_once_with_its_words(database: Database, service: Service) -> None:
    """The second of a kind and day is not new and not sent; another day's is, and one of no day."""
    assert raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)
    assert not raise_alert(database, "symbol_batch_timeout", DAY, "again", NOW)
    assert raise_alert(database, "symbol_batch_timeout", None, "of no day", NOW)
    assert not raise_alert(database, "symbol_batch_timeout", None, "of no day, again", NOW)

    assert [(one["title"], one["message"], one["type"]) for one in service.came] == [
        ("Portfolio refresh: symbol_batch_timeout 2020-02-18", WORDS, "warning"),
        ("Portfolio refresh: symbol_batch_timeout", "of no day", "warning"),
    ]
    assert rows(database) == [
        ("symbol_batch_timeout", DAY, WORDS, NOW.astimezone(), 1, None),
        ("symbol_batch_timeout", None, "of no day", NOW.astimezone(), 1, None),
    ]


def test_a_service_that_fails_is_tried_again_after_a_growing_pause(database: Database, service: Service) -> None:
    """500 at first: nothing is lost, nothing raised; tries after 30 s, 60 s more; then it arrives, and no more is sent."""
    service.status = 500
    raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)
    tries = []
    for seconds in (0, 29, 30, 60, 89, 90):
        if seconds == 90:
            service.status = 200
        deliver_pending(database, load(), NOW + timedelta(seconds=seconds))
        tries.append(len(service.came))
        if seconds < 90:
            ((_, _, _, delivered, _, error),) = rows(database)
            assert delivered is None
            assert error == "URL 1 of 1 (json) did not take it (it answered 500)"
    deliver_pending(database, load(), NOW + timedelta(days=1))

    assert tries == [1, 1, 2, 2, 2, 3]
    assert len(service.came) == 3
    assert rows(database) == [("symbol_batch_timeout", DAY, WORDS, (NOW + timedelta(seconds=90)), 3, None)]


def test_the_pause_never_grows_beyond_an_hour(database: Database, service: Service) -> None:
    """After a thousand tries the next one is still an hour away."""
    service.status = 500
    raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)
    with database.connect() as connection:
        connection.execute("update refresh_alerts set attempts = 1000, next_try_at = %s", [NOW])

    deliver_pending(database, load(), NOW)

    with database.connect() as connection:
        assert connection.execute("select attempts, next_try_at from refresh_alerts").fetchone() == (
            1001,
            NOW + timedelta(hours=1),
        )


def test_without_a_url_an_alert_waits_and_is_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """It is in the table and in the log; no try is counted."""
    with caplog.at_level(logging.WARNING):
        assert raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)

    assert caplog.messages == [f"alert symbol_batch_timeout: {WORDS}"]
    with database.connect() as connection:
        (waiting,) = undelivered_alerts(connection)
    assert (waiting.kind, waiting.day, waiting.words, waiting.attempts) == ("symbol_batch_timeout", DAY, WORDS, 0)


def test_an_alert_raised_without_a_url_is_delivered_once_there_is_one(
    database: Database, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    """Setting REFRESH_ALERT_URLS later brings what waited."""
    with monkeypatch.context() as unset:
        unset.delenv("REFRESH_ALERT_URLS")
        raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)
    assert service.came == []

    deliver_pending(database, load(), NOW + timedelta(minutes=5))

    assert [one["message"] for one in service.came] == [WORDS]


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"json://night:{SECRET}@127.0.0.1:9/{SECRET}", "URL 1 of 1 (json) did not take it"),
        (f"nonsense://{SECRET}", "URL 1 of 1 (nonsense) is none that apprise can read"),
        (f"slack://{SECRET}", "URL 1 of 1 (slack) is none that apprise can read"),
    ],
)
def test_no_part_of_a_url_reaches_a_log_or_a_table(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    url: str,
    error: str,
) -> None:
    """Nobody listens, or apprise cannot read it: named by place and scheme, at any log level."""
    monkeypatch.setenv("REFRESH_ALERT_URLS", url)

    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "apprise"):
        raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)

    assert [row[-1] for row in rows(database)] == [error]
    assert caplog.messages == [
        f"alert symbol_batch_timeout: {WORDS}",
        f"alert symbol_batch_timeout 2020-02-18: {error}; try 1, another follows",
    ]
    assert SECRET not in str(capfd.readouterr())


def test_the_http_clients_own_log_does_not_show_the_path(
    database: Database, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 logs each path at DEBUG: a webhook's secret is one."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "apprise"):
        raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)

    assert len(service.came) == 1
    assert SECRET not in caplog.text


def test_one_of_two_urls_is_enough(database: Database, monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    """It is delivered, not sent again, and the URL that failed is named."""
    monkeypatch.setenv("REFRESH_ALERT_URLS", f"json://127.0.0.1:9/ {service.url}")

    raise_alert(database, "symbol_batch_timeout", DAY, WORDS, NOW)
    deliver_pending(database, load(), NOW + timedelta(hours=1))

    assert len(service.came) == 1
    assert rows(database) == [
        ("symbol_batch_timeout", DAY, WORDS, NOW, 1, "URL 1 of 2 (json) did not take it"),
    ]


def test_two_senders_at_once_deliver_an_alert_once(database: Database, service: Service) -> None:
    """Sensor and run look at the same moment: one of them takes it."""
    with database.connect() as connection:
        connection.execute(
            "insert into refresh_alerts values ('symbol_batch_timeout', %s, %s, %s, null, 0, %s, null)",
            [DAY, NOW, WORDS, NOW],
        )
    settings = load()
    senders = [threading.Thread(target=deliver_pending, args=(database, settings, NOW)) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()

    assert len(service.came) == 1


def test_a_database_that_is_gone_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Delivering and the end of a run log one line, and raise nothing."""
    gone = Database("postgresql://night:hidden@127.0.0.1:9/books")
    monkeypatch.setenv("REFRESH_ALERT_URLS", "json://127.0.0.1:9/")

    with caplog.at_level(logging.WARNING):
        deliver_pending(gone, load(), NOW)
        alert_after_run(gone, [DAY], "r1", NOW)

    assert caplog.messages == [
        "alerts could not be delivered: DatabaseUnreachable; they are tried again",
        "run r1: its alerts could not be written down: DatabaseUnreachable",
    ]


@pytest.fixture
def evening(demo_database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The demo's platform after the symbol batch of one evening."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    with demo_database.connect() as connection:
        symbol_batch(connection, DAY)
    return demo_database


def test_a_good_run_wakes_nobody(evening: Database, service: Service) -> None:
    """A complete day without failures raises nothing."""
    (outcome,) = launch.run_days(load(), [DAY], launch.ALL)

    assert outcome.success
    assert (rows(evening), service.came) == ([], [])


def test_too_many_failed_portfolios_wake_a_person_once(
    evening: Database, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failed book: within the fraction nothing is raised, above it one alert, though the day is run twice."""
    with evening.connect() as connection:
        connection.execute(
            "update positions set quantity = 9e17 where symbol = 'AAPL' and portfolio_id ="
            " (select id from portfolios where name like 'Northgate%')"
        )
    monkeypatch.setenv("REFRESH_FAILURE_ALERT_FRACTION", "0.5")
    launch.run_days(load(), [DAY], launch.ALL)
    assert rows(evening) == []

    monkeypatch.setenv("REFRESH_FAILURE_ALERT_FRACTION", "0.05")
    launch.run_days(load(), [DAY], launch.ALL)
    launch.run_days(load(), [DAY], launch.ALL)

    with evening.connect() as connection:
        ((due,),) = connection.execute("select count(*) + 1 from portfolio_snapshots").fetchall()
    words = (
        f"2020-02-18: 1 of {due} portfolios failed, more than REFRESH_FAILURE_ALERT_FRACTION (5%) allows."
        " Mend: refresh-assets status --date 2020-02-18 names each;"
        " then refresh-assets run --date 2020-02-18 --scope missing."
    )
    assert [row[:3] for row in rows(evening)] == [(PORTFOLIO_FAILURES, DAY, words)]
    assert [one["message"] for one in service.came] == [words]


def test_a_night_that_is_not_complete_wakes_a_person(
    evening: Database, service: Service, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table that cannot be written: the alert names what is missing; without a URL `status` shows it."""
    monkeypatch.delenv("REFRESH_ALERT_URLS")
    with evening.connect() as connection:
        connection.execute(f"alter table stress_test_results add check (calculation_date <> '{DAY}')")
    (outcome,) = launch.run_days(load(), [DAY], launch.ALL)
    monkeypatch.setattr(cli, "_clock", [NOW])

    assert cli.main(["status"]) == 0
    shown = capsys.readouterr().out

    words = (
        "2020-02-18: the night is not complete: 3 of 4 tables are; missing stress_test_results."
        f" Run {outcome.run_id} says why. Mend: refresh-assets run --date 2020-02-18 --scope missing."
    )
    assert [row[:3] for row in rows(evening)] == [(NIGHT_FAILED, DAY, words)]
    assert shown.endswith(
        f"Alerts not delivered: 1 (set REFRESH_ALERT_URLS to have them sent)\n  night_failed: {words}\n"
    )
    assert service.came == []


def test_assets_that_a_person_selects_wake_nobody(evening: Database) -> None:
    """A run of one table leaves the day incomplete on purpose."""
    launch.run_days(load(), [DAY], launch.ALL, ["portfolio_snapshots"])

    assert rows(evening) == []
