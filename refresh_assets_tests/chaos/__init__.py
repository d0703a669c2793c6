"""Killed at any instant: every day of every table is absent, old or complete, and the next run heals it.

Here: the world and its night, the process that is killed, what stands afterwards, the kills, the table that `make chaos`
prints. Not here: single promises of a write (store/test_write.py), Dagster's own recovery (automation/test_live.py)."""
