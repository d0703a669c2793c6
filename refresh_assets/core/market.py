"""Market data of a run as arrays: closes, returns, factors, betas.

Here: Prices (trading days x symbols), the returns made from them, Factors and the returns of their proxies, Betas.
Not here: reading them (store/read.py), estimating a beta (betas.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from refresh_assets.core.book import Days, Decimals
from refresh_assets.core.money import Bools, Floats

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Prices:
    """Closes of a run.

    Attributes:
        days: (T,) trading days, ascending, without a gap.
        symbols: S symbols, sorted by code point.
        close: (T, S) USD, NaN where there is none.
        exact: closes of one day as decimals, for the days that are valued (D and D'); by day.
    """

    days: Days
    symbols: Sequence[str]
    close: Floats
    exact: dict[int, Decimals] = field(default_factory=dict)

    def row(self, day: int) -> int:
        return int(np.searchsorted(self.days, day))

    def upto(self, day: int, first: int | None = None) -> Prices:
        """The closes of days in [first - 1 trading day, day]: what a window ending on D may read."""
        begin = 0 if first is None else max(int(np.searchsorted(self.days, first)) - 1, 0)
        end = int(np.searchsorted(self.days, day, side="right"))
        exact = {known: closes for known, closes in self.exact.items() if known <= day}
        return Prices(self.days[begin:end], self.symbols, self.close[begin:end], exact)

    def log_returns(self, day: int, first: int) -> Floats:
        """(t, S) log returns dated in [first, day]; the first may use the close of the trading day before `first`.

        A close that is missing, or not above 0, loses both returns that touch it: NaN."""
        close = self.upto(day, first).close
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log(np.where(close > 0, close, np.nan))
        return np.diff(logs, axis=0)


def simple_returns(close: Floats) -> Floats:
    """(T, S) closes -> (T, S) simple returns; the first row, and any that lacks one of its closes, is NaN."""
    returns = np.full(close.shape, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = close[1:] / np.where(close[:-1] > 0, close[:-1], np.nan) - 1.0
    returns[1:] = ratio
    return returns


@dataclass(frozen=True, slots=True)
class Factor:
    """One row of factor_definitions that can be used. `window` in calendar days, `minimum` in common trading days."""

    id: bytes
    name: str
    proxy: str | None
    short_proxy: str | None
    is_joint: bool
    window: int
    minimum: int


@dataclass(frozen=True)
class Factors:
    """The F active factors in display order."""

    factors: tuple[Factor, ...]

    def __len__(self) -> int:
        return len(self.factors)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.factors)

    @property
    def is_joint(self) -> Bools:
        return np.array([factor.is_joint for factor in self.factors], dtype=bool)

    @property
    def names(self) -> list[str]:
        return [factor.name for factor in self.factors]

    def proxies(self) -> set[str]:
        """Every symbol whose closes a factor's return needs."""
        return {symbol for factor in self.factors for symbol in (factor.proxy, factor.short_proxy) if symbol}

    def returns(self, symbols: Sequence[str], asset_returns: Floats) -> Floats:
        """(T, S) returns of symbols -> (T, F) returns of factors: the proxy's, less the short proxy's if there is one.

        A factor without a proxy, or whose proxy is not among the symbols, is NaN throughout."""
        column = {symbol: code for code, symbol in enumerate(symbols)}
        result = np.full((len(asset_returns), len(self.factors)), np.nan)
        for number, factor in enumerate(self.factors):
            if factor.proxy not in column or (factor.short_proxy and factor.short_proxy not in column):
                continue
            result[:, number] = asset_returns[:, column[factor.proxy]]
            if factor.short_proxy:
                result[:, number] -= asset_returns[:, column[factor.short_proxy]]
        return result


@dataclass(frozen=True, slots=True)
class Betas:
    """Betas of symbols on D.

    Attributes:
        beta: (S, F) return per unit of factor return, NaN where there is none.
    """

    beta: Floats
