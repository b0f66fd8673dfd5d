"""Listings and bulk fetches as Dask DataFrames, read by the workers of a cluster (the extra `dask`).

from dask.distributed import Client
from eachlabs_async.dask import EachLabsPlugin, executions

cluster = Client("tcp://scheduler:8786")
cluster.register_plugin(EachLabsPlugin())  # the key is EACHLABS_API_KEY in the environment of the workers
frame = executions("2026-01-01T00:00:00Z", "2026-07-01T00:00:00Z", status="success")
print(frame.groupby("model").execution_cost.sum().compute())
"""

from __future__ import annotations

from importlib import import_module

try:
    for _name in ("dask.dataframe", "distributed", "pyarrow"):
        import_module(_name)
except ImportError as error:
    raise ImportError(f'eachlabs_async.dask needs Dask ({error}): pip install "eachlabs-async[dask]"') from None

from .frames import executions as executions
from .outcome_frames import fetch_many as fetch_many
from .worker_plugin import EachLabsPlugin as EachLabsPlugin

__all__ = ["EachLabsPlugin", "executions", "fetch_many"]
