"""A snapshot, position by position.

Here: rows of positions as exact decimals, the figures of portfolio_snapshots against the rows that make them. Not here: the
legs of the day's P&L (legs.py), the figures themselves (core/snapshots.py), which the rows must add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from refresh_assets.core.book import OK, PRIVATE
from refresh_assets.core.snapshots import Snapshots, snapshots
from refresh_assets.core.valuation import closes_by_position
from refresh_assets.explain.answer import (
    Column,
    Figure,
    Form,
    Row,
    Sheet,
    column_total,
    numbers,
    product,
    require_cents,
    total,
)
from refresh_assets.explain.evidence import Evidence
from refresh_assets.explain.legs import LEFT_OUT, leg_sheet, legs_of, multiplier_column, multipliers
from refresh_assets.store.dates import day_of

TABLE = "portfolio_snapshots"
MADE_OF = {
    "total_value": "sum of value",
    "total_cost": "sum of cost",
    "total_pnl": "sum of value less sum of cost",
    "long_value": "sum of values above 0",
    "short_value": "sum of values below 0",
    "gross_exposure": "long_value less short_value",
    "net_exposure": "long_value plus short_value",
    "daily_pnl": "sum of the legs",
}
COUNTS = {
    "position_count": "positions held on the day",
    "positions_valued": "those with a value and a cost",
    "positions_unpriced": "those left out",
    "pnl_legs_missing": "legs left out of daily_pnl",
}


def explain_snapshot(evidence: Evidence, stored: Mapping[str, Any]) -> tuple[list[Sheet], list[Figure]]:
    """Sheets `positions` and `legs`, and every figure of portfolio_snapshots against them.

    Raises RefreshError where the rows do not add up to the figures of core/: then nothing is shown."""
    result = snapshots(evidence.book, evidence.prices)
    positions = _positions(evidence, _reasons(result))
    legs = legs_of(evidence)
    sums = {key: column_total(positions, key) for key in ("value", "cost", "pnl")}
    leg_sums = {key: column_total(legs, key) for key in ("pnl", "previous_gross")}
    by_sign = {
        "long_value": total(row["value"] for row in positions if (row["value"] or 0) > 0),
        "short_value": total(row["value"] for row in positions if (row["value"] or 0) < 0),
    }
    exact = {
        "total_value": sums["value"],
        "total_cost": sums["cost"],
        "total_pnl": sums["pnl"],
        **by_sign,
        "gross_exposure": total([by_sign["long_value"], by_sign["short_value"].copy_negate()]),
        "net_exposure": total(by_sign.values()),
        "daily_pnl": leg_sums["pnl"],
    }
    cents = {name: _cents(result, name) for name in MADE_OF}
    for name, whole in exact.items():
        require_cents(name, whole, cents[name])
    cost = total(row["cost"].copy_abs() for row in positions if row["cost"] is not None)
    figures = [Figure(TABLE, name, cents[name], stored[name], Form.MONEY, MADE_OF[name]) for name in MADE_OF]
    figures += [
        Figure(TABLE, name, _one(part), stored[name], Form.RATIO, made_of)
        for name, part, made_of in (
            ("pnl_percent", result.pnl_percent, f"100 x total_pnl / {cost:,.2f}, the sum of |cost|"),
            (
                "daily_return",
                result.daily_return,
                f"daily_pnl / {leg_sums['previous_gross']:,.2f}, the gross exposure of {evidence.previous}",
            ),
        )
    ]
    figures += [
        Figure(TABLE, name, _count(result, name), int(stored[name]), Form.COUNT, words)
        for name, words in COUNTS.items()
    ]
    partial = bool(result.is_partial[0]) if len(result.is_partial) else None
    figures.append(
        Figure(TABLE, "is_partial", partial, stored["is_partial"], Form.TEXT, "whether a position is left out")
    )
    return [_position_sheet(evidence, positions, sums), leg_sheet(evidence, legs, leg_sums)], figures


def _reasons(result: Snapshots) -> dict[bytes, str]:
    """Position -> the codes under which it is named."""
    reasons: dict[bytes, list[str]] = {}
    for one in result.omissions:
        if one.position is not None:
            reasons.setdefault(one.position, []).append(one.code.value)
    return {position: ", ".join(dict.fromkeys(codes)) for position, codes in reasons.items()}


def _cents(result: Snapshots, name: str) -> Decimal | None:
    return Decimal(int(result.money[name][0])).scaleb(-2) if len(result.portfolio_id) else None


def _count(result: Snapshots, name: str) -> int | None:
    return int(result.counts[name][0]) if len(result.portfolio_id) else None


def _one(column: np.typing.NDArray[np.float64]) -> float | None:
    return float(column[0]) if len(column) and not np.isnan(column[0]) else None


def _positions(evidence: Evidence, reasons: Mapping[bytes, str]) -> list[dict[str, Any]]:
    """A row for each position held on D; without value and cost where it is left out of the sums."""
    book, valuation = evidence.book, evidence.valuation
    closes, has_close = closes_by_position(book, evidence.prices, book.day)
    close, quantity = numbers(closes), numbers(book.quantity)
    entry, own = numbers(book.entry_price.exact), numbers(book.value.exact)
    rows = []
    for row, multiplier in enumerate(multipliers(evidence)):
        if not book.held[row]:
            continue
        private, label = book.kind[row] == PRIVATE, evidence.label(row)
        value = cost = None
        if valuation.valued[row]:
            value = own[row] if private else product(quantity[row], close[row], multiplier)
            cost = product(quantity[row], entry[row], multiplier)
        code = reasons.get(book.id[row].tobytes(), "")
        known = book.quantity_state[row] == OK
        rows.append(
            {
                "symbol": label.symbol,
                "class": label.investment_class,
                "position": evidence.position(row),
                "quantity": quantity[row] if known else None,
                **_brought_back(evidence, row),
                "close": close[row] if has_close[row] and not private else None,
                "multiplier": multiplier,
                "value": value,
                "entry_price": entry[row] if book.entry_price.ok[row] else None,
                "cost": cost,
                "pnl": None if value is None or cost is None else total([value, cost.copy_negate()]),
                "valued_as_of": _valuation_day(evidence, row) if private else None,
                "code": code or None,
            }
        )
    for one in rows:
        one["note"] = _note(one)
    return rows


def _brought_back(evidence: Evidence, row: int) -> dict[str, Any]:
    """The quantity that the platform has now, and the later sales that make it the one of D."""
    ledger, book = evidence.ledger, evidence.book
    place = int(np.flatnonzero(ledger.positions.id == book.id[row])[0])
    events = ledger.events
    later = np.flatnonzero((events.position == place) & (events.day > book.day) & events.quantity.ok)
    sold = numbers(events.quantity.exact.take(later))
    now = numbers(ledger.positions.quantity.exact.take(np.array([place])))[0]
    return {
        "quantity_now": now if ledger.positions.quantity.state[place] == OK else None,
        "sold_since": [
            {"date": day_of(events.day[event]), "quantity": quantity}
            for event, quantity in zip(later, sold, strict=True)
        ],
    }


def _valuation_day(evidence: Evidence, row: int) -> Any:
    """The date of the valuation that a PRIVATE position is valued by; None for the undated one."""
    ledger, book = evidence.ledger, evidence.book
    if book.undated[row] or not book.value.ok[row]:
        return None
    dated = ledger.valuations
    place = np.flatnonzero(ledger.positions.id == book.id[row])[0]
    days = dated.as_of[(dated.position == place) & (dated.as_of <= book.day) & dated.value.ok]
    return day_of(days.max())


def _note(row: Mapping[str, Any]) -> str:
    words = []
    if row["value"] is None:
        words.append(f"{LEFT_OUT}: {row['code'] or 'no value'}")
    elif row["code"]:
        words.append(row["code"])
    if row["valued_as_of"]:
        words.append(f"valued as of {row['valued_as_of']}")
    if row["sold_since"]:
        sales = ", ".join(f"{sale['quantity']:+,f} sold {sale['date']}" for sale in row["sold_since"])
        words.append(f"now {row['quantity_now'] or 0:,f}, {sales}")
    return "; ".join(words)


def _position_sheet(evidence: Evidence, rows: Sequence[Row], sums: Mapping[str, Decimal]) -> Sheet:
    columns = [
        Column("symbol", "symbol"),
        Column("class", "class"),
        Column("quantity", "quantity", Form.NUMBER),
        Column("close", "close", Form.NUMBER),
        *multiplier_column(rows),
        Column("value", "value", Form.MONEY),
        Column("entry_price", "entry price", Form.NUMBER),
        Column("cost", "cost", Form.MONEY),
        Column("pnl", "P&L", Form.MONEY),
    ]
    if any(row["note"] for row in rows):
        columns.append(Column("note", "note"))
    return Sheet("positions", f"Positions of {evidence.day}, USD", columns, rows, sums)
