"""The dev data as a world: CSV and parquet files of real closes and invented portfolios, as rows of the platform.

Here: reading a folder of portfolios.csv, positions.csv, manual_values.csv and prices.parquet (or prices.csv.gz), and
the default set of factors. Not here: any figure computed from them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path

import pandas as pd

from .world import NEW_YORK, Row, World

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://refresh-assets.invalid/reference")
CLASS_OF_TYPE = {"equity": "PUBLIC", "etf": "PUBLIC", "option": "OPTIONS", "private": "PRIVATE"}

# name, factor_type, proxy, short_proxy, estimation, window_days, min_observations
DEFAULT_FACTORS = [
    ("Market", "market", "SPY", None, "single", 90, 30),
    ("Interest Rate", "macro", "TLT", None, "single", 90, 30),
    ("Value", "style", "VTV", None, "joint", 90, 30),
    ("Growth", "style", "VUG", None, "joint", 90, 30),
    ("Momentum", "style", "MTUM", None, "joint", 90, 30),
    ("Quality", "style", "QUAL", None, "joint", 90, 30),
    ("Size", "style", "IWM", None, "joint", 90, 30),
    ("Low Volatility", "style", "USMV", None, "joint", 90, 30),
    ("Growth-Value Spread", "spread", "VUG", "VTV", "single", 180, 60),
    ("Momentum Spread", "spread", "MTUM", "SPY", "single", 180, 60),
    ("Size Spread", "spread", "IWM", "SPY", "single", 180, 60),
    ("Quality Spread", "spread", "QUAL", "SPY", "single", 180, 60),
]


def portfolio_uuid(portfolio_id: str) -> uuid.UUID:
    """The id of a portfolio named in the files, such as D01."""
    return uuid.uuid5(NAMESPACE, f"portfolio:{portfolio_id}")


def position_uuid(position_id: str) -> uuid.UUID:
    """The id of a position named in the files, such as D01-001."""
    return uuid.uuid5(NAMESPACE, f"position:{position_id}")


def factor_uuid(name: str) -> uuid.UUID:
    """The id of a factor of the default set."""
    return uuid.uuid5(NAMESPACE, f"factor:{name}")


def default_factors() -> list[Row]:
    """The default set of 12 as rows of `factor_definitions`."""
    keys = ("name", "factor_type", "proxy", "short_proxy", "estimation", "window_days", "min_observations")
    rows = []
    for order, values in enumerate(DEFAULT_FACTORS, start=1):
        row: Row = dict(zip(keys, values, strict=True))
        rows.append({"id": factor_uuid(row["name"]), **row, "display_order": order, "is_active": True})
    return rows


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a CSV file as text, empty where there is none."""
    return [dict(row) for row in pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("records")]


def date_or_none(text: str) -> dt.date | None:
    """A date, or None for an empty text."""
    return dt.date.fromisoformat(text) if text else None


def load(folder: Path) -> World:
    """The world of a data folder: no betas, no realized events, no batch on record."""
    texts = read_rows(folder / "positions.csv")
    marks = read_rows(folder / "manual_values.csv")
    by_position = {row["position_id"]: row for row in texts}
    closes = _closes(folder)
    valuations = []
    for mark in marks:
        position = by_position[mark["position_id"]]
        as_of = dt.date.fromisoformat(mark["as_of"])
        if position["asset_type"] == "option":
            closes[position["symbol"], as_of] = Decimal(mark["unit_value"])
        else:
            value = Decimal(position["quantity"]) * Decimal(mark["unit_value"])
            identity = position_uuid(position["position_id"])
            valuations.append({"position_id": identity, "as_of": as_of, "market_value": value})
    return World(
        portfolios=[_portfolio(row) for row in read_rows(folder / "portfolios.csv")],
        positions=[_position(row, closes) for row in texts],
        private_valuations=valuations,
        market_data_cache=[{"symbol": s, "date": d, "close_price": close} for (s, d), close in closes.items()],
        factor_definitions=default_factors(),
    )


def _closes(folder: Path) -> dict[tuple[str, dt.date], Decimal]:
    parquet = folder / "prices.parquet"
    prices = pd.read_parquet(parquet) if parquet.exists() else pd.read_csv(folder / "prices.csv.gz")
    closes = {}
    for date, symbol, close in zip(prices["date"], prices["symbol"], prices["close"], strict=True):
        closes[str(symbol), dt.date.fromisoformat(str(date)[:10])] = Decimal(f"{close:.4f}")
    return closes


def _portfolio(row: dict[str, str]) -> Row:
    inception = dt.date.fromisoformat(row["inception"])
    return {
        "id": portfolio_uuid(row["portfolio_id"]),
        "name": row["name"],
        "user_id": uuid.uuid5(NAMESPACE, "user"),
        "inception_date": inception,
        "created_at": dt.datetime.combine(inception, dt.time(9), NEW_YORK),
        "deleted_at": None,
    }


def _position(row: dict[str, str], closes: dict[tuple[str, dt.date], Decimal]) -> Row:
    closed_on = date_or_none(row["closed_on"])
    dates = [d for s, d in closes if s == row["symbol"] and closed_on is not None and d <= closed_on]
    return {
        "id": position_uuid(row["position_id"]),
        "portfolio_id": portfolio_uuid(row["portfolio_id"]),
        "symbol": row["symbol"],
        "investment_class": CLASS_OF_TYPE[row["asset_type"]],
        "quantity": Decimal(row["quantity"]),
        "entry_price": Decimal(row["entry_price"]) if row["entry_price"] else None,
        "entry_date": date_or_none(row["opened_on"]),
        "exit_price": closes[row["symbol"], max(dates)] if dates else None,
        "exit_date": closed_on,
        "market_value": None,
        "last_price": None,
        "last_price_date": None,
        "deleted_at": None,
    }
