"""Start one execution of a workflow, and wait for its end if that is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from ..codec.strict import to_dict
from ..records import TriggeredExecution
from .context import Context
from .failures import OK
from .model_inputs import check_files, chosen_version, given_inputs, schema_of_version
from .output.fields import View, view_of
from .related import related_arguments, related_command
from .waiting import FOREVER_S, wait_for_each

__all__ = ["trigger_workflow"]


async def trigger_workflow(
    context: Context,
    workflow_id: str,
    version_id: str | None,
    words: Sequence[str],
    *,
    waits: bool,
    timeout_s: float | None,
    view: View,
) -> int:
    """Start a workflow with the inputs that the words say, print what that gives, and return the exit code.

    `view` has the fields of the execution, which is printed at its end with `waits`.
    """
    triggered_view = view_of(TriggeredExecution, id_field="execution_id")
    context.view(view if waits else triggered_view)
    check_files(context, words)
    async with context.client() as client:
        version = chosen_version(await client.workflows.get(workflow_id), version_id)
        inputs = await given_inputs(context, client, words, schema_of_version(version))
        wanted = version_id if version is None else version.version_id
        triggered = await client.workflows.trigger(workflow_id, wanted, inputs, reconcile=True)
        name = triggered.execution_id
        if not waits:
            context.record(to_dict(triggered), triggered_view)
            context.note(f"wait for it with: {related_command(context, 'workflows', 'wait', name)}")
            return OK
        # After Ctrl-C another trigger would start another execution: waiting goes on.
        context.arguments = related_arguments(context, "workflows", "wait", name)
        return await wait_for_each(
            context,
            [name],
            lambda given, on_update: client.workflow_executions.wait(
                triggered, timeout_s=timeout_s or FOREVER_S, on_update=on_update
            ),
            view,
            title="workflow execution",
        )
