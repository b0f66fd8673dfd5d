"""Measures the package against what one would write by hand, and against other clients.

    python -m benchmarks [names...] [--json FILE] [--quick] [--peers]

Every figure is a ratio within one run beside the absolute microseconds: only ratios travel between machines.
The server is another process on another core, with answers encoded beforehand; the client's time is compared.
"""
