"""A kind of SQLite file: how it is marked in its header, and what is said about a file that cannot be used."""

from __future__ import annotations

import sqlite3

from attrs import frozen


@frozen(kw_only=True)
class FileKind:
    """One kind of file.

    `application_id` and `version` mark it in the header of SQLite. `name` is what errors call it, `user` who else can
    have it open, and `retry` what to do once the disk is in order. `other_version` is what to do about a file of
    another version.
    """

    name: str
    application_id: int
    version: int
    user: str
    retry: str
    other_version: str = "use another path"

    def why_unusable(self, error: sqlite3.Error) -> str:
        """Return why SQLite cannot use a file and what to do about it."""
        text = str(error)
        if "locked" in text or "busy" in text:
            return f"is in use: {self.user} has it open ({text}); wait until that one has ended, or use another path"
        if "full" in text:
            return f"cannot be written: the disk is full ({text}); free some space, then {self.retry}"
        if "readonly" in text:
            return (
                f"cannot be written: the file or its folder is read-only ({text}); make both writable, or use another "
                "path"
            )
        if "unable to open" in text:
            return f"cannot be opened ({text}); its folder must exist and be writable"
        if isinstance(error, sqlite3.OperationalError):
            return f"cannot be read or written ({text}); check the disk, then {self.retry}"
        return f"is not {'an' if self.name[0] in 'aeiou' else 'a'} {self.name}: {text}"

    def what_else(self, db: sqlite3.Connection) -> str:
        """Return what a file is if it is not of this kind and version, or an empty string; this only reads it."""
        db.execute("BEGIN")  # One look, while another process may create the tables.
        try:
            application, version = self._marks(db)
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            db.rollback()
        if application == self.application_id and version != self.version:
            return f"is of version {version}, not {self.version}: {self.other_version}"
        if application != self.application_id and (application or version or tables):
            return "is the database of another program: use another path"
        return ""

    def is_new(self, db: sqlite3.Connection) -> bool:
        """Whether a file is still empty, so that it has no schema."""
        return self._marks(db) == (0, 0)

    def mark(self) -> str:
        """Return the statements that mark a new file."""
        return f"PRAGMA application_id = {self.application_id};\nPRAGMA user_version = {self.version};\n"

    def _marks(self, db: sqlite3.Connection) -> tuple[int, int]:
        application, version = (
            int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
        )
        return application, version
