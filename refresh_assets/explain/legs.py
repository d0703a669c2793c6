"""The day's P&L of one portfolio, leg by leg (spec section 4).

Here: rows of what was kept, entered and sold since D', as exact decimals, with the gross exposure of D'. Not here: their sum
(core/daily_pnl.py), which they must add up to; positions and the other figures of a snapshot (snapshot.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from refresh_assets.core.book import OK, OPTION_MULTIPLIER, OPTIONS, PRIVATE, UNKNOWN_CLASS
from refresh_assets.core.valuation import closes_by_position, is_listed, usable
from refresh_assets.explain.answer import Column, Form, Row, Sheet, numbers, product, total
from refresh_assets.explain.evidence import Evidence

LEFT_OUT = "left out"


def legs_of(evidence: Evidence) -> list[dict[str, Any]]:
    """A row a leg, in the order of the positions, those that D' counts and D has no leg of among them."""
    return sorted([*_legs(evidence), *_gross_without_legs(evidence)], key=lambda leg: int(leg["row"]))


def _legs(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """The legs of the day's P&L (spec section 4): kept, entered and sold; one a PRIVATE position."""
    book, gross = evidence.book, _previous_gross(evidence)
    closes, has_close = closes_by_position(book, evidence.prices, book.day)
    before, had_close = closes_by_position(book, evidence.prices, book.previous)
    close, previous, quantity = numbers(closes), numbers(before), numbers(book.quantity)
    entry, by_row, listed = numbers(book.entry_price.exact), multipliers(evidence), is_listed(book)

    def leg(row: int, kind: str, size: Decimal, end: Decimal | None) -> dict[str, Any]:
        begun = bool(book.entered[row])
        known = book.entry_price.ok[row] if begun else had_close[row]
        start = (entry[row] if begun else previous[row]) if known and listed[row] else None
        whole = start is not None and end is not None and listed[row]
        gain = product(size, by_row[row], total([end, -start])) if whole and start is not None else None
        since = f"{'entered' if begun else 'kept'}" if kind == "held" else f"sold{', entered' if begun else ''}"
        return _leg(evidence, row, since, size, by_row[row], start, end, gain)

    for row in range(len(book.id)):
        if book.kind[row] in (PRIVATE, UNKNOWN_CLASS) or book.quantity_state[row] != OK:
            continue
        if book.held[row] and (book.held_before[row] or book.entered[row]) and book.expiry[row] >= book.day:
            found = leg(row, "held", quantity[row], close[row] if has_close[row] else None)
            yield {**found, "previous_gross": gross.pop(row, None)}
        for size, price in _sales_of(evidence, row):
            yield {**leg(row, "sold", size, price), "previous_gross": gross.pop(row, None)}
    for row in np.flatnonzero((book.kind == PRIVATE) & (book.quantity_state == OK)).tolist():
        found_leg = _private_leg(evidence, row, quantity[row], entry[row])
        if found_leg is not None:
            yield {**found_leg, "previous_gross": gross.pop(row, None)}


def _leg(
    evidence: Evidence,
    row: int,
    kind: str,
    quantity: Decimal | None,
    multiplier: int,
    start: Decimal | None,
    end: Decimal | None,
    pnl: Decimal | None,
) -> dict[str, Any]:
    return {
        "row": row,
        "symbol": evidence.label(row).symbol,
        "position": evidence.position(row),
        "leg": kind if pnl is not None or kind == NO_LEG else f"{kind}, {LEFT_OUT}",
        "quantity": quantity,
        "multiplier": multiplier,
        "from": start,
        "to": end,
        "pnl": pnl,
    }


NO_LEG = "none"


def _sales_of(evidence: Evidence, row: int) -> Iterator[tuple[Decimal, Decimal | None]]:
    """Quantity and price of what was sold of a position since D'."""
    sales = evidence.book.sales
    mine = np.flatnonzero(sales.position == row)
    sizes, prices = numbers(sales.quantity.take(mine)), numbers(sales.price.exact.take(mine))
    for place, size, price in zip(mine, sizes, prices, strict=True):
        yield size, price if sales.price.state[place] == OK else None


def _private_leg(evidence: Evidence, row: int, quantity: Decimal, entry: Decimal) -> dict[str, Any] | None:
    """Value on D and proceeds (`to`), less value on D' and cost of what was entered since (`from`)."""
    book, sales = evidence.book, list(_sales_of(evidence, row))
    held, before, entered = bool(book.held[row]), bool(book.held_before[row]), bool(book.entered[row])
    if not sales and not (held and (before or entered)):
        return None
    now, then = (numbers(one.exact.take(np.array([row])))[0] for one in (book.value, book.previous_value))
    end = None
    if all(price is not None for _, price in sales) and (book.value.ok[row] or not held):
        proceeds = [product(size, price) for size, price in sales if price is not None]
        end = total([now if held else None, *proceeds])
    start = None
    if (book.entry_price.ok[row] or not entered) and (book.previous_value.ok[row] or not before):
        bought = total([quantity, *(size for size, _ in sales)]) if entered else Decimal(0)
        start = total([then if before else None, product(bought, entry)])
    gain = total([end, start.copy_negate()]) if end is not None and start is not None else None
    kind = ("entered" if entered else "kept") if held else "sold"
    return _leg(evidence, row, f"private, {kind}", None, 1, start, end, gain)


def _previous_gross(evidence: Evidence) -> dict[int, Decimal]:
    """Row -> |value| on D' of each position that the gross exposure of D' counts."""
    book = evidence.book
    closes, has_close = closes_by_position(book, evidence.prices, book.previous)
    priced = is_listed(book) & has_close & (book.expiry >= book.previous)
    owned = (book.kind == PRIVATE) & book.previous_value.ok
    counted = book.held_before & usable(book) & (priced | owned)
    quantity, close, own = numbers(book.previous_quantity), numbers(closes), numbers(book.previous_value.exact)
    by_row = multipliers(evidence)
    return {
        row: (own[row] if book.kind[row] == PRIVATE else product(quantity[row], close[row], by_row[row])).copy_abs()
        for row in np.flatnonzero(counted).tolist()
    }


def _gross_without_legs(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Positions that the gross exposure of D' counts though D has no leg of them (deleted or expired since)."""
    with_leg = {leg["row"] for leg in _legs(evidence)}
    for row, gross in _previous_gross(evidence).items():
        if row not in with_leg:
            leg = _leg(evidence, row, NO_LEG, None, multipliers(evidence)[row], None, None, None)
            yield {**leg, "previous_gross": gross}


def leg_sheet(evidence: Evidence, legs: Sequence[Row], sums: Mapping[str, Decimal]) -> Sheet:
    columns = [
        Column("symbol", "symbol"),
        Column("leg", "leg"),
        Column("quantity", "quantity", Form.NUMBER),
        *multiplier_column(legs),
        Column("from", "from", Form.NUMBER),
        Column("to", "to", Form.NUMBER),
        Column("pnl", "P&L of the day", Form.MONEY),
        Column("previous_gross", f"gross {evidence.previous}", Form.MONEY),
    ]
    shown = [{key: value for key, value in leg.items() if key != "row"} for leg in legs]
    title = (
        f"P&L of {evidence.day} by leg, USD: from the close of {evidence.previous} or the entry price, to the close or the"
        " sale price"
    )
    return Sheet("legs", title, columns, shown, sums)


def multipliers(evidence: Evidence) -> list[int]:
    return [OPTION_MULTIPLIER if kind == OPTIONS else 1 for kind in evidence.book.kind]


def multiplier_column(rows: Sequence[Row]) -> list[Column]:
    """Only where something is not counted one by one."""
    return [Column("multiplier", "x", Form.COUNT)] if any(row["multiplier"] != 1 for row in rows) else []
