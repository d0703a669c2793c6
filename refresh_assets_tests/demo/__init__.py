"""Promises of the packaged demo world."""
