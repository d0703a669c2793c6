"""What the gate has to know, in a few queries.

Here: past days on which somebody is not accounted for, what the symbol batch says of them, closes of the symbols held,
symbols in onboarding, batches that completed since; and the one row that the gate writes: `aborted`. Not here: what follows
from it (automation/gate.py), runs in flight (Dagster knows them, not the tables), the words of `status` (days.py).

Whom a day should account for costs a scan of all positions. So what a look found is remembered (gate_memory.py), and holds
as long as PostgreSQL's own counters (counters.py) say that nobody wrote to the tables that it was read from: of each side for
itself, for every night writes to refresh_days, and the platform to positions at any time. Of positions only what was written
since is read (holdings.py).

One look reads positions once, and where they are many it leaves to the next one what needs more than that: the second half of
the owners where all have to be grouped, what follows from both halves, which symbols either half holds on the days that are
due, when those are held that nobody holds throughout them. The next look does that first and leaves alone what was written in
between, so that writes before each look hold nothing up: a day that is due is counted within three looks, several within four,
and what was written is seen some looks later. Meanwhile whom the days should account for is as remembered, or, before the
first answer, not known: then nothing is due."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

import numpy as np
import psycopg

from refresh_assets.calendar import TradingCalendar
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.store.agreement import Agreement, Sums
from refresh_assets.store.batches import COMPLETED, BatchRow, batch_rows
from refresh_assets.store.counters import states_of
from refresh_assets.store.coverage import closes_on
from refresh_assets.store.days import days_with_closes
from refresh_assets.store.expected import day_numbers, expected_portfolios, first_needed
from refresh_assets.store.gate_memory import ACCOUNTING, MOST_PENDING, STORED, joined, turn
from refresh_assets.store.gate_memory import Coverage as Coverage
from refresh_assets.store.gate_memory import Memory as Memory
from refresh_assets.store.holdings import HOLDING_TABLES, Holdings
from refresh_assets.store.schema_names import DAY_TABLES

STORED_TABLES = ("refresh_days",)
CLOSE_TABLES = ("market_data_cache",)


@dataclass(frozen=True)
class PendingDay:
    """A trading day, past its close, on which some portfolio is not accounted for in some table.

    Attributes:
        batch: what the symbol batch says of it; None: nothing at all.
        error: the batch's own words, where it failed.
        completed_at: when the batch completed.
        has_prices: whether there is one close at least.
        coverage: None where it was not looked at: the batch is not complete, or the next look counts.
    """

    day: date
    batch: str | None = None
    error: str | None = None
    completed_at: datetime | None = None
    has_prices: bool = True
    coverage: Coverage | None = None


@dataclass(frozen=True)
class FailedRuns:
    """Runs of a day that failed or were cancelled lately: how many, and when the last one ended. `succeeded`: they did not
    fail, and the day was due after them all the same."""

    count: int
    last: datetime
    succeeded: bool = False


@dataclass(frozen=True)
class GateFacts:
    """Everything that the gate decides from.

    Attributes:
        effective: the latest trading day whose close is past.
        pending: ascending, none later than `effective`.
        night: what our own row of batch_run_tracking says of the effective day; None: nothing.
        onboarding: symbols that are pending or processing.
        raised: (kind, day) of the alerts that were raised.
        in_flight: days that an unfinished run covers.
        failed_runs: by day.
        unread: whether what was written to positions since the last look is for the next one.
        unknown: whether half of that was read, and which days are pending is for the next look.
    """

    effective: date
    pending: tuple[PendingDay, ...] = ()
    night: str | None = None
    onboarding: tuple[str, ...] = ()
    raised: frozenset[tuple[str, date]] = frozenset()
    in_flight: frozenset[date] = frozenset()
    failed_runs: Mapping[date, FailedRuns] = field(default_factory=dict)
    unread: bool = False
    unknown: bool = False


def read_facts(
    connection: psycopg.Connection[Any],
    calendar: TradingCalendar,
    start: date,
    now: datetime,
    looked_at_once: int,
    in_flight: Collection[date] = (),
    failed_runs: Mapping[date, FailedRuns] | None = None,
    memory: Memory | None = None,
) -> tuple[GateFacts, Memory]:
    """The facts at an instant, and what to remember of them.

    Args:
        start: the first trading day that counts.
        looked_at_once: of so many days the coverage is read at most; the others wait for the next look.
        in_flight, failed_runs: from Dagster; days in flight are not looked at further.
        memory: what the last look gave back; this one may then leave something to the next. None: everything is looked at."""
    effective = calendar.effective_date(now)
    # The states are read first: what is written between them and the look is looked at once more, never missed.
    states = states_of(connection, (*HOLDING_TABLES, *STORED_TABLES, *CLOSE_TABLES))
    days = calendar.days(start, effective)
    holdings = Holdings(connection, states, first_needed(calendar, days or [effective]), now, anew=memory is None)
    at_once = memory is None or memory.uncounted
    memory, unknown = _accounted(connection, calendar, days, now, states, holdings, memory or Memory())
    flying = frozenset(in_flight)
    pending_days = () if unknown else memory.pending
    rows, night = batch_rows(connection, pending_days, effective)
    said = {day: rows.get(day, BatchRow()) for day in pending_days}
    open_days = [day for day in pending_days if day not in flying]
    priced = days_with_closes(connection, [day for day in open_days if said[day].status in (None, COMPLETED)])
    # The latest day is counted also where it has not one close: completed all the same, it is half-loaded, not skipped.
    counted = priced | {effective}
    wanted = [day for day in open_days if said[day].status == COMPLETED and day in counted]
    memory = _covered(connection, wanted, looked_at_once, at_once, now, states, holdings, memory)
    pending = tuple(
        PendingDay(day, one.status, one.error, one.completed_at, day in priced, memory.coverage.get(day))
        for day, one in said.items()
    )
    facts = GateFacts(
        effective=effective,
        pending=pending,
        night=night,
        onboarding=_onboarding(connection) if pending else (),
        raised=_raised(connection, pending_days),
        in_flight=flying,
        failed_runs=failed_runs or {},
        unread=memory.accounting != _holding_state(states, now),
        unknown=unknown,
    )
    return facts, memory


def _accounted(
    connection: psycopg.Connection[Any],
    calendar: TradingCalendar,
    days: Sequence[date],
    now: datetime,
    states: Mapping[str, str],
    holdings: Holdings,
    memory: Memory,
) -> tuple[Memory, bool]:
    """The memory, with the days that are pending now: as remembered, or looked at anew, on one side or on both; and whether
    they are not known before the next look."""
    asked = f"{CODE_VERSION} {days[0]}..{days[-1]} {len(days)}" if days else CODE_VERSION
    if memory.asked != asked:
        memory = replace(memory, asked=asked, accounting="", stored="", agreement=None)
    accounting = _holding_state(states, now)
    stored = joined(states, STORED_TABLES, turn(now, STORED))
    same_holdings = bool(accounting) and accounting == memory.accounting
    same_stored = bool(stored) and stored == memory.stored
    if same_holdings and same_stored:
        return memory, False
    known = memory.agreement
    left = (
        not same_holdings
        and known is not None
        and (memory.uncounted or _portfolios_first(accounting, holdings, memory))
    )
    uncompared = left and memory.uncompared
    if not same_holdings and not left:
        owned = holdings.owned(reading=not memory.uncompared)
        left = owned is None or holdings.halved
        uncompared = owned is not None and left
    memory = replace(memory, uncompared=uncompared)
    if left and (known is None or same_stored):
        return memory, known is None

    def expected() -> Sums | None:
        of = holdings.owned()
        if of is None:
            return None
        found = expected_portfolios(connection, calendar, days, holdings.portfolios(), of)
        return Sums(found.count > 0, np.where(found.count > 0, found.hashes.view(np.int64), 0))

    agreement = known if same_holdings or same_stored or left else None
    found = (
        _agreed(days, expected, lambda: _stored(connection, days), agreement, same_holdings or left)
        if days
        else Agreement("")
    )
    if found is None:
        return memory, True
    if left:
        accounting = memory.accounting
    elif not same_holdings and not holdings.current:
        accounting = ""
    return replace(
        memory,
        accounting=accounting,
        pending=tuple(found.pending),
        stored=stored,
        agreement=found if len(found.pending) <= MOST_PENDING else None,
    ), False


def _portfolios_first(accounting: str, holdings: Holdings, memory: Memory) -> bool:
    """Whether it is the accounting's turn though nobody wrote, and this look reads the portfolios and the next positions."""
    now, before = accounting.rpartition(" ")[0], memory.accounting.rpartition(" ")[0]
    return bool(now) and now == before and holdings.portfolios_first()


