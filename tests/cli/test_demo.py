"""Tests for the demo: it succeeds if every row is right, and reports and fails otherwise."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import asdict, evolve
from internals import process_of

from eachlabs_async import COMPAT, UNIFIED, Hosts
from eachlabs_async.cli import demo, demo_server, main, report
from eachlabs_async.cli.checks import difference, problems
from eachlabs_async.cli.program import program_name
from eachlabs_async.cli.report import Progress, Report, ReportLine
from eachlabs_async.codec.strict import decode
from eachlabs_async.emulator.dataset import Dataset
from eachlabs_async.records import Execution, WorkflowExecution

ROOT = Path(__file__).parents[2]
SMALL = ["--quick", "--executions", "250", "--latency-ms", "0"]
EXECUTIONS = ["executions by seeking", "executions by cursor"]


def report_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(capsys.readouterr().out)
    return read


def test_the_demo_brings_every_row_through_the_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *SMALL, "--json", "--seed", "3"]) == 0
    report = report_of(capsys)
    assert report["ok"] is True
    assert report["problems"] == []
    assert [line["rows"] for line in report["lines"]] == [250, 250, 125, 125, 250, 200, 100]
    assert report["total"]["rows"] == 1300
    # What the emulator counted is what the work takes, and a retry for each fault that broke an answer.
    takes = [line["requests"] - line["retries"] for line in report["lines"]]
    by_cursor = takes.pop(1)
    assert takes == [3, 2, 2, 3, 200, 1]
    # Three pages hold the rows. Read ahead in spans of time, which are guessed, they take some more.
    assert 3 <= by_cursor <= 3 + 8
    assert sum(report["faults"].values()) == report["total"]["retries"] > 0
    assert report["total"]["plain_rows"] == 250 + 250 + 125 + 125 + 250 + 20 + 20
    assert all(line["plain_s"] > 0 for line in report["lines"])


def test_faults_strike_the_listing_by_cursor_whatever_the_dice_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *SMALL, "--json", "--faults", "0.000001"]) == 0
    report = report_of(capsys)
    retries = {line["title"]: line["retries"] for line in report["lines"]}
    assert retries["executions by cursor"] == 1
    assert report["faults"]["cut_body"] == 1


def test_executions_are_walked_through_both_depths(capsys: pytest.CaptureFixture[str]) -> None:
    """There are more rows than an offset reaches: compat seeks below them, unified never uses an offset."""
    rows = ["--executions", "1300", "--look-ahead", "0", "--faults", "0"]
    assert main(["demo", "--quick", "--latency-ms", "0", *rows, "--json"]) == 0
    seeking, by_cursor = report_of(capsys)["lines"][:2]
    assert seeking["title"] == "executions by seeking"
    assert by_cursor["title"] == "executions by cursor"
    assert seeking["rows"] == by_cursor["rows"] == 1300
    # The pages, and by seeking one more: a block begins with rows that came before.
    assert by_cursor["requests"] == 13
    assert 13 <= seeking["requests"] <= 15


def test_the_demo_exits_with_1_where_executions_are_not_listed_as_the_line_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both walks return the same rows, so only the requests show which of them it was."""
    hosts = demo_server._hosts
    monkeypatch.setattr(demo_server, "_hosts", lambda fields: evolve(hosts(fields), executions_by="seek"))
    assert main(["demo", *SMALL, "--faults", "0", "--json"]) == 1
    assert report_of(capsys)["problems"] == [
        "executions by cursor: 3 requests were executions.list, not executions.list_by_cursor"
    ]


@pytest.mark.parametrize("executions_by", ["auto", "cursor", "seek"])
@pytest.mark.parametrize("hosts", [COMPAT, UNIFIED], ids=["compat", "unified"])
def test_hosts_reach_the_demo_whole(hosts: Hosts, executions_by: Literal["auto", "cursor", "seek"]) -> None:
    """They are sent from another process as JSON."""
    hosts = evolve(hosts, executions_by=executions_by)
    assert demo_server._hosts(json.loads(json.dumps(asdict(hosts)))) == hosts


def lost(rows: Dataset) -> None:
    rows.executions.insert(1, 100)


def invented(rows: Dataset) -> None:
    rows.runs.remove(3)


def changed(rows: Dataset) -> None:
    group = rows.workflow_executions[rows.workflow_ids[0]]
    group.change(group.ids()[0], total_cost=123.5)


