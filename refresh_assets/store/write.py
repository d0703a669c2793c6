"""One day of one table, whole or not at all.

Here: the claim, the COPY, the comparison with what stood there, the refresh_days row, in one transaction. Not here: which
figures (core/), which columns (tables.py), which days (days.py), what was left out (exceptions.py).

A new day is copied straight into its month's partition. A day that is there is copied beside it, compared, and only what
differs is rewritten: cheaper than deleting and copying all, and the comparison is the restatement record. Readers see the
old day until the commit; nothing here takes a lock that a reader would wait for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb

from refresh_assets.core import digest
from refresh_assets.core.book import Uuids
from refresh_assets.core.omissions import Omission
from refresh_assets.core.version import CODE_VERSION
from refresh_assets.errors import ACCOUNTS_FOR_PORTFOLIO, FAILURES, ExceptionCode
from refresh_assets.store.database import Database
from refresh_assets.store.dates import day_number
from refresh_assets.store.exceptions import Exceptions, copy_exceptions
from refresh_assets.store.partitions import ensure_partition
from refresh_assets.store.restatement import NEW_ROWS, Restatement, Statements, prices_changed, replace_day
from refresh_assets.store.schema_names import DAY_KEYS, DAY_TABLES

ADDED_UP = ("positions", "valuations", "prices", "betas")
"""Kinds of input whose digest is a sum over portfolios; the others are of the day as a whole."""

Inputs = Mapping[str, str]
"""Kind of input -> digest in hex."""


@dataclass
class Written:
    """What now stands for a day of a table."""

    day: date
    table: str
    portfolios: int = 0
    rows: int = 0
    exceptions: int = 0
    failed: int = 0
    inputs_digest: str = ""
    partial: int = 0
    coverage: float | None = None
    codes: dict[str, int] = field(default_factory=dict)
    restatement: Restatement | None = None


@contextmanager
def written_day(
    database: Database,
    day: date,
    table: str,
    run_id: str,
    missing_only: bool,
    opened: Callable[[psycopg.Connection[Any]], None] = lambda _: None,
) -> Iterator[DayWriter]:
    """A transaction that replaces a day of a table (or adds to it the portfolios that it lacks).

    `opened` is told the connection before anything is waited for on it. Commits at the end of the block; an error inside
    leaves what stood there before."""
    with database.connect(autocommit=True) as connection:
        partition = ensure_partition(connection, table, day)
        with connection.transaction():
            opened(connection)
            # The claim: a second writer of this day and table waits here, and a writer that dies gives it up.
            connection.execute("select pg_advisory_xact_lock(hashtext(%s), %s)", [f"refresh {table}", day_number(day)])
            writer = DayWriter(connection, day, table, partition, run_id, missing_only)
            with (
                writer.copying
            ):  # breaks off a COPY that an error left open: the rollback would wait for its end for ever
                yield writer


class DayWriter:
    """Rows of one day of one table on their way in. Made by `written_day`."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        day: date,
        table: str,
        partition: str,
        run_id: str,
        missing_only: bool,
    ) -> None:
        self.connection, self.day, self.table, self.run_id = connection, day, table, run_id
        key = (DAY_TABLES[table], *DAY_KEYS[table])
        self._statements = Statements(connection, table, key, DAY_TABLES[table], day)
        self.before = self._stored_day()
        self.adds = missing_only and self.before is not None
        self.compares = self.before is not None and not missing_only
        self._target = Identifier(NEW_ROWS if self.compares else partition)
        self._encoder: Any = None
        self._has_rows = False
        self._copy: Any = None
        self.copying = ExitStack()
        self.due: set[bytes] | None = None
        """Ids of the portfolios that the day is about, where the night knows them all and adds to it."""
        self._exceptions = Exceptions(connection, day, table, self.adds)
        self._result = Written(day, table)
        self._accounted = np.uint64(0)
        self._retried: list[UUID] = []
        if self.before is None:
            # Nothing should be there; a hand that wrote into our table must not break the night.
            self._statements.run("delete from {table} where {day} = {value}")

    def accounted(self, failed_too: bool = False) -> Uuids:
        """Portfolios that have rows, or an exception that says why not; failed ones are due when somebody asks."""
        codes = sorted(code.value for code in ACCOUNTS_FOR_PORTFOLIO if failed_too or code not in FAILURES)
        rows = self._statements.run(
            "select distinct portfolio_id from {table} where {day} = {value} union"
            " select portfolio_id from refresh_exceptions where calculation_date = {value} and asset = {name}"
            " and portfolio_id is not null and code = any({codes})",
            codes=Literal(codes),
        ).fetchall()
        return np.array([row[0].bytes for row in rows], dtype="V16")

    def add(self, rows: pa.RecordBatch | None, portfolios: Uuids, omissions: Sequence[Omission]) -> None:
        """Rows of a chunk, the portfolios that they belong to, and what was left out of them."""
        if rows is not None and rows.num_rows:
            if self._encoder is None:
                self._begin(rows.schema)
            self._copy.write(self._encoder.write_batch(rows))
            self._result.rows += rows.num_rows
        named: list[UUID] = []
        if self.adds and self.before is not None:
            named = [UUID(bytes=bytes(one)) for one in portfolios]
            named += [UUID(bytes=one.portfolio) for one in omissions if one.portfolio]
            self._retried += [one for one in named if str(one) in self.before.failed]
        self._exceptions.add(omissions, named)
        if self._exceptions.are_many:
            self._end_copy()
            self._exceptions.copy()
        self._result.portfolios += len(portfolios)
        without = {one.portfolio for one in omissions if one.code in ACCOUNTS_FOR_PORTFOLIO and one.portfolio}
        if without:
            without.difference_update(one.tobytes() for one in portfolios)
        ids = np.concatenate([portfolios, np.array(sorted(without), dtype="V16")])
        if len(ids):
            with np.errstate(over="ignore"):
                self._accounted += digest.portfolio_hashes(ids).sum(dtype=np.uint64)

    def finish(self, inputs: Inputs, failed_inputs: Mapping[str, Inputs]) -> Written:
        """Bring the rows into place, with exceptions and the refresh_days row.

        Args:
            inputs: digests of the portfolios computed and of the day as a whole.
            failed_inputs: those of each portfolio that failed, by id: taken off again when it is tried once more."""
        self._end_copy()
        result, before = self._result, self.before
        result.codes = self._exceptions.codes
        if self.adds and before is not None:
            inputs, failed_inputs = before.with_added(inputs, failed_inputs, self._retried)
        result.inputs_digest = digest_of(inputs)
        if self.compares and before is not None:
            result.restatement = self._restate(before, inputs)
        self._exceptions.copy()
        self._write_day(inputs, failed_inputs)
        return result

    def _restate(self, before: StoredDay, inputs: Inputs) -> Restatement | None:
        if not self._has_rows:
            self._statements.run("create temp table {new} (like {table}) on commit drop")
        found = replace_day(self._statements)
        differ = sorted(kind for kind in inputs if inputs[kind] != before.inputs.get(kind))
        if not found.rows and not differ:
            return None
        # The marks of the day still stand: they are replaced once the snapshots are.
        closes = self.table == "portfolio_snapshots" and "prices" in differ
        prices = prices_changed(self.connection, self.day) if closes else None
        self.connection.execute(
            "insert into refresh_restatements values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                self.day,
                self.table,
                datetime.now(UTC),
                self.run_id,
                found.rows,
                found.portfolios,
                found.largest,
                found.column,
                found.portfolio,
                found.old,
                found.new,
                before.inputs_digest,
                self._result.inputs_digest,
                differ,
                None if prices is None else Jsonb(prices),
            ],
        )
        return replace(found, inputs_changed=tuple(differ), prices_changed=prices)

    def _begin(self, schema: pa.Schema) -> None:
        import pgpq

        if self.compares and not self._has_rows:
            self._statements.run("create temp table {new} (like {table}) on commit drop")
        self._has_rows = True
        self._encoder = pgpq.ArrowToPostgresBinaryEncoder(schema)
        columns = SQL(", ").join(Identifier(name) for name in schema.names)
        statement = SQL("copy {} ({}) from stdin (format binary)").format(self._target, columns)
        self._copy = self.copying.enter_context(self.connection.cursor().copy(statement))
        self._copy.write(self._encoder.write_header())

    def _end_copy(self) -> None:
        if self._encoder is not None:
            self._copy.write(self._encoder.finish())
            self.copying.close()
            self._encoder = None

    def _write_day(self, inputs: Inputs, failed_inputs: Mapping[str, Inputs]) -> None:
        result = self._result
        accounted = self._accounted
        if self.adds and self.before is not None:
            result.portfolios += self.before.portfolios
            result.rows += self.before.rows
            ids = self.accounted(failed_too=True)
            if self.due is not None:  # rows of a portfolio deleted since, back to before the day, account for nobody
                ids = np.array([one for one in ids if one.tobytes() in self.due], dtype="V16")
            accounted = digest.portfolio_hashes(ids).sum(dtype=np.uint64) if len(ids) else np.uint64(0)
            result.codes = dict(
                self._statements.run(
                    "select code, count(*) from refresh_exceptions where calculation_date = {value} and asset = {name}"
                    " group by code"
                ).fetchall()
            )
        result.exceptions = sum(result.codes.values())
        result.failed = sum(result.codes.get(code.value, 0) for code in FAILURES)
        row = {
            "calculation_date": self.day,
            "table_name": self.table,
            "status": "complete",
            "portfolios": result.portfolios,
            "rows": result.rows,
            "exceptions": result.exceptions,
            "failed": result.failed,
            "accounted": int(accounted.view(np.int64)),
            "inputs_digest": result.inputs_digest,
            "inputs": json.dumps({**inputs, "failed": failed_inputs}),
            "run_id": self.run_id,
            "code_version": CODE_VERSION,
            "finished_at": datetime.now(UTC),
        }
        upsert_day(self.connection, row)

    def _stored_day(self) -> StoredDay | None:
        row = self.connection.execute(
            "select portfolios, rows, inputs_digest, inputs from refresh_days"
            " where calculation_date = %s and table_name = %s and status = 'complete'",
            [self.day, self.table],
        ).fetchone()
        return StoredDay(*row) if row else None


