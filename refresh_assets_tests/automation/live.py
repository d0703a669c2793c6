"""A deployment of Dagster as in production, on loopback: webserver, daemon, dagster.yaml and workspace.yaml as shipped.

Here: starting and ending its processes, asking it over GraphQL, waiting for something with a deadline. Not here: what it
promises (test_live.py)."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "refresh_assets"}
POLL = 0.25  # seconds
LOG_SHOWN = 6000  # characters of the end of each log

SHORTENED = {"poll_interval_seconds: 30": "poll_interval_seconds: 2"}
"""Of the shipped dagster.yaml: how often run monitoring looks."""


@dataclass
class Deployment:
    """Webserver, and the daemon once it is asked for, over one folder and one database."""

    home: Path
    environment: dict[str, str]
    port: int
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start_webserver(self) -> None:
        """Returns when it has loaded the code."""
        self._start("dagster-webserver", "-h", HOST, "-p", str(self.port), "-w", "workspace.yaml")
        self.awaited("the webserver to load the code", self._has_loaded, 60)

    def start_daemon(self) -> None:
        """Returns when every daemon has given a sign of life; nothing where it runs already."""
        if "dagster-daemon" not in self._processes:
            self._start("dagster-daemon", "run", "-w", "workspace.yaml")
            self.awaited("the daemons to be healthy", self._is_healthy, 60)

    def ask(self, query: str, **variables: Any) -> Any:
        """The data of a GraphQL answer. Fails on an error."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            body = json.dumps({"query": query, "variables": variables})
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def awaited(self, what: str, look: Callable[[], T], seconds: float) -> T:
        """What `look` gives as soon as it is true. Fails after `seconds`, or where a process ended, with the logs."""
        deadline = time.monotonic() + seconds
        while True:
            if found := look():
                return found
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                why = f"{', '.join(ended)} ended" if ended else f"not within {seconds} seconds"
                raise AssertionError(f"waited for {what}: {why}\n{self.logs()}")
            time.sleep(POLL)

    def logs(self) -> str:
        """The end of each process's log."""
        files = sorted(self.home.glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-LOG_SHOWN:]}" for file in files)

    def kill(self) -> None:
        """kill -9 to every process at once, with the code servers and run workers that it started: a machine goes down."""
        for process in self._processes.values():
            _signal_group(process.pid, signal.SIGKILL)
        for process in self._processes.values():
            process.wait(10)
        self._processes.clear()

    def end(self) -> None:
        """Ends every process, with the code servers and run workers that it started."""
        for signalled in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes.values():
                _signal_group(process.pid, signalled)
            for process in self._processes.values():
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    continue

    def _start(self, name: str, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name(name)), *arguments]
        with (self.home / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _has_loaded(self) -> bool:
        query = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
        try:
            entries = self.ask(query)["workspaceOrError"]["locationEntries"]
        except (OSError, http.client.HTTPException):
            return False
        return [one["locationOrLoadError"]["__typename"] for one in entries] == ["RepositoryLocation"]

    def _is_healthy(self) -> bool:
        health = self.ask("{ instance { daemonHealth { allDaemonStatuses { required healthy } } } }")
        statuses = health["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(one["healthy"] for one in statuses if one["required"])


@contextmanager
def deployed(home: Path, **settings: str) -> Iterator[Deployment]:
    """A deployment whose webserver answers; its daemon is not started yet. Every process is ended afterwards.

    Args:
        home: DAGSTER_HOME, an empty folder.
        settings: REFRESH_* variables; nothing of that name is taken from this process."""
    configuration = (ROOT / "dagster.yaml").read_text(encoding="utf-8")
    for shipped, shortened in SHORTENED.items():
        assert shipped in configuration, f"dagster.yaml has no line {shipped}"
        configuration = configuration.replace(shipped, shortened)
    (home / "dagster.yaml").write_text(configuration, encoding="utf-8")
    inherited = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(("REFRESH_", "DAGSTER_"))
    }
    deployment = Deployment(home, {**inherited, "DAGSTER_HOME": str(home), **settings}, _free_port())
    try:
        deployment.start_webserver()
        yield deployment
    finally:
        deployment.end()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def _signal_group(leader: int, signalled: signal.Signals) -> None:
    try:
        os.killpg(leader, signalled)
    except ProcessLookupError:
        return  # everybody in it has ended
