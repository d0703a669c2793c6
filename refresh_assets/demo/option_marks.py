"""Option marks of the demo: a theoretical close a day, because no free option tape may be redistributed.

Here: Black-Scholes and the trailing volatility that feeds it. Not here: which options exist (books.toml), writing marks
to a table (world.py). These marks are made up; the refresh itself never values an option by a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from math import erf, exp, log, sqrt
from statistics import stdev
from typing import Literal

RISK_FREE_RATE = 0.015  # a year; about the three-month bill of February 2020
VOLATILITY_RETURNS = 21  # trading days, about a month
VOLATILITY_FLOOR = 0.18  # a year; a calm month would price options below what anyone writes them for
SESSIONS_A_YEAR = 252
TICK = Decimal("0.01")
LOWEST_MARK = Decimal("0.05")  # a mark of zero would read as a bad price


@dataclass(frozen=True)
class Option:
    """One listed option of the demo.

    `symbol` is in OCC form without padding: root, YYMMDD of expiry, P or C, strike x 1000 in 8 digits. `underlying` is
    a symbol of prices.parquet, `strike` is in its units, and no mark is before `first_mark` nor after `expiry`."""

    symbol: str
    underlying: str
    kind: Literal["put", "call"]
    strike: float
    expiry: date
    first_mark: date

    def has_mark(self, day: date) -> bool:
        """Whether the option trades on `day`."""
        return self.first_mark <= day <= self.expiry


def option_mark(option: Option, closes: Sequence[float], day: date) -> Decimal:
    """Theoretical close of an option, USD a share, to the cent, at least 0.05.

    Args:
        option: what is priced; `day` is at most its expiry (on the expiry the mark is the intrinsic value).
        closes: (at least 22,) closes of the underlying in order of date, the last one being that of `day`. Nothing
            later goes in, so a mark never changes when later prices arrive.
        day: the trading day.

    Raises:
        ValueError: fewer closes than the volatility needs.

    Source: Black and Scholes (1973), no dividends."""
    spot, years = closes[-1], (option.expiry - day).days / 365
    call = _call_value(spot, option.strike, years, _trailing_volatility(closes))
    # put-call parity: one formula serves both kinds
    value = call if option.kind == "call" else call - spot + option.strike * exp(-RISK_FREE_RATE * years)
    return max(Decimal(value).quantize(TICK), LOWEST_MARK)


def _call_value(spot: float, strike: float, years: float, volatility: float) -> float:
    if years <= 0:
        return max(spot - strike, 0.0)
    spread = volatility * sqrt(years)
    d1 = (log(spot / strike) + (RISK_FREE_RATE + volatility**2 / 2) * years) / spread
    return spot * _normal_cdf(d1) - strike * exp(-RISK_FREE_RATE * years) * _normal_cdf(d1 - spread)


def _trailing_volatility(closes: Sequence[float]) -> float:
    """Annualised standard deviation of the last 21 log returns, floored."""
    if len(closes) <= VOLATILITY_RETURNS:
        raise ValueError(f"{len(closes)} closes of the underlying, {VOLATILITY_RETURNS + 1} needed for its volatility")
    last = closes[-VOLATILITY_RETURNS - 1 :]
    returns = [log(b / a) for a, b in pairwise(last)]
    return max(stdev(returns) * sqrt(SESSIONS_A_YEAR), VOLATILITY_FLOOR)


def _normal_cdf(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
