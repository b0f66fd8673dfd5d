"""Tests for what the emulator answers for workflows, models and predictions, and what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from emulator_caller import Caller

from eachlabs_async.emulator import NICKNAME, Emulator

ROWS = 12


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(ROWS, unfinished=0.4, virtual_time=True, step_seconds=9) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
def caller(emulator: Emulator, session: aiohttp.ClientSession) -> Caller:
    return Caller(emulator, session)


async def unified(caller: Caller, method: str, path: str, json: Any = None, **options: Any) -> tuple[int, Any]:
    return await caller.ask("workflows", path, edition="unified", method=method, json=json, **options)


async def create(caller: Caller, name: str, definition: Any = None) -> Any:
    status, row = await unified(caller, "POST", "/workflows", {"name": name, "definition": definition})
    assert status == 201
    return row


class TestWorkflows:
    async def test_are_listed_with_the_start_of_the_next_page(self, caller: Caller) -> None:
        """It is present as long as pages are full, even if the next one is empty."""
        for number in range(3):
            await create(caller, f"Made {number}")
        seen: list[str] = []
        offsets: list[int | None] = []
        offset = 0
        while offset is not None:
            _, page = await unified(caller, "GET", "/workflows", limit=3, offset=offset)
            seen += [row["name"] for row in page["workflows"]]
            offsets.append(offset := page.get("offset"))
            assert page["total_count"] == 6
            assert all("versions" not in row for row in page["workflows"])
        assert seen == ["Made 2", "Made 1", "Made 0", "Workflow 1", "Workflow 2", "Workflow 3"]
        assert offsets == [3, 6, None]

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"keyword": "flow 2"}, ["Workflow 2"]),
            ({"category": "none"}, []),
            ({"node_based": "true"}, []),
            ({"node_based": "false", "limit": 1}, ["Workflow 1"]),
            ({"sort_key": "name", "sort_direction": "desc"}, ["Workflow 3", "Workflow 2", "Workflow 1"]),
            ({"sort_key": "name"}, ["Workflow 1", "Workflow 2", "Workflow 3"]),
            ({"limit": 1000, "category": "general"}, ["Workflow 1", "Workflow 2", "Workflow 3"]),
        ],
    )
    async def test_are_filtered_and_sorted(self, caller: Caller, query: dict[str, Any], names: list[str]) -> None:
        """A sort key without a direction is ignored, and a limit above the maximum is the maximum."""
        _, page = await unified(caller, "GET", "/workflows", **query)
        assert [row["name"] for row in page["workflows"]] == names

    @pytest.mark.parametrize("query", [{"sort_key": "x"}, {"node_based": "x"}, {"offset": -1}])
    async def test_a_filter_of_no_sense_is_refused(self, caller: Caller, query: dict[str, Any]) -> None:
        """It is a 400 with a message that names it."""
        status, body = await unified(caller, "GET", "/workflows", **query)
        assert status == 400
        assert next(iter(query)) in body["error"]

    @pytest.mark.parametrize("edition", ["compat", "unified"])
    async def test_can_be_created_and_used(self, emulator: Emulator, caller: Caller, edition: str) -> None:
        """A new workflow is found by id and slug, runs the steps of its definition and checks its inputs."""
        steps = [{"step_id": "draw", "model": "flux-1-1-pro", "params": {"size": 1}}, {"step_id": "zoom"}, {}]
        definition = {"steps": steps, "input_schema": {"required": ["prompt"]}}
        body = {"name": "Rat in court!", "description": "Law", "definition": definition}
        made = await caller.good("workflows", "/workflows", edition=edition, method="POST", json=body)
        assert (made["slug"], made["description"]) == ("rat-in-court", "Law")
        assert made["versions"][0]["definition"] == definition
        workflow_id = made["workflow_id"]
        assert emulator.workflow_ids[-1] == workflow_id
        for name in (workflow_id, "rat-in-court"):
            assert await caller.good("workflows", f"/workflows/{name}", edition=edition) == made
        path = f"/workflows/trigger/{workflow_id}/v1"
        assert (await unified(caller, "POST", path, {"inputs": {}}))[0] == 400
        # The compat edition accepts it, and says that it came to nothing.
        status, refused = await caller.ask("workflows", f"/{workflow_id}/trigger", method="POST", json={"inputs": {}})
        assert (status, refused["status"], "'prompt'" in refused["message"]) == (202, "failed", True)
        assert emulator.submitted == []
        _, queued = await unified(caller, "POST", path, {"inputs": {"prompt": "x"}})
        emulator.clock.advance(50)
        row = emulator.workflow_executions.get(queued["execution_id"])
        assert list(row["step_outputs"]) == ["draw", "zoom", "step3"]
        assert row["step_outputs"]["draw"]["metadata"]["params"] == {"size": 1, "prompt": "x"}
        assert (await caller.good("workflows", f"/workflows/{workflow_id}/executions"))["total_count"] == 1
        with pytest.raises(TypeError):
            emulator.workflow_executions[workflow_id].insert()

    @pytest.mark.parametrize("body", [None, [], {"name": ""}, {"name": 1}, {"name": "x", "definition": 1}])
    async def test_need_a_name(self, caller: Caller, body: Any) -> None:
        """Anything but an object with a name, and perhaps a definition, is a 400."""
        assert (await unified(caller, "POST", "/workflows", body))[0] == 400

    async def test_a_slug_is_taken_once(self, caller: Caller) -> None:
        """Creating or renaming to a taken slug is a 409; keeping one's own is not."""
        await create(caller, "!")
        assert (await unified(caller, "POST", "/workflows", {"name": "?"}))[0] == 409
        assert (await unified(caller, "PUT", "/workflows/workflow", {"name": "workflow 1"}))[0] == 409
        assert (await unified(caller, "PUT", "/workflows/workflow", {"name": "Workflow!"}))[0] == 200

    async def test_can_be_renamed(self, emulator: Emulator, caller: Caller) -> None:
        """The old slug is no longer found; a locked workflow is a 403, an unknown one a 404."""
        status, row = await unified(caller, "PUT", "/workflows/workflow-2", {"name": "Better"})
        assert (status, row["name"], row["slug"], row["versions"][0]["slug"]) == (200, "Better", "better", "better")
        assert (await unified(caller, "GET", "/workflows/workflow-2"))[0] == 404
        same = await unified(caller, "PUT", "/workflows/better", {"name": "Better"})
        assert same == (200, row)
        emulator.workflows.change(row["workflow_id"], locked=True)
        assert (await unified(caller, "PUT", "/workflows/better", {"name": "Best"}))[0] == 403
        assert (await unified(caller, "PUT", "/workflows/none", {"name": "Best"}))[0] == 404

    async def test_versions_are_put_with_what_changes(self, emulator: Emulator, caller: Caller) -> None:
        """Omitted fields stay, the version put last is the latest, and a locked one is a 403."""
        path = "/workflows/workflow-1/versions/v2"
        assert (await unified(caller, "PUT", path, {}))[0] == 400
        assert (await unified(caller, "PUT", path, {"version_id": 2}))[0] == 400
        definition = {"steps": [{"step_id": "only"}]}
        status, version = await unified(caller, "PUT", path, {"definition": definition, "allowed_to_share": True})
        assert (status, version["version_id"], version["visibility"]) == (200, "v2", "unlisted")
        _, version = await unified(caller, "PUT", path, {"locked": True, "definition": None})
        assert (version["definition"], version["allowed_to_share"], version["locked"]) == (definition, True, True)
        assert (await unified(caller, "PUT", path, {"locked": False}))[0] == 403
        body = {"version_id": "v3", "definition": definition}
        assert (await unified(caller, "PUT", path, body))[1]["version_id"] == "v3"
        _, workflow = await unified(caller, "GET", "/workflows/workflow-1")
        assert workflow["latest_version_id"] == "v3"
        assert [one["version_id"] for one in workflow["versions"]] == ["v1", "v2", "v3"]
        # The compat edition triggers the latest version unless it is told which.
        await caller.good("workflows", "/workflow-1/trigger", method="POST", json={"inputs": {}})
        await caller.good("workflows", "/workflow-1/trigger", method="POST", json={"version_id": "v1"})
        assert [one.version for one in emulator.submitted] == ["v3", "v1"]
        _, version = await unified(caller, "PUT", "/workflows/workflow-1/versions/v1", {"production": True})
        assert (version["production"], version["visibility"]) == (True, "public")
        emulator.workflows.change(emulator.workflow_ids[0], locked=True)
        assert (await unified(caller, "PUT", "/workflows/workflow-1/versions/v1", {}))[0] == 403

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("/workflows/trigger/none/v1", {}, 404),
            ("/workflows/trigger/workflow-1/v9", {}, 404),
            ("/workflows/trigger/workflow-1/v1", {"inputs": []}, 400),
            ("/workflows/trigger/workflow-1/v1", [], 400),
            ("/workflows/trigger/workflow-1/v1", {"webhook_url": "ftp://x"}, 400),
            ("/workflows/trigger/workflow-1/v1", {"webhook_url": 1}, 400),
            ("/workflows/trigger/workflow-1/v1", {"webhook_url": "http://[x"}, 400),
            ("/workflows/trigger/workflow-1/v1", {"inputs": {"a": "\ud800"}}, 400),
            ("/workflows/trigger/workflow-1/v1", {"inputs": {"a": float("nan")}}, 400),
            ("/workflows/trigger/workflow-1/v1", {"webhook_url": "http://x", "webhook_secret": 1}, 400),
        ],
    )
    async def test_a_wrong_trigger_is_refused(
        self, emulator: Emulator, caller: Caller, path: str, body: Any, status: int
    ) -> None:
        """An unknown workflow or version is a 404, a wrong body a 400; nothing is created."""
        assert (await unified(caller, "POST", path, body))[0] == status
        assert emulator.submitted == []


