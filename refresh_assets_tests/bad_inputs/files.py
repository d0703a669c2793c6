"""Scenario files that cannot be used, and their refusals.

Here: bytes of a file called mine.toml. Not here: one line more or less of a good file (core/test_scenario_refusals.py)."""

from __future__ import annotations

from refresh_assets_tests.bad_inputs.cases import Refused

FACTORS = '[factors]\n"Market" = {}\n"Interest Rate" = { duration = 16.5 }\n'
SCENARIO = '[[scenario]]\nid = "one"\nname = "One"\ncategory = "market"\nseverity = "mild"\nactive = true\n'
HEAD = FACTORS + SCENARIO
PLACE = "mine.toml: scenario 'one': "


def written(what: str, text: str, words: str) -> Refused:
    """A file of some text."""
    return Refused(f"file: {what}", text.encode(), words)


FILES = [
    Refused(
        "file: another encoding",
        (HEAD + "# prix \N{LATIN SMALL LETTER E WITH ACUTE}").encode("latin-1"),
        f"mine.toml: is not UTF-8 from byte {len(HEAD) + 7} on. Mend: name a readable TOML file in UTF-8.",
    ),
    Refused(
        "file: a picture",
        b"\x89PNG\r\n\x1a\n",
        "mine.toml: is not UTF-8 from byte 0 on. Mend: name a readable TOML file in UTF-8.",
    ),
    written("empty", "", "mine.toml: factors is missing. Mend: add factors."),
    written(
        "JSON",
        '{"factors": {}}',
        "mine.toml: not TOML: Invalid statement (at line 1, column 1). Mend: correct the file at that place.",
    ),
    written(
        "a key twice",
        HEAD + "active = false\n",
        "mine.toml: not TOML: Cannot overwrite a value (at line 10, column 15). Mend: correct the file at that place.",
    ),
    written(
        "shocks as a list",
        HEAD + "shocks = [-0.1]\n",
        f"{PLACE}shocks is [-0.1], expected a table. Mend: write shocks as a table of keys and values.",
    ),
    written(
        "a shock in per cent",
        HEAD + '[scenario.shocks]\n"Market" = -10\n',
        f"{PLACE}shock on 'Market' is -10, expected a return from -1 to 2. Mend: write a fraction, not per cent: -10 % is"
        " -0.10.",
    ),
    written(
        "a date as a shock",
        HEAD + '[scenario.shocks]\n"Market" = 2020-03-16\n',
        f"{PLACE}shock on 'Market' is datetime.date(2020, 3, 16), expected a finite number. Mend: write shock on 'Market' as"
        " a number such as 0.1.",
    ),
    written(
        "two shocks in one",
        HEAD + '[scenario.shocks]\n"Interest Rate" = { bp = 25, up = 1 }\n',
        f"{PLACE}shock on 'Interest Rate': unknown key 'up', expected bp. Mend: correct or remove the key.",
    ),
]
