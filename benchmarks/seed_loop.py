"""The portfolio refresh as it was first written, to compare with: a loop over portfolios, positions, pairs and rows.

Here: phases 3 to 6 on an async SQLAlchemy session and mapped classes, as the first design has them: each query awaited in
turn, one a portfolio for its positions, one a position for its price, a row an object, a commit a portfolio. It writes into
a schema of its own, `seed_loop`, made anew by each run, and never into the platform's tables. Not here: anything that the
product uses; what follows the design's text and where we were kinder is said in README.md beside this file."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from time import perf_counter

import numpy as np
import pandas as pd
from scipy.special import stdtr
from sqlalchemy import exists, func, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from benchmarks.seed_loop_tables import (
    Base,
    CorrelationCalculation,
    FactorDefinition,
    FactorExposure,
    MarketDataCache,
    PairwiseCorrelation,
    PortfolioSnapshot,
    Position,
    StressTestResult,
    SymbolFactorExposure,
)

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


@dataclass
class LoopTimes:
    """Seconds of work by phase; `cache` is paid once a run, the others grow with `portfolios`.

    price_queries: the seconds of `snapshot` that went into a query a price: what a cache there would have saved.
    day_counts: those that went into counting the day's closes, once a portfolio."""

    portfolios: int
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    price_queries: float = 0.0
    day_counts: float = 0.0

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
    return asyncio.run(_measure(connection_url, day, portfolios))


async def _measure(connection_url: str, day: date, portfolios: int) -> LoopTimes:
    engine = create_async_engine(make_url(connection_url).set(drivername="postgresql+psycopg"))
    try:
        async with AsyncSession(engine, expire_on_commit=False) as db:
            ids = await _prepare(db, portfolios)
            times = LoopTimes(len(ids))
            loop = SeedLoop(db, day, times)
            await loop.load_cache()
            for phase in (loop.snapshot, loop.update_positions, loop.correlate, loop.aggregate, loop.stress):
                with times.phase(phase.__name__):
                    for portfolio in ids:
                        await phase(portfolio)
            return times
    finally:
        await engine.dispose()


async def _prepare(db: AsyncSession, portfolios: int) -> list[uuid.UUID]:
    """The loop's own tables, empty, and a copy of the positions (with the platform's indexes) that it may update."""
    for statement in ("DROP SCHEMA IF EXISTS seed_loop CASCADE", "CREATE SCHEMA seed_loop"):
        await db.execute(text(statement))
    await db.execute(text("CREATE TABLE seed_loop.positions (LIKE positions INCLUDING ALL)"))
    await (await db.connection()).run_sync(Base.metadata.create_all)
    active = await db.execute(
        text(
            "SELECT p.id FROM portfolios p WHERE p.deleted_at IS NULL AND EXISTS (SELECT 1 FROM positions pos"
            " WHERE pos.portfolio_id = p.id AND pos.exit_date IS NULL AND pos.deleted_at IS NULL) ORDER BY p.id LIMIT :n"
        ),
        {"n": portfolios},
    )
    ids = list(active.scalars())
    copy = text("INSERT INTO seed_loop.positions SELECT * FROM positions WHERE portfolio_id = ANY(:ids)")
    await db.execute(copy, {"ids": ids})
    await db.execute(text("ANALYZE seed_loop.positions"))
    await db.commit()
    return ids


