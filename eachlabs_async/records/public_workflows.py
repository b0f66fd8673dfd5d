"""The record of a public workflow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class PublicWorkflow:
    """One version of a workflow that its owner shares, from `GET /public/@{nickname}/workflows/...`."""

    workflow_id: str
    version_id: str | None = None
    slug: str | None = None
    name: str | None = None
    description: str | None = None
    thumbnail: str | None = None
    categories: list[str] | None = None
    definition: dict[str, Any] | None = None
    status: str | None = None
    example_output: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
