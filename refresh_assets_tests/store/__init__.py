"""The promises of refresh_assets/store, on a real PostgreSQL.

Here: nothing but this sign."""
