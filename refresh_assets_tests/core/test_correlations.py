"""Promises of correlations: pandas' pairwise Pearson, the figures by hand, the same bytes in any batch.

Here: universe, pairs, figures. Not here: p values (test_agreement.py: the view has them), values (test_snapshots.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refresh_assets.core.correlations import BATCH_VALUES, Correlations, correlations
from refresh_assets.core.market import Prices
from refresh_assets.core.money import Floats
from refresh_assets.core.valuation import value_positions
from refresh_assets.errors import ExceptionCode
from refresh_assets_tests.core.builders import MONDAY, Lot, Owner, book, market, weekdays

SYMBOLS = [f"S{n:02}" for n in range(12)]


def panel(seed: int, days: int = 70, symbols: int = 6, gaps: float = 0.0) -> Floats:
    """(days, symbols) closes of correlated random walks, some missing; the last two days are complete."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(symbols, symbols))
    closes = 50 * np.exp(np.cumsum(0.01 * rng.normal(size=(days, symbols)) @ mix, axis=0))
    closes[:-2][rng.random((days - 2, symbols)) < gaps] = np.nan
    return closes


def run(lots: Sequence[Lot], prices: Prices, max_symbols: int = 100, owners: int = 0) -> Correlations:
    days = weekdays(2)
    found = book(lots, prices.symbols, days[1], days[0], [Owner()] * owners or None)
    return correlations(found, prices, value_positions(found, prices), max_symbols)


def one_each(number: int, quantities: Sequence[str] | None = None, portfolio: int = 0) -> list[Lot]:
    sizes = quantities or ["1"] * number
    return [Lot(SYMBOLS[n], quantity=sizes[n], portfolio=portfolio) for n in range(number)]


def window(closes: Floats) -> pd.DataFrame:
    """Log returns dated in [D - 90 days, D], as pandas makes them."""
    frame = pd.DataFrame(closes, index=weekdays(len(closes)))
    returns = np.log(frame).diff()
    return returns[[day >= MONDAY - timedelta(days=90) for day in returns.index]]


def matrix(found: Correlations, size: int, row: int = 0) -> Floats:
    """(size, size) of the pairs of a portfolio, NaN on the diagonal."""
    end = int(found.pair_ends[row])
    full = np.full((size, size), np.nan)
    full[np.triu_indices(size, 1)] = found.correlations[end - size * (size - 1) // 2 : end]
    return np.where(np.isnan(full), full.T, full)


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.3, 0.5]), st.integers(28, 90))
def test_pairs_equal_pandas_over_pairwise_complete_days(seed: int, gaps: float, days: int) -> None:
    """Any gaps, any length: pandas' .corr(min_periods=30), and its count of common days."""
    closes = panel(seed, days, gaps=gaps)
    found = run(one_each(6), market(closes, SYMBOLS[:6]))
    returns = window(closes)
    expected = returns.corr(min_periods=30).to_numpy(copy=True)
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(matrix(found, 6), expected, atol=2e-6)
    present = returns.notna().to_numpy().astype(int)
    assert found.data_points.tolist() == (present.T @ present)[np.triu_indices(6, 1)].tolist()


def test_a_textbook_pair() -> None:
    """Returns 1, 2, 3, ... against 2, 1, 4, 3, 6, 5, ...: rho = 1 - 6 sum d^2 / (n (n^2 - 1)), as for ranks."""
    number = 40
    first = np.arange(1.0, number + 1)
    second = first.reshape(-1, 2)[:, ::-1].ravel()
    returns = np.stack([first, second], axis=1) / 1000
    closes = 10 * np.exp(np.cumsum(np.vstack([[0, 0], returns]), axis=0))
    found = run(one_each(2), market(closes, SYMBOLS[:2]))
    assert found.correlations.tolist() == pytest.approx([1 - 6 * number / (number * (number**2 - 1))], abs=1e-6)
    assert found.data_points.tolist() == [number]


@pytest.mark.parametrize(("returns", "defined"), [(29, False), (30, True)])
def test_thirty_common_days_are_needed(returns: int, defined: bool) -> None:
    """29 leave the pair undefined, and its count stays."""
    found = run(one_each(2), market(panel(1, returns + 1, 2), SYMBOLS[:2]))
    assert np.isnan(found.correlations).tolist() == [not defined]
    assert found.data_points.tolist() == [returns]
    assert found.quality == ["sufficient" if defined else "insufficient"]