DEEP = [b"[" * 100_000, b'{"a":' * 100_000, b'{"input": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}"]


class TestOddBodies:
    @pytest.mark.parametrize("body", [*DEEP, b'{"input": {"a": 1e999}}', b'{"input": {"a": -Infinity}}', b"\xff{"])
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/unified/v1/prediction", 400),
            ("/unified/v1/workflows", 400),
            ("/unified/v1/upload/presign", 400),
            (f"/unified/v1/public/@{NICKNAME}/workflows/workflow-1/versions/v1/trigger", 400),
            ("/noxus/v1/workflows/workflow-1/runs", 404),
            ("/noxus/v1/runs/bulk/delete", 422),
        ],
    )
    async def test_are_refused(self, emulator: Emulator, caller: Caller, path: str, status: int, body: bytes) -> None:
        """JSON that is nested too deeply, or has what no JSON has, is a refusal and never a 500."""
        key = emulator.runs_api_key if path.startswith("/noxus") else emulator.api_key
        headers = {"X-API-Key": key} if "/public/" in path or "noxus" in path else {"Authorization": f"Bearer {key}"}
        async with caller.session.post(emulator.url + path, data=body, headers=headers) as answer:
            assert answer.status == status

    @pytest.mark.parametrize("selector", [[], {}, 1, "none"])
    async def test_a_fallback_that_is_no_text_is_refused(self, caller: Caller, selector: Any) -> None:
        """It is an unknown one, like any other word."""
        body = {"model": "flux-1-1-pro", "input": {"prompt": "x"}, "fallback_selector": selector}
        assert (await unified(caller, "POST", "/prediction", body))[0] == 400

    async def test_an_execution_may_run_for_very_long(self, caller: Caller) -> None:
        """A number of seconds that no clock can count is cut to one that it can."""
        for seconds in (10**400, 1e300, -5):
            body = {"model": "flux-1-1-pro", "input": {"prompt": "x", "seconds": seconds}}
            assert (await unified(caller, "POST", "/prediction", body))[0] == 200


