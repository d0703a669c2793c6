"""Benchmarks: the night against the seed's loop and against the disk.

Here: a synthetic platform of any size (world.py), the job as it was first written (seed_loop.py on seed_loop_tables.py),
the physical floor (raw_copy.py), and what machine the figures come from (machine.py). Not here: promises of correctness,
which are tests (refresh_assets_tests/)."""
