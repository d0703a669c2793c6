"""The store's promises hold on every PostgreSQL that is installed, not on the embedded one alone.

Here: one run of this room's tests a server. Not here: finding and starting servers (servers.py)."""

from __future__ import annotations

import pytest

from refresh_assets_tests.servers import EMBEDDED, installed_servers


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Where no other server is installed, nothing more is collected: there is nothing to skip."""
    if "server_url" in metafunc.fixturenames:
        # None is the embedded one, as in the other rooms: it is not started a second time.
        servers = {EMBEDDED: None, **{f"postgresql-{major}": path for major, path in installed_servers().items()}}
        metafunc.parametrize("server_url", servers.values(), ids=servers.keys(), indirect=True, scope="session")
