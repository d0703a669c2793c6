"""README, docs and layers say what the code does.

Here: lists in documents against their source, the direction of imports, the size of files. Not here: behaviour."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import attrs
import pytest

from refresh_assets import errors, settings
from refresh_assets.store.schema import ours, platform

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TABLES = (ROOT / "docs" / "tables.md").read_text()
SOURCES = sorted((ROOT / "refresh_assets").rglob("*.py"))

LAYERS = {
    "core": {"core", "errors"},
    "store": {"core", "store", "errors", "settings", "calendar"},
    "assets": {"core", "store", "assets", "errors", "settings", "calendar"},
    "explain": {"core", "store", "explain", "errors", "settings", "calendar", "terminal"},
    "report": {
        "core",
        "store",
        "explain",
        "report",
        "errors",
        "settings",
        "calendar",
        "terminal",
        "terminal_restatements",
    },
    "automation": {"core", "store", "assets", "automation", "definitions", "errors", "settings", "calendar"},
}


def test_the_readme_lists_every_exception_code_with_its_meaning() -> None:
    """The codes of refresh_exceptions are a closed list, and people find it in the README."""
    rows = [f"| `{code}` | {errors.MEANING[code]} |" for code in errors.ExceptionCode]

    assert [line for line in README.splitlines() if line.startswith("| `") and line in rows] == rows


def test_the_readme_lists_every_setting_with_its_default() -> None:
    """No setting is secret knowledge."""
    for name, field in attrs.fields_dict(settings.Settings).items():
        default = field.default
        shown = "none" if default in (None, ()) else str(default)
        assert f"| `{settings.variable(name)}` | {shown} | {field.metadata['description']} |" in README, name


def test_the_tables_page_names_every_column() -> None:
    """Who reads our tables finds each column explained."""
    for table in [*ours.tables.values(), *platform.tables.values()]:
        assert f"`{table.name}`" in TABLES
        for column in table.columns:
            assert re.search(rf"`[^`]*\b{column.name}\b[^`]*`", TABLES), f"{table.name}.{column.name}"


def test_every_makefile_target_says_what_it_is_for() -> None:
    """`make` alone prints the table of contents."""
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE)

    assert targets
    for target in targets:
        assert re.search(rf"^{target}: .*## \S", makefile, re.MULTILINE), target


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    """core <- store <- assets, explain, automation <- definitions, cli; core knows no SQL, Dagster, clock or environment."""
    room = path.relative_to(ROOT / "refresh_assets").parts[0]
    imported = {name for node in ast.walk(ast.parse(path.read_text())) for name in _modules(node)}
    own = {name.split(".")[1] for name in imported if name.startswith("refresh_assets.")}

    assert own <= LAYERS.get(room, own), f"{room} imports {own - LAYERS[room]}"
    if room == "core":
        assert not imported & {"dagster", "psycopg", "sqlalchemy", "pyarrow", "os", "time", "datetime"}
    if room == "store":
        assert "dagster" not in imported


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_file_opens_with_its_door_sign(path: Path) -> None:
    """What lives here, what does not."""
    sign = ast.get_docstring(ast.parse(path.read_text())) or ""

    assert "Here: " in sign or path.name == "__init__.py" or "versions" in path.parts, path


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module]
    return []


def test_each_test_that_the_promises_name_is_there() -> None:
    """docs/promises.md would else say more than is shown."""
    page = (ROOT / "docs" / "promises.md").read_text()
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    assert len(named) > 30
    for file, name in named:
        assert f"def {name}(" in (ROOT / "refresh_assets_tests" / file).read_text(), f"{file}::{name}"
