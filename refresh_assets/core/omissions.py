"""What was left out, skipped or failed, as rows of refresh_exceptions in the making.

Here: one omission, and the words for each position that was left out: row, field, fault, mend. Not here: the codes
(errors.py), who is left out (valuation.py, daily_pnl.py), writing the rows (store/write.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refresh_assets.core.book import BAD, MISSING, OPTIONS, PRIVATE, PUBLIC, UNKNOWN_CLASS, Book, Rows
from refresh_assets.core.market import Prices
from refresh_assets.core.money import Bools
from refresh_assets.core.valuation import is_listed
from refresh_assets.errors import ExceptionCode as Code

if TYPE_CHECKING:
    from refresh_assets.core.daily_pnl import DailyPnl


@dataclass(frozen=True, slots=True)
class Omission:
    """One row of refresh_exceptions less day and asset. Ids are the 16 bytes of a uuid."""

    code: Code
    detail: str
    portfolio: bytes | None = None
    position: bytes | None = None
    symbol: str | None = None


FIELD_FAULT_MEND = {
    Code.UNKNOWN_CLASS: ("investment_class", "is not PUBLIC, OPTIONS or PRIVATE", "correct it in positions"),
    Code.BAD_QUANTITY: ("quantity", "is null, not finite or absurdly large", "correct it in positions"),
    Code.NO_SYMBOL: (
        "symbol",
        "is null, empty, of more than 200 characters or has a separator (U+001F) in it",
        "correct it in positions",
    ),
    Code.BAD_ENTRY_PRICE: ("entry_price", "is negative, not finite or absurdly large", "correct it in positions"),
    Code.OPTION_EXPIRED: ("symbol", "says that the option expired before the day", "close it in positions"),
    Code.BAD_PRICE: (
        "close_price",
        "is negative, not finite, absurdly large or there twice",
        "correct it in market_data_cache",
    ),
    Code.NO_PRICE: ("close_price", "is missing for the day", "have the symbol batch load it"),
    Code.NO_VALUATION: ("market_value", "is missing: no dated valuation, no undated one", "add one"),
    Code.NO_ENTRY_PRICE: ("entry_price", "is null", "enter it in positions"),
    Code.UNDATED_VALUATION: ("market_value", "has no date: an edit changes past days", "add it to private_valuations"),
    Code.BAD_DATES: ("exit_date", "lies before entry_date, so it is never held", "correct it in positions"),
    Code.BAD_EVENT: (
        "quantity_closed or trade_date",
        "of a realized event is null, not finite, absurdly large, of the position's other sign or before its entry",
        "correct the event",
    ),
    Code.BAD_VALUATION: ("market_value", "of a valuation is not finite or absurdly large", "correct the valuation"),
    Code.NO_PREVIOUS_PRICE: ("close_price", "is missing for the trading day before", "have the symbol batch load it"),
    Code.NO_EXIT_PRICE: ("price", "of a sale of the day is missing or cannot be read", "enter it with the sale"),
}
NO_PREVIOUS_VALUE = ("market_value", "is missing for the trading day before", "add a dated valuation")
"""What NO_PREVIOUS_PRICE means for a PRIVATE position."""


def position_omissions(book: Book, prices: Prices, unpriced: Bools) -> list[Omission]:
    """Why each unpriced position is unpriced (the first reason that applies), then what is only to be named."""
    closes = prices.exact[book.day].state
    code = np.maximum(book.symbol, 0)
    close = closes[code] if len(closes) else np.full(len(code), MISSING)
    listed = (book.kind == PUBLIC) | (book.kind == OPTIONS)
    reasons = [
        (Code.UNKNOWN_CLASS, book.kind == UNKNOWN_CLASS),
        (Code.BAD_QUANTITY, book.quantity_state != 0),
        (Code.NO_SYMBOL, listed & (book.symbol < 0)),
        (Code.BAD_ENTRY_PRICE, book.entry_price.state == BAD),
        (Code.OPTION_EXPIRED, book.expiry < book.day),
        (Code.BAD_PRICE, listed & (close == BAD)),
        (Code.NO_PRICE, listed & (close == MISSING)),
        (Code.NO_VALUATION, (book.kind == PRIVATE) & ~book.value.ok),
        (Code.NO_ENTRY_PRICE, book.entry_price.state == MISSING),
    ]
    left, found = unpriced.copy(), []
    for reason, applies in reasons:
        found += _named(book, prices, np.flatnonzero(left & applies), reason)
        left &= ~applies
    found += _named(book, prices, np.flatnonzero(book.held & book.undated), Code.UNDATED_VALUATION)
    found += _named(book, prices, np.flatnonzero(book.wrong_dates), Code.BAD_DATES)
    found += _named(book, prices, book.bad_events[book.bad_events >= 0], Code.BAD_EVENT)
    found += _named(book, prices, book.bad_valuations[book.bad_valuations >= 0], Code.BAD_VALUATION)
    return found


def leg_omissions(book: Book, prices: Prices, pnl: DailyPnl) -> list[Omission]:
    """The legs of the day's P&L that were left out, less those whose position is named already."""
    own = book.kind[pnl.no_reference] == PRIVATE
    bad_cost = book.entry_price.state[pnl.no_cost] == BAD
    return [
        *_named(book, prices, pnl.no_reference[~own], Code.NO_PREVIOUS_PRICE),
        *_named(book, prices, pnl.no_reference[own], Code.NO_PREVIOUS_PRICE, NO_PREVIOUS_VALUE),
        *_named(book, prices, pnl.no_sale_price, Code.NO_EXIT_PRICE),
        *_named(book, prices, pnl.no_cost[~bad_cost], Code.NO_ENTRY_PRICE),
        *_named(book, prices, pnl.no_cost[bad_cost], Code.BAD_ENTRY_PRICE),
    ]


def portfolio_omission(code: Code, portfolio: np.void | bytes, what: str) -> Omission:
    """An omission of a whole portfolio; `what` says the fault, and the mend where there is one."""
    owner = portfolio if isinstance(portfolio, bytes) else portfolio.tobytes()
    return Omission(code, f"portfolios row {uuid_text(owner)}: {what}", portfolio=owner)


def uuid_text(one: bytes) -> str:
    """As str(UUID) writes it, in a sixth of its time: a night names some thousands."""
    digits = one.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _named(
    book: Book,
    prices: Prices,
    rows: Rows,
    code: Code,
    words: tuple[str, str, str] | None = None,
) -> list[Omission]:
    subject, fault, mend = words or FIELD_FAULT_MEND[code]
    if not len(rows):
        return []
    # Only a listed position's symbol is one of the run's on every run: so the words do not depend on the run's days.
    symbols = np.where(is_listed(book)[rows], book.symbol[rows], -1).tolist()
    owners, positions = book.portfolio_id[book.portfolio[rows]].tolist(), book.id[rows].tolist()
    found = []
    for position, owner, number in zip(positions, owners, symbols, strict=True):
        symbol = prices.symbols[number] if number >= 0 else None
        about = f" ({symbol})" if symbol else ""
        detail = f"positions row {uuid_text(position)}{about}: {subject} {fault}. Mend: {mend}, then re-run the day."
        found.append(Omission(code, detail, portfolio=owner, position=position, symbol=symbol))
    return found
