"""Decoded chunks of a platform too large for memory, in a temporary file that nobody else can open.

Here: keeping a chunk and taking it back. Not here: reading it the first time, or which platform is too large (inputs.py).

A chunk is asked for once a table. From PostgreSQL it costs half a second of both sides' work each time, from here a
fiftieth of that."""

from __future__ import annotations

import pickle
import tempfile
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


class Spill(Generic[Kept]):
    """Objects by number. The file has no name (it is gone with the process) and stands where TMPDIR says."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="refresh-assets-")  # noqa: SIM115 closed by close()
        self._places: dict[int, int] = {}
        self._is_full = False

    def keep(self, number: int, kept: Kept) -> None:
        """A disk that is full keeps nothing more: what is not there is read again."""
        if self._is_full or number in self._places:
            return
        try:
            place = self._file.seek(0, 2)
            pickle.dump(kept, self._file, protocol=5)
        except OSError:
            self._is_full = True
            return
        self._places[number] = place

    def take(self, number: int) -> Kept | None:
        """The object, or None where it was never kept."""
        place = self._places.get(number)
        if place is None:
            return None
        self._file.seek(place)
        found: Kept = pickle.load(self._file)
        return found

    def close(self) -> None:
        self._file.close()
