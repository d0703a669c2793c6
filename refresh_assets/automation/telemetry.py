"""Telemetry: the metrics of a run, through OpenTelemetry where OTEL_* asks for it, and in the run's own events.

Here: a run's figures from those of its days, one export at its end, the same for a night that did not start. Not here: the
figures of each day (store/tracking.py), what wakes a person (alerts.py).

Off unless a collector is named; then OpenTelemetry is not even imported. No URL and no header reaches a log or an event:
both may hold a key."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import dagster as dg

from refresh_assets.core.version import CODE_VERSION
from refresh_assets.store.tracking import ABORTED, COMPLETED, FAILED, DayEnd, metrics_of_none

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

PREFIX = "portfolio_refresh"
SERVICE = "refresh-assets"
METRICS = {
    "duration_seconds": ("s", "how long the run took"),
    "portfolios_processed": ("{portfolio}", "portfolios computed, on the day of the run that had the most"),
    "portfolios_failed": ("{portfolio}", "portfolios that failed, on the day of the run that had the most"),
    "snapshots_created": ("{snapshot}", "rows written to portfolio_snapshots, all days of the run"),
    "days_backfilled": ("{day}", "complete days of the run before its effective trading date"),
}
"""Name -> unit, and what it is. All are gauges: a run is a process of its own, and has nothing to add up."""
ASSET_SECONDS = ("asset_seconds", "s", "time in one asset, all days of the run")

LONGEST_EXPORT = 5.0
"""Seconds that a run waits for its collector, whatever OTEL_EXPORTER_OTLP_TIMEOUT says: a dead one must not hold the night."""

OFF = "off: no OTEL_EXPORTER_OTLP_ENDPOINT"
EXPORTED = "exported"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunFigures:
    """One run in figures.

    Attributes:
        status: completed, failed (some day is not complete) or aborted.
        values: by the names of METRICS.
        seconds: by asset."""

    first: date
    last: date
    status: str
    values: dict[str, float]
    seconds: dict[str, float]

    @classmethod
    def of(cls, ends: Sequence[DayEnd]) -> RunFigures:
        """Of a run's days, at least one. A portfolio is counted once, not once a day, as its names are not known here."""
        figures = [one.metrics for one in ends]
        statuses = {one.status for one in ends}
        seconds: dict[str, float] = {}
        for one in figures:
            for asset, taken in one["seconds"].items():
                seconds[asset] = round(seconds.get(asset, 0.0) + taken, 3)
        return cls(
            min(one.day for one in ends),
            max(one.day for one in ends),
            next((status for status in (ABORTED, FAILED) if status in statuses), COMPLETED),
            {
                name: sum(one[name] for one in figures)
                if name == "snapshots_created"
                else max(one[name] for one in figures)
                for name in METRICS
            },
            seconds,
        )


def record(instance: dg.DagsterInstance, run_id: str, ends: Sequence[DayEnd]) -> None:
    """Export the figures of a run that ended, well or badly, and write them into its events.

    Never raises: the run has done its work, or failed for a reason of its own."""
    if not ends:
        return
    try:
        figures = RunFigures.of(ends)
        outcome = export(figures, run_id)
        _tell_dagster(instance, run_id, figures, outcome)
    except Exception as error:
        log.error("run %s: its metrics could not be told: %s", run_id, type(error).__name__)


def export_aborted(day: date, words: str) -> None:
    """Export the figures, all zero, of a night that did not start. Never raises."""
    try:
        export(RunFigures.of([DayEnd(day, ABORTED, metrics_of_none(words))]), f"{day} aborted")
    except Exception as error:
        log.error("%s: the metrics of the aborted night could not be told: %s", day, type(error).__name__)


def export(figures: RunFigures, run_id: str) -> str:
    """Send the figures to the collector that OTEL_* names, within LONGEST_EXPORT; gives in words what came of it.

    A failure is a warning, and the same words."""
    if not is_on():
        return OFF
    found: list[str | None] = []
    if (refused := _refused()) is None:
        # A daemon thread, as only that bounds everything: a name that does not resolve, an answer that drips.
        sender = threading.Thread(target=_export_quietly, args=(figures, run_id, found), name="telemetry", daemon=True)
        sender.start()
        sender.join(LONGEST_EXPORT)
        refused = found[0] if found else f"it has not taken them within {LONGEST_EXPORT:.0f} seconds"
    if refused is None:
        return EXPORTED
    words = f"the metrics of {run_id} did not reach the collector at {_where()}: {refused}"
    log.warning("%s. The night is unharmed; batch_run_tracking.metrics has them", words)
    return f"not exported: {words}"


