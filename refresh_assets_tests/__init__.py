"""The promises of the refresh, one test each.

Here: nothing but this sign. The rooms are those of `refresh_assets`, with the same names."""
