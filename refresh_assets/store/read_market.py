"""Market rows as the arrays of core/: factors, closes, betas.

Here: one query each, in columns, from one Snapshot. Not here: positions and the symbols that they hold (read.py), betas that
are computed (core/betas.py)."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from refresh_assets.core.book import BAD, MISSING, Days, Decimals, Rows
from refresh_assets.core.market import Betas, Factor, Factors, Prices
from refresh_assets.core.money import LARGEST, Exact
from refresh_assets.core.omissions import Omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store import packed
from refresh_assets.store.arrow import days as day_numbers
from refresh_assets.store.arrow import decimals, floats, index_in
from refresh_assets.store.database import Snapshot, value
from refresh_assets.store.dates import HAS_CLOSES, day_number
from refresh_assets.store.packed import Text, number
from refresh_assets.store.read import LONGEST_SYMBOL, SYMBOL

LONGEST_WINDOW = 3660  # calendar days of returns behind a beta: ten years
BETA_COLUMNS = {"symbol": Text(SYMBOL), "beta": number("beta_value")}
LARGEST_BETA = 10**6  # beyond it a stored beta is a mistake to be named; inline ones are capped at 5
SLICE_DAYS = 128
"""Days of closes that are read at once: those of a long range never stand in memory as text."""
AMONG = "and symbol::text in (select jsonb_array_elements_text({0}))"
NO_CLOSES = pa.table(
    {"symbol": pa.array([], pa.string()), "date": pa.array([], pa.date32()), "close": pa.array([], pa.string())}
)


def read_factors(snapshot: Snapshot) -> tuple[Factors, list[Omission]]:
    """The active factors in display order. One that cannot be used keeps its place, but no beta is made for it."""
    rows = snapshot.fetch(
        "select id, name::text as name, proxy::text as proxy, short_proxy::text as short_proxy,"
        " estimation::text as estimation, window_days, min_observations from factor_definitions"
        " where is_active order by display_order nulls last, name, id"
    ).to_pylist()
    factors: list[Factor] = []
    bad: list[Omission] = []
    for row in rows:
        unfit = _unfit_to_name(row, factors)
        if unfit:
            bad.append(Omission(ExceptionCode.BAD_FACTOR, f"factor_definitions row {row['name']!r}: {unfit}"))
            continue
        window, minimum = row["window_days"] or 0, row["min_observations"] or 0
        sound = row["estimation"] in ("single", "joint") and 0 < window <= LONGEST_WINDOW and minimum > 1
        if not sound:
            bad.append(
                Omission(
                    ExceptionCode.BAD_FACTOR,
                    f"factor_definitions row {row['name']!r}: estimation {row['estimation']!r}, window_days {window},"
                    f" min_observations {minimum}; expected single or joint, from 1 to {LONGEST_WINDOW}, above 1."
                    " Mend: correct the row; until then only its stored betas are used.",
                )
            )
        factors.append(
            Factor(
                id=row["id"].bytes,
                name=row["name"],
                proxy=_proxy(row["proxy"]) if sound else None,
                short_proxy=_proxy(row["short_proxy"]),
                is_joint=row["estimation"] == "joint",
                window=window if sound else 0,
                minimum=minimum,
            )
        )
    return Factors(tuple(factors)), bad


def _proxy(symbol: str | None) -> str | None:
    return symbol if symbol and len(symbol) <= LONGEST_SYMBOL else None


def _unfit_to_name(row: Mapping[str, object], factors: Sequence[Factor]) -> str:
    """Why a factor cannot even have a place among the others; empty where it can."""
    mend = "Mend: correct the row; until then there is no such factor."
    if row["id"] is None or row["name"] is None:
        return f"{'id' if row['id'] is None else 'name'} is null. {mend}"
    if any(row["id"].bytes == one.id for one in factors):  # type: ignore[attr-defined]
        return f"its id stands there twice, only the first row is used. {mend}"
    if any(row["name"] == one.name for one in factors):
        return f"its name stands there twice, only the first row is used. {mend}"
    return ""


def read_symbols_without_betas(
    snapshot: Snapshot, public: Collection[str], days: Sequence[date], factors: Factors
) -> set[str]:
    """Those of the `public` symbols that lack a stored beta to some active factor on some of the days."""
    if not len(factors):
        return set()
    snapshot.set(days=json.dumps([day.isoformat() for day in days]), wanted=len(days) * len(factors))
    complete = snapshot.fetch(
        f"""
        select symbol::text as symbol from symbol_factor_exposures
        where calculation_date in (select jsonb_array_elements_text({value("days", "jsonb")})::date)
        and factor_id in (select id from factor_definitions where is_active)
        and calculation_method is distinct from 'inline'
        and beta_value between -{LARGEST_BETA} and {LARGEST_BETA}
        group by symbol::text having count(*) >= (select {value("wanted", "int")})
        """
    )
    return set(public).difference(complete["symbol"].to_pylist())


def read_betas(snapshot: Snapshot, symbols: Sequence[str], factors: Factors, day: date) -> tuple[Betas, list[Omission]]:
    """Betas that the symbol batch stored for the day; ours of an earlier run ('inline') are not read, but made anew."""
    snapshot.set(day=day)
    rows = packed.fetch(
        snapshot,
        BETA_COLUMNS,
        f"""
        from symbol_factor_exposures
        where calculation_date = {value("day", "date")} and calculation_method is distinct from 'inline'
        and factor_id in (select id from factor_definitions where is_active) and beta_value is not null
        """,
        by={"factor_id": "factor_id"},
    )
    return _betas(rows, symbols, factors, day)


def read_betas_of_days(
    snapshot: Snapshot, symbols: Sequence[str], factors: Factors, days: Sequence[date]
) -> dict[date, Betas]:
    """The same of several days by one query, for who wants no word of those that cannot be used."""
    snapshot.set(days=json.dumps([day.isoformat() for day in days]))
    rows = packed.fetch(
        snapshot,
        BETA_COLUMNS,
        f"""
        from symbol_factor_exposures
        where calculation_date in (select jsonb_array_elements_text({value("days", "jsonb")})::date)
        and calculation_method is distinct from 'inline'
        and factor_id in (select id from factor_definitions where is_active) and beta_value is not null
        """,
        by={"day": "calculation_date", "factor_id": "factor_id"},
    )
    numbers = day_numbers(rows["day"])
    order = np.argsort(numbers, kind="stable")
    rows, numbers = rows.take(pa.array(order)), numbers[order]
    ends = {day: np.searchsorted(numbers, [day_number(day), day_number(day) + 1]) for day in days}
    return {day: _betas(rows.slice(begin, end - begin), symbols, factors, day)[0] for day, (begin, end) in ends.items()}


def _betas(rows: pa.Table, symbols: Sequence[str], factors: Factors, day: date) -> tuple[Betas, list[Omission]]:
    beta = np.full((len(symbols), len(factors)), np.nan)
    ids = pa.array([factor.id for factor in factors], pa.binary(16))
    symbol, factor = index_in(rows["symbol"], pa.array(symbols, pa.string())), index_in(rows["factor_id"], ids)
    known = (symbol >= 0) & (factor >= 0)
    symbol, factor, values = symbol[known], factor[known], floats(rows["beta"])[known]
    seen = np.zeros(beta.shape, dtype=np.int32)
    np.add.at(seen, (symbol, factor), 1)
    usable = (np.abs(values) <= LARGEST_BETA) & (seen[symbol, factor] == 1)
    beta[symbol, factor] = np.where(usable, values, np.nan)
    bad = np.unique(np.stack([symbol, factor], axis=1)[~usable], axis=0)
    return Betas(beta), [_bad_beta(symbols[row], factors.names[column], day) for row, column in bad]


def _bad_beta(symbol: str, factor: str, day: date) -> Omission:
    detail = (
        f"symbol_factor_exposures row ({symbol}, {factor}, {day}): beta_value is not finite, absurdly large or there"
        " twice, so it counts as missing. Mend: have the symbol batch write it again, then re-run the day."
    )
    return Omission(ExceptionCode.BAD_BETA, detail, symbol=symbol)


def read_days_with_closes(snapshot: Snapshot, days: Sequence[date]) -> set[date]:
    """Those of some days that have a close of any symbol."""
    snapshot.set(days=json.dumps([day.isoformat() for day in days]))
    rows = snapshot.fetch(
        f"select d from (select jsonb_array_elements_text({value('days', 'jsonb')})::date as d) as days"
        f" where {HAS_CLOSES.format(day='d')}"
    )
    return set(rows["d"].to_pylist())


def read_prices(
    snapshot: Snapshot,
    symbols: Sequence[str],
    days: Sequence[date],
    exact_from: date,
    window: date,
    long: set[str],
) -> Prices:
    """Closes of the run's symbols.

    Args:
        symbols: sorted.
        days: every trading day from the earliest that is needed to the last of the run.
        exact_from: closes from this day on are read as decimals too.
        window: symbols other than `long` are read from this day on only.
        long: those that need every day: factor proxies, and symbols whose betas are to be computed.
    """
    known, numbers = pa.array(symbols, pa.string()), np.array([day_number(day) for day in days], dtype=np.int32)
    # As they are: a database without an encoding has no characters for JSON's escapes.
    asked = {"symbols": list(symbols), "long": sorted(long)}
    snapshot.set(**{name: json.dumps(some, ensure_ascii=False) for name, some in asked.items()})
    listed = _listed(snapshot, window, days[-1])
    close = np.full((len(days), len(symbols)), np.nan)
    seen = np.zeros(close.shape, dtype=np.int8)
    exact: list[pa.Table] = []
    for chosen, member, some in (
        ("symbols", _member(len(symbols), listed), [day for day in days if day >= window]),
        ("long", _member(len(long), listed) or AMONG, [day for day in days if day < window] if long else []),
    ):
        for begin in range(0, len(some), SLICE_DAYS):
            rows = _closes(snapshot, chosen, member, some[begin : begin + SLICE_DAYS])
            row, code = _places(rows, numbers, known)
            exact.append(rows.filter(pa.array((row >= 0) & (numbers[row] >= day_number(exact_from)))))
            # A close of a Saturday, say, has no row; one that is null counts beside another on the exact days alone.
            keep = (row >= 0) & rows["close"].is_valid().to_numpy()
            row, code, values = row[keep], code[keep], floats(rows["close"])[keep]
            close[row, code] = np.where((values >= 0) & (values <= float(LARGEST)), values, np.nan)
            np.add.at(seen, (row, code), 1)
    close[seen > 1] = np.nan
    of_exact = pa.concat_tables(exact) if exact else NO_CLOSES
    return Prices(numbers, symbols, close, _exact_closes(of_exact, numbers, known, day_number(exact_from)))


def _listed(snapshot: Snapshot, first: date, last: date) -> int:
    """How many symbols have closes, by the first and the last day."""
    snapshot.set(first=first, until=last)
    days = f"{value('first', 'date')}, {value('until', 'date')}"
    rows = snapshot.fetch(f"select count(*) as closes from market_data_cache where date in ({days}) group by date")
    return max(rows["closes"].to_pylist(), default=0)


def _member(chosen: int, listed: int) -> str:
    """How so many symbols are found among those listed. A few by the index on (symbol, date), which an array makes the
    planner take. Others by the index on the date: where they are most, leaving the rest out takes longer than to read it."""
    if chosen * 10 < listed:
        return "and symbol::text = any(array(select jsonb_array_elements_text({0})))"
    return "" if chosen * 2 >= listed else AMONG


def _closes(snapshot: Snapshot, chosen: str, member: str, days: Sequence[date]) -> pa.Table:
    snapshot.set(first=days[0], until=days[-1])
    return packed.fetch(
        snapshot,
        {"symbol": Text(SYMBOL), "close": number("close_price")},
        f"""
        from market_data_cache where date >= {value("first", "date")} and date <= {value("until", "date")}
        {member.format(value(chosen, "jsonb"))}
        """,
        by={"date": "date"},
    )


def _places(rows: pa.Table, numbers: Days, known: pa.Array) -> tuple[Rows, Rows]:
    """Row and column of each close in the matrix; closes of other days and symbols are dropped by both being -1."""
    day, code = day_numbers(rows["date"]), index_in(rows["symbol"], known)
    row = np.minimum(np.searchsorted(numbers, day), len(numbers) - 1)
    keep = (numbers[row] == day) & (code >= 0)
    return np.where(keep, row, -1), np.where(keep, code, -1)


def _exact_closes(rows: pa.Table, numbers: Days, known: pa.Array, first: int) -> dict[int, Decimals]:
    row, code = _places(rows, numbers, known)
    closes = decimals(rows["close"], negative_is_bad=True)
    exact: dict[int, Decimals] = {}
    for place in np.flatnonzero(numbers >= first):
        chosen = np.flatnonzero(row == place)
        state = np.full(len(known), MISSING, dtype=np.int8)
        state[code[chosen]] = closes.state[chosen]
        state[np.bincount(code[chosen], minlength=len(known)) > 1] = BAD
        at = np.zeros(len(known), dtype=np.int64)
        at[code[chosen]] = chosen
        limbs = closes.exact.take(at) if closes.exact.size else Exact.zeros(len(known))
        exact[int(numbers[place])] = Decimals(limbs.where(state == 0), state)
    return exact