def _holding_state(states: Mapping[str, str], now: datetime) -> str:
    return joined(states, HOLDING_TABLES, turn(now, ACCOUNTING))


def _agreed(
    days: Sequence[date],
    expected: Callable[[], Sums | None],
    stored: Callable[[], Sums],
    before: Agreement | None,
    same_holdings: bool,
) -> Agreement | None:
    """Days on which somebody should be accounted for and is not, in some table, and the others.

    A day whose tables are of different inputs is none: to heal it would restate figures without anybody having asked. It
    stays out of refresh_complete_days, and `status` names it with its mend.

    Args:
        expected, stored: read the two sides; None: not known before the next look, then neither is what follows.
        before: what an earlier look found, if one of the two is still what it was; else None.
        same_holdings: whether that one is whom the days should account for."""
    rows = None
    if before is not None and same_holdings:
        rows = stored()
        found = before.with_stored(days, rows)
        if found is not None:
            return found
    wanted = expected()
    if wanted is None:
        return None
    if before is not None and not same_holdings:
        found = before.with_expected(days, wanted)
        if found is not None:
            return found
    return Agreement.of(days, wanted, stored() if rows is None else rows)


def _stored(connection: psycopg.Connection[Any], days: Sequence[date]) -> Sums:
    """Of days that are complete in every table, with the same portfolios in each."""
    rows = connection.execute(
        "select calculation_date - date '1970-01-01', min(accounted) from refresh_days where status = 'complete'"
        " and table_name = any(%s) and calculation_date between %s and %s group by calculation_date"
        " having count(*) = %s and min(accounted) = max(accounted)",
        [list(DAY_TABLES), days[0], days[-1], len(DAY_TABLES)],
        binary=True,
    ).fetchall()
    found = np.array(rows, dtype=np.int64).reshape(-1, 2)
    numbers = day_numbers(days)
    place = np.minimum(np.searchsorted(numbers, found[:, 0]), len(days) - 1)
    known = numbers[place] == found[:, 0]  # a stored day may have become a closure since
    there, sums = np.zeros(len(days), dtype=bool), np.zeros(len(days), dtype=np.int64)
    there[place[known]], sums[place[known]] = True, found[known, 1]
    return Sums(there, sums)


