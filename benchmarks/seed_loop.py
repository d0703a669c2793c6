"""The portfolio refresh as it was first written, to compare with: a loop over portfolios, positions, pairs and rows.

Here: phases 3 to 6 on SQLAlchemy sessions as the first design has them: a query a portfolio for its positions, a query
a position for its price, rows built one by one, a commit a portfolio. It writes into a schema of its own, `seed_loop`,
made anew by each run, and never into the platform's tables. Not here: anything that the product uses; where we were
kinder to the loop than its design is said in README.md beside this file."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr
from sqlalchemy import bindparam, create_engine, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Row, make_url
from sqlalchemy.orm import Session
from sqlalchemy.sql import Executable
from sqlalchemy.types import TypeEngine

WINDOW_DAYS = 90  # calendar days of returns for a correlation
MIN_COMMON_RETURNS = 30
OPTION_MULTIPLIER = 100
MARKET, RATES = "Market", "Interest Rate"
# 19 scenarios, as shocks in fractions of return: their number and size matter here, not their figures.
SCENARIOS: dict[str, dict[str, float]] = {
    **{f"market_{percent:+d}": {MARKET: percent / 100} for percent in (5, -5, 10, -10, -35, 25)},
    **{f"rates_{bp:+d}bp": {RATES: -16.5 * bp / 10_000} for bp in (25, -25, 50, -50, 100, -100, 300)},
    "value_rotation": {"Value": 0.20, "Growth": -0.15},
    "growth_rotation": {"Growth": 0.20, "Value": -0.15},
    "small_cap_rotation": {"Size": 0.15, MARKET: 0.05},
    "quality_rotation": {"Quality": 0.10, "Momentum": -0.05, MARKET: -0.05},
    "volatility_spike": {MARKET: -0.15, "Low Volatility": 0.05, "Momentum": -0.10},
    "liquidity_crisis": {MARKET: -0.25, "Size": -0.20, RATES: 0.05},
}

# The copy of the positions (with the platform's indexes) is there to be updated: the platform's own stay as they are.
PREPARE = """
DROP SCHEMA IF EXISTS seed_loop CASCADE;
CREATE SCHEMA seed_loop;
CREATE TABLE seed_loop.positions (LIKE positions INCLUDING ALL);
CREATE TABLE seed_loop.portfolio_snapshots (id uuid PRIMARY KEY, portfolio_id uuid, snapshot_date date,
    total_value numeric(20, 2), total_cost numeric(20, 2), total_pnl numeric(20, 2), pnl_percent numeric(14, 4),
    position_count int, UNIQUE (portfolio_id, snapshot_date));
CREATE TABLE seed_loop.correlation_calculations (id uuid PRIMARY KEY, portfolio_id uuid, calculation_date date,
    duration_days int, overall_correlation numeric(8, 6), effective_positions numeric(10, 4), data_quality text,
    positions_included int, UNIQUE (portfolio_id, duration_days, calculation_date));
CREATE TABLE seed_loop.pairwise_correlations (id uuid PRIMARY KEY,
    correlation_calculation_id uuid REFERENCES seed_loop.correlation_calculations (id), symbol_1 text, symbol_2 text,
    correlation_value numeric(8, 6), data_points int, statistical_significance numeric(8, 6),
    UNIQUE (correlation_calculation_id, symbol_1, symbol_2));
CREATE TABLE seed_loop.factor_exposures (id uuid PRIMARY KEY, portfolio_id uuid, factor_id uuid, calculation_date date,
    exposure_value numeric(16, 6), exposure_dollar numeric(20, 2), UNIQUE (portfolio_id, factor_id, calculation_date));
CREATE TABLE seed_loop.stress_test_results (id uuid PRIMARY KEY, portfolio_id uuid, scenario_id text,
    calculation_date date, direct_pnl numeric(20, 2), correlated_pnl numeric(20, 2), correlation_effect numeric(20, 2),
    factor_impacts jsonb, UNIQUE (portfolio_id, scenario_id, calculation_date));
