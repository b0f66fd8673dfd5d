"""Tests for answers whose ids are empty, which is how the service writes text that is not set: they are no ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from raw_server import ONCE, Act, RawServer, RecordedRequest, answer, client_of

from eachlabs_async import BadRequestError, ExecutionFailedError, OutcomeUnknownError


def numbers(request: RecordedRequest) -> list[int]:
    return [int(number) for number in re.findall(rb'"n": ?([0-9]+)', request.body)]


def served(request: RecordedRequest) -> Act:
    """Serve a workflow: input 7 is refused in every bulk, with an empty id, and all others succeed at once."""
    path = request.target.partition("?")[0]
    if request.method == "POST":
        entries = [
            {"execution_id": "", "status": "failed", "message": "no such style"}
            if number == 7
            else {"execution_id": f"e{number}", "status": "queued"}
            for number in numbers(request)
        ]
        return answer(json={"bulk_id": "b", "executions": entries})
    if (found := re.search(r"/e([0-9]+)$", path)) is not None:
        number = int(found[1])
        return answer(json={"execution_id": f"e{number}", "status": "completed", "inputs": {"n": number}})
    rows = [{"execution_id": f"e{number}", "status": "completed"} for number in range(20)]
    return answer(json={"executions": rows, "total": 20, "total_count": 20, "limit": 100, "offset": 0})


@pytest.mark.parametrize("journaled", [False, True])
async def test_an_empty_id_ends_no_other_input(journaled: bool, tmp_path: Path) -> None:
    """The refused input is a failed outcome, the other nineteen succeed, and a restart has nothing left to do."""
    journal = tmp_path / "job.sqlite" if journaled else None
    async with RawServer(then=served) as server, client_of(server) as client:
        inputs = [{"n": number} for number in range(20)]
        result = await client.workflows.map("w", "v", inputs, journal=journal).collect()
        assert set(result.errors) == {"7"}
        assert isinstance(result.errors["7"], BadRequestError)
        assert len(result.values) == 19
        if journaled:
            again = await client.workflows.map("w", "v", inputs, journal=journal).collect()
            assert not again.values
            assert not again.errors


@pytest.mark.parametrize(
    ("created", "error"),
    [
        ({"status": "error", "predictionID": "", "message": "no such model"}, ExecutionFailedError),
        ({"status": "success", "predictionID": ""}, OutcomeUnknownError),
    ],
)
async def test_a_prediction_without_an_id_raises(created: dict[str, Any], error: type[Exception]) -> None:
    """It was refused if the answer says so; otherwise it is unknown whether it was created."""
    async with RawServer(then=answer(json=created)) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(error, match="no such model|may have been carried out"):
            await client.predictions.create("m", {})


async def test_a_trigger_without_an_id_raises() -> None:
    """The refusal of the compat edition may have an empty id instead of none."""
    refused = {"execution_id": "", "status": "failed", "message": "no such style"}
    async with RawServer(then=answer(json=refused)) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(ExecutionFailedError, match="no such style"):
            await client.workflows.trigger("w", None, {})
