"""Doing ahead what will be asked for next: chunks computed while others are written, tables written while others end.

Here: the threads and the order in which they work. Not here: what is computed and written (night.py).

PostgreSQL copies with one of its processes, and we compute beside it: one table at a time leaves half of two cores idle."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

Unit = TypeVar("Unit", bound=Hashable)
Result = TypeVar("Result")

INTERRUPT_EVERY = 0.1
"""Seconds: an interrupt that came between two statements met none."""


def computed_ahead(units: Iterable[Unit], compute: Callable[[Unit], Result], depth: int) -> Generator[Result]:
    """The result of each unit, in order; up to `depth` of the next ones are computed meanwhile, in a thread of their own.

    Raises what computing a unit raised, when it is its turn. Whoever leaves off closes the iterator: nothing more is
    computed then, and what is being computed is waited for."""
    ready: deque[Future[Result]] = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="computing ahead")
    try:
        for unit in units:
            ready.append(thread.submit(compute, unit))
            if len(ready) > depth:
                yield ready.popleft().result()
        while ready:
            yield ready.popleft().result()
    finally:
        thread.shutdown(cancel_futures=True)


class NotWanted(Exception):
    """Work that was begun ahead is given up: nobody will ask for it."""


class _Begun(Generic[Result]):
    """A unit under way: whether its turn has come, and whether anybody wants it."""

    def __init__(self) -> None:
        self.may_end, self.is_wanted = threading.Event(), True
        self.result: Future[Result] = Future()


class InTurn(Generic[Unit, Result]):
    """Work of which the next unit is begun while one is ended, and each ends when it, or one behind it, is asked for.

    Args:
        units: in the order in which they are to end.
        work: called in a thread with the unit; calls `wait(unit)` before what others can see of it.
        interrupt: called, more than once, with a unit that is given up: breaks off what its work waits for.
        together: what a unit is a part of. Behind a unit that failed none of the same ends before it is asked for.
        is_light: units that take next to no time: the one behind it is begun as well.

    Whoever asks for a unit has those in front of it end first: their results, or errors, wait until they are asked for. A
    unit that is asked for again is done again."""

    def __init__(
        self,
        units: Sequence[Unit],
        work: Callable[[Unit], Result],
        interrupt: Callable[[Unit], None] = lambda _: None,
        together: Callable[[Unit], Hashable] = lambda unit: unit,
        is_light: Callable[[Unit], bool] = lambda _: False,
    ) -> None:
        self._units, self._work, self._interrupt = units, work, interrupt
        self._together, self._is_light = together, is_light
        self._place = {unit: place for place, unit in enumerate(units)}
        self._begun: dict[Unit, _Begun[Result]] = {}
        self._reached = 0  # the units in front of this place had their turn
        self._ended: dict[Unit, Future[Result]] = {}
        self._failed: set[Hashable] = set()
        self.seconds: dict[Unit, float] = {}
        """Of each unit that ended: from its turn to its end."""

    def take(self, unit: Unit) -> Result:
        """The result of a unit, once it has ended; raises what the work raised."""
        place = self._place.get(unit)
        if place is None:
            return self._work(unit)
        self._end_up_to(place)
        ended = self._ended.pop(unit, None) or self._end(unit)
        self._reached = max(self._reached, place + 1)
        return ended.result()

    def end_all(self) -> None:
        """End every unit, as if one behind the last was asked for."""
        self._end_up_to(len(self._units))

    def not_asked_for(self) -> dict[Unit, Result]:
        """Units that ended well, and that nobody has asked for so far, with their results."""
        return {unit: ended.result() for unit, ended in self._ended.items() if ended.exception() is None}

    def _end_up_to(self, place: int) -> None:
        while self._reached < place:
            unit = self._units[self._reached]
            if self._together(unit) not in self._failed:
                self._ended[unit] = self._end(unit)
            self._reached += 1

    def _end(self, unit: Unit) -> Future[Result]:
        """The future of a unit, done; what comes next is begun."""
        wanted = self._wanted(unit)
        for other in [one for one in self._begun if one not in wanted]:
            self._give_up(other)
        for one in wanted:
            if one not in self._begun:
                self._begin(one)
        begun, begin = self._begun[unit], time.perf_counter()
        begun.may_end.set()
        wait([begun.result])
        del self._begun[unit]  # not where the caller is interrupted before it is done: stop() gives it up
        self.seconds[unit] = time.perf_counter() - begin
        change = self._failed.discard if begun.result.exception() is None else self._failed.add
        change(self._together(unit))
        return begun.result

    def _wanted(self, unit: Unit) -> list[Unit]:
        """The unit and the next one whose turn comes; where that is a light one, also the one behind it."""
        wanted = [unit]
        for place in range(max(self._place[unit] + 1, self._reached), len(self._units)):
            one = self._units[place]
            if self._together(one) not in self._failed:
                wanted.append(one)
                if not self._is_light(one):
                    break
        return wanted

    def wait(self, unit: Unit) -> None:
        """Wait until it is the unit's turn; at once where it was not begun ahead. Raises NotWanted where it never comes."""
        begun = self._begun.get(unit)
        if begun is not None:
            begun.may_end.wait()
            if not begun.is_wanted:
                raise NotWanted(unit)

    def stop(self) -> None:
        """Give up what was begun, and wait until it is gone."""
        for unit in list(self._begun):
            self._give_up(unit)

    def _begin(self, unit: Unit) -> _Begun[Result]:
        begun = self._begun[unit] = _Begun()

        def run() -> None:
            try:
                begun.result.set_result(self._work(unit))
            except BaseException as error:
                begun.result.set_exception(error)

        # A daemon: a process that is told to end is not held up by work that waits for a lock.
        threading.Thread(target=run, name=f"writing {unit}", daemon=True).start()
        return begun

    def _give_up(self, unit: Unit) -> None:
        begun = self._begun[unit]
        begun.is_wanted = False
        begun.may_end.set()
        while not begun.result.done():
            self._interrupt(unit)
            wait([begun.result], timeout=INTERRUPT_EVERY)
        del self._begun[unit]
