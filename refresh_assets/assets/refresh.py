"""What every asset of the night shares: its partitions, its retries, and the run-scoped resource that holds the Night.

Here: Dagster's side of a night: which days a run is asked for, one bad day in a range, what the UI shows. Not here: the
night itself (night.py), words and tables of metadata (metadata.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, cast

import dagster as dg
from pydantic import PrivateAttr

from refresh_assets.assets import checks
from refresh_assets.assets.analytic import Outcome
from refresh_assets.assets.asking import ask_early, forget
from refresh_assets.assets.event_log import on_one_connection
from refresh_assets.assets.metadata import told
from refresh_assets.assets.night import IN_TURN, Night
from refresh_assets.assets.partitions import trading_day_partitions, trading_days
from refresh_assets.assets.run_days import range_tags
from refresh_assets.calendar import TradingCalendar
from refresh_assets.core import scenarios
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.errors import NoPrices, UsageError
from refresh_assets.settings import load
from refresh_assets.store.database import Database, is_lost_connection, retried
from refresh_assets.store.extras import INLINE_ASSET
from refresh_assets.store.liveness import NO_SIGN, SIGN_TAG, sign_of_life
from refresh_assets.store.onboarding import days_since_inception, plan_onboarding
from refresh_assets.store.schema_names import DAY_TABLES, POSITION_VALUES
from refresh_assets.store.tracking import DayEnd, Tracking

GROUP = "portfolio_refresh"
POOL = "portfolio_refresh"
ONBOARDING_JOB = "onboard_portfolio"
LOOKED_INTO = {*DAY_TABLES, INLINE_ASSET}
"""What the checks look into, of what a run writes."""

NIGHTLY: dict[str, Any] = {
    "group_name": GROUP,
    "partitions_def": trading_day_partitions(load(), datetime.now(UTC)),
    "backfill_policy": dg.BackfillPolicy.single_run(),
    "code_version": CODE_VERSION,
    "pool": POOL,
    "kinds": {"postgres", "numpy"},
}


def in_turn(table: str) -> dict[str, str]:
    """Tags that have a run take the night's tables in their own order: the next one is computed while one is written."""
    return {"dagster/priority": str(len(DAY_TABLES) - list(DAY_TABLES).index(table))}


Work = Callable[[Night, date], Outcome]

_listeners: list[Callable[[str, date], None]] = []
_failure_listeners: list[Callable[[date], None]] = []

RunEnded = Callable[[Database, Sequence[date], str, datetime], None]
_at_run_end: list[RunEnded] = []


def at_run_end(told: RunEnded) -> None:
    """Tell (database, days, run id, now) when a run of all tables, or one in which a day failed, has ended."""
    if told not in _at_run_end:
        _at_run_end.append(told)


Recorded = Callable[[dg.DagsterInstance, str, Sequence[DayEnd]], None]
_at_record: list[Recorded] = []


def at_record(told: Recorded) -> None:
    """Tell (Dagster's instance, run id, how each day stands) at the end of every run of the night, also of one that failed."""
    if told not in _at_record:
        _at_record.append(told)


@contextmanager
def telling(day_done: Callable[[str, date], None] | None, day_failed: Callable[[date], None]) -> Iterator[None]:
    """Within the block, tell (asset, day) after each day of each asset, and each day that failed: to the same process."""
    done = [day_done] if day_done is not None else []
    _listeners.extend(done)
    _failure_listeners.append(day_failed)
    try:
        yield
    finally:
        _failure_listeners.remove(day_failed)
        for listener in done:
            _listeners.remove(listener)


def _tell_done(asset: str, day: date) -> None:
    for listener in _listeners:
        listener(asset, day)


