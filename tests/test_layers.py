"""Each room imports only from rows above it, says what it owns and refuses, and stays small."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "eachlabs_async"

PURE = [
    {"errors", "_version"},
    {"records"},
    {"_record_times"},
    {"_fast_reader"},
    {"_codec"},
    {"_wire"},
    {"_retry", "_paging"},
    {"hosts"},
    {"endpoints"},
    {"_arguments", "_bookmark", "_claims", "_frontier", "_gone", "_keys", "_polling", "outcomes", "_cap", "_ours"},
    {"_checkpoint", "_cursor_walk", "_money", "_pages", "_requests", "_targets", "_walk"},
]
"""The rooms that know no asyncio, no aiohttp and no clock, from the top down."""

ROWS = [
    *PURE,
    {"_deadline"},
    {"_tasks", "_gate", "_window", "_http", "_waiting", "webhooks", "_inputs", "_journal", "_part_file"},
    {"_services", "_transfers"},
    {"_session"},
    {"_jobs", "_uploads", "_downloads"},
    {"pager", "bulk"},
    {"_listing_choice"},
    {"_execution_pager", "_one_execution"},
    {"windows", "_creating"},
    {"_map_run"},
    {"_settled"},
    {"_map_work", "_map_sending", "_map_watching"},
    {"mapping"},
    {"_map_start"},
    {"resources"},
    {"client"},
    {"emulator"},
    {"cli", "pytest_plugin"},
    {"__main__"},
]
"""Rows of the house; a room (a module, or a package as a whole) imports only from rows above its own."""

ONLY = {
    "aiohttp": {"_http", "_services", "_session", "_transfers", "client", "emulator", "webhooks"},
    "yarl": {"_http", "_session", "_services", "_transfers", "emulator"},
    "backoff": {"_session"},
    "cattrs": {"_codec"},
    "msgspec": {"_fast_reader"},
}
"""Who may import what was made by others; attrs is everybody's."""

CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "sleep"}
LARGEST = 400


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The room that a file belongs to: its own name, or that of its package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def row(name: str) -> int:
    return next(number for number, rooms in enumerate(ROWS) if name in rooms)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports when it runs, absolute; type checkers' imports are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    package = ["eachlabs_async", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from . import records` names a module, `from .records import Run` one of its names.
            yield from ([f"{module}.{alias.name}" for alias in node.names] if not node.module else [module])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def rooms_imported(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imports(path) if name.startswith("eachlabs_async.")}
    return names - {"__init__"}


def everyone() -> list[Path]:
    # The package's own front gives names of all rooms and loads them when they are asked for.
    return [path for path in files() if path != PACKAGE / "__init__.py"]


def is_pure(path: Path) -> bool:
    return any(room(path) in rooms for rooms in PURE)


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", everyone(), ids=shown)
def test_a_room_has_a_row_and_imports_only_from_rows_above_it(path: Path) -> None:
    own = room(path)
    assert any(own in rooms for rooms in ROWS), f"{own} has no row: give it one in this file"
    wrong = {name for name in rooms_imported(path) if name != own and row(name) >= row(own)}
    assert not wrong, f"{shown(path)} imports from its own row or below: {sorted(wrong)}"


@pytest.mark.parametrize("path", everyone(), ids=shown)
def test_only_the_rooms_made_for_it_import_a_library(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    wrong = {library for library, allowed in ONLY.items() if library in used and room(path) not in allowed}
    assert not wrong, f"{shown(path)} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", [path for path in everyone() if is_pure(path)], ids=shown)
def test_the_pure_rooms_know_no_loop_and_no_clock(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    if path.stem == "_fast_reader":
        used.discard("threading")  # Its lock is about how msgspec makes readers, whoever asks for them.
    assert not used & {"asyncio", "aiohttp", "yarl", "backoff", "time", "random", "socket", "threading"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & CLOCKS
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


@pytest.mark.parametrize("path", sorted((PACKAGE / "emulator").glob("*.py")), ids=shown)
def test_the_emulator_never_imports_the_client(path: Path) -> None:
    assert rooms_imported(path) <= {"emulator", "endpoints", "hosts", "errors", "records"}


def test_rooms_of_the_resources_do_not_know_each_other() -> None:
    for path in (PACKAGE / "resources").glob("*.py"):
        assert "resources" not in rooms_imported(path)


@pytest.mark.parametrize("path", [path for path in files() if path.name != "_version.py"], ids=shown)
def test_a_module_says_what_it_owns_and_what_it_refuses(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert re.search(r"\b[Oo]wns\b", docstring), "it does not say what it owns"
    assert re.search(r"\b[Rr]efuses?\b", docstring), "it does not say what it refuses"


@pytest.mark.parametrize("path", files(), ids=shown)
def test_a_file_stays_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LARGEST, f"{lines} lines: is it two rooms?"
