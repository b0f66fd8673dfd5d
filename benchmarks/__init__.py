"""Measures the package against what one would write by hand, and against other clients.

    python -m benchmarks [names...] [--json FILE] [--quick] [--peers]

Every figure is a ratio within one run beside the absolute microseconds: only ratios travel between machines.
To see where the time goes: `pip install py-spy`, then
`py-spy record -r 500 -f speedscope -o bulk.json -- python -m benchmarks bulk --quick`.
The server is another process on another core, with answers encoded beforehand; the client's time is compared.
"""
