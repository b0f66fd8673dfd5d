"""The bodies that the server sends and the decoders read, in the documented shapes.

They are the same in every run: row number n always has the same bytes.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

PAGE_ROWS: Final = 100
RUN_FLOW: Final = "50741f40-8621-4d46-8a91-dff4d873be98"
NEWEST: Final = datetime(2026, 9, 18, 12, tzinfo=UTC)
"""The creation time of the first row in the listings of executions."""
SPACING_S: Final = 60
"""The seconds between the creation times of adjacent rows."""
NOW: Final = NEWEST + timedelta(seconds=SPACING_S)
"""The time of the service, as in its `Date` header."""


def identity(number: int) -> str:
    """Return the id with this number, in the form of a UUID of 36 characters."""
    return f"{number & 0xFFFFFFFF:08x}-8621-4d46-8a91-{number:012x}"


def _time(number: int, fraction: str = "", zone: str = "Z") -> str:
    minute, second = divmod(number, 60)
    hour, minute = divmod(minute, 60)
    return f"2026-01-{1 + hour // 24 % 28:02d}T{hour % 24:02d}:{minute:02d}:{second:02d}{fraction}{zone}"


def execution(number: int, fraction: str = "") -> dict[str, Any]:
    """Return a row of the listings of executions, newest first. `fraction` is appended to the seconds of its times."""
    in_workflow = number % 2 == 0
    created_at = NEWEST - timedelta(seconds=SPACING_S * number)

    def after(seconds: int) -> str:
        return f"{created_at + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}{fraction}Z"

    return {
        "id": identity(number),
        "model": "flux-1-1-pro",
        "requested_model": None if number % 3 else "openai/gpt-4.1-mini",
        "status": "error" if number % 10 == 9 else "success",
        "workflow_id": RUN_FLOW if in_workflow else None,
        "workflow_execution_id": identity(number + 1) if in_workflow else None,
        "execution_cost": 0.05,
        "run_time": 12.5,
        "created_at": after(0),
        "started_at": after(2),
        "completed_at": after(15),
        "output": f"https://storage.example.com/predictions/{identity(number)}/image.jpg",
    }


def run(number: int) -> dict[str, Any]:
    """Return a row of `GET /runs`."""
    return {
        "id": identity(number),
        "group_id": RUN_FLOW,
        "workflow_id": RUN_FLOW,
        "input": {"prompt": "a rat who studies law"},
        "output": {"text": "Once upon a time..."},
        "node_ids": None,
        "status": "completed",
        "progress": 100,
        "progress_details": {},
        "definitions": {},
        "created_at": _time(number, ".123456", zone=""),
        "finished_at": _time(number + 15, ".5", zone=""),
        "workflow": None,
        "source": "api",
        "meta": None,
    }


def prediction(number: int) -> dict[str, Any]:
    """Return a row of Replicate's list of predictions."""
    return {
        "id": identity(number),
        "model": "acme/flux",
        "version": "hidden",
        "status": "succeeded",
        "input": {"prompt": "a rat who studies law"},
        "output": f"https://storage.example.com/{identity(number)}.jpg",
        "logs": "",
        "error": None,
        "metrics": {"predict_time": 12.5},
        "created_at": _time(number),
        "started_at": _time(number + 2),
        "completed_at": _time(number + 15),
        "urls": {"get": "https://api.example.com/get", "cancel": "https://api.example.com/cancel"},
    }


def file(number: int) -> dict[str, Any]:
    """Return a row of OpenAI's list of files."""
    return {
        "id": identity(number),
        "object": "file",
        "bytes": 120_000,
        "created_at": 1_767_225_600 + number,
        "expires_at": None,
        "filename": "image.jpg",
        "purpose": "vision",
        "status": "processed",
    }


def workflow_execution(identity: str) -> dict[str, Any]:
    """Return the response of `GET /executions/{execution_id}`: two steps, about 1.2 KB."""
    return {
        "execution_id": identity,
        "workflow_id": RUN_FLOW,
        "bulk_id": None,
        "status": "completed",
        "started_at": "2025-12-04T11:48:10Z",
        "completed_at": "2025-12-04T11:50:53Z",
        "inputs": {"story": "tell an epic story of a rat graduating from law"},
        "step_outputs": {
            "step1": {
                "step_id": "step1",
                "status": "completed",
                "started_at": "2025-12-04T11:48:10Z",
                "completed_at": "2025-12-04T11:48:39Z",
                "output": "Once upon a time...",
                "primary": "Once upon a time...",
                "metadata": {
                    "model": "openai-chatgpt-5",
                    "version": "0.0.1",
                    "params": {"system_prompt": "You are a helpful assistant", "max_output_tokens": 512},
                    "prediction_id": "6yxkzw4th9rme0ct1re8q42xer",
                },
            },
            "step2": {
                "step_id": "step2",
                "status": "completed",
                "started_at": "2025-12-04T11:48:39Z",
                "completed_at": "2025-12-04T11:50:53Z",
                "output": ["https://storage.example.com/1.png", "https://storage.example.com/2.png"],
                "primary": "https://storage.example.com/1.png",
                "metadata": {
                    "model": "nano-banana-pro",
                    "version": "0.0.1",
                    "params": {"num_images": 2, "aspect_ratio": "16:9", "resolution": "1K"},
                },
            },
        },
        "output": ["https://storage.example.com/1.png", "https://storage.example.com/2.png"],
        "total_cost": 0.09,
    }


def encode(value: Any) -> bytes:
    """Encode as the services do: compact, and without escapes."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def execution_page(fraction: str = "") -> bytes:
    """Return a whole page of `GET /executions`."""
    rows = [execution(number, fraction) for number in range(PAGE_ROWS)]
    return encode({"executions": rows, "total_count": 10_000, "total_capped": False, "offset": 0, "limit": PAGE_ROWS})


def run_page() -> bytes:
    """Return a whole page of `GET /runs`."""
    rows = [run(number) for number in range(PAGE_ROWS)]
    return encode({"items": rows, "total": 10_000, "page": 1, "size": PAGE_ROWS, "pages": 100})
