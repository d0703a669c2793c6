"""What the numbers are: arrays in, arrays out.

Here: one module an analytic, and what they share (books, money, scenarios). Not here: SQL (store/), Dagster (assets/),
the clock (passed in by the outermost layer), the environment (settings.py)."""