def _covered(
    connection: psycopg.Connection[Any],
    days: Sequence[date],
    looked_at_once: int,
    at_once: bool,
    now: datetime,
    states: Mapping[str, str],
    holdings: Holdings,
    memory: Memory,
) -> Memory:
    """The memory, with the coverage of the days: what is still known, the latest day, and the oldest of the others.

    Args:
        at_once: nothing is left to the next look."""
    if not days:
        return replace(memory, coverage={}, uncounted=False)
    state = joined(states, (*HOLDING_TABLES, *CLOSE_TABLES), turn(now, ACCOUNTING))
    known = memory.coverage if state and state == memory.closes else {}
    kept = {day: known[day] for day in days if day in known}
    chosen, upto = _chosen([day for day in days if day not in kept], looked_at_once, memory.upto)
    counted = _counted(connection, chosen, holdings, at_once) if chosen else {}
    return replace(
        memory,
        closes="" if holdings.nearly else state,
        coverage={**kept, **(counted or {})},
        uncounted=counted is None,
        upto=memory.upto if counted is None else upto,
    )


def _chosen(unknown: Sequence[date], looked_at_once: int, upto: date | None) -> tuple[list[date], date | None]:
    """The days to be counted, ascending: of too many the latest, and the others in turn, so that days which stay half-loaded
    keep none of them from being counted; and the one up to which the others were."""
    if len(unknown) <= looked_at_once:
        return list(unknown), None
    latest = list(unknown[-1:]) if looked_at_once > 1 else []
    others = [day for day in unknown if day not in latest]
    turn = sorted(others, key=lambda day: (upto is not None and day <= upto, day))[: looked_at_once - len(latest)]
    return sorted([*turn, *latest]), turn[-1] if turn else None


def _counted(
    connection: psycopg.Connection[Any], days: Sequence[date], holdings: Holdings, at_once: bool
) -> dict[date, Coverage] | None:
    """None: left to the next look."""
    held = holdings.held(days[0], days[-1], at_once)
    return None if held is None else {day: Coverage(*one) for day, one in closes_on(connection, held, days).items()}


def _onboarding(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    rows = connection.execute(
        "select symbol::text from symbol_onboarding where status::text in ('pending', 'processing') and symbol is not null"
        " order by 1"
    ).fetchall()
    return tuple(row[0] for row in rows)


def _raised(connection: psycopg.Connection[Any], days: Sequence[date]) -> frozenset[tuple[str, date]]:
    if not days:
        return frozenset()
    rows = connection.execute(
        "select kind, day from refresh_alerts where day between %s and %s",
        [days[0], days[-1]],
    ).fetchall()
    return frozenset(rows)
