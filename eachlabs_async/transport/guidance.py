"""Tell at usual slips what to write instead: `for` for `async for`, `with` for `async with`, a misspelt name.

The methods here run only after a slip. Type checkers do not see them, and report each slip by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the end of an error message about an unknown name: the known name that is most like it, if any."""
    from difflib import get_close_matches  # only after a slip, because importing it takes time

    close = get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]!r}?" if close else ""


class NamesGuide:
    """Says at an unknown attribute which one was meant. `_instead` has the sentences for names that others have."""

    __slots__ = ()

    _instead: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_"):
                known = [one for one in dir(type(self)) if not one.startswith("_")]
                known += [one for one in getattr(self, "__dict__", ()) if not one.startswith("_")]
                instead = self._instead.get(name)
                text += f": {instead}" if instead else did_you_mean(name, known)
            raise AttributeError(text, name=name, obj=self)


class WithGuide:
    """Says at `with` that the object needs `async with`."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise TypeError(f"use `async with` for {_kind(self)}, not `with`")

        def __exit__(self, *details: object) -> None:
            """`with` asks for this method first."""


class AsyncForGuide(WithGuide):
    """Says at `for`, `await`, `len` and an index that the object needs `async for`."""

    __slots__ = ()

    if not TYPE_CHECKING:

        def __getitem__(self, index: object) -> NoReturn:
            # `for` asks for this method too. With an `__iter__`, the object would count as an `Iterable`.
            raise TypeError(f"use `async for` for {_kind(self)}, or `await ....collect()`, not `for` or an index")

        def __await__(self) -> NoReturn:
            raise TypeError(f"use `async for` for {_kind(self)}, or `await ....collect()`; it cannot be awaited itself")

        def __len__(self) -> NoReturn:
            raise TypeError(f"{_kind(self)} has no length before it is read: use `await ....collect()` first")

        def __bool__(self) -> bool:
            return True  # or Python would ask for the length


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
