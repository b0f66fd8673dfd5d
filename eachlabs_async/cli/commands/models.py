"""`eachlabs models`: models, their inputs and their prices. They need no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ..context import Context
from .options import Injected, Limit, Resume

if TYPE_CHECKING:
    from ..output.fields import View

app: Final = App(name="models", help="Models with their inputs and prices (no key needed).")

Slug = Annotated[str, Parameter(help="The slug of a model, as `models list` shows it.")]


def models_view() -> View:
    """Return the fields of a model and the columns of its table."""
    from ...records import Model
    from ..output.fields import view_of

    return view_of(
        Model, ("slug", "slug"), ("title", "title"), ("output_type", "output"), ("version", "version"), id_field="slug"
    )


@app.command(name="list")
async def list_(
    *,
    name: Annotated[str | None, Parameter(help="Only models with this text in their name.")] = None,
    limit: Limit = None,
    resume: Resume = None,
    context: Injected,
) -> int:
    """List models."""
    from ..walk import print_listing

    given: Context = context
    async with given.client() as client:
        return await print_listing(
            given,
            lambda walk: client.models.list(name=name, **walk),
            models_view(),
            title="models",
            limit=limit,
            resume=resume,
        )


@app.command
async def show(slug: Slug, /, *, context: Injected) -> None:
    """Show one model with its inputs and its price."""
    from ...codec.strict import to_dict

    given: Context = context
    view = models_view()
    given.view(view)
    async with given.client() as client:
        given.record(to_dict(await client.models.get(slug)), view)


@app.command
async def schema(
    slug: Slug,
    /,
    *,
    document: Annotated[
        bool, Parameter(help="The whole OpenAPI document, not only the inputs.", show_default=False)
    ] = False,
    context: Injected,
) -> None:
    """Print the JSON Schema of a model's inputs; a document of JSON in every format."""
    from ..failures import CommandError

    given: Context = context
    async with given.client() as client:
        found = await client.models.schema(slug)
    value = found.document if document else found.input_schema
    if value is None:
        raise CommandError("the model's document has no inputs that can be told: --document prints all of it")
    given.document(value)
