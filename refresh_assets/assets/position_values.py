"""The platform's positions get the market values of the latest complete day.

Here: the asset. Not here: the update (store/extras.py)."""

from datetime import date
from functools import partial
from typing import Any

import dagster as dg

from refresh_assets.assets.analytic import writes
from refresh_assets.assets.correlations import correlation_calculations
from refresh_assets.assets.factor_exposures import factor_exposures
from refresh_assets.assets.night import Night
from refresh_assets.assets.refresh import NIGHTLY, Refresh
from refresh_assets.assets.snapshots import portfolio_snapshots
from refresh_assets.assets.stress import stress_test_results
from refresh_assets.store.extras import latest_complete_day, update_market_values
from refresh_assets.store.schema_names import POSITION_VALUES


@dg.asset(deps=[portfolio_snapshots, correlation_calculations, factor_exposures, stress_test_results], **NIGHTLY)
def position_market_values(context: dg.AssetExecutionContext, refresh: Refresh) -> None:
    """Market value, last price and its date of PUBLIC and OPTIONS positions, for the latest complete day only.

    Never moves a position back in time, never touches PRIVATE."""
    refresh.write_days(context, partial(Night.written, asset=POSITION_VALUES))


@writes(POSITION_VALUES)
def write_market_values(night: Night, day: date) -> dict[str, Any]:
    """Update the platform's positions where the day is the latest complete one.

    It is begun while the last table of the day is ended, and seen only where that made the day complete."""
    with night.database.connect() as connection:
        night.opened(day, POSITION_VALUES, connection)
        latest = latest_complete_day(connection)
        if latest is None or latest <= day:
            changed = update_market_values(connection, day)
            night.wait(day, POSITION_VALUES)
            latest = latest_complete_day(connection)
            if latest == day:
                return {"positions_updated": changed}
            connection.rollback()
        return {"positions_updated": 0, "why": f"the latest complete day is {latest or 'none yet'}"}
