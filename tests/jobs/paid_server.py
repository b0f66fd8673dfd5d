"""A paid service in a process of its own that judges what a client does; it shares no code with the package.

Start it with `python paid_server.py '{"seed": 1, "listing_lag_s": [0, 0.1]}'` (all rules: `RULES` below); the first
line on stdout is its port. It serves the unified edition's calls of predictions, triggers and listings below `/v1`. The
key of a client is its name: bills are kept for each name and each input. The state lives in this process, so a client
may be killed and started again. An execution states the `price` of its inputs as its cost. `GET /verdict` returns
what was executed, `POST /control` changes the rules:
`{"rules": {..}}` replaces some, `{"faults": [..]}` appends faults, `{"foreign": {"kind", "inputs", "bulk"?, "ago_s"?,
"name"?}}` creates executions of another client, `{"down_s": 1}` resets every connection and answers 503 for so long,
like a restart. `paid_jobs.paid()` starts one for a test.

A fault is met by the next creating requests whose body contains `when`: `{"act", "when"?, "skip"?, "times"?, "s"?}`.
The acts: `lose` (execute, and close the connection after `s` seconds), `lose_before` (close it after `s` seconds
without executing), `delay` (execute at once and answer after `s` seconds), `late` (execute `s` seconds after the
connection was closed), `short` (leave the first entry out of a bulk answer), `reverse` (reverse its entries), `claimed`
(answer with the id of the first execution). Rules `lose`, `lose_before`, `short`, `reverse` and `delay` are
probabilities of the same acts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

RULES: dict[str, Any] = {
    "seed": 1,
    "takes_s": [0.01, 0.05],
    "listing_lag_s": [0.0, 0.0],  # after its creation, until a listing shows an execution
    "detail_late_s": [0.0, 0.0],  # after its creation, until an execution can be read; 404 before
    "detail_lag_s": [0.0, 0.0],  # after its end, while an execution that is read still says that it runs
    "defaults": {},  # added to the inputs where they are not given
    "omit_inputs": 0.0,  # probability that the rows of an execution have no inputs in listings
    "omit_in_detail": 0.0,  # probability that an execution that is read has no inputs
    "skew_s": 0.0,  # of the service's clock
    "created_at": True,  # whether rows have it
    "whole_seconds": False,  # whether times have no fractions
    "cap": 0,  # executions at once, of all clients; 0 for no limit
    "lose": 0.0,
    "lose_before": 0.0,
    "short": 0.0,
    "reverse": 0.0,
    "delay": 0.0,
    "delay_s": [0.05, 0.3],
    "answer_s": [0.0, 0.0],  # how long each creating request takes
    "partial": "",  # the words with which the entries of a bulk that exceed the cap fail; otherwise the bulk is a 429
    "refuse": "",  # the name of a value for which the entries of a bulk are refused
    "others": 0,  # places of the cap that other clients hold
    "word": "",  # the status of what runs, if it is another word than usual
    "deny": 0,  # the status that answers all reading requests
    "hang": False,  # answer nothing any more
    "twins": 0.0,  # probability that another client sends the same at the same time
}


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


class PaidService:
    def __init__(self, rules: dict[str, Any]) -> None:
        self.rules = {**RULES, **rules}
        self.chance = random.Random(self.rules["seed"])
        self.faults: list[dict[str, Any]] = list(self.rules.get("faults", ()))
        self.executions: dict[str, dict[str, Any]] = {}
        self.requests: Counter[str] = Counter()
        self.log: list[tuple[str, str]] = []
        self.down_until = 0.0
        self.bulks = 0
        self.writers: set[asyncio.StreamWriter] = set()

    def some(self, name: str) -> float:
        return self.chance.uniform(*self.rules[name])

    def wall(self, at: float) -> float:
        return time.time() - time.monotonic() + at + self.rules["skew_s"]

    def stamp(self, at: float) -> str:
        moment = datetime.fromtimestamp(self.wall(at), UTC)
        if self.rules["whole_seconds"]:
            moment = moment.replace(microsecond=0)
        return moment.isoformat().replace("+00:00", "Z")

    # ---- executions

    def start(self, name: str, kind: str, place: str, given: Any, bulk: str | None = None, ago_s: float = 0.0) -> str:
        now = time.monotonic() - ago_s
        identity = f"00000000-0000-4000-8000-{len(self.executions):012d}"
        ends = now + self.some("takes_s")
        if isinstance(given.get("seconds"), int | float):
            ends = now + given["seconds"]
        self.executions[identity] = {
            "id": identity,
            "name": name,
            "kind": kind,
            "place": place,
            "given": given,
            "inputs": {**self.rules["defaults"], **given},
            "bulk": bulk,
            "at": now,
            "ends": ends,
            "listed": now + self.some("listing_lag_s"),
            "found": now + self.some("detail_late_s"),
            "told": ends + self.some("detail_lag_s"),
            "bare": self.chance.random() < self.rules["omit_inputs"],
            "bare_detail": self.chance.random() < self.rules["omit_in_detail"],
            "cancelled": False,
        }
        return identity

    def start_all(self, name: str, kind: str, place: str, inputs: list[Any], *, bulk: bool, ago_s: float = 0.0) -> Any:
        if bulk:
            self.bulks += 1
            bulk_id = f"00000000-0000-4000-9000-{self.bulks:012d}"
        else:
            bulk_id = None
        return bulk_id, [self.start(name, kind, place, one, bulk_id, ago_s) for one in inputs]

    def running(self) -> int:
        now = time.monotonic()
        ours = sum(one["ends"] > now and not one["cancelled"] for one in self.executions.values())
        return int(ours + self.rules["others"])

    def status(self, one: dict[str, Any], *, detail: bool) -> str:
        if one["cancelled"]:
            return "cancelled"
        done = time.monotonic() >= (one["told"] if detail else one["ends"])
        failed = bool(one["given"].get("fail"))
        if not done and self.rules["word"]:
            return str(self.rules["word"])
        if one["kind"] == "workflow":
            return "running" if not done else "failed" if failed else "completed"
        return "processing" if not done else "error" if failed else "success"

    def detail(self, one: dict[str, Any]) -> dict[str, Any]:
        status = self.status(one, detail=True)
        inputs = None if one["bare_detail"] else one["inputs"]
        output = {"of": one["given"]} if status in ("completed", "success") else None
        price = one["given"].get("price") if status not in ("running", "processing") else None
        if one["kind"] == "prediction":
            found = {"id": one["id"], "status": status, "input": inputs, "output": output}
            return found if price is None else {**found, "metrics": {"cost": price}}
        found = {"execution_id": one["id"], "workflow_id": one["place"], "version_id": "v", "status": status}
        found |= {"output": output, "started_at": self.stamp(one["at"])}
        if inputs is not None:
            found["inputs"] = inputs
        if price is not None:
            found["total_cost"] = price
        if one["bulk"] is not None:
            found["bulk_id"] = one["bulk"]
        return found

    def row(self, one: dict[str, Any]) -> dict[str, Any]:
        row = {"status": self.status(one, detail=False)}
        if self.rules["created_at"]:
            row["created_at"] = self.stamp(one["at"])
        if one["kind"] == "workflow":
            row |= {"execution_id": one["id"], "flow_id": one["place"], "version_id": "v"}
            return row if one["bare"] else {**row, "inputs": one["inputs"]}
        return {**row, "id": one["id"], "model": one["place"], "workflow_id": None, "execution_cost": 0.1}

    def listed(self, kind: str, place: str | None, query: dict[str, str]) -> list[dict[str, Any]]:
        now = time.monotonic()
        found = [
            one
            for one in self.executions.values()
            if one["kind"] == kind and one["listed"] <= now and place in (None, one["place"])
        ]
        if "bulk_id" in query:
            found = [one for one in found if one["bulk"] == query["bulk_id"]]
        for name, sign in (("from", 1), ("to", -1)):
            if name in query:
                edge = datetime.fromisoformat(query[name]).timestamp()
                found = [one for one in found if sign * (self.wall(one["at"]) - edge) >= 0]
        return [self.row(one) for one in sorted(found, key=lambda one: (-one["at"], one["id"]))]

    # ---- requests

    def fault(self, text: str) -> dict[str, Any]:
        for fault in self.faults:
            if fault.get("when", "") in text:
                if fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                    continue
                fault["times"] = fault.get("times", 1) - 1
                if fault["times"] <= 0:
                    self.faults.remove(fault)
                return fault
        for act in ("lose", "lose_before", "short", "reverse", "delay"):
            if self.chance.random() < self.rules[act]:
                return {"act": act, "s": self.some("delay_s")}
        return {"act": ""}

    async def create(self, name: str, parts: list[str], body: Any) -> tuple[int, Any] | None:
        """Execute what a request asks for and return the answer, or None if the connection is to be closed."""
        bulk = "bulk-trigger" in parts
        if parts[0] == "prediction":
            kind, place, inputs = "prediction", body["model"], [body["input"]]
        else:
            kind, place, inputs = "workflow", parts[2], body["inputs"] if bulk else [body["inputs"]]
        fault = self.fault(canonical(body))
        act = fault["act"]
        if act == "lose_before":
            await asyncio.sleep(fault.get("s", 0.0))
            return None
        room = self.rules["cap"] - self.running() if self.rules["cap"] else len(inputs)
        refused = inputs[max(room, 0) :] if self.rules["partial"] and bulk else []
        inputs = inputs[: len(inputs) - len(refused)]
        if not refused and len(inputs) > room:
            return 429, {"error": "concurrent execution limit reached", "details": {"limit": self.rules["cap"]}}
        if self.chance.random() < self.rules["twins"]:
            self.start_all("twin", kind, place, inputs, bulk=bulk)
        if act == "late":
            later = asyncio.get_running_loop().call_later
            later(fault["s"], lambda: self.start_all(name, kind, place, inputs, bulk=bulk))
            return None
        bad = [number for number, one in enumerate(inputs) if bulk and self.rules["refuse"] in one]
        good = [one for number, one in enumerate(inputs) if number not in bad]
        bulk_id, ids = self.start_all(name, kind, place, good, bulk=bulk)
        await asyncio.sleep(fault.get("s", 0.0) if act in ("delay", "lose") else self.some("answer_s"))
        if act == "lose":
            return None
        if act == "claimed":
            ids = [next(iter(self.executions)) for _ in ids]
        if parts == ["prediction", "run"]:
            one = self.executions[ids[0]]
            await asyncio.sleep(max(0.0, one["told"] - time.monotonic()))
            found = self.detail(one)
            return 200, {"predictionID": found.pop("id"), **found}
        if kind == "prediction":
            return 200, {"status": "success", "message": "", "predictionID": ids[0]}
        entries = [{"execution_id": one, "status": "queued"} for one in ids]
        if not bulk:
            return 202, entries[0]
        entries += [{"status": "failed", "message": self.rules["partial"]} for _ in refused]
        for number in bad:
            entries.insert(number, {"status": "failed", "message": f"input {number} is not acceptable"})
        if act == "short":
            entries = entries[1:]
        if act == "reverse":
            entries = entries[::-1]
        return 202, {"bulk_id": bulk_id, "executions": entries}

    def control(self, body: Any) -> None:
        self.rules |= body.get("rules", {})
        self.faults += body.get("faults", [])
        foreign = body.get("foreign")
        if foreign is not None:
            inputs = foreign["inputs"] if isinstance(foreign["inputs"], list) else [foreign["inputs"]]
            place = "w" if foreign["kind"] == "workflow" else "m"
            name, ago_s = foreign.get("name", "other"), foreign.get("ago_s", 0.0)
            self.start_all(name, foreign["kind"], place, inputs, bulk=foreign.get("bulk", False), ago_s=ago_s)
        if body.get("down_s"):
            self.down_until = time.monotonic() + body["down_s"]
            for writer in self.writers:
                writer.transport.abort()

    def read(self, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        if parts[-1] == "cancel" or (parts[0] == "prediction" and len(parts) == 2):
            one = self.executions.get(parts[1])
        elif parts[:2] == ["workflows", "executions"]:
            one = self.executions.get(parts[2])
        else:
            limit, offset = int(query.get("limit", 50)), int(query.get("offset", query.get("cursor", 0)))
            if parts[0] == "workflows":
                rows = self.listed("workflow", parts[1], query)
            else:
                rows = self.listed("prediction", query.get("model"), query)
            page, total = rows[offset : offset + limit], len(rows)
            found: dict[str, Any] = {"executions": page, "limit": limit, "total_count": total}
            if parts[0] == "executions":
                found |= {"offset": offset, "total_capped": False}
            if parts[0] == "cursor":
                more = offset + limit < total
                found = {"executions": page, "limit": limit, "has_more": more}
                found["next_cursor"] = str(offset + limit) if more else None
            return 200, found
        if one is None or time.monotonic() < one["found"]:
            return 404, {"error": "not found"}
        if parts[-1] == "cancel":
            one["cancelled"] = one["cancelled"] or self.status(one, detail=False) == "processing"
            return 200, {"status": "success", "message": "", "predictionID": one["id"]}
        return 200, self.detail(one)

    async def answer(self, name: str, method: str, target: str, body: Any) -> tuple[int, Any] | None:
        url = urlsplit(target)
        query = {key: value[0] for key, value in parse_qs(url.query).items()}
        if url.path == "/verdict":
            return 200, self.verdict()
        if url.path == "/control":
            self.control(body)
            return 200, {}
        parts = url.path.removeprefix("/v1/").split("/")
        if url.path == "/v2/executions":
            parts = ["cursor"]
        creates = method == "POST" and parts[-1] != "cancel"
        self.log.append((name, f"{method} {target}"))
        self.requests["creating" if creates else "reading"] += 1
        if self.rules["hang"]:
            await asyncio.sleep(3600)
        if time.monotonic() < self.down_until:
            return 503, {"error": "restarting"}
        if self.rules["deny"] and not creates:
            return int(self.rules["deny"]), {"error": "refused"}
        if creates:
            return await self.create(name, parts, body)
        return self.read(parts, query)

    def verdict(self) -> dict[str, Any]:
        """Return the bill of each client and input, every execution, and every request."""
        bills: dict[str, Counter[str]] = {}
        for one in self.executions.values():
            bills.setdefault(one["name"], Counter())[canonical(one["given"])] += 1
        shown = ("id", "name", "kind", "given", "bulk", "cancelled", "at", "ends", "listed", "found")
        executions = [{key: one[key] for key in shown} for one in self.executions.values()]
        return {
            "bills": bills,
            "executions": executions,
            "running": self.running(),
            "requests": self.requests,
            "log": self.log,
        }


async def main() -> None:
    service = PaidService(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        service.writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)}
                raw = await reader.readexactly(int(headers.get("content-length", "0")))
                method, target, _ = line.split(" ")
                name = headers.get("authorization", "").removeprefix("Bearer ")
                said = await service.answer(name, method, target, json.loads(raw) if raw else None)
                if said is None:
                    writer.transport.abort()
                    return
                body = json.dumps(said[1]).encode()
                date = formatdate(service.wall(time.monotonic()), usegmt=True)
                writer.write(b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\n" % said[0])
                writer.write(b"Date: %s\r\nContent-Length: %d\r\n\r\n%s" % (date.encode(), len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # The client left.
        finally:
            service.writers.discard(writer)
            with contextlib.suppress(ConnectionError):
                writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
