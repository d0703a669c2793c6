"""What the night promises, asked of its tables after each run.

Here: the checks as Dagster knows them, which days a run covers, a table of days for people. Not here: what is asked of the
tables (store/checks.py), when it is asked (asking.py).

All checks are one step without partitions: a check with partitions stays "planned" for ever in a run over a range, and a
step each would cost more than all that is asked (as it is, Dagster takes some 10 ms to plan one result and write it down).
None is blocking: the rows are committed by then, and a blocking check would only stop what comes after it, for every day of
the range. The step comes last, so that a night asks what it needs while its last asset works."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from refresh_assets.assets.asking import Answer, Question, answered_by_two, answered_early
from refresh_assets.assets.partitions import trading_days
from refresh_assets.assets.run_days import days_of
from refresh_assets.calendar import TradingCalendar
from refresh_assets.settings import load
from refresh_assets.store.checks import (
    CORRELATIONS,
    COVERAGE,
    GROSS,
    IMPACTS,
    LATER,
    Finding,
)
from refresh_assets.store.database import Database, retried
from refresh_assets.store.extras import latest_complete_day
from refresh_assets.store.schema_names import DAY_TABLES

COVERAGE_WARNING = 0.80  # of a day's exposures: as few as a half-loaded night has prices (REFRESH_MIN_PRICE_COVERAGE)
STEP = "night_checks"
EVERYONE, FRESH = "everyone_accounted_for", "latest_day_complete"
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@dataclass(frozen=True)
class Promise:
    """One check: the table it stands at, its name, what it asks store/checks.py for, how grave it is if it fails."""

    table: str
    name: str
    asks: tuple[str, ...]
    description: str
    severity: dg.AssetCheckSeverity = ERROR


PROMISES = (
    Promise(
        "portfolio_snapshots",
        EVERYONE,
        tuple(DAY_TABLES),
        "Every portfolio due on the day has, in each of the four tables, rows or an exception that says why not.",
        WARN,
    ),
    Promise(
        "portfolio_snapshots",
        "nothing_dated_later",
        (LATER,),
        "No mark of a day is a later day's close, no exposure rests on another day's betas, no row is dated later than the"
        " last close.",
    ),
    Promise(
        "correlation_calculations",
        "correlations_in_bounds",
        (CORRELATIONS,),
        "Correlations lie within [-1, 1], and n symbols have n(n-1)/2 of them.",
    ),
    Promise(
        "factor_exposures",
        "gross_equals_snapshots",
        (GROSS,),
        "The PUBLIC gross exposure behind the exposures is one figure a portfolio, not above its snapshot's gross exposure,"
        " and equal to it where a book holds nothing but PUBLIC positions.",
    ),
    Promise(
        "factor_exposures",
        "coverage",
        (COVERAGE,),
        f"Coverage lies within [0, 1], and is 0 where an exposure is unknown; on the day's average it is"
        f" {COVERAGE_WARNING:.0%} or more (less: a warning).",
    ),
    Promise(
        "stress_test_results",
        "impacts_add_up",
        (IMPACTS,),
        "The P&L by factor adds up to the stress results, with the cap as a line of its own.",
    ),
    Promise(
        "stress_test_results",
        FRESH,
        (),
        "The latest trading day whose symbol batch is complete is complete in every table.",
        WARN,
    ),
)
SPECS = {one: dg.AssetCheckSpec(one.name, asset=one.table, description=one.description) for one in PROMISES}
_BY_KEY = {spec.key: one for one, spec in SPECS.items()}


@dg.multi_asset_check(
    name=STEP,
    specs=list(SPECS.values()),
    can_subset=True,
    op_tags={"dagster/priority": "-1"},
)
def night_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.Output[None] | dg.AssetCheckEvaluation]:
    """What stands in the tables for the days of the run; alone, and without a day: for the latest complete one."""
    chosen = [_BY_KEY[key] for key in sorted(context.selected_asset_check_keys, key=str)]
    try:
        results = retried(partial(checked, context.run, chosen, datetime.now(UTC)))
    except Exception as error:  # the rows are committed: a question that cannot be asked must not turn the night red
        results = [(one, not_asked(one, error)) for one in chosen]
    targets = materializations(context.instance, {one.table for one in chosen})
    for one, said in results:
        if not said.passed:
            context.log.warning(f"{one.table}, {one.name}: {said.description}")
        yield dg.Output(None, SPECS[one].get_python_identifier())
        yield evaluation(said, targets.get(one.table))


def materializations(
    instance: dg.DagsterInstance, tables: Collection[str]
) -> dict[str, AssetCheckEvaluationTargetMaterializationData]:
    """The latest of each table: what a result is about."""
    found = {}
    for record in instance.get_asset_records([dg.AssetKey(table) for table in sorted(tables)]):
        if (latest := record.asset_entry.last_materialization_record) is not None:
            found[record.asset_entry.asset_key.to_user_string()] = AssetCheckEvaluationTargetMaterializationData(
                run_id=latest.run_id, storage_id=latest.storage_id, timestamp=latest.timestamp
            )
    return found


def evaluation(
    result: dg.AssetCheckResult, target: AssetCheckEvaluationTargetMaterializationData | None
) -> dg.AssetCheckEvaluation:
    """What Dagster makes of a result by itself, if it may look for the table's materialization and its inputs' versions
    for each table anew."""
    assert result.asset_key is not None
    assert result.check_name is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        metadata=result.metadata,
        target_materialization_data=target,
        severity=result.severity,
        description=result.description,
        blocking=False,
    )


def checked(
    run: dg.DagsterRun, promises: Sequence[Promise], now: datetime
) -> list[tuple[Promise, dg.AssetCheckResult]]:
    """The result of each promise, over the days that a run's tags name."""
    settings = load()
    calendar = TradingCalendar(settings.extra_closures)
    days = days_of_run(run.tags, calendar, now, lambda: None)
    answer = answered_early(run.run_id, question(promises, days, calendar.effective_date(now)))
    if answer is None:
        database = Database.of(settings)
        with database.connect() as connection:
            days = days_of_run(run.tags, calendar, now, lambda: latest_complete_day(connection))
            connection.commit()
            asked = question(promises, days, calendar.effective_date(now))
            answer = answered_by_two(database, connection, calendar, asked)
    return [(one, result(one, answer)) for one in promises]


