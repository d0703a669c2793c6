"""Decoded chunks of a platform too large for memory, in a temporary file that nobody else can open.

Here: keeping a chunk and taking it back. Not here: reading it the first time, or which platform is too large (inputs.py).

A chunk is asked for once a table. From PostgreSQL it costs half a second of both sides' work each time, from here a
fiftieth of that."""

from __future__ import annotations

import os
import pickle
import tempfile
from contextlib import suppress
from typing import IO, Generic, TypeVar

Kept = TypeVar("Kept")


class Spill(Generic[Kept]):
    """Objects by number. The file has no name (it is gone with the process) and stands where TMPDIR says; it is opened with
    the first object, so that who keeps none needs no such place."""

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._places: dict[int, int] = {}
        self._is_full = False

    def keep(self, number: int, kept: Kept) -> None:
        """A disk that is full, or not there, keeps nothing more: what is not there is read again."""
        if self._is_full or number in self._places:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="refresh-assets-")  # noqa: SIM115 closed by close()
            place = self._file.seek(0, 2)
            pickle.dump(kept, self._file, protocol=5)
            self._file.flush()
        except OSError:
            self._is_full = True
            if self._file is not None:
                self._file = _only_to_read(self._file)
            return
        self._places[number] = place

    def take(self, number: int) -> Kept | None:
        """The object, or None where it was never kept."""
        place = self._places.get(number)
        if place is None or self._file is None:
            return None
        self._file.seek(place)
        found: Kept = pickle.load(self._file)
        return found

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _only_to_read(file: IO[bytes]) -> IO[bytes]:
    """What a full disk did not take stays in a file's buffer, and every later seek would try, and fail, to write it."""
    reader = os.fdopen(os.dup(file.fileno()), "rb")
    with suppress(OSError):
        file.close()
    return reader
