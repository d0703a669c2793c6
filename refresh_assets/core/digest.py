"""Digest of what a day is computed from: same digest and code version, same bytes.

Here: 128-bit sums of row hashes, by kind of input, so that "which inputs differ" has an answer. Not here: anything that we
write ourselves, anything dated after D (a Book holds neither), the hash of a day of all kinds (store/write.py).

Row hashes are added up, so the digest depends neither on the order of the rows nor on how portfolios were cut into
chunks, and the digest of portfolios that are added later is added to it. The mixer is splitmix64's finalizer (Steele,
Lea and Flood, OOPSLA 2014): it notices change, it does not resist an adversary."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from refresh_assets.core.book import PRIVATE, Book, Uuids
from refresh_assets.core.correlations import WINDOW_DAYS
from refresh_assets.core.market import Prices
from refresh_assets.core.money import Bools, Exact, Floats
from refresh_assets.core.valuation import is_listed

Hashes = npt.NDArray[np.uint64]
Sum = int
"""Of two 64-bit lanes: low + high * 2^64."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xD1B54A32D192ED03)


def mixed(hashes: Hashes) -> Hashes:
    """splitmix64's finalizer."""
    z = hashes >> np.uint64(30)
    z ^= hashes
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def row_hashes(columns: Iterable[npt.ArrayLike]) -> Hashes:
    """(N,) one hash a row, of columns of integers (or hashes) in their order."""
    total: Hashes | None = None
    with np.errstate(over="ignore"):
        for column in columns:
            bits = np.asarray(column).astype(np.int64, copy=False) if np.asarray(column).dtype != np.uint64 else column
            lane = np.asarray(bits).view(np.uint64)
            total = mixed(lane + _GOLDEN) if total is None else mixed((total ^ lane) + _GOLDEN)
    assert total is not None
    return total


def total(hashes: Hashes) -> Sum:
    """Two sums modulo 2^64, as one integer."""
    with np.errstate(over="ignore"):
        low = int(hashes.sum(dtype=np.uint64))
        high = int(mixed(hashes ^ _SECOND).sum(dtype=np.uint64))
    return low | high << 64


def added(left: Sum, right: Sum) -> Sum:
    mask = 2**64 - 1
    return ((left + right) & mask) | (((left >> 64) + (right >> 64)) & mask) << 64


def negated(sums: Sum) -> Sum:
    """What takes a sum off again when it is added."""
    mask = 2**64 - 1
    return (-sums & mask) | ((-(sums >> 64)) & mask) << 64


def as_hex(sums: Mapping[str, Sum]) -> dict[str, str]:
    """Sums as they are stored."""
    return {kind: f"{value:032x}" for kind, value in sums.items()}


def portfolio_hashes(ids: Uuids) -> Hashes:
    """(P,) one 64-bit hash an id: their sum says which portfolios a day accounts for."""
    return row_hashes(_halves(ids))


def text_hash(*parts: bytes) -> np.uint64:
    """64-bit hash of bytes."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return np.uint64(int.from_bytes(state.digest(), "little"))


def text_hashes(*parts: npt.NDArray[Any]) -> Hashes:
    """(N,) `text_hash` of each row's bytes; the parts are (N, W) arrays of any type."""
    framed: list[npt.NDArray[np.uint8]] = []
    for part in parts:
        size, width = len(part), part.shape[1] * part.itemsize
        length = np.frombuffer(width.to_bytes(8, "little"), dtype=np.uint8)
        whole = np.ascontiguousarray(part)
        framed += [np.broadcast_to(length, (size, 8)), whole.reshape(-1).view(np.uint8).reshape(size, width)]
    rows = np.concatenate(framed, axis=1)
    text, width = rows.reshape(-1).data, rows.shape[1]
    ends = range(width, len(text) + 1, width)
    found = b"".join([hashlib.blake2b(text[end - width : end], digest_size=8).digest() for end in ends])
    return np.frombuffer(found, dtype="<u8").astype(np.uint64)


