"""A night beside the independent reference: the same rows in, every table compared.

Here: worlds (the demo's, a small one of odd cases), filling a database with one, running a night on it, what differs. Not
here: the promises (test_agreement.py), the reference itself (reference/)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from unittest import mock
from uuid import UUID, uuid5

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from refresh_assets.assets.correlations import write_correlations
from refresh_assets.assets.factor_exposures import write_exposures
from refresh_assets.assets.inline_betas import write_betas
from refresh_assets.assets.night import Night
from refresh_assets.assets.snapshots import write_snapshots
from refresh_assets.assets.stress import write_stress
from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.scenarios import packaged
from refresh_assets.demo import world as demo
from refresh_assets.store.database import Database
from refresh_assets_tests.reference import betas, correlations, exposures, snapshots, stress
from refresh_assets_tests.reference.dev_world import NAMESPACE, default_factors
from refresh_assets_tests.reference.world import NEW_YORK, Row, World

TABLES = (
    *("portfolios", "positions", "private_valuations", "position_realized_events"),
    *("market_data_cache", "factor_definitions", "symbol_factor_exposures"),
)
NUMERICS = {"quantity", "entry_price", "exit_price", "market_value", "quantity_closed", "price", "close_price"}
EXACT, CORRELATION, BETA, RELATIVE = 0.0, 2e-6, 1e-7, 1e-9


def demo_world(upto: dt.date) -> World:
    """The packaged demo as the reference's rows, closes to a day included."""
    rows = demo.platform_rows()

    def named(columns: Iterable[str], some: Iterable[tuple[Any, ...]]) -> list[Row]:
        return [{key: _typed(key, one) for key, one in zip(columns, row, strict=True)} for row in some]

    return World(
        portfolios=named(demo.PORTFOLIO_COLUMNS, rows.portfolios),
        positions=named(demo.POSITION_COLUMNS, rows.positions),
        private_valuations=named(demo.VALUATION_COLUMNS, rows.private_valuations),
        position_realized_events=named(demo.EVENT_COLUMNS, rows.position_realized_events),
        market_data_cache=named(demo.CLOSE_COLUMNS, demo.close_rows(to=upto)),
        factor_definitions=named(demo.FACTOR_COLUMNS, demo.factor_rows()),
    )


def _typed(column: str, value: Any) -> Any:
    """Numerics as Decimal; the demo's files also have plain integers."""
    return Decimal(value) if column in NUMERICS and value is not None else value


def odd_world(day: dt.date, previous: dt.date) -> World:
    """Books of cases that real data seldom has, around a Monday; closes of the demo.

    Midnights in New York, trades on a Saturday, day trades, partial sales of each class, what cannot be priced."""
    world = demo_world(day)
    world.portfolios, world.positions, world.private_valuations, world.position_realized_events = [], [], [], []
    # Half of the default factors have no proxy here: they are left out, by name.
    world.factor_definitions += [
        {**row, "display_order": 10 + row["display_order"]}
        for row in default_factors()
        if row["name"] not in {own["name"] for own in world.factor_definitions}
    ]
    late, early = (dt.datetime.combine(day, dt.time(*at), NEW_YORK) for at in ((23, 59), (0, 0)))
    evening_before = dt.datetime.combine(day - dt.timedelta(days=1), dt.time(23, 59), NEW_YORK)
    saturday = day - dt.timedelta(days=2)
    owners: dict[str, dict[str, Any]] = {"deletions": {}, "trades": {}, "funds": {}, "options": {}, "speck": {}}
    owners |= {
        "gone on D": {"deleted_at": early},
        "gone after D": {"deleted_at": early + dt.timedelta(days=1)},
        "begins on D": {"inception_date": day},
        "begins after D": {"inception_date": day + dt.timedelta(days=1)},
        "created late on D": {"inception_date": None, "created_at": late},
        "created after D": {"inception_date": None, "created_at": late + dt.timedelta(minutes=1)},
    }
    for name, fields in owners.items():
        world.portfolios.append(_owner(name, **fields))
        if name not in ("deletions", "trades", "funds", "options"):
            _add(world, name, "AAPL", 3)
    for at in (early, late, evening_before, early + dt.timedelta(days=1)):
        _add(world, "deletions", "MSFT", 5, deleted_at=at.astimezone(dt.UTC))
    _add(world, "trades", "AAPL", 10, entry_date=saturday)
    _add(world, "trades", "AAPL", -10, exit_date=saturday, exit_price=Decimal("71.123456"))
    _add(world, "trades", "MSFT", "0.123456789012", entry_date=day, sales=[(day, "4.000000000001", "150.5")])
    _add(world, "trades", "JPM", 7, entry_date=day, exit_date=day, exit_price=Decimal(99))
    _add(world, "trades", "KO", 0, sales=[(previous, 1, 50), (saturday, 2, 51), (day, 3, None), (day, 4, 52)])
    _add(world, "trades", "KO", 6, exit_date=saturday, exit_price=Decimal(50), sales=[(day, 4, 52)])
    _add(world, "trades", "PG", 25_000_000, sales=[(day + dt.timedelta(days=1), 5, 100)])
    _add(world, "trades", "PEP", 5, entry_price=None)
    _add(world, "trades", "PEP", 5, entry_price=None, entry_date=day, exit_date=day, exit_price=Decimal(1))
    _add(world, "trades", "NOSUCH", 5)
    _add(world, "trades", "NOSUCH", 5, exit_date=day, exit_price=Decimal(9))
    own: dict[str, Any] = {"investment_class": "PRIVATE"}
    _add(world, "funds", "A", 2, **own, values=[(previous, 100), (day, 110)])
    _add(world, "funds", "B", 3, **own, values=[(previous, 100), (day, 70)], sales=[(day, 1, 40)])
    _add(world, "funds", "C", 1, **own, values=[(saturday, 100)])
    _add(world, "funds", "D", 1, **own, market_value=Decimal("77.005"))
    _add(world, "funds", "E", 1, **own)
    _add(world, "funds", "F", 4, **own, entry_date=day, entry_price=Decimal("2.5"), values=[(day, 12)])
    _add(world, "funds", "G", 1, **own, exit_date=day, values=[(previous, 5)])
    _add(world, "funds", "H", -1, **own, values=[(previous, -5), (day + dt.timedelta(days=1), -9)])
    derivative: dict[str, Any] = {"investment_class": "OPTIONS"}
    call = demo.options()[1].symbol
    _add(world, "options", call, -3, **derivative, sales=[(day, -2, "1.75")])
    _add(world, "options", call, 2, **derivative, entry_date=day)
    _add(world, "options", "AAPL200221C00085000", 2, **derivative)
    _add(world, "options", f"AAPL{day:%y%m%d}C00085000", 2, **derivative)
    return world