"""
ACTIVE_PORTFOLIOS = text(
    "SELECT p.id FROM portfolios p WHERE p.deleted_at IS NULL AND EXISTS (SELECT 1 FROM positions pos"
    " WHERE pos.portfolio_id = p.id AND pos.exit_date IS NULL AND pos.deleted_at IS NULL) ORDER BY p.id LIMIT :n"
)
CACHED_CLOSES = text("SELECT symbol, date, close_price FROM market_data_cache WHERE date BETWEEN :first AND :day")
CACHED_BETAS = text("SELECT symbol, factor_id, beta_value FROM symbol_factor_exposures WHERE calculation_date = :day")
FACTORS = text("SELECT id, name, proxy, short_proxy FROM factor_definitions WHERE is_active ORDER BY display_order")
LAST_SNAPSHOT = text("SELECT max(snapshot_date) FROM seed_loop.portfolio_snapshots WHERE portfolio_id = :portfolio")
EXISTING = text("SELECT id FROM seed_loop.portfolio_snapshots WHERE portfolio_id = :portfolio AND snapshot_date = :day")
POSITIONS = text(
    "SELECT id, symbol, investment_class, quantity, entry_price, market_value FROM seed_loop.positions"
    " WHERE portfolio_id = :portfolio AND exit_date IS NULL AND deleted_at IS NULL"
)
PRICE = text("SELECT close_price FROM market_data_cache WHERE symbol = :symbol AND date = :day")
UPDATE_POSITION = text(
    "UPDATE seed_loop.positions SET market_value = :value, last_price = :price, last_price_date = :day WHERE id = :id"
)
MISSING_FACTORS = text(
    "SELECT DISTINCT p.symbol FROM seed_loop.positions p WHERE p.portfolio_id = :portfolio AND p.exit_date IS NULL"
    " AND p.investment_class = 'PUBLIC' AND NOT EXISTS (SELECT 1 FROM symbol_factor_exposures e"
    " WHERE e.symbol = p.symbol AND e.calculation_date = :day)"
)
PORTFOLIO_FACTORS = text(
    "SELECT d.name, e.exposure_dollar FROM seed_loop.factor_exposures e JOIN factor_definitions d ON d.id = e.factor_id"
    " WHERE e.portfolio_id = :portfolio AND e.calculation_date = :day"
)


class OwnTable:
    """One of the loop's own tables: its rows get a key of their own and are added in one executemany."""

    def __init__(self, name: str, columns: str, **types: TypeEngine[Any]) -> None:
        self.columns = ("id", *columns.split())
        names, values = ", ".join(self.columns), ", :".join(self.columns)
        insert = text(f"INSERT INTO seed_loop.{name} ({names}) VALUES (:{values})")
        self.insert = insert.bindparams(*(bindparam(column, type_=type_) for column, type_ in types.items()))

    def add(self, session: Session, rows: Iterable[tuple[object, ...]]) -> uuid.UUID:
        """Add rows, given in the order of the columns without the key; the key of the last."""
        keyed = [dict(zip(self.columns, (uuid.uuid4(), *row), strict=True)) for row in rows]
        session.execute(self.insert, keyed)
        key: uuid.UUID = keyed[-1]["id"]  # type: ignore[assignment]
        return key


SNAPSHOTS = OwnTable(
    "portfolio_snapshots", "portfolio_id snapshot_date total_value total_cost total_pnl pnl_percent position_count"
)
CALCULATIONS = OwnTable(
    "correlation_calculations",
    "portfolio_id calculation_date duration_days overall_correlation effective_positions data_quality"
    " positions_included",
)
PAIRS = OwnTable(
    "pairwise_correlations",
    "correlation_calculation_id symbol_1 symbol_2 correlation_value data_points statistical_significance",
)
EXPOSURES = OwnTable("factor_exposures", "portfolio_id factor_id calculation_date exposure_value exposure_dollar")
STRESS_RESULTS = OwnTable(
    "stress_test_results",
    "portfolio_id scenario_id calculation_date direct_pnl correlated_pnl correlation_effect factor_impacts",
    factor_impacts=JSONB(),
)


@dataclass
class LoopTimes:
    """Seconds of work by phase; `cache` is paid once a run, the others grow with `portfolios`.

    price_queries: the seconds of `snapshot` that went into a query a price: what a cache there would have saved."""

    portfolios: int
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    price_queries: float = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to the phase."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += perf_counter() - started

    @property
    def total(self) -> float:
        """All seconds, the cache's included."""
        return sum(self.seconds.values())

    def per_portfolio(self) -> dict[str, float]:
        """Seconds a portfolio by phase; without the cache, which does not grow with their number."""
        return {name: spent / max(self.portfolios, 1) for name, spent in self.seconds.items() if name != "cache"}


def run(connection_url: str, day: date, portfolios: int) -> float:
    """Refresh the first `portfolios` portfolios (by id) on `day` as the loop does; seconds of work, caches included."""
    return measure(connection_url, day, portfolios).total


