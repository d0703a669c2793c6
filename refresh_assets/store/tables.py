"""Figures of core/ as rows of our tables, in Arrow columns.

Here: which figure goes into which column. Not here: the tables (schema.py), writing (write.py), how a uuid or a decimal
is encoded (arrow.py)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from refresh_assets.core.book import Uuids
from refresh_assets.core.correlations import WINDOW_DAYS, Correlations
from refresh_assets.core.factor_exposures import Exposures
from refresh_assets.core.market import Factors
from refresh_assets.core.omissions import Omission
from refresh_assets.core.snapshots import Snapshots
from refresh_assets.core.stress import StressResults
from refresh_assets.store.arrow import float_column, list_column, money_column, text_column, uuid_column


def snapshot_rows(day: int, result: Snapshots) -> pa.RecordBatch:
    """portfolio_snapshots."""
    money = {name: money_column(cents) for name, cents in result.money.items()}
    counts = {name: pa.array(number.astype(np.int32)) for name, number in result.counts.items()}
    return pa.RecordBatch.from_pydict(
        {
            "snapshot_date": _day_column(day, len(result.portfolio_id)),
            "portfolio_id": uuid_column(result.portfolio_id),
            **money,
            "pnl_percent": float_column(result.pnl_percent),
            "daily_return": float_column(result.daily_return),
            **counts,
            "is_partial": pa.array(result.is_partial),
        }
    )


def correlation_rows(day: int, result: Correlations, symbols: Sequence[str]) -> pa.RecordBatch:
    """correlation_calculations."""
    size = len(result.portfolio_id)
    names = pa.array(symbols, pa.string()).take(pa.array(result.symbols))
    return pa.RecordBatch.from_pydict(
        {
            "calculation_date": _day_column(day, size),
            "portfolio_id": uuid_column(result.portfolio_id),
            "symbols": list_column(names, result.symbol_ends),
            "correlations": list_column(float_column(result.correlations), result.pair_ends),
            "data_points": list_column(pa.array(result.data_points), result.pair_ends),
            "overall_correlation": float_column(result.overall),
            "weighted_correlation": float_column(result.weighted),
            "effective_positions": float_column(result.effective),
            "correlation_concentration_score": float_column(result.concentration),
            "data_quality": text_column(result.quality),
            "positions_included": pa.array(result.included.astype(np.int32)),
            "positions_excluded": pa.array(result.excluded.astype(np.int32)),
            "duration_days": pa.array(np.full(size, WINDOW_DAYS, dtype=np.int32)),
        }
    )


def exposure_rows(day: int, result: Exposures, factors: Factors) -> pa.RecordBatch:
    """factor_exposures: a row for every active factor of every portfolio with PUBLIC value."""
    size, number = result.dollar.shape
    return pa.RecordBatch.from_pydict(
        {
            "calculation_date": _day_column(day, size * number),
            "portfolio_id": uuid_column(np.repeat(result.portfolio_id, number)),
            "factor_id": uuid_column(np.tile(np.array([factor.id for factor in factors], dtype="V16"), size)),
            "exposure_value": float_column(result.value.ravel()),
            "exposure_dollar": float_column(result.dollar.ravel()),
            "coverage": pa.array(result.coverage.ravel()),
        }
    )


def stress_rows(day: int, portfolios: Uuids, result: StressResults, scenarios: Sequence[str]) -> pa.RecordBatch:
    """stress_test_results: a row for every active scenario of every portfolio with PUBLIC value."""
    size, number = result.direct.shape
    names = pa.array(scenarios, pa.string()).take(pa.array(np.tile(np.arange(number), size)))
    return pa.RecordBatch.from_pydict(
        {
            "calculation_date": _day_column(day, size * number),
            "portfolio_id": uuid_column(np.repeat(portfolios, number)),
            "scenario_id": names,
            "direct_pnl": float_column(result.direct.ravel()),
            "correlated_pnl": float_column(result.correlated.ravel()),
            "correlation_effect": float_column(result.effect.ravel()),
            "is_capped": pa.array(result.capped.ravel()),
        }
    )


def exception_rows(day: int, asset: str, omissions: Sequence[Omission]) -> pa.RecordBatch:
    """refresh_exceptions."""
    return pa.RecordBatch.from_pydict(
        {
            "calculation_date": _day_column(day, len(omissions)),
            "asset": pa.array([asset] * len(omissions), pa.string()),
            "portfolio_id": pa.array([one.portfolio for one in omissions], pa.binary(16)),
            "position_id": pa.array([one.position for one in omissions], pa.binary(16)),
            "symbol": pa.array([one.symbol for one in omissions], pa.string()),
            "code": pa.array([one.code.value for one in omissions], pa.string()),
            "detail": pa.array([one.detail for one in omissions], pa.string()),
        }
    )


def _day_column(day: int, size: int) -> pa.Array:
    return pa.array(np.full(size, day, dtype=np.int32)).cast(pa.date32())
