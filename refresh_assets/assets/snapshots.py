"""Phase 3: one snapshot a portfolio and day.

Here: the asset. Not here: the figures (core/snapshots.py), the table (store/schema.py)."""

from datetime import date
from functools import partial
from typing import Any

import dagster as dg
import numpy as np

from refresh_assets.assets.analytic import Compute, Part, analytic, writes
from refresh_assets.assets.books import ValuedBook
from refresh_assets.assets.night import Night
from refresh_assets.assets.refresh import NIGHTLY, Refresh, in_turn
from refresh_assets.assets.upstream import market_data_cache, portfolios, positions
from refresh_assets.core.book import OK, Rows
from refresh_assets.core.omissions import Omission
from refresh_assets.core.snapshots import snapshots
from refresh_assets.core.valuation import is_listed
from refresh_assets.errors import ExceptionCode
from refresh_assets.store.dates import day_number
from refresh_assets.store.extras import add_marks, write_marks
from refresh_assets.store.tables import snapshot_rows
from refresh_assets.store.write import Written

NOW_AND_THE_DAY_BEFORE = dg.TimeWindowPartitionMapping(start_offset=-1, allow_nonexistent_upstream_partitions=True)


@dg.asset(
    deps=[dg.AssetDep(market_data_cache, partition_mapping=NOW_AND_THE_DAY_BEFORE), portfolios, positions],
    op_tags=in_turn("portfolio_snapshots"),
    **NIGHTLY,
)
def portfolio_snapshots(context: dg.AssetExecutionContext, refresh: Refresh) -> None:
    """Value, cost, P&L and exposure of every portfolio, USD, one row a portfolio and day.

    A position without a price is left out, counted and named in `refresh_exceptions`: its snapshot is partial. Re-run
    any day at any time: it replaces that day whole, and gives the same bytes."""
    refresh.write_days(context, partial(Night.written, asset="portfolio_snapshots"))


@analytic("portfolio_snapshots")
def compute_snapshots(night: Night, day: date) -> Compute:
    """Snapshots of a chunk; its note: how many are partial, and the codes of the symbols held."""
    number, prices = day_number(day), night.inputs.prices

    def compute(valued: ValuedBook) -> Part:
        book = valued.book
        result = snapshots(book, prices)
        codes = np.unique(book.symbol[book.held & is_listed(book)])
        note = int(result.is_partial.sum()), codes
        return Part(snapshot_rows(number, result), result.portfolio_id, result.omissions, note)

    return compute


@writes("portfolio_snapshots")
def write_snapshots(night: Night, day: date) -> Written:
    """Compute and write the snapshots of a day, and the closes that they used."""
    night.require_prices(day)
    partials, codes = 0, set[int]()
    symbols, closes = night.inputs.symbols, night.inputs.prices.exact[day_number(day)]

    def note(told: tuple[int, Rows]) -> None:
        nonlocal partials
        partials += told[0]
        codes.update(told[1].tolist())

    def marks(connection: Any) -> None:
        write_marks(connection, day, symbols, sorted(codes | night.proxy_codes()), closes)

    def more_marks(connection: Any) -> None:
        add_marks(connection, day, symbols, sorted(codes), closes)

    named = partial(low_coverage, night, day, codes)
    written = night.replace(day, "portfolio_snapshots", marks, named, more_marks, note)
    written.partial = partials
    return written


def low_coverage(night: Night, day: date, held: set[int]) -> list[Omission]:
    """A half-loaded day that a person asks for is computed all the same, and named."""
    closes = night.inputs.prices.exact[day_number(day)]
    priced = sum(1 for code in held if closes.state[code] == OK)
    if not held or priced >= night.min_price_coverage * len(held):
        return []
    detail = (
        f"{priced} of {len(held)} symbols held have a close on {day}, fewer than REFRESH_MIN_PRICE_COVERAGE"
        f" ({night.min_price_coverage:.0%}) asks. Mend: have the symbol batch load the rest, then re-run the day."
    )
    return [Omission(ExceptionCode.LOW_PRICE_COVERAGE, detail)]
