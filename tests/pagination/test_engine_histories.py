from __future__ import annotations

from simulator import History

from eachlabs_async.pagination.engine import Engine
from eachlabs_async.pagination.walk_values import Answer


class Driven(Engine):
    def requests(self, ahead):
        return super().requests()

    def accept(self, request, served):
        return super().accept(request, Answer(*served))


def make(history: History, checkpoint):
    return Driven(
        dialect="page" if history.by_number else "cursor" if history.by_cursor else "offset",
        depth=history.depth or None,
        start=history.start,
        limit=history.limit,
        drift=history.drift,
        look_ahead=history.ahead,
        resume=checkpoint,
    )
