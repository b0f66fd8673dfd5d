"""Tests that endpoints, public names and files come with everything that belongs to them."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_origin

import pytest

import eachlabs_async
from eachlabs_async import EachLabs
from eachlabs_async.codec.strict import decode, to_dict
from eachlabs_async.emulator import HANDLERS
from eachlabs_async.records import State
from eachlabs_async.transport.endpoints import ENDPOINTS, Endpoint

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "samples"
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOP = {"pyproject.toml", "README.md", "CHANGELOG.md", "eachlabs_async", "tests", "benchmarks"}
LEFT_BY_TOOLS = re.compile(r"\..*|__pycache__|build|dist|.*\.egg-info")


def public_names() -> list[str]:
    return [name for name in eachlabs_async.__all__ if name != "__version__"]


def sample(name: str, edition: str) -> Any:
    path = SAMPLES / f"{name}.{edition}.json"
    return json.loads((path if path.exists() else SAMPLES / f"{name}.json").read_bytes())


def named(endpoint: Endpoint) -> str:
    return endpoint.name


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=named)
class TestAnEndpoint:
    async def test_has_a_documented_method_on_the_resource_of_its_name(self, endpoint: Endpoint) -> None:
        resource, method = (endpoint.serves or endpoint.name).split(".")
        async with EachLabs("key") as client:
            found = getattr(getattr(client, resource), method)
            assert callable(found)
            assert len(inspect.getdoc(found) or "") > 40
        assert f"`{resource}.{method}(" in README, "the table in README lacks it"

    def test_has_a_handler_in_the_emulator_in_the_module_of_its_resource(self, endpoint: Endpoint) -> None:
        assert HANDLERS[endpoint.name].__module__.rpartition(".")[2] == endpoint.name.split(".")[0]

    @pytest.mark.parametrize("edition", ["compat", "unified"])
    def test_has_a_sample_that_its_record_reads(self, endpoint: Endpoint, edition: str) -> None:
        found = sample(endpoint.name, edition)
        assert found["endpoint"] == endpoint.name
        assert found["edition"] in (edition, "both")
        assert found["request"]["method"] == endpoint.method
        row = found["response"]["body"]
        if endpoint.response is None:
            assert row is None
            return
        record = decode(json.dumps(row).encode(), endpoint.response)
        assert isinstance(record, get_origin(endpoint.response) or endpoint.response)
        # What is read is really there: the sample shows rows, and the first row's own id.
        if endpoint.page is not None:
            rows = getattr(record, endpoint.page.rows) if endpoint.page.rows else record
            raw = row[endpoint.page.rows] if endpoint.page.rows else row
            # A webhook's identity is read from several fields where its own is null.
            own = "execution_id" if endpoint.page.identity == "key" else endpoint.page.identity
            assert getattr(rows[0], endpoint.page.identity) == raw[0][own]


def test_handlers_and_samples_are_of_endpoints_that_exist() -> None:
    names = {endpoint.name for endpoint in ENDPOINTS}
    assert set(HANDLERS) == names
    for path in SAMPLES.glob("*.json"):
        assert path.name.removesuffix(".json").removesuffix(".unified").removesuffix(".compat") in names


def test_names_of_endpoints_are_used_once() -> None:
    assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS)


def test_what_a_call_gives_has_its_name_at_the_root() -> None:
    """The types of results, and of the statistics passed to callbacks, can be imported from the package."""
    client = eachlabs_async.EachLabs("key")
    told = {
        note
        for resource in inspect.get_annotations(eachlabs_async.EachLabs)
        for name, method in inspect.getmembers(getattr(client, resource), inspect.ismethod)
        if not name.startswith("_")
        for note in (method.__annotations__["return"], str(method.__annotations__.get("on_progress")))
    }
    names = {name for note in told for name in re.findall(r"[A-Z]\w+", note)}
    # The listings with a method more are each a `Pager` to who writes it down.
    assert names - {"Callable", "None", "SummaryPager", "ModelExecutionPager"} <= set(eachlabs_async.__all__)


def test_the_public_methods_of_public_classes_are_documented() -> None:
    bare = [
        f"{name}.{member}"
        for name in public_names()
        if inspect.isclass(value := getattr(eachlabs_async, name)) and not issubclass(value, State)
        for member, function in vars(value).items()
        if not member.startswith("_")
        and (inspect.isfunction(function) or isinstance(function, property | classmethod))
        and not inspect.getdoc(function)
    ]
    assert not bare


def _fresh(code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


def test_each_room_can_be_imported_first() -> None:
    package = ROOT / "eachlabs_async"
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(package.rglob("*.py"))
        if path.name not in ("__init__.py", "__main__.py")
    ]
    for name in names:
        importlib.import_module(name)
    # One process for all would hide a circle: each of the rooms that others lean on goes first once.
    for name in (
        "records",
        "codec.strict",
        "transport.endpoints",
        "pagination.pager",
        "bulk.fetch",
        "jobs.map_run",
        "client",
        "emulator",
        "cli.demo",
    ):
        assert _fresh(f"import eachlabs_async.{name}; print('true')") is True


def test_the_top_level_holds_what_the_house_rules_name() -> None:
    extra = {path.name for path in ROOT.iterdir() if not LEFT_BY_TOOLS.fullmatch(path.name)} - TOP
    assert not extra
    assert (ROOT / "eachlabs_async" / "py.typed").exists()


def test_each_dependency_is_imported_by_a_statement() -> None:
    """Tools that freeze an application find a library only so; an `import_module("...")` hides it from them."""
    wanted = {"aiohttp", "attrs", "backoff", "cattrs", "msgspec"}
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert {word for text in dependencies for word in re.findall(r"[a-z]+", text)} == wanted
    package = ROOT / "eachlabs_async"
    imported = {
        name.split(".")[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    assert wanted <= imported


def test_a_record_goes_out_as_json_again() -> None:
    body = sample("workflow_executions.get", "compat")["response"]["body"]
    record = decode(json.dumps(body).encode(), eachlabs_async.WorkflowExecution)
    assert json.loads(json.dumps(to_dict(record)))["execution_id"] == body["execution_id"]
