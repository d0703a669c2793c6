"""Settings that cannot be used, and their refusals.

Here: the environment, and the line. Not here: every setting's range (test_settings.py), secrets (test_settings_secrets.py)."""

from __future__ import annotations

from refresh_assets_tests.bad_inputs.cases import Refused


def refused(name: str, value: str, shown: str, expected: str, default: str) -> Refused:
    """One variable with one wrong value."""
    return Refused(
        f"setting: {name} {value[:20]!r}",
        {name: value},
        f"{name} {shown}, expected {expected}. Mend: correct {name}, or unset it ({default}).",
    )


DATES = "dates YYYY-MM-DD divided by commas or spaces"
URL = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
NOTHING = "it has no default"
SCHEMA = "the plain lower-case name of the schema of our tables"
PLAIN = "not lower-case letters, digits and _, at most 63 of them, with no digit first"

SETTINGS = [
    refused("REFRESH_EXTRA_CLOSURES", "2025-01-09;2025-01-10", "is '2025-01-09;2025-01-10'",
            f"{DATES}: '2025-01-09;2025-01-10' is not YYYY-MM-DD", NOTHING),
    refused("REFRESH_EXTRA_CLOSURES", "20250109", "is '20250109'", f"{DATES}: '20250109' is not YYYY-MM-DD", NOTHING),
    refused("REFRESH_START_DATE", "2025-02-29", "is '2025-02-29'",
            "a date YYYY-MM-DD from 1970 to 2100: '2025-02-29' is no day of the calendar", "default 2020-01-02"),
    refused("REFRESH_MIN_PRICE_COVERAGE", "80%", "is '80%'", "a fraction from 0 to 1", "default 0.8"),
    refused("REFRESH_MAX_HEAL_DAYS", "1e3", "is '1e3'", "a whole number of days from 1 to 25000", "default 250"),
    refused("REFRESH_GATE_DEADLINE_MINUTES", "1.5", "is '1.5'", "a whole number of minutes from 0 to 1440", "default 60"),
    refused("REFRESH_SCHEMA", 'a"; drop schema public; --', "is 'a\"; drop schema public; --'", f"{SCHEMA}: {PLAIN}",
            "default public"),
    refused("REFRESH_SCHEMA", "s" * 64, f"is '{'s' * 64}'", f"{SCHEMA}: {PLAIN}", "default public"),
    refused("REFRESH_SCENARIOS_FILE", "/", "is '/'",
            "the path of a readable file of stress scenarios: that is not a file", NOTHING),
    refused("REFRESH_DATABASE_URL", "postgresql://u:p@h:0/db", "cannot be used",
            f"{URL}: the port is not between 1 and 65535", NOTHING),
    refused("REFRESH_DATABASE_URL", "host=h dbname=d password=p", "cannot be used",
            f"{URL}: it does not start with postgresql://", NOTHING),
]  # fmt: skip