def test_the_window_is_ninety_calendar_days_and_its_first_return_may_look_one_close_back() -> None:
    """A wild close before that one changes nothing; that close itself does, and so does one return more."""
    days = weekdays(100)
    first = next(n for n, day in enumerate(days) if day >= MONDAY - timedelta(days=90))
    closes = panel(3, 100, 2)
    expected = window(closes).corr().iloc[0, 1]
    wild = closes.copy()
    wild[: first - 1] *= np.linspace(1, 9, first - 1)[:, None] ** [[1, -1]]
    found = run(one_each(2), market(wild, SYMBOLS[:2]))
    assert found.correlations.tolist() == pytest.approx([expected], abs=2e-6)
    assert found.data_points.tolist() == [100 - first]
    wild[first - 1] *= [3, 3]
    assert abs(run(one_each(2), market(wild, SYMBOLS[:2])).correlations[0] - expected) > 0.1


def test_a_missing_close_loses_both_returns_that_touch_it() -> None:
    """40 returns, one close missing in the middle: 38 common days."""
    closes = panel(4, 41, 2)
    closes[20, 1] = np.nan
    assert run(one_each(2), market(closes, SYMBOLS[:2])).data_points.tolist() == [38]


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_a_close_not_above_zero_is_a_missing_one(bad: float) -> None:
    """Its logarithm is none."""
    closes = panel(4, 41, 2)
    closes[20, 1] = bad
    assert run(one_each(2), market(closes, SYMBOLS[:2])).data_points.tolist() == [38]


@pytest.mark.parametrize("growth", [0.0, 0.001])
@pytest.mark.parametrize("gap", [False, True])
def test_a_constant_series_has_no_correlation(growth: float, gap: bool) -> None:
    """Flat, or the same return every day but for rounding: undefined, counted, and not taken for 1."""
    closes = panel(5, 60, 3)
    closes[:, 1] = 20 * (1 + growth) ** np.arange(60)
    if gap:
        closes[10, :] = np.nan
    found = run(one_each(3), market(closes, SYMBOLS[:3]))
    assert np.isnan(found.correlations).tolist() == [True, False, True]
    assert found.quality == ["limited"]
    assert found.overall.tolist() == pytest.approx([abs(float(found.correlations[1]))], abs=1e-6)


@given(st.integers(0, 2**32), st.permutations(range(5)))
def test_the_order_of_positions_does_not_matter(seed: int, order: list[int]) -> None:
    """Symbols come sorted, whatever the order in which lots were entered."""
    prices = market(panel(seed, symbols=5, gaps=0.1), SYMBOLS[:5])
    lots = one_each(5, ["3", "-1", "4", "1", "-5"])
    here, there = run(lots, prices), run([lots[n] for n in order], prices)
    assert here.symbols.tolist() == there.symbols.tolist() == [0, 1, 2, 3, 4]
    for name in ("correlations", "data_points", "overall", "weighted", "effective", "concentration"):
        assert getattr(here, name).tobytes() == getattr(there, name).tobytes()


@given(st.integers(0, 2**32), st.lists(st.floats(1e-3, 1e3), min_size=5, max_size=5))
def test_the_scale_of_prices_does_not_matter_to_pairs(seed: int, scales: list[float]) -> None:
    """A split of the whole history changes no correlation."""
    closes = panel(seed, symbols=5, gaps=0.1)
    here, there = (run(one_each(5), market(c, SYMBOLS[:5])) for c in (closes, closes * scales))
    np.testing.assert_allclose(here.correlations, there.correlations, atol=2e-6)


