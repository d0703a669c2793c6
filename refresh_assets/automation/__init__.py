"""What starts a night.

Here: running days through Dagster in this process (launch.py). Not here: the assets (assets/), which days are due
(store/days.py), parsing a command line (cli.py)."""
