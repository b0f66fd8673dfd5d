"""Downloads that broke off: what is there is kept only if it is of the same file, and what comes is what was asked for.

The storage here is written anew, on the raw server: it shares no code with the package or its emulator, and judges what
it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_server import ONCE, QUICK, Act, End, RawServer, RecordedRequest, answer, client_of, redirect

from eachlabs_async import RetryPolicy, Timeouts
from eachlabs_async.errors import APIConnectionError

DATA = bytes(range(256))[:60] + b"the end"
OLD = "Thu, 01 Jan 2026 00:00:00 GMT"
NOW = "Thu, 01 Jan 2026 00:00:10 GMT"
TAG = {"ETag": '"one"'}


class Storage:
    """Holds one file, breaks its answers off after as many bytes as `cuts` says, and keeps account.

    `headers` go along with each answer. It gives the part that is asked for where `If-Range` names the file that it
    holds, by tag or time, and the whole file otherwise.
    """

    def __init__(self, *cuts: int | None, data: bytes = DATA, end: End = "close", **headers: str) -> None:
        self.data = data
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.cuts = list(cuts)
        self.end: End = end
        self.asked: list[tuple[str | None, str | None]] = []
        self.ranges = True
        self.sent = 0
        self.chunked = False

    def __call__(self, seen: RecordedRequest) -> Act:
        wanted, named = seen.headers.get("range"), seen.headers.get("if-range")
        self.asked.append((wanted, named))
        begin, status = 0, 200
        if (
            wanted is not None
            and self.ranges
            and named in (self.headers.get("ETag"), self.headers.get("Last-Modified"))
        ):
            begin, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
        body = self.data[begin:]
        cut = self.cuts.pop(0) if self.cuts else None
        self.sent += len(body) if cut is None else min(cut, len(body))
        headers = {**self.headers}
        if status == 206:
            headers["Content-Range"] = f"bytes {begin}-{len(self.data) - 1}/{len(self.data)}"
        if self.chunked:
            return self._in_chunks(body, cut, headers)
        if cut is None:
            return answer(status, body=body, headers=headers)
        return answer(status, body=body, headers=headers, cut=max(len(body) - cut, 0), end=self.end)

    def _in_chunks(self, body: bytes, cut: int | None, headers: dict[str, str]) -> Act:
        part = body if cut is None else body[:cut]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        status = "206 P" if "Content-Range" in headers else "200 OK"
        chunk = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
        text = f"HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode() + chunk
        return Act(text + b"0\r\n\r\n") if cut is None else Act(text, "close")


async def download(storage: Callable[[RecordedRequest], Act], folder: Path, **options: Any) -> tuple[bytes, int]:
    """Download what the storage holds; give the bytes at the path, and the attempts."""
    async with RawServer(then=storage) as server, client_of(server, **options) as client:
        done = await client.files.download(f"{server.url}/a", folder / "a")
    assert [path.name for path in folder.iterdir()] == ["a"]
    found = (folder / "a").read_bytes()
    assert done.size == len(found)
    assert done.attempts is not None
    return found, done.attempts


# ---- where it broke off


@pytest.mark.parametrize("cut", range(len(DATA)))
async def test_a_body_cut_at_any_byte_goes_on_from_there(cut: int, tmp_path: Path) -> None:
    """The second request asks for what is missing, and no byte travels twice."""
    storage = Storage(cut, **TAG)
    assert await download(storage, tmp_path) == (DATA, 2)
    assert storage.asked == [(None, None), (f"bytes={cut}-", '"one"') if cut else (None, None)]
    assert storage.sent == len(DATA)


@settings(max_examples=30)
@given(cuts=st.lists(st.integers(0, 30), max_size=8), chunked=st.booleans(), tag=st.booleans())
async def test_a_body_cut_again_and_again_comes_whole(
    cuts: list[int], chunked: bool, tag: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However often and wherever it breaks, with a declared length or without, resumable or not: the file is whole."""
    storage = Storage(*cuts, **(TAG if tag else {}))
    storage.chunked = chunked
    policy = RetryPolicy(max_attempts=len(cuts) + 2, base_s=0.0)
    found, attempts = await download(storage, tmp_path_factory.mktemp("folder"), retry=policy)
    assert found == DATA
    assert attempts <= len(cuts) + 2


async def test_a_reset_and_a_stall_go_on_too(tmp_path: Path) -> None:
    """What had been read by then is kept."""
    ends: list[End] = ["reset", "stall"]
    for end in ends:
        storage = Storage(20, end=end, **TAG)
        found, attempts = await download(storage, tmp_path, timeouts=Timeouts(read_s=0.1))
        assert (found, attempts) == (DATA, 2)
        assert storage.asked[1] in {("bytes=20-", '"one"'), (None, None)}