def measure(connection_url: str, day: date, portfolios: int) -> LoopTimes:
    """As `run`, with the seconds by phase. Making the schema `seed_loop` and its copy of the positions is not timed.

    Args:
        connection_url: `postgresql://...`, of a platform whose tables are on the search_path.
        day: a trading day with closes and betas.
        portfolios: how many to take; fewer if there are fewer.

    Raises:
        sqlalchemy.exc.DBAPIError: the server or a table is not there.
    """
    engine = create_engine(make_url(connection_url).set(drivername="postgresql+psycopg"))
    try:
        with Session(engine) as session:
            ids = _prepare(session, portfolios)
            times = LoopTimes(len(ids))
            loop = SeedLoop(session, day, times)
            for phase in (loop.snapshot, loop.update_positions, loop.correlate, loop.aggregate, loop.stress):
                with times.phase(phase.__name__):
                    for portfolio in ids:
                        phase(portfolio)
            return times
    finally:
        engine.dispose()


def _prepare(session: Session, portfolios: int) -> list[uuid.UUID]:
    for statement in PREPARE.strip().split(";\n"):
        session.execute(text(statement))
    ids = list(session.scalars(ACTIVE_PORTFOLIOS, {"n": portfolios}))
    session.execute(
        text("INSERT INTO seed_loop.positions SELECT * FROM positions WHERE portfolio_id = ANY(:ids)"), {"ids": ids}
    )
    session.execute(text("ANALYZE seed_loop.positions"))
    session.commit()
    return ids


