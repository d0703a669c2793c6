"""The machine that a benchmark's figures come from.

Here: facts about processor, memory, kernel and PostgreSQL that a reader needs to judge a figure. Not here: measuring
anything, and nothing that names a person's machine: no host names, no paths, no addresses."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np
import psycopg

Fact = str | int | float
SERVER_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "jit")


def facts(connection: psycopg.Connection) -> dict[str, Fact]:
    """Describe this machine and the PostgreSQL server behind `connection`, in the order a person reads it.

    Returns:
        `cpu` (model), `cores` (that this process may use), `memory_gib`, `kernel`, `python`, `numpy`, `psycopg`, then
        the server's settings by their PostgreSQL names, prefixed `postgres_`. An unknown fact is "unknown".

    Raises:
        psycopg.Error: the server does not answer.
    """
    described: dict[str, Fact] = {
        "cpu": _proc_field("cpuinfo", "model name"),
        "cores": _usable_cores(),
        "memory_gib": _memory_gib(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "psycopg": psycopg.__version__,
    }
    for name in SERVER_SETTINGS:
        row = connection.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
        described[f"postgres_{name}"] = str(row[0]) if row and row[0] is not None else "unknown"
    return described


def _usable_cores() -> int:
    # The affinity, not os.cpu_count(): a container often may use fewer cores than the board has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> Fact:
    kibibytes = _proc_field("meminfo", "MemTotal").split()[0]
    return round(int(kibibytes) / 2**20, 1) if kibibytes.isdigit() else "unknown"


def _proc_field(file: str, field: str) -> str:
    """The first value of `field` in one of Linux's /proc tables; "unknown" on a system without them."""
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return "unknown"
