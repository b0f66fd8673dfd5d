"""Tests of each command in this process, in pipes, against an emulator: what it prints reads back as what is there."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import PROGRAM, EmulatorThread, command_after, environment
from conftest import Done

from eachlabs_async.emulator import Fault

Command = Callable[..., Done]


def rows_of(service: EmulatorThread, **wanted: object) -> list[dict[str, Any]]:
    """Return the executions of the emulator, newest first."""
    return [row for row in service.emulator.executions if all(row[name] == value for name, value in wanted.items())]


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# ---- executions list, and the formats


def test_jsonl_in_a_pipe_has_all_rows(eachlabs: Command, service: EmulatorThread) -> None:
    done = eachlabs(*service.flags(), "executions", "list")
    assert (done.code, done.err) == (0, "")
    assert [row["id"] for row in lines(done.out)] == [row["id"] for row in rows_of(service)]
    assert set(lines(done.out)[0]) >= {"id", "status", "model", "execution_cost", "created_at", "output"}


def test_json_is_one_array_for_all_pages(eachlabs: Command, service: EmulatorThread) -> None:
    done = eachlabs(*service.flags(), "executions", "list", "--format", "json")
    assert [row["id"] for row in json.loads(done.out)] == [row["id"] for row in rows_of(service)]


def test_csv_has_one_header_and_all_rows(eachlabs: Command, service: EmulatorThread) -> None:
    done = eachlabs(*service.flags("unified"), "executions", "list", "--format=csv", "--fields", "id,execution_cost")
    found = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["id"] for row in found] == [row["id"] for row in rows_of(service)]
    assert [float(row["execution_cost"]) for row in found] == [row["execution_cost"] for row in rows_of(service)]
    assert list(found[0]) == ["id", "execution_cost"]


def test_a_table_in_a_pipe_has_a_line_for_each_row(eachlabs: Command, service: EmulatorThread) -> None:
    done = eachlabs(*service.flags(), "executions", "list", "--format", "table", "--limit", "150")
    head, *found = done.out.splitlines()
    assert head.split()[:3] == ["id", "status", "created"]
    assert [line.split()[0] for line in found] == [row["id"] for row in rows_of(service)[:150]]
    assert "\x1b" not in done.out


@pytest.mark.parametrize(("format_", "empty"), [("jsonl", ""), ("json", "[]\n"), ("csv", "id\n"), ("table", "")])
def test_nothing_is_valid_in_each_format(eachlabs: Command, service: EmulatorThread, format_: str, empty: str) -> None:
    done = eachlabs(*service.flags(), "executions", "list", "--model", "none", "--fields=id", "--format", format_)
    assert (done.code, done.out) == (0, empty)
    assert done.err == ("no rows\n" if format_ == "table" else "")


@pytest.mark.parametrize("limit", ["0", "1", "100", "130"])
def test_limit_is_the_number_of_rows_in_total(eachlabs: Command, service: EmulatorThread, limit: str) -> None:
    done = eachlabs(*service.flags(), "executions", "list", "--limit", limit)
    assert len(lines(done.out)) == int(limit)


def test_the_filters_have_the_names_of_the_api(eachlabs: Command, service: EmulatorThread) -> None:
    """The words of `--status` may also be states, and be joined with commas or given twice."""
    one = rows_of(service, status="success")[0]
    done = eachlabs(*service.flags(), "executions", "list", "--status", "success", "--model", one["model"])
    assert lines(done.out)
    assert {(row["status"], row["model"]) for row in lines(done.out)} == {("success", one["model"])}
    words = [["--status=success,error"], ["--status", "succeeded", "--status", "failed"]]
    found = [eachlabs(*service.flags(), "executions", "list", *each).out for each in words]
    assert found[0] == found[1]
    assert {row["status"] for row in lines(found[0])} == {"success", "error"}


def test_since_and_until_are_times_as_people_write_them(eachlabs: Command, service: EmulatorThread) -> None:
    middle = rows_of(service)[100]["created_at"]
    older = eachlabs(*service.flags(), "executions", "list", "--until", middle, "--since", "90d", "--fields=created_at")
    newer = eachlabs(*service.flags(), "executions", "list", "--since", middle, "--fields=created_at")
    assert len(lines(older.out)) + len(lines(newer.out)) in (250, 251)


def test_global_options_may_stand_before_and_behind(eachlabs: Command, service: EmulatorThread) -> None:
    before = eachlabs("--format", "csv", "--fields", "id", *service.flags(), "executions", "list")
    behind = eachlabs("executions", "list", *service.flags(), "--fields=id", "--format=csv")
    assert before == behind
    assert before.code == 0


def test_an_unreadable_row_is_reported_and_the_others_come(eachlabs: Command, own_service: EmulatorThread) -> None:
    """The exit code is 1, and the row is named on standard error."""
    bad = own_service.emulator.executions.ids()[3]
    own_service.emulator.executions.change(bad, run_time="soon")
    done = eachlabs(*own_service.flags(), "executions", "list", "--fields", "id")
    assert done.code == 1
    assert len(lines(done.out)) == 29
    assert done.err.startswith(f"eachlabs: row {bad} cannot be read")


# ---- texts of the service


def test_texts_of_the_service_cannot_act_on_a_terminal(eachlabs: Command, own_service: EmulatorThread) -> None:
    """They are escaped in tables and JSON; in CSV for a pipe the data stay as they are."""
    evil = "\x1b]0;owned\x07[red]x[/red]\u202egnp\x9b2J\nnext"
    own_service.emulator.executions.change(own_service.emulator.executions.ids()[0], model=evil)
    flags = [*own_service.flags(), "executions", "list", "--limit=1", "--fields=model"]
    table = eachlabs(*flags, "--format=table").out
    assert table == "model\n\\x1b]0;owned\\x07[red]x[/red]\\u202egnp\\x9b2J\\nnext\n"
    for format_ in ("json", "jsonl"):
        out = eachlabs(*flags, f"--format={format_}").out
        assert all(char.isprintable() or char == "\n" for char in out)
        found = json.loads(out)
        assert (found[0] if format_ == "json" else found)["model"] == evil
    assert next(csv.DictReader(io.StringIO(eachlabs(*flags, "--format=csv").out, newline="")))["model"] == evil


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "debug"])
def test_errors_of_the_service_are_one_line_of_text(
    eachlabs: Command, own_service: EmulatorThread, debug: list[str]
) -> None:
    """With `--debug` the lines of the traceback come before it, and are text as well."""
    own_service.emulator.faults.add(
        Fault.status(400, body=json.dumps({"error": "a\nb\x1b[2J\u202e[bold]"}).encode()), endpoint="billing.balance"
    )
    done = eachlabs(*own_service.flags(), "balance", *debug)
    assert done.code == 1
    assert (done.err.count("\n") == 1) == (not debug)
    assert all(line.isprintable() for line in done.err.split("\n"))
    assert "[bold]" in done.err.splitlines()[-1]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("format_", ["jsonl", "csv", "table"])
def test_a_pipe_gets_utf8(own_service: EmulatorThread, encoding: str, format_: str) -> None:
    """Whatever the environment says, so that no text is lost or ends the command."""
    text = "fünf 日本 🎉"
    own_service.emulator.executions.change(own_service.emulator.executions.ids()[0], model=text)
    arguments = ["executions", "list", "--limit=1", "--fields=model", f"--format={format_}"]
    done = subprocess.run(
        [*PROGRAM, *own_service.flags(), *arguments],
        capture_output=True,
        env=environment(PYTHONIOENCODING=encoding, **own_service.keys()),
        check=True,
        timeout=60,
    )
    out = done.stdout.decode("utf-8")
    assert (json.loads(out)["model"] if format_ == "jsonl" else out.splitlines()[1]) == text


# ---- one thing, and things by id


def test_get_shows_executions_in_the_order_of_the_ids(eachlabs: Command, service: EmulatorThread) -> None:
    ids = [row["id"] for row in rows_of(service)[:5]]
    done = eachlabs(*service.flags(), "executions", "get", *ids)
    assert [row["id"] for row in lines(done.out)] == ids
    assert done.code == 0


def test_ids_come_from_standard_input_and_from_a_file(
    eachlabs: Command, service: EmulatorThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What `list` prints can be given to `get`."""
    listed = eachlabs(*service.flags(), "executions", "list", "--limit=3").out
    monkeypatch.setattr("sys.stdin", io.StringIO(listed))
    piped = eachlabs(*service.flags(), "executions", "get", "-", "--fields=id")
    file = tmp_path / "ids.txt"
    file.write_text("# three\n" + "\n".join(row["id"] for row in lines(listed)) + "\n\n")
    from_file = eachlabs(*service.flags(), "executions", "get", f"@{file}", "--fields=id")
    assert [row["id"] for row in lines(piped.out)] == [row["id"] for row in lines(listed)]
    assert piped == from_file


