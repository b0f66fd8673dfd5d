"""Tests of the commands that run executions and wait for them, in pipes and on terminals, against an emulator."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import EmulatorThread, Process, Terminal, command_after, wait_until
from conftest import Done

from eachlabs_async.emulator import Fault, lifecycle

Command = Callable[..., Done]
MODEL = "flux-1-1-pro"


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def submitted(service: EmulatorThread) -> list[dict[str, Any]]:
    return [one.inputs for one in service.emulator.submitted]


# ---- predictions run


def test_a_model_runs_with_the_inputs_of_the_command_line(eachlabs: Command, own_service: EmulatorThread) -> None:
    """A value is text where the model's schema wants text, and JSON elsewhere; the record is one line of JSON."""
    done = eachlabs(*own_service.flags(), "predictions", "run", MODEL, "prompt=1", "num_images=2", "more={}", "x=@@y")
    assert done.code == 0
    (record,) = lines(done.out)
    assert (record["status"], record["input"]) == (
        "success",
        {"prompt": "1", "num_images": 2, "more": {}, "x": "@y"},
    )
    assert submitted(own_service) == [record["input"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["num_images=many"], "the input num_images must be of the type integer, not 'many'"),
        (["prompt"], "inputs are NAME=VALUE"),
        (["image=@photo.png"], "files can be uploaded in the unified edition only: pass --edition unified"),
    ],
)
def test_wrong_inputs_are_refused_before_anything_is_paid_for(
    eachlabs: Command, own_service: EmulatorThread, words: list[str], said: str
) -> None:
    """The exit code is that of wrong usage, and nothing was started."""
    done = eachlabs(*own_service.flags(), "predictions", "run", MODEL, *words)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert submitted(own_service) == []


def test_a_file_is_uploaded_and_its_url_is_the_input(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path
) -> None:
    """In the unified edition; a file that is not there is refused at once."""
    (tmp_path / "photo.png").write_bytes(b"a picture")
    flags = own_service.flags("unified")
    done = eachlabs(*flags, "predictions", "run", MODEL, f"image=@{tmp_path}/photo.png", "-q")
    assert (done.code, done.err) == (0, "")
    ((file_id, stored),) = own_service.emulator.files.items()
    assert stored.data == b"a picture"
    assert file_id in submitted(own_service)[0]["image"]
    assert eachlabs(*flags, "predictions", "run", MODEL, "image=@none.png").code == 2
    assert len(submitted(own_service)) == 1


def test_a_failed_prediction_is_shown_and_told(eachlabs: Command, own_service: EmulatorThread) -> None:
    """Its record goes to the output, the reason to standard error, and the exit code is 1."""
    done = eachlabs(*own_service.flags(), "predictions", "run", MODEL, "fail=true")
    assert done.code == 1
    assert lines(done.out)[0]["status"] == "failed"
    assert "eachlabs: prediction" in done.err.splitlines()[-1]
    assert "PROVIDER_ERROR" in done.err.splitlines()[-1]


def test_a_prediction_that_takes_too_long_goes_on_and_is_told(eachlabs: Command, own_service: EmulatorThread) -> None:
    """The message has the commands that look at it and cancel it, with the hosts of this one."""
    flags = own_service.flags()
    done = eachlabs(*flags, "predictions", "run", MODEL, "seconds=1000", "--timeout-s", "0.3")
    assert done.code == 1
    (record,) = lines(done.out)
    found = eachlabs(*command_after(done.err, "look at it with: "))
    assert lines(found.out)[0]["id"] == record["id"]
    cancelled = eachlabs(*command_after(done.err, "cancel it with: "))
    assert lines(cancelled.out)[0]["status"] in ("cancelled", "canceled")