def is_on() -> bool:
    """Whether OTEL_* names a collector of metrics, and nothing there says no."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporters = {name.strip().lower() for name in (os.environ.get("OTEL_METRICS_EXPORTER") or "otlp").split(",")}
    return "otlp" in exporters and bool(_endpoint())


def _endpoint() -> str:
    return _otlp("ENDPOINT")


def _otlp(name: str) -> str:
    """An OTLP variable: that of metrics, or that of all signals."""
    return os.environ.get(f"OTEL_EXPORTER_OTLP_METRICS_{name}") or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or ""


def _refused() -> str | None:
    """Why nothing can be sent with these variables, or None."""
    protocol = _otlp("PROTOCOL").strip().lower() or "http/protobuf"
    if protocol != "http/protobuf":
        return (
            f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}. Mend: set http/protobuf and the collector's port for it (4318)"
        )
    if urlsplit(_endpoint()).scheme not in ("http", "https"):
        return "OTEL_EXPORTER_OTLP_ENDPOINT is no http URL. Mend: set one such as http://HOST:4318"
    return None


def _where() -> str:
    """Host and port of the collector; a URL may hold a password or a key, so no more of it is shown."""
    try:
        parts = urlsplit(_endpoint())
        return f"{parts.hostname or '?'}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    except ValueError:
        return "?"


def _export_quietly(figures: RunFigures, run_id: str, found: list[str | None]) -> None:
    """Append None, or why the collector did not take the figures: in words of ours, as its own may hold a header."""
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics.export import MetricExportResult

        _unheard.mute()
        exporter = OTLPMetricExporter()
        result = exporter.export(measured(figures, run_id))
        exporter.shutdown()
        taken = result is MetricExportResult.SUCCESS
    except Exception as error:
        found.append(f"{type(error).__name__}")
        return
    found.append(None if taken else _unheard.reason())


def measured(figures: RunFigures, run_id: str) -> MetricsData:
    """The figures as OpenTelemetry has them: gauges, with the run's days and status as attributes."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create()  # OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
    own: dict[str, Any] = {"service.version": CODE_VERSION, "service.instance.id": run_id}
    if str(resource.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        own["service.name"] = SERVICE
    reader = InMemoryMetricReader()
    # A provider of its own, not the process's: what else runs here is not ours to report.
    provider = MeterProvider([reader], resource.merge(Resource(own)), shutdown_on_exit=False)
    meter = provider.get_meter(SERVICE, CODE_VERSION)
    attributes = {
        "first_day": figures.first.isoformat(),
        "last_day": figures.last.isoformat(),
        "status": figures.status,
    }
    for name, (unit, description) in METRICS.items():
        meter.create_gauge(f"{PREFIX}.{name}", unit, description).set(figures.values[name], attributes)
    name, unit, description = ASSET_SECONDS
    gauge = meter.create_gauge(f"{PREFIX}.{name}", unit, description)
    for asset, taken in figures.seconds.items():
        gauge.set(taken, {**attributes, "asset": asset})
    data = reader.get_metrics_data()
    provider.shutdown()
    assert data is not None, "a reader over gauges that were set has data"
    return data


class _Unheard(logging.Filter):
    """Keeps what OpenTelemetry says out of every log, as it quotes headers and URLs; `said` has it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: deque[str] = deque(maxlen=20)

    def mute(self) -> None:
        """On each of its loggers, as one of a parent lets what its children say pass."""
        self.said.clear()
        for name in list(logging.root.manager.loggerDict):
            if name.startswith("opentelemetry."):
                logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        self.said.append(record.getMessage())
        return False

    def reason(self) -> str:
        """Why the last export failed."""
        codes = [found[1] for one in list(self.said) if (found := re.search(r"\bcode: (\d{3})\b", one))]
        return f"it answered {codes[-1]}" if codes else "nobody answers there"


_unheard = _Unheard()


def _tell_dagster(instance: dg.DagsterInstance, run_id: str, figures: RunFigures, outcome: str) -> None:
    """The run's figures as an event of the run: Dagster has no other place for what belongs to a run as a whole."""
    from dagster._core.events import EngineEventData

    run = instance.get_run_by_id(run_id)
    if run is None:
        return
    seconds = "\n".join(f"| {asset} | {taken} |" for asset, taken in figures.seconds.items())
    metadata: dict[str, Any] = {
        **figures.values,
        "seconds": dg.MetadataValue.md(f"| asset | seconds |\n|---|---|\n{seconds}"),
        "status": figures.status,
        "telemetry": outcome,
    }
    shown = figures.first.isoformat() if figures.first == figures.last else f"{figures.first}..{figures.last}"
    instance.report_engine_event(f"{PREFIX} {shown}: {figures.status}", run, EngineEventData(metadata=metadata))