def book_digest(book: Book, symbol_hash: Hashes) -> dict[str, Sum]:
    """Sums over the positions of a Book: what is held, and hand-entered values.

    Args:
        book: N positions as of D.
        symbol_hash: (S,) of the names of the run's symbols.
    """
    # Only a listed position's symbol is among the run's symbols on every run; another's would depend on the run's days.
    listed = is_listed(book)
    name = np.zeros(len(book.id), dtype=np.uint64)
    name[listed] = symbol_hash[book.symbol[listed]]
    bad = np.zeros(len(book.id), dtype=np.int64)
    bad[book.bad_events[book.bad_events >= 0]] += 1
    bad[book.bad_valuations[book.bad_valuations >= 0]] += 2
    owner = book.portfolio_id[book.portfolio]
    identity = row_hashes([*_halves(book.id), *_halves(owner)])
    held: list[npt.NDArray[Any]] = [
        identity,
        name,
        book.kind,
        book.quantity_state,
        *_exact(book.quantity),
        *_exact(book.previous_quantity),
        book.entry_price.state,
        *_exact(book.entry_price.exact),
        book.held * 8 + book.held_before * 4 + book.entered * 2 + book.wrong_dates,
        book.expiry < book.day,
        bad,
    ]
    sales = book.sales
    sold: list[npt.NDArray[Any]] = [
        identity[sales.position],
        *_exact(sales.quantity),
        sales.price.state,
        *_exact(sales.price.exact),
    ]
    private = np.flatnonzero(book.kind == PRIVATE)
    value, previous = book.value.take(private), book.previous_value.take(private)
    values: list[npt.NDArray[Any]] = [identity[private], value.state, *_exact(value.exact), book.undated[private]]
    own = row_hashes([*values, previous.state, *_exact(previous.exact)])
    return {"positions": added(total(row_hashes(held)), total(row_hashes(sold))), "valuations": total(own)}


def prices_digest(book: Book, price_hash: Hashes, beta_hash: Hashes) -> dict[str, Sum]:
    """Sums over the listed positions of a Book of what is known of their symbols.

    Args:
        book: N positions.
        price_hash, beta_hash: (S,) of the closes and of the stored betas that D may use.
    """
    rows = np.flatnonzero(is_listed(book))
    owner = row_hashes([*_halves(book.portfolio_id[book.portfolio[rows]])])
    symbol = book.symbol[rows]
    return {
        "prices": total(row_hashes([owner, price_hash[symbol]])),
        "betas": total(row_hashes([owner, beta_hash[symbol]])),
    }


def price_hashes(
    prices: Prices, day: int, previous: int, first: npt.NDArray[np.int32], needed: Iterable[int]
) -> Hashes:
    """(S,) hash of the closes that D uses of each needed symbol: exact on D and D', and those since `first`.

    Args:
        first: (S,) first day of each symbol's window; the close of the trading day before it counts too.
        needed: symbol codes; others are 0.
    """
    hashes = np.zeros(len(prices.symbols), dtype=np.uint64)
    wanted = np.zeros(len(hashes), dtype=bool)
    wanted[list(needed)] = True
    end = prices.row(day) + 1
    begin = np.maximum(np.searchsorted(prices.days, first) - 1, 0)
    exact = [column for known in (previous, day) for column in _closes(prices, known)]
    fine = row_hashes(exact) if exact else hashes
    for row in np.unique(begin[wanted]).tolist():
        codes = np.flatnonzero(wanted & (begin == row))
        hashes[codes] = text_hashes(prices.close[row:end, codes].T, fine[codes, None])
    return hashes


def symbol_hashes(
    prices: Prices, stored: Floats, fitted: Bools, longest: int, day: int, previous: int
) -> tuple[Hashes, Hashes]:
    """(S,) hashes of the closes that D uses of each symbol, and (S,) of its stored betas.

    Args:
        prices: over all windows of D, exact on D and D'.
        stored: (S, F) betas that the symbol batch stored for D, NaN where there is none.
        fitted: (S,) whose betas are computed where they are missing: PUBLIC symbols.
        longest: calendar days of the longest window of betas: what a fit looks back to."""
    first = np.full(len(stored), day - WINDOW_DAYS, dtype=np.int32)
    first[fitted & np.isnan(stored).any(axis=1)] = day - max(longest, WINDOW_DAYS)
    closes = price_hashes(prices, day, previous, first, range(len(stored)))
    return closes, beta_hashes(stored)


def beta_hashes(stored: Floats) -> Hashes:
    """(S,) one hash a symbol of its (S, F) betas."""
    return text_hashes(stored)


def _closes(prices: Prices, day: int) -> list[npt.NDArray[np.int64]]:
    closes = prices.exact.get(day)
    return [] if closes is None else [closes.state.astype(np.int64), *_exact(closes.exact)]


def _exact(numbers: Exact) -> list[npt.NDArray[np.int64]]:
    limbs, scales = numbers.canonical()
    return [*limbs, scales]


def _halves(ids: Uuids) -> list[Hashes]:
    words = np.ascontiguousarray(ids).view(np.uint64).reshape(-1, 2)
    return [words[:, 0], words[:, 1]]
