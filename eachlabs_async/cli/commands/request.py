"""`eachlabs request`: call any endpoint, and walk the listings among them."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from cyclopts import Parameter

from ..context import Context
from ..failures import UsageError
from .options import Injected, Limit, Resume

if TYPE_CHECKING:
    from ...client import EachLabs
    from ...transport.endpoints import Endpoint
    from ..output.fields import View

_NUMBERS: Final = frozenset({"limit", "offset", "page", "size"})


async def request(
    method: Annotated[
        Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
        Parameter(help="GET, POST, PUT, PATCH, DELETE or HEAD.", show_choices=False),
    ],
    path: Annotated[str, Parameter(help="Below the base URL of the service, such as /executions.")],
    /,
    *,
    service: Annotated[Literal["api", "workflows", "flows", "runs"], Parameter(help="Whose endpoint it is.")] = "api",
    param: Annotated[list[str] | None, Parameter(help="A parameter of the query: NAME=VALUE.")] = None,
    json_: Annotated[
        str | None, Parameter(name="--json", help="The body: JSON, @FILE, or - for standard input.")
    ] = None,
    paginate: Annotated[bool, Parameter(help="Walk the listing at this path, row by row.", show_default=False)] = False,
    limit: Limit = None,
    resume: Resume = None,
    context: Injected,
) -> int | None:
    """Call any endpoint and print its JSON; with --paginate, all rows of a listing."""
    given: Context = context
    pairs = [_pair(text) for text in param or ()]
    if paginate:
        if method != "GET" or json_ is not None:
            raise UsageError("--paginate walks a listing: it goes with GET and without --json")
        return await _print_listing(given, service, path, pairs, limit, resume)
    if limit is not None or resume is not None:
        raise UsageError("--limit and --resume are about rows: they go with --paginate (or --param limit=20)")
    if given.options.fields or given.format == "csv":
        raise UsageError("an answer is printed as it is: --fields and --format csv go with --paginate")
    names = [name for name, _ in pairs]
    query: dict[str, object] = {
        name: value if names.count(name) == 1 else [other for at, other in pairs if at == name] for name, value in pairs
    }
    body = _body(json_)
    async with given.client() as client:
        try:
            answer = await client.request(service, method, path, params=query or None, json=body)
        except asyncio.CancelledError:
            if method in ("POST", "PATCH"):
                given.warn("stopped; the request may have been carried out: look for it before you try again")
            raise
    if answer is not None:
        given.document(answer)
    return None


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise UsageError(f"--param is NAME=VALUE, not {text!r}")
    return name, value


def _body(text: str | None) -> Any:
    if text is None:
        return None
    source, document = "--json", text
    try:
        if text == "-":
            source, document = "standard input", sys.stdin.read()
        elif text.startswith("@"):
            source = text[1:]
            document = Path(source).read_text(encoding="utf-8")
        return json.loads(document)
    except OSError as error:
        raise UsageError(f"--json: cannot read {source}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{source} is no JSON: {error}") from None


async def _print_listing(
    context: Context, service: str, path: str, pairs: Sequence[tuple[str, str]], limit: Limit, resume: Resume
) -> int:
    from ..walk import print_listing

    async with context.client() as client:
        endpoint, arguments = _listing_at(client, service, path)
        resource, method = (endpoint.serves or endpoint.name).split(".")
        filters = {_words(endpoint).get(name, name): _value(name, value) for name, value in pairs}

        def make_pager(walk: Any) -> Any:
            try:
                return getattr(getattr(client, resource), method)(*arguments, **filters, **walk)
            except TypeError as error:
                raise UsageError(f"--param: {error}") from None

        return await print_listing(
            context, make_pager, _view(endpoint.name), title=endpoint.name.split(".")[0], limit=limit, resume=resume
        )


def _words(endpoint: Endpoint) -> dict[str, str]:
    """Return the arguments of the method by the API's words for them."""
    return {} if endpoint.page is None else {word: name for name, word in endpoint.page.words.items()}


def _value(name: str, text: str) -> Any:
    if name in _NUMBERS:
        try:
            return int(text)
        except ValueError:
            raise UsageError(f"--param {name} must be a number, not {text!r}") from None
    return {"true": True, "false": False}.get(text, text) if name == "node_based" else text


def _listing_at(client: EachLabs, service: str, path: str) -> tuple[Endpoint, tuple[str, ...]]:
    """Return the listing at a path, and the arguments in it."""
    from urllib.parse import unquote

    from ...transport.endpoints import ENDPOINTS

    known: list[str] = []
    for endpoint in ENDPOINTS:
        template = endpoint.path(client.hosts.edition)
        if endpoint.page is None or template is None:
            continue
        known.append(f"{template} ({endpoint.service})")
        pattern = re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(template))
        if endpoint.service == service and (found := re.fullmatch(pattern, path)):
            return endpoint, tuple(unquote(part) for part in found.groups())
    raise UsageError(f"no listing is known at {path} of {service}: --paginate goes with {', '.join(known)}")


def _view(name: str) -> View:
    from . import executions, models, runs, webhooks, workflows

    views: dict[str, Callable[[], View]] = {
        "executions.list": executions.executions_view,
        "workflow_executions.list": workflows.workflow_executions_view,
        "workflows.list": workflows.workflows_view,
        "runs.list": runs.runs_view,
        "runs.list_for_workflow": runs.runs_view,
        "models.list": models.models_view,
        "webhooks.list": webhooks.webhooks_view,
    }
    return views[name]()
