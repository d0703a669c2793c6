"""An error between two chunks, with a COPY open: the night is told at once, and nobody waits.

Here: what kills found first, made small. Not here: the kills (test_kills.py)."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest

from refresh_assets.assets.analytic import Part
from refresh_assets.assets.books import ValuedBook
from refresh_assets.core.snapshots import snapshots
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.tables import snapshot_rows
from refresh_assets_tests import worlds
from refresh_assets_tests.worlds import DAY, computed_by, execute, run, table_rows

WRITERS = "select pid from pg_stat_activity where datname = current_database() and query ilike 'copy%from stdin%'"


@pytest.mark.parametrize("stands", [False, True], ids=["new day", "replaced day"])
@pytest.mark.parametrize("cut", [False, True], ids=["writer there", "writer cut as well"])
def test_an_error_between_two_chunks_ends_the_write_and_frees_the_claim(
    database: Database, stands: bool, cut: bool
) -> None:
    """The second chunk cannot be read while the first stands in an open COPY: the old day stays, and the day runs at once."""
    worlds.three_portfolios(database)
    if stands:
        run(database)
    before = table_rows(database, "portfolio_snapshots")
    with closing(worlds.night(database, chunk_portfolios=1, run_id="stopped")) as night:
        asked = 0

        def compute(valued: ValuedBook) -> Part:
            nonlocal asked
            asked += 1
            if asked == 2:
                if cut:
                    while not execute(database, WRITERS):  # computed ahead: the first chunk is on its way
                        pass
                    execute(database, f"select pg_terminate_backend(pid, 5000) from ({WRITERS}) writers")
                raise psycopg.OperationalError("the connection that reads is lost")
            result = snapshots(valued.book, night.inputs.prices)
            return Part(snapshot_rows(day_number(DAY), result), result.portfolio_id, result.omissions)

        with computed_by(compute), pytest.raises(psycopg.OperationalError, match="the connection that reads is lost"):
            night.replace(DAY, "portfolio_snapshots")
    assert table_rows(database, "portfolio_snapshots") == before
    assert execute(database, "select count(*) from pg_locks where locktype = 'advisory'") == [(0,)]
    assert run(database, run_id="next")["portfolio_snapshots"].portfolios == 3
