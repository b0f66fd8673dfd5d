"""Send a request that creates something, once; `reconcile` looks for what a lost answer created."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar, cast

from ..errors import OutcomeUnknownError, ResponseDecodeError
from ..transport.requests import PreparedRequest
from ..transport.transport import Transport
from .ledger import Ledger, scope_of
from .lookup import Lookup
from .matching import Candidate
from .reconcile import Search, TimeSpan, reconcile
from .sent_inputs import snapshot

T = TypeVar("T")


async def create(
    transport: Transport,
    ledger: Ledger,
    prepared: PreparedRequest,
    kind: type[T],
    *,
    ids_of: Callable[[T], list[str | None]],
    bulk: bool = False,
    lookup: Lookup | None = None,
    answer_of: Callable[[list[Candidate]], T | None] | None = None,
) -> T:
    """Send a creating request once, record what it created and return its answer.

    `ids_of` returns the execution of each input that an answer names, or None; it raises `ResponseDecodeError` for an
    answer that does not say what was created. `bulk` is whether the request is a bulk trigger. `lookup` is the listing
    that shows such executions, None if there is none. With `answer_of` a lost answer is looked for there, see
    `reconcile`.

    Raises `OutcomeUnknownError` if no clear answer came and none was found.
    """
    filters = {} if lookup is None else lookup.filters
    call = transport.call(prepared.endpoint, prepared.path, body=prepared.body)
    call.execution_count = len(prepared.inputs)
    since = time.time()
    claims = ledger.claims
    # As they are sent, which they are before this returns.
    values = [_as_sent(value) for value in prepared.inputs]
    inputs = claims.begin(scope_of(filters or {"path": prepared.path}), values, bulk=bulk, now=since)
    is_lost = False
    try:
        try:
            answer = await transport.get(call, kind)
            ledger.observe(transport, call, since)
            ledger.accept(inputs, ids_of(answer))
            return answer
        except OutcomeUnknownError as exc:
            unknown = exc
        except ResponseDecodeError as exc:  # from `ids_of`, or of an id that another call has
            unknown = cast(OutcomeUnknownError, transport.session.with_call_details(call, exc))
        is_lost = True
        claims.lose(inputs, time.time())
        unknown.lookup = TimeSpan.until_now(since).as_filters(**filters) if filters else {}
        if lookup is not None and answer_of is not None:
            search = Search(lookup, claims, inputs)
            found = await reconcile(search, transport, inputs, answer_of=answer_of, unknown=unknown)
            if found is not None:
                ledger.created(identity for identity in ids_of(found) if identity is not None)
                return found
    except BaseException:
        if not is_lost and call.may_have_arrived:
            claims.lose(inputs, time.time())  # Cancelled while it was sent.
            is_lost = True
        raise
    finally:
        if not is_lost:
            claims.settle(inputs)
    raise unknown.with_traceback(None)


def checked_id(identity: str | None, path: str) -> str:
    """Return the id of what was created. An empty one is none: whether anything was created is then unknown."""
    if not identity:
        raise ResponseDecodeError(f"cannot decode the response at {path}: is missing or empty", path=path)
    return identity


def _as_sent(value: object) -> object:
    try:
        return snapshot(value)
    except (TypeError, ValueError):
        return value  # It was encoded, so it is only nested a little too deeply for a copy.
