from __future__ import annotations

from simulator import History

from eachlabs_async.pagination.engine import Answer, Engine


class Driven(Engine):
    def take(self, request, served):
        taken = super().take(request, Answer(*served))
        return taken


def make(history: History, checkpoint):
    return Driven(
        dialect="page" if history.by_number else "offset", start=history.start, limit=history.limit, drift=history.drift, resume=checkpoint
    )
