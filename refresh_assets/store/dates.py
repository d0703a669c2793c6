"""Dates of the platform's rows: as numbers, and as SQL that brings them into the range that Arrow can hold.

Here: day numbers, when a position or portfolio begins and ends, and which rows concern a run's days. Not here: queries
(read.py, coverage.py, expected.py), the trading calendar (calendar.py)."""

from __future__ import annotations

from datetime import date, timedelta

from refresh_assets.store.database import value

EPOCH = date(1970, 1, 1)

# A null date is "always" or "never"; PostgreSQL's infinities are brought into the range that Arrow can hold.
ENTRY = "least(greatest(entry_date, date '1900-01-01'), date '9999-12-31')"
EXIT = "least(greatest(coalesce(exit_date, date '9999-12-31'), date '1900-01-01'), date '9999-12-31')"
DELETED = (
    "least(greatest(coalesce((deleted_at at time zone 'America/New_York')::date, date '9999-12-31'),"
    " date '1900-01-01'), date '9999-12-31')"
)
# The first day on which portfolio f exists: its inception, else its creation; an onboarded one has the close before too.
STARTS = (
    "least(greatest(least(coalesce(f.inception_date, (f.created_at at time zone 'America/New_York')::date,"
    " date '9999-12-31'), coalesce((select first_day from refresh_first_days g where g.portfolio_id = f.id),"
    " date '9999-12-31')), date '1900-01-01'), date '9999-12-31')"
)
# What any day from `first` on, or the trading day before it, may hold; a row of wrong dates is read to be named.
# As subqueries the two days are worked out once a query, not once a row: half of the scan's time.
PREVIOUS, LAST = f"(select {value('previous', 'date')})", f"(select {value('last', 'date')})"
CONCERNED = f"""(exit_date is null or exit_date > {PREVIOUS} or exit_date < entry_date)
    and (entry_date is null or entry_date <= {LAST})
    and (deleted_at is null or (deleted_at at time zone 'America/New_York')::date > {PREVIOUS})"""

# One row of a day that was loaded empty is no close.
HAS_CLOSES = "exists (select from market_data_cache m where m.date = {day} and m.close_price is not null)"


def day_number(day: date) -> int:
    return (day - EPOCH).days


def day_of(number: int) -> date:
    return EPOCH + timedelta(days=int(number))
