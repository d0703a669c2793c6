"""Which trading days a run is for, as its tags say it.

Here: writing those tags, and reading them. Not here: days as partitions (partitions.py), which runs there are
(automation/runs.py). Nothing of Dagster is imported: `run` and `status` ask before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from refresh_assets.calendar import TradingCalendar

SINGLE = "dagster/partition"
FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
NIGHTS = "nights"
"""For people: the days in one word, which a list of runs shows."""


def range_tags(days: Sequence[date]) -> dict[str, str]:
    """Tags that make a run cover a range of partitions, and say so to people."""
    first, last = days[0].isoformat(), days[-1].isoformat()
    return {FIRST: first, LAST: last, NIGHTS: first if first == last else f"{first}..{last}"}


def days_of(tags: Mapping[str, str], calendar: TradingCalendar) -> list[date]:
    """The trading days that a run covers: a range of partitions, or one; none where its tags name none."""
    first, last = tags.get(FIRST, tags.get(SINGLE)), tags.get(LAST, tags.get(SINGLE))
    if first is None or last is None:
        return []
    return calendar.days(date.fromisoformat(first), date.fromisoformat(last))