class Refresh(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The night of one run. Its database comes from the environment, never from run config.

    Attributes:
        scope: all: compute each day whole, and replace what is there. missing: add only the portfolios that are due.
        portfolio: uuid or name of a portfolio that is onboarded: add its rows alone, to the days that stand."""

    scope: str = "all"
    portfolio: str = ""

    _night: Night | None = PrivateAttr(default=None)
    _tracking: Tracking | None = PrivateAttr(default=None)
    _left_out: dict[date, str] = PrivateAttr(default_factory=dict)
    _tells_end: bool = PrivateAttr(default=False)
    _stand: set[str] = PrivateAttr(default_factory=set)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Refresh]:
        with _sign_of_life(context):
            try:
                yield self
            finally:
                try:
                    if self._night is not None:
                        forget(self._night.run_id)
                        self._night.close()
                        self._tell_of_the_rest(self._night, context.instance)
                finally:
                    if self._tracking is not None:
                        self._end(self._tracking, context.instance)

    def _tell_of_the_rest(self, night: Night, instance: dg.DagsterInstance | None) -> None:
        """Days that stand though their asset's step never came, as one before it failed or the run was stopped."""
        for (asset, day), outcome in night.not_asked_for().items():
            seconds = night.seconds(day, asset) or 0.0
            if self._tracking is not None:
                self._tracking.note(asset, day, outcome, seconds)
            if instance is not None:
                instance.report_runless_asset_event(
                    dg.AssetMaterialization(asset, metadata=told(outcome, seconds), partition=day.isoformat())
                )

    def _end(self, tracking: Tracking, instance: dg.DagsterInstance | None) -> None:
        """Write down how the days stand, and tell it; the figures also where the database cannot be written to."""
        ends = tracking.lost()
        try:
            ends = retried(partial(tracking.finish, datetime.now(UTC)))
            for told in _at_run_end if self._tells_end else ():
                told(tracking.database, tracking.days, tracking.run_id, datetime.now(UTC))
        finally:
            if instance is not None:
                for recorded in _at_record:
                    recorded(instance, tracking.run_id, ends)

    def night(self, context: dg.AssetExecutionContext) -> Night:
        """The night over the partitions of this run; made by the first asset that asks."""
        if self._night is None:
            settings = load()
            calendar = TradingCalendar(settings.extra_closures)
            database = Database.of(settings)
            file = settings.scenarios_file
            only = None
            if context.job_name == ONBOARDING_JOB and not self.portfolio:
                raise UsageError(
                    f"the job {ONBOARDING_JOB} was given no portfolio",
                    "set resources.refresh.config.portfolio in its run config to a uuid or an exact name",
                )
            if not (context.has_partition_key or context.has_partition_key_range):
                if not self.portfolio:
                    raise UsageError(
                        "the run was given no trading day", "launch it with a partition or a range of them"
                    )
                history = days_since_inception(
                    database, calendar, self.portfolio, settings.start_date, datetime.now(UTC)
                )
                _cover(context, history)
            days = trading_days(context.partition_keys, calendar, datetime.now(UTC))
            if self.portfolio:
                plan = plan_onboarding(database, calendar, self.portfolio, days, datetime.now(UTC))
                only, days, self._left_out = plan.portfolio.id, plan.days, plan.left_out
            selection = {key.to_user_string() for key in context.run.asset_selection or ()}
            steps = set(context.run.step_keys_to_execute or selection)  # fewer where another run's failure is made good
            self._night = Night(
                database=database,
                calendar=calendar,
                scenarios=scenarios.configured(file),
                days=days,
                run_id=context.run.run_id,
                missing_only=self.scope == "missing" or only is not None,
                only_portfolio=only,
                max_symbols=settings.correlation_max_symbols,
                min_price_coverage=settings.min_price_coverage,
                assets=[one for one in IN_TURN if not steps or one in steps],
                done=_tell_done,
            )
            if only is None:  # the night's own row of a day stays that of the night
                now = datetime.now(UTC)
                adds = self._night.missing_only
                self._tracking = Tracking(database, days, context.run.run_id, calendar.effective_date(now), adds)
                retried(partial(self._tracking.start, now))
                self._tells_end = not selection or selection >= set(DAY_TABLES)
        return self._night

    def write_days(self, context: dg.AssetExecutionContext, work: Work) -> None:
        """Do the work for each day of the run, and tell what came of it.

        A day that fails costs that day alone: the others are computed and committed first, and shown as good."""
        night, asset = self.night(context), context.asset_key.to_user_string()
        if asset in LOOKED_INTO:
            forget(night.run_id)
            self._stand.discard(asset)
        errors: dict[date, Exception] = {}
        for day, why in self._left_out.items():
            context.log.warning(f"{day} is left out: {why}")
            context.add_asset_metadata({"status": f"left out: {why}"}, partition_key=day.isoformat())
        for day in night.days:
            begin = time.perf_counter()
            try:
                outcome = retried(partial(attempted, night, day, work))
            except NoPrices as skipped:
                context.log.warning(str(skipped))
                context.add_asset_metadata({"status": "skipped: not one close"}, partition_key=day.isoformat())
                continue
            except Exception as error:
                errors[day] = error
                self._tells_end = True
                if self._tracking is not None:
                    self._tracking.note(asset, day, None, time.perf_counter() - begin)
                for day_failed in _failure_listeners:
                    day_failed(day)
                context.log.error(f"{day}: {type(error).__name__}: {error}")
                continue
            seconds = night.seconds(day, asset) or time.perf_counter() - begin
            if self._tracking is not None:
                self._tracking.note(asset, day, outcome, seconds)
            context.add_asset_metadata(told(outcome, seconds), partition_key=day.isoformat())
        if errors:
            night.write_the_rest()
            _report_good_days(context, [day for day in night.days if day not in errors])
            first = min(errors)
            raise dg.Failure(
                f"{len(errors)} of {len(night.days)} days failed: {', '.join(map(str, sorted(errors)))}."
                f" The first: {type(errors[first]).__name__}: {errors[first]}"
            ) from errors[first]
        if asset in LOOKED_INTO:
            self._stand.add(asset)
            self._ask_early(context, night)

    def _ask_early(self, context: dg.AssetExecutionContext, night: Night) -> None:
        """Once all that the checks look into stands, ask while the last asset works what the check step of this run will.

        Of one day only: a range has other days' work behind it, and its checks ask for as long as they like."""
        nodes = {node.name for node in context.job_def.nodes}
        if (
            self._stand == LOOKED_INTO
            and len(night.days) == 1
            and night.only_portfolio is None
            and {POSITION_VALUES, checks.STEP} <= nodes
        ):
            effective = night.calendar.effective_date(datetime.now(UTC))
            asked = checks.question(checks.PROMISES, night.days, effective)
            ask_early(night.run_id, night.database, night.calendar, asked)


def _cover(context: dg.AssetExecutionContext, days: Sequence[date]) -> None:
    """Make a run that was launched without a partition cover a range of them, as if launched so.

    In the instance, where the sensor and people look; and in the run at hand, which Dagster asks for its partitions."""
    tags = range_tags(days)
    context.instance.add_run_tags(context.run.run_id, tags)
    cast("dict[str, str]", context.run.tags).update(tags)


@contextmanager
def _sign_of_life(context: dg.InitResourceContext) -> Iterator[None]:
    """Within the block the run proves that its process lives, and says in its tags where that is to be seen; its events
    share a connection."""
    if context.run is None or context.instance is None:
        yield
        return
    settings, run_id = load(), context.run.run_id
    with ExitStack() as held:
        held.enter_context(on_one_connection(context.instance))
        sign = NO_SIGN
        if settings.database_url is not None:
            sign = held.enter_context(sign_of_life(Database.of(settings), run_id))
        context.instance.add_run_tags(run_id, {SIGN_TAG: sign})
        yield


def attempted(night: Night, day: date, work: Work) -> Outcome:
    """One try; after a lost connection the next one starts from a new snapshot."""
    try:
        return work(night, day)
    except Exception as error:
        if is_lost_connection(error):
            night.reopen()
        raise


def _report_good_days(context: dg.AssetExecutionContext, days: list[date]) -> None:
    """Dagster paints every day of a failed range red; those that are committed are reported as what they are."""
    for day in days:
        context.instance.report_runless_asset_event(
            dg.AssetMaterialization(context.asset_key, partition=day.isoformat())
        )