class TestPublicWorkflows:
    PATH = f"/public/@{NICKNAME}/workflows/workflow-1/versions/v1"

    async def test_are_read_without_a_key(self, emulator: Emulator, caller: Caller) -> None:
        """The public view is flat; a private version, another nickname and an unknown slug are a 404."""
        status, row = await unified(caller, "GET", self.PATH, keyless=True)
        assert (status, row["workflow_id"], row["version_id"]) == (200, emulator.workflow_ids[0], "v1")
        assert row["definition"]["steps"]
        assert emulator.log[-1].key == "none"
        for other in (
            self.PATH.replace("workflow-1", "workflow-2"),
            self.PATH.replace(NICKNAME, "umbrella"),
            self.PATH.replace("workflow-1", "none"),
            self.PATH.replace("/v1", "/v2"),
        ):
            assert (await unified(caller, "GET", other, keyless=True))[0] == 404

    async def test_leave_out_what_is_empty(self, emulator: Emulator, caller: Caller) -> None:
        """Without categories or a definition, those fields are absent."""
        workflow_id = emulator.workflow_ids[0]
        version = {**emulator.workflows.get(workflow_id)["versions"][0], "definition": {}}
        emulator.workflows.change(workflow_id, categories=[], versions=[version])
        _, row = await unified(caller, "GET", self.PATH, keyless=True)
        assert not {"categories", "definition"} & set(row)

    async def test_are_triggered_with_the_key_in_the_body(self, emulator: Emulator, caller: Caller) -> None:
        """The execution runs; the log records what kind of key came and never the key."""
        body = {"api_key": emulator.api_key, "inputs": {"n": 1}}
        status, queued = await unified(caller, "POST", f"{self.PATH}/trigger", body, keyless=True)
        assert (status, queued["status"]) == (202, "queued")
        seen = emulator.log[-1]
        assert (seen.key, seen.json()["api_key"]) == ("right", "right")
        assert not {"x-api-key", "authorization"} & set(seen.headers)
        assert [one.inputs for one in emulator.submitted] == [{"n": 1}]
        assert (await unified(caller, "POST", f"{self.PATH.replace('-1', '-2')}/trigger", body))[0] == 404

    @pytest.mark.parametrize(
        ("body", "key"),
        [
            (b'{"api_key": "wrong"}', "wrong"),
            (b"{}", "none"),
            (b"[]", "none"),
            (b"not json", "none"),
            (b'{"api_key": "emulator-runs-key"}', "foreign"),
        ],
    )
    async def test_need_the_key(self, emulator: Emulator, caller: Caller, body: bytes, key: str) -> None:
        """A wrong or missing key is a 401; the other vendor's key counts as leaked."""
        url = f"{emulator.unified_hosts.workflows.base_url}{self.PATH}/trigger"
        async with caller.session.post(url, data=body) as answer:
            assert answer.status == 401
        assert emulator.log[-1].key == key
        assert len(emulator.wrong_keys) == (key == "foreign")

    async def test_take_the_header_where_the_body_has_no_key(self, emulator: Emulator, caller: Caller) -> None:
        """As documented, `X-API-Key` is a fallback."""
        url = f"{emulator.unified_hosts.workflows.base_url}{self.PATH}/trigger"
        async with caller.session.post(url, json={}, headers={"X-API-Key": emulator.api_key}) as answer:
            assert answer.status == 202


