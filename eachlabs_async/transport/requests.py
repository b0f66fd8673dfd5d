"""Prepare the requests that create, change or delete something: their path and body in each edition.

Arguments that the service would reject raise an error here. A body is a `Body`, because it may contain a key or the
secret of a webhook.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeGuard
from urllib.parse import urlsplit

from attrs import evolve, frozen

from ..codec.strict import encode_json
from ..hosts import Edition
from .arguments import checked_count, checked_selector, checked_text
from .endpoints import (
    BULK_TRIGGER_WORKFLOW,
    CREATE_PREDICTION,
    CREATE_WORKFLOW,
    DELETE_RUNS,
    PUT_WORKFLOW_VERSION,
    RUN_PREDICTION,
    START_RUN,
    TRIGGER_PUBLIC_WORKFLOW,
    TRIGGER_WORKFLOW,
    Endpoint,
)
from .keys import Key
from .wire import Body, segment

MAX_BULK_INPUTS: Final = 10
COMPAT_MODEL_VERSION: Final = "0.0.1"
"""The model version that the compat edition requires and the service ignores."""


@frozen
class PreparedRequest:
    """A request that is ready to be sent. `inputs` holds the inputs of each execution that it asks for, as sent."""

    endpoint: Endpoint
    path: str
    body: Body
    inputs: tuple[Any, ...] = ()


def _is_mapping(value: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(value, Mapping)


def _is_iterable(value: object) -> TypeGuard[Iterable[Any]]:
    return isinstance(value, Iterable)


def checked_object(name: str, value: object) -> dict[str, Any]:
    """Return a mapping with `str` keys as a dict, for a JSON object."""
    if not _is_mapping(value):
        kind = type(value).__name__
        several = name in ("input", "inputs") and kind in ("list", "tuple")
        instead = ": call once for each input, or use `map` of workflows or predictions for all of them"
        raise TypeError(f"{name} must be a mapping, not {kind}{instead * several}")
    found = dict(value)
    for key in found:
        if not isinstance(key, str):
            raise TypeError(f"{name} must have str keys, not {type(key).__name__}")
    return found


def encoded_fields(name: str, fields: Mapping[str, Any]) -> Body:
    """Return the JSON body with those of `fields` that are not None. Errors are those of `encoded`."""
    return encoded(name, {key: value for key, value in fields.items() if value is not None})


def encoded(name: str, value: Any) -> Body:
    """Return `value` as a JSON body. Raises `TypeError` or `ValueError` with `name` if JSON cannot represent it."""
    try:
        return Body(encode_json(value))
    except (TypeError, ValueError) as exc:
        reason, kind = str(exc), type(exc)
    raise kind(f"{name} must be a value that JSON can represent: {reason}")


def webhook_fields(url: object, secret: object) -> dict[str, Any]:
    """Return the body's fields for the URL of a webhook and its secret."""
    checked = _checked_url("webhook_url", url)
    if secret is not None and not isinstance(secret, str):
        raise TypeError(f"webhook_secret must be a str, not {type(secret).__name__}")
    if secret == "":
        raise ValueError("webhook_secret must not be empty")
    if secret is not None and not _can_be_header(secret):
        raise ValueError(
            "webhook_secret must be text that an HTTP header can carry: it contains a control character or a lone "
            "surrogate, or begins or ends with a space, as text from a file often does"
        )
    return {"webhook_url": checked, "webhook_secret": secret}


def _can_be_header(text: str) -> bool:
    """Whether the service can send a text along as it is. Receivers strip spaces around the value of a header."""
    controls = any(char < " " or "\x7f" <= char < "\xa0" or "\ud800" <= char <= "\udfff" for char in text)
    return not controls and text == text.strip()


def _checked_url(name: str, url: object) -> str | None:
    checked = checked_text(name, url)
    if checked is not None:
        try:
            parts = urlsplit(checked)
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_valid = False
        if not is_valid:
            raise ValueError(f"{name} must be an absolute http(s) URL")
    return checked