async def test_progress_goes_on_as_the_bytes_do(tmp_path: Path) -> None:
    """It counts what is on the disk: on from where it was after a break, from the start where all comes again."""
    for headers, wanted in ((TAG, [20, 30, 67]), ({}, [20, 10, 67])):
        told: list[tuple[int, int | None]] = []
        storage = Storage(20, 10, **headers)
        async with RawServer(then=storage) as server, client_of(server) as client:
            await client.files.download(
                f"{server.url}/a",
                tmp_path / "a",
                on_progress=lambda size, total, told=told: told.append((size, total)),
            )
        assert told == [(size, 67) for size in wanted]


async def test_the_policy_bounds_the_tries_and_not_the_time_in_which_bytes_come(tmp_path: Path) -> None:
    """A long download that breaks off late goes on; without further tries a break is the error."""

    def slow(seen: RecordedRequest) -> Act:
        act = storage(seen)
        return Act(act.sent, act.end, delay_s=0.15)

    storage = Storage(10, 10, 10, **TAG)
    policy = RetryPolicy(max_elapsed_s=0.1, base_s=0.001)
    assert await download(slow, tmp_path, retry=policy) == (DATA, 4)
    with pytest.raises(APIConnectionError):
        await download(Storage(10, **TAG), tmp_path, retry=ONCE)
    with pytest.raises(APIConnectionError) as failed:
        await download(Storage(*[1] * 9, **TAG), tmp_path, retry=QUICK)
    assert failed.value.attempts == 5


# ---- whether it is the same file


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"ETag": '"one"', "Last_Modified": OLD, "Date": NOW}, '"one"'),
        ({"Last_Modified": OLD, "Date": NOW}, OLD),
        ({"ETag": 'W/"one"', "Last_Modified": OLD, "Date": NOW}, OLD),
        ({"ETag": 'W/"one"'}, None),
        ({"ETag": "one"}, None),
        ({"Last_Modified": OLD, "Date": OLD}, None),
        ({"Last_Modified": OLD}, None),
        ({"Last_Modified": "yesterday", "Date": NOW}, None),
        ({}, None),
    ],
)
async def test_only_what_tells_a_file_from_all_others_is_gone_by(
    headers: dict[str, str], named: str | None, tmp_path: Path
) -> None:
    """A strong tag, or a time that is a second old; without either all is asked for again."""
    storage = Storage(20, **headers)
    assert await download(storage, tmp_path) == (DATA, 2)
    assert storage.asked[1] == (("bytes=20-", named) if named else (None, None))


@pytest.mark.parametrize("cut", [0, 1, 20, 66])
async def test_a_file_that_changed_between_tries_comes_anew(cut: int, tmp_path: Path) -> None:
    """The storage says so by sending all of it; nothing of the old one is in the new."""
    new = bytes(reversed(DATA)) + b"longer"
    storage = Storage(cut, **TAG)

    def change(seen: RecordedRequest) -> Act:
        act = storage(seen)
        storage.data, storage.headers = new, {"ETag": '"two"'}
        return act

    assert await download(change, tmp_path) == (new, 2)


async def test_a_storage_that_knows_no_ranges_sends_all_again(tmp_path: Path) -> None:
    """A 200 is the whole file, also where a part was asked for."""
    storage = Storage(20, 30, **TAG)
    storage.ranges = False
    assert await download(storage, tmp_path) == (DATA, 3)
    assert [wanted for wanted, _ in storage.asked] == [None, "bytes=20-", "bytes=30-"]


async def test_a_shorter_file_after_a_longer_try_leaves_no_tail(tmp_path: Path) -> None:
    """What was there is cut off before the first byte of another file is written."""
    storage = Storage(60, **TAG)

    def change(seen: RecordedRequest) -> Act:
        act = storage(seen)
        storage.data, storage.headers = b"short", {"ETag": '"two"'}
        return act

    assert await download(change, tmp_path) == (b"short", 2)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 19-66/67"},
        {"Content-Range": "bytes 21-66/67"},
        {"Content-Range": "bytes 0-46/67"},
        {"Content-Range": "bytes 20-66/68"},
        {"Content-Range": "bytes 20-67/67", "Content-Length": "48"},
        {"Content-Range": "bytes 20-19/67"},
        {"Content-Range": "bytes 20-66/0"},
        {"Content-Range": "bytes */67"},
        {"Content-Range": "rows 20-66/67"},
        {"Content-Range": "bytes 20-" + "9" * 5000 + "/*"},
        {"Content-Range": "bytes 20-66"},
        {"Content-Range": "20-66/67"},
        {"Content-Range": "bytes 20-66/67", "ETag": '"two"'},
        {"Content-Type": "multipart/byteranges; boundary=x"},
    ],
)
async def test_a_part_that_was_not_asked_for_is_refused(headers: dict[str, str], tmp_path: Path) -> None:
    """Not a byte of it stays: all is asked for again, without a range, for this storage is not to be trusted."""
    storage = Storage(20, **TAG)

    def part(headers: dict[str, str]) -> Act:
        size = int(headers.get("Content-Length", "47"))
        return answer(206, body=b"!" * size, headers={k: v for k, v in headers.items() if k != "Content-Length"})

    def wrong(seen: RecordedRequest) -> Act:
        if "range" in seen.headers:
            storage.asked.append((seen.headers["range"], None))
            return part(headers)
        return storage(seen)

    assert await download(wrong, tmp_path) == (DATA, 3)
    assert [wanted for wanted, _ in storage.asked] == [None, "bytes=20-", None]


