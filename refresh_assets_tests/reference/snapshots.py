"""Snapshots by hand: value, cost and P&L of each portfolio on one day (contract section 4).

Here: what a position is worth, what it made on the day leg by leg, the columns of `portfolio_snapshots`, the omissions.
Not here: which positions are held, and with what quantity (world.py)."""

from __future__ import annotations

import datetime as dt
import decimal
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import NamedTuple

from .world import (
    CLASSES,
    Closes,
    Row,
    World,
    closes_of,
    entered_on,
    has_bad_dates,
    held_on,
    is_bad_event,
    is_number,
    multiplier,
    option_expiry,
    portfolios_with_a_row,
    positions_of,
    previous_trading_day,
    quantity_as_of,
    sales_on,
)

CENT = Decimal("0.01")
EXACT = decimal.Context(prec=120, rounding=ROUND_HALF_EVEN)


class Valued(NamedTuple):
    """Value and cost of one position in USD (None: it has none), and the codes that say why not."""

    value: Decimal | None
    cost: Decimal | None
    codes: frozenset[str]


class Leg(NamedTuple):
    """What one leg made on the day in USD; None: left out, for the reason `code`."""

    amount: Fraction | None
    code: str | None = None


def structural_fault(position: Row) -> str | None:
    """The code of a fault that makes the position unusable on every day, or None."""
    if position["investment_class"] not in CLASSES:
        return "unknown_class"
    if position["investment_class"] != "PRIVATE" and not (position["symbol"] or "").strip():
        return "no_symbol"
    return None if is_number(position["quantity"]) else "bad_quantity"


def is_expired(position: Row, day: dt.date) -> bool:
    """An option whose own symbol says that it expired before the day."""
    expiry = option_expiry(position["symbol"]) if position["investment_class"] == "OPTIONS" else None
    return expiry is not None and expiry < day


def entry_price(position: Row) -> Decimal | None:
    """The entry price, or None where it is missing, no number, or below 0."""
    price: Decimal | None = position["entry_price"]
    return price if price is not None and is_number(price) and price >= 0 else None


def private_valuation(world: World, position: Row, day: dt.date) -> tuple[Decimal | None, bool]:
    """Latest dated valuation with as_of <= day, else the undated one; and whether it is the undated one."""
    own = [row for row in world.private_valuations if row["position_id"] == position["id"]]
    dated = [row for row in own if row["as_of"] <= day and is_number(row["market_value"])]
    if dated:
        return max(dated, key=lambda row: row["as_of"])["market_value"], False
    undated = position["market_value"]
    return (undated, True) if is_number(undated) else (None, False)


def valued(world: World, closes: Closes, position: Row, day: dt.date) -> Valued:
    """Value and cost of a position held on the day."""
    fault = structural_fault(position)
    quantity = quantity_as_of(world, position, day)
    if fault is not None or quantity is None:
        return Valued(None, None, frozenset({fault or "bad_quantity"}))
    if is_expired(position, day):
        return Valued(None, None, frozenset({"option_expired"}))
    codes = set()
    if position["investment_class"] == "PRIVATE":
        value, undated = private_valuation(world, position, day)
        if value is None:
            codes.add("no_valuation")
        if undated:
            codes.add("undated_valuation")
    else:
        close = closes.get((position["symbol"], day))
        value = None if close is None else quantity * close * multiplier(position)
        if value is None:
            codes.add("no_price")
    price = entry_price(position)
    if price is None:
        codes.add("no_entry_price" if position["entry_price"] is None else "bad_entry_price")
    cost = None if price is None else quantity * price * multiplier(position)
    return Valued(value, cost, frozenset(codes))


def legs(world: World, closes: Closes, position: Row, day: dt.date) -> list[Leg]:
    """The day's P&L of one position: one leg for what it still holds, one for each sale of the day.

    A leg ends at its value on D or its sale; it begins at its value on D', or at its cost if it was entered on D. Of a
    PRIVATE position each leg begins at its share (by quantity) of the valuation on D'."""
    if structural_fault(position) is not None:
        return []
    sales = sales_on(world, position, day)
    kept = quantity_as_of(world, position, day) if held_on(world, position, day) else Decimal(0)
    assert kept is not None
    before = kept + sum((sale.quantity for sale in sales), Decimal(0))
    found = []
    if kept != 0 and not is_expired(position, day):
        end = valued(world, closes, position, day).value
        code = "no_valuation" if position["investment_class"] == "PRIVATE" else "no_price"
        found.append(_leg(world, closes, position, day, (kept, before), end, code))
    for sale in sales:
        end = None
        if sale.price is not None and is_number(sale.price):
            end = sale.quantity * sale.price * multiplier(position)
        found.append(_leg(world, closes, position, day, (sale.quantity, before), end, "no_exit_price"))
    return found


