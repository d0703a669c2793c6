"""One kill after the other: who is killed, when, what must hold at once, and what after the next run.

Here: the plan of kills from a seed, a server that they happen to, one kill from start to finish. Not here: what stands
(states.py), the process (worker.py), what it was doing (phases.py)."""

from __future__ import annotations

import random
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg

from refresh_assets.store.database import Database
from refresh_assets.store.provision import init
from refresh_assets_tests.chaos import states, worker, world
from refresh_assets_tests.chaos.phases import Session, phase_of, sessions_of
from refresh_assets_tests.chaos.worker import Worker
from refresh_assets_tests.conftest import new_database
from refresh_assets_tests.servers import Server, kill_backend, running_server

AS_ON_A_DISK = {"fsync": "on", "commit_delay": "3000", "commit_siblings": "0", "max_wal_size": "256MB"}
"""In memory, a commit takes 3 ms as on a good disk: a kill also falls into one."""
PATIENCE = 300.0  # seconds for a night that goes on or is run again, on a busy machine


class Kind(StrEnum):
    """Who is killed."""

    WORKER = "kill -9 of the worker"
    TERMINATE = "its sessions terminated"
    BACKEND = "kill -9 of its backend"
    SERVER = "server stopped, immediate"
    MACHINE = "server and worker at once"


ENDS_THE_WORKER = {Kind.WORKER, Kind.MACHINE}
LOSES_THE_SERVER = {Kind.BACKEND, Kind.SERVER, Kind.MACHINE}
LOST = re.compile(
    "does not answer|server closed|terminating connection|connection to server|crash of another|recovery mode"
)
ROUND = (
    *(Kind.WORKER, Kind.TERMINATE, Kind.BACKEND, Kind.WORKER, Kind.SERVER),
    *(Kind.WORKER, Kind.TERMINATE, Kind.MACHINE, Kind.BACKEND),
)
"""Nine kills of the forked night; the tenth of each round is one of the real command, each kind in turn."""


@dataclass(frozen=True)
class Kill:
    """One of the plan. `instant`: fraction of the undisturbed night's duration."""

    number: int
    kind: Kind
    by_command: bool
    instant: float


@dataclass(frozen=True)
class Hit:
    """What a kill met, and what stood after it.

    Attributes:
        phase: what the night was doing.
        doing: asset and day that it was last heard of.
        new, units: days of tables that stood in their new version right after, of how many that the night changes.
        cleared: seconds until no session and no lock of the dead was left; None where the night went on by itself.
        gave_up: the server was away for longer than the night tries again; it ended, and the next run healed.
    """

    kill: Kill
    phase: str
    doing: str
    new: int
    units: int
    cleared: float | None
    gave_up: bool


def plan(seed: int, kills: int) -> list[Kill]:
    """Kills spread evenly over the night's duration, in random order; their kinds in rounds of ten."""
    dice = random.Random(seed)
    instants = [(number + dice.random()) / kills for number in range(kills)]
    dice.shuffle(instants)
    planned = []
    for number, instant in enumerate(instants):
        turn, place = divmod(number, len(ROUND) + 1)
        by_command = place == len(ROUND)
        kind = [*Kind][turn % len(Kind)] if by_command else ROUND[place]
        planned.append(Kill(number, kind, by_command, instant))
    return planned


