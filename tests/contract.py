"""The official specifications: which one a request belongs to, and how a request or an answer violates it.

The specifications are beside the checkout and not part of the project; without them nothing is checked.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import yaml
from attrs import frozen
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from openapi_core.exceptions import OpenAPIError
from openapi_core.templating.paths.exceptions import PathError
from werkzeug.datastructures import Headers, ImmutableMultiDict

from eachlabs_async.emulator import PREFIXES, Emulator, RecordedRequest

SPECIFICATIONS = Path(__file__).parents[2] / "shared" / "openapi"

DIGEST = "unified-2026-09.json"
"""What the unified edition gained since; parts of it are told anew, so that the older one of both is tried first."""

FILES = {
    ("compat", "api"): ("compat-api.yaml", "unified-api.json", DIGEST),
    ("compat", "workflows"): ("compat-workflows.yaml",),
    ("unified", "api"): ("unified-api.json", "unified-workflows.json", DIGEST),
    ("unified", "workflows"): ("unified-workflows.json", "unified-api.json"),
}
"""The specifications of a service in an edition, the one to be tried first before the other."""

BASES = {
    "compat-api.yaml": ("https://api.eachlabs.ai", ""),
    "compat-workflows.yaml": ("https://workflows.eachlabs.run", "/api"),
    "unified-api.json": ("https://api.eachlabs.ai", ""),
    "unified-workflows.json": ("https://api.eachlabs.ai", ""),
    DIGEST: ("https://api.eachlabs.ai", ""),
}
"""Where the server of each specification is: origin, and the path below which the versions of the services are."""


@frozen(kw_only=True)
class Exchange:
    """One request as the emulator saw it, and its answer before any fault."""

    seen: RecordedRequest
    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]


class Recorder(Emulator):
    """An emulator that keeps each answer with its request."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.exchanges: list[Exchange] = []

    def _response(self, answer: Any, seen: RecordedRequest) -> Any:
        headers = self._headers(answer, seen)
        self.exchanges.append(
            Exchange(
                seen=seen,
                status=answer.status,
                body=answer.body,
                content_type=answer.content_type,
                headers=headers,
            )
        )
        return super()._response(answer, seen)


class Request:
    """A request in the form of the validator, at the URL of the specification rather than the emulator's."""

    def __init__(self, seen: RecordedRequest, origin: str, path: str, *, bearer: bool) -> None:
        # The log says what a key was; the validator wants to see one, in the place where the specification has it.
        headers = dict(seen.headers)
        if headers.get("authorization") == "right" or (bearer and headers.get("x-api-key") == "right"):
            headers["authorization"] = "Bearer key"
        self.host_url = origin
        self.path = path
        self.method = seen.method.lower()
        query = parse_qsl(urlsplit(seen.target).query, keep_blank_values=True)
        self.parameters = RequestParameters(query=ImmutableMultiDict(query), header=Headers(headers))
        self.body = seen.body or None
        self.content_type = headers.get("content-type", "").partition(";")[0]


class Response:
    """An answer in the form of the validator."""

    def __init__(self, exchange: Exchange) -> None:
        self.status_code = exchange.status
        self.headers = Headers(exchange.headers)
        self.content_type = exchange.content_type
        self.data = exchange.body


@cache
def specification(name: str) -> OpenAPI:
    """Load a specification; whether it is itself valid does not matter here."""
    text = (SPECIFICATIONS / name).read_text(encoding="utf-8")
    read = json.loads(text) if name.endswith("json") else yaml.safe_load(text)
    return OpenAPI.from_dict(without_null(read), config=Config(spec_validator_cls=None))


def without_null(value: Any) -> Any:
    """Rewrite `oneOf: [..., {type: null}]` for OpenAPI 3.0.

    OpenAPI 3.0 has no such type, but the specification of the compat edition's workflows uses it.
    """
    if isinstance(value, list):
        return [without_null(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: without_null(one) for name, one in value.items()}
    if {"type": "null"} in (found.get("oneOf") or ()):
        found |= {"oneOf": [one for one in found["oneOf"] if one != {"type": "null"}], "nullable": True}
    return found


def complaints(exchange: Exchange) -> tuple[str | None, dict[str, str]]:
    """Return the specification of a request (None if there is none) and the violations of request and answer."""
    seen = exchange.seen
    for name in FILES.get((seen.edition, seen.service), ()):
        found = said_by(name, exchange)
        if found is not None:
            if not name.startswith(seen.edition):
                found["absent"] = f"only {name} has it"
            return name, found
    return None, {}


def said_by(name: str, exchange: Exchange) -> dict[str, str] | None:
    """Return the violations of one specification, or None if it does not have the request."""
    seen = exchange.seen
    origin, base = BASES[name]
    # The prefix of a service ends in the first version, and the others are beside it.
    prefix = PREFIXES[seen.edition][seen.service].removesuffix("/v1")
    path = base + urlsplit(seen.target).path.removeprefix(prefix)
    request = Request(seen, origin, path, bearer=name.startswith("unified"))
    openapi = specification(name)
    found: dict[str, str] = {}
    try:
        openapi.validate_request(request)
    except PathError:
        return None
    except OpenAPIError as error:
        found["request"] = said(error)
    try:
        openapi.validate_response(request, Response(exchange))
    except OpenAPIError as error:
        found["answer"] = said(error)
    return found


def said(error: BaseException) -> str:
    """Return an error with its causes, and the path of each in the value."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        inner = [f"{one.json_path}: {one.message}" for one in getattr(cause, "schema_errors", ())]
        # The text of such a one holds the whole value.
        lines += inner or [str(cause)[:200]]
        cause = cause.__cause__
    return "; ".join(dict.fromkeys(lines))
