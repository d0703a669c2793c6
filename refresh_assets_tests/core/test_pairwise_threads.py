"""Correlations have the same bits however many threads the library of products has.

Here: groups of any size up to and beyond what it shares out between threads. Not here: what the correlations are
(test_pairwise.py), whole nights (store/test_same_bytes.py)."""

from __future__ import annotations

import os
import subprocess
import sys

SIZES = (2, 18, 60, 63, 64, 65, 66, 100, 150)
PAIRS = f"""
import hashlib
import numpy as np
from refresh_assets.core.pairwise import Series
rng = np.random.default_rng(1)
for gaps in (0.0, 0.003, 0.05):
    returns = rng.normal(size=(62, 300))
    returns[rng.random(returns.shape) < gaps] = np.nan
    series = Series.of(returns, np.arange(300, dtype=np.int32))
    for size in {SIZES}:
        groups = np.array([rng.choice(300, size, replace=False) for _ in range(5)], dtype=np.int32)
        rho, common = series.pairs(groups, np.triu_indices(size, 1))
        print(gaps, size, hashlib.md5(rho.tobytes() + common.tobytes()).hexdigest())
"""


def bits(threads: int) -> list[str]:
    """A line for each size of group; in a process of its own, as the library counts its threads when it is loaded."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([sys.executable, "-c", PAIRS], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_any_size_of_group_has_the_same_bits_with_any_number_of_threads() -> None:
    """A large product would be shared out, and each share ends in other bits."""
    alone = bits(1)
    assert len(alone) == 3 * len(SIZES)
    assert bits(2) == alone
    assert bits(4) == alone
