"""Demo: a small world to run real nights on, without a database or a market-data vendor of one's own.

Here: the packaged real closes (prices.parquet), made-up portfolios (books.toml), made-up option marks, and what writes
them into the platform's tables (world.py). Not here: starting a database (store/embedded.py), running a night, printing
its summary (cli.py). Source and licence of the prices: README.md."""
