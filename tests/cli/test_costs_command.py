"""Tests of `eachlabs costs`, whose figures are those of the rows."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from command_line import EmulatorThread
from conftest import Done

Command = Callable[..., Done]


def sums(service: EmulatorThread, field: str) -> tuple[dict[str, Decimal], Counter[str]]:
    """Return the costs and the numbers of the emulator's rows by a field."""
    costs: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in service.emulator.executions:
        costs[row[field]] += Decimal(str(row["execution_cost"]))
    return dict(costs), Counter(row[field] for row in service.emulator.executions)


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_the_groups_are_rows_with_exact_sums(eachlabs: Command, service: EmulatorThread, format_: str) -> None:
    """Beginning with the most expensive."""
    done = eachlabs(*service.flags(), "costs", f"--format={format_}", "--since=2026-01-01")
    rows = (
        [json.loads(line) for line in done.out.splitlines()]
        if format_ == "jsonl"
        else list(csv.DictReader(io.StringIO(done.out)))
    )
    costs, counts = sums(service, "model")
    assert {row["model"]: Decimal(row["cost"]) for row in rows} == costs
    assert {row["model"]: int(row["executions"]) for row in rows} == counts
    assert [Decimal(row["cost"]) for row in rows] == sorted(costs.values(), reverse=True)


def test_json_is_the_whole_report(eachlabs: Command, service: EmulatorThread) -> None:
    done = eachlabs(*service.flags(), "costs", "--by=status", "--by", "day", "--format=json")
    report = json.loads(done.out)
    assert report["by"] == ["status", "day"]
    assert sum(Decimal(group["cost"]) for group in report["groups"]) == Decimal(report["total"]["cost"])
    assert report["notes"]
    assert all(f"note: {note}" in done.err for note in report["notes"])


def test_a_table_has_a_line_of_totals(
    eachlabs: Command, service: EmulatorThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notes that say how the figures are partial are on standard error."""
    monkeypatch.setenv("COLUMNS", "140")
    done = eachlabs(*service.flags(), "costs", "--format=table")
    costs, counts = sums(service, "model")
    head, *lines, total = done.out.splitlines()
    assert head.split() == ["model", "cost", "$", "executions", "failed", "%", "unpriced", "run", "s"]
    assert len(lines) == len(costs)
    assert lines[0].count("█") == 20
    assert total.split()[:3] == ["all", f"{sum(costs.values()):.4f}", str(sum(counts.values()))]
    assert "note: since was not given" in done.err


def test_filters_and_fields(eachlabs: Command, service: EmulatorThread) -> None:
    one = next(iter(service.emulator.executions))["model"]
    done = eachlabs(*service.flags(), "costs", "--model", one, "--fields", "model,executions", "-q")
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"model": one, "executions": sums(service, "model")[1][one]}
    ]
    assert not done.err


@pytest.mark.parametrize(
    "arguments",
    [["--by", "colour"], ["--fields", "price"], ["--archive", "none.db"], ["--chart", "x.pdf"], ["--status", "succes"]],
    ids=" ".join,
)
def test_what_cannot_be_is_wrong_usage(
    eachlabs: Command, service: EmulatorThread, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = eachlabs(*service.flags(), "costs", *arguments, "-q")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert not list(tmp_path.glob("*.db"))


def test_a_chart_is_drawn(eachlabs: Command, service: EmulatorThread, tmp_path: Path) -> None:
    path = tmp_path / "costs.svg"
    done = eachlabs(*service.flags(), "costs", "--chart", str(path))
    assert done.code == 0
    assert path.read_text().startswith("<svg")
    assert f"chart: {path}" in done.err


def test_an_archive_has_the_same_figures(eachlabs: Command, service: EmulatorThread, tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    assert eachlabs(*service.flags(), "executions", "sync", str(path), "--since=2026-01-01", "-q").code == 0
    model = next(iter(service.emulator.executions))["model"]
    for more in ([], ["--model", model], ["--status=failed", "--by=day"]):
        there = eachlabs(*service.flags(), "costs", "--since=2026-01-01", "-q", *more)
        assert there.out.count("\n") >= 1
        assert there.out == eachlabs("costs", "--archive", str(path), "--since=2026-01-01", "-q", *more).out
    refused = eachlabs("costs", "--archive", str(path), "--error-classification=unknown")
    assert refused.code == 2
