"""Work that another process does: whose answer it is, and that nothing is lost where it gives none.

Here: beside() in processes of their own, since one with threads forks nothing. Not here: what is done so (test_calendar.py)."""

from __future__ import annotations

import subprocess
import sys

import pytest

CASES = {
    "another process answers, once": ("pid", "told() == told() != os.getpid()"),
    "one that is killed is replaced by this one": ("pid_unless_child", "told() == told() == os.getpid()"),
    "one that fails as well": ("fails_in_child", "told() == os.getpid()"),
    "an answer may be longer than a pipe": ("much", "len(told()) == 1_000_000"),
    "nobody is left behind": ("pid", "told() and nobody_is_left()"),
}
PREAMBLE = """
import os, signal, sys, threading
from refresh_assets.beside import beside
here = os.getpid()

def pid():
    return os.getpid()

def pid_unless_child():
    if os.getpid() != here:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()

def fails_in_child():
    if os.getpid() != here:
        raise RuntimeError
    return os.getpid()

def much():
    return "x" * 1_000_000

def nobody_is_left():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False
"""


def said(code: str) -> str:
    """What a process prints, which begins with nothing but the work's definitions."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.parametrize(("work", "so"), CASES.values(), ids=CASES.keys())
def test_the_result_is_there_whatever_becomes_of_the_process(work: str, so: str) -> None:
    """Printed once: the other process writes none of this one's output."""
    assert said(f"print('begins'); told = beside({work}); print({so})") == "begins\nTrue"


def test_a_process_with_threads_is_not_forked() -> None:
    """What such a thread holds would be held for ever in the other process."""
    thread = "stop = threading.Event(); threading.Thread(target=stop.wait).start()"
    assert said(f"{thread}; told = beside(pid); print(told() == os.getpid()); stop.set()") == "True"


def test_where_no_process_may_be_added_the_work_is_done_here() -> None:
    """A limit of processes is no reason to tell nothing."""
    code = "def full(): raise BlockingIOError\nos.fork = full\nfor _ in range(2000): told = beside(pid)\nprint(told() == here)"
    assert said(code) == "True"


def test_an_error_of_the_work_is_raised_where_it_is_asked_for() -> None:
    """As if it had been done there."""
    code = "told = beside(lambda: 1 // 0)\ntry: told()\nexcept ZeroDivisionError: print('raised')"
    assert said(code) == "raised"


def test_many_threads_that_ask_get_one_answer() -> None:
    """Whoever comes first waits, the others for it."""
    code = """
told = beside(pid)
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    found = {one.result() for one in [pool.submit(told) for _ in range(8)]}
print(len(found), here not in found)
"""
    assert said(code) == "1 True"