class TestModels:
    @pytest.mark.parametrize("edition", ["compat", "unified"])
    async def test_are_a_bare_array_without_a_key(self, caller: Caller, edition: str) -> None:
        """Pages join to the whole listing, with fifty models each by default."""
        options: dict[str, Any] = {"edition": edition, "keyless": True}
        first = await caller.good("api", "/models", **options)
        rest = await caller.good("api", "/models", offset=50, limit=500, **options)
        assert (len(first), len(rest)) == (50, 10)
        slugs = [model["slug"] for model in first + rest]
        assert slugs == caller.emulator.models.ids()
        assert await caller.good("api", "/models", offset=100, **options) == []

    async def test_are_found_by_name_and_by_slug(self, caller: Caller) -> None:
        """The name is searched in slug and title, in any case; the slug must match as a whole."""
        found = await caller.good("api", "/models", name="BANANA", keyless=True)
        assert [model["slug"] for model in found] == ["nano-banana-pro"]
        assert await caller.good("api", "/model", slug="nano-banana-pro", keyless=True) == found[0]
        assert (await caller.ask("api", "/model", slug="none"))[0] == 404
        assert (await caller.ask("api", "/model"))[0] == 400

    @pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"limit": "x"}, {"offset": -1}])
    async def test_refuse_a_page_out_of_range(self, caller: Caller, query: dict[str, Any]) -> None:
        """It is a 400."""
        assert (await caller.ask("api", "/models", **query))[0] == 400


