"""Dagster's UI on the demo's nights, until Ctrl-C: the shape of production, on the demo's embedded database.

Here: webserver and daemon as two processes of the project's dagster.yaml and workspace.yaml, by environment variables
alone; both are stopped together. Not here: production itself, which starts the same two (Dockerfile, README), playing the
nights (nights.py)."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from refresh_assets.demo.nights import play, world
from refresh_assets.demo.world import NIGHTS
from refresh_assets.errors import RefreshError, UsageError

HOST, PORT = "127.0.0.1", 3000
PROJECT = Path(__file__).parents[2]
PROCESSES = {
    "dagster-webserver": ("-h", HOST, "-p", "{port}", "-w", "workspace.yaml"),
    "dagster-daemon": ("run", "-w", "workspace.yaml"),
}

A_YEAR = 366  # days; longer than anybody looks at a demo
START_SECONDS, STOP_SECONDS, POLL_SECONDS = 90, 15, 0.2
LOG_SHOWN = 2000  # characters of the end of the log of a process that ended by itself


def main(folder: Path = Path(".demo"), port: int = PORT) -> int:
    """Play the demo if there is none yet, then serve it until Ctrl-C. Returns an exit code."""
    if not (folder / "postgres").exists() and (code := play(folder)):
        return code
    with world(folder):
        return serve(folder.resolve() / "ui", port, {**os.environ, **end_of_the_world(date.today())})


def end_of_the_world(today: date) -> dict[str, str]:
    """The setting that closes every exchange after the demo's last night.

    Without it sensor and schedule would wait for tonight's symbol batch, which never comes, and alert; and 26 nights
    would be lost among thousands of partitions."""
    number = (today - NIGHTS.last).days + A_YEAR
    closed = [NIGHTS.last + timedelta(days=ahead) for ahead in range(1, number + 1)]
    return {"REFRESH_EXTRA_CLOSURES": ",".join(day.isoformat() for day in closed)}


def serve(home: Path, port: int, environment: Mapping[str, str]) -> int:
    """Webserver and daemon over the database that the environment names, until SIGINT or SIGTERM (0), or one ends (1).

    Args:
        home: their DAGSTER_HOME: the project's dagster.yaml is copied there, and their logs are written there.

    Raises:
        UsageError: the project's dagster.yaml is not there: the package is installed, not cloned."""
    if not (PROJECT / "dagster.yaml").exists():
        raise UsageError(f"there is no dagster.yaml in {PROJECT}", "run `make ui` in a clone of the project")
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(PROJECT / "dagster.yaml", home)
    with _stopped_by_signals(), _running(home, port, {**environment, "DAGSTER_HOME": str(home)}) as processes:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(port):
                if (name := _ended(processes)) or time.monotonic() > deadline:
                    return _failed(home, name or "dagster-webserver")
                time.sleep(POLL_SECONDS)
            print(f"Dagster's UI: http://{HOST}:{port} (Ctrl-C ends it; logs in {home})", flush=True)
            while not (name := _ended(processes)):
                time.sleep(POLL_SECONDS)
            return _failed(home, name)
        except KeyboardInterrupt:
            print("stopping webserver and daemon ...", file=sys.stderr, flush=True)
            return 0


@contextmanager
def _running(home: Path, port: int, environment: Mapping[str, str]) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Both processes, each with its log; at the end both are stopped, with the code servers and workers that they started."""
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, arguments in PROCESSES.items():
            with (home / f"{name}.log").open("wb") as written:
                processes[name] = subprocess.Popen(
                    [str(Path(sys.executable).with_name(name)), *(one.format(port=port) for one in arguments)],
                    cwd=PROJECT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for us alone: we stop them in order
                )
        yield processes
    finally:
        for process in processes.values():
            _signal(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                _signal(process.pid, signal.SIGKILL)
                process.wait()
        for process in processes.values():
            _signal(process.pid, signal.SIGKILL)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Within the block SIGTERM and a closed terminal are as good as Ctrl-C, the second of them is not heard."""

    def stop(*_: object) -> None:
        for one in stopping:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    stopping = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {one: signal.signal(one, stop) for one in stopping}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _signal(leader: int, signalled: signal.Signals) -> None:
    try:
        os.killpg(leader, signalled)
    except ProcessLookupError:
        return  # everybody in it has ended


def _ended(processes: Mapping[str, subprocess.Popen[bytes]]) -> str | None:
    """The name of a process that ended by itself."""
    return next((name for name, process in processes.items() if process.poll() is not None), None)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/server_info")
        return b"dagster_webserver_version" in connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _failed(home: Path, name: str) -> int:
    log = home / f"{name}.log"
    print(log.read_text(errors="replace")[-LOG_SHOWN:], file=sys.stderr)
    print(f"refresh-assets: {name} does not run. Mend: the lines above are the end of {log}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(port=int(sys.argv[1]) if len(sys.argv) > 1 else PORT))
    except KeyboardInterrupt:
        sys.exit(130)
    except RefreshError as error:
        print(f"refresh-assets: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
