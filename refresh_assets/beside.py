"""Work of a moment that another process does, while this one goes on: where Python is busy, threads take turns.

Here: forking it, its answer, and doing the work here where that comes to nothing. Not here: any work."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from functools import cache
from typing import NoReturn, TypeVar

T = TypeVar("T")


def beside(work: Callable[[], T]) -> Callable[[], T]:
    """What gives the result of some work, which a process begins at once; whoever asks waits for it.

    The work is done by whoever asks first, where this process has other threads, and so must not be forked, where there may
    be no more processes, and where the other one ends without an answer."""
    if threading.active_count() > 1:
        return cache(work)
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        return cache(work)
    if child == 0:
        _answer(work, writing)
    os.close(writing)
    asking = threading.Lock()

    @cache
    def result() -> T:
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()
        _, ended = os.waitpid(child, 0)
        found: T = pickle.loads(told) if ended == 0 else work()
        return found

    def asked() -> T:
        with asking:
            return result()

    return asked


def _answer(work: Callable[[], object], writing: int) -> NoReturn:
    """Nothing that the other process began is ended here: no buffer written out, no connection closed."""
    code = 1
    try:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(work()))
        code = 0
    finally:
        os._exit(code)
