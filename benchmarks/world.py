"""A synthetic platform of any size, the same for the same seed.

Here: made-up closes, factors, betas, portfolios and positions, written by COPY into the platform's tables (spec
section 2), a chunk of portfolios at a time so that memory does not grow with their number. Not here: creating those
tables (refresh_assets/store/schema.py), real prices (refresh_assets/demo/), measuring (the other files here)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import holidays
import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg import sql

from refresh_assets.store.provision import DEFAULT_FACTORS, FACTOR_NAMESPACE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HISTORY_DAYS = 300  # trading days of closes: more than the 252 that the stress covariance wants
OPTION_DAYS = 120  # trading days that a listed option has closes for
CHUNK = 2_000  # portfolios written at a time: 40,000 positions, some 60 MB of text and arrays
MISSING_CLOSES = 0.003
SYMBOLS_WITHOUT_BETAS = 0.002
PRIVATE_SHARE, OPTIONS_SHARE = 0.03, 0.02
SHORT_SHARE, FRACTIONAL_SHARE, UNDATED_ENTRY_SHARE = 0.06, 0.08, 0.05
# Shares of PUBLIC positions: exited before, part sold after, all sold after, part sold on the day, entered on it.
FATES = (0.02, 0.01, 0.005, 0.004, 0.004)
PROXIES = ("SPY", "TLT", "VTV", "VUG", "MTUM", "QUAL", "IWM", "USMV")
PROXY_MARKET_LOADINGS = (1.0, -0.15, 0.85, 1.15, 1.05, 0.98, 1.1, 0.7)
SYMBOL_BATCH = """INSERT INTO batch_run_tracking (batch_type, target_date, status, started_at, completed_at) VALUES
    ('symbol_batch', %(day)s, 'completed', (%(day)s + time '21:00') AT TIME ZONE 'America/New_York',
    (%(day)s + time '21:20') AT TIME ZONE 'America/New_York')"""


@dataclass(frozen=True)
class Market:
    """Closes of T trading days; all money in USD.

    days: T dates, oldest first. symbols: S names, the proxies first. closes: (T, S), without holes, so that an entry
    always has a price. quoted: (T, S), false where the platform has no close. market_loading: (S,). options: O
    contracts. option_closes: (OPTION_DAYS, O). popularity: (S,) cumulative. after: the trading day after the last."""

    days: list[date]
    symbols: list[str]
    closes: Floats
    quoted: Bools
    market_loading: Floats
    options: list[str]
    option_closes: Floats
    popularity: Floats
    after: date


def build(
    connection: psycopg.Connection,
    portfolios: int,
    positions_each: int = 20,
    symbols: int = 5000,
    day: date = date(2026, 3, 13),
    seed: int = 7,
    beta_days: int = 1,
) -> None:
    """Fill the platform's (empty) tables with a seeded world that ends on `day`, then ANALYZE and commit.

    Args:
        connection: names are unqualified, so its search_path decides the schema. Factors that are there are kept.
        portfolios: how many, each holding `positions_each` positions: about 95 % PUBLIC, 3 % PRIVATE, 2 % OPTIONS.
        symbols: how many names have closes, the proxies among them; at least 100.
        day: the last trading day, the one that a night is measured on.
        seed: same arguments and numpy version, same world.
        beta_days: the last so many trading days have betas and a completed symbol batch; history grows along.

    Raises:
        ValueError: `day` is no trading day, or there are fewer than 100 symbols.
        psycopg.Error: a table is missing, or not empty.
    """
    if symbols < 100:
        raise ValueError(f"symbols is {symbols}, expected at least 100. Mend: ask for more.")
    market = _market(symbols, day, HISTORY_DAYS + beta_days - 1, np.random.default_rng([seed, 0]))
    with connection.cursor() as cursor:
        _write_closes(cursor, market)
        _write_betas(cursor, market, _factor_ids(cursor), beta_days, np.random.default_rng([seed, 1]))
        cursor.executemany(SYMBOL_BATCH, [{"day": done} for done in market.days[-beta_days:]])
        for first in range(0, portfolios, CHUNK):
            count = min(CHUNK, portfolios - first)
            _write_portfolios(cursor, market, first, count, positions_each, np.random.default_rng([seed, 2, first]))
        cursor.execute("ANALYZE")
    connection.commit()


def trading_days(last: date, count: int, ahead: int = 0) -> list[date]:
    """`count` NYSE trading days up to and with `last` and `ahead` after it. ValueError if `last` is none itself."""
    years = range(last.year - count // 250 - 1, last.year + 2)
    closed = np.array(sorted(holidays.financial_holidays("XNYS", years=years)), dtype="datetime64[D]")
    if not np.is_busday(np.datetime64(last), holidays=closed):
        raise ValueError(f"{last} is no NYSE trading day. Mend: give a weekday on which the exchange opens.")
    found: list[date] = np.busday_offset(np.datetime64(last), np.arange(1 - count, ahead + 1), holidays=closed).tolist()
    return found


def _market(symbols: int, day: date, n_days: int, rng: np.random.Generator) -> Market:
    """Geometric Brownian closes: one market factor, a style factor that each proxy carries, and noise of their own."""
    *days, after = trading_days(day, n_days, ahead=1)
    n_proxies = len(PROXIES)
    loading = np.concatenate([PROXY_MARKET_LOADINGS, rng.normal(1.0, 0.35, symbols - n_proxies)])
    styles = np.concatenate([np.eye(n_proxies), rng.normal(0.0, 0.35, (symbols - n_proxies, n_proxies))])
    noise = np.concatenate([np.full(n_proxies, 0.002), rng.lognormal(np.log(0.014), 0.35, symbols - n_proxies)])
    drawn = np.outer(rng.normal(0.0004, 0.010, n_days), loading) + rng.normal(0, 0.004, (n_days, n_proxies)) @ styles.T
    drawn += rng.standard_normal((n_days, symbols)) * noise
    start = np.clip(rng.lognormal(np.log(60.0), 0.8, symbols), 2.0, 2_000.0)
    closes = np.maximum(np.round(start * np.exp(np.cumsum(drawn, axis=0)), 4), 0.01)
    quoted = rng.random((n_days, symbols)) >= MISSING_CLOSES
    quoted[:, :n_proxies] = True
    names = [*PROXIES, *(_ticker(i) for i in range(symbols - n_proxies))]
    options, option_closes = _options(names, closes, day, rng)
    # A few names are in almost every book and most in few, as in life: weight 1 / (rank + 30).
    popularity = np.cumsum(1.0 / (np.arange(symbols) + 30.0))
    return Market(days, names, closes, quoted, loading, options, option_closes, popularity / popularity[-1], after)


def _ticker(index: int) -> str:
    """Five letters: no proxy has five, and an option's symbol has room for six."""
    return "".join(chr(65 + index // 26**power % 26) for power in (4, 3, 2, 1, 0))


def _options(names: list[str], closes: Floats, day: date, rng: np.random.Generator) -> tuple[list[str], Floats]:
    """Contracts near the money that expire on a Friday in three months, one for each 25 symbols; OCC symbols."""
    underlying = rng.choice(len(names), max(4, len(names) // 25), replace=False)
    spot = closes[-OPTION_DAYS:, underlying]
    strike = np.maximum(np.round(spot[-1] * rng.uniform(0.85, 1.15, len(underlying))), 1.0)
    is_call = rng.random(len(underlying)) < 0.6
    expiry = day + timedelta(days=90 + (4 - (day + timedelta(days=90)).weekday()) % 7)
    years = ((expiry - day).days + np.arange(OPTION_DAYS)[::-1, None] * 7 / 5) / 365
    # Bachelier's figure at the money (0.4 sigma sqrt(t)), fading with distance: the shape matters here, not the model.
    spread = 0.35 * spot * np.sqrt(years)
    time_value = 0.4 * spread * np.exp(-0.5 * ((spot - strike) / spread) ** 2)
    prices = np.maximum(np.where(is_call, spot - strike, strike - spot), 0.0) + time_value
    terms = zip(underlying.tolist(), np.where(is_call, "C", "P").tolist(), strike.tolist(), strict=True)
    symbols = [f"{names[u]}{expiry:%y%m%d}{right}{int(k * 1000):08d}" for u, right, k in terms]
    return symbols, np.maximum(np.round(prices, 4), 0.01)


def _copy(cursor: psycopg.Cursor, table: str, columns: Mapping[str, Iterable[str]]) -> None:
    r"""COPY columns of text into a table; a missing value is written \N."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    text = "\n".join(map("\t".join, zip(*columns.values(), strict=True)))
    with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)) as copy:
        if text:
            copy.write(text + "\n")


def _fixed(values: Floats, decimals: int) -> list[str]:
    return [f"{value:.{decimals}f}" for value in values.tolist()]


def _plain(values: Floats) -> list[str]:
    """As few digits as the number has: 100 stays 100, 12.345678 keeps its six decimals."""
    return [f"{value:.15g}" for value in values.tolist()]


def _where(mask: Bools, texts: Sequence[str]) -> list[str]:
    return [text if there else r"\N" for there, text in zip(mask.tolist(), texts, strict=True)]


def _uuids(count: int, rng: np.random.Generator) -> list[str]:
    """Random version 4 identifiers as 32 hex digits."""
    raw = rng.integers(0, 256, (count, 16), dtype=np.uint8)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = raw.tobytes().hex()
    return [digits[at : at + 32] for at in range(0, 32 * count, 32)]


def _write_closes(cursor: psycopg.Cursor, market: Market) -> None:
    """Day by day, as a platform's nights have written them: a symbol's closes lie far apart on disk."""
    first_option_day = len(market.days) - OPTION_DAYS
    for t, day in enumerate(market.days):
        rows = np.flatnonzero(market.quoted[t])
        symbols = [market.symbols[row] for row in rows]
        closes = _fixed(market.closes[t, rows], 4)
        if t >= first_option_day:
            symbols += market.options
            closes += _fixed(market.option_closes[t - first_option_day], 4)
        columns = {"symbol": symbols, "date": [day.isoformat()] * len(symbols), "close_price": closes}
        _copy(cursor, "market_data_cache", columns)


def _factor_ids(cursor: psycopg.Cursor) -> list[str]:
    """The active factors' identifiers in display order; the default twelve are inserted into an empty table."""
    counted = cursor.execute("SELECT count(*) FROM factor_definitions").fetchone()
    if not counted or counted[0] == 0:
        cursor.executemany(
            "INSERT INTO factor_definitions (id, name, factor_type, proxy, short_proxy, estimation, window_days,"
            " min_observations, display_order, is_active) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, true)",
            [
                (uuid.uuid5(FACTOR_NAMESPACE, str(factor[0])), *factor, i)
                for i, factor in enumerate(DEFAULT_FACTORS, start=1)
            ],
        )
    rows = cursor.execute("SELECT id FROM factor_definitions WHERE is_active ORDER BY display_order, id").fetchall()
    return [str(row[0]) for row in rows]


def _write_betas(
    cursor: psycopg.Cursor, market: Market, factor_ids: list[str], beta_days: int, rng: np.random.Generator
) -> None:
    """Betas near each symbol's true loadings, drifting a little from day to day; a few symbols have none at all."""
    n_symbols, n_factors = len(market.symbols), len(factor_ids)
    has_betas = rng.random(n_symbols) >= SYMBOLS_WITHOUT_BETAS
    has_betas[: len(PROXIES)] = True
    has_betas[-1] = False  # in a small world too the inline path has something to do
    symbols = np.array(market.symbols)[has_betas].repeat(n_factors).tolist()
    level = rng.normal(0.0, 0.35, (n_symbols, n_factors))
    level[:, 0] = market.market_loading
    n_rows = len(symbols)
    for day in market.days[-beta_days:]:
        level += rng.normal(0.0, 0.01, level.shape)
        columns = {
            "symbol": symbols,
            "factor_id": factor_ids * (n_rows // n_factors),
            "calculation_date": [day.isoformat()] * n_rows,
            "beta_value": _fixed(np.clip(level[has_betas], -5.0, 5.0).ravel(), 8),
            "r_squared": _fixed(rng.beta(2.0, 5.0, n_rows), 6),
            "observations": ["61"] * n_rows,
            "quality_flag": ["full_history"] * n_rows,
            "calculation_method": ["symbol_batch"] * n_rows,
        }
        _copy(cursor, "symbol_factor_exposures", columns)


def _write_portfolios(
    cursor: psycopg.Cursor, market: Market, first: int, count: int, positions_each: int, rng: np.random.Generator
) -> None:
    """One chunk: `count` portfolios numbered from `first`, and all that hangs on them."""
    ids, created = _uuids(count, rng), market.days[0] - timedelta(days=400)
    columns = {
        "id": ids,
        "name": [f"Portfolio {first + i:06d}" for i in range(count)],
        "user_id": _uuids(count, rng),
        "inception_date": _where(rng.random(count) < 0.5, [created.isoformat()] * count),
        "created_at": [f"{created} 15:00:00+00"] * count,
    }
    _copy(cursor, "portfolios", columns)
    owners = np.array(ids).repeat(positions_each)
    kind = rng.random(len(owners))
    private = kind < PRIVATE_SHARE
    options = ~private & (kind < PRIVATE_SHARE + OPTIONS_SHARE)
    _write_tradable(cursor, market, owners[~private].tolist(), options[~private], rng)
    _write_private(cursor, market, owners[private].tolist(), rng)


def _write_tradable(
    cursor: psycopg.Cursor, market: Market, owners: list[str], is_option: Bools, rng: np.random.Generator
) -> None:
    """PUBLIC and OPTIONS positions, most simply held, with the sales of those that are not."""
    count, last = len(owners), len(market.days) - 1
    row = np.searchsorted(market.popularity, rng.random(count))
    contract = rng.integers(0, len(market.options), count)
    # The fate's place in FATES; one beyond them is simply held. Options are.
    fate = np.searchsorted(np.cumsum(FATES), np.where(is_option, 1.0, rng.random(count)), side="right")
    exited_before, part_after, all_after, part_on_day, entered_on_day = (fate == i for i in range(len(FATES)))

    def price_at(t: Ints) -> Floats:
        listed = market.option_closes[np.maximum(t - (last + 1 - OPTION_DAYS), 0), contract]
        return np.where(is_option, listed, market.closes[t, row])

    entered = np.where(entered_on_day, last, rng.integers(np.where(is_option, last + 1 - OPTION_DAYS, 0), last - 1))
    sold_at = np.where(exited_before, rng.integers(np.minimum(entered + 1, last - 1), last), last)
    quantity = np.clip(np.round(rng.lognormal(np.log(200.0), 1.0, count)), 1.0, 50_000.0)
    quantity = np.where(is_option, np.ceil(quantity / 100.0), quantity)
    fractional = ~is_option & (rng.random(count) < FRACTIONAL_SHARE)
    quantity = np.where(fractional, np.round(quantity + rng.random(count), 6), quantity)
    quantity *= np.where(rng.random(count) < SHORT_SHARE, -1.0, 1.0)
    part = np.where(fractional, np.round(0.4 * quantity, 6), np.trunc(0.4 * quantity))
    sold = np.where(exited_before | all_after, quantity, np.where(part_after | part_on_day, part, 0.0))
    quantity = np.round(quantity - sold, 6)
    previous = price_at(np.full(count, last - 1))
    marked = (quantity != 0) & ~entered_on_day
    dated = entered_on_day | (rng.random(count) >= UNDATED_ENTRY_SHARE)
    ids, dates = _uuids(count, rng), [day.isoformat() for day in market.days]
    sold_on = np.array([*dates, market.after.isoformat()])[np.where(part_after | all_after, last + 1, sold_at)].tolist()
    sold_for = _fixed(price_at(sold_at), 4)
    columns = {
        "id": ids,
        "portfolio_id": owners,
        "symbol": np.where(is_option, np.array(market.options)[contract], np.array(market.symbols)[row]).tolist(),
        "investment_class": np.where(is_option, "OPTIONS", "PUBLIC").tolist(),
        "quantity": _plain(quantity),
        "entry_price": _fixed(np.maximum(price_at(entered) * rng.normal(1.0, 0.005, count), 0.01), 4),
        "entry_date": _where(dated, [dates[t] for t in entered.tolist()]),
        "exit_price": _where(exited_before | all_after, sold_for),
        "exit_date": _where(exited_before | all_after, sold_on),
        "market_value": _where(marked, _fixed(quantity * previous * np.where(is_option, 100.0, 1.0), 2)),
        "last_price": _where(marked, _fixed(previous, 4)),
        "last_price_date": _where(marked, [dates[-2]] * count),
    }
    _copy(cursor, "positions", columns)
    rows = np.flatnonzero(sold).tolist()
    events = {
        "id": _uuids(len(rows), rng),
        "position_id": [ids[i] for i in rows],
        "trade_date": [sold_on[i] for i in rows],
        "quantity_closed": _plain(sold[rows]),
        "price": [sold_for[i] for i in rows],
    }
    _copy(cursor, "position_realized_events", events)


def _write_private(cursor: psycopg.Cursor, market: Market, owners: list[str], rng: np.random.Generator) -> None:
    """PRIVATE positions: nine in ten with quarterly dated valuations, the rest undated or, rarely, without any."""
    count, day = len(owners), market.days[-1]
    ids, cost, kind = _uuids(count, rng), rng.lognormal(np.log(250_000.0), 0.7, count), rng.random(count)
    values = np.round(cost * np.cumprod(rng.normal(1.02, 0.05, (3, count)), axis=0), 2)
    columns = {
        "id": ids,
        "portfolio_id": owners,
        "investment_class": ["PRIVATE"] * count,
        "quantity": ["1"] * count,
        "entry_price": _fixed(cost, 2),
        "entry_date": [(day - timedelta(days=300)).isoformat()] * count,
        "market_value": _where(kind < 0.98, _fixed(values[-1], 2)),
    }
    _copy(cursor, "positions", columns)
    dated = np.flatnonzero(kind < 0.9).tolist()
    for age, value in zip((190, 100, 10), values, strict=True):
        valuations = {
            "position_id": [ids[i] for i in dated],
            "as_of": [(day - timedelta(days=age)).isoformat()] * len(dated),
            "market_value": _fixed(value[dated], 2),
        }
        _copy(cursor, "private_valuations", valuations)
