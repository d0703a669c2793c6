"""The checks' questions asked early: which runs do so, that the answers are those of the check step, and what is left.

Here: whole Dagster runs, a question whose tables are locked or whose session ends. Not here: what is found (test_checks.py)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import dagster as dg
import psycopg
import pytest

from refresh_assets.assets import asking, checks
from refresh_assets.assets.analytic import Outcome
from refresh_assets.assets.asking import Answer, Question, answered_early, ask_early, forget
from refresh_assets.assets.night import Night
from refresh_assets.assets.refresh import Refresh, Work
from refresh_assets.automation import launch
from refresh_assets.settings import load
from refresh_assets.store.database import APPLICATION, Database
from refresh_assets_tests import worlds
from refresh_assets_tests.assets.conftest import platform
from refresh_assets_tests.assets.tampering import TAMPERED
from refresh_assets_tests.assets.test_checks import ALONE, QUIET, Evaluations, evaluations, failed
from refresh_assets_tests.worlds import BEFORE, CALENDAR, DAY, execute

EFFECTIVE = date(2026, 3, 20)
SESSIONS = (
    f"select pid from pg_stat_activity where datname = current_database() and application_name = '{APPLICATION}'"
    " and pid <> pg_backend_pid()"
)
WAITING = SESSIONS + " and wait_event_type = 'Lock'"


def question(*days: date, promises: Any = checks.PROMISES, effective: date = EFFECTIVE) -> Question:
    return checks.question(promises, days or (DAY,), effective)


@pytest.fixture
def good_night(database: Database) -> Database:
    """Two days, done."""
    platform(database)
    worlds.run(database, BEFORE, DAY)
    return database


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """When each question to the database was asked: early, or in the step."""
    told: list[str] = []

    def noting(when: str, own: Callable[..., Answer]) -> Callable[..., Answer]:
        def noted(*arguments: Any, **named: Any) -> Answer:
            told.append(when)
            return own(*arguments, **named)

        return noted

    monkeypatch.setattr(asking.Early, "_ask", noting("early", asking.Early._ask))
    monkeypatch.setattr(checks, "answered_by_two", noting("in the step", asking.answered_by_two))
    return told


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No thread and no answer waits after the test."""
    yield
    assert asking._early == {}
    assert [one.name for one in threading.enumerate() if one.name.startswith("asking early")] == []


def launched(*days: date, **arguments: Any) -> tuple[launch.Outcome, Evaluations]:
    (outcome,) = launch.run_days(load(), list(days), launch.ALL, **arguments)
    with dg.DagsterInstance.get() as instance:
        return outcome, evaluations(instance, outcome.run_id)


@pytest.mark.usefixtures("nothing_left")
def test_a_night_asks_early_and_says_what_its_checks_say_later(home: Database, asked: list[str]) -> None:
    """Once, beside the last asset; the checks alone, asked in their step, find the same in the same words."""
    outcome, found = launched(DAY)
    assert asked == ["early"]
    with dg.DagsterInstance.get() as instance:
        tags = {"dagster/partition": DAY.isoformat()}
        again = evaluations(instance, ALONE.execute_in_process(instance=instance, tags=tags, run_config=QUIET).run_id)

    assert asked == ["early", "in the step"]
    assert outcome.success
    assert found == again
    assert failed(found) == set()
    assert execute(home, SESSIONS) == []


@pytest.mark.usefixtures("home")
def test_the_checks_come_last() -> None:
    """After the market values, which take as long as the questions do."""
    outcome, _ = launched(DAY)
    with dg.DagsterInstance.get() as instance:
        records = instance.get_records_for_run(outcome.run_id, of_type=dg.DagsterEventType.STEP_START).records
    assert [record.event_log_entry.step_key for record in records][-2:] == ["position_market_values", "night_checks"]


@pytest.mark.usefixtures("nothing_left", "home")
@pytest.mark.parametrize(
    ("days", "select"),
    [
        pytest.param([BEFORE, DAY], [], id="a range"),
        pytest.param([DAY], ["stress_test_results"], id="one table"),
        pytest.param([DAY], ["position_market_values"], id="no table"),
    ],
)
def test_what_is_no_whole_night_asks_in_the_step(asked: list[str], days: list[date], select: list[str]) -> None:
    """A range of days, some of the assets."""
    launched(DAY)
    asked.clear()

    outcome, found = launched(*days, select=select)

    assert outcome.success
    assert asked == (["in the step"] if found else [])


@pytest.mark.usefixtures("nothing_left")
def test_a_day_that_failed_asks_nothing(home: Database, asked: list[str]) -> None:
    """Its tables do not stand."""
    execute(home, f"alter table stress_test_results add constraint broken check (calculation_date <> '{DAY}')")

    outcome, found = launched(DAY)

    assert not outcome.success
    assert (asked, found) == ([], {})