def reordered(rows: Dataset) -> None:
    first, second, *_ = rows.executions.ids()
    rows.executions.change(first, id="interim")
    rows.executions.change(second, id=first)
    rows.executions.change("interim", id=second)


@pytest.mark.parametrize(
    ("tamper", "lines", "said"),
    [
        (lost, EXECUTIONS, "1 rows missing"),
        (invented, ["runs by page"], "1 rows that the emulator does not have"),
        (changed, ["workflow execs by id"], "1 rows differ"),
        (reordered, EXECUTIONS, "rows out of order from number 1 on"),
    ],
)
def test_the_demo_exits_with_1_where_rows_are_not_what_they_should_be(
    tamper: Callable[[Dataset], None],
    lines: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected_rows = demo.expected_rows

    def other(settings: Any) -> Dataset:
        rows = expected_rows(settings)
        tamper(rows)
        return rows

    monkeypatch.setattr(demo, "expected_rows", other)
    assert main(["demo", *SMALL, "--faults", "0"]) == 1
    out = capsys.readouterr().out
    assert "Something is off:" in out
    assert all(f"{line}: {said}" in " ".join(out.split()) for line in lines)
    assert "Checked against" not in out


def test_the_demo_exits_with_1_where_ids_are_not_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expected_rows = demo.expected_rows
    # Rows of another seed: no id of theirs is known to the emulator.
    monkeypatch.setattr(demo, "expected_rows", lambda settings: expected_rows(evolve(settings, seed=99)))
    assert main(["demo", *SMALL, "--faults", "0", "--json"]) == 1
    report = report_of(capsys)
    assert report["ok"] is False
    assert any("HTTP 404" in problem for problem in report["problems"])


def test_the_demo_exits_with_1_where_a_key_went_to_the_other_vendor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Besides the rows, the demo checks which keys the emulator saw."""
    original = demo_server.DemoServer.command

    async def command(self: demo_server.DemoServer, command: str) -> dict[str, Any]:
        return {**await original(self, command), "foreign_keys": 1}

    monkeypatch.setattr(demo_server.DemoServer, "command", command)
    assert main(["demo", *SMALL, "--faults", "0", "--json"]) == 1
    assert any("requests took one vendor's key to the other" in problem for problem in report_of(capsys)["problems"])


def test_the_module_that_python_m_runs_does_nothing_when_imported() -> None:
    """A tool that imports every module starts no command."""
    assert importlib.import_module("eachlabs_async.__main__").main is main


def test_the_demo_exits_with_1_where_its_emulator_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("eachlabs_async.cli.demo_server.__name__", "eachlabs_async.errors")
    assert main(["demo", *SMALL]) == 1
    assert "the emulator's process ended too early" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent in another way there")
@pytest.mark.parametrize(
    ("during", "more"),
    [("Starting an emulator", []), ("  executions by seeking", ["--quick", "--executions", "300"])],
    ids=["start", "walk"],
)
def test_ctrl_c_ends_the_demo_with_130_and_leaves_no_process(during: str, more: list[str]) -> None:
    """This holds even while the emulator starts and does not react yet."""
    with subprocess.Popen(
        [sys.executable, "-m", "eachlabs_async", "demo", "--latency-ms", "200", *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell may have told its background jobs to ignore SIGINT; that would be inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        # It says itself how far it is: time alone would not tell that on a busy machine.
        assert any(line.startswith(during) for line in process.stdout)
        process.send_signal(signal.SIGINT)
        # Standard error is the child's too: it is at its end only once both are gone.
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == "stopped"


@pytest.mark.parametrize("wrong", [["--executions", "0"], ["--faults", "0.9"], ["--seed", "one"]])
def test_a_wrong_argument_ends_with_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", *wrong])
    assert exit_.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_the_commands_are_told_and_an_unknown_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help is printed."""
    for arguments in (["--help"], []):
        assert main(arguments) == 0
        assert "demo" in capsys.readouterr().out
    assert main(["nonsense"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "nonsense" in told.err


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        (["-m", "eachlabs_async", "emulator"], "python -m eachlabs_async emulator"),
        (["-m", "eachlabs_async.emulator"], "python -m eachlabs_async.emulator"),
        (["-m", "eachlabs_async", "demo"], "python -m eachlabs_async demo"),
    ],
)
def test_the_help_of_a_command_names_the_program_that_was_typed(typed: list[str], named: str) -> None:
    """What stands after `usage:` can be typed again."""
    done = subprocess.run(
        [sys.executable, *typed, "--help"], capture_output=True, text=True, timeout=60, cwd=ROOT, check=True
    )
    assert done.stdout.startswith(f"usage: {named} [-h]")
    assert "--latency-ms" in done.stdout


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/venv/bin/eachlabs", "eachlabs"),
        ("eachlabs.exe", "eachlabs"),
        ("/site-packages/eachlabs_async/__main__.py", "python -m eachlabs_async"),
        ("", "python -m eachlabs_async"),
    ],
)
def test_the_program_is_named_as_it_was_started(path: str, name: str) -> None:
    """The script has a short name, the module a longer one."""
    assert program_name(path) == name


