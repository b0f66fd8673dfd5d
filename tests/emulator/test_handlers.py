"""Tests for what the emulator answers in both editions, and for which key."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from emulator_caller import Caller

from eachlabs_async.emulator import HANDLERS, PREFIXES, Emulator
from eachlabs_async.transport.endpoints import ENDPOINTS

NOW = datetime(2026, 8, 1, tzinfo=UTC)
ROWS = 60


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(ROWS, now=NOW, unfinished=0.2, failed=0.2) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def caller(emulator: Emulator, session: aiohttp.ClientSession) -> Caller:
    return Caller(emulator, session)


def test_every_endpoint_has_a_handler() -> None:
    """The table of handlers has exactly the endpoints of the table of endpoints."""
    assert set(HANDLERS) == {endpoint.name for endpoint in ENDPOINTS}


async def test_every_endpoint_is_routed_in_each_edition_that_has_it(emulator: Emulator, caller: Caller) -> None:
    """Each path of `endpoints.py` leads to the handler of its name."""
    for edition in ("compat", "unified"):
        for endpoint in ENDPOINTS:
            template = endpoint.path(edition)
            if template is None:
                continue
            path = re.sub(r"\{\w+\}", "x%2Fy%7Bz", template)
            how = {"edition": edition, "method": endpoint.method, "version": endpoint.version}
            await caller.ask(endpoint.service, path, **how)
            assert emulator.log[-1].endpoint == endpoint.name
            # The header is not read where the key belongs into the body.
            assert emulator.log[-1].key == ("wrong" if endpoint.key == "body" else "right")


class TestExecutions:
    async def test_pages_join_to_the_whole_listing(self, emulator: Emulator, caller: Caller) -> None:
        """Offset and limit divide the list, newest first, without a gap, and the answer echoes both."""
        got: list[str] = []
        while True:
            page = await caller.good("api", "/executions", limit=25, offset=len(got))
            assert (page["offset"], page["limit"], page["total_count"]) == (len(got), 25, ROWS)
            assert page["total_capped"] is False
            got += [row["id"] for row in page["executions"]]
            if len(page["executions"]) < 25:
                break
        assert got == emulator.executions.ids()
        times = [row["created_at"] for row in emulator.executions]
        assert times == sorted(times, reverse=True)

    async def test_the_default_limit_is_twenty(self, caller: Caller) -> None:
        """Without a query the page has the documented size."""
        page = await caller.good("api", "/executions")
        assert (len(page["executions"]), page["limit"], page["offset"]) == (20, 20, 0)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit", "0"),
            ("limit", "101"),
            ("limit", "ten"),
            ("offset", "-1"),
            ("error_classification", "bad_luck"),
            ("from", "yesterday"),
            ("from", "2026-13-01T00:00:00Z"),
            ("to", "2026-01-01T00:00:00"),
        ],
    )
    async def test_what_is_out_of_range_is_a_400(self, caller: Caller, name: str, value: str) -> None:
        """The error names the argument."""
        status, body = await caller.ask("api", "/executions", **{name: value})
        assert status == 400
        assert name in body["error"]

    async def test_filters_choose_rows(self, emulator: Emulator, caller: Caller) -> None:
        """Each filter keeps the rows with its value; several words are alternatives."""
        rows = list(emulator.executions)
        page = await caller.good("api", "/executions", status="error, created", limit=100)
        wanted = [row["id"] for row in rows if row["status"] in ("error", "created")]
        assert [row["id"] for row in page["executions"]] == wanted
        assert page["total_count"] == len(wanted) > 0
        sample = next(row for row in rows if row["workflow_id"])
        for name in ("model", "workflow_id", "workflow_execution_id"):
            page = await caller.good("api", "/executions", limit=100, **{name: sample[name]})
            assert {row[name] for row in page["executions"]} == {sample[name]}
        page = await caller.good(
            "api", "/executions", limit=100, error_classification=",".join(["unknown", "provider_error"])
        )
        assert {row["status"] for row in page["executions"]} <= {"error"}

    async def test_the_unified_edition_knows_four_statuses(self, caller: Caller) -> None:
        """Another word is a 400 there; in the compat edition it selects the rows that have it, if any."""
        assert (await caller.ask("api", "/executions", status="cancelled", edition="unified"))[0] == 400
        assert (await caller.ask("api", "/executions", status="cancelled"))[0] == 200
        assert (await caller.ask("api", "/executions", status="", edition="unified"))[0] == 200

    async def test_the_window_is_ninety_days_before_its_end(self, emulator: Emulator, caller: Caller) -> None:
        """Older rows appear only if `from` includes them; `to` bounds the other end."""
        oldest = emulator.executions.ids()[-1]
        emulator.executions.change(oldest, created_at="2025-01-01T00:00:00Z")
        assert (await caller.good("api", "/executions"))["total_count"] == ROWS - 1
        page = await caller.good("api", "/executions", **{"from": "2024-12-31T23:00:00+02:00"})
        assert page["total_count"] == ROWS
        page = await caller.good("api", "/executions", to="2025-01-01T00:00:00Z")
        assert [row["id"] for row in page["executions"]] == [oldest]

    async def test_executions_name_executions_of_workflows(self, emulator: Emulator, caller: Caller) -> None:
        """A row's workflow execution can be read, and belongs to the row's workflow."""
        for row in emulator.executions:
            if row["workflow_execution_id"]:
                full = await caller.good("workflows", f"/executions/{row['workflow_execution_id']}")
                assert full["workflow_id"] == row["workflow_id"]


class TestWorkflowExecutions:
    async def test_compat_offset_is_the_next_start(self, emulator: Emulator, caller: Caller) -> None:
        """Following `offset` until it is null or absent returns every row once."""
        workflow_id = emulator.workflow_ids[0]
        got: list[str] = []
        offset: int | None = 0
        while offset is not None:
            page = await caller.good("workflows", f"/workflows/{workflow_id}/executions", limit=7, offset=offset)
            got += [row["execution_id"] for row in page["executions"]]
            offset = page.get("offset")
            assert offset in (None, len(got))
        assert got == emulator.workflow_executions[workflow_id].ids()
        assert "limit" not in page

    async def test_the_last_page_has_a_null_offset_or_none(self, emulator: Emulator, caller: Caller) -> None:
        """Both documented ways to end occur."""
        path = f"/workflows/{emulator.workflow_ids[0]}/executions"
        first = await caller.good("workflows", path, limit=100)
        emulator.workflow_executions[emulator.workflow_ids[0]].remove(0)
        second = await caller.good("workflows", path, limit=100)
        assert sorted("offset" in page for page in (first, second)) == [False, True]
        assert first.get("offset") is second.get("offset") is None

    async def test_unified_states_the_limit_alone(self, emulator: Emulator, caller: Caller) -> None:
        """The unified edition has no `offset`, and accepts a slug as well."""
        path = f"/workflows/{emulator.workflow_slugs[1]}/executions"
        page = await caller.good("workflows", path, edition="unified")
        assert set(page) == {"executions", "limit", "total_count"}
        assert page["limit"] == 50
        assert {row["flow_id"] for row in page["executions"]} == {emulator.workflow_ids[1]}

    async def test_bulk_id_filters_and_is_checked(self, emulator: Emulator, caller: Caller) -> None:
        """A UUID selects the rows of one bulk trigger; anything else is the documented 400."""
        workflow_id = emulator.workflow_ids[0]
        path = f"/workflows/{workflow_id}/executions"
        bulk_id, ids = next(iter(emulator.bulk_ids(workflow_id).items()))
        page = await caller.good("workflows", path, bulk_id=bulk_id)
        assert [row["execution_id"] for row in page["executions"]] == ids
        assert len(ids) == 10
        refused = (400, {"error": "invalid bulk_id format"})
        for bad in ("bulk-1", bulk_id.replace("-", "")):
            assert await caller.ask("workflows", path, bulk_id=bad) == refused
        status, body = await caller.ask("workflows", "/workflows/none/executions")
        assert (status, body) == (404, {"error": "workflow not found"})

    @pytest.mark.parametrize(("edition", "base"), [("compat", ""), ("unified", "/workflows")])
    async def test_a_listed_row_can_be_got(self, emulator: Emulator, caller: Caller, edition: str, base: str) -> None:
        """The get returns the full record of the id, and a 404 for any other."""
        for row in emulator.workflow_executions:
            full = await caller.good("workflows", f"{base}/executions/{row['execution_id']}", edition=edition)
            assert full == emulator.workflow_executions.get(row["execution_id"])
            assert (full["execution_id"], full["workflow_id"]) == (row["execution_id"], row["flow_id"])
            assert full.get("completed_at") == row.get("ended_at")
            assert full["status"] == row["status"]
            assert ("output" in full) == (full["status"] == "completed")
            assert ("error_cause" in full) == (full["status"] == "failed")
        answer = await caller.ask("workflows", f"{base}/executions/none", edition=edition)
        assert answer == (404, {"error": "execution not found"})

    async def test_an_unfinished_answer_is_held(self, emulator: Emulator, caller: Caller) -> None:
        """The compat get waits for the end of a running execution, up to the scaled timeout."""
        emulator.hold_unfinished = 0.05
        running = next(row for row in emulator.workflow_executions if row["status"] == "running")
        path = f"/executions/{running['execution_id']}"
        start = time.monotonic()
        assert (await caller.good("workflows", path, timeout=2))["status"] == "running"
        assert time.monotonic() - start >= 0.1
        emulator.hold_unfinished = 10.0
        task = asyncio.create_task(caller.good("workflows", path))
        while not emulator.in_flight:
            await asyncio.sleep(0.001)
        emulator.workflow_executions.change(running["execution_id"], status="completed")
        assert (await task)["status"] == "completed"
        assert (await caller.ask("workflows", path, timeout=31))[0] == 400
        await caller.good("workflows", f"/workflows{path}", edition="unified", timeout=31)

    async def test_a_held_execution_can_vanish(self, emulator: Emulator, caller: Caller) -> None:
        """An execution that is removed during the hold is a 404."""
        emulator.hold_unfinished = 10.0
        running = next(row for row in emulator.workflow_executions if row["status"] == "running")
        task = asyncio.create_task(caller.ask("workflows", f"/executions/{running['execution_id']}"))
        while not emulator.in_flight:
            await asyncio.sleep(0.001)
        emulator.workflow_executions.remove(running["execution_id"])
        assert (await task)[0] == 404

    @pytest.mark.parametrize(
        ("output", "line"), [("text", "text"), (None, None), ({"a": 1}, '{"a": 1}'), ([], "[]"), ([1], "[1]")]
    )
    async def test_the_listing_shows_the_output_as_a_string(self, emulator: Emulator, output: Any, line: Any) -> None:
        """Whatever the output is, its row in the listing has one string or null."""
        collection = emulator.workflow_executions[emulator.workflow_ids[0]]
        collection.change(collection.ids()[0], output=output)
        assert next(iter(collection))["output"] == line


class TestFlowExecutions:
    async def ask(self, caller: Caller, ids: Any, workflow: int = 0) -> tuple[int, Any]:
        path = f"/{caller.emulator.workflow_ids[workflow]}/executions/bulk"
        return await caller.ask("flows", path, method="POST", json={"execution_ids": ids})

    async def test_bulk_gives_the_known_rows_shuffled(self, emulator: Emulator, caller: Caller) -> None:
        """Unknown and foreign ids are left out, duplicates come once, and the order differs but is always the same."""
        own = emulator.flow_executions[emulator.workflow_ids[0]].ids()
        foreign = emulator.flow_executions[emulator.workflow_ids[1]].ids()[0]
        status, body = await self.ask(caller, [*own, own[0], "none", foreign])
        assert (status, body["status"], body["total"]) == (200, "success", len(own))
        got = [row["execution_id"] for row in body["executions"]]
        assert sorted(got) == sorted(own)
        assert got != own
        assert (await self.ask(caller, [*own, own[0], "none", foreign]))[1] == body

    async def test_unset_times_are_written_in_both_of_go_s_ways(self, emulator: Emulator) -> None:
        """Empty text and the year 1 both stand for an unset time."""
        assert {row["deleted_at"] for row in emulator.flow_executions} == {"", "0001-01-01T00:00:00Z"}

    async def test_one_row_can_be_got(self, emulator: Emulator, caller: Caller) -> None:
        """The get returns the row of the bulk answer, and a 404 for an unknown id or workflow."""
        workflow_id = emulator.workflow_ids[0]
        row = next(iter(emulator.flow_executions[workflow_id]))
        path = f"/executions/{row['execution_id']}"
        assert await caller.good("flows", f"/{workflow_id}{path}") == row
        assert (await caller.ask("flows", f"/{workflow_id}/executions/none"))[0] == 404
        assert (await caller.ask("flows", f"/none{path}"))[0] == 404

    @pytest.mark.parametrize("ids", [None, "abc", [], [1], {"a": 1}])
    async def test_a_bad_list_of_ids_is_a_400(self, caller: Caller, ids: Any) -> None:
        """Only a list with at least one id is accepted."""
        assert (await self.ask(caller, ids))[0] == 400

    async def test_a_bad_body_is_a_400_and_an_unknown_workflow_a_404(self, emulator: Emulator, caller: Caller) -> None:
        """The body must be an object with `execution_ids`."""
        path = f"/{emulator.workflow_ids[0]}/executions/bulk"
        assert (await caller.ask("flows", path, method="POST", json=[1]))[0] == 400
        assert (await caller.ask("flows", path, method="POST"))[0] == 400
        assert (await caller.ask("flows", "/none/executions/bulk", method="POST", json={}))[0] == 404

    async def test_limits_and_poison_refuse_a_chunk(self, emulator: Emulator, caller: Caller) -> None:
        """Too many ids are refused with the configured status, and so is a chunk with a poisoned id."""
        ids = emulator.flow_executions[emulator.workflow_ids[0]].ids()[:4]
        emulator.poisoned_ids[ids[2]] = 422
        assert (await self.ask(caller, ids))[0] == 422
        assert (await self.ask(caller, ids[:2]))[0] == 200
        emulator.max_bulk_ids = 3
        assert (await self.ask(caller, ids))[0] == 413
        emulator.bulk_refusal = 400
        assert (await self.ask(caller, ids))[0] == 400


class TestRuns:
    async def test_pages_are_counted_from_one(self, emulator: Emulator, caller: Caller) -> None:
        """Pages join to the listing, and one past the last is an empty 200."""
        got: list[str] = []
        for number in (1, 2, 3):
            page = await caller.good("runs", "/runs", page=number, size=25)
            assert {**page, "items": 0} == {"items": 0, "total": ROWS, "page": number, "size": 25, "pages": 3}
            got += [row["id"] for row in page["items"]]
        assert got == emulator.runs.ids()
        assert (await caller.good("runs", "/runs", page=4, size=25))["items"] == []
        assert (await caller.good("runs", "/runs"))["size"] == 50

    @pytest.mark.parametrize(
        ("query", "kinds"),
        [
            ({"page": "0"}, ["greater_than_equal"]),
            ({"size": "101"}, ["less_than_equal"]),
            ({"page": "x", "size": "0"}, ["int_parsing", "greater_than_equal"]),
        ],
    )
    async def test_what_is_out_of_range_is_a_422(self, caller: Caller, query: dict[str, str], kinds: list[str]) -> None:
        """Each error has its location, in FastAPI's format."""
        status, body = await caller.ask("runs", "/runs", **query)
        assert status == 422
        assert [fault["type"] for fault in body["detail"]] == kinds
        assert [fault["loc"] for fault in body["detail"]] == [["query", name] for name in query]
        assert all(fault["msg"] for fault in body["detail"])

    async def test_one_run_can_be_got(self, emulator: Emulator, caller: Caller) -> None:
        """The get returns the listed row, whose times have no zone; an unknown id is a 404 with `detail`."""
        row = next(iter(emulator.runs))
        assert await caller.good("runs", f"/runs/{row['id']}") == row == emulator.runs.get(row["id"])
        assert datetime.fromisoformat(row["created_at"]).tzinfo is None
        assert await caller.ask("runs", "/runs/none") == (404, {"detail": "Run not found"})


