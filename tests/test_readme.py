"""Tests for README: its Python runs against the emulator, and its commands and tables are complete."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import eachlabs_async
from eachlabs_async import EachLabs
from eachlabs_async.emulator import Emulator

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEMO = "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/python -m eachlabs_async demo"
TESTS = 'python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/python -X dev -m pytest -n auto'


def blocks(language: str) -> list[tuple[int, str]]:
    """Return every fenced block of a language, with the line of README at which it starts."""
    return [
        (README.count("\n", 0, found.start(1)) + 1, found[1])
        for found in re.finditer(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    ]


def test_the_first_two_shell_blocks_are_the_demo_and_the_tests() -> None:
    shell = [text.strip() for _, text in blocks("(?:sh|bash|shell|console)")]
    assert shell[:2] == [DEMO, TESTS]


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """An emulator behind `EachLabs()`, `COMPAT` and `UNIFIED`, with its keys in the environment."""
    async with Emulator(executions=330, seed=1) as emulator:
        monkeypatch.setenv("EACHLABS_API_KEY", emulator.api_key)
        monkeypatch.setenv("NOXUS_API_KEY", emulator.runs_api_key)
        monkeypatch.setattr("eachlabs_async.client.default_hosts", lambda: emulator.hosts)
        monkeypatch.setattr(eachlabs_async, "COMPAT", emulator.hosts)
        monkeypatch.setattr(eachlabs_async, "UNIFIED", emulator.unified_hosts)
        yield emulator


@pytest.mark.parametrize(
    ("line", "source"), blocks("python"), ids=lambda value: f"line {value}" * isinstance(value, int)
)
async def test_the_python_runs(
    line: int, source: str, emulator: Emulator, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a picture")
    saved: list[Any] = []
    workflow_id = emulator.workflow_ids[0]
    async with EachLabs() as client:
        names = {
            # What the text takes for granted: the client of the first example, and things of the reader's.
            "EachLabs": EachLabs,
            "client": client,
            "workflow_id": workflow_id,
            "ids": emulator.workflow_executions.ids()[:50],
            "archive": {},
            "photo": photo,
            "folder": tmp_path,
            "journal": tmp_path / "job.sqlite",
            "save": saved.append,
        }
        code = compile(source, f"README.md, line {line}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(code, names)
        if inspect.iscoroutine(waiting):
            await waiting
    assert not emulator.wrong_keys
    assert None not in saved
    if "print(" in source and "else:" not in source:
        assert capsys.readouterr().out.strip(), "it prints, but nothing came"
    if "save(" in source:
        assert len(saved) == (50 if "get_many" in source else 330)


TAKEN_FOR_GRANTED = """\
from collections.abc import Callable
from pathlib import Path
from eachlabs_async import EachLabs, WorkflowExecution

"""
"""What the text takes for granted, for the type checkers; each block becomes a function with the other names."""
ARGUMENTS = (
    "client: EachLabs, workflow_id: str, ids: list[str], archive: dict[str, WorkflowExecution], photo: Path, "
    "journal: Path, folder: Path, save: Callable[[object], None]"
)


def typed_blocks(tmp_path: Path) -> Path:
    """Write a module with a function for each block of Python."""
    functions = [
        f"async def line_{line}({ARGUMENTS}) -> None:\n{textwrap.indent(source, '    ')}"
        for line, source in blocks("python")
    ]
    path = tmp_path / "readme_blocks.py"
    path.write_text(TAKEN_FOR_GRANTED + "\n\n".join(functions), encoding="utf-8")
    return path


def check(*arguments: str, **environment: str) -> None:
    """Run a type checker, which must find nothing."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_the_python_passes_mypy(tmp_path: Path) -> None:
    """Each block is correct for mypy in strict mode."""
    path = typed_blocks(tmp_path)
    check("mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}", str(path), MYPYPATH=str(ROOT))


@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_the_python_passes_pyright(tmp_path: Path) -> None:
    """Each block is correct for pyright in strict mode, except that an example need not use all that it makes."""
    unused = {"reportUnusedVariable": False, "reportUnusedFunction": False}
    settings = {"extraPaths": [str(ROOT)], "typeCheckingMode": "strict", **unused}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    typed_blocks(tmp_path)
    check("pyright", "--pythonpath", sys.executable, "--project", str(tmp_path))


def public_calls() -> set[tuple[str, str]]:
    """Return every public method of the client's resources that returns something."""
    hints = inspect.get_annotations(EachLabs)
    client = EachLabs("key")
    return {
        (resource, method)
        for resource in hints
        if resource != "webhooks"  # another name of `webhook_deliveries`
        for method, _ in inspect.getmembers(type(getattr(client, resource)), inspect.isfunction)
        if not method.startswith("_")
    }


def test_the_table_of_resources_has_every_call_with_its_arguments() -> None:
    rows = re.findall(r"^\| `(\w+)\.(\w+)\(([^)]*)\)`", README, re.MULTILINE)
    client = EachLabs("key")
    for resource, method, arguments in rows:
        parameters = inspect.signature(getattr(getattr(client, resource), method)).parameters
        told = [word.split("=")[0].strip("* ") for word in arguments.split(",")]
        assert [word for word in told if word] == list(parameters), f"{resource}.{method}"
        for name, number in re.findall(r"(\w+)=(\d+)", arguments):
            assert parameters[name].default == int(number)
    assert {(resource, method) for resource, method, _ in rows} == public_calls()


def test_the_options_of_a_walk_are_all_named() -> None:
    told = re.search(r"^`\*\*walk` is (.*?)\.", README, re.MULTILINE | re.DOTALL)
    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[1])) == set(eachlabs_async.WalkOptions.__annotations__)


def test_no_path_of_any_machine_is_in_the_text() -> None:
    assert not re.search(r"(?<![\w.:/])/(?:home|root|work|Users|tmp|opt)/", README)
