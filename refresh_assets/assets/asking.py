"""The questions of the night's checks on their way: put in the check step, or early, while the run's last asset works.

Here: what is asked in one go, a thread and a connection of its own for what is asked early, until when its answer holds.
Not here: the questions (store/checks.py), what is made of the answers (checks.py), when a run's tables stand (refresh.py).

The tables that the checks look into are committed before the market values of the positions are: one statement, during
which a second core has nothing to do. Asked meanwhile, the checks cost a run no time."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from refresh_assets.calendar import TradingCalendar
from refresh_assets.store.checks import Finding, findings, freshness
from refresh_assets.store.database import Database

if TYPE_CHECKING:
    import psycopg

CANCEL_SECONDS = 0.1
"""Between two requests to stop: one may come between two statements, where there is nothing to cancel."""


@dataclass(frozen=True)
class Question:
    """What the answer depends on besides the tables: the days, what is asked of them, the effective trading date."""

    days: tuple[date, ...]
    asks: frozenset[str]
    effective: date


@dataclass(frozen=True)
class Answer:
    """What was found of each promise; the latest day that is ready, and the latest complete one."""

    found: Mapping[str, Sequence[Finding]]
    ready: date | None
    complete: date | None


def answered(
    connection: psycopg.Connection[Any], calendar: TradingCalendar, question: Question, beside: bool = False
) -> Answer:
    """The answer, as the tables stand; `beside`: something else is at work, so only one of the server's processes is."""
    found = findings(connection, calendar, question.days, question.asks, question.effective, beside)
    connection.commit()  # and with it the plans made for scans: looking up one close would read all 1.5 million
    return Answer(found, *freshness(connection, calendar, question.effective))


def answered_by_two(
    database: Database, connection: psycopg.Connection[Any], calendar: TradingCalendar, question: Question
) -> Answer:
    """The same, the later half of several days asked on a connection of its own: two processes of the server answer a day each
    in less time than both would one day after the other."""
    middle = (len(question.days) + 1) // 2
    earlier, later = (replace(question, days=days) for days in (question.days[:middle], question.days[middle:]))
    if not later.days:
        return answered(connection, calendar, question)

    def found_later() -> dict[str, list[Finding]]:
        with database.connect() as second:
            return findings(second, calendar, later.days, later.asks, later.effective, beside=True)

    with ThreadPoolExecutor(1, thread_name_prefix="asking of later days") as thread:
        rest = thread.submit(found_later)
        first = answered(connection, calendar, earlier, beside=True)
        found = {promise: [*one, *rest.result()[promise]] for promise, one in first.found.items()}
    return replace(first, found=found)


class Early:
    """A question that is asked from now on, over what is committed now."""

    def __init__(self, database: Database, calendar: TradingCalendar, question: Question) -> None:
        self.question = question
        self._connection: psycopg.Connection[Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="asking early")
        self._answer = self._thread.submit(self._ask, database, calendar)

    def _ask(self, database: Database, calendar: TradingCalendar) -> Answer:
        with database.connect() as connection:
            self._connection = connection
            return answered(connection, calendar, self.question, beside=True)

    def answer(self) -> Answer | None:
        """Waits for it. None where it could not be asked: whoever wants to know why asks himself."""
        with contextlib.suppress(Exception, CancelledError):
            return self._answer.result()
        return None

    def close(self) -> None:
        """Leaves no thread and no session behind: what is still being asked is cancelled."""
        self._answer.cancel()
        while not self._answer.done():
            if self._connection is not None:
                with contextlib.suppress(Exception):  # it may end, or be lost, at the same moment
                    self._connection.cancel_safe(timeout=CANCEL_SECONDS)
            wait([self._answer], CANCEL_SECONDS)
        self._thread.shutdown()


_early: dict[str, Early] = {}
"""By run: at most one each."""


def ask_early(run_id: str, database: Database, calendar: TradingCalendar, question: Question) -> None:
    """Begin to ask, on behalf of a run whose tables are all committed."""
    forget(run_id)
    _early[run_id] = Early(database, calendar, question)


def answered_early(run_id: str, question: Question) -> Answer | None:
    """The answer that a run asked for early, taken once; None where it did not, or where it is to another question."""
    early = _early.pop(run_id, None)
    if early is None:
        return None
    try:
        return early.answer() if early.question == question else None
    finally:
        early.close()


def forget(run_id: str) -> None:
    """What a run asked early holds no longer: it ended, or writes its tables again."""
    early = _early.pop(run_id, None)
    if early is not None:
        early.close()