@dataclass(frozen=True)
class StoredDay:
    """A complete day of a table as refresh_days has it."""

    portfolios: int
    rows: int
    inputs_digest: str
    inputs: dict[str, Any]

    @property
    def failed(self) -> Mapping[str, Inputs]:
        """Digests of the portfolios that failed, by id."""
        found: Mapping[str, Inputs] = self.inputs.get("failed", {})
        return found

    def with_added(
        self, more: Inputs, failed: Mapping[str, Inputs], retried: Sequence[UUID]
    ) -> tuple[Inputs, Mapping[str, Inputs]]:
        """Inputs of the day after portfolios were added; what is of the day as a whole stays as it was used.

        A portfolio that had failed stands in the sums already: its old inputs are taken off first."""
        sums = {kind: int(self.inputs[kind], 16) for kind in ADDED_UP}
        still_failed = dict(self.failed)
        for one in retried:
            for kind, value in still_failed.pop(str(one), {}).items():
                sums[kind] = digest.added(sums[kind], digest.negated(int(value, 16)))
        sums = {kind: digest.added(sums[kind], int(more[kind], 16)) for kind in ADDED_UP}
        whole = {kind: value for kind, value in self.inputs.items() if kind not in ADDED_UP and kind != "failed"}
        return {**whole, **digest.as_hex(sums)}, {**still_failed, **failed}


