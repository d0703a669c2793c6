"""`make ui` as a person types it: webserver and daemon over the demo's database, ended by Ctrl-C.

Here: the shape, and that the clock of today does no harm to a world that ends in 2020. Not here: what webserver and daemon
do with a night (automation/test_live.py)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from refresh_assets.calendar import TradingCalendar
from refresh_assets.demo.ui import end_of_the_world
from refresh_assets.demo.world import NIGHTS
from refresh_assets.settings import load
from refresh_assets.store.database import Database
from refresh_assets.store.embedded import embedded_postgres
from refresh_assets.store.provision import init
from refresh_assets_tests.automation.live import Deployment

HEALTH = """{ instance { info daemonHealth { allDaemonStatuses { required healthy } } }
  workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A demo's folder, with our tables and no night: playing some would show nothing more here."""
    with tempfile.TemporaryDirectory(prefix="ui-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with embedded_postgres(Path(name) / ".demo" / "postgres") as url:
            init(Database(url))
        yield Path(name)


def test_webserver_and_daemon_run_as_in_production_until_ctrl_c(folder: Path) -> None:
    """Both from the shipped dagster.yaml, storage in PostgreSQL; the line with the URL is true when it is said."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    home = folder / ".demo" / "ui"
    ui = subprocess.Popen(
        [sys.executable, "-m", "refresh_assets.demo.ui", str(port)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("DAGSTER_")},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert ui.stdout is not None
        said = ui.stdout.readline()
        assert said == f"Dagster's UI: http://127.0.0.1:{port} (Ctrl-C ends it; logs in {home})\n"

        asked = Deployment(home, {}, port)

        def up() -> bool:
            """Code loaded, every daemon that dagster.yaml asks for alive."""
            answer = asked.ask(HEALTH)
            (location,) = answer["workspaceOrError"]["locationEntries"] or [{"locationOrLoadError": None}]
            loaded = location["locationOrLoadError"] == {"__typename": "RepositoryLocation"}
            daemons = answer["instance"]["daemonHealth"]["allDaemonStatuses"]
            return loaded and all(one["healthy"] for one in daemons if one["required"])

        asked.awaited("code and daemons", up, 60)
        information = asked.ask(HEALTH)["instance"]["info"]
        assert "event_log_storage: PostgresEventLogStorage" in information
        assert "max_runtime_seconds" in information
        assert (home / "dagster.yaml").read_text() == (Path(__file__).parents[2] / "dagster.yaml").read_text()
        ui.send_signal(signal.SIGINT)
        assert ui.wait(30) == 0
    finally:
        ui.kill()
        ui.communicate()

    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))
    assert not (folder / ".demo" / "postgres" / "postmaster.pid").exists()


def test_the_demos_world_ends_with_its_last_night(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever day it is today and for months: no night is due after the last one, so nothing is waited for."""
    monkeypatch.setenv("REFRESH_EXTRA_CLOSURES", end_of_the_world(date(2026, 11, 25))["REFRESH_EXTRA_CLOSURES"])
    calendar = TradingCalendar(load().extra_closures)

    for now in (datetime(2026, 11, 28, 23, tzinfo=UTC), datetime(2027, 9, 1, 23, tzinfo=UTC)):
        assert calendar.effective_date(now) == NIGHTS.last
        assert calendar.closed_reason(now.date()) is not None
    assert calendar.is_trading_day(NIGHTS.last)
