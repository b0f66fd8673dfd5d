"""Tests of charts of costs: files of both kinds, bounded in size, with texts of the service as text only."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from eachlabs_async import CostReport, Execution
from eachlabs_async.costs.tally import CostTally

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e"


def report_of(models: list[str | None], by: Any, *, days: int = 3, cost: float = 1.0) -> CostReport:
    tally = CostTally(by)
    for number, model in enumerate(models):
        for day in range(days):
            at = NOON - timedelta(days=day)
            tally.add(
                Execution(id="x", status="success", model=model, execution_cost=cost * (number + 1), created_at=at)
            )
    return tally.report(since=NOON - timedelta(days=30), until=NOON)


def texts(svg: Path) -> list[str]:
    return [
        "".join(node.itertext()) for node in ET.fromstring(svg.read_bytes()).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize(
    "by", [(), ("model",), ("day",), ("day", "model"), ("model", "status", "day"), ("hour",), ("month",)]
)
@pytest.mark.parametrize("suffix", [".svg", ".PNG"])
def test_every_grouping_gives_a_picture(by: Any, suffix: str, tmp_path: Path) -> None:
    """Also a report without executions."""
    path = tmp_path / f"chart{suffix}"
    for report in (report_of([], by), report_of(["a", None], by)):
        report.chart(path)
        assert path.read_bytes()[:4] in (b"<svg", b"\x89PNG")


def test_a_chart_shows_the_total_the_notes_and_the_groups(tmp_path: Path) -> None:
    """Groups beyond the twelve most expensive are one bar."""
    tally = CostTally()
    for number in range(40):
        tally.add(Execution(id="x", status="success", model=f"model {number}", execution_cost=float(number)))
    tally.add(Execution(id="x", status="success", model="model 39"))
    tally.report().chart(tmp_path / "chart.svg")
    shown = texts(tmp_path / "chart.svg")
    assert any("$780.00 for 41 executions" in text for text in shown)
    assert any("1 of 41 executions that ended state no cost" in text for text in shown)
    assert {f"model {number}" for number in range(28, 40)} | {"other"} <= set(shown)
    assert "model 27" not in shown


def test_days_without_executions_are_on_the_axis(tmp_path: Path) -> None:
    """A gap would make a chart by time misleading."""
    tally = CostTally("day")
    for day in (0, 5):
        tally.add(Execution(id="x", status="success", execution_cost=1.0, created_at=NOON - timedelta(days=day)))
    tally.report().chart(tmp_path / "chart.svg")
    assert [text for text in texts(tmp_path / "chart.svg") if re.fullmatch(r"2026-\d\d-\d\d", text)] == [
        f"2026-11-{day}" for day in range(20, 26)
    ]


@pytest.mark.parametrize("by", [("model",), ("day", "model")])
def test_names_of_the_service_are_text(by: Any, tmp_path: Path) -> None:
    """A model's name cannot bring elements, attributes or control characters into the file, nor make it large."""
    report_of([HOSTILE, HOSTILE * 10_000], by).chart(tmp_path / "chart.svg")
    source = (tmp_path / "chart.svg").read_text(encoding="utf-8")
    names = {node.tag for node in ET.fromstring(source).iter()}
    assert "{http://www.w3.org/2000/svg}script" not in names
    assert "<script" not in source
    assert "\x1b" not in source
    assert len(source) < 100_000
    assert any("<script>" in text for text in texts(tmp_path / "chart.svg"))


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    """The error names the two that there are."""
    with pytest.raises(ValueError, match=r"\.svg or a \.png"):
        report_of(["a"], ()).chart(tmp_path / "chart.gif")


def test_without_the_packages_the_error_says_how_to_get_them(tmp_path: Path) -> None:
    """Nothing else of the package needs them."""
    code = f"""
import sys
sys.modules["altair"] = sys.modules["vl_convert"] = None
from eachlabs_async.costs.tally import CostTally
try:
    CostTally().report().chart({str(tmp_path / "chart.svg")!r})
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert 'pip install "eachlabs-async[charts]"' in done.stdout