def test_python_m_runs_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "eachlabs_async", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: python -m eachlabs_async COMMAND")


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
    """It is shown between the first and the last row, once some time has passed, and not after the last."""
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
    """There is no footnote if everything was measured in full."""
    line = ReportLine(title="walk", rows=10, requests=1, retries=0, seconds=1.0, calm_s=1.0, plain_rows=10, plain_s=2.0)
    text = Report(settings={}, lines=[line], faults={}).as_text()
    assert "extrapolated" not in text
    assert "~" not in text


@pytest.mark.parametrize("width", [60, 79, 80, 100])
def test_the_report_fits_the_terminal(width: int) -> None:
    """The demo's own figures, with all its notes, fit from 60 columns on; the wider, the more columns of figures."""
    titles = ["one workflow, unified", "executions by seeking"]
    lines = [
        ReportLine(title=t, rows=22_500, requests=2298, retries=1071, seconds=12.5, plain_rows=80, plain_s=165.03)
        for t in titles
    ]
    lines[0].problems.append("1 rows missing " * 12)
    faults = {"cut_body": 1, "status": 38, "html": 11, "reset": 9}
    text = Report(settings={}, lines=lines, faults=faults).as_text(width)
    assert max(map(len, text.splitlines())) <= width
    assert "with without" in " ".join(text.split())
    assert ("requests" in text) is (width >= 79)
    assert ("rows/s" in text) is (width == 100)
    assert "~165.0 s" in text


def test_the_faults_are_told_in_words() -> None:
    """They are what a client meets, and none of the emulator's own names."""
    text = " ".join(Report(settings={}, faults={"cut_body": 1, "status": 38, "reset": 9}).as_text().split())
    assert "The faults: 1 response cut short, 9 connections reset, 38 error responses (429, 500, 503)." in text
    assert "The faults: none." in Report(settings={}).as_text()


@pytest.mark.parametrize("width", [60, 80])
def test_progress_never_wraps_on_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is rewritten in place must not fill the last column; a permanent one is broken at a word."""
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    progress = Progress(terminal, lambda: 1234)
    progress.say("word " * 40)
    progress.begin("a title that is rather long for this", 1_000_000)
    progress.end(1_000_000)
    shown = [line.rstrip() for line in terminal.getvalue().replace("\r", "\n").split("\n")]
    assert max(map(len, shown)) <= width
    assert "1234 retries" in " ".join(" ".join(shown).split())


def server_settings(fault_rate: float = 0) -> demo_server.DemoServerSettings:
    now = "2026-01-01T00:00:00+00:00"
    return demo_server.DemoServerSettings(executions=5, seed=1, now=now, latency_s=0, fault_rate=fault_rate)


async def test_a_demo_server_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that does not react is killed after a grace period; one that was never started needs no end."""
    settings = server_settings()
    await demo_server.DemoServer(settings).__aexit__(None, None, None)
    monkeypatch.setattr(demo_server, "_GRACE_S", 0.05)
    opened = demo_server.DemoServer(settings)
    with pytest.raises(TimeoutError):
        async with opened:
            process = process_of(opened)
            process.send_signal(signal.SIGSTOP)
    assert process.returncode == -signal.SIGKILL


