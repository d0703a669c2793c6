"""The demo's world: what the platform and its symbol batch would have written, from packaged files.

Here: which nights the demo plays, loading the platform's tables, the symbol batch of one evening. Not here: creating
the tables (store/), option pricing (option_marks.py), who owns what (books.toml: edit it and run the demo again)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import NAMESPACE_DNS, UUID, uuid5
from zoneinfo import ZoneInfo

from refresh_assets.demo.option_marks import Option, option_mark
from refresh_assets.errors import UsageError

if TYPE_CHECKING:  # psycopg comes with the caller's connection; the package's imports stay lean
    import psycopg

NEW_YORK = ZoneInfo("America/New_York")


class Nights(NamedTuple):
    """First and last trading day of the demo, both played."""

    first: date
    last: date


NIGHTS = Nights(date(2020, 2, 18), date(2020, 3, 24))
"""The eve of the S&P 500's peak of 2020-02-19, to the day after its low of 2020-03-23: 26 trading days."""

MISSED_NIGHT = date(2020, 3, 12)
"""Left out by the demo, then healed: the S&P 500 fell 9.5 % that day, so a hole there would be noticed."""

BATCH_STARTED, BATCH_COMPLETED = time(21, 0), time(21, 12)  # New York
MOVED_IN_AT = time(8, 30)  # New York: when a book was created on the platform, on its first day

ID_NAMESPACE = uuid5(NAMESPACE_DNS, "demo.refresh-assets")

PORTFOLIO_COLUMNS = ("id", "name", "user_id", "inception_date", "created_at", "deleted_at")
POSITION_COLUMNS = (
    *("id", "portfolio_id", "symbol", "investment_class", "quantity", "entry_price", "entry_date"),
    *("exit_price", "exit_date", "market_value", "last_price", "last_price_date", "deleted_at"),
)
VALUATION_COLUMNS = ("position_id", "as_of", "market_value")
EVENT_COLUMNS = ("id", "position_id", "trade_date", "quantity_closed", "price")
CLOSE_COLUMNS = ("symbol", "date", "close_price")
FACTOR_COLUMNS = (
    *("id", "name", "factor_type", "proxy", "short_proxy", "estimation"),
    *("window_days", "min_observations", "display_order", "is_active"),
)

# The spec's names, with the proxies that the packaged prices can serve. There is none for Growth, so a scenario that
# shocks Growth reports it as unmapped. 90 calendar days and 30 returns, as in the default set.
FACTORS = (
    ("Market", "market", "SP500", "single"),
    ("Interest Rate", "macro", "UST10Y", "single"),
    ("Value", "style", "VLUE", "joint"),
    ("Momentum", "style", "MTUM", "joint"),
    ("Quality", "style", "QUAL", "joint"),
    ("Size", "style", "SIZE", "joint"),
    ("Low Volatility", "style", "USMV", "joint"),
)
FACTOR_WINDOW_DAYS, FACTOR_MIN_OBSERVATIONS = 90, 30

Row = tuple[Any, ...]


@dataclass(frozen=True)
class PlatformRows:
    """Rows of the platform's tables, in the order of the *_COLUMNS above; the same bytes at every call."""

    portfolios: list[Row]
    positions: list[Row]
    private_valuations: list[Row]
    position_realized_events: list[Row]


def load_platform(connection: psycopg.Connection[Any], upto: date) -> None:
    """Fill the platform's empty tables: books, their trades and valuations, seven factors, closes to `upto` included.

    Later closes are left to `symbol_batch`. No betas are written: the night computes them inline. Ids are uuid5 of
    names, so two loads are equal. One transaction (a savepoint where the caller has one open).

    Args:
        connection: its search_path finds the platform's tables. What `factor_definitions` holds is replaced.
        upto: last day whose closes are loaded, as if its symbol batch were long past.

    Raises:
        psycopg.errors.UniqueViolation: the tables hold the demo already; nothing is changed.

    Source: spec section 2."""
    rows = platform_rows()
    with connection.transaction():
        connection.execute("delete from factor_definitions")
        _copy(connection, "factor_definitions", FACTOR_COLUMNS, factor_rows())
        _copy(connection, "portfolios", PORTFOLIO_COLUMNS, rows.portfolios)
        _copy(connection, "positions", POSITION_COLUMNS, rows.positions)
        _copy(connection, "private_valuations", VALUATION_COLUMNS, rows.private_valuations)
        _copy(connection, "position_realized_events", EVENT_COLUMNS, rows.position_realized_events)
        _copy(connection, "market_data_cache", CLOSE_COLUMNS, close_rows(to=upto))


