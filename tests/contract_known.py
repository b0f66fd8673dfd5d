"""The known differences of the emulator and the SDK from a specification, each with its reason.

`tests/test_contract.py` fails for a difference that is not listed here, and for an entry that is no longer needed.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

EDITIONS: tuple[Literal["compat"], Literal["unified"]] = ("compat", "unified")


@frozen(kw_only=True)
class Known:
    """One known difference: `words` is a regular expression that matches the violation."""

    edition: Literal["compat", "unified"]
    endpoints: tuple[str, ...]
    side: Literal["absent", "request", "answer"]
    words: str = ""
    reason: str


_CREATING = ("workflows.trigger", "workflows.bulk_trigger", "predictions.create")

KNOWN = (
    Known(
        edition="compat",
        endpoints=("executions.list", "predictions.cancel", "predictions.run"),
        side="absent",
        reason="The older document does not list them; the facts of the wire give them for both editions, alike.",
    ),
    Known(
        edition="compat",
        endpoints=("executions.list_by_cursor",),
        side="absent",
        reason="It is told of the unified edition alone; the facts of the wire assume it beside the other `/v1`, too.",
    ),
    Known(
        edition="compat",
        endpoints=("models.get", "billing.balance"),
        side="absent",
        reason="Newer than the older document; the facts of the wire give both for the host that the editions share.",
    ),
    *(
        Known(
            edition=edition,
            endpoints=("models.schema",),
            side="absent",
            reason="No specification has it; the facts of the wire do.",
        )
        for edition in EDITIONS
    ),
    *(
        Known(
            edition=edition,
            endpoints=("executions.list",),
            side="request",
            words=r"error_classification; \$: '[a-z_]+,[a-z_,]+' is not one of",
            reason="Its text says comma-separated, its schema allows one word: we keep to the text.",
        )
        for edition in EDITIONS
    ),
    Known(
        edition="compat",
        endpoints=("models.get_by_query",),
        side="request",
        words="Security not found",
        reason="Wants a key for one model and none for their list; the newer edition wants none: none is sent.",
    ),
    Known(
        edition="compat",
        endpoints=("workflow_executions.list",),
        side="answer",
        words=r"\$\.offset: None",
        reason="Its text says that `offset` is null on the last page, its schema that it is an integer.",
    ),
    *(
        Known(
            edition=edition,
            endpoints=_CREATING,
            side="answer",
            words="Unknown response http status: 429",
            reason="The facts have the cap on concurrent executions as a 429; no specification lists one here.",
        )
        for edition in EDITIONS
    ),
    Known(
        edition="compat",
        endpoints=_CREATING,
        side="answer",
        words="Unknown response http status: 402",
        reason="The facts have it for a low balance; this older document lists no 402 anywhere.",
    ),
    Known(
        edition="unified",
        endpoints=("predictions.create",),
        side="answer",
        words="Unknown response http status: 402",
        reason="Listed for the triggers, and in the facts for all that is billed, but not on this route.",
    ),
)
