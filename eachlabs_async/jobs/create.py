"""Send a request that creates something, once; `reconcile` looks for what a lost answer created."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar, cast

from ..codec.strict import encode_json
from ..errors import OutcomeUnknownError, ResponseDecodeError
from ..transport.requests import PreparedRequest
from ..transport.transport import Transport
from .ledger import Ledger
from .reconcile import Candidate, Lookup, TimeSpan, reconcile

T = TypeVar("T")


async def create(
    transport: Transport,
    ledger: Ledger,
    prepared: PreparedRequest,
    kind: type[T],
    *,
    ids_of: Callable[[T], list[str]],
    lookup: Lookup | None = None,
    answer_of: Callable[[list[Candidate]], T | None] | None = None,
) -> T:
    """Send a creating request once, record what it created and return its answer.

    `ids_of` returns the executions that an answer names; it raises `ResponseDecodeError` for an answer that does not
    say what was created. `lookup` is the listing that shows such executions, None if there is none. With `answer_of`
    a lost answer is looked for there, see `reconcile`.

    Raises `OutcomeUnknownError` if no clear answer came and none was found.
    """
    filters = {} if lookup is None else lookup.filters
    call = transport.call(prepared.endpoint, prepared.path, body=prepared.body)
    call.execution_count = len(prepared.inputs)
    since = datetime.now(UTC)
    key = encode_json([filters, prepared.inputs])
    with ledger.claims.creating(key):
        try:
            answer = await transport.get(call, kind)
            ledger.created(ids_of(answer))
            return answer
        except OutcomeUnknownError as exc:
            unknown = exc
        except ResponseDecodeError as exc:  # from `ids_of`
            unknown = cast(OutcomeUnknownError, transport.session.with_call_details(call, exc))
        span = TimeSpan(since, datetime.now(UTC))
        unknown.lookup = span.as_filters(**filters) if filters else {}
        if lookup is not None and answer_of is not None:
            found = await reconcile(
                lookup,
                transport,
                ledger.claims,
                prepared.inputs,
                span,
                key=key,
                answer_of=answer_of,
                unknown=unknown,
            )
            if found is not None:
                ledger.created(ids_of(found))
                return found
    raise unknown.with_traceback(None)