async def predict(caller: Caller, inputs: Any = None, model: str = "flux-1-1-pro", path: str = "/prediction") -> Any:
    body = {"model": model, "input": inputs or {}}
    return await caller.good("api", path, edition="unified", method="POST", json=body)


class TestPredictions:
    @pytest.mark.parametrize("edition", ["compat", "unified"])
    async def test_run_from_start_to_success(self, emulator: Emulator, caller: Caller, edition: str) -> None:
        """Their get and the list of executions show each state in their own words."""
        body = {"model": "flux-1-1-pro", "version": "0.0.1", "input": {"prompt": "a"}}
        created = await caller.good("api", "/prediction", edition=edition, method="POST", json=body)
        assert created["status"] == "success"
        prediction_id = created["predictionID"]
        words: list[tuple[str, str]] = []
        for _ in range(3):
            row = await caller.good("api", f"/prediction/{prediction_id}", edition=edition)
            line = (await caller.good("api", "/executions", edition=edition, model="flux-1-1-pro"))["executions"][0]
            assert (line["id"], line["workflow_id"]) == (prediction_id, None)
            words.append((row["status"], line["status"]))
            emulator.clock.advance(5)
        assert words == [("starting", "created"), ("processing", "starting"), ("success", "success")]
        row = await caller.good("api", f"/prediction/{prediction_id}", edition=edition)
        assert row["output"] == emulator.executions.get(prediction_id)["output"]
        assert row["metrics"] == {"predict_time": 9, "cost": 0.0125}
        async with caller.session.get(row["urls"]["get"], headers={"X-API-Key": emulator.api_key}) as answer:
            assert answer.status == (200 if edition == "compat" else 401)

    async def test_fail_with_an_envelope(self, emulator: Emulator, caller: Caller) -> None:
        """The output has the reason, in the class that the input selected; the list can be filtered by it."""
        created = await predict(caller, {"fail": "content_moderation"})
        emulator.clock.advance(9)
        row = await caller.good("api", f"/prediction/{created['predictionID']}")
        assert row["status"] == "failed"
        assert row["output"]["classification"] == {"category": "content_moderation"}
        assert row["output"]["error_code"] == "CONTENT_MODERATION"
        page = await caller.good("api", "/executions", error_classification="content_moderation", limit=1)
        assert (page["executions"][0]["id"], page["executions"][0]["status"]) == (row["id"], "error")

    async def test_can_be_cancelled_where_that_is_possible(self, emulator: Emulator, caller: Caller) -> None:
        """Cancelling frees the slot; one that cannot stop, or has ended, is unchanged, and an unknown one is a 404."""
        ids = [(await predict(caller, {"uncancellable": n}))["predictionID"] for n in (0, 1)]
        emulator.clock.advance(1)
        for _ in range(2):
            for one in ids:
                said = await caller.good("api", f"/prediction/{one}/cancel", method="POST")
                assert (said["status"], said["predictionID"]) == ("cancelled", one)
        assert emulator.running == 1
        emulator.clock.advance(10)
        rows = [await caller.good("api", f"/prediction/{one}") for one in ids]
        assert [row["status"] for row in rows] == ["cancelled", "success"]
        assert emulator.executions.get(ids[0])["status"] == "cancelled"
        for path in ("/prediction/none", "/prediction/none/cancel"):
            method = "POST" if path.endswith("cancel") else "GET"
            assert (await caller.ask("api", path, method=method))[0] == 404

    @pytest.mark.parametrize(
        ("inputs", "status", "error"),
        [({}, "success", ""), ({"fail": True}, "failed", "The model failed: provider error")],
    )
    async def test_can_be_waited_for(
        self, emulator: Emulator, caller: Caller, inputs: Any, status: str, error: str
    ) -> None:
        """A run answers when the prediction ends, if the model allows it."""
        run = asyncio.create_task(predict(caller, inputs, "openai-chatgpt-5", "/prediction/run"))
        while not emulator.running:
            await asyncio.sleep(0.001)
        emulator.clock.advance(9)
        said = await run
        assert (said["status"], said["error"], "output" in said) == (status, error, status == "success")
        assert said["predictionID"] == emulator.submitted[0].id

    async def test_a_run_ends_with_its_cancellation(self, emulator: Emulator, caller: Caller) -> None:
        """A run of a cancelled prediction reports that; of one that a test removes, it is a 404."""
        runs = [asyncio.create_task(predict(caller, {}, "openai-chatgpt-5", "/prediction/run")) for _ in range(2)]
        while emulator.running < 2:
            await asyncio.sleep(0.001)
        cancelled, gone = (one.id for one in emulator.submitted)
        emulator.cancel_prediction(cancelled)
        emulator.predictions.remove(gone)
        emulator.executions.remove(gone)
        emulator.clock.advance(9)
        outcomes = await asyncio.gather(*runs, return_exceptions=True)
        assert [one["status"] for one in outcomes if isinstance(one, dict)] == ["cancelled"]
        assert len([one for one in outcomes if isinstance(one, AssertionError)]) == 1
        assert emulator.running == 0

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/prediction", {"input": {}}),
            ("/prediction", {"model": "flux-1-1-pro"}),
            ("/prediction", {"model": "none", "input": {}}),
            ("/prediction", {"model": "flux-1-1-pro", "input": {"invalid": "no"}}),
            ("/prediction/run", {"model": "flux-1-1-pro", "input": {}}),
        ],
    )
    async def test_a_wrong_one_is_refused(self, emulator: Emulator, caller: Caller, path: str, body: Any) -> None:
        """It is a 400, and nothing is created."""
        assert (await caller.ask("api", path, method="POST", json=body))[0] == 400
        assert emulator.submitted == []


