"""A pytest plugin with two fixtures, an emulator and a client of it, for the tests of your own code.

    @pytest.mark.eachlabs(executions=20, account_cap=2, edition="unified")
    async def test_my_report(eachlabs_client, eachlabs_emulator):
        eachlabs_emulator.faults.add(Fault.status(503), times=1)
        assert await my_report(eachlabs_client) == ...
        assert len(eachlabs_emulator.submitted) == 3

pytest finds the plugin once the package is installed; only this file is imported until a fixture is used. The fixtures
are asynchronous: those of pytest-asyncio (in either mode) if it is installed, else plain ones, which anyio's plugin
runs for tests marked with `anyio`. Nothing is patched: your code gets the client, or makes its own with
`eachlabs_emulator.hosts`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from .client import EachLabs
    from .emulator import Emulator

__all__ = ["pytest_configure"]

_MARKER: Final = (
    "eachlabs(edition='compat', **options): how eachlabs_emulator is made (the keywords of `Emulator`),"
    " and which edition eachlabs_client speaks"
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the fixtures: pytest-asyncio's own kind if it is installed, else plain ones."""
    config.addinivalue_line("markers", _MARKER)
    fixture: Any = pytest.fixture
    if config.pluginmanager.hasplugin("asyncio"):
        from pytest_asyncio import fixture
    fixtures = ModuleType("eachlabs_fixtures", "The fixtures of eachlabs_async.")
    for name, function in (("eachlabs_emulator", _emulator), ("eachlabs_client", _client)):
        setattr(fixtures, name, fixture(name=name)(function))
    config.pluginmanager.register(fixtures, "eachlabs-fixtures")


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    marker = request.node.get_closest_marker("eachlabs")
    if marker is None:
        return {}
    if marker.args:
        raise pytest.UsageError("the eachlabs marker takes keywords alone")
    return dict(marker.kwargs)


async def _emulator(request: pytest.FixtureRequest) -> AsyncIterator[Emulator]:
    """Yield a running emulator of all services. The marker `eachlabs` takes the keywords of `Emulator`."""
    from .emulator import Emulator

    options: dict[str, Any] = {"executions": 100, **_marked(request)}
    options.pop("edition", None)
    async with Emulator(**options) as emulator:
        yield emulator


async def _client(request: pytest.FixtureRequest, eachlabs_emulator: Emulator) -> AsyncIterator[EachLabs]:
    """Yield a client of the emulator, with short pauses between attempts."""
    from .client import EachLabs
    from .transport.retry import RetryPolicy

    edition = _marked(request).get("edition", "compat")
    if edition not in ("compat", "unified"):
        raise pytest.UsageError(f"the eachlabs marker's edition must be 'compat' or 'unified', not {edition!r}")
    hosts = eachlabs_emulator.hosts if edition == "compat" else eachlabs_emulator.unified_hosts
    async with EachLabs(
        eachlabs_emulator.api_key,
        hosts=hosts,
        runs_api_key=eachlabs_emulator.runs_api_key,
        retry=RetryPolicy(base_s=0.01, cap_s=0.1),
    ) as client:
        yield client
