"""What positions say of their owners: since when each holds something, and what ended before that.

Here: one scan of all positions; and what an earlier scan found, brought up to now by the rows written since. Not here: who
is expected for it on which day (expected.py), which symbols are held (coverage.py), how long a scan's result may be kept
(holdings.py).

A scan that groups 200,000 positions by owner takes 35 ms, one that only asks each row which transaction wrote it 15. So the
second is enough, as long as PostgreSQL gives us rows in its own form: every row written since carries a transaction that
the earlier scan could not see. Their owners are read anew, all of their rows. What is gone leaves no row: then an owner of
whom nothing was written has fewer, so there are fewer rows in all than the owners account for, and all is read again.

Half of the owners are read at a time, for grouping all takes longer than a look should. What was written between the two
carries a transaction that the first could not see; a row that went from one half to the other is counted twice or not at all,
and the rows do not add up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import psycopg

from refresh_assets.core.money import FINEST, LARGEST
from refresh_assets.store.counters import plain_table
from refresh_assets.store.dates import DELETED, ENTRY, EXIT
from refresh_assets.store.scans import as_array, places_of, plan_for_scans, rows_of, sent

MOST_OWNERS = 1000
"""Owners of rows written since that are read one by one; of more, everything is."""

SOLD_OUT, USABLE, ODD = 0, 1, 2
OWNER = np.dtype([("id", "V16"), ("since", ">i4"), ("earliest", ">i4"), ("rows", ">i4")])
OTHER = np.dtype(
    [("owner", "V16"), ("id", "V16"), ("entry", ">i4"), ("exit", ">i4"), ("deleted", ">i4"), ("quantity", ">i4")]
)
_WRITER = np.dtype("V16")

# `since`: the first entry among the positions that are still held; `earliest`: among all. Two dates pass from one of
# PostgreSQL's processes to another for little; the rows that ended do not, and most begin no earlier than what is held.
_OWNERS = """
select string_agg(uuid_send(portfolio_id) || date_send(coalesce(since, date 'infinity')) || date_send(earliest)
    || int4send(rows::int4), '')
from (
    select portfolio_id, {rows} as rows, min(coalesce(entry_date, date '-infinity')) as earliest,
        min(coalesce(entry_date, date '-infinity'))
            filter (where exit_date is null and deleted_at is null and quantity is distinct from 0) as since
    from {positions} group by portfolio_id
) owned
"""
# What ended before the first day concerns none.
_OTHERS = f"""
select string_agg(
    uuid_send(portfolio_id) || uuid_send(coalesce(id, '{UUID(int=0)}')) || date_send({ENTRY}) || date_send({EXIT})
    || date_send({DELETED}) || int4send(case when quantity = 0 then {SOLD_OUT}
        when abs(quantity) <= {LARGEST} and scale(quantity) <= {FINEST} then {USABLE} else {ODD} end), '')
from {{positions}}
where (exit_date is not null or deleted_at is not null or quantity = 0) and (exit_date is null or exit_date >= %(first)s)
"""
# The earliest transaction that the scan might not see yet: what is written later carries it, or a later one. Without any
# open, all that it saw is of earlier ones.
_ALL = f"""
select ({_OWNERS.format(positions="{positions}", rows="count(*)")}), pg_snapshot_xmin(pg_current_snapshot())::xid::text,
    pg_snapshot_xmin(pg_current_snapshot()) = pg_snapshot_xmax(pg_current_snapshot())
"""
_OTHERS_OF = _OTHERS.format(positions="positions") + " and portfolio_id = any(%(owners)s::uuid[])"
OLDER = "age(positions.xmin) > (select age(%(oldest)s::xid))"
"""A transaction's number is compared by its age, since it wraps round."""

# One statement, so that the number of rows and the owners' rows are of one moment. `offset 0` has each owner's rows found
# by the index, if the platform has one.
_THEIRS = """(
    select positions.id, portfolio_id, quantity, entry_date, exit_date, deleted_at
    from owner join positions on portfolio_id = owner.id offset 0
) theirs"""
_WRITTEN = f"""
with written as materialized (
    select count(portfolio_id) as rows,
        array_agg(portfolio_id) filter (where not {OLDER}) as owners
    from positions
), owner as materialized (
    select distinct id from written cross join unnest(owners) id where id is not null limit {MOST_OWNERS + 1}
)
select rows, (select string_agg(uuid_send(id), '') from owner),
    ({_OWNERS.format(positions=_THEIRS, rows="count(*)")}), ({_OTHERS.format(positions=_THEIRS)}),
    age(%(oldest)s::xid)
from written
"""
_OLDEST_BASE = 10**9  # transactions: at 2^31 the numbers come round


@dataclass(frozen=True)
class Owned:
    """What positions say of their owners.

    Attributes:
        owners: each once; `rows` is 0 where nothing is to be built on it.
        others: positions that ended, of those owners of whom one may have ended before what is still held began.
    """

    owners: npt.NDArray[Any]
    others: npt.NDArray[Any]


