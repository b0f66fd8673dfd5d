"""How rows and records are printed: as a table, JSON, JSON Lines or CSV, with the fields that were asked for."""