def _trigger(
    endpoint: Endpoint,
    edition: Edition,
    workflow_id: str,
    version_id: str | None,
    inputs: tuple[Any, ...],
    checked: Any,
    webhook: dict[str, Any],
) -> PreparedRequest:
    fields: dict[str, Any] = {"inputs": checked}
    if edition == "compat":
        if webhook["webhook_secret"] is not None:
            raise ValueError("webhook_secret is part of the unified edition only, for workflows")
        path = endpoint.expand(edition, workflow_id=workflow_id)
        fields = {"version_id": checked_text("version_id", version_id), **fields}
    else:
        if version_id is None:
            raise ValueError("version_id must be given: the unified edition has no latest version")
        path = endpoint.expand(edition, workflow_id=workflow_id, version_id=version_id)
    return PreparedRequest(endpoint, path, encoded_fields("inputs", {**fields, **webhook}), inputs)


def trigger(
    edition: Edition,
    workflow_id: str,
    version_id: str | None,
    inputs: Mapping[str, Any] | None,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> PreparedRequest:
    """Prepare the trigger of one execution. `inputs` of None are empty inputs."""
    checked = checked_object("inputs", {} if inputs is None else inputs)
    webhook = webhook_fields(webhook_url, webhook_secret)
    return _trigger(TRIGGER_WORKFLOW, edition, workflow_id, version_id, (checked,), checked, webhook)


def bulk_trigger(
    edition: Edition,
    workflow_id: str,
    version_id: str | None,
    inputs: Sequence[Mapping[str, Any]],
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> PreparedRequest:
    """Prepare the trigger of 1 to 10 executions."""
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Sequence):
        raise TypeError(f"inputs must be a sequence of mappings, not {type(inputs).__name__}")
    if not 1 <= len(inputs) <= MAX_BULK_INPUTS:
        raise ValueError(f"inputs must contain between 1 and {MAX_BULK_INPUTS} mappings, not {len(inputs)}")
    checked = [checked_object(f"inputs[{index}]", value) for index, value in enumerate(inputs)]
    webhook = webhook_fields(webhook_url, webhook_secret)
    return _trigger(BULK_TRIGGER_WORKFLOW, edition, workflow_id, version_id, tuple(checked), checked, webhook)


def public_trigger(
    edition: Edition,
    nickname: str,
    slug: str,
    version_id: str,
    inputs: Mapping[str, Any] | None,
    api_key: Key,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
) -> PreparedRequest:
    """Prepare the trigger of a public workflow, with the key in the body."""
    endpoint = TRIGGER_PUBLIC_WORKFLOW
    path = endpoint.expand(edition, nickname=nickname, slug=slug, version_id=version_id)
    checked = checked_object("inputs", {} if inputs is None else inputs)
    fields = {"api_key": api_key, "inputs": checked, **webhook_fields(webhook_url, webhook_secret)}
    return PreparedRequest(endpoint, path, encoded_fields("inputs", fields), (checked,))


def prediction(
    edition: Edition,
    model: str,
    input: Mapping[str, Any],  # noqa: A002  # the API's name
    version: str | None = None,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    fallback_selector: str | None = None,
    *,
    endpoint: Endpoint = CREATE_PREDICTION,
) -> PreparedRequest:
    """Prepare the creation of one prediction."""
    if checked_text("model", model) is None:
        raise TypeError("model must be a str, not NoneType")
    checked = checked_object("input", input)
    if checked_text("version", version) is None and edition == "compat":
        version = COMPAT_MODEL_VERSION
    fields = {
        "model": model,
        "version": version,
        "input": checked,
        **webhook_fields(webhook_url, webhook_secret),
    }
    fields["fallback_selector"] = checked_selector("fallback_selector", fallback_selector)
    return PreparedRequest(endpoint, endpoint.expand(edition), encoded_fields("input", fields), (checked,))


def run_prediction(
    edition: Edition,
    model: str,
    input: Mapping[str, Any],  # noqa: A002  # the API's name
    version: str | None = None,
) -> PreparedRequest:
    """Prepare a prediction for whose end the service waits before it responds."""
    return prediction(edition, model, input, version, endpoint=RUN_PREDICTION)


def new_workflow(
    edition: Edition, name: str, definition: Mapping[str, Any] | None, description: str | None
) -> PreparedRequest:
    """Prepare the creation of a workflow. The compat edition requires a definition."""
    if checked_text("name", name) is None:
        raise TypeError("name must be a str, not NoneType")
    steps = None if definition is None else checked_object("definition", definition)
    if description is not None and not isinstance(description, str):
        raise TypeError(f"description must be a str, not {type(description).__name__}")
    if edition == "compat":
        if steps is None:
            raise ValueError("definition must be given in the compat edition")
        description = description or ""
    elif description is not None:
        raise ValueError("description is part of the compat edition only")
    fields = {"name": name, "description": description, "definition": steps}
    return PreparedRequest(CREATE_WORKFLOW, CREATE_WORKFLOW.expand(edition), encoded_fields("definition", fields))


def version(
    edition: Edition,
    workflow_id: str,
    version_id: str,
    definition: Mapping[str, Any] | None,
    output_mapping: Mapping[str, str] | None,
    flags: Mapping[str, bool | None],
) -> PreparedRequest:
    """Prepare the creation or change of a version of a workflow. Fields of None stay as they are."""
    path = PUT_WORKFLOW_VERSION.expand(edition, workflow_id=workflow_id, version_id=version_id)
    steps = None if definition is None else checked_object("definition", definition)
    mapping = None if output_mapping is None else checked_object("output_mapping", output_mapping)
    for name, flag in flags.items():
        if flag is not None and not isinstance(flag, bool):
            raise TypeError(f"{name} must be a bool, not {type(flag).__name__}")
    fields: dict[str, Any] = {"definition": steps, "output_mapping": mapping, **flags}
    if edition == "compat":
        if steps is None:
            raise ValueError("definition must be given in the compat edition")
        newer = [name for name in ("output_mapping", "published", "allowed_to_share") if fields[name] is not None]
        if newer:
            raise ValueError(f"{newer[0]} is part of the unified edition only")
        fields["version_id"] = version_id
    return PreparedRequest(PUT_WORKFLOW_VERSION, path, encoded_fields("definition", fields))


def _checked_ids(name: str, ids: object) -> list[str]:
    """Return a list of at least one id, each of which can be part of a path."""
    if isinstance(ids, str | bytes) or _is_mapping(ids) or not _is_iterable(ids):
        raise TypeError(f"{name} must be several ids, not {type(ids).__name__}")
    found = list(ids)
    for index, one in enumerate(found):
        segment(f"{name}[{index}]", one)
    if not found:
        raise ValueError(f"{name} must contain at least one id")
    return found


def run(
    edition: Edition,
    workflow_id: str,
    input: Mapping[str, Any],  # noqa: A002  # the API's name
    node_ids: Iterable[str] | Mapping[str, Any] | None,
    single_node_id: str | None,
    workflow_version_id: str | None,
    callback_url: str | None,
) -> PreparedRequest:
    """Prepare the start of one run."""
    path = START_RUN.expand(edition, workflow_id=workflow_id)
    checked = checked_object("input", input)
    nodes: Any = node_ids
    if node_ids is not None:
        nodes = checked_object("node_ids", node_ids) if _is_mapping(node_ids) else _checked_ids("node_ids", node_ids)
    fields = {
        "input": checked,
        "node_ids": nodes,
        "single_node_id": checked_text("single_node_id", single_node_id),
        "workflow_version_id": checked_text("workflow_version_id", workflow_version_id),
        "callback_url": _checked_url("callback_url", callback_url),
    }
    return PreparedRequest(START_RUN, path, encoded_fields("input", fields), (checked,))


def deletion(
    edition: Edition,
    run_ids: Iterable[str] | None,
    filters: Mapping[str, Any] | None,
    expected_count: int | None,
    dry_run: bool,
) -> PreparedRequest:
    """Prepare the deletion of many runs. With `dry_run`, which only counts them, the request may be repeated."""
    if run_ids is None and filters is None:
        raise ValueError("run_ids or filters must be given, to say which runs to delete")
    if not isinstance(dry_run, bool):
        raise TypeError(f"dry_run must be a bool, not {type(dry_run).__name__}")
    chosen = None if filters is None else checked_object("filters", filters)
    if chosen is not None and not any(value is not None for value in chosen.values()):
        raise ValueError("filters must not be empty: that could mean every run")
    fields = {
        "run_ids": None if run_ids is None else _checked_ids("run_ids", run_ids),
        "filters": chosen,
        "expected_count": None if expected_count is None else checked_count("expected_count", expected_count),
        "dry_run": dry_run,
    }
    endpoint = evolve(DELETE_RUNS, repeatable=dry_run)
    return PreparedRequest(endpoint, endpoint.expand(edition), encoded_fields("filters", fields))
