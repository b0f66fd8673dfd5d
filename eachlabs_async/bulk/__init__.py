"""Many ids at once: the fetch, the window of ids under way, its workers, outcomes."""
