"""Tests for the layers: imports go downwards without cycles, files are small, and few modules import a library."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "eachlabs_async"

LAYERS = """
    __main__
    cli  pytest_plugin
    emulator
    archive  dask
    client  otel
    resources
    jobs
    pagination  bulk  sqlite  webhooks
    costs
    transport
    codec
    hosts  hooks
    records
    errors  _version
"""
"""A package, or a module beside the packages, imports only from lines below its own, or from itself."""

PURE = {
    "errors": "*",
    "records": "*",
    "codec": "*",
    "hosts": "*",
    "hooks": "*",
    "archive": "archive_error row_filter schema spans sync_stats table unreadable",
    "transport": "answer_identity arguments creations not_found_hints endpoints keys page_shape redaction refusal "
    "requests retry storage_url wire",
    "pagination": "checkpoint engine follow_checkpoint follow_state known_rows page_size pages row_times spans "
    "walk_values",
    "bulk": "halving outcomes",
    "costs": "groupings report tally",
    "dask": "leases messages",
    "jobs": "account_limit balance_backoff budget claims failure matching own_executions placement poll refusals "
    "sent_inputs service_clock",
}
"""The modules that know no asyncio, no aiohttp and no clock."""

ONLY = {
    "aiohttp": {
        "transport.adapter",
        "transport.bounded_body",
        "transport.aiohttp_sessions",
        "transport.caching_request",
        "transport.idle_connections",
        "transport.loop_binding",
        "transport.loopback_resolver",
        "transport.pooled_connector",
        "transport.proxy",
        "transport.session",
        "transport.storage_requests",
        "transport.transport",
        "client",
        "webhooks",
        "emulator",
    },
    "yarl": {"transport", "emulator"},
    "backoff": {"transport.backoff_copy"},
    "cattrs": {"codec.strict"},
    "msgspec": {"codec.fast"},
    "sqlite3": {"sqlite", "archive", "jobs.journal"},
    "pyarrow": {"codec.arrow", "codec.row_formats", "dask"},
    "opentelemetry": {"otel"},
    "cyclopts": {"cli"},
    "rich": {"cli"},
    "platformdirs": {"cli"},
    "keyring": {"cli"},
    "dask": {"dask"},
    "distributed": {"dask"},
}
"""Who may import what was made by others: a module, or a package as a whole; attrs is everybody's."""

CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "sleep"}
LARGEST = 400


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def package(path: Path) -> str:
    """Return the package of a file, or its own name if it is beside the packages."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module(path: Path) -> str:
    """Return the dotted name of a file below the root."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def layer(name: str) -> int:
    return next(number for number, line in enumerate(LAYERS.strip().splitlines()) if name in line.split())


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> list[str]:
    """Return every module that a file imports when it runs, as absolute names, without imports for type checkers."""
    return list(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    tree = parsed(path)
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


@cache
def modules_imported(path: Path) -> set[str]:
    """Return the project's modules that a file imports, if they are files: `transport.wire`, `records`."""
    known = {module(each) for each in files()}
    found: set[str] = set()
    for name in imports(path):
        if name.startswith("eachlabs_async."):
            inner = name.removeprefix("eachlabs_async.")
            found.add(inner if inner in known else inner.rpartition(".")[0] or inner)
    return found


def packages_imported(path: Path) -> set[str]:
    return {name.split(".")[0] for name in modules_imported(path)} - {package(path)}


def everyone() -> list[Path]:
    # The package's own front gives names of all packages and loads them when they are asked for.
    return [path for path in files() if path != PACKAGE / "__init__.py"]


def is_pure(path: Path) -> bool:
    names = PURE.get(package(path), "")
    return names == "*" or path.stem in names.split()


def shown(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", everyone(), ids=shown)
def test_a_package_imports_only_from_those_below_it(path: Path) -> None:
    """A new package has to be added to the list."""
    own = package(path)
    assert own in LAYERS.split()
    wrong = {name for name in packages_imported(path) if layer(name) <= layer(own)}
    assert not wrong, f"{shown(path)} imports upwards or sideways: {sorted(wrong)}"


def test_no_module_imports_itself_in_a_circle() -> None:
    """There is no cycle within a package or across several."""
    TopologicalSorter({module(path): modules_imported(path) - {module(path)} for path in everyone()}).prepare()


def test_the_root_holds_what_users_import_and_few_packages() -> None:
    """There are at most thirteen packages and ten files, none of them private but the version."""
    entries = [path for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    packages = [path.name for path in entries if path.is_dir()]
    modules = [path.stem for path in entries if path.is_file()]
    assert len(packages) <= 13
    assert len(modules) <= 10
    assert {name for name in modules if name.startswith("_") and not name.startswith("__")} == {"_version"}


@pytest.mark.parametrize("path", everyone(), ids=shown)
def test_only_the_modules_made_for_it_import_a_library(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    own = {module(path), package(path)}
    wrong = {library for library, allowed in ONLY.items() if library in used and not own & allowed}
    assert not wrong, f"{shown(path)} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", [path for path in everyone() if is_pure(path)], ids=shown)
def test_the_pure_modules_know_no_loop_and_no_clock(path: Path) -> None:
    used = {name.split(".")[0] for name in imports(path)}
    if module(path) == "codec.fast":
        used.discard("threading")  # Its lock is about how msgspec makes readers, whoever asks for them.
    assert not used & {"asyncio", "aiohttp", "yarl", "backoff", "time", "random", "socket", "threading"}
    tree = parsed(path)
    calls = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert not calls & CLOCKS
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


@pytest.mark.parametrize("path", sorted((PACKAGE / "emulator").rglob("*.py")), ids=shown)
def test_the_emulator_never_imports_the_client(path: Path) -> None:
    shared = {"hosts", "errors", "records", "transport.endpoints"}
    assert {name for name in modules_imported(path) if not name.startswith("emulator")} <= shared


def test_resources_do_not_know_each_other() -> None:
    for path in (PACKAGE / "resources").glob("*.py"):
        assert not [name for name in modules_imported(path) if name.startswith("resources")]


@pytest.mark.parametrize("path", files(), ids=shown)
def test_a_module_opens_with_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(parsed(path)) or ""
    assert len(docstring.split("\n\n")[0]) > 20 or path.name == "_version.py"


@pytest.mark.parametrize("path", files(), ids=shown)
def test_a_file_stays_small(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LARGEST, f"{lines} lines: is it two modules?"