class Arena:
    """A server of its own with the world on it, which is killed over and over. Made by `arena`."""

    def __init__(self, server: Server, template: str, folder: Path, seed: int) -> None:
        self.server, self.template, self.folder = server, template, folder
        self._dice = random.Random(seed)
        self._observer = self._observing()
        self._durations: dict[bool, float] = {}
        with new_database(server.url, template) as (_, url):
            self.old, self.old_complete = states.state_of(Database(url))
        with new_database(server.url, template) as (_, url):
            self._play_on(url)
            self.new, _ = states.state_of(Database(url))
        self.changed = {unit for unit in self.old if self.old[unit] != self.new[unit]}
        assert set(self.old) - self.changed == {(world.ADDED, states.BETAS)}, "the night is to change all else"

    def close(self) -> None:
        """Leave the server."""
        self._observer.close()

    def strike(self, kill: Kill) -> Hit:
        """Kill a night, and see what stands. Raises AssertionError, with the kill in its words, where a promise breaks."""
        while True:
            try:
                hit = self._strike(kill, self._duration(kill.by_command))
            except Exception as error:
                raise AssertionError(f"{kill}\n{type(error).__name__}: {error}") from error
            if hit is not None:
                return hit
            # The night was faster than the undisturbed one, and over: earlier, then.
            kill = Kill(kill.number, kill.kind, kill.by_command, kill.instant * self._dice.random())

    def _strike(self, kill: Kill, duration: float) -> Hit | None:
        with new_database(self.server.url, self.template) as (name, url):
            night, begin = self._start(url, kill.by_command), time.monotonic()
            time.sleep(max(0.0, begin + kill.instant * duration - time.monotonic()))
            seen = self._kill(kill, night, name)
            if seen is None:
                return None
            phase, doing = seen
            state, complete = states.state_of(Database(url))
            found = states.versions(state, self.old, self.new)
            states.check_complete_days(complete, found, self.old_complete)
            cleared, gave_up = None, False
            if kill.kind not in ENDS_THE_WORKER and night.wait(PATIENCE) != 0:
                # Three more tries are promised, not a server that is back in time; one that was never away is.
                assert kill.kind in LOSES_THE_SERVER and LOST.search(night.words()), (
                    f"{doing} ({phase})\n{night.words()}"
                )
                gave_up = True
            if kill.kind in ENDS_THE_WORKER or gave_up:
                cleared = states.seconds_until_alone(self._observer, name)
                states.check_nothing_is_left_behind(Database(url))
                night = self._start(url, kill.by_command)
                assert night.wait(PATIENCE) == 0, f"the next run after {doing} ({phase})\n{night.words()}"
            if kill.by_command:
                self._check_tracking(url)
                self._play_on(url)
            self._check_healed(url, name)
            new = sum(found[unit] == "new" for unit in self.changed)
            return Hit(kill, phase, doing, new, len(self.changed), cleared, gave_up)

    def _kill(self, kill: Kill, night: Worker, name: str) -> tuple[str, str] | None:
        """Phase and last words of the night that was hit; None where it was over before."""
        while not night.has_ended:
            seen, doing = sessions_of(self._observer, name), night.doing
            if not self._hit(kill.kind, night, seen):
                continue
            if kill.kind is Kind.BACKEND and not self._throws_everybody_out():
                continue  # it was ending by itself: the server did not mind
            if kill.kind in LOSES_THE_SERVER:
                self._await_server(kill.kind)
            return phase_of(doing, seen), doing
        return None

    def _hit(self, kind: Kind, night: Worker, seen: Sequence[Session]) -> bool:
        """Whether there was somebody to kill."""
        if kind is Kind.WORKER:
            night.kill()
        elif kind is Kind.TERMINATE:
            pids = [one.pid for one in seen]
            gone = self._observer.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) pid", [pids])
            return any(row[0] for row in gone.fetchall())
        elif kind is Kind.BACKEND:
            if not seen:
                return False
            try:
                kill_backend(self._dice.choice(seen).pid)
            except ProcessLookupError:
                return False
        else:
            self.server.stop_immediately()
            if kind is Kind.MACHINE and not night.has_ended:
                night.kill()
        return True

    def _await_server(self, kind: Kind) -> None:
        if kind is Kind.BACKEND:
            self.server.await_recovery()
        else:
            self.server.start_again()
        self.close()
        self._observer = self._observing()

    def _throws_everybody_out(self, patience: float = 10) -> bool:
        """Whether the server has noticed: it lets nobody stay, us included, before it recovers."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                self._observer.execute("select 1")
            except psycopg.OperationalError:
                return True
        return False

    def _start(self, url: str, by_command: bool) -> Worker:
        return worker.command(url, self.folder) if by_command else worker.fork(url, self.folder)

    def _play_on(self, url: str) -> None:
        """The night that is due, undisturbed: what a command leaves alone included."""
        night = worker.fork(url, self.folder)
        code = night.wait(PATIENCE)
        assert code == 0, night.words()

    def _duration(self, by_command: bool) -> float:
        """Seconds of an undisturbed night; it ends in the new version of everything."""
        if by_command not in self._durations:
            with new_database(self.server.url, self.template) as (name, url):
                begin = time.monotonic()
                code = (night := self._start(url, by_command)).wait(PATIENCE)
                self._durations[by_command] = time.monotonic() - begin
                assert code == 0, night.words()
                if by_command:
                    self._check_tracking(url)
                    self._play_on(url)
                self._check_healed(url, name)
        return self._durations[by_command]

    def _check_healed(self, url: str, name: str) -> None:
        """Byte for byte what an undisturbed night writes, and nothing else."""
        state, complete = states.state_of(Database(url))
        wrong = [unit for unit, rows in state.items() if rows != self.new[unit]]
        assert not wrong, (
            f"not healed: {wrong}\n{states.difference(state[wrong[0]], self.old[wrong[0]], self.new[wrong[0]])}"
        )
        assert complete == {*world.DAYS}
        states.seconds_until_alone(self._observer, name)
        states.check_nothing_is_left_behind(Database(url))

    def _check_tracking(self, url: str) -> None:
        """The killed run's rows of batch_run_tracking are ended by the next run."""
        with Database(url).connect() as connection:
            rows = connection.execute(
                "select target_date, status from batch_run_tracking where batch_type = 'portfolio_refresh'"
            ).fetchall()
        assert rows
        assert {status for _, status in rows} == {"completed"}, rows

    def _observing(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.url, autocommit=True)


@contextmanager
def arena(seed: int) -> Iterator[Arena]:
    """An embedded server of its own, as durable as one in production, with the world on it."""
    with (
        running_server(AS_ON_A_DISK, in_memory=True) as server,
        tempfile.TemporaryDirectory(prefix="refresh-") as folder,
        new_database(server.url) as (template, url),
    ):
        init(Database(url))
        world.build(Database(url))
        with closing(Arena(server, template, Path(folder), seed)) as one:
            yield one
