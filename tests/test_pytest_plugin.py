"""Tests for the package's pytest plugin: it serves the tests of users, and costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
LOOPS = ("-o", "asyncio_default_fixture_loop_scope=function")
THEIRS = """
    import pytest
    from eachlabs_async import EachLabs
    from eachlabs_async.emulator import Emulator, Fault

    {mark}
    async def test_a_client_and_its_emulator(eachlabs_client, eachlabs_emulator):
        assert isinstance(eachlabs_client, EachLabs) and isinstance(eachlabs_emulator, Emulator)
        eachlabs_emulator.faults.add(Fault.status(503), times=2)
        assert len(await eachlabs_client.executions.list().collect()) == 100
        assert eachlabs_client.hosts.edition == "compat"

    {mark}
    @pytest.mark.eachlabs(executions=7, seed=3, account_cap=2, edition="unified")
    async def test_a_marker_says_how(eachlabs_client, eachlabs_emulator):
        assert len(await eachlabs_client.executions.list().collect()) == 7
        assert eachlabs_emulator.account_cap == 2
        assert eachlabs_client.hosts.edition == "unified"

    def test_that_needs_none_of_it():
        pass
"""
WRONG = """
    import pytest

    @pytest.mark.eachlabs("unified")
    async def test_a_word(eachlabs_emulator):
        pass

    @pytest.mark.eachlabs(edition="other")
    async def test_another_edition(eachlabs_client):
        pass
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory for the tests of users, which import the package of this checkout."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def options(*more: str) -> list[str]:
    """Return the arguments of a run; if the package is not installed, they load its plugin."""
    installed = any(found.name == "eachlabs" for found in entry_points(group="pytest11"))
    load = [] if installed else ["-p", "eachlabs_async.pytest_plugin"]
    return [*load, "-p", "no:cacheprovider", "-W", "error", "--strict-markers", *more]


@pytest.mark.parametrize(("mode", "mark"), [("auto", ""), ("strict", "@pytest.mark.asyncio")])
def test_it_serves_tests_of_pytest_asyncio_in_either_mode(run: pytest.Pytester, mode: str, mark: str) -> None:
    """Two fixtures and a marker are available, and nothing is left open after the tests."""
    run.makepyfile(THEIRS.format(mark=mark))
    result = run.runpytest_inprocess(*options(*LOOPS, "-o", f"asyncio_mode={mode}"))
    result.assert_outcomes(passed=3)


def test_it_serves_them_in_a_process_of_their_own(run: pytest.Pytester) -> None:
    """They run as users run them, with every warning an error."""
    run.makepyfile(THEIRS.format(mark=""))
    result = run.runpytest_subprocess(*options(*LOOPS, "-o", "asyncio_mode=auto"))
    result.assert_outcomes(passed=3)


def test_it_serves_tests_of_anyio(run: pytest.Pytester) -> None:
    """Without pytest-asyncio its fixtures are plain ones, which anyio's plugin runs."""
    run.makepyfile(THEIRS.format(mark="@pytest.mark.anyio"))
    run.makeconftest("import pytest\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    result = run.runpytest_inprocess(*options("-p", "no:asyncio"))
    result.assert_outcomes(passed=3)


def test_a_wrong_marker_is_said_so(run: pytest.Pytester) -> None:
    """A marker without keywords, or with an unknown edition, is an error that says so."""
    run.makepyfile(WRONG)
    result = run.runpytest_inprocess(*options(*LOOPS, "-o", "asyncio_mode=auto"))
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*takes keywords alone*", "*must be 'compat' or 'unified', not 'other'*"])


def test_it_costs_nothing_until_it_is_used() -> None:
    """Loading it imports neither the HTTP library nor the emulator nor the client."""
    code = (
        "import sys, pytest, eachlabs_async.pytest_plugin;"
        "names = {'aiohttp', 'backoff', 'cattrs', 'msgspec', 'pytest_asyncio',"
        " 'eachlabs_async.client', 'eachlabs_async.emulator', 'eachlabs_async.records'};"
        "print(sorted(names & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_it_is_found_by_its_entry_point() -> None:
    """The package declares its plugin, so users need not."""
    assert 'eachlabs = "eachlabs_async.pytest_plugin"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
