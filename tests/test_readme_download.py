"""A test for the download of README that goes on after a kill: whenever it is killed, the file ends with the rows."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import re
import sys
from pathlib import Path

from eachlabs_async.emulator import Emulator, Fault

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
KILLS = 20
CHILD = """
import ast, asyncio, pickle, sys
from eachlabs_async import EachLabs
async def main(hosts, key, folder, source):
    async with EachLabs(key, hosts=hosts) as client:
        code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        await eval(code, {"client": client, "folder": folder})
asyncio.run(main(*pickle.loads(bytes.fromhex(sys.argv[1]))))
"""


async def run(emulator: Emulator, folder: Path, source: str, requests: int | None) -> int:
    """Run the recipe in a process that is killed a moment after it has sent so many requests; return its exit code."""
    text = pickle.dumps([emulator.hosts, emulator.api_key, folder, source]).hex()
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, text)
    waiting = asyncio.create_task(process.wait())
    before = emulator.requests.total()
    while not waiting.done():
        if requests is not None and emulator.requests.total() - before >= requests:
            await asyncio.sleep(random.random() * 0.01)
            process.kill()
            break
        await asyncio.sleep(0.0005)
    return await waiting


async def test_the_download_has_exactly_the_rows_after_twenty_kills(tmp_path: Path) -> None:
    """The processes are killed at any moment, by SIGKILL; the last one ends by itself, and another adds nothing."""
    source = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "place.json" in block)
    async with Emulator(20_000, workflow_executions=0, flow_executions=0, runs=0) as emulator:
        emulator.faults.add(Fault.latency(0.001, jitter=0.003))
        sizes: set[int] = set()
        for _ in range(KILLS):
            assert await run(emulator, tmp_path, source, random.randint(1, 8)) == -9
            place = tmp_path / "place.json"
            sizes.add(json.loads(place.read_text())["size"] if place.exists() else 0)
        assert len(sizes) > KILLS / 2, "it did not go on"
        for _ in range(2):
            assert await run(emulator, tmp_path, source, None) == 0
            lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
            assert [json.loads(line)["id"] for line in lines] == emulator.executions.ids()
