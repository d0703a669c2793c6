"""What wakes a person: alerts written down once a kind and day, and delivered until somebody has them.

Here: raising, delivering through apprise (REFRESH_ALERT_URLS), the two alerts that a run's end may raise. Not here: the
SQL (store/alerts.py), the gate's reasons to alert (gate.py).

An alert is a row before it is a message: a dead mail server loses nothing, and nothing here stops a night. No URL, so no
password in one, reaches a log, an error or a table."""

from __future__ import annotations

import logging
import re
import warnings
from collections import deque
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from refresh_assets.calendar import TradingCalendar
from refresh_assets.settings import Secret, Settings, load
from refresh_assets.store.alerts import (
    Alert,
    DayResult,
    claim_alerts,
    day_results,
    note_delivery,
    record_alert,
)
from refresh_assets.store.database import Database
from refresh_assets.store.expected import expected_portfolios
from refresh_assets.store.schema_names import DAY_TABLES

PORTFOLIO_FAILURES = "portfolio_failures"
NIGHT_FAILED = "night_failed"

log = logging.getLogger(__name__)


def raise_alert(database: Database, kind: str, day: date | None, words: str, now: datetime) -> bool:
    """Write an alert down, then try to deliver it; gives whether it is new.

    The second of a kind and day is not written, and wakes nobody. Delivery never raises: what nobody has yet is tried
    again by `deliver_pending`, which a sensor calls at each look.

    Args:
        kind: for example symbol_batch_timeout.
        day: the trading day it is about, or None.
        words: one or two sentences: what happened, and the mend.
        now: an instant with a time zone.

    Raises:
        DatabaseUnreachable: it could not be written down."""
    with database.connect() as connection:
        new = record_alert(connection, kind, day, words, now)
    if new:
        log.warning("alert %s: %s", kind, words)
        deliver_pending(database, load(), now)
    return new


def deliver_pending(database: Database, settings: Settings, now: datetime) -> None:
    """Try to deliver what nobody has yet and whose pause is over (30 s after the first try, doubled up to an hour).

    Never raises. Without REFRESH_ALERT_URLS nothing is tried: `status` shows the alerts, and they are delivered once
    there is a URL. An alert counts as delivered once one of several URLs took it; the others are named."""
    if not settings.alert_urls:
        return
    try:
        with database.connect() as connection:
            alerts = claim_alerts(connection, now)
        for alert in alerts:
            _deliver(database, settings.alert_urls, alert, now)
    except Exception as error:  # an alert is no reason to stop what it is about; its row stays, and is tried again
        log.error("alerts could not be delivered: %s; they are tried again", type(error).__name__)


def _deliver(database: Database, urls: Sequence[Secret], alert: Alert, now: datetime) -> None:
    title = f"Portfolio refresh: {alert.kind}" + (f" {alert.day}" if alert.day else "")
    refusals = [_sent(url, number, len(urls), title, alert.words) for number, url in enumerate(urls, start=1)]
    refused = [one for one in refusals if one is not None]
    delivered = len(refused) < len(urls)
    error = "; ".join(refused) or None
    if error:
        state = "elsewhere it arrived" if delivered else f"try {alert.attempts}, another follows"
        log.warning("alert %s %s: %s; %s", alert.kind, alert.day or "", error, state)
    with database.connect() as connection:
        note_delivery(connection, alert, now if delivered else None, error)


def _sent(secret: Secret, number: int, urls: int, title: str, words: str) -> str | None:
    """None, or why the service did not take the message; names the URL by its place and scheme alone."""
    apprise = _apprise()
    url = secret.get_secret_value()
    name = f"URL {number} of {urls} ({url.partition('://')[0]})"
    asset = apprise.AppriseAsset(app_id="refresh-assets", storage_mode=apprise.PersistentStoreMode.MEMORY)
    service = apprise.Apprise(asset=asset)
    _unheard.said.clear()
    try:
        if not service.add(url):
            return f"{name} is none that apprise can read"
        if service.notify(body=words, title=title, notify_type=apprise.NotifyType.WARNING):
            return None
    except Exception as error:  # a plugin's own; its words may hold the URL
        return f"{name} failed ({type(error).__name__})"
    status = next((found[1] for one in list(_unheard.said) if (found := re.search(r"\berror=(\d{3})\b", one))), None)
    return f"{name} did not take it" + (f" (it answered {status})" if status else "")


def _apprise() -> Any:
    """apprise, which is slow to import: only where there is something to send."""
    with warnings.catch_warnings():
        # Its plugins import modules of the standard library that newer versions of Python drop: its own affair.
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        apprise.Apprise().add("json://127.0.0.1/")  # plugins are imported by the first URL
    return apprise


class _Unheard(logging.Filter):
    """Keeps what apprise and the HTTP client say out of every log, as they quote URLs and paths; `said` has it.

    On the logger, not around a call: apprise sends from threads of its own, which may outlive the call."""

    def __init__(self) -> None:
        super().__init__()
        self.said: deque[str] = deque(maxlen=50)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == "apprise":
            self.said.append(record.getMessage())
            return False
        return record.levelno >= logging.WARNING


_unheard = _Unheard()
for _name in ("apprise", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_unheard)


def alert_after_run(database: Database, days: Sequence[date], run_id: str, now: datetime) -> None:
    """What the end of a run may wake a person for: too many failed portfolios, a day that is not complete.

    Never raises: the run has done its work, or failed for a reason of its own."""
    try:
        settings = load()
        for kind, day, words in alerts_of(database, settings, days, run_id):
            raise_alert(database, kind, day, words, now)
    except Exception as error:
        log.error("run %s: its alerts could not be written down: %s", run_id, type(error).__name__)


def alerts_of(database: Database, settings: Settings, days: Sequence[date], run_id: str) -> list[tuple[str, date, str]]:
    """Kind, day and words of each alert that the days of a run give reason for."""
    found = []
    tables = list(DAY_TABLES)
    with database.connect() as connection:
        results = day_results(connection, days, tables)
        failing = sorted(day for day, one in results.items() if one.failed)
        calendar = TradingCalendar(settings.extra_closures)
        due = (
            dict(zip(failing, expected_portfolios(connection, calendar, failing).count, strict=True)) if failing else {}
        )
    for day in failing:
        failed, number = results[day].failed, max(int(due[day]), results[day].failed)
        if failed > settings.failure_alert_fraction * number:
            words = (
                f"{day}: {failed} of {number} portfolios failed, more than REFRESH_FAILURE_ALERT_FRACTION"
                f" ({settings.failure_alert_fraction:.0%}) allows. Mend: refresh-assets status --date {day} names each;"
                f" then refresh-assets run --date {day} --scope missing."
            )
            found.append((PORTFOLIO_FAILURES, day, words))
    for day, one in sorted(results.items()):
        if one.lacking and not one.skipped:
            found.append((NIGHT_FAILED, day, _failed_words(day, one, run_id, len(tables))))
    return found


def _failed_words(day: date, one: DayResult, run_id: str, tables: int) -> str:
    return (
        f"{day}: the night is not complete: {tables - len(one.lacking)} of {tables} tables are;"
        f" missing {', '.join(one.lacking)}. Run {run_id} says why."
        f" Mend: refresh-assets run --date {day} --scope missing."
    )
