"""The inputs of one execution from `NAME=VALUE` words: read by the schema, with the files uploaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..errors import EachLabsError, NotFoundError
from .context import Context
from .failures import UsageError
from .inputs import Assignments, Schema, read_assignments

if TYPE_CHECKING:
    from ..client import EachLabs
    from ..records import Workflow, WorkflowVersion

__all__ = ["check_files", "chosen_version", "given_inputs", "schema_of_model", "schema_of_version"]


def check_files(context: Context, words: Sequence[str]) -> None:
    """Raise `UsageError` for a file that cannot be uploaded, before anything is asked of the service."""
    files = read_assignments(words).files
    if files and context.settings.edition.value != "unified":
        name = next(iter(files))
        raise UsageError(
            f"{name}=@{files[name]}: files can be uploaded in the unified edition only: pass --edition unified, or "
            f"give the URL of the file, {name}=https://..."
        )
    for name, path in files.items():
        if not path.is_file():
            raise UsageError(f"{name}=@{path}: there is no such file")


async def given_inputs(
    context: Context, client: EachLabs, words: Sequence[str], schema: Schema | None
) -> dict[str, Any]:
    """Return the inputs that the words say; the value of a file is the URL to which it was uploaded."""
    assigned: Assignments = read_assignments(words, schema)
    inputs = dict(assigned.values)
    for name, path in assigned.files.items():
        inputs[name] = await _upload(context, client, path)
    return inputs


async def _upload(context: Context, client: EachLabs, path: Path) -> str:
    with context.progress(f"uploading {path.name}", "bytes") as progress:
        uploaded = await client.files.upload(path, on_progress=lambda sent, size: progress.update(sent, size))
    return str(uploaded.public_url)


async def schema_of_model(client: EachLabs, model: str) -> Schema | None:
    """Return the schema of a model's input; None if it has none, or cannot be had."""
    try:
        return (await client.models.schema(model)).input_schema
    except NotFoundError:
        return None  # The model may exist all the same; if not, the service says so when it is to run.
    except EachLabsError:
        return None


def chosen_version(workflow: Workflow, version_id: str | None) -> WorkflowVersion | None:
    """Return the version that runs: the one asked for, else the production one, else the latest.

    None if it is not among those of the workflow. Raises `UsageError` if none was asked for and there is none.
    """
    versions = workflow.versions or []
    if version_id is not None:
        return next((one for one in versions if one.version_id == version_id), None)
    for one in versions:
        if one.production:
            return one
    latest = next((one for one in versions if one.version_id == workflow.latest_version_id), None)
    if latest is None and versions:
        latest = versions[-1]
    if latest is None:
        raise UsageError("the workflow has no version that is known: pass --version-id")
    return latest


def schema_of_version(version: WorkflowVersion | None) -> Schema | None:
    """Return the schema of the inputs of a workflow's version, if it has one."""
    definition = version.definition if version is not None else None
    schema = (definition or {}).get("input_schema")
    return cast("dict[str, Any]", schema) if isinstance(schema, dict) else None
