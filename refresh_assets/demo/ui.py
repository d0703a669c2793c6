"""Dagster's UI on the demo's nights, until Ctrl-C.

Here: webserver and daemon as one command, on the demo's embedded database. Not here: production, which starts them as two
services from dagster.yaml (Dockerfile, README)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from refresh_assets.demo.nights import play, world

HOST, PORT = "127.0.0.1", "3000"


def main(folder: Path = Path(".demo"), port: str = PORT) -> int:
    """Play the demo if there is none yet, then serve its instance."""
    if not (folder / "postgres").exists() and (code := play(folder)):
        return code
    with world(folder):
        print(f"Dagster's UI: http://{HOST}:{port} (Ctrl-C ends it)", flush=True)
        command = (sys.executable, "-m", "dagster", "dev", "-h", HOST, "-p", port, "-m", "refresh_assets.definitions")
        try:
            return subprocess.run(command, check=False).returncode
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
