"""A server of executions that shares no code with the package, in a process of its own, with its own bookkeeping.

It lists them by offset and by cursor, as the service does since September 2026, with configurable faults.

Run as a script, it starts a server with rows of its own for each line of options on its standard input and prints the
port; a line with a port ends that server. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import functools
import hashlib
import json
import random
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

KEY = "the-key"
TOO_DEEP = "V1 execution pagination is limited to {} rows; use GET /v2/executions with cursor pagination"


def written(moment: float) -> str:
    text = (datetime.fromtimestamp(0, UTC) + timedelta(seconds=moment)).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


class Server:
    """The rows, newest first, and how they are listed."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.depth: int | None = options.get("depth", 1000)
        self.v1: bool = options.get("v1", True)
        self.v2: bool = options.get("v2", True)
        self.v2_auth: str = options.get("v2_auth", "any")
        self.fault_rate: float = options.get("fault_rate", 0.0)
        self.latency_s: float = options.get("latency_s", 0.0)
        self.inserts: int = options.get("inserts", 0)  # rows that enter at the top at each request
        self.deletes: int = options.get("deletes", 0)  # rows that vanish anywhere at each request
        self.cursor_life: int | None = options.get("cursor_life")  # requests
        self.inclusive: bool = options.get("inclusive", True)
        self.whole_seconds: bool = options.get("whole_seconds", False)  # times of the query are cut to seconds
        self.empty_every: int = options.get("empty_every", 0)  # every so many pages by cursor have no rows
        self.clamp: int | None = options.get("clamp")
        self.same_cursor: bool = options.get("same_cursor", False)
        self.ignores_to: bool = options.get("ignores_to", False)
        self.capped: bool = options.get("capped", False)
        self.shuffled: bool = options.get("shuffled", False)
        self.unreadable: list[int] = options.get("unreadable", [])  # numbers of rows with a time that does not exist
        self.untimed: bool = options.get("untimed", False)
        self.texts: dict[int, str] = {}
        self.dice = random.Random(options.get("seed", 1))
        self.now = options.get("now") or datetime.now(UTC).timestamp()
        self.made = 0
        # Ascending by (time, number), so that a time is found by bisection; listings read from the end.
        self.rows: list[tuple[float, int]] = []
        count, spacing = options.get("rows", 0), options.get("spacing_s", 20.0)
        ties, ties_at = options.get("ties", 0), options.get("ties_at", count // 2)
        moment = self.now - 1.0 - spacing * count
        for number in range(count):
            self.rows.append((round(moment, 6), self.made))
            self.made += 1
            if number == ties_at:
                self.rows += [(round(moment, 6), self.made + tie) for tie in range(ties)]
                self.made += ties
            moment += spacing * (0.5 + self.dice.random())
            moment = min(moment, self.now - 1.0)
        self.rows.sort()
        self.vanished: list[str] = []
        self.asked: Counter[str] = Counter()
        self.answered: Counter[int] = Counter()
        self.in_flight = self.most_in_flight = self.wrong_keys = 0
        self.issued: dict[str, int] = {}
        self.log: list[str] = []

    @staticmethod
    def identity(row: tuple[float, int]) -> str:
        return f"exec-{row[1]:08d}"

    def shown(self, rows: list[tuple[float, int]]) -> str:
        return f"[{','.join([self.texts.get(row[1]) or self.encoded(row) for row in rows])}]"

    def encoded(self, row: tuple[float, int]) -> str:
        shown = {
            "id": self.identity(row),
            "model": "flux-1-1-pro",
            "status": "success" if row[1] % 3 else "error",
            "execution_cost": 0.01,
            "run_time": 1.5,
            "created_at": None if self.untimed else written(row[0]),
            "output": None,
        }
        if row[1] in self.unreadable:
            shown["created_at"] = "0000-00-00T00:00:00Z"
        text = self.texts[row[1]] = json.dumps(shown)
        return text

    # ---- one request

    def move(self) -> None:
        for _ in range(self.inserts):
            self.now += 0.01
            self.rows.append((round(self.now, 6), self.made))
            self.made += 1
        for _ in range(min(self.deletes, len(self.rows))):
            gone = self.rows.pop(self.dice.randrange(len(self.rows)))
            self.vanished.append(self.identity(gone))

    def moment(self, text: str | None) -> float | None:
        if text is None:
            return None
        value = (datetime.fromisoformat(text) - datetime.fromtimestamp(0, UTC)).total_seconds()
        return float(int(value)) if self.whole_seconds else value

    def span(self, query: dict[str, str]) -> tuple[int, int]:
        """The rows of a query, as a range of the ascending list."""
        to = None if self.ignores_to else self.moment(query.get("to"))
        since = self.moment(query.get("from"))
        if since is None:
            since = (self.now if to is None else to) - 90 * 86400
        nudge = 4e-7 if self.inclusive else -4e-7  # less than a microsecond, and more than a float of today rounds
        low = bisect_left(self.rows, (since - nudge, -1))
        high = len(self.rows) if to is None else bisect_left(self.rows, (to + nudge, -1))
        return low, max(low, high)

    def keep(self, query: dict[str, str], row: tuple[float, int]) -> bool:
        status = query.get("status")
        return status is None or ("success" if row[1] % 3 else "error") in status.split(",")

    def by_offset(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        limit, offset = int(query.get("limit", 20)), int(query.get("offset", 0))
        if not 1 <= limit <= 100 or offset < 0:
            return 400, {"error": "invalid limit"}
        if self.depth is not None and offset > self.depth - limit:
            return 400, {"error": TOO_DEEP.format(self.depth)}
        low, high = self.span(query)
        applied = limit if self.clamp is None else min(limit, self.clamp)
        if "status" in query:
            found = [row for row in self.rows[low:high] if self.keep(query, row)]
            low, high, source = 0, len(found), found
        else:
            source = self.rows
        top = high - offset
        rows = source[max(low, top - applied) : max(low, top)][::-1]
        if self.shuffled:
            rows.sort(key=lambda row: hashlib.md5(str(row[1]).encode()).digest())
        total = high - low
        capped = self.capped and total > 100
        return 200, {
            "executions": rows,
            "total_count": 100 if capped else total,
            "total_capped": capped,
            "offset": offset,
            "limit": applied,
        }

    def by_cursor(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        limit = int(query.get("limit", 20))
        if not 1 <= limit <= 100:
            return 400, {"error": "invalid limit"}
        applied = limit if self.clamp is None else min(limit, self.clamp)
        bound = json.dumps([{name: query[name] for name in sorted(query) if name not in ("cursor", "limit")}, applied])
        low, high = self.span(query)
        cursor = query.get("cursor")
        if cursor is not None:
            age = sum(self.asked.values()) - self.issued.get(cursor, -(10**9))
            try:
                moment, number, for_what, _ = json.loads(base64.b64decode(cursor))
            except ValueError:
                return 400, {"error": "invalid cursor"}
            if for_what != bound or (self.cursor_life is not None and age > self.cursor_life):
                return 400, {"error": "invalid cursor"}
            high = min(high, bisect_left(self.rows, (moment, number)))
        wanted: list[tuple[float, int]] = []
        at = high
        empty = self.empty_every and self.asked["v2"] % self.empty_every == 0
        while at > low and len(wanted) < applied and not empty:
            at -= 1
            if self.keep(query, self.rows[at]):
                wanted.append(self.rows[at])
        more = at > low
        following = None
        if more:
            last = self.rows[at] if at < len(self.rows) else (self.now + 1e6, 0)
            following = base64.b64encode(json.dumps([*last, bound, self.asked["v2"]]).encode()).decode()
            if self.same_cursor and cursor is not None:
                following = cursor
            self.issued[following] = sum(self.asked.values())
        if self.shuffled:
            wanted.sort(key=lambda row: hashlib.md5(str(row[1]).encode()).digest())
        return 200, {
            "executions": wanted or None,
            "limit": applied,
            "has_more": more,
            "next_cursor": following,
        }

    def answer(self, path: str, query: dict[str, str], headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if path == "/account":
            return 200, {
                "asked": self.asked,
                "answered": {str(status): count for status, count in self.answered.items()},
                "most_in_flight": self.most_in_flight,
                "wrong_keys": self.wrong_keys,
                "ids": [self.identity(row) for row in reversed(self.rows)],
                "vanished": self.vanished,
                "log": self.log,
                "made": self.made,
            }
        if path == "/reset":
            self.asked.clear()
            self.answered.clear()
            self.log.clear()
            self.most_in_flight = 0
            for name, value in json.loads(query["set"]).items():
                setattr(self, name, value)
            return 200, {}
        name = {"/v1/executions": "v1", "/v2/executions": "v2"}.get(path)
        if name is None:
            return 404, {"error": "route not found"}
        self.asked[name] += 1
        self.log.append(f"{name} {json.dumps(query)}")
        self.move()
        if not getattr(self, name):
            return 404, {"error": "route not found"}
        bearer, plain = headers.get("authorization") == f"Bearer {KEY}", headers.get("x-api-key") == KEY
        if not (bearer or (plain and not (name == "v2" and self.v2_auth == "bearer"))):
            self.wrong_keys += 1
            return 401, {"error": "Invalid or missing API key"}
        if self.dice.random() < self.fault_rate:
            return self.dice.choice([500, 502, 503, 0]), {"error": "a fault"}
        if query.get("model") == "refused":
            return 400, {"error": "invalid model"}
        return self.by_offset(query) if name == "v1" else self.by_cursor(query)

    # ---- the wire

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from urllib.parse import parse_qsl, urlsplit

        try:
            while line := await reader.readline():
                target = line.decode().split()[1]
                headers: dict[str, str] = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                parts = urlsplit(target)
                listed = parts.path.endswith("/executions")
                self.in_flight += listed
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    if listed and self.latency_s:
                        await asyncio.sleep(self.latency_s)
                    status, body = self.answer(parts.path, dict(parse_qsl(parts.query)), headers)
                finally:
                    self.in_flight -= listed
                self.answered[status] += 1
                if status == 0:  # a connection that breaks in the middle of an answer
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                    break
                rows = body.pop("executions", ...)
                data = json.dumps(body).encode()
                if rows is not ...:
                    listing = "null" if rows is None else self.shown(rows)
                    data = f'{{"executions":{listing},{data[1:].decode()}'.encode()
                date = (datetime.fromtimestamp(0, UTC) + timedelta(seconds=self.now)).strftime(
                    "%a, %d %b %Y %H:%M:%S GMT"
                )
                head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
                writer.write(f"{head}Date: {date}\r\n\r\n".encode() + data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def main() -> None:
    servers: dict[int, asyncio.Server] = {}
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        options = json.loads(line)
        if isinstance(options, int):
            servers.pop(options).close()
            continue
        listening = await asyncio.start_server(Server(options).serve, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        servers[port] = listening
        print(port, flush=True)


@functools.cache
def process() -> subprocess.Popen[str]:
    """Start the process of the servers; all tests of this process share it, since each of them has its own server."""
    started = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(started.communicate)
    return started


def send(line: Any) -> subprocess.Popen[str]:
    servers = process()
    assert servers.stdin is not None
    servers.stdin.write(f"{json.dumps(line)}\n")
    servers.stdin.flush()
    return servers


def started_port(options: dict[str, Any]) -> int:
    servers = send(options)
    assert servers.stdout is not None
    return int(servers.stdout.readline())


class Running:
    """A server in another process, as a test sees it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, path: str) -> Any:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.get(self.url + path) as response:
            return await response.json()

    async def account(self) -> Any:
        return await self.get("/account")

    async def reset(self, **settings: Any) -> None:
        from urllib.parse import quote

        await self.get(f"/reset?set={quote(json.dumps(settings))}")


@asynccontextmanager
async def running(**options: Any) -> Any:
    port = await asyncio.to_thread(started_port, options)
    try:
        yield Running(port)
    finally:
        send(port)


if __name__ == "__main__":
    asyncio.run(main())