def symbol_batch(connection: psycopg.Connection[Any], day: date) -> None:
    """Do what the symbol batch does on an evening: write the closes of `day`, then say that it is completed.

    Started 21:00, completed 21:12 New York. Running it again writes the same rows. One transaction.

    Raises:
        UsageError: the packaged prices hold no session on `day`."""
    closes = close_rows(on=day)
    started, completed = (datetime.combine(day, at, NEW_YORK) for at in (BATCH_STARTED, BATCH_COMPLETED))
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(
            "insert into market_data_cache (symbol, date, close_price) values (%s, %s, %s)"
            " on conflict (symbol, date) do update set close_price = excluded.close_price",
            closes,
        )
        cursor.execute(
            "insert into batch_run_tracking (batch_type, target_date, status, started_at, completed_at)"
            " values ('symbol_batch', %s, 'completed', %s, %s) on conflict (batch_type, target_date) do update"
            " set status = excluded.status, started_at = excluded.started_at,"
            " completed_at = excluded.completed_at, error_message = null",
            (day, started, completed),
        )


def sessions() -> list[date]:
    """Every trading day that the packaged prices hold, in order: 2018-01-02 to 2022-12-28."""
    return list(_closes())


def platform_rows() -> PlatformRows:
    """Portfolios, positions, valuations and sales of books.toml as rows.

    A quantity is what is held today: a sale has already shrunk it, as platforms do, and its event brings it back."""
    rows = PlatformRows([], [], [], [])
    for book in _books_file()["book"]:
        _add_book(rows, book)
    return rows


def factor_rows() -> list[Row]:
    """The seven factors as rows of `factor_definitions`."""
    return [
        (
            *(_id("factor", name), name, kind, proxy, None, estimation),
            *(FACTOR_WINDOW_DAYS, FACTOR_MIN_OBSERVATIONS, order, True),
        )
        for order, (name, kind, proxy, estimation) in enumerate(FACTORS, start=1)
    ]


def close_rows(*, on: date | None = None, to: date | None = None) -> list[Row]:
    """Closes, option marks included, as rows (symbol, date, close in USD): those of one day, or of all days to one.

    Raises:
        UsageError: `on` is no session of the packaged prices; both or neither of `on` and `to` are given."""
    if (on is None) == (to is None):
        raise UsageError("close_rows takes either one day or a last day", "pass exactly one of on= and to=")
    if on is not None and on not in _closes():
        span = sessions()
        raise UsageError(
            f"The packaged prices hold no trading day {on}", f"choose a NYSE session from {span[0]} to {span[-1]}"
        )
    days = [on] if on is not None else [day for day in _closes() if to is not None and day <= to]
    shares = [(symbol, day, close) for day in days for symbol, close in _closes()[day].items()]
    return shares + [(option.symbol, day, mark) for option in options() for day, mark in _marks(option, days)]


def options() -> tuple[Option, ...]:
    """The options that books.toml lists."""
    return tuple(Option(**{**fields, "strike": float(fields["strike"])}) for fields in _books_file()["option"])


def _marks(option: Option, days: Iterable[date]) -> Iterator[tuple[date, Decimal]]:
    history = [(day, float(closes[option.underlying])) for day, closes in _closes().items()]
    for day in days:
        if option.has_mark(day):
            yield day, option_mark(option, [close for at, close in history if at <= day], day)


def _add_book(rows: PlatformRows, book: Mapping[str, Any]) -> None:
    name = book["name"]
    portfolio_id = _id("portfolio", name)
    created = datetime.combine(book["created"], MOVED_IN_AT, NEW_YORK)
    owner_id = _id("user", book["owner"])
    rows.portfolios.append((portfolio_id, name, owner_id, book.get("inception"), created, None))
    for line, position in enumerate(book["position"], start=1):
        position_id = _id("position", name, str(line), position["symbol"])
        values = {
            "id": position_id,
            "portfolio_id": portfolio_id,
            "investment_class": position.get("class", "PUBLIC"),
            "entry_price": position["price"],
            "entry_date": position["entered"],
            **{field: position[field] for field in ("symbol", "quantity", "market_value") if field in position},
            **{field: position[field] for field in ("exit_date", "exit_price") if field in position},
        }
        rows.positions.append(tuple(values.get(column) for column in POSITION_COLUMNS))
        for valuation in position.get("valuations", ()):
            rows.private_valuations.append((position_id, valuation["as_of"], valuation["value"]))
        for number, sale in enumerate(position.get("sales", ()), start=1):
            event_id = _id("sale", str(position_id), str(number))
            event = (event_id, position_id, sale["date"], sale["quantity"], sale["price"])
            rows.position_realized_events.append(event)


def _id(kind: str, *names: str) -> UUID:
    return uuid5(ID_NAMESPACE, "/".join((kind, *names)))


def _copy(connection: psycopg.Connection[Any], table: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    from psycopg import sql

    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("copy {} ({}) from stdin").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


@cache
def _books_file() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("books.toml").read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=Decimal)


@cache
def _closes() -> dict[date, dict[str, Decimal]]:
    """Close by session and symbol, sessions in order. pyarrow is imported here: only the demo needs it."""
    from pyarrow import parquet

    with resources.files(__package__).joinpath("prices.parquet").open("rb") as file:
        table = parquet.read_table(file, columns=["date", "symbol", "close"])
    by_day: dict[date, dict[str, Decimal]] = {}
    for day, symbol, close in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        by_day.setdefault(day, {})[symbol] = Decimal(f"{close:.4f}")
    return dict(sorted(by_day.items()))
