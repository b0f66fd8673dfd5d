"""backoff's `on_exception`, which also works where asyncio has no `iscoroutinefunction`.

backoff 2.2.1, the last release, asks `asyncio.iscoroutinefunction`. Python 3.14 deprecates it, and 3.16 removes it. The
two modules of backoff that ask are loaded a second time here, with an `asyncio` that asks `inspect` instead. Neither
asyncio nor the backoff of others is changed.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib.util import find_spec, module_from_spec
from typing import Any, Final

import backoff


class _Asyncio:
    """asyncio with the `iscoroutinefunction` of `inspect`."""

    iscoroutinefunction = staticmethod(inspect.iscoroutinefunction)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


def _copy_of(name: str, **names: object) -> Any:
    """Load a module of backoff once more, with other values of some of its global names."""
    spec = find_spec(f"{backoff.__name__}.{name}")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(names)
    return module


on_exception: Final[Any] = _copy_of(
    "_decorator", asyncio=_Asyncio(), _async=_copy_of("_async", asyncio=_Asyncio())
).on_exception
