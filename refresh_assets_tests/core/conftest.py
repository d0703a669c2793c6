"""How the properties of the numbers are tried.

Here: hypothesis without a deadline: how long an example takes says something of the machine, not of a figure. Not here:
fixtures (../conftest.py), builders (builders.py)."""

from hypothesis import settings

settings.register_profile("figures", deadline=None)
settings.load_profile("figures")
