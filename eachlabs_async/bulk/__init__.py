"""Fetch many ids at once: the fetch, the window of ids in flight, the workers and the outcomes."""
