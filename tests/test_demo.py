"""The demo is right, says so, and says so only then."""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from eachlabs_async._codec import decode
from eachlabs_async.cli import demo, main, report, stage
from eachlabs_async.cli.checks import difference, problems
from eachlabs_async.cli.report import Line, Progress, Report
from eachlabs_async.emulator.state import State
from eachlabs_async.records import Execution, WorkflowExecution

ROOT = Path(__file__).parents[1]
SMALL = ["--quick", "--executions", "250", "--latency-ms", "0"]


def report_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(capsys.readouterr().out)
    return read


def test_the_demo_brings_every_row_through_the_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *SMALL, "--json", "--seed", "3"]) == 0
    report = report_of(capsys)
    assert report["ok"] is True
    assert report["problems"] == []
    assert [line["rows"] for line in report["lines"]] == [250, 125, 125, 250, 200, 100]
    assert report["total"]["rows"] == 1050
    # What the emulator counted is what the work takes, and a retry for each fault that broke an answer.
    assert report["total"]["requests"] == 3 + 2 + 2 + 3 + 200 + 1 + report["total"]["retries"]
    assert sum(report["faults"].values()) == report["total"]["retries"] > 0
    assert report["total"]["plain_rows"] == 250 + 125 + 125 + 250 + 20 + 20
    assert all(line["plain_s"] > 0 for line in report["lines"])


def lost(state: State) -> None:
    state.executions.insert(1, 100)


def invented(state: State) -> None:
    state.runs.remove(3)


def changed(state: State) -> None:
    group = state.workflow_executions[state.workflow_ids[0]]
    group.change(group.ids()[0], total_cost=123.5)


