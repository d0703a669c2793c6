"""Typed errors and the closed list of exception codes.

Here: what can go wrong, each with the fields that an alert or an exception row reads (row, field, value, expected,
mend), and the exit code of the command line. Not here: deciding that something is wrong (core/, store/), or writing
it down (store/write.py)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ExceptionCode(StrEnum):
    """Why something was left out, skipped or failed: the `code` column of `refresh_exceptions`."""

    # a position
    NO_PRICE = "no_price"
    NO_PREVIOUS_PRICE = "no_previous_price"
    NO_VALUATION = "no_valuation"
    UNDATED_VALUATION = "undated_valuation"
    NO_ENTRY_PRICE = "no_entry_price"
    NO_EXIT_PRICE = "no_exit_price"
    OPTION_EXPIRED = "option_expired"
    BAD_QUANTITY = "bad_quantity"
    BAD_ENTRY_PRICE = "bad_entry_price"
    BAD_PRICE = "bad_price"
    BAD_VALUATION = "bad_valuation"
    BAD_EVENT = "bad_event"
    BAD_DATES = "bad_dates"
    UNKNOWN_CLASS = "unknown_class"
    NO_SYMBOL = "no_symbol"
    ORPHAN_POSITION = "orphan_position"
    DUPLICATE_ROW = "duplicate_row"
    # a symbol and its betas
    NO_BETA = "no_beta"
    BAD_BETA = "bad_beta"
    BETA_CAPPED = "beta_capped"
    # a portfolio
    TOO_FEW_SYMBOLS = "too_few_symbols"
    NO_PUBLIC_VALUE = "no_public_value"
    NOTHING_HELD = "nothing_held"
    VALUE_OVERFLOW = "value_overflow"
    COMPUTATION_FAILED = "computation_failed"
    # a factor or a scenario
    FACTOR_LEFT_OUT = "factor_left_out"
    BAD_FACTOR = "bad_factor"
    SHOCK_UNMAPPED = "shock_unmapped"
    # a day
    NO_PRICES = "no_prices"
    LOW_PRICE_COVERAGE = "low_price_coverage"


MEANING: dict[ExceptionCode, str] = {
    ExceptionCode.NO_PRICE: "no close on the day: the position is left out and the snapshot is partial",
    ExceptionCode.NO_PREVIOUS_PRICE: "a leg of the day's P&L has no close on one of its two days: the leg is left out",
    ExceptionCode.NO_VALUATION: "PRIVATE without any value on or before the day: left out, the snapshot is partial",
    ExceptionCode.UNDATED_VALUATION: "PRIVATE valued by the undated positions.market_value: an edit changes past days",
    ExceptionCode.NO_ENTRY_PRICE: "no entry price: left out of value and cost (not of risk), the snapshot is partial",
    ExceptionCode.NO_EXIT_PRICE: "sold on the day without a sale price that can be read: the leg is left out of the day's P&L",
    ExceptionCode.OPTION_EXPIRED: "the option's own symbol says that it expired before the day: left out",
    ExceptionCode.BAD_QUANTITY: "quantity is null, NaN, infinite or absurdly large: the position is left out",
    ExceptionCode.BAD_ENTRY_PRICE: "entry_price is NaN, infinite, negative or absurdly large: as if there were none",
    ExceptionCode.BAD_PRICE: "a close is NaN, infinite, negative, absurdly large or there twice: it counts as missing",
    ExceptionCode.BAD_VALUATION: "a valuation is NaN, infinite or absurdly large: it counts as missing",
    ExceptionCode.BAD_EVENT: "a realized event is unreadable, undated, of a wrong sign, or before the entry: left out",
    ExceptionCode.BAD_DATES: "exit_date lies before entry_date (never held), or a portfolio has no date to exist from",
    ExceptionCode.UNKNOWN_CLASS: "investment_class is not PUBLIC, OPTIONS or PRIVATE: the position is left out",
    ExceptionCode.NO_SYMBOL: "PUBLIC or OPTIONS whose symbol is null, empty, too long or has U+001F: the position is left out",
    ExceptionCode.ORPHAN_POSITION: "portfolio_id names no portfolio: the position belongs to nobody",
    ExceptionCode.DUPLICATE_ROW: "two rows of positions or portfolios have one id: only one is used",
    ExceptionCode.NO_BETA: "no beta on the day and too few returns to compute one inline: coverage is below 1",
    ExceptionCode.BAD_BETA: "a stored beta is NaN, infinite, beyond 10^6 or there twice: missing, and computed inline",
    ExceptionCode.BETA_CAPPED: "an inline beta beyond +-5 was capped",
    ExceptionCode.TOO_FEW_SYMBOLS: "fewer than 2 priced PUBLIC symbols: no correlation row",
    ExceptionCode.NO_PUBLIC_VALUE: "no PUBLIC position with a value: no factor exposures and no stress results",
    ExceptionCode.NOTHING_HELD: "the portfolio holds nothing on the day and sold nothing on it: no snapshot",
    ExceptionCode.VALUE_OVERFLOW: "a figure does not fit its column (10^18 USD and more): the portfolio has no row",
    ExceptionCode.COMPUTATION_FAILED: "the computation raised for this portfolio alone: the others are unharmed",
    ExceptionCode.FACTOR_LEFT_OUT: "a factor has no proxy or too few returns: left out, the others go on without it",
    ExceptionCode.BAD_FACTOR: "a factor definition cannot be used: unknown estimation, bad window, null or repeated id or name",
    ExceptionCode.SHOCK_UNMAPPED: "a scenario shocks a factor that has no exposure on the day",
    ExceptionCode.NO_PRICES: "not one close on the day: the day is skipped",
    ExceptionCode.LOW_PRICE_COVERAGE: "fewer of the held symbols have a close than REFRESH_MIN_PRICE_COVERAGE asks",
}

ACCOUNTS_FOR_PORTFOLIO = frozenset(
    {
        ExceptionCode.TOO_FEW_SYMBOLS,
        ExceptionCode.NO_PUBLIC_VALUE,
        ExceptionCode.NOTHING_HELD,
        ExceptionCode.VALUE_OVERFLOW,
        ExceptionCode.COMPUTATION_FAILED,
    }
)
"""Codes that say why a portfolio has no row in a table: with one of them it is accounted for."""

FAILURES = frozenset({ExceptionCode.COMPUTATION_FAILED, ExceptionCode.VALUE_OVERFLOW})
"""Codes that count as a failed portfolio (exit code 1, the failure alert)."""


GRANTS_MEND = "have an owner carry out what `refresh-assets grants --role ROLE` prints, with ROLE as in the URL"
"""What to do where the database says: permission denied."""


class RefreshError(Exception):
    """An error with a mend. `exit_code` is what the command line ends with."""

    exit_code = 1


class ShapeMismatch(RefreshError):
    """Two arrays that must fit together do not; the message names both with their shapes."""


@dataclass(eq=False)
class UsageError(RefreshError):
    """A call that cannot be carried out as asked: a wrong date, an unknown name, a bad setting or file."""

    what: str
    mend: str
    exit_code = 2

    def __str__(self) -> str:
        return f"{self.what}. Mend: {self.mend}."


class SettingsError(UsageError):
    """A setting, or a file that a setting names, has a value that cannot be used."""


class ScenarioFileError(UsageError):
    """The scenario file cannot be used; names file, scenario, field and mend."""


class DayRefused(UsageError):
    """A day that is no partition: a weekend, a holiday, a day before the start or after the effective trading date."""


class SchemaError(UsageError):
    """A table or column that is needed is missing, or a table of one of our names is not ours."""


class Blocked(RefreshError):
    """The symbol batch of a day is not complete."""

    exit_code = 3


class NoPrices(RefreshError):
    """Not one close on the day: it is skipped, named, and heals when closes come."""


class DatabaseUnreachable(RefreshError):
    """The database does not answer, refuses the user or does not exist; host and port are named, never the password."""

    exit_code = 4
