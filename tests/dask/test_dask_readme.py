"""A test for the example of README with Dask, which blocks and is therefore not among the others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cluster import IGNORED
from distributed import Client

import eachlabs_async
from eachlabs_async.emulator import Emulator

pytestmark = IGNORED

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(
    workers: Client, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints a structure like the one shown, the costs and the outcomes."""
    (source,) = re.findall(r"^```py\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    monkeypatch.setattr(eachlabs_async, "UNIFIED", emulator.unified_hosts)
    names = {"scheduler": workers.scheduler.address, "ids": emulator.workflow_executions.ids()[:30]}
    exec(compile(source, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    (shown,) = re.findall(r"^Dask DataFrame Structure:\n(.*?)^npart", README, re.MULTILINE | re.DOTALL)
    assert shown.split() == ["model", "status", "execution_cost"]
    assert shown.split() == printed.split("Structure:")[1].split("npartitions")[0].split()
    assert "flux-1-1-pro" in printed
    assert names["ids"][0] in printed
