"""The process that is killed.

Here: a forked process that plays the night, the real command beside it, and what each was doing when it was last heard of.
Not here: who kills it, and when (kills.py). Forked from a server that has imported everything: it starts in milliseconds."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from refresh_assets.store.database import Database
from refresh_assets_tests.chaos import world

WIDTH = 60
STARTING, ENDING = "start-up", "ending"


@dataclass
class Worker:
    """A night in a process of its own. `command`: the real one, else a fork."""

    process: ForkServerProcess | subprocess.Popen[bytes]
    progress: Path
    log: Path

    @property
    def doing(self) -> str:
        """What the night was at when it last said so."""
        return self.progress.read_text().strip() or STARTING

    @property
    def has_ended(self) -> bool:
        return self.exit_code is not None

    @property
    def exit_code(self) -> int | None:
        if isinstance(self.process, subprocess.Popen):
            return self.process.poll()
        return self.process.exitcode

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.wait(10)

    def wait(self, seconds: float) -> int:
        """Its exit code. Raises AssertionError, with its last words, where it does not end in time."""
        deadline = time.monotonic() + seconds
        while not self.has_ended:
            if time.monotonic() > deadline:
                self._show_its_stack()
                raise AssertionError(f"still at {self.doing} after {seconds} seconds\n{self.words()}")
            time.sleep(0.005)
        assert self.exit_code is not None
        return self.exit_code

    def words(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace")

    def _show_its_stack(self) -> None:
        if not isinstance(self.process, subprocess.Popen) and self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(0.5)


def fork(url: str, folder: Path) -> Worker:
    """A forked process that plays the night that is due."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["pytest", __name__])
    worker = Worker(context.Process(target=_play, args=(url, str(folder)), daemon=True), *_files(folder))
    assert isinstance(worker.process, ForkServerProcess)
    worker.process.start()
    return worker


def command(url: str, folder: Path) -> Worker:
    """`refresh-assets run` over the days that are restated and new."""
    progress, log = _files(folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REFRESH_", "DAGSTER_"))}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                Path(sys.executable).with_name("refresh-assets"),
                "run",
                *("--from", world.RESTATED[0].isoformat(), "--to", world.NEW[-1].isoformat()),
            ],
            env={**kept, "REFRESH_DATABASE_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    return Worker(process, progress, log)


def _files(folder: Path) -> tuple[Path, Path]:
    progress, log = folder / "progress", folder / "log"
    progress.write_text("")
    log.write_text("")
    return progress, log


def _play(url: str, folder: str) -> None:
    with (Path(folder) / "log").open("w") as log:
        for stream in (1, 2):  # retries announce themselves
            os.dup2(log.fileno(), stream)
    faulthandler.register(signal.SIGUSR1)
    # Written in place, a fixed width: it can be read at any instant, and outlives the process.
    descriptor = os.open(Path(folder) / "progress", os.O_WRONLY)

    def progress(words: str) -> None:
        os.pwrite(descriptor, words.ljust(WIDTH).encode(), 0)

    progress(STARTING)
    world.night_due(Database(url), "killed", progress)
    progress(ENDING)