class SeedLoop:
    """One day's phases, a portfolio a call; a commit ends each call. The unified cache is loaded first."""

    def __init__(self, db: AsyncSession, day: date, times: LoopTimes) -> None:
        self.db, self.day, self.times = db, day, times
        self.factors: Sequence[FactorDefinition] = ()
        self.prices: dict[tuple[str, date], float] = {}
        self.return_days: list[date] = []
        self.betas: dict[str, dict[uuid.UUID, float]] = defaultdict(dict)
        self.factor_correlations: dict[tuple[str, str], float] = {}

    async def load_cache(self) -> None:
        """Prices of the window, betas of the day, and how the factors correlate: once a run."""
        with self.times.phase("cache"):
            query = select(FactorDefinition).where(FactorDefinition.is_active).order_by(FactorDefinition.display_order)
            self.factors = (await self.db.execute(query)).scalars().all()
            await self._load_prices()
            betas = select(
                SymbolFactorExposure.symbol, SymbolFactorExposure.factor_id, SymbolFactorExposure.beta_value
            ).where(SymbolFactorExposure.calculation_date == self.day)
            for symbol, factor_id, beta in await self.db.execute(betas):
                self.betas[symbol][factor_id] = float(beta)
            self.factor_correlations = self._correlate_factors()
        await self.db.commit()

    async def _load_prices(self) -> None:
        """All closes of the window, and of the week before it for the first return."""
        first_return = self.day - timedelta(days=WINDOW_DAYS)
        closes = select(MarketDataCache.symbol, MarketDataCache.date, MarketDataCache.close_price).where(
            MarketDataCache.date.between(first_return - timedelta(days=7), self.day)
        )
        self.prices = {(symbol, on): float(close) for symbol, on, close in await self.db.execute(closes)}
        days = sorted({on for _, on in self.prices})
        first = next(i for i, on in enumerate(days) if on >= first_return)
        self.return_days = days[max(first - 1, 0) :]

    def _closes(self, symbol: str) -> list[float]:
        return [self.prices.get((symbol, on), math.nan) for on in self.return_days]

    def _correlate_factors(self) -> dict[tuple[str, str], float]:
        returns = {}
        for factor in self.factors:
            returns[factor.name] = pd.Series(self._closes(factor.proxy)).pct_change(fill_method=None)
            if factor.short_proxy:
                returns[factor.name] -= pd.Series(self._closes(factor.short_proxy)).pct_change(fill_method=None)
        names, matrix = list(returns), pd.DataFrame(returns).corr().to_numpy()
        return {(a, b): float(matrix[i, j]) for i, a in enumerate(names) for j, b in enumerate(names)}

    async def _positions(self, portfolio: uuid.UUID) -> Sequence[Position]:
        """`get_active_positions`."""
        found = await self.db.execute(
            select(Position).where(
                Position.portfolio_id == portfolio, Position.exit_date.is_(None), Position.deleted_at.is_(None)
            )
        )
        return found.scalars().all()

    async def _price(self, symbol: str | None) -> Decimal | None:
        """`get_cached_price`: a query a position, though the design's text promises a cache."""
        started = perf_counter()
        result = await self.db.execute(
            select(MarketDataCache.close_price).where(
                MarketDataCache.symbol == symbol, MarketDataCache.date == self.day
            )
        )
        row = result.first()
        self.times.price_queries += perf_counter() - started
        return row.close_price if row else None

    async def _has_price_data(self) -> bool:
        """`has_price_data_for_date`: a count over the day, asked for each portfolio and missing day."""
        started = perf_counter()
        count = await self.db.execute(
            select(func.count(MarketDataCache.symbol)).where(MarketDataCache.date == self.day)
        )
        self.times.day_counts += perf_counter() - started
        return bool(count.scalar())

    async def _snapshot_of(self, portfolio: uuid.UUID) -> PortfolioSnapshot | None:
        existing = await self.db.execute(
            select(PortfolioSnapshot).where(
                PortfolioSnapshot.portfolio_id == portfolio, PortfolioSnapshot.snapshot_date == self.day
            )
        )
        return existing.scalar_one_or_none()

    async def snapshot(self, portfolio: uuid.UUID) -> None:
        """Phase 3: which day is missing, whether it has prices, the positions, a query a price, one row, commit."""
        last = select(func.max(PortfolioSnapshot.snapshot_date)).where(PortfolioSnapshot.portfolio_id == portfolio)
        (await self.db.execute(last)).scalar()
        if not await self._has_price_data() or await self._snapshot_of(portfolio):
            return
        positions = await self._positions(portfolio)
        value = cost = Decimal(0)
        for position in positions:
            multiplier = OPTION_MULTIPLIER if position.investment_class == "OPTIONS" else 1
            if position.investment_class == "PRIVATE":
                value += position.market_value or 0
                cost += position.quantity * position.entry_price
            elif price := await self._price(position.symbol):
                value += position.quantity * price * multiplier
                cost += position.quantity * position.entry_price * multiplier
        row = PortfolioSnapshot(
            portfolio_id=portfolio,
            snapshot_date=self.day,
            total_value=value,
            total_cost=cost,
            total_pnl=value - cost,
            pnl_percent=(value - cost) / cost * 100 if cost else Decimal(0),
            position_count=len(positions),
        )
        self.db.add(row)
        await self.db.commit()

    async def update_positions(self, portfolio: uuid.UUID) -> None:
        """The end of phase 3: market value and last price of each position, from the cache."""
        for position in await self._positions(portfolio):
            price = self.prices.get((position.symbol or "", self.day))
            if position.investment_class != "PRIVATE" and price is not None:
                multiplier = OPTION_MULTIPLIER if position.investment_class == "OPTIONS" else 1
                position.market_value = Decimal(str(price)) * position.quantity * multiplier
                position.last_price, position.last_price_date = Decimal(str(price)), self.day
        await self.db.commit()

    async def _values(self, portfolio: uuid.UUID) -> dict[str, float]:
        """Value of each PUBLIC symbol held, lots netted, priced from the cache."""
        values: dict[str, float] = defaultdict(float)
        for position in await self._positions(portfolio):
            price = self.prices.get((position.symbol or "", self.day))
            if position.investment_class == "PUBLIC" and position.symbol and price is not None:
                values[position.symbol] += float(position.quantity) * price
        return values

    async def correlate(self, portfolio: uuid.UUID) -> None:
        """Phase 4: prices from the cache, one correlation matrix, one row a pair, commit."""
        values = await self._values(portfolio)
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
        calculation = CorrelationCalculation(
            id=uuid.uuid4(),
            portfolio_id=portfolio,
            calculation_date=self.day,
            duration_days=WINDOW_DAYS,
            overall_correlation=float(np.mean([abs(matrix[i, j]) for i, j in upper])) if upper else None,
            effective_positions=float(1 / (share @ np.nan_to_num(matrix) @ share)),
            data_quality="sufficient" if upper else "insufficient",
            positions_included=len(symbols),
        )
        self.db.add(calculation)
        for i, j in upper:
            pair = PairwiseCorrelation(
                correlation_calculation_id=calculation.id,
                symbol_1=symbols[i],
                symbol_2=symbols[j],
                correlation_value=float(matrix[i, j]),
                data_points=int(counts[i, j]),
                statistical_significance=float(significance[i, j]),
            )
            self.db.add(pair)
        await self.db.commit()

    async def aggregate(self, portfolio: uuid.UUID) -> None:
        """Phase 5: symbols without betas (asked, not mended), value times beta a symbol and factor, a row a factor."""
        has_betas = exists().where(
            SymbolFactorExposure.symbol == Position.symbol, SymbolFactorExposure.calculation_date == self.day
        )
        missing = (
            select(Position.symbol)
            .distinct()
            .where(Position.portfolio_id == portfolio, Position.exit_date.is_(None))
            .where(Position.investment_class == "PUBLIC", ~has_betas)
        )
        (await self.db.execute(missing)).scalars().all()
        values = await self._values(portfolio)
        gross = sum(abs(value) for value in values.values())
        for factor in self.factors:
            dollars = sum(value * self.betas.get(symbol, {}).get(factor.id, 0.0) for symbol, value in values.items())
            row = FactorExposure(
                portfolio_id=portfolio,
                factor_id=factor.id,
                calculation_date=self.day,
                exposure_value=dollars / gross if gross else 0.0,
                exposure_dollar=dollars,
            )
            self.db.add(row)
        await self.db.commit()

    async def stress(self, portfolio: uuid.UUID) -> None:
        """Phase 6: the exposures read back, each scenario's direct and correlated loss, a row a scenario, commit."""
        found = await self.db.execute(
            select(FactorDefinition.name, FactorExposure.exposure_dollar)
            .join(FactorDefinition, FactorDefinition.id == FactorExposure.factor_id)
            .where(FactorExposure.portfolio_id == portfolio, FactorExposure.calculation_date == self.day)
        )
        exposures = {name: float(dollars) for name, dollars in found}
        for scenario, shocks in SCENARIOS.items():
            impacts = {name: exposures.get(name, 0.0) * shock for name, shock in shocks.items()}
            direct = sum(impacts.values())
            correlated = sum(
                dollars * shock * self.factor_correlations.get((shocked, name), 0.0)
                for shocked, shock in shocks.items()
                for name, dollars in exposures.items()
            )
            row = StressTestResult(
                portfolio_id=portfolio,
                scenario_id=scenario,
                calculation_date=self.day,
                direct_pnl=direct,
                correlated_pnl=correlated,
                correlation_effect=correlated - direct,
                factor_impacts=impacts,
            )
            self.db.add(row)
        await self.db.commit()