class TestRuns:
    async def test_are_listed_for_a_workflow(self, emulator: Emulator, caller: Caller) -> None:
        """Only its own runs are listed, in pages; an unknown workflow is a 404."""
        workflow_id = emulator.workflow_ids[1]
        page = await caller.good("runs", f"/workflows/{workflow_id}/runs", size=3)
        assert (len(page["items"]), page["total"], page["pages"]) == (3, 4, 2)
        assert {row["workflow_id"] for row in page["items"]} == {workflow_id}
        status, body = await caller.ask("runs", "/workflows/none/runs")
        assert (status, body) == (404, {"detail": "Workflow not found"})

    async def test_can_be_stopped(self, emulator: Emulator, caller: Caller) -> None:
        """A running one is stopped and finished; one that has ended is unchanged."""
        rows = list(emulator.runs)
        running = next(row for row in rows if row["status"] in ("queued", "running"))
        ended = next(row for row in rows if row["status"] == "completed")
        stopped = await caller.good("runs", f"/runs/{running['id']}/stop", method="POST")
        assert stopped["status"] == "stopped"
        assert stopped["finished_at"]
        assert await caller.good("runs", f"/runs/{ended['id']}/stop", method="POST") == ended
        assert (await caller.ask("runs", "/runs/none/stop", method="POST"))[0] == 404
