"""`eachlabs files`: upload files for models, download results, delete uploads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import unquote, urlsplit

from cyclopts import App, Parameter

from ..context import Context
from ..failures import UsageError
from .options import Ids, Injected

app: Final = App(name="files", help="Files for models and from them.")

_FALLBACK_NAME: Final = "download"


@app.command
async def upload(
    path: Annotated[Path, Parameter(help="A file of up to 100 MB.")],
    /,
    *,
    content_type: Annotated[str | None, Parameter(help="Default: guessed from the name.")] = None,
    file_type: Literal["image", "video", "audio", "other"] | None = None,
    expires_in_seconds: Annotated[int | None, Parameter(help="How long it is kept. Default: 180 days.")] = None,
    context: Injected,
) -> None:
    """Upload a file and show its URL (unified edition)."""
    from ...codec.strict import to_dict
    from ...records import UploadedFile
    from ..output.fields import view_of

    given: Context = context
    view = view_of(UploadedFile)
    given.view(view)
    async with given.client() as client:
        with given.progress(path.name, "bytes") as progress:
            uploaded = await client.files.upload(
                path,
                content_type,
                file_type,
                expires_in_seconds=expires_in_seconds,
                on_progress=lambda done, total: progress.update(done, total),
            )
        given.record(to_dict(uploaded), view)


@app.command
async def download(
    url: Annotated[str, Parameter(help="A result's URL, or any other.")],
    path: Annotated[
        Path | None, Parameter(help="Where to, a file or a folder. Default: the name in the URL, here.")
    ] = None,
    /,
    *,
    force: Annotated[bool, Parameter(help="Replace a file that is there.", show_default=False)] = False,
    context: Injected,
) -> None:
    """Download a file. It appears when it is whole, and no key is sent."""
    from ...codec.strict import to_dict
    from ...records import DownloadedFile
    from ..output.fields import view_of

    given: Context = context
    view = view_of(DownloadedFile)
    given.view(view)
    target = target_of(url, path)
    if target.exists() and not force:
        raise UsageError(f"{target} exists: choose another PATH, or pass --force to replace it")
    async with given.client() as client:
        with given.progress(target.name, "bytes") as progress:
            done = await client.files.download(
                url, target, on_progress=lambda done, total: progress.update(done, total)
            )
        given.record(to_dict(done), view)


def target_of(url: str, path: Path | None) -> Path:
    """Return where a download goes: the path, or the name in the URL, in a folder that was given or here."""
    if path is not None and not path.is_dir():
        return path
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    # The name is the service's: it names a file in this folder, and no hidden one.
    safe = "".join(char if char.isprintable() and char not in '/\\:*?"<>|' else "_" for char in name).lstrip(".")
    return (path or Path()) / (safe[:150] or _FALLBACK_NAME)


@app.command
async def delete(ids: Ids, /, *, context: Injected) -> int:
    """Delete uploaded files by id (unified edition). A file that is gone already is no error."""
    from ..each import print_each

    given: Context = context
    async with given.client() as client:
        return await print_each(given, ids, client.files.delete, None)
