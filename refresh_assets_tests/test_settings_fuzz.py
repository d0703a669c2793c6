"""Any text in any variable gives valid settings, or one line that names the variable and shows no secret.

Here: what nobody would type. Not here: what somebody does (test_settings.py), URLs in particular
(test_settings_secrets.py)."""

from __future__ import annotations

import os
from unittest import mock

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from refresh_assets.errors import SettingsError
from refresh_assets.settings import Settings, load, variable

PLAIN = [variable(field) for field in attrs.fields_dict(Settings) if field not in ("database_url", "alert_urls")]
SECRET = ["REFRESH_DATABASE_URL", "REFRESH_ALERT_URLS"]
LONGEST_LINE = 700

# What the operating system lets an environment hold: no zero byte, nothing that is no UTF-8.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "2020-01-02",
                ",",
                " ",
                "\n",
                "1",
                "-1",
                "1e400",
                "nan",
                "inf",
                "\u0663",
                "0x10",
                "_",
                "public",
                '"',
                "%s",
            ),
            *(
                "{0}",
                "postgresql://",
                "json://",
                "tcp://",
                "@",
                ":",
                "/",
                "?",
                "#",
                "%",
                "[",
                "]",
                "host=",
                "\u2028",
                "..",
            ),
        ]
    )
    | TEXT,
    max_size=6,
).map("".join)
VALUES = PIECES | PIECES.map(lambda text: text * 500)


def refusal(**variables: str) -> str | None:
    """What is said of an environment; None: it is taken."""
    with mock.patch.dict(os.environ, variables):
        try:
            load()
        except SettingsError as refused:
            return str(refused)
    return None


@given(st.sampled_from(PLAIN), VALUES)
@example("REFRESH_EXTRA_CLOSURES", "x" * 100_000)
@example("REFRESH_SCENARIOS_FILE", "x" * 100_000)
@example("REFRESH_SCENARIOS_FILE", "a\nb")
@example("REFRESH_MAX_HEAL_DAYS", "9" * 10_000)
@example("REFRESH_START_DATE", "\u0662\u0660\u0662\u0660-01-02")
def test_any_text_in_any_variable_is_taken_or_refused_in_one_line(name: str, value: str) -> None:
    """The line names the variable and the mend, and is never longer than a person reads."""
    said = refusal(**{name: value})
    if said is not None:
        assert said.splitlines() == [said]
        assert said.startswith(f"{name} is ")
        assert f"Mend: correct {name}, or unset it (" in said
        assert len(said) < LONGEST_LINE


@given(st.sampled_from(SECRET), VALUES, VALUES)
@example("REFRESH_DATABASE_URL", "postgresql://u:", "@x@h/db")
@example("REFRESH_DATABASE_URL", "postgresql://u:", "%zz@h/db?options=\\")
@example("REFRESH_ALERT_URLS", "json://", " \n json://")
def test_a_secret_is_taken_or_refused_in_one_line_without_being_shown(name: str, before: str, after: str) -> None:
    """Whatever stands around it, in the line and in what the settings show of themselves."""
    secret = "Zq7planted"
    with mock.patch.dict(os.environ, {name: f"{before}{secret}{after}"}):
        try:
            shown = repr(load())
        except SettingsError as refused:
            shown = str(refused)
            assert shown.splitlines() == [shown]
            assert shown.startswith(f"{name} cannot be used, expected ")
            assert len(shown) < LONGEST_LINE
            shown += repr((refused.__cause__, refused.__context__))
    assert secret not in shown


@given(st.text(st.characters(exclude_characters="\0=", exclude_categories=["Cs"]), min_size=1, max_size=20), TEXT)
@example("A\nB", "")
@example("X" * 5000, "")
def test_any_other_name_is_refused_in_one_line(name: str, value: str) -> None:
    """With the name, and never the value: it may be a secret under a name with a slip."""
    name, value = f"REFRESH_{name}", f"Zq7planted{value}"
    if name.upper() in [variable(field) for field in attrs.fields_dict(Settings)]:
        return
    said = refusal(**{name: value})
    assert said is not None
    assert said.splitlines() == [said]
    assert "is no setting of the refresh. Mend: " in said
    assert "Zq7planted" not in said
    assert len(said) < LONGEST_LINE


@pytest.mark.parametrize("value", [" 7 ", "7", "+7", "007", "\t7\n", "\u00a07"])
def test_blanks_around_a_number_and_a_sign_are_taken(value: str) -> None:
    """As a compose file leaves them."""
    with mock.patch.dict(os.environ, {"REFRESH_MAX_HEAL_DAYS": value}):
        assert load().max_heal_days == 7


@pytest.mark.parametrize(
    "value", ["7.0", "7.5", "7.", "1e2", "1_000", "\u0663", "0x10", "+ 7", "--7", "true", " ", "\udcff"]
)
def test_what_is_no_plain_whole_number_is_refused(value: str) -> None:
    """int() would take some of them, and nobody means them."""
    assert (refusal(REFRESH_MAX_HEAL_DAYS=value) or "").startswith("REFRESH_MAX_HEAL_DAYS is ")


@pytest.mark.parametrize("value", ["0.5", " .5 ", "+5e-1", "0.50"])
def test_a_fraction_is_taken_in_every_usual_form(value: str) -> None:
    with mock.patch.dict(os.environ, {"REFRESH_MIN_PRICE_COVERAGE": value}):
        assert load().min_price_coverage == 0.5


@pytest.mark.parametrize(
    "value", ["0_0.5", "\u0660.\u0665", "inf", "-inf", "nan", "1e400", "1.0000001", "50%", "1/2", "0,5", " "]
)
def test_what_is_no_plain_fraction_is_refused(value: str) -> None:
    assert (refusal(REFRESH_MIN_PRICE_COVERAGE=value) or "").startswith("REFRESH_MIN_PRICE_COVERAGE is ")