@pytest.mark.parametrize("arguments", [[], ["--fieldz=id"], ["@nowhere"]])
def test_ids_that_are_none_are_wrong_usage(eachlabs: Command, service: EmulatorThread, arguments: list[str]) -> None:
    done = eachlabs(*service.flags(), "executions", "get", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


def test_an_id_that_fails_does_not_stop_the_others(eachlabs: Command, service: EmulatorThread) -> None:
    good = rows_of(service)[0]["id"]
    done = eachlabs(*service.flags(), "executions", "get", "nope", good)
    assert (done.code, [row["id"] for row in lines(done.out)]) == (1, [good])
    assert done.err.startswith("eachlabs: nope: HTTP 404")


def test_commands_by_id_of_the_other_services(eachlabs: Command, service: EmulatorThread) -> None:
    emulator = service.emulator
    flow, run = next(iter(emulator.flow_executions)), next(iter(emulator.runs))
    workflow = emulator.workflow_ids[0]
    listed = lines(eachlabs(*service.flags(), "workflows", "executions", workflow, "--limit=2").out)
    ids = [row["execution_id"] for row in listed]
    shown = eachlabs(*service.flags(), "workflows", "execution", *ids)
    assert [row["execution_id"] for row in lines(shown.out)] == ids
    full = eachlabs(*service.flags(), "workflows", "executions", workflow, "--limit=2", "--full")
    assert [row["execution_id"] for row in lines(full.out)] == ids
    assert "step_outputs" in lines(full.out)[0]
    got = eachlabs(*service.flags(), "flows", "get", flow["flow_id"], flow["execution_id"])
    assert lines(got.out)[0]["execution_id"] == flow["execution_id"]
    assert "api_key" not in lines(got.out)[0]
    got = eachlabs(*service.flags(), "runs", "get", run["id"])
    assert lines(got.out)[0]["id"] == run["id"]


def test_listings_of_the_other_nouns(eachlabs: Command, service: EmulatorThread) -> None:
    emulator = service.emulator
    runs = eachlabs(*service.flags(), "runs", "list", "--fields=id,workflow_id")
    assert [row["id"] for row in lines(runs.out)] == [row["id"] for row in emulator.runs]
    workflow = lines(runs.out)[0]["workflow_id"]
    some = eachlabs(*service.flags(), "runs", "list", "--workflow-id", workflow)
    assert {row["workflow_id"] for row in lines(some.out)} == {workflow}
    models = eachlabs(*service.flags(), "models", "list", "--fields=slug")
    assert len(lines(models.out)) == len(emulator.models)
    workflows = eachlabs(*service.flags("unified"), "workflows", "list", "--fields", "workflow_id")
    assert [row["workflow_id"] for row in lines(workflows.out)] == list(emulator.workflow_ids)
    assert eachlabs(*service.flags(), "webhooks", "list").code == 0


def test_what_the_compat_edition_lacks_names_the_option(eachlabs: Command, service: EmulatorThread) -> None:
    done = eachlabs(*service.flags(), "workflows", "list")
    assert done.code == 2
    assert "--edition unified" in done.err


def test_one_thing_is_one_object(eachlabs: Command, service: EmulatorThread) -> None:
    slug = lines(eachlabs(*service.flags(), "models", "list", "--limit=1").out)[0]["slug"]
    shown = eachlabs(*service.flags(), "models", "show", slug, "--format=json", "--fields=slug,title")
    assert json.loads(shown.out)["slug"] == slug
    schema = json.loads(eachlabs(*service.flags(), "models", "schema", slug).out)
    assert schema["type"] == "object"
    document = json.loads(eachlabs(*service.flags(), "models", "schema", slug, "--document").out)
    assert document["openapi"].startswith("3.")
    workflow = service.emulator.workflow_ids[0]
    assert json.loads(eachlabs(*service.flags(), "workflows", "show", workflow).out)["workflow_id"] == workflow
    balance = eachlabs(*service.flags(), "balance", "--format=table")
    assert balance.out == f"balance_usd  {service.emulator.balance_usd:g}\n"


def test_models_need_no_key(eachlabs: Command, service: EmulatorThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EACHLABS_API_KEY")
    assert eachlabs(*service.flags(), "models", "list").code == 0
    done = eachlabs(*service.flags(), "balance")
    assert done.code == 4
    assert done.err.count("\n") == 1


def test_runs_are_stopped(eachlabs: Command, own_service: EmulatorThread) -> None:
    running = own_service.emulator.runs.ids()[0]
    own_service.emulator.runs.change(running, status="running", finished_at=None)
    done = eachlabs(*own_service.flags(), "runs", "stop", running, "nope")
    assert done.code == 1
    assert [(row["id"], row["status"]) for row in lines(done.out)] == [(running, "stopped")]
    assert "nope: HTTP 404" in done.err


def test_files_go_up_and_down(eachlabs: Command, own_service: EmulatorThread, tmp_path: Path) -> None:
    source, target = tmp_path / "in.png", tmp_path / "out"
    source.write_bytes(b"picture" * 1000)
    target.mkdir()
    uploaded = json.loads(eachlabs(*own_service.flags("unified"), "files", "upload", str(source)).out)
    assert uploaded["size"] == 7000
    down = ["files", "download", uploaded["public_url"], str(target)]
    done = json.loads(eachlabs(*own_service.flags("unified"), *down).out)
    assert Path(done["path"]).parent == target
    assert Path(done["path"]).read_bytes() == source.read_bytes()
    again = eachlabs(*own_service.flags("unified"), *down)
    assert (again.code, "--force" in again.err) == (2, True)
    assert eachlabs(*own_service.flags("unified"), *down, "--force").code == 0
    assert eachlabs(*own_service.flags("unified"), "files", "delete", uploaded["id"]).code == 0
    missing = eachlabs(*own_service.flags("unified"), "files", "upload", str(tmp_path / "none"))
    assert (missing.code, "No such file" in missing.err) == (1, True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://x/a/b.png?t=1", "b.png"),
        ("https://x/..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd"),
        ("https://x/", "download"),
        ("https://x/.bashrc", "bashrc"),
        ("https://x/a%1b%5Db", "a_]b"),
        ("https://x/a%5Cb", "a_b"),
    ],
)
def test_a_download_stays_in_its_folder(url: str, name: str, tmp_path: Path) -> None:
    """The service's name of a file is no path, and no hidden file."""
    from eachlabs_async.cli.commands.files import target_of

    assert target_of(url, tmp_path) == tmp_path / name


# ---- export


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_export_writes_all_rows(eachlabs: Command, service: EmulatorThread, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    done = eachlabs(*service.flags(), "executions", "export", str(path))
    assert (done.code, done.out) == (0, "")
    assert done.err == f"{path}: 250 rows\n"
    if kind == "parquet":
        import pyarrow.parquet

        ids = pyarrow.parquet.read_table(path)["id"].to_pylist()  # type: ignore[no-untyped-call]
    elif kind == "csv":
        ids = [row["id"] for row in csv.DictReader(io.StringIO(path.read_text(), newline=""))]
    else:
        ids = [row["id"] for row in lines(path.read_text())]
    assert ids == [row["id"] for row in rows_of(service)]


def test_export_goes_on_where_an_error_ended_it(
    eachlabs: Command, own_service: EmulatorThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = own_service.emulator
    emulator.faults.add(Fault.status(400), endpoint="executions.list", after=2, times=1)
    path = tmp_path / "rows.jsonl"
    emulator.executions.insert(200)
    first = eachlabs(*own_service.flags(), "executions", "export", str(path), "-q")
    assert first.code == 1
    assert not path.exists()
    second = eachlabs(*own_service.flags(), "executions", "export", str(path))
    assert second.code == 0
    assert "by an earlier command" in second.err
    assert [row["id"] for row in lines(path.read_text())] == [row["id"] for row in emulator.executions]


@pytest.mark.parametrize(
    "arguments", [["rows.txt"], ["rows"], ["rows.csv", "--fields=id"], ["rows.csv", "--format=csv"]]
)
def test_export_says_what_it_cannot_do(eachlabs: Command, service: EmulatorThread, arguments: list[str]) -> None:
    assert eachlabs(*service.flags(), "executions", "export", *arguments).code == 2


# ---- request


def test_request_calls_any_endpoint(eachlabs: Command, service: EmulatorThread) -> None:
    done = eachlabs(*service.flags(), "request", "GET", "/executions", "--param", "limit=2", "--param=status=success")
    assert len(json.loads(done.out)["executions"]) == 2
    assert json.loads(done.out)["executions"][0]["status"] == "success"


def test_request_sends_json(eachlabs: Command, own_service: EmulatorThread, tmp_path: Path) -> None:
    body = {"model": "nano-banana-pro", "input": {"prompt": "a lighthouse"}}
    file = tmp_path / "body.json"
    file.write_text(json.dumps(body))
    for text in (json.dumps(body), f"@{file}"):
        done = eachlabs(*own_service.flags(), "request", "POST", "/prediction", "--json", text)
        assert json.loads(done.out)["predictionID"]
    assert len(own_service.emulator.submitted) == 2


def test_request_walks_a_listing(eachlabs: Command, service: EmulatorThread) -> None:
    """Also those of other services, with an argument in the path."""
    done = eachlabs(*service.flags(), "request", "GET", "/executions", "--paginate", "--param=status=error")
    assert [row["id"] for row in lines(done.out)] == [row["id"] for row in rows_of(service, status="error")]
    workflow = service.emulator.workflow_ids[0]
    path = f"/workflows/{workflow}/executions"
    done = eachlabs(*service.flags(), "request", "GET", path, "--service=workflows", "--paginate", "--limit=3")
    assert len(lines(done.out)) == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["GET", "/nope", "--paginate"],
        ["GET", "/executions", "--paginate", "--param", "modle=x"],
        ["GET", "/executions", "--paginate", "--param", "limit=x"],
        ["POST", "/executions", "--paginate"],
        ["GET", "/executions", "--limit", "3"],
        ["GET", "/executions", "--fields", "id"],
        ["GET", "/executions", "--param", "x"],
        ["POST", "/prediction", "--json", "{"],
        ["POST", "/prediction", "--json", "@nowhere"],
        ["GET", "executions"],
        ["FETCH", "/executions"],
    ],
)
def test_request_says_what_is_wrong(eachlabs: Command, service: EmulatorThread, arguments: list[str]) -> None:
    done = eachlabs(*service.flags(), "request", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("eachlabs: ")
    assert done.err.count("\n") == 1


# ---- errors in the middle


def test_an_error_in_the_middle_says_how_to_go_on(eachlabs: Command, own_service: EmulatorThread) -> None:
    """The array is closed, and both outputs together are all rows, also with a limit."""
    emulator = own_service.emulator
    emulator.executions.insert(270)
    emulator.faults.add(Fault.status(400), endpoint="executions.list", after=2, times=1)
    flags = [*own_service.flags(), "--format=json", "--fields=id"]
    first = eachlabs(*flags, "executions", "list", "--limit", "280", "--since", "89d")
    assert first.code == 1
    assert len(first.err.splitlines()) == 4
    second = eachlabs(*command_after(first.err))
    assert second.code == 0
    ids = [row["id"] for out in (first.out, second.out) for row in json.loads(out)]
    assert 0 < len(json.loads(first.out)) < 280
    assert ids == [row["id"] for row in emulator.executions][:280]


def test_csv_that_goes_on_has_no_second_header(eachlabs: Command, own_service: EmulatorThread) -> None:
    emulator = own_service.emulator
    emulator.executions.insert(270)
    emulator.faults.add(Fault.status(400), endpoint="executions.list", after=2, times=1)
    first = eachlabs(*own_service.flags(), "executions", "list", "--format=csv", "--fields=id")
    second = eachlabs(*command_after(first.err))
    assert (first.out + second.out).split() == ["id", *(row["id"] for row in emulator.executions)]