def test_figures_of_a_book_by_hand() -> None:
    """Four symbols, values 10, 20, 30, 40: mean, weighted mean, 1 / w'Rw and clusters from the definitions."""
    closes = panel(6, 70, 4)
    closes[:, 1] = 7 * closes[:, 0] ** 1.1  # the same log returns but for a factor: rho 1, one cluster
    closes[-1] = 1
    prices = market(closes, SYMBOLS[:4])
    found = run(one_each(4, ["10", "-20", "30", "40"]), prices)
    rho = window(closes).corr().to_numpy()
    pairs = np.triu_indices(4, 1)
    assert abs(rho[pairs]).max() == pytest.approx(rho[0, 1])
    w = np.array([0.1, 0.2, 0.3, 0.4])
    assert found.overall == pytest.approx(np.mean(np.abs(rho[pairs])))
    weights = w[pairs[0]] * w[pairs[1]]
    assert found.weighted == pytest.approx((weights * rho[pairs]).sum() / weights.sum())
    assert found.effective == pytest.approx(1 / (w @ rho @ w))
    clustered = [n for n in range(4) if any(abs(rho[n, m]) >= 0.7 for m in range(4) if m != n)]
    assert clustered[:2] == [0, 1]
    assert found.concentration == pytest.approx(w[clustered].sum())
    assert found.quality == ["sufficient"]


def test_an_undefined_pair_counts_in_no_mean_and_as_zero_in_the_effective_number() -> None:
    """Two related symbols and a new listing with 10 returns."""
    closes = panel(7, 70, 3)
    closes[:-10, 2] = np.nan
    closes[-1] = 1
    found = run(one_each(3), market(closes, SYMBOLS[:3]))
    rho = window(closes).corr().iloc[0, 1]
    assert np.isnan(found.correlations).tolist() == [False, True, True]
    assert found.defined_pairs.tolist() == [1]
    assert found.overall == pytest.approx(abs(rho))
    assert found.weighted == pytest.approx(rho)
    assert found.effective == pytest.approx(9 / (3 + 2 * rho))
    assert found.quality == ["limited"]


def test_an_inverse_pair_is_a_cluster_too() -> None:
    """|rho| counts: what moves against is as concentrated a bet as what moves along."""
    closes = panel(8, 70, 2)
    closes[:, 1] = 1 / closes[:, 0]
    closes[-1] = [1, 1]
    closes[-2] = [1, 1]
    found = run(one_each(2), market(closes, SYMBOLS[:2]))
    assert found.correlations.tolist() == pytest.approx([-1], abs=1e-6)
    assert found.concentration.tolist() == [1.0]
    assert np.isnan(found.effective).all()  # a perfect hedge by |v|: no number of positions
    assert found.weighted == pytest.approx(-1)


def test_lots_of_one_symbol_are_netted_and_counted_as_lots() -> None:
    """10 - 4 of S00 weigh 6; positions included are three lots."""
    closes = panel(9, 70, 2)
    closes[-1] = 1
    lots = [Lot("S00", "10"), Lot("S01", "2"), Lot("S00", "-4"), Lot("F", kind="PRIVATE", value="5")]
    found = run([*lots, Lot("S01", kind="OPTIONS")], market(closes, SYMBOLS[:2]))
    rho = window(closes).corr().iloc[0, 1]
    assert found.symbols.tolist() == [0, 1]
    assert found.effective == pytest.approx(1 / (0.75**2 + 0.25**2 + 2 * 0.75 * 0.25 * rho))
    assert (found.included.tolist(), found.excluded.tolist()) == ([3], [2])


def test_a_book_that_nets_to_nothing_keeps_its_pairs_and_has_no_weights() -> None:
    """Every symbol long and short alike: pairs are what they are, weighted figures are undefined."""
    lots = [Lot(symbol, size) for symbol in SYMBOLS[:2] for size in ("5", "-5")]
    found = run(lots, market(panel(9, 70, 2), SYMBOLS[:2]))
    assert np.isfinite(found.correlations).all()
    assert np.isfinite(found.overall).all()
    assert np.isnan([found.weighted[0], found.effective[0], found.concentration[0]]).all()


def test_the_largest_symbols_enter_and_the_others_are_counted_as_excluded() -> None:
    """At most 3: by |value|, a tie to the symbol that sorts first."""
    closes = panel(10, 70, 6)
    closes[-1] = 1
    lots = one_each(6, ["2", "-9", "2", "1", "8", "2"])
    found = run(lots, market(closes, SYMBOLS[:6]), max_symbols=3)
    assert found.symbols.tolist() == [0, 1, 4]
    assert (found.included.tolist(), found.excluded.tolist()) == ([3], [3])
    assert len(found.correlations) == 3