class TestKeys:
    @pytest.mark.parametrize(("edition", "service"), [(e, s) for e, services in PREFIXES.items() for s in services])
    async def test_only_the_right_key_in_the_right_header_opens(
        self, emulator: Emulator, session: aiohttp.ClientSession, edition: str, service: Any
    ) -> None:
        """Anything else is a 401 in the service's words; the log records what kind of key came, but never the key."""
        hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
        host = hosts.service(service)
        path = {
            "api": "/executions",
            "workflows": "/workflows/workflow-1/executions",
            "flows": "/workflow-1/executions/x",
            "runs": "/runs",
        }[service]
        own, other = emulator.api_key, emulator.runs_api_key
        own, other = (other, own) if service == "runs" else (own, other)
        bearer = {"Authorization": f"Bearer {own}"}
        plain = {"X-API-Key": own}
        right, misplaced = (bearer, plain) if host.auth == "bearer" else (plain, bearer)
        tries: list[tuple[dict[str, str], str]] = [
            (right, "right"),
            (misplaced, "wrong"),
            ({"X-API-Key": "guess"}, "wrong"),
            ({"X-API-Key": other}, "foreign"),
            ({**right, "X-Other": other}, "foreign"),
            ({}, "none"),
        ]
        for headers, word in tries:
            async with session.get(host.base_url + path, headers=headers) as answer:
                assert (answer.status == 401) == (word != "right")
                if answer.status == 401:
                    body = await answer.json()
                    message = {"detail": "Invalid API key"}
                    assert body == (message if service == "runs" else {"error": "Invalid or missing API key"})
            seen = emulator.log[-1]
            assert seen.key == word
            assert not any(own in value or other in value for value in seen.headers.values())
        assert [seen.number for seen in emulator.wrong_keys] == [4, 5]
