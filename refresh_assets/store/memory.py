"""What the C library keeps of what a night has freed.

Here: glibc's settings. Not here: Arrow's own allocator (arrow.py), which chunks are kept (inputs.py).

glibc gives each thread a heap of its own and gives back only what lies at a heap's end, so what four threads read, decode,
compute and copy left 200 MB behind that nobody held any more, and more with every chunk. From one heap each takes what
another has freed.

A block of its own, outside the heap, goes back when it is freed. glibc asks for one where a block is large, and takes for
large what is larger than the largest that was freed so far: after the columns of a million portfolios nothing is."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
LARGE_BLOCK = 2**20
"""Bytes. From half of it a night at 400,000 portfolios takes a sixth longer, from twice as much it takes 30 MB more."""


def share_one_heap() -> None:
    """Threads that begin from now on share the main one's heap."""
    _set("MALLOC_ARENA_MAX", _M_ARENA_MAX, 1)


def give_back_large_blocks() -> None:
    """What is larger than LARGE_BLOCK goes back to the system when it is freed: for platforms of many chunks, of which each
    would leave the heap a little longer."""
    _set("MALLOC_MMAP_THRESHOLD_", _M_MMAP_THRESHOLD, LARGE_BLOCK)
    _set("MALLOC_TRIM_THRESHOLD_", _M_TRIM_THRESHOLD, 2 * LARGE_BLOCK)


def _set(variable: str, option: int, value: int) -> None:
    """Whoever has set the variable is left with it; where the C library has no such setting, nothing happens."""
    if variable in os.environ:
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS, musl, Windows
        return
    set_option(option, value)
