"""The betas of one portfolio's symbols on a day, and where each is from.

Here: what stands in symbol_factor_exposures, the fit of what the symbol batch left out, as the night does both. Not here:
the regressions (core/betas.py), exposures (exposure.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import numpy.typing as npt

from refresh_assets.core.betas import FittedBetas, fit_betas
from refresh_assets.core.book import PUBLIC, Book
from refresh_assets.core.market import Betas, Factors, simple_returns
from refresh_assets.core.money import Floats
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.read_market import LARGEST_BETA

if TYPE_CHECKING:
    from refresh_assets.explain.evidence import Evidence

INLINE = "inline"
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BetaOrigin:
    """Where a beta is from: `stored` by the symbol batch (method as it says), or `inline`, of our own estimation."""

    origin: str
    method: str | None = None
    observations: int | None = None
    r_squared: float | None = None
    capped: bool = False
    written: float | None = None


@dataclass(frozen=True)
class StoredBetas:
    """Rows of symbol_factor_exposures of the day: `beta` (S, F) of the symbol batch alone; `rows` all, by their codes."""

    beta: Floats
    rows: dict[tuple[int, int], BetaOrigin]


@dataclass(frozen=True)
class DayBetas:
    """Betas that the exposures are made with, (S, F), and the origin of each that there is."""

    betas: Betas
    origins: dict[tuple[int, int], BetaOrigin]


def read_stored_betas(snapshot: Snapshot, symbols: list[str], factors: Factors, day: date) -> StoredBetas:
    """Stored betas of some symbols. One that is not finite, absurdly large or there twice counts as missing."""
    ids = [str(UUID(bytes=factor.id)) for factor in factors]
    snapshot.set(day=day, symbols=json.dumps(symbols, ensure_ascii=False), factors=json.dumps(ids))
    # As arrays, so that the index on symbol and factor serves.
    rows = snapshot.fetch(
        f"""
        select symbol::text as symbol, factor_id, beta_value::text as beta, r_squared::text as r_squared, observations,
            quality_flag::text as quality_flag, calculation_method::text as method from symbol_factor_exposures
        where calculation_date = {value("day", "date")} and beta_value is not null
        and symbol::text = any(array(select jsonb_array_elements_text({value("symbols", "jsonb")})))
        and factor_id = any(array(select jsonb_array_elements_text({value("factors", "jsonb")})::uuid))
        """
    ).to_pylist()
    beta, origins = np.full((len(symbols), len(factors)), np.nan), {}
    seen: set[tuple[int, int]] = set()
    code = {symbol: number for number, symbol in enumerate(symbols)}
    column = {factor.id: number for number, factor in enumerate(factors)}
    for row in rows:
        place = code[row["symbol"]], column[row["factor_id"].bytes]
        inline, number = row["method"] == INLINE, float(row["beta"])
        if not inline:
            beta[place] = number if place not in seen and abs(number) <= LARGEST_BETA else np.nan
            seen.add(place)
        origins[place] = BetaOrigin(
            INLINE if inline else "stored",
            row["method"],
            row["observations"],
            None if row["r_squared"] is None else float(row["r_squared"]),
            "capped" in (row["quality_flag"] or ""),
            number,
        )
    return StoredBetas(beta, origins)


def lacking_betas(book: Book, stored: StoredBetas) -> Codes:
    """Codes of the PUBLIC symbols held that lack a stored beta to some factor: ascending."""
    held = np.unique(book.symbol[book.held & (book.kind == PUBLIC) & (book.symbol >= 0)]).astype(np.int64)
    return held[np.isnan(stored.beta[held]).any(axis=1)]


def day_betas(evidence: Evidence) -> DayBetas:
    """Stored betas, and inline ones in their gaps: as the night has them (its Night.betas)."""
    stored, prices, factors = evidence.betas, evidence.prices, evidence.factors
    codes = lacking_betas(evidence.book, stored)
    end = prices.row(evidence.number) + 1
    ages = evidence.number - prices.days[:end].astype(np.int64)
    returns = simple_returns(prices.close[:end][:, codes])
    fitted = fit_betas(returns, factor_returns(evidence), ages, factors)
    filled = np.isnan(stored.beta[codes]) & ~np.isnan(fitted.beta)
    beta = stored.beta.copy()
    beta[codes] = np.where(filled, fitted.beta, stored.beta[codes])
    origins = {place: row for place, row in stored.rows.items() if not np.isnan(stored.beta[place])}
    for row, column in zip(*np.nonzero(filled), strict=True):
        place = int(codes[row]), int(column)
        origins[place] = _inline(fitted, row, column, stored.rows.get(place))
    return DayBetas(Betas(beta), origins)


def factor_returns(evidence: Evidence) -> Floats:
    """(t, F) simple returns of the factors up to the day."""
    prices, factors = evidence.prices, evidence.factors
    end = prices.row(evidence.number) + 1
    proxies = factors.proxies()
    codes = np.array([code for code, one in enumerate(evidence.symbols) if one in proxies], dtype=np.int64)
    names = [evidence.symbols[code] for code in codes]
    return factors.returns(names, simple_returns(prices.close[:end][:, codes]))


def _inline(fitted: FittedBetas, row: int, column: int, written: BetaOrigin | None) -> BetaOrigin:
    r_squared = float(fitted.r_squared[row, column])
    return BetaOrigin(
        INLINE,
        INLINE,
        int(fitted.observations[row, column]),
        None if np.isnan(r_squared) else r_squared,
        bool(fitted.capped[row, column]),
        written.written if written else None,
    )
