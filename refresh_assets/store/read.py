"""Platform rows as the arrays of core/: portfolios, positions, closes, betas, factors.

Here: one query each, in columns, from one Snapshot. Not here: what holds on a day (core/book.py), what is due (days.py),
the connection (database.py).

A symbol is a code: its place in the run's sorted list of symbols."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from datetime import date, timedelta
from uuid import UUID

import numpy as np
import pyarrow as pa

from refresh_assets.core.book import (
    BAD,
    MISSING,
    NEVER,
    OPTIONS,
    PRIVATE,
    PUBLIC,
    UNKNOWN_CLASS,
    Days,
    Decimals,
    Events,
    Ledger,
    Portfolios,
    Positions,
    Rows,
    Valuations,
)
from refresh_assets.core.market import Betas, Factor, Factors, Prices
from refresh_assets.core.money import Exact
from refresh_assets.core.omissions import Omission
from refresh_assets.errors import ExceptionCode
from refresh_assets.store.arrow import days as day_numbers
from refresh_assets.store.arrow import decimals, floats, index_in, uuid_column, uuids
from refresh_assets.store.database import Snapshot, value

EPOCH = date(1970, 1, 1)
OCC_SYMBOL = re.compile(r"[A-Z0-9./]{1,6} *(\d{2})(\d{2})(\d{2})[CP]\d{8}")
KINDS = {"PUBLIC": PUBLIC, "OPTIONS": OPTIONS, "PRIVATE": PRIVATE}

# A null date is "always" or "never"; PostgreSQL's infinities are brought into the range that Arrow can hold.
ENTRY = "least(greatest(entry_date, date '1900-01-01'), date '9999-12-31')"
EXIT = "least(greatest(coalesce(exit_date, date '9999-12-31'), date '1900-01-01'), date '9999-12-31')"
DELETED = (
    "least(greatest(coalesce((deleted_at at time zone 'America/New_York')::date, date '9999-12-31'),"
    " date '1900-01-01'), date '9999-12-31')"
)
# What any day from `first` on, or the trading day before it, may hold; a row of wrong dates is read to be named.
# As subqueries the two days are worked out once a query, not once a row: half of the scan's time.
PREVIOUS, LAST = f"(select {value('previous', 'date')})", f"(select {value('last', 'date')})"
CONCERNED = f"""(exit_date is null or exit_date > {PREVIOUS} or exit_date < entry_date)
    and (entry_date is null or entry_date <= {LAST})
    and (deleted_at is null or (deleted_at at time zone 'America/New_York')::date > {PREVIOUS})"""


# Few symbols are found by the index on (symbol, date), which an array makes the planner take; many by that on the date.
FEW, MANY = "= any(array(select jsonb_array_elements_text({0})))", "in (select jsonb_array_elements_text({0}))"


def day_number(day: date) -> int:
    return (day - EPOCH).days


def day_of(number: int) -> date:
    return EPOCH + timedelta(days=int(number))


def read_factors(snapshot: Snapshot) -> tuple[Factors, list[Omission]]:
    """The active factors in display order. One that cannot be used keeps its place, but no beta is made for it."""
    rows = snapshot.fetch(
        "select id, name, proxy, short_proxy, estimation, window_days, min_observations from factor_definitions"
        " where is_active order by display_order nulls last, name"
    ).to_pylist()
    factors, bad = [], []
    for row in rows:
        window, minimum = row["window_days"] or 0, row["min_observations"] or 0
        sound = row["estimation"] in ("single", "joint") and window > 0 and minimum > 1
        if not sound:
            bad.append(
                Omission(
                    ExceptionCode.BAD_FACTOR,
                    f"factor_definitions row {row['name']!r}: estimation {row['estimation']!r}, window_days {window},"
                    f" min_observations {minimum}; expected single or joint, above 0, above 1."
                    " Mend: correct the row; until then only its stored betas are used.",
                )
            )
        factors.append(
            Factor(
                id=row["id"].bytes,
                name=row["name"],
                proxy=row["proxy"] if sound else None,
                short_proxy=row["short_proxy"] or None,
                is_joint=row["estimation"] == "joint",
                window=window,
                minimum=minimum,
            )
        )
    return Factors(tuple(factors)), bad


def read_symbols(snapshot: Snapshot, proxies: Collection[str]) -> tuple[list[str], set[str]]:
    """Every symbol that a listed position of the run's days has, and the factors' proxies, sorted by code point.

    Then those among them that a PUBLIC position has: the ones that need betas."""
    held = snapshot.fetch(
        "select symbol, bool_or(investment_class = 'PUBLIC') as public from positions"
        f" where investment_class in ('PUBLIC', 'OPTIONS') and btrim(symbol) <> '' and {CONCERNED} group by symbol"
    )
    symbols = held["symbol"].to_pylist()
    public = {symbol for symbol, is_public in zip(symbols, held["public"].to_pylist(), strict=True) if is_public}
    return sorted({*symbols, *proxies}), public


def read_symbols_without_betas(
    snapshot: Snapshot, public: Collection[str], days: Sequence[date], factors: Factors
) -> set[str]:
    """Those of the `public` symbols that lack a stored beta to some active factor on some of the days."""
    if not len(factors):
        return set()
    snapshot.set(days=json.dumps([day.isoformat() for day in days]), wanted=len(days) * len(factors))
    complete = snapshot.fetch(
        f"""
        select symbol from symbol_factor_exposures
        where calculation_date in (select jsonb_array_elements_text({value("days", "jsonb")})::date)
        and factor_id in (select id from factor_definitions where is_active)
        and calculation_method is distinct from 'inline'
        and beta_value > '-Infinity' and beta_value < 'Infinity'
        group by symbol having count(*) >= (select {value("wanted", "int")})
        """
    )
    return set(public).difference(complete["symbol"].to_pylist())


def read_betas(snapshot: Snapshot, symbols: Sequence[str], factors: Factors, day: date) -> tuple[Betas, list[Omission]]:
    """Betas that the symbol batch stored for the day; ours of an earlier run ('inline') are not read, but made anew."""
    snapshot.set(day=day)
    rows = snapshot.fetch(
        f"""
        select symbol, factor_id, beta_value::float8 as beta from symbol_factor_exposures
        where calculation_date = {value("day", "date")} and calculation_method is distinct from 'inline'
        and factor_id in (select id from factor_definitions where is_active) and beta_value is not null
        """
    )
    beta = np.full((len(symbols), len(factors)), np.nan)
    ids = pa.array([factor.id for factor in factors], pa.binary(16))
    symbol, factor = index_in(rows["symbol"], pa.array(symbols, pa.string())), index_in(rows["factor_id"], ids)
    known = (symbol >= 0) & (factor >= 0)
    symbol, factor, values = symbol[known], factor[known], floats(rows["beta"])[known]
    bad = np.flatnonzero(~np.isfinite(values))
    beta[symbol, factor] = np.where(np.isfinite(values), values, np.nan)
    return Betas(beta), [_bad_beta(symbols[symbol[row]], factors.names[factor[row]], day) for row in bad]


def _bad_beta(symbol: str, factor: str, day: date) -> Omission:
    detail = (
        f"symbol_factor_exposures row ({symbol}, {factor}, {day}): beta_value is not finite, so it counts as missing."
        " Mend: have the symbol batch write it again, then re-run the day."
    )
    return Omission(ExceptionCode.BAD_BETA, detail, symbol=symbol)


def read_prices(
    snapshot: Snapshot, symbols: Sequence[str], days: Sequence[date], exact_from: date, window: date, long: set[str]
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
    snapshot.set(begin=days[0], window=window, exact=exact_from, last=days[-1])
    snapshot.set(symbols=json.dumps(list(symbols)), long=json.dumps(sorted(long)))
    close = np.full((len(days), len(symbols)), np.nan)
    seen = np.zeros(close.shape, dtype=np.int8)
    parts = (("symbols", "window", "<="), ("long", "begin", "<"))
    for chosen, begin, upto in parts:
        end = value("last", "date") if upto == "<=" else value("window", "date")
        member = FEW if chosen == "long" and len(long) * 10 < len(symbols) else MANY
        rows = snapshot.fetch(
            f"""
            select symbol, date, close_price::float8 as close from market_data_cache
            where date >= {value(begin, "date")} and date {upto} {end}
            and symbol {member.format(value(chosen, "jsonb"))} and close_price is not null
            """
        )
        row, code = _places(rows, numbers, known)
        values = floats(rows["close"])
        close[row, code] = np.where(np.isfinite(values) & (values >= 0), values, np.nan)[row >= 0]
        np.add.at(seen, (row, code), 1)
    close[seen > 1] = np.nan
    rows = snapshot.fetch(
        f"""
        select symbol, date, close_price from market_data_cache
        where date >= {value("exact", "date")} and date <= {value("last", "date")}
        and symbol in (select jsonb_array_elements_text({value("symbols", "jsonb")}))
        """
    )
    return Prices(numbers, symbols, close, _exact_closes(rows, numbers, known, day_number(exact_from)))


def _places(rows: pa.Table, numbers: Days, known: pa.Array) -> tuple[Rows, Rows]:
    """Row and column of each close in the matrix; closes of other days and symbols are dropped by both being -1."""
    day, code = day_numbers(rows["date"]), index_in(rows["symbol"], known)
    row = np.minimum(np.searchsorted(numbers, day), len(numbers) - 1)
    keep = (numbers[row] == day) & (code >= 0)
    return np.where(keep, row, -1), np.where(keep, code, -1)


def _exact_closes(rows: pa.Table, numbers: Days, known: pa.Array, first: int) -> dict[int, Decimals]:
    row, code = _places(rows, numbers, known)
    closes = decimals(rows["close_price"], negative_is_bad=True)
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


def read_portfolios(snapshot: Snapshot) -> Portfolios:
    """Every portfolio, in the order of its id."""
    rows = snapshot.fetch(
        f"""
        select id, least(greatest(coalesce(inception_date, (created_at at time zone 'America/New_York')::date,
            date '9999-12-31'), date '1900-01-01'), date '9999-12-31') as start, {DELETED} as deleted
        from portfolios where id is not null order by id
        """
    )
    ids = uuids(rows["id"])
    once = np.ones(len(ids), dtype=bool)
    once[1:] = ids[1:] != ids[:-1]
    return Portfolios(ids[once], day_numbers(rows["start"])[once], day_numbers(rows["deleted"])[once])


def read_ledger(
    snapshot: Snapshot,
    portfolios: Portfolios,
    bounds: tuple[UUID, UUID],
    symbols: Sequence[str],
    tables: Collection[str],
) -> tuple[Ledger, list[Omission]]:
    """All that the platform knows of the positions of a chunk of portfolios.

    Args:
        snapshot: with `previous` and `last` set: the trading day before the run's first day, and the run's last day.
        portfolios: of the chunk.
        bounds: lowest and highest portfolio_id to read; wider than the chunk, so that positions of nobody are found.
        symbols: the run's.
        tables: the platform's tables that are there (two of them are optional).

    Returns:
        the ledger, and the positions that belong to nobody or stand there twice.
    """
    snapshot.set(low=bounds[0], high=bounds[1])
    rows = snapshot.fetch(
        f"""
        select id, portfolio_id, symbol, investment_class, quantity, entry_price,
            case when exit_date <= {LAST} then exit_price end as exit_price,
            case when investment_class = 'PRIVATE' then market_value end as market_value,
            coalesce({ENTRY}, date '1900-01-01') as entry, {EXIT} as exit, {DELETED} as deleted
        from positions where portfolio_id between {value("low", "uuid")} and {value("high", "uuid")} and {CONCERNED}
        order by portfolio_id, id
        """
    )
    owner = index_in(rows["portfolio_id"], pa.array([bytes(one) for one in portfolios.id], pa.binary(16)))
    ids = uuids(rows["id"])
    again = np.zeros(len(ids), dtype=bool)
    again[1:] = ids[1:] == ids[:-1]
    omissions = [_orphan(one) for one in ids[owner < 0]] + [_duplicate(one) for one in ids[again & (owner >= 0)]]
    keep = np.flatnonzero((owner >= 0) & ~again)
    rows, owner = rows.take(pa.array(keep)), owner[keep]
    positions = _positions(rows, owner, symbols)
    return Ledger(
        portfolios, positions, _events(snapshot, positions, tables), _valuations(snapshot, positions, tables)
    ), omissions


def _positions(rows: pa.Table, owner: Rows, symbols: Sequence[str]) -> Positions:
    kind = np.full(len(owner), UNKNOWN_CLASS, dtype=np.int8)
    names = index_in(rows["investment_class"], pa.array(list(KINDS)))
    kind[names >= 0] = np.array(list(KINDS.values()), dtype=np.int8)[names[names >= 0]]
    symbol = index_in(rows["symbol"], pa.array(symbols, pa.string())).astype(np.int32)
    expiry = np.array([_expiry(name) for name in symbols], dtype=np.int32)
    expires = np.where(symbol >= 0, expiry[np.maximum(symbol, 0)] if len(symbols) else NEVER, NEVER)
    return Positions(
        id=uuids(rows["id"]),
        portfolio=owner,
        symbol=symbol,
        kind=kind,
        quantity=decimals(rows["quantity"]),
        entry_price=decimals(rows["entry_price"], negative_is_bad=True),
        entry=day_numbers(rows["entry"]),
        exit_price=decimals(rows["exit_price"], negative_is_bad=True),
        exit=day_numbers(rows["exit"]),
        deleted=day_numbers(rows["deleted"]),
        market_value=decimals(rows["market_value"]),
        expiry=np.where(kind == OPTIONS, expires, NEVER).astype(np.int32),
    )


def _expiry(symbol: str) -> int:
    """The day in an option's own symbol (OCC form), NEVER where there is none."""
    found = OCC_SYMBOL.fullmatch(symbol)
    if not found:
        return int(NEVER)
    try:
        return day_number(date(2000 + int(found[1]), int(found[2]), int(found[3])))
    except ValueError:
        return int(NEVER)


