"""Nightly portfolio refresh: a night of portfolio analytics as Dagster assets over PostgreSQL.

Here: nothing but this sign, so that importing the package costs nothing. Not here: the asset graph (definitions.py),
the command line (cli.py), what the numbers are (core/), where they come from and go to (store/)."""
