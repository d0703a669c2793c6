"""Every page stands alone, is well-formed, and says names as they are and nothing else.

Here: the form of both pages. Not here: their figures (test_night_report.py, test_book_report.py)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from refresh_assets.report.page import text, usd
from refresh_assets.store.database import Database
from refresh_assets_tests.report.conftest import Written
from refresh_assets_tests.worlds import DAY, execute, insert, load_closes, position, run, uid

ONE = uid("portfolio", 1)
EVIL = """<script>alert("x")</script> & 'Söhne' </title><img src=http://example.com/x>"""
BOTH = pytest.mark.parametrize("portfolio", [None, ONE], ids=["night", "portfolio"])


@BOTH
def test_a_page_needs_nothing_but_itself(written: Written, portfolio: object) -> None:
    """No script, no link, no address of anything, nothing that loads."""
    page = written(portfolio)

    assert not {"script", "link", "img", "iframe", "object", "a", "base", "form"} & set(page.tags)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", page.source)
    assert {name for name, _ in page.attributes} & {"src", "href", "srcset", "onload", "onclick"} == set()


@BOTH
def test_a_page_is_well_formed_and_can_be_read_aloud(written: Written, portfolio: object) -> None:
    """Language, title, one h1, headers with a scope, a caption a table, a title a drawing; figures to the right."""
    page = written(portfolio)

    assert page.source.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("style") == 1
    assert str(DAY) in (re.search(r"<title>(.*?)</title>", page.source) or [""])[0]
    assert len(page.tables) == page.tags.count("caption") and all(one.caption for one in page.tables)
    assert page.tags.count("th") == sum(value in ("col", "row") for name, value in page.attributes if name == "scope")
    for table in page.tables:
        assert {len(row) for row in table.rows} == {len(table.rows[0])}, table.caption
    for drawing in page.drawings:
        assert drawing.findtext("title") and drawing.get("role") == "img"
    assert (len(page.drawings) > 2) == (portfolio is not None)
    assert '<td class="n">' in page.source


def test_the_style_is_for_light_dark_and_paper(written: Written) -> None:
    """As the reader's system has it; figures of one width."""
    source = written().source

    assert "@media (prefers-color-scheme: dark)" in source and "@media print" in source
    assert "text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums" in source


def test_names_are_shown_as_they_are_and_never_obeyed(done: Database, written: Written) -> None:
    """Of portfolios, symbols, factors, and in the words of an omission."""
    execute(done, "update portfolios set name = %s where id = %s", EVIL, ONE)
    execute(done, "update factor_definitions set name = %s where name = 'Market'", "<b>Market</b>")
    symbol = '"><script>'
    insert(done, "positions", position(15, 1, symbol, 9))
    load_closes(
        done,
        [
            {"symbol": symbol, "date": row[0], "close_price": row[1]}
            for row in execute(done, "select date, close_price from market_data_cache where symbol = 'AAA'")
        ],
    )
    insert(done, "positions", position(16, 1, "<i>gone</i>", 1))
    run(done)

    for page in (written(), written(ONE)):
        assert not {"script", "img", "b", "i"} & set(page.tags)
        assert EVIL in page.text and "(<i>gone</i>): close_price is missing" in page.text
    assert page.headings[0] == EVIL
    assert symbol in page.table("All 4 symbols").rows[0]
    assert "<b>Market</b>" in page.table("Coverage:").column("exposure")
    assert any((one.findtext("title") or "").startswith("<b>Market</b>: ") for one in page.drawings)


def test_characters_that_nobody_sees_are_replaced() -> None:
    """A change of direction could make a name read as another."""
    assert text("a\u202eb\tc\x07") == "a\ufffdb c\ufffd"


def test_money_has_separators_and_no_negative_zero() -> None:
    """As people read it."""
    assert [usd(one) for one in (1234567.891, -0.001, None)] == ["1,234,567.89", "0.00", "unknown"]


@BOTH
def test_the_same_figures_give_the_same_bytes(written: Written, portfolio: object) -> None:
    """A report written a month later is the same file."""
    first = written(portfolio)

    later = written(portfolio, now=datetime(2026, 4, 14, 1, 0, tzinfo=UTC))

    assert later.source == first.source