def reordered(state: State) -> None:
    first, second, *_ = state.executions.ids()
    state.executions.change(first, id="interim")
    state.executions.change(second, id=first)
    state.executions.change("interim", id=second)


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lost, "executions, by offset: 1 rows missing"),
        (invented, "runs, by page: 1 rows that the emulator does not hold"),
        (changed, "workflow executions, by id: 1 rows differ"),
        (reordered, "executions, by offset: rows out of order from number 1 on"),
    ],
)
def test_the_demo_exits_with_1_where_rows_are_not_what_they_should_be(
    tamper: Callable[[State], None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    held = demo.held

    def other(settings: Any) -> State:
        state = held(settings)
        tamper(state)
        return state

    monkeypatch.setattr(demo, "held", other)
    assert main(["demo", *SMALL, "--faults", "0"]) == 1
    out = capsys.readouterr().out
    assert "Something is off:" in out
    assert said in out
    assert "Checked against" not in out


def test_the_demo_exits_with_1_where_ids_are_not_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = demo.held
    # Rows of another seed: no id of theirs is known to the emulator.
    monkeypatch.setattr(demo, "held", lambda settings: held(evolve(settings, seed=99)))
    assert main(["demo", *SMALL, "--faults", "0", "--json"]) == 1
    report = report_of(capsys)
    assert report["ok"] is False
    assert any("HTTP 404" in problem for problem in report["problems"])


def test_the_demo_exits_with_1_where_a_key_went_to_the_other_vendor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rows alone do not make a run right: what the emulator saw of keys counts too."""
    ask = stage.Stage.ask

    async def asked(self: stage.Stage, command: str) -> dict[str, Any]:
        return {**await ask(self, command), "foreign_keys": 1}

    monkeypatch.setattr(stage.Stage, "ask", asked)
    assert main(["demo", *SMALL, "--faults", "0", "--json"]) == 1
    assert any("requests took one vendor's key to the other" in problem for problem in report_of(capsys)["problems"])


def test_the_module_that_python_m_runs_does_nothing_when_imported() -> None:
    """Tools that import every module start no command."""
    assert importlib.import_module("eachlabs_async.__main__").main is main


def test_the_demo_exits_with_1_where_its_emulator_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eachlabs_async.cli.stage.__name__", "eachlabs_async.errors")
    assert main(["demo", *SMALL]) == 1
    assert "the emulator's process ended before its time" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent in another way there")
def test_ctrl_c_ends_the_demo_with_130_and_leaves_no_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "eachlabs_async", "demo", "--latency-ms", "200"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell may have told its background jobs to ignore SIGINT; that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        assert "An emulator" in process.stdout.readline()
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        # Standard error is the child's too: it is at its end only once both are gone.
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == "stopped"


@pytest.mark.parametrize("wrong", [["--executions", "0"], ["--faults", "0.9"], ["--seed", "one"]])
def test_a_wrong_argument_ends_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", *wrong])
    assert exit_.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_the_commands_are_told_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "demo" in capsys.readouterr().out
    assert main(["nonsense"]) == 2
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "emulator" in told.err


def test_the_emulator_command_is_the_emulators_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["emulator", "--help"])
    assert exit_.value.code == 0
    assert "--latency-ms" in capsys.readouterr().out


def test_python_m_runs_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eachlabs_async", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0
    assert "python -m eachlabs_async" in done.stdout


# ---- what judges the rows


def wire(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "status": "success", "created_at": "2026-01-01T00:00:00Z", **fields}


def record(**fields: Any) -> Execution:
    return Execution(id="a", status="success", **{"created_at": datetime(2026, 1, 1, tzinfo=UTC), **fields})


def test_a_record_equals_its_row_whatever_the_row_leaves_out_or_has_besides() -> None:
    assert difference(record(), wire()) is None
    assert difference(record(), wire(started_at=None, new_field=[1])) is None
    assert difference(record(), wire(started_at="0001-01-01T00:00:00Z", completed_at="")) is None
    assert difference(record(execution_cost=1.0), wire(execution_cost=1)) is None


@pytest.mark.parametrize(
    ("made", "row", "where"),
    [
        (record(), wire(status="error"), "$.status"),
        (record(), wire(created_at="2026-01-01T01:00:00Z"), "$.created_at"),
        (record(created_at=datetime(2026, 1, 1)), wire(), "$.created_at"),
        (record(), wire(started_at="2026-01-01T00:00:00Z"), "$.started_at"),
        (record(), wire(output=""), "$.output"),
        (record(execution_cost=1.0), wire(execution_cost=True), "$.execution_cost"),
        (record(), [], "$"),
    ],
)
def test_the_first_field_that_differs_is_named(made: Execution, row: Any, where: str) -> None:
    assert difference(made, row) == where


def test_a_difference_inside_steps_is_found() -> None:
    sample = json.loads((ROOT / "tests" / "samples" / "workflow_executions.get.json").read_bytes())
    row = sample["response"]["body"]
    made = decode(json.dumps(row).encode(), WorkflowExecution)
    assert difference(made, row) is None
    step = next(iter(row["step_outputs"]))
    row["step_outputs"][step]["output"] = {"another": 1}
    assert (difference(made, row) or "").startswith(f"$.step_outputs.{step}.output")
    row["step_outputs"]["one more"] = {}
    assert difference(made, row) == "$.step_outputs"
    assert difference({"a": [[1], [2, 3]]}, {"a": [[1], [2]]}) == "$.a.1"


def test_doubles_and_gaps_are_told_apart() -> None:
    rows = [wire(), wire(id="b")]
    other = evolve(record(), id="b")
    assert problems([record(), other], rows, "id") == []
    assert problems([record()], rows, "id") == ["1 rows missing (b)"]
    assert problems([record(), record(), other], rows, "id") == ["1 rows came more than once (a)"]


# ---- what is shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_rewritten_and_a_file_sees_plain_ones() -> None:
    for stream in (Terminal(), io.StringIO()):
        progress = Progress(stream, lambda: 1)
        progress.say("begin")
        progress.begin("rows", 10)
        progress.update(5)
        progress.end(10)
        text = stream.getvalue()
        assert "rows: 10 of 10 rows" in text
        assert "1 retry" in text
        assert ("\r" in text) is stream.isatty()
        assert text.endswith("\n")
        assert text.count("\n") == 2


def test_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first and the last row, once some time has passed, and not after the last."""
    monkeypatch.setattr(report, "_PLAIN_EVERY_S", 0)
    monkeypatch.setattr(report, "_TERMINAL_EVERY_S", 0)
    for stream in (Terminal(), io.StringIO()):
        progress = Progress(stream, lambda: 0)
        progress.begin("rows", 10)
        progress.update(4)
        progress.update(10)
        assert "rows: 4 of 10 rows" in stream.getvalue()
        assert "rows: 10 of 10 rows" not in stream.getvalue()


def test_a_table_without_samples_says_nothing_of_them() -> None:
    """What was measured in full needs no footnote."""
    line = Line(title="walk", rows=10, requests=1, retries=0, seconds=1.0, calm_s=1.0, plain_rows=10, plain_s=2.0)
    text = Report(settings={}, lines=[line], faults={}).as_text()
    assert "extrapolated" not in text
    assert "~" not in text


async def test_a_stage_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that hears nothing is killed after a moment of grace; one that was never started needs no end."""
    settings = stage.Settings(executions=1, seed=1, now="2026-01-01T00:00:00+00:00", latency_s=0, fault_rate=0)
    await stage.Stage(settings).__aexit__(None, None, None)
    monkeypatch.setattr(stage, "_GRACE_S", 0.05)
    opened = stage.Stage(settings)
    with pytest.raises(TimeoutError):
        async with opened:
            process = opened._process
            assert process is not None
            process.send_signal(signal.SIGSTOP)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("rate", [0, 0.1])
def test_the_stage_does_as_it_is_told(rate: float) -> None:
    """Trouble is dice and one pause, calm is the latency alone; each answer tells what was counted since the last."""
    settings = stage.Settings(executions=5, seed=1, now="2026-01-01T00:00:00+00:00", latency_s=0.5, fault_rate=rate)
    emulator = settings.emulator()
    for command in ("trouble", "calm", "counts"):
        counts = stage._obeyed(emulator, settings, command)
        assert counts == {"requests": 0, "faults": {}, "foreign_keys": 0}


def test_the_table_says_what_was_extrapolated_and_what_is_off() -> None:
    line = Line(
        title="gets",
        rows=2000,
        requests=2010,
        retries=10,
        seconds=2.0,
        calm_s=1.0,
        plain_rows=80,
        plain_s=44.0,
    )
    report = Report(settings={}, lines=[line], faults={"reset": 10})
    text = report.as_text()
    assert "~44.00" in text
    assert "80 of 2,000" in text
    assert "1,000" in text  # rows a second
    assert "every field equal" in text
    line.problems.append("1 rows missing (a)")
    text = report.as_text()
    assert "gets: 1 rows missing (a)" in text
    assert "every field equal" not in text


def test_the_demo_needs_no_environment_and_reads_none(capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "EACHLABS_API_KEY": "not-for-the-demo", "EACHLABS_EDITION": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-m", "eachlabs_async", "demo", *SMALL],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "not-for-the-demo" not in done.stdout
