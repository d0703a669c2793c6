"""What a person types by mistake, on the evening of 2026-03-13, and the answer.

Here: words of the command line, and the line after `refresh-assets: `. Not here: commands that work (cli/)."""

from __future__ import annotations

from refresh_assets_tests.bad_inputs.cases import Refused

WRITE = "write for example 2026-03-13"
GIVE = "give the uuid or the exact name of a portfolio that is not deleted"


def date(text: str) -> Refused:
    """A date that is none."""
    words = f"{text!r} is not a date YYYY-MM-DD. Mend: {WRITE}."
    return Refused(f"command: date {text[:20]!r}", ["run", "--date", text], words)


COMMANDS = [
    date("2026-3-13"),
    date("13.03.2026"),
    date("2026-02-30"),
    date("20260313"),
    date("2026-03-13T21:30"),
    date("yesterday"),
    date(""),
    Refused(
        "command: a Saturday",
        ["run", "--date", "2026-03-14"],
        "2026-03-14 is not a trading day (Saturday). Mend: take 2026-03-13 or 2026-03-16, the nearest trading days.",
    ),
    Refused(
        "command: a holiday",
        ["status", "--date", "2026-04-03"],
        "2026-04-03 is not a trading day (Good Friday). Mend: take 2026-04-02 or 2026-04-06, the nearest trading days.",
    ),
    Refused(
        "command: tomorrow",
        ["run", "--date", "2026-03-16"],
        "2026-03-16 is later than the effective trading date 2026-03-13. Mend: ask for 2026-03-13 or an earlier day.",
    ),
    Refused(
        "command: before the first partition",
        ["run", "--date", "2026-03-11"],
        "2026-03-11 is before the first partition, 2026-03-12. Mend: set REFRESH_START_DATE to an earlier day.",
    ),
    Refused(
        "command: a range from back to front",
        ["run", "--from", "2026-03-13", "--to", "2026-03-12"],
        "the range begins on 2026-03-13 and ends before it, on 2026-03-12. Mend: exchange --from and --to.",
    ),
    Refused(
        "command: half a range",
        ["run", "--from", "2026-03-13"],
        "a range needs both ends. Mend: give --from and --to, or --date for one day.",
    ),
    Refused(
        "command: nobody", ["onboard", "'; drop table x"], f'there is no portfolio "\'; drop table x". Mend: {GIVE}.'
    ),
]
