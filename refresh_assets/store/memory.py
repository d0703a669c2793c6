"""One heap for all threads of a night.

Here: the C library's setting. Not here: Arrow's own allocator (arrow.py), which chunks are kept (inputs.py).

glibc gives each thread a heap of its own and gives back only what lies at a heap's end, so what four threads read, decode,
compute and copy left 200 MB behind that nobody held any more, and more with every chunk. From one heap each takes what
another has freed."""

from __future__ import annotations

import ctypes
import os

_M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> None:
    """Threads that begin from now on share the main one's heap. Whoever has set MALLOC_ARENA_MAX is left with it; where
    the C library has no such setting, nothing happens."""
    if "MALLOC_ARENA_MAX" in os.environ:
        return
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # macOS, musl, Windows
        return
    set_option(_M_ARENA_MAX, 1)
