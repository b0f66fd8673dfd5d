"""Tests of `workflows map` and `predictions map`: outcomes, journals, Ctrl-C, and inputs that are wrong."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from command_line import EmulatorThread, Process, Terminal, command_after, environment, run, wait_until
from conftest import Done

from eachlabs_async.cli.failures import UsageError
from eachlabs_async.cli.map import checked_budget

Command = Callable[..., Done]
MODEL = "flux-1-1-pro"


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def inputs_file(folder: Path, count: int, **more: Any) -> Path:
    path = folder / "inputs.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"p{number}", **more}) + "\n" for number in range(count)))
    return path


def prompts(service: EmulatorThread) -> list[Any]:
    return sorted(one.inputs["prompt"] for one in service.emulator.submitted)


# ---- outcomes


def test_each_input_has_an_outcome(eachlabs: Command, own_service: EmulatorThread, tmp_path: Path) -> None:
    """A row has the index of its input, the id, the status, the cost, and the output or the error."""
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a"}\n\n{"prompt": "b", "fail": true}\n{"prompt": "c"}\n')
    done = eachlabs(*own_service.flags(), "predictions", "map", MODEL, str(path))
    assert done.code == 1
    rows = {row["index"]: row for row in lines(done.out)}
    assert sorted(rows) == [0, 1, 2]
    assert [rows[index]["status"] for index in range(3)] == ["success", "failed", "success"]
    assert (rows[0]["error"], rows[0]["cost"], len(rows[0]["urls"])) == (None, 0.0125, 1)
    assert rows[1]["error_code"] == "PROVIDER_ERROR"
    assert prompts(own_service) == ["a", "b", "c"]
    assert done.err.splitlines()[-1] == f"predictions of {MODEL}: 3 done, 1 of them failed, $0.025 spent"


def test_a_workflow_runs_with_the_rows_of_a_csv_file(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path
) -> None:
    """Cells are typed by the schema of the version that runs, which is the latest if none is named."""
    path = tmp_path / "in.csv"
    path.write_text('prompt,steps\n7,3\n"a, ""b""",\n')
    workflow = own_service.emulator.workflow_ids[0]
    (version,) = own_service.emulator.workflows.get(workflow)["versions"]
    schema = {"properties": {"prompt": {"type": "string"}, "steps": {"type": "integer"}}}
    changed = {**version, "definition": {**version["definition"], "input_schema": schema}}
    own_service.emulator.workflows.change(workflow, versions=[changed])
    done = eachlabs(
        *own_service.flags(), "workflows", "map", workflow, str(path), "--format=csv", "--fields=index,status"
    )
    assert done.code == 0
    assert sorted(row["index"] for row in csv.DictReader(io.StringIO(done.out))) == ["0", "1"]
    found = sorted((one.inputs for one in own_service.emulator.submitted), key=lambda one: str(one["prompt"]))
    assert found == [{"prompt": "7", "steps": 3}, {"prompt": 'a, "b"'}]
    assert {one.version for one in own_service.emulator.submitted} == {"v1"}


