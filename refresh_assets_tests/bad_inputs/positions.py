"""Positions, their events and valuations, and portfolios, that cannot be right.

Here: what is wrong, and the exact words of its exception row after the name of the row. Not here: closes, betas, factors
(market.py)."""

from __future__ import annotations

from datetime import date

from refresh_assets_tests.bad_inputs.cases import BadRow
from refresh_assets_tests.worlds import BEFORE, DAY, Row, event, valuation

LONG = "".join(chr(33 + (place * place * 7 + place // 3) % 90) for place in range(10_000))
"""Ten thousand characters of no pattern: none that an index entry could hold."""
ABSURD = "1" + "0" * 30
HUGE = "1" + "0" * 400
PRIVATE: Row = {"investment_class": "PRIVATE", "symbol": None}
SOLD: Row = {"exit_date": DAY}

QUANTITY = "quantity is null, not finite or absurdly large. Mend: correct it in positions"
ENTRY = "entry_price is negative, not finite or absurdly large. Mend: correct it in positions"
CLASS = "investment_class is not PUBLIC, OPTIONS or PRIVATE. Mend: correct it in positions"
SYMBOL = "symbol is null, empty, of more than 200 characters or has a separator (U+001F) in it. Mend: correct it in positions"
NO_PRICE = "close_price is missing for the day. Mend: have the symbol batch load it"
SALE = "price of a sale of the day is missing or cannot be read. Mend: enter it with the sale"
EVENT = (
    "quantity_closed or trade_date of a realized event is null, not finite, absurdly large, of the position's other sign or"
    " before its entry. Mend: correct the event"
)
VALUE = "market_value of a valuation is not finite or absurdly large. Mend: correct the valuation"
NO_VALUE = "market_value is missing: no dated valuation, no undated one. Mend: add one"


def sale(price: object, day: object = DAY, quantity: object = 1) -> dict[str, tuple[Row, ...]]:
    """A realized event of the bad position."""
    return {"position_realized_events": ({**event(0, 0, None, quantity, price), "trade_date": day},)}


def valued(*values: tuple[object, object]) -> dict[str, tuple[Row, ...]]:
    """Dated valuations (as of, value) of the bad position."""
    return {"private_valuations": tuple({**valuation(0, DAY, value), "as_of": day} for day, value in values)}


def unpriced(what: str, symbol: str) -> BadRow:
    """A symbol that is none of the market's."""
    return BadRow(f"symbol: {what}", "no_price", NO_PRICE, {"symbol": symbol}, symbol=symbol, unpriced=1)


POSITIONS = [
    BadRow("quantity: 31 digits, short", "bad_quantity", QUANTITY, {"quantity": f"-{ABSURD}"}, unpriced=1),
    BadRow("quantity: 401 digits", "bad_quantity", QUANTITY, {"quantity": HUGE}, unpriced=1),
    BadRow("quantity: 10^36, which Arrow wraps", "bad_quantity", QUANTITY, {"quantity": "1" + "0" * 36}, unpriced=1),
    BadRow("entry price: -Infinity", "bad_entry_price", ENTRY, {"entry_price": "-Infinity"}, unpriced=1),
    BadRow("entry price: 401 digits", "bad_entry_price", ENTRY, {"entry_price": HUGE}, unpriced=1),
    BadRow("entry price: null, entered on the day", "no_entry_price", "entry_price is null. Mend: enter it in positions",
           {"entry_price": None, "entry_date": DAY}, unpriced=1),
    BadRow("entry price: NaN, entered on the day", "bad_entry_price", ENTRY, {"entry_price": "NaN", "entry_date": DAY},
           unpriced=1),
    BadRow("class: empty", "unknown_class", CLASS, {"investment_class": ""}, symbol=None, unpriced=1),
    BadRow("class: trailing blank", "unknown_class", CLASS, {"investment_class": "PUBLIC "}, symbol=None, unpriced=1),
    BadRow("class: 10,000 characters", "unknown_class", CLASS, {"investment_class": LONG}, symbol=None, unpriced=1),
    BadRow("class: singular", "unknown_class", CLASS, {"investment_class": "OPTION"}, symbol=None, unpriced=1),
    BadRow("symbol: 10,000 characters", "no_symbol", SYMBOL, {"symbol": LONG}, symbol=None, unpriced=1),
    BadRow("symbol: 201 characters", "no_symbol", SYMBOL, {"symbol": "S" * 201}, symbol=None, unpriced=1),
    BadRow("symbol: a separator in it", "no_symbol", SYMBOL, {"symbol": "AA\x1fPL"}, symbol=None, unpriced=1),
    unpriced("200 characters", "S" * 200),
    unpriced("quotes and a statement", """O'Neil"; drop table positions; --"""),
    unpriced("unicode", "Ünïcødé\N{EM DASH}\N{CJK UNIFIED IDEOGRAPH-682A}"),
    unpriced("two lines", "TWO\nLINES"),
    unpriced("a tab", "\t"),
    unpriced("trailing blank", "AAA "),
    unpriced("lower case", "aaa"),
    unpriced("a placeholder", "%s"),
    unpriced("braces", "{0}"),
    unpriced("a backslash", "\\N"),
    BadRow("option: month 13", "no_price", NO_PRICE, {"symbol": "AAA   261399C00100000", "investment_class": "OPTIONS"},
           symbol="AAA   261399C00100000", unpriced=1),
    BadRow("private: a symbol, no value", "no_valuation", NO_VALUE, {**PRIVATE, "symbol": "AAA"}, symbol=None, unpriced=1),
    BadRow("private: undated value Infinity", "bad_valuation", VALUE, {**PRIVATE, "market_value": "Infinity"},
           symbol=None, unpriced=1, besides=("no_valuation",)),
    BadRow("private: undated value of 401 digits", "bad_valuation", VALUE, {**PRIVATE, "market_value": HUGE},
           symbol=None, unpriced=1, besides=("no_valuation",)),
    BadRow("exit: on the day, without a price", "no_exit_price", SALE, SOLD),
    BadRow("exit: price NaN", "no_exit_price", SALE, {**SOLD, "exit_price": "NaN"}),
    BadRow("exit: price below 0", "no_exit_price", SALE, {**SOLD, "exit_price": -1}),
    BadRow("exit: price of 31 digits", "no_exit_price", SALE, {**SOLD, "exit_price": ABSURD}),
    BadRow("exit: entered on that day, no price", "no_exit_price", SALE, {**SOLD, "entry_date": DAY}),
]  # fmt: skip

HISTORY = [
    BadRow("event: price NaN", "no_exit_price", SALE, more=sale("NaN")),
    BadRow("event: price null", "no_exit_price", SALE, more=sale(None)),
    BadRow("event: price below 0", "no_exit_price", SALE, more=sale(-3)),
    BadRow("event: price of 401 digits", "no_exit_price", SALE, more=sale(HUGE)),
    BadRow("event: quantity -Infinity", "bad_event", EVENT, more=sale(60, quantity="-Infinity")),
    BadRow("event: quantity of 401 digits", "bad_event", EVENT, more=sale(60, quantity=HUGE)),
    BadRow("event: long, of a short", "bad_event", EVENT, {"quantity": -5}, more=sale(60)),
    BadRow("valuation: 31 digits", "bad_valuation", VALUE, PRIVATE, valued((BEFORE, 500), (DAY, ABSURD)), None),
    BadRow("valuation: Infinity", "bad_valuation", VALUE, PRIVATE, valued((BEFORE, 500), (DAY, "Infinity")), None),
    BadRow("valuation: dated infinity", "no_valuation", NO_VALUE, PRIVATE, valued(("infinity", 500)), None, 1),
    BadRow("valuation: no date", "no_valuation", NO_VALUE, PRIVATE, valued((None, 500)), None, 1),
    BadRow("valuation: tomorrow's", "no_valuation", NO_VALUE, PRIVATE, valued((date(2026, 3, 14), 500)), None, 1),
]

NO_DATE = "inception_date and created_at are null, so it never exists. Mend: enter one of them"
PORTFOLIO_TWICE = "its id stands there twice, only one row is used. Mend: make id unique in portfolios"
TWICE = "its id stands there twice, only one row is used. Mend: make id unique in positions"
NOBODY = "portfolio_id names no row of portfolios, so it belongs to nobody. Mend: correct portfolio_id"
