"""The deployment's processes, from outside: started, asked, killed with -9.

Here: sockets and signals. Not here: what they do (deployment.py), what they should do (play.py)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import date, datetime
from pathlib import Path
from typing import Any

Answer = dict[str, Any]
DAGSTER_YAML = "telemetry:\n  enabled: false\n"


class ProcessDied(Exception):
    """A process ended while it was asked, or raised; the message has its last words."""


class Program:
    """The program, loaded with some settings; it forks processes."""

    def __init__(self, folder: Path, name: str, environment: dict[str, str]) -> None:
        self._path, self.log = folder / name, folder / f"{name}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("REFRESH_", "DAGSTER_"))}
        with self.log.open("ab") as said:
            self._popen = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "refresh_assets_tests.simulation.deployment", str(self._path)],
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )

    def connected(self) -> socket.socket:
        """A connection to a process of its own, once the program is loaded. Raises ProcessDied."""
        while self._popen.poll() is None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self._path))
            except (FileNotFoundError, ConnectionRefusedError):
                connection.close()
                time.sleep(0.01)
            else:
                return connection
        raise ProcessDied(self.last_words())

    def last_words(self) -> str:
        return self.log.read_text()[-3000:]

    def end(self) -> None:
        self._popen.kill()
        self._popen.wait()


class Process:
    """One process of the deployment, over a Dagster home."""

    def __init__(self, program: Program, home: Path) -> None:
        self._program = program
        self._socket = program.connected()
        self._questions, self._answers = self._socket.makefile("w"), self._socket.makefile("r")
        print(home, file=self._questions, flush=True)
        self._pid: int = self.receive()["pid"]

    def send(self, do: str, now: datetime, **more: Any) -> None:
        """Ask, without waiting for the answer."""
        question = {"do": do, "now": now.isoformat(), **more}
        print(json.dumps(question, default=str), file=self._questions, flush=True)

    def receive(self) -> Answer:
        """The answer to what was asked. Raises ProcessDied."""
        line = self._answers.readline()
        answer: Answer = json.loads(line) if line else {"raised": self._program.last_words()}
        if "raised" in answer:
            raise ProcessDied(answer["raised"])
        return answer

    def ask(self, do: str, now: datetime, **more: Any) -> Answer:
        self.send(do, now, **more)
        return self.receive()

    def kill(self) -> None:
        """As kill -9 does: nothing is told to anybody. Returns once it is dead."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ConnectionError):
            while self._answers.readline():
                pass
        for one in (self._questions, self._answers, self._socket):
            with contextlib.suppress(BrokenPipeError):
                one.close()


class Processes:
    """A daemon, which looks and takes a person's commands, and a worker, which runs; one Dagster home at a time."""

    def __init__(self, folder: Path, url: str, first: date, closure: date) -> None:
        self._folder, self._homes = folder, 0
        settings = {"REFRESH_DATABASE_URL": url, "REFRESH_START_DATE": first.isoformat()}
        self._programs = [
            Program(folder, "before", settings),
            Program(folder, "after", {**settings, "REFRESH_EXTRA_CLOSURES": closure.isoformat()}),
        ]
        self._program = self._programs[0]
        self.cursor: str | None = None
        self._new_home, self._home = folder / "new", folder / "dagster"
        self._new_home.mkdir()
        (self._new_home / "dagster.yaml").write_text(DAGSTER_YAML)
        # SQLite's tables are made once, by one process: two that make them at the same time get into each other's way.
        Process(self._program, self._new_home).kill()
        shutil.copytree(self._new_home, self._home)
        self._start()

    def _start(self) -> None:
        self.daemon, self.worker = Process(self._program, self._home), Process(self._program, self._home)

    def restart(self) -> None:
        """Both anew, over the same Dagster instance and cursor."""
        self._kill()
        self._start()

    def announce(self) -> None:
        """Both anew, with the closure in REFRESH_EXTRA_CLOSURES from now on."""
        self._program = self._programs[1]
        self.restart()

    def replace_worker(self) -> None:
        self.worker.kill()
        self.worker = Process(self._program, self._home)

    def forget(self) -> None:
        """Both anew; Dagster's instance and the cursor are gone."""
        self._kill()
        self._homes += 1
        self._home = self._folder / f"dagster{self._homes}"
        shutil.copytree(self._new_home, self._home)
        self.cursor = None
        self._start()

    def end(self) -> None:
        self._kill()
        for program in self._programs:
            program.end()

    def _kill(self) -> None:
        self.daemon.kill()
        self.worker.kill()
