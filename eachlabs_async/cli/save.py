"""Save the result files of an execution in a folder, under names that cannot lead out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from ..errors import EachLabsError
from .context import Context
from .failures import UsageError, failure_of

if TYPE_CHECKING:
    from ..client import EachLabs

__all__ = ["check_folder", "file_name", "file_names", "save_results"]

_FALLBACK: Final = "result"
_LONGEST: Final = 150
_DEVICES: Final = frozenset({"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(10))})


def file_name(url: str) -> str:
    """Return the name of the file in a URL, as the name of a file in any folder: no path, and no hidden file."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    safe = "".join(char if char.isprintable() and char not in '/\\:*?"<>|' else "_" for char in name)
    safe = safe.lstrip(". ")
    stem, dot, suffix = safe.rpartition(".")
    if not dot:
        stem, suffix = safe, ""
    # A long name keeps its suffix, which says what the file is.
    suffix = suffix[:20]
    stem = stem[: _LONGEST - len(suffix)]
    while len(stem.encode()) > _LONGEST:
        stem = stem[:-1]
    safe = f"{stem}.{suffix}".rstrip(". ") if suffix else stem.rstrip(". ")
    if not safe:
        return _FALLBACK
    return f"_{safe}" if safe.partition(".")[0].lower() in _DEVICES else safe


def file_names(urls: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Return a name for each URL, none of them twice or `taken`: `image.png`, `image-2.png`."""
    # Where capitals make no difference, two names that differ only in them are one file.
    used = {name.casefold() for name in taken}
    found: list[str] = []
    for url in urls:
        name = file_name(url)
        stem, dot, suffix = name.rpartition(".")
        number = 2
        while name.casefold() in used:
            name = f"{stem}-{number}.{suffix}" if dot and stem else f"{file_name(url)}-{number}"
            number += 1
        used.add(name.casefold())
        found.append(name)
    return found


def check_folder(folder: Path) -> None:
    """Make the folder if it is not there. Raises `UsageError` if that cannot be done, before anything is paid for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--save: {folder}: {error.strerror or error}") from None


async def save_results(context: Context, client: EachLabs, urls: Sequence[str], folder: Path) -> int:
    """Download result files into a folder, and return how many could not be saved. No file is replaced."""
    failed = 0
    names = await asyncio.to_thread(lambda: file_names(urls, [path.name for path in folder.iterdir()]))
    for url, name in zip(urls, names, strict=True):
        try:
            with context.progress(name, "bytes") as progress:
                saved = await client.files.download(
                    url, folder / name, on_progress=lambda done, size: progress.update(done, size)
                )
        except (EachLabsError, ValueError, OSError) as error:
            failed += 1
            context.warn(f"eachlabs: {name} was not saved: {failure_of(error).text}")
        else:
            context.note(f"saved {saved.path} ({saved.size:,} bytes)")
    if not urls:
        context.note("the output has no result files")
    return failed
