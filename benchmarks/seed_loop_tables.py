"""The mapped classes of the loop: the platform's tables as it reads them, and its own in the schema `seed_loop`.

Here: columns and keys in the first design's shapes, a row a pair, a factor, a scenario. Not here: what the loop does with
them (seed_loop.py); the product's tables (refresh_assets/store/schema.py)."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ForeignKey, MetaData, Numeric, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class PlatformBase(DeclarativeBase):
    """Tables that are there, found on the search_path."""


class Base(DeclarativeBase):
    """Tables that the loop makes for itself."""

    metadata = MetaData(schema="seed_loop")


def _number(digits: int, scale: int) -> Any:
    """A column of floats as the loop computes them, stored exactly."""
    return mapped_column(Numeric(digits, scale, asdecimal=False))


def _key() -> Any:
    return mapped_column(primary_key=True, default=uuid.uuid4)


class MarketDataCache(PlatformBase):
    __tablename__ = "market_data_cache"
    symbol: Mapped[str] = mapped_column(primary_key=True)
    date: Mapped[date] = mapped_column(primary_key=True)
    close_price: Mapped[Decimal]


class FactorDefinition(PlatformBase):
    __tablename__ = "factor_definitions"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    proxy: Mapped[str]
    short_proxy: Mapped[str | None]
    display_order: Mapped[int]
    is_active: Mapped[bool]


class SymbolFactorExposure(PlatformBase):
    __tablename__ = "symbol_factor_exposures"
    symbol: Mapped[str] = mapped_column(primary_key=True)
    factor_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    calculation_date: Mapped[date] = mapped_column(primary_key=True)
    beta_value: Mapped[Decimal]


class Position(PlatformBase):
    """The loop's copy of the positions, which it may update."""

    __tablename__ = "positions"
    __table_args__ = {"schema": "seed_loop"}  # noqa: RUF012
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    portfolio_id: Mapped[uuid.UUID]
    symbol: Mapped[str | None]
    investment_class: Mapped[str]
    quantity: Mapped[Decimal]
    entry_price: Mapped[Decimal]
    exit_date: Mapped[date | None]
    market_value: Mapped[Decimal | None]
    last_price: Mapped[Decimal | None]
    last_price_date: Mapped[date | None]
    deleted_at: Mapped[datetime | None]


class PortfolioSnapshot(Base):
    __tablename__ = "portfolio_snapshots"
    __table_args__ = (UniqueConstraint("portfolio_id", "snapshot_date"),)
    id: Mapped[uuid.UUID] = _key()
    portfolio_id: Mapped[uuid.UUID]
    snapshot_date: Mapped[date]
    total_value: Mapped[Decimal] = mapped_column(Numeric(20, 2))
    total_cost: Mapped[Decimal] = mapped_column(Numeric(20, 2))
    total_pnl: Mapped[Decimal] = mapped_column(Numeric(20, 2))
    pnl_percent: Mapped[Decimal] = mapped_column(Numeric(14, 4))
    position_count: Mapped[int]


class CorrelationCalculation(Base):
    __tablename__ = "correlation_calculations"
    __table_args__ = (UniqueConstraint("portfolio_id", "duration_days", "calculation_date"),)
    id: Mapped[uuid.UUID] = _key()
    portfolio_id: Mapped[uuid.UUID]
    calculation_date: Mapped[date]
    duration_days: Mapped[int]
    overall_correlation: Mapped[float | None] = _number(8, 6)
    effective_positions: Mapped[float] = _number(10, 4)
    data_quality: Mapped[str]
    positions_included: Mapped[int]


class PairwiseCorrelation(Base):
    __tablename__ = "pairwise_correlations"
    __table_args__ = (UniqueConstraint("correlation_calculation_id", "symbol_1", "symbol_2"),)
    id: Mapped[uuid.UUID] = _key()
    correlation_calculation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(CorrelationCalculation.id))
    symbol_1: Mapped[str]
    symbol_2: Mapped[str]
    correlation_value: Mapped[float] = _number(8, 6)
    data_points: Mapped[int]
    statistical_significance: Mapped[float] = _number(8, 6)


class FactorExposure(Base):
    __tablename__ = "factor_exposures"
    __table_args__ = (UniqueConstraint("portfolio_id", "factor_id", "calculation_date"),)
    id: Mapped[uuid.UUID] = _key()
    portfolio_id: Mapped[uuid.UUID]
    factor_id: Mapped[uuid.UUID]
    calculation_date: Mapped[date]
    exposure_value: Mapped[float] = _number(16, 6)
    exposure_dollar: Mapped[float] = _number(20, 2)


class StressTestResult(Base):
    __tablename__ = "stress_test_results"
    __table_args__ = (UniqueConstraint("portfolio_id", "scenario_id", "calculation_date"),)
    id: Mapped[uuid.UUID] = _key()
    portfolio_id: Mapped[uuid.UUID]
    scenario_id: Mapped[str]
    calculation_date: Mapped[date]
    direct_pnl: Mapped[float] = _number(20, 2)
    correlated_pnl: Mapped[float] = _number(20, 2)
    correlation_effect: Mapped[float] = _number(20, 2)
    factor_impacts: Mapped[dict[str, float]] = mapped_column(JSONB)
