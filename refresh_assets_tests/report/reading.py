"""Reading a report back in tests: its tables as text, its drawings as XML, whether every tag is closed.

Here: a reader of our pages, built on the standard library's parser. Not here: what they should say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

VOID = frozenset({"meta"})
DRAWING = re.compile(r"<svg .*?</svg>", re.DOTALL)


@dataclass
class Table:
    """Caption, and rows of cells as text; the first row holds the headings."""

    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def column(self, heading: str) -> dict[str, str]:
        """First cell of each row -> its cell under a heading."""
        place = self.rows[0].index(heading)
        return {row[0]: row[place] for row in self.rows[1:]}


class Page(HTMLParser):
    """A parsed page. Raises AssertionError where a tag is not closed in its turn."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source, self.tables, self.headings = source, list[Table](), list[str]()
        self.tags, self.attributes = list[str](), list[tuple[str, str | None]]()
        self._open, self._words = list[str](), list[str]()
        self.feed(source)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    @property
    def text(self) -> str:
        """All words outside tags and style, on one line."""
        return " ".join(" ".join(self._words).split())

    @property
    def drawings(self) -> Sequence[ElementTree.Element]:
        """Each SVG, parsed as XML."""
        return [ElementTree.fromstring(one) for one in DRAWING.findall(self.source)]

    def table(self, words: str) -> Table:
        """The one table whose caption holds some words."""
        (found,) = [one for one in self.tables if words in one.caption]
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag in VOID:
            return
        self._open.append(tag)
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("th", "td"):
            self.tables[-1].rows[-1].append("")
        elif tag in ("h1", "h2", "h3"):
            self.headings.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> out of turn"

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self._words.append(data)
        if "svg" in self._open:
            return
        if "caption" in self._open:
            self.tables[-1].caption += data
        elif self._open and self._open[-1] in ("th", "td"):
            self.tables[-1].rows[-1][-1] += data
        elif self._open and self._open[-1] in ("h1", "h2", "h3"):
            self.headings[-1] += data


def read(path: Path) -> Page:
    """The page of a file."""
    return Page(path.read_text("utf-8"))