def upsert_day(connection: psycopg.Connection[Any], row: Mapping[str, object]) -> None:
    """Insert or replace one row of refresh_days."""
    key = ("calculation_date", "table_name")
    names = [Identifier(name) for name in row]
    kept = SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in row if name not in key)
    statement = SQL(
        "insert into refresh_days ({}) values ({}) on conflict (calculation_date, table_name) do update set {}"
    )
    values = SQL(", ").join(Literal(value) for value in row.values())
    connection.execute(statement.format(SQL(", ").join(names), values, kept))


def skip_day(database: Database, day: date, run_id: str) -> None:
    """Mark a day without a price as skipped, in every table that has nothing for it."""
    with database.connect() as connection:
        for table in DAY_TABLES:
            connection.execute(
                "insert into refresh_days values (%s, %s, 'skipped', 0, 0, 0, 0, 0, '', '{}', %s, %s, %s)"
                " on conflict (calculation_date, table_name) do nothing",
                [day, table, run_id, CODE_VERSION, datetime.now(UTC)],
            )
        connection.execute(
            "delete from refresh_exceptions where calculation_date = %s and code = %s",
            [day, ExceptionCode.NO_PRICES],
        )
        detail = (
            f"market_data_cache has not one close of {day}. Mend: have the symbol batch load it; the day then heals."
        )
        copy_exceptions(connection, day, "portfolio_snapshots", [Omission(ExceptionCode.NO_PRICES, detail)])


def digest_of(inputs: Inputs) -> str:
    """One hash of all kinds of input."""
    return hashlib.sha256(json.dumps(dict(sorted(inputs.items()))).encode()).hexdigest()