def test_inputs_come_from_standard_input(own_service: EmulatorThread) -> None:
    """They are read as they are needed; a line that is wrong ends the map after what runs."""
    arguments = [*own_service.flags(), "predictions", "map", MODEL, "-"]
    done = run(*arguments, stdin='{"prompt": "a"}\n{"prompt": "b"}\n', **own_service.keys())
    assert (done.returncode, len(lines(done.stdout))) == (0, 2)
    done = run(*arguments, stdin='{"prompt": "c"}\n{"prompt"\n', **own_service.keys())
    assert (done.returncode, len(lines(done.stdout))) == (2, 1)
    assert "eachlabs: standard input, line 2: this is no JSON" in done.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("in.jsonl", '{"prompt": "a"}\n{"prompt"\n', "in.jsonl, line 2: this is no JSON"),
        (
            "in.csv",
            "prompt,num_images\na,1\nb,many\n",
            "in.csv, line 3: the input num_images must be of the type",
        ),
        ("in.jsonl", "", "there are no inputs in"),
        ("in.txt", "x", "must end in .jsonl or .csv"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_sent(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path, name: str, text: str, said: str
) -> None:
    """The whole file is read first, so that nothing was paid for when its last line is wrong."""
    (tmp_path / name).write_text(text)
    done = eachlabs(*own_service.flags(), "predictions", "map", MODEL, str(tmp_path / name))
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert own_service.emulator.submitted == []


@pytest.mark.parametrize("text", ["0", "-1", "much", "nan", "inf"])
def test_a_budget_is_an_amount(text: str) -> None:
    """Above 0, in USD, with or without its sign."""
    assert checked_budget("$20.5") == Decimal("20.5")
    assert checked_budget(None) is None
    with pytest.raises(UsageError, match="--budget-usd"):
        checked_budget(text)


# ---- stopping and going on


def test_a_killed_map_goes_on_with_the_same_command(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path
) -> None:
    """With a journal, no input runs twice and each outcome comes, in the first run or in the second.

    What was being sent at the kill, and never arrived, is an outcome that says so.
    """
    path, journal = inputs_file(tmp_path, 12, seconds=0.2), tmp_path / "job.sqlite"
    workflow = own_service.emulator.workflow_ids[0]
    command = [*own_service.flags(), "workflows", "map", workflow, str(path), f"--journal={journal}", "--concurrency=3"]
    with Process(*command, **own_service.keys()) as process:
        first = [json.loads(line) for line in process.read_lines(4)]
        process.process.send_signal(signal.SIGKILL)
        first += lines(process.end()[0])
    done = eachlabs(*command)
    rows = {row["index"]: row for row in [*first, *lines(done.out)]}
    assert set(rows) == set(range(12))
    lost = [row for row in rows.values() if row["error"]]
    assert done.code == bool(lost)
    assert all("was being sent" in row["error"] for row in lost), lost
    ran = prompts(own_service)
    assert len(ran) == len(set(ran)) >= 12 - len(lost)
    assert "waiting" not in done.err


def test_ctrl_c_stops_a_map_and_says_how_to_go_on(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path
) -> None:
    """It names what still runs, and the command that goes on, which pins the version and runs the rest."""
    path, journal = inputs_file(tmp_path, 6, seconds=1.0), tmp_path / "a journal.sqlite"
    workflow = own_service.emulator.workflow_slugs[0]
    command = [*own_service.flags(), "workflows", "map", workflow, str(path), "--journal", str(journal)]
    with Process(*command, "--concurrency=2", **own_service.keys()) as process:
        first = json.loads(process.read_lines(1)[0])
        wait_until(lambda: len(own_service.emulator.submitted) >= 3, "more were sent")
        process.interrupt()
        out, err, code = process.end()
    assert code == 130
    assert "stopping: nothing more is sent" in err
    assert "executions may still run" in err
    again = command_after(err)
    assert again[-2:] == ["--version-id", "v1"]
    done = eachlabs(*again)
    assert done.code == 0, done.err
    assert {row["index"] for row in [first, *lines(out), *lines(done.out)]} == set(range(6))
    assert prompts(own_service) == [f"p{number}" for number in range(6)]


def test_ctrl_c_without_a_journal_says_that_nothing_is_kept(own_service: EmulatorThread, tmp_path: Path) -> None:
    """Predictions that run are cancelled."""
    path = inputs_file(tmp_path, 4, seconds=1000)
    with Process(*own_service.flags(), "predictions", "map", MODEL, str(path), **own_service.keys()) as process:
        wait_until(lambda: len(own_service.emulator.submitted) == 4, "all were sent")
        process.interrupt()
        _, err, code = process.end()
    assert code == 130
    assert "without --journal FILE a map cannot go on" in err
    assert own_service.emulator.running == 0


def test_a_second_ctrl_c_ends_at_once(own_service: EmulatorThread, tmp_path: Path) -> None:
    """Even while the answer to a creating request is awaited."""
    from eachlabs_async.emulator import Fault

    own_service.emulator.faults.add(Fault.stalled_answer(late=True), endpoint="predictions.create")
    path = inputs_file(tmp_path, 4, seconds=1000)
    with Process(*own_service.flags(), "predictions", "map", MODEL, str(path), **own_service.keys()) as process:
        wait_until(lambda: own_service.emulator.submitted, "one was sent")
        process.interrupt()
        assert process.process.stderr is not None
        while "Ctrl-C again ends at once" not in process.process.stderr.readline():
            pass
        process.interrupt()
        _, _, code = process.end()
    assert code == 130


# ---- on a terminal


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_a_map_is_shown_live(own_service: EmulatorThread, tmp_path: Path, columns: int) -> None:
    """Rows appear above the counts; in the end there are the rows and a summary, and nothing wraps."""
    path = inputs_file(tmp_path, 12, seconds=0.4)
    workflow = own_service.emulator.workflow_slugs[0]
    shown = Terminal(columns, 16).run(
        *own_service.flags(), "workflows", "map", workflow, str(path), "--concurrency=4", **own_service.keys()
    )
    assert shown.code == 0, shown.text
    assert shown.wrapped == 0
    assert b"8 waiting" in shown.raw or b"4 waiting" in shown.raw
    assert shown.lines[-1] == "workflow workflow-1: 12 done, $0.30 spent"
    assert {line.split()[0 if columns == 60 else 1] for line in shown.lines[1:13]} == {
        one.id for one in own_service.emulator.submitted
    }


def test_the_view_is_on_standard_error_where_rows_go_to_a_pipe(own_service: EmulatorThread, tmp_path: Path) -> None:
    """A person sees the counts and what ended last, and the pipe gets nothing but rows."""
    inputs_file(tmp_path, 6, seconds=0.3)
    command = f"eachlabs {' '.join(own_service.flags())} predictions map {MODEL} inputs.jsonl --concurrency 2 >rows"
    shown = Terminal(80, 20).run_shell(command, tmp_path, environment(**own_service.keys()))
    assert shown.code == 0
    assert len(lines((tmp_path / "rows").read_text())) == 6
    assert b"waiting" in shown.raw
    assert shown.lines == [f"predictions of {MODEL}: 6 done, $0.075 spent"]


# ---- a budget


def test_a_map_stops_at_its_budget_and_goes_on_with_more(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path
) -> None:
    """What was not started is counted and no row; with a journal, the command that goes on has a larger budget."""
    path, journal = inputs_file(tmp_path, 20, seconds=0.05), tmp_path / "job.sqlite"
    command = [*own_service.flags(), "predictions", "map", MODEL, str(path), f"--journal={journal}", "--concurrency=1"]
    done = eachlabs(*command, "--budget-usd", "0.05")
    assert done.code == 1
    ran = len(own_service.emulator.submitted)
    assert 3 <= ran <= 5
    assert len(lines(done.out)) == ran
    assert f"{20 - ran} inputs were not started: the budget is reached" in done.err
    assert "of $0.05 left" in done.err
    again = command_after(done.err)
    assert again[-2:] == ["--budget-usd", "0.10"]
    done = eachlabs(*again[:-1], "5")
    assert (done.code, len(lines(done.out))) == (0, 20 - ran), done.err
    assert prompts(own_service) == sorted(f"p{number}" for number in range(20))