async def test_a_storage_that_only_sends_wrong_parts_is_an_error(tmp_path: Path) -> None:
    """It says what came, and the policy bounds the tries."""

    def wrong(seen: RecordedRequest) -> Act:
        if "range" in seen.headers:
            return answer(206, body=b"!", headers={"Content-Range": "bytes 0-0/67", **TAG})
        return answer(body=DATA, headers=TAG, cut=40, end="close")

    async with (
        RawServer(then=wrong) as server,
        client_of(server, retry=RetryPolicy(max_attempts=2, base_s=0)) as client,
    ):
        with pytest.raises(APIConnectionError, match="not the range that was requested"):
            await client.files.download(f"{server.url}/a", tmp_path / "a")
    assert not list(tmp_path.iterdir())


async def test_a_part_may_be_shorter_than_what_is_missing(tmp_path: Path) -> None:
    """A storage may send less than was asked for; the rest is asked for then, and a total may come late."""
    storage = Storage(20, **TAG)
    storage.chunked = True

    def little(seen: RecordedRequest) -> Act:
        if "range" not in seen.headers:
            return storage(seen)
        begin = int(seen.headers["range"][6:-1])
        end = min(begin + 16, len(DATA))
        told = {"Content-Range": f"bytes {begin}-{end - 1}/{len(DATA)}", **TAG}
        return answer(206, body=DATA[begin:end], headers=told)

    assert await download(little, tmp_path) == (DATA, 4)


async def test_more_than_a_part_said_it_has_is_refused(tmp_path: Path) -> None:
    """In chunks a storage can send anything; what lies beyond the end that it named is not taken."""
    storage = Storage(20, **TAG)

    def more(seen: RecordedRequest) -> Act:
        if "range" in seen.headers:
            head = b"HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 20-66/67\r\n\r\n"
            return Act(head + b"30\r\n" + b"!" * 48 + b"\r\n0\r\n\r\n")
        return storage(seen)

    assert await download(more, tmp_path) == (DATA, 3)


async def test_a_file_that_became_shorter_comes_anew(tmp_path: Path) -> None:
    """A 416 says that there is no such part: all is asked for again."""
    storage = Storage(20, **TAG)

    def refuse(seen: RecordedRequest) -> Act:
        act = storage(seen)
        return answer(416, headers={"Content-Range": "bytes */7"}) if "range" in seen.headers else act

    assert await download(refuse, tmp_path) == (DATA, 3)
    assert [wanted for wanted, _ in storage.asked] == [None, "bytes=20-", None]


async def test_all_bytes_without_the_end_of_the_last_chunk_are_all(tmp_path: Path) -> None:
    """Where the total is known by then, nothing more is asked for."""
    storage = Storage(20, 47, **TAG)
    storage.chunked = True
    assert await download(storage, tmp_path) == (DATA, 2)


async def test_the_bound_holds_for_a_total_that_comes_late(tmp_path: Path) -> None:
    """A part that names a total beyond the bound is refused before it is awaited."""
    storage = Storage(20, **TAG)
    storage.chunked = True

    def slow(seen: RecordedRequest) -> Act:
        if "range" not in seen.headers:
            return storage(seen)
        return answer(206, body=b"!" * 47, cut=47, end="stall", headers={"Content-Range": "bytes 20-66/67"})

    async with RawServer(then=slow) as server, client_of(server) as client:
        async with asyncio.timeout(5):
            with pytest.raises(APIConnectionError, match="larger than max_bytes"):
                await client.files.download(f"{server.url}/a", tmp_path / "a", max_bytes=66)
        assert len(server.requests) == 2
        server.then = storage
        storage.cuts = [20]
        assert (await client.files.download(f"{server.url}/a", tmp_path / "a", max_bytes=67)).size == 67


async def test_a_part_is_asked_for_only_where_the_rest_came_from(tmp_path: Path) -> None:
    """A redirect to the same place under another signature goes on; one to another host begins anew, tag or no tag."""
    storage, other = Storage(20, 20, **TAG), Storage(data=b"other", **TAG)
    async with RawServer(then=other) as far, RawServer() as near, client_of(near) as client:
        turns = iter([f"{near.url}/store?sig=1", f"{near.url}/store?sig=2", f"{far.url}/store?sig=2"])
        near.then = lambda seen: storage(seen) if seen.target.startswith("/store") else redirect(next(turns))
        done = await client.files.download(f"{near.url}/a", tmp_path / "a")
    assert storage.asked == [(None, None), ("bytes=20-", '"one"')]
    assert other.asked == [(None, None)]
    assert (done.attempts, (tmp_path / "a").read_bytes()) == (3, b"other")
    assert not [seen for seen in near.requests if seen.target == "/a" and "range" in seen.headers]
