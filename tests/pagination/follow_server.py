"""A service of executions that shares no code with the package, in a process of its own, with its own account.

Executions are created all the time, appear late and out of order, and end. The listing is by offset (v1) and by cursor
(v2). Requests fail now and then, and at times all of them do. Run as a script with options as JSON, it prints its port
and when it began. `/account` tells what happened. It ends with its standard input.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

OPTIONS: dict[str, Any] = {}
ROWS: list[dict[str, Any]] = []
COUNT = {"requests": 0, "failed": 0}
DICE = random.Random()
START = 0.0


def text_of(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds_of(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def make_rows() -> None:
    """Plan all executions: when each is created, becomes visible, and ends."""
    for number in range(OPTIONS["rows"]):
        created = round(START - OPTIONS["before_s"] + DICE.random() * (OPTIONS["seconds"] + OPTIONS["before_s"]), 3)
        slow = DICE.random() < 0.1
        ROWS.append(
            {
                "id": f"execution-{number}",
                "created": created,
                "text": text_of(created),
                "appears": created + DICE.choice([0.0, 0.0, DICE.random() * OPTIONS["late_s"]]),
                "ends": created + DICE.random() * (OPTIONS["slow_s"] if slow else OPTIONS["run_s"]),
                "fails": DICE.random() < 0.2,
            }
        )
    # Newest first; several share a millisecond.
    ROWS.sort(key=lambda row: row["created"], reverse=True)


def listed(now: float, query: dict[str, str]) -> list[dict[str, Any]]:
    since = seconds_of(query["from"]) if query.get("from") else 0.0
    until = seconds_of(query["to"]) if query.get("to") else now
    words = query["status"].split(",") if query.get("status") else None
    found: list[dict[str, Any]] = []
    for row in ROWS:
        if row["appears"] > now or not since <= row["created"] <= until:
            continue
        status = ("error" if row["fails"] else "success") if row["ends"] <= now else "starting"
        if words is None or status in words:
            found.append({**row, "status": status})
    return found


def written(row: dict[str, Any]) -> dict[str, Any]:
    ended = row["status"] != "starting"
    return {
        "id": row["id"],
        "model": "a-model",
        "status": row["status"],
        "created_at": row["text"],
        "completed_at": text_of(row["ends"]) if ended else None,
        "execution_cost": 0.5 if ended else 0,
    }


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # One answer is one segment.
    disable_nagle_algorithm = True

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Write nothing."""

    def handle(self) -> None:
        """Serve requests until the client leaves, which it may do before it has read an answer."""
        with suppress(ConnectionError):
            super().handle()

    def reply(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self) -> None:
        """Serve a listing, or the account."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        now = time.time()
        if parts.path == "/account":
            names = {row["id"]: [row["created"], row["appears"], row["ends"], row["fails"]] for row in ROWS}
            self.reply(200, {"rows": names, **COUNT})
            return
        COUNT["requests"] += 1
        down = any(start <= now - START < end for start, end in OPTIONS["outages"])
        if down or DICE.random() < OPTIONS["faults"]:
            COUNT["failed"] += 1
            self.reply(503, {"error": "down"})
            return
        limit = int(query.get("limit", "20"))
        rows = listed(now, query)
        if parts.path == "/v2/executions":
            cursor = query.get("cursor")
            if cursor:  # A cursor is the last row of the page before, if it is still in the listing.
                at = next((at for at, row in enumerate(rows) if row["id"] == cursor), None)
                if at is None:
                    self.reply(400, {"error": "the cursor has expired"})
                    return
                rows = rows[at + 1 :]
            page = rows[:limit]
            more = len(rows) > limit
            last = page[-1]["id"] if more else None
            self.reply(
                200,
                {"executions": [written(row) for row in page], "limit": limit, "has_more": more, "next_cursor": last},
            )
        elif parts.path == "/v1/executions":
            offset = int(query.get("offset", "0"))
            if offset > 1000 - limit:
                self.reply(400, {"error": "V1 execution pagination is limited to 1000 rows; use GET /v2/executions"})
                return
            page = rows[offset : offset + limit]
            total = {"total_count": len(rows), "total_capped": False}
            self.reply(200, {"executions": [written(row) for row in page], "offset": offset, "limit": limit, **total})
        else:
            self.reply(404, {"error": "no such path"})


def main() -> None:
    global START
    OPTIONS.update(json.loads(sys.argv[1]))
    DICE.seed(OPTIONS["seed"])
    START = time.time()
    make_rows()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps([server.server_address[1], START]), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