def test_a_symbol_without_a_close_on_the_day_is_not_in_the_universe() -> None:
    """It is excluded, however long its history."""
    closes = panel(11, 70, 3)
    closes[-1, 1] = np.nan
    found = run(one_each(3), market(closes, SYMBOLS[:3]))
    assert found.symbols.tolist() == [0, 2]
    assert (found.included.tolist(), found.excluded.tolist()) == ([2], [1])


def test_a_position_without_an_entry_price_still_carries_its_risk() -> None:
    """It has no cost, but it is priced on D."""
    found = run([Lot("S00", price=None), Lot("S01")], market(panel(11, 70, 2), SYMBOLS[:2]))
    assert found.symbols.tolist() == [0, 1]


@pytest.mark.parametrize(("lots", "number"), [(one_each(1), 1), ([Lot("F", kind="PRIVATE", value="5")], 0)])
def test_fewer_than_two_symbols_have_no_row_and_are_named(lots: list[Lot], number: int) -> None:
    """The portfolio beside it has its row."""
    both = [*lots, *one_each(2, portfolio=1)]
    found = run(both, market(panel(12, 70, 2), SYMBOLS[:2]), owners=2)
    assert [int.from_bytes(one.tobytes(), "big") for one in found.portfolio_id] == [1001]
    (omission,) = found.omissions
    assert omission.code is ExceptionCode.TOO_FEW_SYMBOLS
    assert str(number) in omission.detail


def rows_of(found: Correlations) -> list[tuple[bytes, ...]]:
    """Every column of each portfolio as bytes."""
    rows, at, symbol_at = list[tuple[bytes, ...]](), 0, 0
    for row in range(len(found.portfolio_id)):
        end, symbol_end = int(found.pair_ends[row]), int(found.symbol_ends[row])
        figures = [getattr(found, name)[row] for name in ("overall", "weighted", "effective", "concentration")]
        rows.append(
            (
                found.portfolio_id[row].tobytes(),
                found.symbols[symbol_at:symbol_end].tobytes(),
                found.correlations[at:end].tobytes(),
                found.data_points[at:end].tobytes(),
                np.array([*figures, found.included[row], found.excluded[row]]).tobytes(),
                found.quality[row].encode(),
            )
        )
        at, symbol_at = end, symbol_end
    return rows


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.15]), st.integers(2, 12))
def test_many_portfolios_at_once_have_the_same_bytes_as_one_by_one(seed: int, gaps: float, number: int) -> None:
    """Batches are cut by the number of symbols, so a neighbour changes no bit of a row."""
    rng = np.random.default_rng(seed)
    prices = market(panel(seed, symbols=12, gaps=gaps), SYMBOLS)
    lots = [
        Lot(SYMBOLS[code], str(rng.integers(1, 50)), portfolio=owner, id=owner * 100 + code)
        for owner in range(number)
        for code in rng.permutation(12)[: rng.integers(1, 12)].tolist()
    ]
    alone = []
    for owner in range(number):
        alone += rows_of(run([lot for lot in lots if lot.portfolio == owner], prices, owners=number))
    assert rows_of(run(lots, prices, owners=number)) == alone


def test_a_batch_that_is_cut_in_two_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of a batch is a matter of speed alone."""
    prices = market(panel(13, symbols=6, gaps=0.1), SYMBOLS[:6])
    lots = [lot for owner in range(9) for lot in one_each(6, portfolio=owner)]
    whole = rows_of(run(lots, prices, owners=9))
    monkeypatch.setattr("refresh_assets.core.correlations.BATCH_VALUES", BATCH_VALUES // 10**6)
    assert rows_of(run(lots, prices, owners=9)) == whole


def test_an_empty_book_gives_no_rows() -> None:
    """Nothing held by anyone: empty columns, no error."""
    found = run([Lot("S00", entry=date(2030, 1, 2))], market(panel(1, 40, 2), SYMBOLS[:2]))
    assert len(found.portfolio_id) == len(found.correlations) == len(found.symbols) == 0