def question(promises: Iterable[Promise], days: Iterable[date], effective: date) -> Question:
    """What some promises ask of some days."""
    return Question(tuple(days), frozenset(asked for one in promises for asked in one.asks), effective)


def result(promise: Promise, answer: Answer) -> dg.AssetCheckResult:
    """What an answer says of a promise."""
    if promise.name == FRESH:
        return fresh_result(promise, answer.ready, answer.complete)
    of_days = (finding for asked in promise.asks for finding in answer.found[asked])
    return result_of(promise, sorted(of_days, key=lambda finding: finding.day))


def not_asked(promise: Promise, error: Exception) -> dg.AssetCheckResult:
    """A promise that the database could not be asked about."""
    return dg.AssetCheckResult(
        passed=False,
        asset_key=promise.table,
        check_name=promise.name,
        severity=WARN,
        description=f"could not be asked: {type(error).__name__}: {' '.join(str(error).split())}",
    )


def days_of_run(
    tags: Mapping[str, str], calendar: TradingCalendar, now: datetime, latest: Callable[[], date | None]
) -> list[date]:
    """The trading days of the partitions that a run is for; `latest` says which day one without partitions is for."""
    days = days_of(tags, calendar)
    if not days:
        day = latest()
        return [] if day is None else [day]
    return trading_days([day.isoformat() for day in days], calendar, now)


def result_of(promise: Promise, found: Sequence[Finding]) -> dg.AssetCheckResult:
    """One result a run, with a row a day (and table, where it is asked of each)."""
    wrong = [one for one in found if one.wrong]
    low = [
        replace(one, example=f"mean coverage {one.measure:.1%}, below {COVERAGE_WARNING:.0%}")
        for one in found
        if COVERAGE in promise.asks and not one.wrong and one.measure is not None and one.measure < COVERAGE_WARNING
    ]
    failing = wrong or low
    words = f"{len({one.day for one in found})} days looked at, nothing found"
    if failing:
        first, days = failing[0], len({one.day for one in (*wrong, *low)})
        where = f"{first.day}, {first.table or promise.table}, {first.wrong} wrong"
        words = f"{days} of {len({one.day for one in found})} days; the first, {where}: {first.example}"
    return dg.AssetCheckResult(
        passed=not failing,
        asset_key=promise.table,
        check_name=promise.name,
        severity=promise.severity if wrong else WARN,
        description=words,
        metadata={
            "days": dg.MetadataValue.md(table_of_days(promise, found)),
            "looked_at": sum(one.looked_at for one in found),
            "wrong": sum(one.wrong for one in found),
        },
    )


def fresh_result(promise: Promise, ready: date | None, complete: date | None) -> dg.AssetCheckResult:
    """Whether the latest day that is ready is complete."""
    passed = ready is None or (complete is not None and complete >= ready)
    return dg.AssetCheckResult(
        passed=passed,
        asset_key=promise.table,
        check_name=promise.name,
        severity=promise.severity,
        description=f"the latest day that is ready is {ready or 'none'}, the latest complete one {complete or 'none'}"
        + ("" if passed else ". Mend: refresh-assets run"),
        metadata={"latest_ready": str(ready), "latest_complete": str(complete)},
    )


def table_of_days(promise: Promise, found: Sequence[Finding]) -> str:
    """Markdown: day, table, how much was looked at, how much of it is wrong, the first of it."""
    lines = [
        "| day | table | looked at | wrong | due, or mean coverage | the first, or a note |",
        "|---|---|---|---|---|---|",
    ]
    for one in found:
        measure = "" if one.measure is None else f"{one.measure:.4g}" if one.measure <= 1 else f"{one.measure:.0f}"
        table = one.table or promise.table
        lines.append(f"| {one.day} | {table} | {one.looked_at} | {one.wrong} | {measure} | {one.example} |")
    return "\n".join(lines)
