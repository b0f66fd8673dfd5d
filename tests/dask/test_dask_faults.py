"""Tests for lost workers and a lost scheduler, each on a cluster of its own, and for the package without Dask."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import IGNORED, KEY, SPAN, cluster
from distributed import Client

from eachlabs_async.dask import EachLabsPlugin, executions
from eachlabs_async.emulator import Emulator, Fault

pytestmark = IGNORED

ROOT = Path(__file__).parents[2]


def test_a_partition_of_a_killed_worker_is_read_again(emulator: Emulator) -> None:
    """No row is lost or doubled, and what the worker might request goes to the other one."""
    with cluster(2) as client:
        client.register_plugin(EachLabsPlugin(hosts=emulator.hosts, max_concurrency=4))
        emulator.faults.add(Fault.latency(0.03))
        frame = executions(*SPAN, partitions=6)
        pids = list(client.run(os.getpid).values())
        emulator.reset_counters()
        found = []
        computing = threading.Thread(target=lambda: found.append(frame.compute()))
        computing.start()
        while emulator.requests["executions.list"] < 12:
            time.sleep(0.005)
        os.kill(pids[0], signal.SIGKILL)
        computing.join()
        assert list(found[0].id)[::-1] == emulator.executions.ids()
        assert emulator.max_in_flight == 4
        emulator.reset_counters()
        assert len(executions(*SPAN, partitions=1).compute()) == 3000
        assert emulator.max_in_flight == 4, "the lease of the lost worker was divided"
        assert emulator.requests["executions.list"] >= 30


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of Python with the key of the emulator."""
    environment = {**os.environ, "EACHLABS_API_KEY": KEY, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()


BOTH = """
import time
from distributed import LocalCluster
cluster = LocalCluster(processes=False, n_workers=1, host="127.0.0.1", scheduler_port={port}, dashboard_address=":0")
time.sleep(600)
"""
"""A scheduler and a worker in one process."""


def test_a_frame_is_computed_again_after_the_scheduler_was_lost(emulator: Emulator) -> None:
    """The computation ends with Dask's error and the worker ends; another cluster reads the same frame."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    plugin = EachLabsPlugin(hosts=emulator.hosts)
    listen = ("--host", "127.0.0.1", "--no-dashboard")
    with (
        process("-m", "distributed.cli.dask_scheduler", "--port", str(port), *listen) as scheduler,
        process("-m", "distributed.cli.dask_worker", address, "--no-nanny", "--nthreads", "1", *listen) as worker,
        Client(address, timeout=60) as client,
    ):
        client.wait_for_workers(1, timeout=60)
        client.register_plugin(plugin)
        frame = executions(*SPAN, partitions=3)
        slow = emulator.faults.add(Fault.latency(1))
        emulator.reset_counters()
        future = client.compute(frame)
        while not emulator.requests["executions.list"]:
            time.sleep(0.01)
        scheduler.kill()
        with pytest.raises(CancelledError, match="scheduler"):
            future.result(timeout=30)
        assert worker.wait(timeout=60) is not None, "the worker ends, and with it its requests"
    emulator.faults.remove(slow)
    with process("-c", BOTH.format(port=port)), Client(address, timeout=60) as client:
        client.wait_for_workers(1, timeout=60)
        client.register_plugin(plugin)
        assert list(frame.compute().id)[::-1] == emulator.executions.ids()


def test_without_dask_the_package_is_as_before() -> None:
    """Its front imports nothing of Dask, and the module says how to get it."""
    code = """
import sys
import eachlabs_async
eachlabs_async.EachLabs("key"), eachlabs_async.errors
assert not {"dask", "distributed", "pandas", "pyarrow"} & set(sys.modules), sys.modules.keys()
for absent in ("dask", "dask.dataframe", "distributed"):
    sys.modules[absent] = None
try:
    import eachlabs_async.dask
except ImportError as error:
    assert 'pip install "eachlabs-async[dask]"' in str(error), error
else:
    raise AssertionError("it was imported")
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
