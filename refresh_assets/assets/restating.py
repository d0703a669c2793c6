"""What computing a past day again would change, without changing it.

Here: one day's inputs in full against what stands, and the restatement that a run would record, from a transaction that is
rolled back. Not here: a quick look at many days (store/stale.py), the comparison itself (store/restatement.py), Dagster: no
run, partition or tracking row comes of this."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import psycopg

from refresh_assets.assets.night import Night
from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import scenarios
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.snapshots import snapshots
from refresh_assets.errors import NoPrices
from refresh_assets.settings import Settings
from refresh_assets.store.database import Database
from refresh_assets.store.days import complete_days, standing_tables, stored_inputs
from refresh_assets.store.portfolios import names_of
from refresh_assets.store.restatement import Restatement
from refresh_assets.store.schema_names import DAY_TABLES
from refresh_assets.store.stale import POSITIONS, PRICES, VALUATIONS, WINDOW, Budget, Stale, stale_days
from refresh_assets.store.stale_snapshots import SnapshotChange, snapshot_change
from refresh_assets.store.write import Written

DRY_RUN = "dry run"
"""The run id of what is never committed."""

Write = Callable[[Night, date], Written]


@dataclass(frozen=True)
class RolledBack(Database):
    """A database on which whatever is written is gone at the end of the block: no caller can commit."""

    @contextmanager
    def connect(self, autocommit: bool = False) -> Iterator[psycopg.Connection[Any]]:  # noqa: ARG002
        with super().connect() as connection:
            # Opens the transaction, so that every transaction() of the caller is a savepoint in it.
            connection.execute("select")
            try:
                yield connection
            finally:
                connection.rollback()


@dataclass(frozen=True)
class WouldChange:
    """What a run would do to a day that stands.

    `tables` has those that stand, each with what would be recorded (None: not one byte would change); `skipped` says why
    the day would not be computed at all."""

    day: date
    tables: Mapping[str, Restatement | None]
    names: Mapping[str, str]
    skipped: str = ""


def would_change(settings: Settings, days: Sequence[date], select: Collection[str] = ()) -> Iterator[WouldChange]:
    """Compute days that stand again, one after the other, and keep nothing.

    Args:
        days: trading days; those of which no table stands are left out.
        select: names of assets; none: all. Only the four tables can be restated.

    Writers of the same day and table wait, as for any other writer; readers do not."""
    database = Database.of(settings)
    with database.connect() as connection:
        standing = standing_tables(connection, days)
    wanted = {day: [table for table in DAY_TABLES if table in tables] for day, tables in standing.items()}
    if select:
        wanted = {day: [table for table in tables if table in select] for day, tables in wanted.items()}
    chosen = [day for day in sorted(wanted) if wanted[day]]
    if not chosen:
        return
    writers = _writers()
    with closing(
        _night(settings, RolledBack(database.url, database.schema, database.platform_schema), chosen)
    ) as night:
        for day in chosen:
            try:
                night.require_prices(day)
            except NoPrices:
                yield WouldChange(day, {}, {}, "not one close: what stands would stay")
                continue
            found = {table: writers[table](night, day).restatement for table in wanted[day]}
            ids = {one.portfolio for one in found.values() if one is not None and one.portfolio is not None}
            with database.connect() as connection:
                names = names_of(connection, ids)
            yield WouldChange(day, found, names)


def look_at_day(settings: Settings, day: date) -> Stale:
    """Every kind of input of one complete day against what it was computed from, the closes that changed, and whose snapshots
    would where it is more than closes."""
    database, calendar = Database.of(settings), TradingCalendar(settings.extra_closures)
    begin = calendar.previous(day - timedelta(days=WINDOW_DAYS))
    with database.connect() as connection:
        window = complete_days(connection, begin, day)
        stored = stored_inputs(connection, day)
    # Positions, valuations and betas come from the night itself, below.
    found = stale_days(database, calendar, window, Budget(marks=10**12, positions=0))
    kinds = [PRICES] if PRICES in found.days.get(day, ()) else []
    changed: list[SnapshotChange] = []
    if stored is not None:
        with closing(_night(settings, database, [day])) as night:
            now = night.digests(day)
            differ = [kind for kind, value in now.items() if value != stored.get(kind)]
            if {POSITIONS, VALUATIONS}.intersection(differ):
                again = (snapshots(one.book, night.inputs.prices) for one in night.books(day))
                changed = [snapshot_change(night.inputs.snapshot, (day,), again)]
        kinds += [WINDOW if kind == PRICES else kind for kind in differ if kind not in kinds]
    elif WINDOW in found.days.get(day, ()):
        kinds.append(WINDOW)
    known = (PRICES, POSITIONS, VALUATIONS, "betas", "factors", "scenarios", "settings")
    looked_at = dict.fromkeys(known, 1) if stored is not None else {PRICES: 1}
    changes = found.prices if kinds else ()
    return replace(
        found,
        days={day: tuple(kinds)} if kinds else {},
        prices=changes,
        snapshots=changed,
        complete=1,
        looked_at=looked_at,
        older_version=int(stored is None),
    )


def _night(settings: Settings, database: Database, days: list[date]) -> Night:
    file = settings.scenarios_file
    return Night(
        database=database,
        calendar=TradingCalendar(settings.extra_closures),
        scenarios=scenarios.configured(file),
        days=days,
        run_id=DRY_RUN,
        max_symbols=settings.correlation_max_symbols,
        min_price_coverage=settings.min_price_coverage,
    )


def _writers() -> dict[str, Write]:
    """The assets' own work, by table; imported here, as their files import Dagster."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* is currently in beta")
        from refresh_assets.assets.correlations import write_correlations
        from refresh_assets.assets.factor_exposures import write_exposures
        from refresh_assets.assets.snapshots import write_snapshots
        from refresh_assets.assets.stress import write_stress
    return {
        "portfolio_snapshots": write_snapshots,
        "correlation_calculations": write_correlations,
        "factor_exposures": write_exposures,
        "stress_test_results": write_stress,
    }