async def test_ctrl_c_while_the_demo_server_is_started_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start is seen through, and the child that it made is killed."""
    start, started = asyncio.create_subprocess_exec, asyncio.Event()
    children: list[asyncio.subprocess.Process] = []

    async def slow(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        started.set()
        await asyncio.sleep(0.05)
        children.append(await start(*arguments, **options))
        return children[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
    task = asyncio.create_task(demo_server.DemoServer(server_settings()).__aenter__())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [child.returncode for child in children] == [-signal.SIGKILL]


async def test_an_interrupted_demo_server_is_killed_at_once() -> None:
    """A child that does not react, or that still starts, does not delay or change the end of the demo."""
    settings = server_settings()
    opened, started = demo_server.DemoServer(settings), asyncio.Event()
    children: list[asyncio.subprocess.Process] = []

    async def performed() -> None:
        async with opened:
            children.append(process_of(opened))
            process_of(opened).send_signal(signal.SIGSTOP)
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(performed())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [child.returncode for child in children] == [-signal.SIGKILL]


def test_ctrl_c_before_the_demo_has_begun_ends_it_with_130_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(argv: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "_options", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err.strip() == "stopped"


INTERRUPTED_IMPORT = """
import os, signal, sys
from eachlabs_async.cli import main

class Finder:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.exit(main([sys.argv[2]]))
"""

FAILING_WHILE_INTERRUPTED = """
import os, signal, sys
from eachlabs_async.cli import demo_server, main

async def wait_until_listening(self):
    if sys.argv[1] == "interrupted":
        os.kill(os.getpid(), signal.SIGINT)
    raise TimeoutError

demo_server.DemoServer.wait_until_listening = wait_until_listening
sys.exit(main(["demo", "--quick", "--executions", "10"]))
"""


def run_script(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT
    )


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent in another way there")
@pytest.mark.parametrize(
    ("command", "module"),
    [
        *((command, module) for command in ("demo", "emulator") for module in ("attrs", "aiohttp")),
        ("demo", "eachlabs_async.emulator.dataset"),
        ("balance", "cyclopts"),
        ("balance", "attrs"),
    ],
)
def test_ctrl_c_while_a_command_is_imported_ends_it_with_130(command: str, module: str) -> None:
    """The interrupt waits until the imports are done, because it could get lost in one."""
    done = run_script(INTERRUPTED_IMPORT, module, command)
    assert (done.returncode, done.stderr.strip(), done.stdout) == (130, "stopped", "")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent in another way there")
def test_an_error_that_comes_of_ctrl_c_is_no_failure_of_the_demo() -> None:
    """A time-out while the demo is being stopped was once reported as `the demo cannot run: `."""
    done = run_script(FAILING_WHILE_INTERRUPTED, "interrupted")
    assert (done.returncode, done.stderr.strip()) == (130, "stopped")
    done = run_script(FAILING_WHILE_INTERRUPTED, "not interrupted")
    assert (done.returncode, done.stderr.strip()) == (1, "the demo cannot run: TimeoutError")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
@pytest.mark.parametrize("command", [["demo", "--quick", "--executions", "50"], ["--help"]], ids=["demo", "help"])
def test_a_reader_that_goes_away_ends_a_command_silently(command: list[str]) -> None:
    """As in `demo | head -1`; the exit code is that of a broken pipe."""
    readable, writable = os.pipe()
    os.close(readable)
    done = subprocess.run(
        [sys.executable, "-m", "eachlabs_async", *command],
        stdout=writable,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    os.close(writable)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("rate", [0, 0.1])
def test_the_demo_server_runs_its_commands(rate: float) -> None:
    """Each command returns what was counted since the last one."""
    settings = server_settings(fault_rate=rate)
    emulator = settings.emulator()
    for command in ("add faults", "clear faults", "counts"):
        counts = demo_server._run_command(emulator, settings, command)
        assert counts == {"requests": 0, "by_endpoint": {}, "faults": {}, "foreign_keys": 0}


def test_the_table_says_what_was_extrapolated_and_what_is_off() -> None:
    line = ReportLine(
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
    assert "~44.0 s" in text
    assert "80 of 2,000" in text
    assert "1,000" in report.as_text(100)  # rows a second
    assert "every field equal" in text
    line.problems.append("1 rows missing (a)")
    text = report.as_text()
    assert "gets: 1 rows missing (a)" in text
    assert "every field equal" not in text


def test_the_demo_needs_no_environment_and_reads_none(capsys: pytest.CaptureFixture[str]) -> None:
    environment = {**os.environ, "EACHLABS_API_KEY": "not-for-the-demo", "EACHLABS_EDITION": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-m", "eachlabs_async", "demo", *SMALL, "--faults", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "not-for-the-demo" not in done.stdout
