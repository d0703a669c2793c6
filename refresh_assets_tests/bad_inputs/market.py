"""Closes, betas and factor definitions that cannot be right.

Here: what is wrong, and the exact words of its exception row. Not here: positions (positions.py)."""

from __future__ import annotations

from dataclasses import dataclass

from refresh_assets_tests.bad_inputs.positions import HUGE, LONG
from refresh_assets_tests.worlds import BEFORE, DAY, Row, uid


@dataclass(frozen=True)
class BadClose:
    """A symbol of its own, with a bad close among those of the day before and the day."""

    what: str
    code: str
    words: str
    before: tuple[object, ...] = (5,)
    close: tuple[object, ...] = (6,)
    unpriced: int = 0


PRICE = "close_price is negative, not finite, absurdly large or there twice. Mend: correct it in market_data_cache"
PREVIOUS = "close_price is missing for the trading day before. Mend: have the symbol batch load it"

CLOSES = [
    BadClose("close: -Infinity", "bad_price", PRICE, close=("-Infinity",), unpriced=1),
    BadClose("close: 401 digits", "bad_price", PRICE, close=(HUGE,), unpriced=1),
    BadClose("close: three times", "bad_price", PRICE, close=(6, 6, 6), unpriced=1),
    BadClose("close: null and a number", "bad_price", PRICE, close=(None, 6), unpriced=1),
    BadClose("close before: NaN", "no_previous_price", PREVIOUS, before=("NaN",)),
    BadClose("close before: below 0", "no_previous_price", PREVIOUS, before=(-5,)),
    BadClose("close before: 401 digits", "no_previous_price", PREVIOUS, before=(HUGE,)),
    BadClose("close before: twice", "no_previous_price", PREVIOUS, before=(5, 7)),
]

BETA = (
    "symbol_factor_exposures row ({}, Market, 2026-03-13): beta_value is not finite, absurdly large or there twice, so it"
    " counts as missing. Mend: have the symbol batch write it again, then re-run the day."
)
BETAS: list[tuple[str, tuple[object, ...]]] = [
    ("beta: Infinity", ("Infinity",)),
    ("beta: -Infinity", ("-Infinity",)),
    ("beta: 401 digits", (HUGE,)),
    ("beta: ten million", (10**7,)),
    ("beta: twice", (1, 1)),
    ("beta: twice, one NaN", ("NaN", 1)),
]

GONE = "Mend: correct the row; until then there is no such factor."
UNUSED = "Mend: correct the row; until then only its stored betas are used."
SOUND: Row = {
    "factor_type": "style",
    "proxy": "SPY",
    "estimation": "single",
    "window_days": 90,
    "min_observations": 30,
    "display_order": 50,
    "is_active": True,
}
RANGES = "expected single or joint, from 1 to 3660, above 1."
FACTORS: list[tuple[str, Row, str]] = [
    ("factor: no id", {"id": None, "name": "No id"}, f"factor_definitions row 'No id': id is null. {GONE}"),
    ("factor: no name", {"name": None}, f"factor_definitions row None: name is null. {GONE}"),
    (
        "factor: an id twice",
        {"id": uid("user", 71), "name": "Second"},
        f"factor_definitions row 'Second': its id stands there twice, only the first row is used. {GONE}",
    ),
    (
        "factor: a name twice",
        {"name": "Market"},
        f"factor_definitions row 'Market': its name stands there twice, only the first row is used. {GONE}",
    ),
    (
        "factor: a window of six million years",
        {"name": "Wide", "window_days": 2**31 - 1},
        f"factor_definitions row 'Wide': estimation 'single', window_days 2147483647, min_observations 30; {RANGES} {UNUSED}",
    ),
    (
        "factor: estimation in capitals",
        {"name": "Loud", "estimation": "JOINT"},
        f"factor_definitions row 'Loud': estimation 'JOINT', window_days 90, min_observations 30; {RANGES} {UNUSED}",
    ),
    (
        "factor: a minimum below 0",
        {"name": "Few", "min_observations": -1},
        f"factor_definitions row 'Few': estimation 'single', window_days 90, min_observations -1; {RANGES} {UNUSED}",
    ),
]
FIRST: Row = {**SOUND, "id": uid("user", 71), "name": "First"}
"""The sound factor whose id another one has as well."""

HARMLESS: list[tuple[str, tuple[Row, ...]]] = [
    ("a close of a Saturday", ({"symbol": "AAA", "date": "2026-03-07", "close_price": 5},)),
    (
        "closes dated infinity",
        tuple({"symbol": "AAA", "date": day, "close_price": 5} for day in ("infinity", "-infinity")),
    ),
    ("a close without a symbol", ({"symbol": None, "date": DAY, "close_price": 5},)),
    ("a close without a date", ({"symbol": "AAA", "date": None, "close_price": 5},)),
    ("a close of a symbol of 10,000 characters", ({"symbol": LONG, "date": BEFORE, "close_price": 5},)),
]
"""Rows of market_data_cache that concern nobody: no night reads them, and none stops for them."""
