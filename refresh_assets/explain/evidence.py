"""What the night read for one portfolio and day, read again: its rows and its symbols alone.

Here: the portfolio's ledger and book, closes over the windows, factors, names for people. Not here: betas (betas.py), what
was stored (stored.py), how the night reads everybody (store/inputs.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.book import Book, Ledger, Portfolios, as_of
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.market import Factors, Prices
from refresh_assets.core.stress import COVARIANCE_DAYS
from refresh_assets.core.valuation import Valuation, value_positions
from refresh_assets.explain.betas import StoredBetas, lacking_betas, read_stored_betas
from refresh_assets.store import read, read_market
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.dates import DELETED, STARTS, day_number
from refresh_assets.store.portfolios import Portfolio

HISTORY_DAYS = COVARIANCE_DAYS * 3 // 2
"""Trading days of factor returns, as many as the night looks through (store/inputs.py)."""
FEW_ROWS = "select set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
"""The night reads every symbol, by a scan of its days; for one portfolio's an index look-up each is 20 times faster."""
OPTIONAL_TABLES = ("private_valuations", "position_realized_events")


@dataclass(frozen=True)
class Label:
    """How people call a position: its symbol (or the start of its id), and its class as the platform writes it."""

    symbol: str
    investment_class: str


@dataclass(frozen=True)
class Evidence:
    """The inputs of one portfolio's figures on D. `book` holds no portfolio where it held nothing."""

    portfolio: Portfolio
    day: date
    previous: date
    symbols: list[str]
    labels: dict[UUID, Label]
    ledger: Ledger
    book: Book
    prices: Prices
    valuation: Valuation
    factors: Factors
    betas: StoredBetas

    @property
    def number(self) -> int:
        return day_number(self.day)

    def label(self, row: int) -> Label:
        """Of a position of the book."""
        return self.labels[self.position(row)]

    def position(self, row: int) -> UUID:
        return UUID(bytes=self.book.id[row].tobytes())


def read_evidence(
    snapshot: Snapshot, calendar: TradingCalendar, portfolio: Portfolio, day: date, history: bool
) -> Evidence:
    """Read the inputs of a day for one portfolio.

    Args:
        history: closes as far back as betas and covariances need, not only the window of correlations."""
    previous = calendar.previous(day)
    snapshot.set(portfolio=portfolio.id, day=day, previous=previous, last=day)
    snapshot.fetch(FEW_ROWS)
    factors, _ = read_market.read_factors(snapshot)
    labels, listed = _read_labels(snapshot)
    symbols = sorted(listed | (factors.proxies() if history else set()))
    ledger, _ = read.read_ledger(
        snapshot, _read_portfolio(snapshot), (portfolio.id, portfolio.id), symbols, _optional_tables(snapshot)
    )
    book = as_of(ledger, day_number(day), day_number(previous))
    betas = read_stored_betas(snapshot, symbols, factors, day)
    long = factors.proxies() | {symbols[code] for code in lacking_betas(book, betas)} if history else set()
    window = calendar.previous(day - timedelta(days=WINDOW_DAYS))
    begin = window
    if history:
        longest = max((factor.window for factor in factors), default=0)
        begin = min(window, calendar.nth_before(day, HISTORY_DAYS), calendar.previous(day - timedelta(days=longest)))
    grid = calendar.days(begin, day)
    prices = read_market.read_prices(snapshot, symbols, grid, exact_from=previous, window=window, long=long)
    valuation = value_positions(book, prices)
    return Evidence(portfolio, day, previous, symbols, labels, ledger, book, prices, valuation, factors, betas)


def _read_portfolio(snapshot: Snapshot) -> Portfolios:
    rows = snapshot.fetch(
        f"select id, {STARTS} as start, {DELETED} as deleted from portfolios f where id = {value('portfolio', 'uuid')}"
    )
    return read.portfolios_of(rows)


def _read_labels(snapshot: Snapshot) -> tuple[dict[UUID, Label], set[str]]:
    """Labels of all positions of the portfolio, and the symbols of its listed ones."""
    rows = snapshot.fetch(
        "select id, symbol::text as symbol, investment_class::text as investment_class from positions"
        f" where portfolio_id = {value('portfolio', 'uuid')}"
    )
    labels, listed = {}, set()
    for row in rows.to_pylist():
        symbol, kind = (row["symbol"] or "").strip(), row["investment_class"] or "none"
        labels[row["id"]] = Label(symbol or str(row["id"])[:8], kind)
        if symbol and len(row["symbol"]) <= read.LONGEST_SYMBOL and kind in ("PUBLIC", "OPTIONS"):
            listed.add(row["symbol"])
    return labels, listed


def _optional_tables(snapshot: Snapshot) -> set[str]:
    snapshot.set(tables=json.dumps(OPTIONAL_TABLES))
    rows = snapshot.fetch(
        f"select t from jsonb_array_elements_text({value('tables', 'jsonb')}) t where to_regclass(t) is not null"
    )
    return set(rows["t"].to_pylist())
