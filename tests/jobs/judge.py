"""An account in a process of its own that judges maps; it shares no code with the package.

It counts a bill per input, reserves an estimate for each running execution (402), blocks a burst of starts (429) until
no creating request has come for a while, and records every creating request that comes during a block. The first line
on stdout is its port; `GET /verdict` returns what it saw. It uses the standard library only and serves the calls of the
unified edition that a map makes.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Account:
    def __init__(self, rules: dict[str, Any]) -> None:
        self.rules = rules
        self.chance = random.Random(rules.get("seed", 1))
        self.balance: float = rules.get("balance", 1e9)
        self.executions: dict[str, dict[str, Any]] = {}
        self.bills: Counter[str] = Counter()
        self.starts: list[float] = []
        self.blocked_since = 0.0
        self.blocked_until = 0.0
        self.creating: list[float] = []
        self.during_block: list[float] = []
        self.answers: Counter[int] = Counter()
        self.most_running = 0

    def settle(self, now: float) -> list[dict[str, Any]]:
        """End the executions that are due, and return those that still run."""
        running: list[dict[str, Any]] = []
        for one in self.executions.values():
            if one["status"] == "running" and one["ends"] <= now:
                one["status"] = "completed"
                self.balance -= self.rules["cost"]
            if one["status"] == "running":
                running.append(one)
        return running

    def refusal(self, wanted: int, now: float) -> tuple[int, Any] | None:
        running = len(self.settle(now))
        if now < self.blocked_until:
            self.during_block.append(now - self.blocked_since)
            self.blocked_until = now + self.rules["silence"]
            return 429, {"error": self.rules["words"], "status": 429}
        self.starts = [at for at in self.starts if at > now - self.rules["burst_s"]]
        if len(self.starts) + wanted > self.rules["burst"]:
            self.blocked_since, self.blocked_until = now, now + self.rules["silence"]
            return 429, {"error": self.rules["words"], "status": 429}
        reserved = running * self.rules["estimate"]
        if reserved + wanted * self.rules["estimate"] > self.balance:
            details = {"reserved_usd": reserved, "available_usd": self.balance - reserved}
            return 402, {"error": "balance too low", "status": 402, "details": details}
        return None

    def start(self, inputs: Any, now: float) -> str:
        identity = f"00000000-0000-4000-8000-{len(self.executions):012d}"
        ends = now + self.chance.uniform(*self.rules["takes_s"])
        self.executions[identity] = {"id": identity, "inputs": inputs, "status": "running", "ends": ends, "at": now}
        self.bills[json.dumps(inputs, sort_keys=True)] += 1
        self.starts.append(now)
        self.most_running = max(self.most_running, len(self.settle(now)))
        return identity

    def row(self, one: dict[str, Any]) -> dict[str, Any]:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - time.monotonic() + one["at"]))
        return {
            "execution_id": one["id"],
            "workflow_id": "w",
            "version_id": "v",
            "status": one["status"],
            "created_at": at,
            "inputs": one["inputs"],
        }

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Any]:
        url, now = urlsplit(target), time.monotonic()
        parts = url.path.removeprefix("/v1/").split("/")
        if parts == ["verdict"]:
            return 200, self.verdict(now)
        if method == "POST" and parts == ["prediction"]:
            self.creating.append(now)
            refused = self.refusal(1, now)
            done = {"status": "success", "message": "", "predictionID": ""}
            return refused or (200, {**done, "predictionID": self.start(body["input"], now)})
        if method == "POST" and parts[:2] == ["workflows", "bulk-trigger"]:
            self.creating.append(now)
            refused = self.refusal(len(body["inputs"]), now)
            if refused is not None:
                return refused
            queued = [{"execution_id": self.start(one, now), "status": "queued"} for one in body["inputs"]]
            return 202, {"bulk_id": "b", "executions": queued}
        self.settle(now)
        if parts[0] == "prediction":
            one = self.executions[parts[1]]
            status = "success" if one["status"] == "completed" else "processing"
            return 200, {"id": one["id"], "status": status, "input": one["inputs"]}
        if parts[:2] == ["workflows", "executions"]:
            return 200, self.row(self.executions[parts[2]])
        if parts[0] == "workflows" and parts[-1] == "executions":
            query = {name: int(value[0]) for name, value in parse_qs(url.query).items()}
            limit, offset = query.get("limit", 50), query.get("offset", 0)
            rows = [self.row(one) for one in reversed(self.executions.values())]
            page = rows[offset : offset + limit]
            return 200, {"executions": page, "limit": limit, "total_count": len(rows)}
        return 404, {"error": "not found"}

    def verdict(self, now: float) -> dict[str, Any]:
        return {
            "bills": dict(self.bills),
            "running": len(self.settle(now)),
            "creating": len(self.creating),
            "gaps": [later - earlier for earlier, later in zip(self.creating, self.creating[1:], strict=False)],
            "during_block": self.during_block,
            "answers": {str(status): count for status, count in self.answers.items()},
            "most_running": self.most_running,
        }


async def main() -> None:
    account = Account(json.loads(sys.argv[1]))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
                raw = await reader.readexactly(int(headers.get("content-length", "0")))
                method, target, _ = line.split(" ")
                status, said = account.answer(method, target, json.loads(raw) if raw else None)
                account.answers[status] += target != "/v1/verdict"
                body = json.dumps(said).encode()
                writer.write(b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n" % status)
                writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