class Files(http.server.BaseHTTPRequestHandler):
    """Serves the path of each file as its bytes, except for those that are missing."""

    def do_GET(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def storage() -> Iterator[str]:
    """A server of files on loopback."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_result_files_are_saved_in_the_folder_and_nowhere_else(
    eachlabs: Command, own_service: EmulatorThread, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that lead elsewhere, are empty, or come twice get a file of their own in the folder."""
    paths = ["/a/image.png", "/b/image.png", "/..%2F..%2Fout", "/", "/%2e%2e/x%1b.png"]
    output = [storage + path for path in paths]
    monkeypatch.setattr(
        lifecycle,
        "prediction_ended",
        lambda execution: {"status": "success", "output": output, "metrics": {"cost": 0.01}},
    )
    folder = tmp_path / "made" / "folder"
    done = eachlabs(*own_service.flags(), "predictions", "run", MODEL, "prompt=x", "--save", str(folder))
    assert done.code == 0, done.err
    saved = {path.name: path.read_text() for path in folder.iterdir()}
    assert saved == {
        "image.png": "/a/image.png",
        "image-2.png": "/b/image.png",
        "_.._out": "/..%2F..%2Fout",
        "result": "/",
        "x_.png": "/%2e%2e/x%1b.png",
    }
    assert {path.name for path in tmp_path.iterdir()} <= {"made", "config"}
    assert "\x1b" not in done.err
    # The same command again replaces nothing.
    assert eachlabs(*own_service.flags(), "predictions", "run", MODEL, "prompt=x", f"--save={folder}").code == 0
    assert len(list(folder.iterdir())) == 10


def test_a_file_that_cannot_be_saved_is_told_and_the_others_are_saved(
    eachlabs: Command, own_service: EmulatorThread, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code says so; the record was printed all the same."""
    output = [storage + "/missing.png", storage + "/image.png", "ftp://x.example/x.png"]
    monkeypatch.setattr(
        lifecycle, "prediction_ended", lambda execution: {"status": "success", "output": output, "metrics": {"cost": 0}}
    )
    done = eachlabs(*own_service.flags(), "predictions", "run", MODEL, "prompt=x", "--save", str(tmp_path / "to"))
    assert done.code == 1
    assert lines(done.out)[0]["output"] == output
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["image.png"]
    assert "missing.png was not saved" in done.err


# ---- workflows trigger and wait


def test_a_workflow_is_triggered_and_waited_for(eachlabs: Command, own_service: EmulatorThread) -> None:
    """`trigger` prints the id, and the command that waits; `wait` prints the execution when it has ended."""
    flags, workflow = own_service.flags(), own_service.emulator.workflow_ids[0]
    done = eachlabs(*flags, "workflows", "trigger", workflow, "prompt=12", "seconds=0.3")
    assert done.code == 0
    (triggered,) = lines(done.out)
    assert own_service.emulator.submitted[0].id == triggered["execution_id"]
    waited = eachlabs(*command_after(done.err, "wait for it with: "))
    assert waited.code == 0
    assert (lines(waited.out)[0]["execution_id"], lines(waited.out)[0]["status"]) == (
        triggered["execution_id"],
        "completed",
    )
    assert "result" not in lines(waited.out)[0]
    assert ": completed" in waited.err


def test_trigger_can_wait_itself(eachlabs: Command, own_service: EmulatorThread) -> None:
    """Both editions; the latest version runs if none is named."""
    workflow = own_service.emulator.workflow_slugs[0]
    for edition in ("compat", "unified"):
        done = eachlabs(*own_service.flags(edition), "workflows", "trigger", workflow, "prompt=x", "--wait", "-q")
        assert (done.code, done.err) == (0, "")
        assert lines(done.out)[0]["status"] == "completed"
    assert [one.version for one in own_service.emulator.submitted] == ["v1", "v1"]


def start(service: EmulatorThread, *inputs: dict[str, Any]) -> list[str]:
    """Start executions of a workflow, and return their ids."""
    workflow = service.emulator.workflows.get(service.emulator.workflow_ids[0])

    async def started() -> list[str]:
        return [service.emulator.start_workflow(workflow, workflow["versions"][0], one) for one in inputs]

    return asyncio.run_coroutine_threadsafe(started(), service._loop).result()  # pyright: ignore[reportPrivateUsage]


def test_wait_prints_each_as_it_ends(eachlabs: Command, own_service: EmulatorThread, tmp_path: Path) -> None:
    """Ids come from the command line and from a file, and are waited for once; what failed makes the exit code 1."""
    slow, failed, quick = start(own_service, {"seconds": 0.6}, {"seconds": 0.3, "fail": 2}, {"seconds": 0.1})
    ids = tmp_path / "ids"
    ids.write_text(f'{failed}\n# a comment\n{{"execution_id": "{quick}"}}\n{slow}\n')
    done = eachlabs(*own_service.flags(), "workflows", "wait", slow, f"@{ids}", "no-such-id")
    assert done.code == 1
    statuses = {row["execution_id"]: row["status"] for row in lines(done.out)}
    assert statuses == {quick: "completed", failed: "failed", slow: "completed"}
    assert "eachlabs: no-such-id: HTTP 404" in done.err
    assert "4 done, 2 of them failed" in done.err


def test_wait_gives_up_after_its_time_out(eachlabs: Command, own_service: EmulatorThread) -> None:
    """The execution goes on, and the message says in which state it is."""
    (name,) = start(own_service, {"seconds": 1000})
    done = eachlabs(*own_service.flags(), "workflows", "wait", name, "--timeout-s=0.2", "-q")
    assert done.code == 1
    assert lines(done.out)[0]["status"] == "running"


def test_ctrl_c_while_waiting_says_what_still_runs(own_service: EmulatorThread) -> None:
    """The command that goes on leaves out what has ended, and ends with the rest."""
    ended, running = start(own_service, {"seconds": 0.0}, {"seconds": 1000})
    with Process(*own_service.flags(), "workflows", "wait", ended, running, **own_service.keys()) as process:
        assert json.loads(process.read_lines(1)[0])["execution_id"] == ended
        process.interrupt()
        out, err, code = process.end()
    assert (code, out) == (130, "")
    assert f"still running: {running}" in err
    again = command_after(err)
    assert again[-1] == running
    assert ended not in again


def test_ctrl_c_during_a_prediction_says_how_to_go_on(own_service: EmulatorThread) -> None:
    """It goes on at the service; the message has its id and two commands."""
    with Process(*own_service.flags(), "predictions", "run", MODEL, "seconds=1000", **own_service.keys()) as process:
        wait_until(lambda: own_service.emulator.requests["predictions.get"], "the prediction is watched")
        process.interrupt()
        _, err, code = process.end()
    assert code == 130
    (one,) = own_service.emulator.submitted
    assert f"still running: {one.id}" in err
    assert command_after(err, "cancel it with: ")[:3] == ["predictions", "cancel", one.id]


def test_ctrl_c_while_a_prediction_is_started_says_where_to_look(own_service: EmulatorThread) -> None:
    """Nobody knows its id then."""
    own_service.emulator.faults.add(Fault.stalled_answer(late=True), endpoint="predictions.create")
    with Process(*own_service.flags(), "predictions", "run", MODEL, "prompt=x", **own_service.keys()) as process:
        wait_until(lambda: own_service.emulator.submitted, "it is being started")
        process.interrupt()
        _, err, code = process.end()
    assert code == 130
    assert command_after(err, "look for it with: ")[:4] == ["executions", "list", "--model", MODEL]


def test_predictions_are_cancelled(eachlabs: Command, own_service: EmulatorThread) -> None:
    """Each id is told; an unknown one is an error, and keeps the others from nothing."""
    started = eachlabs(*own_service.flags(), "predictions", "run", MODEL, "seconds=1000", "--timeout-s=0.1")
    name = lines(started.out)[0]["id"]
    done = eachlabs(*own_service.flags(), "predictions", "cancel", "unknown", name)
    assert done.code == 1
    assert [row["predictionID"] for row in lines(done.out)] == [name]
    assert "eachlabs: unknown: HTTP 404" in done.err


# ---- on a terminal


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_what_is_waited_for_is_shown_live(own_service: EmulatorThread, columns: int) -> None:
    """Steps and times are drawn in place; at the end the screen has the rows and a summary, none of them wrapped."""
    one, two = start(own_service, {"seconds": 5.0}, {"seconds": 4.0, "fail": 2})
    shown = Terminal(columns, 20).run(*own_service.flags(), "workflows", "wait", one, two, **own_service.keys())
    assert shown.code == 1
    drawn = shown.raw.decode()
    assert "step1  completed" in drawn.replace("\x1b[32m", "").replace("\x1b[0m", "")
    assert shown.wrapped == 0
    assert shown.lines[0].split()[:2] == ["execution", "id"]
    assert {line.split()[0] for line in shown.lines[1:3]} == {one, two}
    assert shown.lines[-1] == "workflow executions: 2 done, 1 of them failed, $0.0375 spent"
    assert shown.raw.rstrip().rfind(b"\x1b[?25h") > shown.raw.rfind(b"\x1b[?25l")


def test_no_color_leaves_no_colors(own_service: EmulatorThread) -> None:
    """The view moves the cursor, and sets no color."""
    (name,) = start(own_service, {"seconds": 4.0})
    flags = own_service.flags()
    shown = Terminal(80, 20).run(*flags, "workflows", "wait", name, NO_COLOR="1", **own_service.keys())
    assert b"step1" in shown.raw
    assert not any(f"\x1b[{code}m".encode() in shown.raw for code in (31, 32, 33, 35, 36))


def test_a_dumb_terminal_gets_plain_lines(own_service: EmulatorThread) -> None:
    """Where lines cannot be rewritten, each change is a line."""
    (name,) = start(own_service, {"seconds": 4.0})
    shown = Terminal(80, 20).run(*own_service.flags(), "workflows", "wait", name, TERM="dumb", **own_service.keys())
    assert b"\x1b[" not in shown.raw
    assert f"{name}: running, step 1 of 2 (step1)" in shown.text


HOSTILE = "\x1b]0;title\x07\x1b[2J‮[bold]x[/bold]"


def test_texts_of_the_service_do_nothing_on_the_terminal(own_service: EmulatorThread) -> None:
    """Names of steps, statuses and errors come as text, and never as markup."""
    (name,) = start(own_service, {"seconds": 1000})
    group = own_service.emulator.workflow_executions[own_service.emulator.workflow_ids[0]]
    steps = {HOSTILE: {"step_id": HOSTILE, "status": HOSTILE, "metadata": {"model": HOSTILE}}}
    more = {"other": {"step_id": "other", "status": "queued", "metadata": {}}}

    async def change() -> None:
        group.change(name, step_outputs={**steps, **more}, status=HOSTILE)

    asyncio.run_coroutine_threadsafe(change(), own_service._loop).result()  # pyright: ignore[reportPrivateUsage]
    for options in ([], ["--format=csv"]):
        shown = Terminal(140, 20).run(
            *own_service.flags(), "workflows", "wait", name, "--timeout-s=0.7", *options, **own_service.keys()
        )
        assert b"\x1b]0;" not in shown.raw
        assert b"\x1b[2J" not in shown.raw
        assert "‮".encode() not in shown.raw
        assert b"[bold]x[/bold]" in shown.raw


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_what_is_followed_is_counted_live(own_service: EmulatorThread, columns: int) -> None:
    """The rows appear above the counts, which vanish when Ctrl-C ends the command."""
    shown = Terminal(columns, 30).run(
        *own_service.flags(),
        "executions",
        "follow",
        "--since=3d",
        "--every=1s",
        interrupt_at=b" seen",
        **own_service.keys(),
    )
    assert shown.code == 130
    assert b"executions, as they come" in shown.raw
    assert "as they come" not in shown.text
    assert shown.lines[0].split()[0] == "id"
    assert any(line.startswith("stopped after ") for line in shown.lines)


def test_ctrl_c_on_a_terminal_leaves_rows_and_the_command_that_goes_on(own_service: EmulatorThread) -> None:
    """The view is gone, the cursor is there again, and what still runs is named."""
    ended, running = start(own_service, {"seconds": 0.0}, {"seconds": 1000})
    shown = Terminal(140, 30).run(
        *own_service.flags(), "workflows", "wait", ended, running, interrupt_at=b"queued", **own_service.keys()
    )
    assert shown.code == 130
    assert [line.split()[0] for line in shown.lines[:2]] == ["execution", ended]
    assert f"still running: {running}" in shown.lines
    assert "go on with: eachlabs" in shown.text
    assert shown.raw.rfind(b"\x1b[?25h") > shown.raw.rfind(b"\x1b[?25l")
