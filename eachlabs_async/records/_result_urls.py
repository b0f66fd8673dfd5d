"""The result URLs in the outputs of jobs. `files.download` fetches them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

from ._state import HasStatus, State, read_state

_URL: Final = re.compile(r"https?://[^\s\x00-\x1f\x7f<>\"`\\]+", re.IGNORECASE)


def result_urls(*outputs: Any) -> tuple[str, ...]:
    """Return the http(s) URLs in some outputs, in order and each once.

    An output is a string, an array or an object, nested to any depth; JSON inside a string is read too. A string counts
    only if all of it is a URL: a URL within a sentence was not made by the model.
    """
    return tuple(dict.fromkeys(url for output in outputs for url in _urls_in(output)))


def _urls_in(output: object) -> Iterator[str]:
    # Not recursive: an output that could be parsed must not fail here because of its depth.
    todo: list[object] = [output]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo.extend(reversed(cast("dict[str, object]", item).values()))
        elif isinstance(item, list):
            todo.extend(reversed(cast("list[object]", item)))
        elif isinstance(item, str):
            text = item.strip()
            if _is_url(text):
                yield text
            elif text[:1] in ("{", "[", '"'):
                todo.append(_parsed(text))


def _is_url(text: str) -> bool:
    if _URL.fullmatch(text) is None:
        return False
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class _HasOutput(HasStatus, Protocol):
    @property
    def output(self) -> Any:
        """The output, in any form."""
        ...


class _HasBothOutputs(_HasOutput, Protocol):
    @property
    def output_json(self) -> Any:
        """The same output as an object."""
        ...


def has_failed(record: HasStatus) -> bool:
    """Whether a job failed. Its output then describes the failure."""
    return read_state(record.status) is State.FAILED


class OutputUrls:
    """Mixin: the result URLs of a record with an `output`. It has no fields, like `Stateful`."""

    __slots__ = ()

    @property
    def urls(self: _HasOutput) -> tuple[str, ...]:
        """The result URLs in `output`, in order and each once; empty if there are none, and after a failure."""
        return () if has_failed(self) else result_urls(self.output)


class OutputJsonUrls:
    """Mixin: the result URLs of a record with its output as text and as an object. It has no fields."""

    __slots__ = ()

    @property
    def urls(self: _HasBothOutputs) -> tuple[str, ...]:
        """The result URLs in `output`, then those in `output_json`, each once; empty after a failure."""
        return () if has_failed(self) else result_urls(self.output, self.output_json)
