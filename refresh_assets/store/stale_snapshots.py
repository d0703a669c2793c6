"""Snapshots of past days that would come out otherwise: whose, and how large the change is.

Here: a day's snapshots made again from today's inputs against the rows that stand, and on which days it is one and the same
change. Not here: which days differ (stale.py), every table of a day (assets/restating.py), the figures (core/snapshots.py),
words (terminal_restatements.py)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.book import Ledger, Rows, Uuids, as_of
from refresh_assets.core.money import Bools, Floats
from refresh_assets.core.snapshots import Snapshots, snapshots
from refresh_assets.store.arrow import index_in, uuids
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.dates import day_number
from refresh_assets.store.read_market import read_prices
from refresh_assets.store.restatement import LARGEST_OF
from refresh_assets.store.tables import snapshot_rows

TABLE = "portfolio_snapshots"
KEY = "portfolio_id"


@dataclass(frozen=True)
class SnapshotChange:
    """What computing a day again would change in its snapshots.

    Attributes:
        days: complete days, ascending, on which the same positions, sales and valuations differ in the same way; the
            figures are of the latest.
        portfolios: whose snapshot would change, come or go.
        column: total_value, or where nobody's changes that which changes most; None where no amount does.
        usd: of all portfolios, sum of |new - old|.
        portfolio, old, new: the name of the portfolio that changes most, and its figures (None: no row).
    """

    days: tuple[date, ...]
    portfolios: int = 0
    column: str | None = None
    usd: float = 0.0
    portfolio: str | None = None
    old: float | None = None
    new: float | None = None

    @property
    def portfolio_usd(self) -> float:
        """The largest change, signed."""
        return (self.new or 0.0) - (self.old or 0.0)


def days_by_cause(causes: Mapping[date, Hashable]) -> list[tuple[date, ...]]:
    """Days that differ in the same way, together, whatever lies between them; those that reach furthest come first."""
    groups: dict[Hashable, list[date]] = {}
    for day in sorted(causes):
        groups.setdefault(causes[day], []).append(day)
    return sorted((tuple(days) for days in groups.values()), key=lambda days: days[-1], reverse=True)


def made_again(
    snapshot: Snapshot, calendar: TradingCalendar, ledger: Ledger, symbols: list[str], day: date
) -> Snapshots:
    """The snapshots of a day from a Ledger and the closes that are there now."""
    previous = calendar.previous(day)
    prices = read_prices(snapshot, symbols, [previous, day], exact_from=previous, window=previous, long=set())
    return snapshots(as_of(ledger, day_number(day), day_number(previous)), prices)


def snapshot_change(snapshot: Snapshot, days: tuple[date, ...], again: Iterable[Snapshots]) -> SnapshotChange:
    """Snapshots of the latest of some days, made again chunk by chunk, against those that stand.

    Every column counts, exactly; a portfolio that has a row on one side only changes too."""
    day = days[-1]
    new = pa.Table.from_batches([snapshot_rows(day_number(day), one) for one in again]).combine_chunks()
    old = _standing(snapshot, new.schema, day)
    place = index_in(new[KEY], old[KEY])
    gone = np.setdiff1d(np.arange(len(old)), place)
    now = _taken(new, np.concatenate([np.arange(len(new)), np.full(len(gone), -1)]))
    then = _taken(old, np.concatenate([place, gone]))
    differs = np.zeros(len(now), dtype=bool)
    for name in now.column_names:
        same = pc.fill_null(pc.equal(now[name], then[name]), False).to_numpy()
        differs |= ~(same | (_is_null(now[name]) & _is_null(then[name])))
    if not differs.any():
        return SnapshotChange(days)
    ids = np.concatenate([uuids(new[KEY]), uuids(old[KEY])[gone]])
    return _sized(snapshot, days, ids, now, then, int(differs.sum()))


def _taken(table: pa.Table, rows: Rows) -> pa.Table:
    """Rows of a table without its key, null where there is none (-1)."""
    return table.drop_columns([KEY]).take(pa.array(rows, mask=rows < 0))


def _standing(snapshot: Snapshot, schema: pa.Schema, day: date) -> pa.Table:
    """The rows that stand for a day, in the columns and types of the new ones. Numerics come as text, to the cent."""
    money = [field.name for field in schema if pa.types.is_decimal(field.type)]
    columns = ", ".join(f"{name}::text" if name in money else name for name in schema.names)
    snapshot.set(day=day)
    rows = snapshot.fetch(f"select {columns} from {TABLE} where snapshot_date = {value('day', 'date')} order by {KEY}")
    for name in money:
        rows = rows.set_column(
            rows.column_names.index(name), name, rows[name].cast(pa.string()).cast(schema.field(name).type)
        )
    return rows.combine_chunks()


def _is_null(column: pa.ChunkedArray) -> Bools:
    nulls: Bools = pc.is_null(column).to_numpy()
    return nulls


def _sized(
    snapshot: Snapshot, days: tuple[date, ...], ids: Uuids, now: pa.Table, then: pa.Table, number: int
) -> SnapshotChange:
    """In the first amount if anybody's changes, else in that which changes most."""
    moves = {name: _moves(now[name], then[name]) for name in LARGEST_OF[TABLE]}
    first, *others = moves
    column = first if moves[first].any() else max(others, key=lambda name: float(np.abs(moves[name]).max()))
    moved = np.abs(moves[column])
    if not moved.any():
        return SnapshotChange(days, number)
    most = np.flatnonzero(moved == moved.max())
    row = most[np.argmin(ids[most].view("S16"))] if len(most) > 1 else most[0]
    snapshot.set(portfolio=ids[row].tobytes().hex())
    name = snapshot.fetch(
        f"select coalesce((select name from portfolios where id = {value('portfolio', 'uuid')} limit 1),"
        f" {value('portfolio', 'uuid')}::text) as name"
    )["name"][0].as_py()
    old, new = (table[column][int(row)].as_py() for table in (then, now))
    return SnapshotChange(
        days=days,
        portfolios=number,
        column=column,
        usd=float(moved.sum()),
        portfolio=name,
        old=None if old is None else float(old),
        new=None if new is None else float(new),
    )


def _moves(now: pa.ChunkedArray, then: pa.ChunkedArray) -> Floats:
    """New less old, exact before it becomes a float; a row that is not there counts as 0."""
    change = pc.subtract(pc.fill_null(now, 0), pc.fill_null(then, 0))
    floats: Floats = change.cast(pa.float64()).to_numpy()
    return floats
