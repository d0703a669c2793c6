"""What a bad input is.

Here: the shapes of the tables' lines. Not here: the lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from refresh_assets_tests.worlds import Row

Rows = Mapping[str, tuple[Row, ...]]


@dataclass(frozen=True)
class BadRow:
    """A bad row beside a sound portfolio's: `words` are the exception row's, after the name of the row.

    Attributes:
        what: the id, and what is wrong.
        values: of the position, besides a sound one's.
        more: rows of other tables, which get the position's id.
        symbol: that the exception row has.
        unpriced: positions that the snapshot leaves out.
        besides: further codes that are named of the position."""

    what: str
    code: str
    words: str
    values: Row = field(default_factory=dict)
    more: Rows = field(default_factory=dict)
    symbol: str | None = "AAA"
    unpriced: int = 0
    besides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """An input that is refused in one line."""

    what: str
    given: Any
    words: str
    exit_code: int = 2