class SeedLoop:
    """One day's phases, a portfolio a call; a commit ends each call. The unified cache is loaded at the start."""

    def __init__(self, session: Session, day: date, times: LoopTimes) -> None:
        self.session, self.day, self.times = session, day, times
        with times.phase("cache"):
            self.factors = session.execute(FACTORS).all()
            self.prices, self.return_days = self._load_prices()
            self.betas: dict[str, dict[uuid.UUID, float]] = defaultdict(dict)
            for symbol, factor_id, beta in session.execute(CACHED_BETAS, {"day": day}):
                self.betas[symbol][factor_id] = float(beta)
            self.factor_correlations = self._correlate_factors()
        session.commit()

    def _load_prices(self) -> tuple[dict[tuple[str, date], float], list[date]]:
        """All closes of the window, and of the week before it for the first return."""
        first_return = self.day - timedelta(days=WINDOW_DAYS)
        window = {"first": first_return - timedelta(days=7), "day": self.day}
        prices = {(symbol, on): float(close) for symbol, on, close in self.session.execute(CACHED_CLOSES, window)}
        days = sorted({on for _, on in prices})
        first = next(i for i, on in enumerate(days) if on >= first_return)
        return prices, days[max(first - 1, 0) :]

    def _closes(self, symbol: str) -> list[float]:
        return [self.prices.get((symbol, on), math.nan) for on in self.return_days]

    def _correlate_factors(self) -> dict[tuple[str, str], float]:
        """Correlation of each pair of factors, once a run."""
        returns = {}
        for factor in self.factors:
            returns[factor.name] = pd.Series(self._closes(factor.proxy)).pct_change(fill_method=None)
            if factor.short_proxy:
                returns[factor.name] -= pd.Series(self._closes(factor.short_proxy)).pct_change(fill_method=None)
        names, matrix = list(returns), pd.DataFrame(returns).corr().to_numpy()
        return {(a, b): float(matrix[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)}

    def _execute(self, statement: Executable, **values: object) -> list[Row[Any]]:
        return list(self.session.execute(statement, values))

    def _price(self, symbol: str) -> Decimal | None:
        """The day's close from the table: a query a position, as the design's `get_cached_price` is written."""
        started = perf_counter()
        close: Decimal | None = self.session.scalar(PRICE, {"symbol": symbol, "day": self.day})
        self.times.price_queries += perf_counter() - started
        return close

    def snapshot(self, portfolio: uuid.UUID) -> None:
        """Phase 3: which day is missing, the positions, a query a price, one row, commit."""
        self._execute(LAST_SNAPSHOT, portfolio=portfolio)
        if self._execute(EXISTING, portfolio=portfolio, day=self.day):
            return
        positions = self._execute(POSITIONS, portfolio=portfolio)
        value = cost = Decimal(0)
        for position in positions:
            multiplier = OPTION_MULTIPLIER if position.investment_class == "OPTIONS" else 1
            if position.investment_class == "PRIVATE":
                value += position.market_value or 0
                cost += position.quantity * position.entry_price
            elif price := self._price(position.symbol):
                value += position.quantity * price * multiplier
                cost += position.quantity * position.entry_price * multiplier
        percent = (value - cost) / cost * 100 if cost else Decimal(0)
        SNAPSHOTS.add(self.session, [(portfolio, self.day, value, cost, value - cost, percent, len(positions))])
        self.session.commit()

    def update_positions(self, portfolio: uuid.UUID) -> None:
        """The end of phase 3: market value and last price of each position, from the cache, one update each."""
        updates = []
        for position in self._execute(POSITIONS, portfolio=portfolio):
            price = self.prices.get((position.symbol, self.day))
            if position.investment_class != "PRIVATE" and price is not None:
                multiplier = OPTION_MULTIPLIER if position.investment_class == "OPTIONS" else 1
                worth = float(position.quantity) * price * multiplier
                updates.append({"id": position.id, "value": worth, "price": price, "day": self.day})
        if updates:
            self.session.execute(UPDATE_POSITION, updates)
        self.session.commit()

    def _values(self, portfolio: uuid.UUID) -> dict[str, float]:
        """Value of each PUBLIC symbol held, lots netted, priced from the cache."""
        values: dict[str, float] = defaultdict(float)
        for position in self._execute(POSITIONS, portfolio=portfolio):
            price = self.prices.get((position.symbol, self.day))
            if position.investment_class == "PUBLIC" and price is not None:
                values[position.symbol] += float(position.quantity) * price
        return values

    def correlate(self, portfolio: uuid.UUID) -> None:
        """Phase 4: prices from the cache, one correlation matrix, one row a pair, commit."""
        values = self._values(portfolio)
        symbols = sorted(values)
        if len(symbols) < 2:
            return
        closes = pd.DataFrame({symbol: self._closes(symbol) for symbol in symbols})
        returns = np.log(closes / closes.shift(1))
        matrix = returns.corr(min_periods=MIN_COMMON_RETURNS).to_numpy()
        there = returns.notna().to_numpy().astype(int)
        counts = there.T @ there
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.abs(matrix) * np.sqrt((counts - 2) / (1 - matrix**2))
            significance = 1 - 2 * (1 - stdtr(counts - 2, t))
        share = np.abs([values[symbol] for symbol in symbols])
        share = share / share.sum()
        upper = np.argwhere(np.triu(~np.isnan(matrix), 1)).tolist()
        overall = float(np.mean([abs(matrix[i, j]) for i, j in upper])) if upper else None
        effective = float(1 / (share @ np.nan_to_num(matrix) @ share))
        quality = "sufficient" if upper else "insufficient"
        row = (portfolio, self.day, WINDOW_DAYS, overall, effective, quality, len(symbols))
        key = CALCULATIONS.add(self.session, [row])
        if upper:
            pairs = (
                (key, symbols[i], symbols[j], float(matrix[i, j]), int(counts[i, j]), float(significance[i, j]))
                for i, j in upper
            )
            PAIRS.add(self.session, pairs)
        self.session.commit()

    def aggregate(self, portfolio: uuid.UUID) -> None:
        """Phase 5: symbols without betas (asked, not mended), value times beta a symbol and factor, a row a factor."""
        self._execute(MISSING_FACTORS, portfolio=portfolio, day=self.day)
        values = self._values(portfolio)
        gross = sum(abs(value) for value in values.values())
        rows = []
        for factor in self.factors:
            dollars = sum(value * self.betas.get(symbol, {}).get(factor.id, 0.0) for symbol, value in values.items())
            rows.append((portfolio, factor.id, self.day, dollars / gross if gross else 0.0, dollars))
        EXPOSURES.add(self.session, rows)
        self.session.commit()

    def stress(self, portfolio: uuid.UUID) -> None:
        """Phase 6: the exposures read back, each scenario's direct and correlated loss, a row a scenario, commit."""
        found = self._execute(PORTFOLIO_FACTORS, portfolio=portfolio, day=self.day)
        exposures = {row.name: float(row.exposure_dollar) for row in found}
        rows = []
        for scenario, shocks in SCENARIOS.items():
            impacts = {name: exposures.get(name, 0.0) * shock for name, shock in shocks.items()}
            direct = sum(impacts.values())
            correlated = sum(
                dollars * shock * self.factor_correlations.get((shocked, name), 0.0)
                for shocked, shock in shocks.items()
                for name, dollars in exposures.items()
            )
            rows.append((portfolio, scenario, self.day, direct, correlated, correlated - direct, impacts))
        STRESS_RESULTS.add(self.session, rows)
        self.session.commit()
