"""Promises about the numbers: arrays in, arrays out, without a database."""