def _leg(
    world: World,
    closes: Closes,
    position: Row,
    day: dt.date,
    part_of: tuple[Decimal, Decimal],
    end: Decimal | None,
    end_code: str,
) -> Leg:
    """A leg over `part_of` (its own quantity, that of the whole position before the day's sales)."""
    quantity, before = part_of
    previous = previous_trading_day(day, world.extra_closures)
    begin: Fraction | None = None
    if entered_on(world, position, day):
        price, begin_code = entry_price(position), "no_entry_price"
        if price is not None:
            begin = Fraction(quantity * price * multiplier(position))
    elif position["investment_class"] == "PRIVATE":
        worth, begin_code = private_valuation(world, position, previous)[0], "no_previous_price"
        if worth is not None:
            begin = Fraction(worth) * Fraction(quantity) / Fraction(before)
    else:
        close, begin_code = closes.get((position["symbol"], previous)), "no_previous_price"
        if close is not None:
            begin = Fraction(quantity * close * multiplier(position))
    if end is None:
        return Leg(None, end_code)
    return Leg(None, begin_code) if begin is None else Leg(Fraction(end) - begin)


def gross_exposure(world: World, closes: Closes, portfolio: Row, day: dt.date) -> Decimal:
    """Sum of |value| over the positions held on the day that have both a value and a cost."""
    total = Decimal(0)
    for position in positions_of(world, portfolio):
        if held_on(world, position, day):
            worth = valued(world, closes, position, day)
            if worth.value is not None and worth.cost is not None:
                total += abs(worth.value)
    return total


def to_cents(amount: Decimal) -> Decimal:
    """Rounded half-even to cents; never a negative zero."""
    rounded = amount.quantize(CENT, context=EXACT)
    return abs(rounded) if rounded == 0 else rounded


def snapshots(world: World, day: dt.date) -> list[Row]:
    """One row a portfolio that has one: the columns of `portfolio_snapshots`.

    Money is Decimal, each column rounded once from its own exact sum; pnl_percent and daily_return are floats."""
    closes = closes_of(world)
    with decimal.localcontext(EXACT):
        return [_snapshot(world, closes, portfolio, day) for portfolio in portfolios_with_a_row(world, day)]


def _snapshot(world: World, closes: Closes, portfolio: Row, day: dt.date) -> Row:
    positions = positions_of(world, portfolio)
    held = [position for position in positions if held_on(world, position, day)]
    all_valued = [valued(world, closes, position, day) for position in held]
    pairs = [(each.value, each.cost) for each in all_valued if each.value is not None and each.cost is not None]
    values = [value for value, _ in pairs]
    costs = [cost for _, cost in pairs]
    total_value, total_cost = sum(values, Decimal(0)), sum(costs, Decimal(0))
    long_value = sum((value for value in values if value > 0), Decimal(0))
    short_value = sum((value for value in values if value < 0), Decimal(0))
    absolute_cost = sum((abs(cost) for cost in costs), Decimal(0))
    all_legs = [leg for position in positions for leg in legs(world, closes, position, day)]
    daily_pnl = sum((leg.amount for leg in all_legs if leg.amount is not None), Fraction(0))
    gross_before = gross_exposure(world, closes, portfolio, previous_trading_day(day, world.extra_closures))
    return {
        "snapshot_date": day,
        "portfolio_id": portfolio["id"],
        "total_value": to_cents(total_value),
        "total_cost": to_cents(total_cost),
        "total_pnl": to_cents(total_value - total_cost),
        "pnl_percent": float(100 * (total_value - total_cost) / absolute_cost) if absolute_cost else None,
        "long_value": to_cents(long_value),
        "short_value": to_cents(short_value),
        "gross_exposure": to_cents(long_value - short_value),
        "net_exposure": to_cents(long_value + short_value),
        # round() of a Fraction is exact and half-even
        "daily_pnl": to_cents(Decimal(round(daily_pnl * 100)) / 100),
        "daily_return": float(daily_pnl / Fraction(gross_before)) if gross_before else None,
        "pnl_legs_missing": sum(leg.amount is None for leg in all_legs),
        "position_count": len(held),
        "positions_valued": len(pairs),
        "positions_unpriced": len(held) - len(pairs),
        "is_partial": len(pairs) < len(held),
    }


def omissions(world: World, day: dt.date) -> set[tuple[object, str]]:
    """(position id, code) of everything left out, or valued without a date, in the portfolios that have a row."""
    closes = closes_of(world)
    found: set[tuple[object, str]] = set()
    with decimal.localcontext(EXACT):
        for portfolio in portfolios_with_a_row(world, day):
            for position in positions_of(world, portfolio):
                found |= {(position["id"], code) for code in _codes(world, closes, position, day)}
    portfolio_ids = {portfolio["id"] for portfolio in world.portfolios}
    orphans = [position for position in world.positions if position["portfolio_id"] not in portfolio_ids]
    return found | {(position["id"], "orphan_position") for position in orphans if held_on(world, position, day)}


def _codes(world: World, closes: Closes, position: Row, day: dt.date) -> set[str]:
    codes = {leg.code for leg in legs(world, closes, position, day) if leg.code is not None}
    if held_on(world, position, day):
        codes |= valued(world, closes, position, day).codes
    if has_bad_dates(position):
        codes.add("bad_dates")
    own = [event for event in world.position_realized_events if event["position_id"] == position["id"]]
    if any(is_bad_event(event, position) for event in own):
        codes.add("bad_event")
    if "bad_entry_price" in codes:
        codes.discard("no_entry_price")
    return codes
