"""Where numbers come from and go to: SQL and COPY, nothing else.

Here: the tables (schema.py, migrations/), reading (read.py), writing (write.py), what is due (days.py), the embedded
server (embedded.py). Not here: a formula (core/), Dagster (assets/), a decision about a night (automation/)."""
