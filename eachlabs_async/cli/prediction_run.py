"""Run a model once: start it, watch it, show what came out, and save its files."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..codec.strict import to_dict
from ..errors import EachLabsError
from ..records import Prediction
from .context import Context
from .failures import FAILED, OK
from .live.board import Board
from .live.showing import live_view
from .model_inputs import check_files, given_inputs, schema_of_model
from .output.fields import View
from .related import related_command
from .save import check_folder, save_results
from .waiting import FOREVER_S

if TYPE_CHECKING:
    from ..client import EachLabs

__all__ = ["run_prediction"]


async def run_prediction(
    context: Context,
    model: str,
    words: Sequence[str],
    *,
    save: Path | None,
    fallback_selector: str | None,
    timeout_s: float | None,
    view: View,
) -> int:
    """Run a model with the inputs that the words say, print its fields of `view`, and return the exit code."""
    context.view(view)  # so that a wrong field is refused before anything is paid for
    check_files(context, words)
    if save is not None:
        check_folder(save)
    async with context.client() as client:
        prediction = await _Run(context, client, model, view).end_of(words, fallback_selector, timeout_s)
        context.record(to_dict(prediction), view)
        failed = await save_results(context, client, prediction.urls, save) if save is not None else 0
    return FAILED if failed else OK


class _Run:
    """One prediction on its way."""

    def __init__(self, context: Context, client: EachLabs, model: str, view: View) -> None:
        self._context = context
        self._view = view
        self._client = client
        self._model = model
        self._identity: str | None = None
        self._is_sent = False

    async def end_of(self, words: Sequence[str], fallback_selector: str | None, timeout_s: float | None) -> Prediction:
        try:
            return await self._end_of(words, fallback_selector, timeout_s)
        except asyncio.CancelledError:
            self._say_what_still_runs()
            raise
        except EachLabsError as error:
            record = getattr(error, "record", None)
            if isinstance(record, Prediction):
                self._context.record(to_dict(record), self._view)
                if not record.is_finished:
                    self._say_what_still_runs()
            raise

    async def _end_of(self, words: Sequence[str], fallback_selector: str | None, timeout_s: float | None) -> Prediction:
        context, predictions = self._context, self._client.predictions
        schema = await schema_of_model(self._client, self._model) if words else None
        inputs = await given_inputs(context, self._client, words, schema)
        view = live_view(context, Board(f"prediction of {self._model}", total=1))
        async with view:
            self._is_sent = True
            created = await predictions.create(self._model, inputs, fallback_selector=fallback_selector, reconcile=True)
            name = self._identity = created.id
            view.started(name)
            return await predictions.wait(
                created, timeout_s=timeout_s or FOREVER_S, on_update=lambda now: view.updated(name, now)
            )

    def _say_what_still_runs(self) -> None:
        if self._identity is not None:
            get = related_command(self._context, "predictions", "get", self._identity)
            cancel = related_command(self._context, "predictions", "cancel", self._identity)
            self._context.warn(f"still running: {self._identity}\nlook at it with: {get}\ncancel it with: {cancel}")
        elif self._is_sent:
            listed = related_command(self._context, "executions", "list", "--model", self._model, "--since", "10min")
            self._context.warn(f"stopped while it was being started: it may run\nlook for it with: {listed}")
