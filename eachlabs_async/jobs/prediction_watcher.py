"""Watch many predictions of one model: by the listing of executions where that takes fewer requests, else one by one.

One call is one check; it does not wait. A page of the listing shows up to a hundred predictions, so many that are due
at once cost a few requests. Those that the listing does not show, or that run longer than others did, are read by id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from ..errors import EachLabsError, NotFoundError, ResponseDecodeError
from ..pagination.execution_pager import ExecutionPager
from ..pagination.listing_choice import RefusedListings
from ..records import Prediction, read_state
from ..transport.endpoints import GET_PREDICTION
from ..transport.not_found_hints import HINT_FOR_KNOWN_ID, hint_on_not_found
from ..transport.tasks import gather_or_cancel
from ..transport.transport import Transport
from .failure import checked_success
from .refusals import FATAL_FOR_MAP
from .status_words import StatusWords

ROWS: Final = 100
MOST_PAGES: Final = 10
LISTING_FROM: Final = 4
"""Predictions that are due at once for which the listing is read; fewer are read by id."""
READS_PER_CHECK: Final = 16
"""Predictions that are read by id in one check although the listing was read."""
_MOST_SKIPPED: Final = 64


class PredictionWatcher:
    """Checks which predictions of one model have finished, again and again. `words` are those of their status."""

    def __init__(self, transport: Transport, refused: RefusedListings, model: str) -> None:
        self._transport = transport
        self._refused = refused
        self._model = model
        self.words = StatusWords(transport.session.secrets)
        self._finished: dict[str, Prediction] = {}
        self._useless = 0  # listings in a row that showed none of the predictions
        self._skip = 0  # checks for which the listing is not read, after such listings

    async def finished(self, ids: Sequence[str], fresh: Collection[str], due: Collection[str]) -> list[str]:
        """Return those of `ids` that have finished or that the service does not know; only the `due` ones must be read.

        A 404 for an id in `fresh` is ignored: the prediction may not be visible yet. Raises an error if every request
        failed.
        """
        finished: list[str] = []
        wanted = list(due)
        if len(wanted) >= LISTING_FROM and not self._skip:
            shown = await self._listed(set(ids))
            finished = [identity for identity, is_finished in shown.items() if is_finished]
            wanted = [identity for identity in wanted if identity not in shown]
            self._useless = 0 if shown else self._useless + 1
            self._skip = min(2**self._useless, _MOST_SKIPPED) if not shown else 0
            if shown:
                wanted = wanted[:READS_PER_CHECK]
        elif self._skip:
            self._skip -= 1
        found = await gather_or_cancel(self._is_finished(identity, identity in fresh) for identity in wanted)
        failures = [answer for answer in found if isinstance(answer, EachLabsError)]
        if failures and len(failures) == len(found) and not finished:
            raise failures[0]
        return finished + [identity for identity, ended in zip(wanted, found, strict=True) if ended is True]

    async def fetch(self, identity: str) -> Prediction:
        """Return a finished prediction.

        Raises `ExecutionFailedError` if it did not succeed, `WaitTimeoutError` if it has not finished yet.
        """
        kept = self._finished.pop(identity, None)
        record = kept if kept is not None else await self._read(identity)
        return checked_success(record, self._transport.session.secrets)

    async def _listed(self, left: set[str]) -> dict[str, bool]:
        """Return whether each prediction that the newest rows show has finished; empty if they cannot be read."""
        shown: dict[str, bool] = {}
        # Others may create predictions of the same model meanwhile, so twice as many rows as needed are read.
        pages_left = min(MOST_PAGES, 1 + 2 * len(left) // ROWS)
        try:
            pager = ExecutionPager(self._transport, self._refused, {"model": self._model}, size=ROWS)
            async with pager:
                async for page in pager.pages():
                    for row in page.rows:
                        if row.id in left:
                            left.discard(row.id)
                            shown[row.id] = row.is_finished
                            if not row.is_finished and read_state(row.status) == "unknown":
                                shown.pop(row.id)  # The prediction itself may have a word that is known.
                    pages_left -= 1
                    if not left or not pages_left:
                        break
        except EachLabsError:
            pass  # Each prediction is read by its id, which raises what also concerns it.
        return shown

    async def _is_finished(self, identity: str, fresh: bool) -> bool | EachLabsError:
        try:
            prediction = await self._read(identity)
        except NotFoundError:
            return not fresh  # Reading it again raises the error again.
        except ResponseDecodeError:
            return True
        except FATAL_FOR_MAP:
            raise
        except EachLabsError as exc:
            return exc  # The other predictions do not wait for this one.
        if prediction.is_finished:
            self._finished[identity] = prediction
        return prediction.is_finished

    async def _read(self, identity: str) -> Prediction:
        with hint_on_not_found(HINT_FOR_KNOWN_ID):
            found = await self._transport.request(GET_PREDICTION, Prediction, background=True, prediction_id=identity)
        self.words.note(identity, found)
        return found