class Part(StrEnum):
    """Which owners are read."""

    FIRST_HALF = f"portfolio_id < '{UUID(int=1 << 127)}'"
    SECOND_HALF = f"portfolio_id >= '{UUID(int=1 << 127)}'"

    @classmethod
    def of(cls, part: Part | None) -> str:
        """SQL for those positions; None: all."""
        return f"positions where {part}" if part else "positions"


@dataclass(frozen=True)
class Base:
    """What one scan found, to be brought up to a later moment where that can be.

    Attributes:
        owned: of the others only those of earlier transactions than `oldest`, if there is one.
        oldest: the earliest transaction that may have written what the scan did not see; empty: nothing can be built on it.
        state: of positions, when the scan began.
        whole: whether nothing that the scan saw is of `oldest` or later, so that `owned` is what positions said then.
        read: how many scans went before it.
    """

    owned: Owned
    oldest: str
    state: str
    whole: bool
    read: int

    def to_parts(self) -> list[bytes]:
        words = f"{self.oldest}|{int(self.whole)}|{self.read}|{self.state}"
        return [words.encode(), self.owned.owners.tobytes(), self.owned.others.tobytes()]

    def joined(self, other: Base) -> Base:
        """With other owners: known as of the earlier of the two scans."""
        one, two = sorted((self, other), key=lambda base: base.read)
        both = Owned(
            np.concatenate([one.owned.owners, two.owned.owners]), np.concatenate([one.owned.others, two.owned.others])
        )
        whole = one.whole and two.whole and one.state == two.state
        return Base(both, one.oldest and two.oldest and one.oldest, one.state, whole, two.read)

    def halves(self) -> dict[Part, Base]:
        """Of all owners."""
        owners, others = self.owned.owners, self.owned.others
        late, late_others = (
            np.frombuffer(ids.tobytes(), np.uint8)[::16] >= 128 for ids in (owners["id"], others["owner"])
        )
        return {
            Part.FIRST_HALF: replace(self, owned=Owned(owners[~late], others[~late_others])),
            Part.SECOND_HALF: replace(self, owned=Owned(owners[late], others[late_others])),
        }

    @classmethod
    def from_parts(cls, parts: list[bytes]) -> Base:
        oldest, whole, read, state = parts[0].decode().split("|", 3)
        return cls(Owned(rows_of(parts[1], OWNER), rows_of(parts[2], OTHER)), oldest, state, whole == "1", int(read))


def read_owned(connection: psycopg.Connection[Any], first: date, part: Part | None = None) -> Owned:
    """One scan of all positions.

    Args:
        first: what ended before this day concerns nobody.
        part: of whom; None: of all."""
    plan_for_scans(connection)
    owners = sent(connection, _OWNERS.format(positions=Part.of(part), rows="0"), [], OWNER)
    return Owned(owners, sent(connection, _OTHERS_OF, {"first": first, "owners": _of_more(owners)}, OTHER))


def read_base(connection: psycopg.Connection[Any], first: date, part: Part | None, state: str, read: int) -> Base:
    """The same; to be built on, where positions are a table in PostgreSQL's own form.

    What ended is read a moment later than the owners. A row that came in between, and is gone at the next look, would leave
    no trace: so such rows are left to written_since."""
    if plain_table(state) is None:
        return Base(read_owned(connection, first, part), "", state, True, read)
    plan_for_scans(connection)
    row = connection.execute(_ALL.format(positions=Part.of(part)), binary=True).fetchone()
    assert row is not None
    owners = rows_of(row[0], OWNER)
    asked = {"first": first, "owners": _of_more(owners), "oldest": row[1]}
    others = sent(connection, f"{_OTHERS_OF} and {OLDER}", asked, OTHER)
    return Base(Owned(owners, others), row[1], state, row[2], read)


def _of_more(owners: npt.NDArray[Any]) -> str:
    """Of whom something may have ended before what is still held began."""
    return as_array(owners["id"][owners["earliest"] < owners["since"]])


def written_since(connection: psycopg.Connection[Any], base: Base, first: date) -> tuple[Owned, int] | None:
    """What positions say now, and of how many owners something was written since the base; None where all has to be read
    again."""
    # Two processes that share so little work take as long as one.
    connection.execute(
        "select set_config('jit', 'off', true), set_config('max_parallel_workers_per_gather', '0', true)"
    )
    row = connection.execute(_WRITTEN, {"oldest": base.oldest, "first": first}, binary=True).fetchone()
    connection.execute("set local max_parallel_workers_per_gather to default")
    assert row is not None
    rows, writers, theirs = row[0], np.sort(rows_of(row[1], _WRITER).view("S16")).view("V16"), rows_of(row[2], OWNER)
    owners = base.owned.owners
    kept = ~places_of(owners["id"], writers)[1]
    if (
        row[4] > _OLDEST_BASE
        or len(writers) > MOST_OWNERS
        or rows != int(owners["rows"][kept].sum()) + int(theirs["rows"].sum())
    ):
        return None
    others = base.owned.others
    others = others[~places_of(others["owner"], writers)[1]]
    found = Owned(np.concatenate([owners[kept], theirs]), np.concatenate([others, rows_of(row[3], OTHER)]))
    return found, len(writers)
