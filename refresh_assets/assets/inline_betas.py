"""Betas that the symbol batch left out, computed before exposures.

Here: the asset and the words for what could not be computed. Not here: the regressions (core/betas.py)."""

from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

import dagster as dg
import numpy as np

from refresh_assets.assets.analytic import DayBetas, writes
from refresh_assets.assets.night import Night
from refresh_assets.assets.refresh import NIGHTLY, Refresh
from refresh_assets.assets.upstream import market_data_cache, portfolios, positions, symbol_factor_exposures
from refresh_assets.core.omissions import Omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store.extras import INLINE_ASSET, BetaRow, write_inline_betas


@dg.asset(deps=[market_data_cache, symbol_factor_exposures, portfolios, positions], **NIGHTLY)
def inline_symbol_betas(context: dg.AssetExecutionContext, refresh: Refresh) -> None:
    """Betas of held symbols that the symbol batch left out, estimated from daily returns up to the day.

    Written to `symbol_factor_exposures` with `calculation_method = 'inline'`. A symbol with too few returns has none:
    it is named in `refresh_exceptions` as `no_beta`, and lowers the coverage of the exposures."""
    refresh.write_days(context, partial(Night.written, asset=INLINE_ASSET))


@writes(INLINE_ASSET)
def write_betas(night: Night, day: date) -> dict[str, Any]:
    """Compute and write the inline betas of a day."""
    betas = night.betas(day)
    rows, omissions = beta_rows(night, betas), beta_omissions(night, betas, day)
    with night.database.connect() as connection:
        night.opened(day, INLINE_ASSET, connection)
        write_inline_betas(connection, day, rows, omissions, adds=night.only_portfolio is not None)
        night.wait(day, INLINE_ASSET)
    return {
        "symbols_without_stored_betas": len(betas.codes),
        "betas_computed": len(rows),
        "symbols_still_without_a_beta": sum(1 for one in omissions if one.code is ExceptionCode.NO_BETA),
        "factors_left_out": ", ".join(_left_out(night, betas)) or "none",
    }


def beta_rows(night: Night, betas: DayBetas) -> list[BetaRow]:
    """One row for each gap that the fit filled."""
    fitted, factors = betas.fitted, list(night.inputs.factors)
    rows = []
    for row, column in zip(*np.nonzero(betas.filled), strict=True):
        r_squared = float(fitted.r_squared[row, column])
        rows.append(
            (
                night.inputs.symbols[betas.codes[row]],
                UUID(bytes=factors[column].id),
                float(fitted.beta[row, column]),
                None if np.isnan(r_squared) else r_squared,
                int(fitted.observations[row, column]),
                "capped" if fitted.capped[row, column] else None,
            )
        )
    return rows


def beta_omissions(night: Night, betas: DayBetas, day: date) -> list[Omission]:
    """Symbols without a beta, capped betas, factors left out, stored betas that cannot be read."""
    names, found = night.inputs.factors.names, list(betas.bad)
    for name in _left_out(night, betas):
        found.append(
            Omission(
                ExceptionCode.FACTOR_LEFT_OUT,
                f"factor {name!r} has no proxy, or too few returns up to {day}: no inline beta to it."
                " Mend: correct its proxy in factor_definitions, or have the symbol batch load the proxy's closes.",
            )
        )
    left_out = betas.fitted.left_out
    for row, code in enumerate(betas.codes):
        symbol = night.inputs.symbols[code]
        gaps = np.isnan(betas.betas.beta[code]) & ~left_out
        if gaps.any():
            missing = ", ".join(name for name, gap in zip(names, gaps, strict=True) if gap)
            detail = f"symbol {symbol}: no beta to {missing}: none stored for {day}, and too few common returns."
            found.append(Omission(ExceptionCode.NO_BETA, detail, symbol=symbol))
        capped = betas.fitted.capped[row] & betas.filled[row]
        if capped.any():
            over = ", ".join(name for name, cap in zip(names, capped, strict=True) if cap)
            detail = f"symbol {symbol}: the inline beta to {over} was beyond +-5 and is capped."
            found.append(Omission(ExceptionCode.BETA_CAPPED, detail, symbol=symbol))
    return found


def _left_out(night: Night, betas: DayBetas) -> list[str]:
    names = night.inputs.factors.names
    return [name for name, out in zip(names, betas.fitted.left_out, strict=True) if out]