def _events(snapshot: Snapshot, positions: Positions, tables: Collection[str]) -> Events:
    """Realized events after D' of the run's first day: those before are in no quantity as of a day of the run."""
    source = "position_realized_events" if "position_realized_events" in tables else NO_EVENTS
    rows = snapshot.fetch(
        f"""
        select e.position_id, case when e.trade_date is not null then
                least(greatest(e.trade_date, date '1900-01-01'), date '9999-12-31') end as trade_date,
            e.quantity_closed, e.price
        from {source} e join positions p on p.id = e.position_id
        where p.portfolio_id between {value("low", "uuid")} and {value("high", "uuid")}
        and (e.trade_date is null or e.trade_date > {value("previous", "date")})
        order by e.position_id, e.trade_date, e.id
        """
    )
    position = index_in(rows["position_id"], _ids(positions))
    order = np.argsort(position, kind="stable")
    order = order[position[order] >= 0]
    rows, position = rows.take(pa.array(order)), position[order]
    quantity, day = decimals(rows["quantity_closed"]), day_numbers(rows["trade_date"].fill_null(EPOCH))
    sign = positions.quantity.exact.sign()[position]
    wrong = rows["trade_date"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
    wrong |= (sign != 0) & (quantity.exact.sign() == -sign)
    wrong |= day < positions.entry[position]
    # An event without a date concerns every day: it is named on each.
    day = np.where(rows["trade_date"].combine_chunks().is_null().to_numpy(zero_copy_only=False), NEVER, day)
    state = np.where(wrong, BAD, quantity.state).astype(np.int8)
    return Events(
        position, day.astype(np.int32), Decimals(quantity.exact.where(state == 0), state), decimals(rows["price"])
    )


NO_EVENTS = (
    "(select null::uuid as id, null::uuid as position_id, null::date as trade_date, null::numeric as quantity_closed,"
    " null::numeric as price limit 0)"
)


def _valuations(snapshot: Snapshot, positions: Positions, tables: Collection[str]) -> Valuations:
    """Dated valuations of PRIVATE positions: those of the run's days, and the last usable one before."""
    private = "private_valuations" in tables
    rows = snapshot.fetch(
        f"""
        select v.position_id, v.as_of, v.market_value
        from positions p join private_valuations v on v.position_id = p.id
        where p.portfolio_id between {value("low", "uuid")} and {value("high", "uuid")}
        and p.investment_class = 'PRIVATE' and v.as_of <= {value("last", "date")} and v.as_of >= coalesce((
            select max(u.as_of) from private_valuations u where u.position_id = p.id
            and u.as_of <= {value("previous", "date")} and u.market_value > '-Infinity' and u.market_value < 'Infinity'
        ), date '1900-01-01')
        order by v.position_id, v.as_of
        """
        if private
        else "select null::uuid as position_id, null::date as as_of, null::numeric as market_value limit 0"
    )
    position = index_in(rows["position_id"], _ids(positions))
    order = np.lexsort((day_numbers(rows["as_of"]), position))
    order = order[position[order] >= 0]
    rows = rows.take(pa.array(order))
    return Valuations(position[order], day_numbers(rows["as_of"]), decimals(rows["market_value"]))


def _ids(positions: Positions) -> pa.Array:
    return uuid_column(positions.id)


def read_ownerless(snapshot: Snapshot) -> list[Omission]:
    """Positions whose portfolio_id is null."""
    rows = snapshot.fetch(f"select id from positions where portfolio_id is null and {CONCERNED} order by id")
    return [_orphan(one) for one in uuids(rows["id"])]


def _orphan(position: np.void) -> Omission:
    one = position.tobytes()
    detail = (
        f"positions row {UUID(bytes=one)}: portfolio_id names no row of portfolios, so it belongs to nobody."
        " Mend: correct portfolio_id, then re-run the day."
    )
    return Omission(ExceptionCode.ORPHAN_POSITION, detail, position=one)


def _duplicate(position: np.void) -> Omission:
    one = position.tobytes()
    detail = (
        f"positions row {UUID(bytes=one)}: its id stands there twice, only the first row is used."
        " Mend: make id unique in positions, then re-run the day."
    )
    return Omission(ExceptionCode.DUPLICATE_ROW, detail, position=one)