def _id(*parts: object) -> UUID:
    return uuid5(NAMESPACE, "/".join(map(str, parts)))


def _owner(name: str, **fields: Any) -> Row:
    created = dt.datetime(2019, 1, 2, 12, tzinfo=NEW_YORK)
    row = {"id": _id(name), "name": name, "user_id": _id("user"), "inception_date": None, "created_at": created}
    return {**row, "deleted_at": None, **fields}


def _add(
    world: World,
    owner: str,
    symbol: str,
    quantity: object,
    *,
    sales: Iterable[tuple[dt.date, object, object]] = (),
    values: Iterable[tuple[dt.date, object]] = (),
    **fields: Any,
) -> None:
    row: Row = dict.fromkeys(demo.POSITION_COLUMNS)
    row |= {"id": _id(owner, len(world.positions)), "portfolio_id": _id(owner), "symbol": symbol}
    row |= {"investment_class": "PUBLIC", "quantity": Decimal(str(quantity)), "entry_price": Decimal("12.3456789")}
    world.positions.append({**row, **fields})
    for number, (day, sold, price) in enumerate(sales):
        event = {"id": _id(row["id"], number), "position_id": row["id"], "trade_date": day}
        event |= {"quantity_closed": Decimal(str(sold)), "price": None if price is None else Decimal(str(price))}
        world.position_realized_events.append(event)
    for day, value in values:
        valuation = {"position_id": row["id"], "as_of": day, "market_value": Decimal(str(value))}
        world.private_valuations.append(valuation)


def fill(connection: psycopg.Connection[Any], world: World) -> None:
    """Put a world's rows into the platform's empty tables; what `factor_definitions` holds is replaced."""
    connection.execute("delete from factor_definitions")
    for table in TABLES:
        rows = getattr(world, table)
        if not rows:
            continue
        columns = list(rows[0])
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        statement = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), names)
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([row[column] for column in columns])


def run_night(database: Database, day: dt.date) -> None:
    """All tables of a day, without Dagster."""
    night = Night(database, TradingCalendar(), packaged(), [day], "agreement")
    try:
        for write in (write_betas, write_snapshots, write_correlations, write_exposures, write_stress):
            write(night, day)
    finally:
        night.close()


@dataclass(frozen=True)
class Reference:
    """What the reference says of a day, computed once."""

    snapshots: list[Row]
    omissions: set[tuple[object, str]]
    correlations: list[Row]
    betas: dict[betas.BetaKey, Row]
    exposures: list[Row]
    stress: list[Row]
    moves: list[Row]

    @classmethod
    def of(cls, world: World, day: dt.date) -> Reference:
        scenarios = [{"id": one.id, "shocks": dict(one.shocks)} for one in packaged().active]
        fitted = betas.betas(world, day)
        # Betas take most of its time, and exposures and stress would each compute them again.
        with mock.patch.object(exposures, "betas", return_value=fitted):
            held = exposures.exposures(world, day)
            results, moves = stress.stress(world, day, scenarios)
        return cls(
            snapshots.snapshots(world, day),
            snapshots.omissions(world, day),
            correlations.correlations(world, day),
            fitted,
            held,
            results,
            moves,
        )


def stored(database: Database, query: str) -> list[Row]:
    """Rows of a query as dictionaries."""
    with database.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode()).fetchall()


def differences(
    expected: Iterable[Mapping[str, Any]],
    found: Iterable[Mapping[str, Any]],
    keys: tuple[str, ...],
    tolerance: Mapping[str, float],
    floor: float = 1.0,
) -> list[str]:
    """One line for each row that only one side has, and each value that differs.

    Args:
        tolerance: column -> largest difference, absolute for values below `floor` and relative above; others are equal.
    """
    here = {tuple(row[key] for key in keys): row for row in expected}
    there = {tuple(row[key] for key in keys): row for row in found}
    lines = [f"only in the reference: {key}" for key in here.keys() - there.keys()]
    lines += [f"only in the table: {key}" for key in there.keys() - here.keys()]
    for key in here.keys() & there.keys():
        for column, want in here[key].items():
            if column in there[key] and not _agree(want, there[key][column], tolerance.get(column, EXACT), floor):
                lines.append(f"{key} {column}: expected {want}, found {there[key][column]}")
    return sorted(lines)


def _agree(want: Any, got: Any, tolerance: float, floor: float) -> bool:
    if isinstance(want, list) and isinstance(got, list):
        pairs = zip(want, got, strict=False)
        return len(want) == len(got) and all(_agree(a, b, tolerance, floor) for a, b in pairs)
    if want is None or got is None or not tolerance:
        return bool(want == got)
    return math.isclose(float(want), float(got), rel_tol=tolerance, abs_tol=tolerance * floor)
