"""Files of SQLite: opened, checked, locked, and used in a thread, for the journal of a map and the archive."""
