"""Computing while PostgreSQL writes: the parts of a run, a few ahead of whoever takes them.

Here: one thread and the order in which it works. Not here: what a part is, and what computes it (night.py).

A quarter of a night was waiting for COPY. Its rows are on their way while the next chunk, or the next table, is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Unit = TypeVar("Unit", bound=Hashable)
Result = TypeVar("Result")


class Ahead(Generic[Unit, Result]):
    """Results of some units of work, each computed once it is among the next `depth` of the one that is taken.

    Args:
        units: in the order in which they will probably be taken.
        compute: called in a thread of its own, one unit after the other.
        depth: results that are kept ready beyond the one that is taken.

    A unit out of order, or one that raised, is computed when it is asked for, and the order goes on from there."""

    def __init__(self, units: Sequence[Unit], compute: Callable[[Unit], Result], depth: int) -> None:
        self._units, self._compute, self._depth = units, compute, depth
        self._place = {unit: place for place, unit in enumerate(units)}
        self._ready: deque[tuple[int, Future[Result]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="computing ahead")

    def take(self, unit: Unit) -> Result:
        """The result of a unit; raises what computing it raised."""
        place = self._place[unit]
        if not self._ready or self._ready[0][0] != place:
            self._forget()
            self._ready.append((place, self._thread.submit(self._compute, unit)))
        after = self._ready[-1][0] + 1
        for number in range(after, min(place + self._depth + 1, len(self._units))):
            self._ready.append((number, self._thread.submit(self._compute, self._units[number])))
        return self._ready.popleft()[1].result()

    def stop(self) -> None:
        """Compute nothing more; what is being computed is waited for."""
        self._forget()
        self._thread.shutdown()

    def _forget(self) -> None:
        for _, future in self._ready:
            future.cancel()
        self._ready.clear()
