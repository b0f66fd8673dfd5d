"""The fields of what is printed: all that a record class has, those of its table, and those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from ...transport.guidance import did_you_mean
from ..failures import UsageError

if TYPE_CHECKING:
    from ...codec.columns import Content as Content

_UNKNOWN_CONTENT: Final[Content] = "json"


@frozen
class TableColumn:
    """One column of a table: the field, its title, and whether it is the id, which is never cut.

    The values of a bar (`is_bar`) are from 0 to 1 and become as long as there is room. A narrow screen leaves out the
    columns of the highest `rank` first.
    """

    name: str
    title: str
    content: Content = "text"
    rank: int = 0
    is_id: bool = False
    is_bar: bool = False


@frozen
class View:
    """What is known of some rows before there is one: all their fields, and the columns of their table.

    `chosen` says that the fields were asked for, so that a table keeps all of them.
    """

    names: tuple[str, ...]
    contents: Mapping[str, Content] = field(factory=dict[str, "Content"])
    columns: tuple[TableColumn, ...] = ()
    chosen: bool = False

    def column(self, name: str) -> TableColumn:
        """Return the column of a field under its own name."""
        known = next((column for column in self.columns if column.name == name), None)
        is_id = known.is_id if known is not None else False
        return TableColumn(name, name, self.contents.get(name, _UNKNOWN_CONTENT), is_id=is_id)

    def selected(self, fields: Sequence[str] | None) -> View:
        """Return the view with only these fields, in this order. Raises `UsageError` for a field that there is not."""
        if not fields:
            return self
        for name in fields:
            if name not in self.names:
                hint = did_you_mean(name, self.names) or f": choose from {', '.join(self.names)}"
                raise UsageError(f"--fields: there is no field {name!r}{hint}")
        unique = tuple(dict.fromkeys(fields))
        return View(unique, self.contents, tuple(self.column(name) for name in unique), chosen=True)

    def take(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a row that the view has, in its order; None for one that the row lacks."""
        return {name: row.get(name) for name in self.names}


def view_of(kind: type[Any], *columns: tuple[str, str], id_field: str = "id") -> View:
    """Return the view of a record class, with its table's columns as pairs of field and title.

    The first columns stay the longest on a narrow screen, in the order in which they are given.
    """
    from ...codec.columns import columns_of  # only when a command runs: it loads the codec

    known = columns_of(kind)
    contents: dict[str, Content] = {column.name: column.content for column in known}
    shown = [
        TableColumn(name, title, contents[name], rank, name == id_field) for rank, (name, title) in enumerate(columns)
    ]
    return View(tuple(contents), contents, tuple(shown))


def view_of_names(names: Sequence[str], contents: Mapping[str, Content] | None = None) -> View:
    """Return the view of rows with these fields, all of them columns of the table."""
    known: dict[str, Content] = dict.fromkeys(names, "text")
    known.update(contents or {})
    columns = tuple(TableColumn(name, name, known[name], rank) for rank, name in enumerate(names))
    return View(tuple(names), known, columns)