@pytest.mark.usefixtures("nothing_left")
def test_the_answer_is_taken_where_the_last_asset_failed(home: Database, asked: list[str]) -> None:
    """The four tables stand, and what was asked of them holds."""
    execute(home, f"alter table positions add constraint broken check (last_price_date <> '{DAY}')")

    outcome, found = launched(DAY)

    assert not outcome.success
    assert asked == ["early"]
    assert len(found) == len(checks.PROMISES)
    assert failed(found) == set()


@pytest.mark.usefixtures("nothing_left")
def test_a_session_that_ends_under_the_question_has_it_asked_in_the_step(
    home: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends it while it waits for a table: nothing of it is seen in the results."""
    own = asking.ask_early

    def cut(run_id: str, database: Database, *arguments: Any) -> None:
        with psycopg.connect(home.url) as locking:
            locking.execute("lock table stress_test_results")
            own(run_id, database, *arguments)
            assert until(home, WAITING)
            execute(home, f"select pg_terminate_backend(pid, 5000) from ({WAITING}) w")

    monkeypatch.setattr("refresh_assets.assets.refresh.ask_early", cut)
    outcome, found = launched(DAY)

    assert outcome.success
    assert asked == ["early", "in the step"]
    assert len(found) == len(checks.PROMISES)
    assert failed(found) == set()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(question(BEFORE), id="another day"),
        pytest.param(question(promises=checks.PROMISES[:1]), id="fewer promises"),
        pytest.param(question(effective=date(2026, 3, 23)), id="another evening"),
    ],
)
def test_an_answer_to_another_question_is_not_taken(good_night: Database, other: Question) -> None:
    """Nor kept for later."""
    ask_early("run", good_night, CALENDAR, question())
    assert answered_early("run", other) is None
    assert answered_early("run", question()) is None


@pytest.mark.usefixtures("nothing_left")
def test_an_answer_is_of_its_own_run_and_taken_once(good_night: Database) -> None:
    """Another run of the same day in the same process asks for itself."""
    ask_early("run", good_night, CALENDAR, question())
    assert answered_early("another run", question()) is None
    assert answered_early("run", question()) is not None
    assert answered_early("run", question()) is None


@pytest.mark.usefixtures("nothing_left", "home")
def test_a_table_that_is_written_again_has_the_answer_forgotten(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its first row; what is asked then is asked of the new rows."""
    own, while_writing = Refresh.write_days, list[dict[str, Any]]()

    def twice(self: Refresh, context: dg.AssetExecutionContext, work: Work) -> None:
        def noting(night: Night, day: date) -> Outcome:
            while_writing.append(dict(asking._early))
            return work(night, day)

        own(self, context, work)
        if context.asset_key.to_user_string() == "stress_test_results":
            own(self, context, noting)

    monkeypatch.setattr(Refresh, "write_days", twice)
    outcome, found = launched(DAY)

    assert outcome.success
    assert while_writing == [{}]
    assert asked == ["early", "early"]
    assert failed(found) == set()


@pytest.mark.usefixtures("nothing_left")
def test_an_answer_that_no_step_takes_goes_with_the_run(
    home: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its thread and its session."""
    monkeypatch.setattr(checks, "answered_early", lambda *_: None)
    outcome, _ = launched(DAY)

    assert outcome.success
    assert asked == ["early", "in the step"]
    assert execute(home, SESSIONS) == []


@pytest.mark.usefixtures("nothing_left")
def test_what_is_still_being_asked_ends_with_the_run(good_night: Database) -> None:
    """Its statement waits for a table that somebody has locked: it is cancelled, and its session ends."""
    with psycopg.connect(good_night.url) as locking:
        locking.execute("lock table stress_test_results")
        ask_early("run", good_night, CALENDAR, question())
        assert until(good_night, WAITING)
        forget("run")
        assert execute(good_night, SESSIONS) == []


def test_asked_beside_other_work_or_by_two_the_answer_is_the_same(good_night: Database) -> None:
    """Of tables that are broken in many ways, in what was found, of which day, and in its words."""
    for cases in TAMPERED.values():
        for statements, _ in cases.values():
            for one in statements.split(";"):
                execute(good_night, f"with t as ({one} returning 1) select count(*) from t")
    with good_night.connect() as connection:
        alone = asking.answered(connection, CALENDAR, question(BEFORE, DAY))
        connection.commit()
        beside = asking.answered(connection, CALENDAR, question(BEFORE, DAY), beside=True)
        connection.commit()
        by_two = asking.answered_by_two(good_night, connection, CALENDAR, question(BEFORE, DAY))

    assert beside == by_two == alone
    assert all(found == [] or len({one.day for one in found}) == 2 for found in alone.found.values())
    assert sum(any(one.wrong for one in found) for found in alone.found.values()) > 4


def until(database: Database, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query as soon as it gives some."""
    for _ in range(100_000):
        if rows := execute(database, query):
            return rows
    return []
