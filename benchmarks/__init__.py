"""Benchmarks of the package against hand-written code and other clients.

    python -m benchmarks [names...] [--json FILE] [--quick] [--peers]

Every figure is given as microseconds and as a ratio within the run. Only ratios are comparable between machines. The
server is another process on another core, with responses encoded beforehand; it is the client's time that is compared.

To profile the client: `pip install py-spy`, then `py-spy record -r 500 -f speedscope -o bulk.json -- python -m
benchmarks bulk --quick`.
"""
