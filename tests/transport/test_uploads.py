"""Tests for uploads: the bytes arrive complete, with the required headers and no key, and only safe retries happen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from internals import UploadFile, reschedule, session_of
from raw_server import (
    ONCE,
    QUICK,
    Act,
    RawServer,
    RecordedRequest,
    ThisMachine,
    answer,
    client_of,
    free_port,
    hosts_at,
    redirect,
    reset,
    stall,
    trust,
)

from eachlabs_async import EachLabs, Timeouts, UploadedFile
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    PermissionDeniedError,
    ServerError,
)
from eachlabs_async.transport import uploads

SIGNATURE = "0123456789abcdef0123456789abcdef"
QUERY = f"X-Amz-Credential=someone%2Fthere%2Fand%2Fnow&X-Amz-Signature={SIGNATURE}"
DATA = bytes(range(256)) * 4000


def storage(*puts: Act | Callable[[RecordedRequest], Act], url: str | None = None) -> Callable[[RecordedRequest], Act]:
    """Presign URLs of the server itself (or of `url`), and answer each PUT with the next entry of the script."""
    script = list(puts)

    def act(seen: RecordedRequest) -> Act:
        if seen.method == "PUT":
            now = script.pop(0) if len(script) > 1 else script[0]
            return now if isinstance(now, Act) else now(seen)
        where = url or f"http://{seen.headers['host']}/store"
        number = SERIAL.pop()
        return answer(
            json={
                "id": f"f-{number}",
                "presigned_url": f"{where}/{number}?{QUERY}",
                "public_url": f"https://cdn/{number}",
                "required_headers": {"x-amz-meta-file-id": f"f-{number}", "content-type": "not/this"},
            }
        )

    return act


SERIAL = list(range(100_000, 0, -1))


def client_for(server: RawServer, **options: Any) -> EachLabs:
    return client_of(server, **{"hosts": hosts_at(server.url, unified=True), **options})


def puts(server: RawServer) -> list[RecordedRequest]:
    return [seen for seen in server.requests if seen.method == "PUT"]


async def stream(*chunks: Any) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


# ---- whole, and as asked for


async def test_bytes_a_path_and_a_stream_arrive(tmp_path: Path) -> None:
    """Whatever the source, the storage gets the same bytes with the declared type, and no key."""
    path = tmp_path / "picture.png"
    path.write_bytes(DATA)
    async with Emulator(executions=1, chunked_uploads=True) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:
            cases: list[tuple[Any, dict[str, Any], str]] = [
                (DATA, {}, "application/octet-stream"),
                (bytearray(DATA), {"content_type": "image/jpeg", "file_type": "image"}, "image/jpeg"),
                (memoryview(DATA), {}, "application/octet-stream"),
                (path, {}, "image/png"),
                (str(path), {"content_type": "x/y"}, "x/y"),
                (stream(DATA[:1000], b"", memoryview(DATA)[1000:]), {}, "application/octet-stream"),
                (stream(DATA[:1000], bytearray(DATA[1000:])), {"size": len(DATA)}, "application/octet-stream"),
                (b"", {}, "application/octet-stream"),
                (stream(), {"size": 0}, "application/octet-stream"),
            ]
            for source, options, content_type in cases:
                done: UploadedFile = await client.files.upload(source, **options)
                stored = emulator.files[done.id]
                assert stored.data == (DATA if done.size else b"")
                assert done.content_type == stored.content_type == content_type
                assert done.expires_at == stored.expires_at.replace(microsecond=done.expires_at.microsecond)
                assert done.public_url.startswith(emulator.url)
            await client.files.delete(done.id)
            await client.files.delete(done.id)
            assert done.id not in emulator.files
        assert not emulator.wrong_keys


@pytest.mark.parametrize("given", [False, True], ids=["own session", "passed session"])
async def test_only_the_required_headers_are_sent(given: bool) -> None:
    """The PUT has the required headers, the type and the length; no key, and no default of a passed session."""
    session = aiohttp.ClientSession(headers={"Authorization": "k", "X-API-Key": "k"}, cookies={"k": "v"})
    async with session, RawServer(then=storage(answer(body=b""))) as server:
        async with client_for(server, session=session if given else None) as client:
            await client.files.upload(b"12345", "image/png")
            (put,) = puts(server)
    assert put.body == b"12345"
    assert put.target.endswith(QUERY)
    own = {"host", "user-agent", "connection"}
    assert {name: value for name, value in put.headers.items() if name not in own} == {
        "content-type": "image/png",
        "content-length": "5",
        "x-amz-meta-file-id": put.headers["x-amz-meta-file-id"],
    }
    assert put.headers["user-agent"].startswith("eachlabs-async/")


async def test_headers_that_rule_the_connection_are_left_out() -> None:
    """A storage that answers nothing to `Expect` cannot hold an upload, nor can a length of others break it."""
    ruling = {
        "Expect": "100-continue",
        "connection": "upgrade",
        "Keep-Alive": "timeout=1",
        "TE": "trailers",
        "Trailer": "x",
        "Upgrade": "h2c",
        "Transfer-Encoding": "chunked",
        "content-length": "7",
        "Host": "elsewhere",
        "Proxy-Authorization": "Basic x",
        "Proxy-Connection": "close",
    }

    def act(seen: RecordedRequest) -> Act:
        if seen.method == "PUT":
            return answer(body=b"")
        place = {"id": "f", "presigned_url": f"{server.url}/x?{QUERY}", "public_url": "p"}
        return answer(json={**place, "required_headers": {**ruling, "x-amz-acl": "private"}})

    async with RawServer(then=act) as server, client_for(server) as client:
        async with asyncio.timeout(2):
            await client.files.upload(b"12345", "image/png")
    (put,) = puts(server)
    assert put.body == b"12345"
    assert put.headers["host"] == f"127.0.0.1:{server.port}"
    assert put.headers.keys() - {"connection"} == {"host", "user-agent", "content-type", "content-length", "x-amz-acl"}
    assert put.headers["content-length"] == "5"


async def test_a_large_file_never_lies_in_memory_whole(tmp_path: Path) -> None:
    """A file of 60 MB passes through a few chunks, and progress is reported from the first to the last byte."""
    path = tmp_path / "large.bin"
    size = 60_000_000
    with path.open("wb") as file:
        file.truncate(size)
    told: list[tuple[int, int | None]] = []
    async with Emulator(executions=1, keep_uploads=False) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:
            tracemalloc.start()
            try:
                done = await client.files.upload(path, on_progress=lambda sent, total: told.append((sent, total)))
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert emulator.files[done.id].size == size
    assert peak < 10_000_000
    assert told[-1] == (size, size)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)


async def test_presign_gives_a_place_whose_url_is_masked() -> None:
    """A caller who sends the bytes gets the URL; neither its repr nor the record's shows it."""
    async with Emulator(executions=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:
            place = await client.files.presign("image/png", "image", expires_in_seconds=60)
            assert "X-Amz-Signature=" in place.presigned_url
            assert "Signature" not in repr(place) + repr(place.presigned_url)
            assert emulator.log[-1].json() == {
                "content_type": "image/png",
                "file_type": "image",
                "expires_in_seconds": 60,
            }


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"content_type": ""}, ValueError, "content_type must not be empty"),
        ({"content_type": None}, TypeError, "content_type must be a str"),
        ({"content_type": "a/b\r\nX: y"}, ValueError, "content_type must be text that an HTTP header can carry"),
        ({"content_type": "a/ü"}, ValueError, "content_type must be text"),
        ({"file_type": "movie"}, ValueError, "file_type must be one of image, video, audio, other"),
        ({"expires_in_seconds": 59}, ValueError, "expires_in_seconds must be between 60 and"),
    ],
)
async def test_a_place_that_would_be_refused_is_refused_at_the_call(
    arguments: dict[str, Any], error: type[Exception], said: str
) -> None:
    """An argument out of range is an error that names it, and nothing is sent."""
    async with RawServer() as server, client_for(server) as client:
        with pytest.raises(error, match=said):
            await client.files.presign(**{"content_type": "a/b", **arguments})
    assert not server.requests


async def test_what_is_no_file_or_too_large_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """More than 100 MB, a directory, a missing file or a wrong size is an error without a request."""
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(100_000_001)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR)
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (large, {}, ValueError, "source must be at most 100,000,000 bytes, not 100,000,001"),
        (pipe, {}, ValueError, "source must be a regular file"),
        (tmp_path, {}, OSError, "directory"),
        (tmp_path / "nothing", {}, FileNotFoundError, "nothing"),
        (stream(b"x"), {"size": 100_000_001}, ValueError, "size must be at most"),
        (stream(b"x"), {"size": -1}, ValueError, "size must be at least 0"),
        (b"x", {"size": 1}, ValueError, "size is only for an async iterable"),
        (large, {"size": 1}, ValueError, "size is only for an async iterable"),
        (1, {}, TypeError, "source must be a path, bytes or an async iterable of bytes, not int"),
        ([b"x"], {}, TypeError, "source must be a path"),
    ]
    try:
        async with RawServer() as server, client_for(server) as client:
            for source, options, error, said in cases:
                with pytest.raises(error, match=said):
                    await client.files.upload(source, **options)
    finally:
        os.close(reader)
    assert not server.requests


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
async def test_a_fifo_without_a_writer_does_not_hang(tmp_path: Path) -> None:
    """It is refused before it is opened, and also if it takes the place of the file between two attempts."""
    pipe, path = tmp_path / "pipe", tmp_path / "a.bin"
    os.mkfifo(pipe)
    path.write_bytes(b"x")

    def swap(seen: RecordedRequest) -> Act:
        path.unlink()
        pipe.rename(path)
        return answer(503)

    async with RawServer(then=storage(swap)) as server, client_for(server) as client:
        try:
            async with asyncio.timeout(2):
                with pytest.raises(ValueError, match="source must be a regular file"):
                    await client.files.upload(pipe)
                assert not server.requests
                with pytest.raises(ValueError, match="source must be a regular file"):
                    await client.files.upload(path)
        finally:  # A thread that waits for a writer would keep the process from ending.
            for one in (pipe, path):
                if one.exists():
                    os.close(os.open(one, os.O_RDWR))
    assert len(puts(server)) == 1


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
async def test_a_file_that_states_no_size_is_refused() -> None:
    """A file of `/proc` says that it has 0 bytes and has some: an empty upload would lose them."""
    async with RawServer() as server, client_for(server) as client:
        with pytest.raises(ValueError, match="states 0 bytes and has more, as files in /proc do"):
            await client.files.upload("/proc/self/status")
    assert not server.requests


async def test_bytes_that_are_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are measured too, and a stream is stopped when it yields too many."""
    monkeypatch.setattr(uploads, "MAX_BYTES", 10)
    async with Emulator(executions=1, chunked_uploads=True) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:
            with pytest.raises(ValueError, match="source must be at most 10 bytes, not 11"):
                await client.files.upload(b"x" * 11)
            assert not emulator.requests
            with pytest.raises(ValueError, match="source yielded more than 10 bytes"):
                await client.files.upload(stream(b"x" * 6, b"x" * 6))
            assert not any(file.uploads for file in emulator.files.values())


async def test_deleting_what_is_gone_is_no_error() -> None:
    """A file that does not exist any more is deleted; other refusals are errors."""
    async with RawServer(answer(404), answer(410), answer(403)) as server, client_for(server) as client:
        for _ in range(2):
            await client.files.delete("f")
        with pytest.raises(PermissionDeniedError):
            await client.files.delete("f")
    assert [seen.method for seen in server.requests] == ["DELETE"] * 3


async def test_the_compat_edition_has_no_files() -> None:
    """Its documentation has no uploads, so the error names the edition that has."""
    async with EachLabs("key") as client:
        with pytest.raises(
            ConfigurationError, match="files.upload is not part of the compat edition: pass hosts=UNIFIED"
        ):
            await client.files.upload(b"x")


# ---- again, or not


async def test_a_failed_try_is_repeated_from_the_first_byte(tmp_path: Path) -> None:
    """After a 503 or a reset, a file is sent again in full to the same URL, and progress starts anew."""
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)
    told: list[int] = []
    async with RawServer(then=storage(answer(503), reset(), answer(body=b""))) as server:
        async with client_for(server) as client:
            await client.files.upload(path, on_progress=lambda sent, total: told.append(sent))
    assert [seen.body == DATA for seen in puts(server)] == [True, True, True]
    assert len({seen.target for seen in puts(server)}) == 1
    assert len({seen.connection for seen in puts(server)}) == 3
    assert told.count(len(DATA)) == 3
    assert len(server.requests) == 4


async def test_a_policy_that_gives_up_is_obeyed() -> None:
    """Without retries a failure is the error of the upload, and so is one that no retry can overcome."""
    async with RawServer(then=storage(answer(503))) as server, client_for(server, retry=ONCE) as client:
        with pytest.raises(ServerError) as failed:
            await client.files.upload(b"x")
        assert (failed.value.method, failed.value.attempts) == ("PUT", 1)
        assert failed.value.url == f"{server.url}{puts(server)[0].target.partition('?')[0]}"
    async with RawServer(then=storage(answer(400, body=b"<Error>bad</Error>"))) as server:
        async with client_for(server) as client:
            with pytest.raises(APIStatusError, match="400"):
                await client.files.upload(b"x")
    assert len(puts(server)) == 1


@pytest.mark.parametrize(
    "refusal", [answer(403, body=b"<Error>Request has expired</Error>"), answer(400, body=b"<Code>ExpiredToken</Code>")]
)
async def test_a_lapsed_place_is_replaced(refusal: Act) -> None:
    """If the storage says that the URL has expired, a new one is requested and everything sent there."""
    async with RawServer(then=storage(refusal, answer(body=b""))) as server, client_for(server) as client:
        done = await client.files.upload(b"x")
    first, second = puts(server)
    assert first.target != second.target
    assert second.headers["x-amz-meta-file-id"] == done.id


async def test_a_place_that_always_refuses_is_an_error() -> None:
    """Three URLs are tried if each is said to have expired; then the refusal is the error."""
    lapsed = answer(403, body=b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")
    async with RawServer(then=storage(lapsed)) as server, client_for(server) as client:
        with pytest.raises(PermissionDeniedError) as refused:
            await client.files.upload(b"x")
    assert refused.value.attempts == 3
    assert len(server.requests) == 6


async def test_a_refused_signature_is_final() -> None:
    """A 403 that does not say that the URL has expired is not tried again, neither there nor at a new URL."""
    refusal = answer(403, body=b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
    async with RawServer(then=storage(refusal)) as server, client_for(server) as client:
        with pytest.raises(PermissionDeniedError) as refused:
            await client.files.upload(b"x")
    assert refused.value.attempts == 1
    assert len(server.requests) == 2


async def test_a_refusal_of_an_old_url_is_taken_for_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 403 without a reason, for a URL that has outlived its time, leads to a new one."""
    monkeypatch.setattr(uploads, "URL_LIFETIME_S", -1.0)
    async with RawServer(then=storage(answer(403), answer(body=b""))) as server, client_for(server) as client:
        await client.files.upload(b"x")
    assert len({seen.target for seen in puts(server)}) == 2


async def test_a_storage_that_waited_too_long_is_tried_again() -> None:
    """S3's 400 `RequestTimeout` is a time-out: the bytes are sent again, to the same URL."""
    late = answer(400, body=b"<Error><Code>RequestTimeout</Code><Message>Your socket connection ...</Message></Error>")
    async with RawServer(then=storage(late, answer(body=b""))) as server, client_for(server) as client:
        assert (await client.files.upload(b"x")).size == 1
    assert len({seen.target for seen in puts(server)}) == 1
    assert len(puts(server)) == 2
    async with RawServer(then=storage(late)) as server, client_for(server) as client:
        with pytest.raises(APITimeoutError, match="the storage waited too long for the next bytes"):
            await client.files.upload(b"x")
        with pytest.raises(APITimeoutError):
            await client.files.upload(stream(b"x"), size=1)
    assert len(puts(server)) == QUICK.max_attempts + 1


async def test_a_place_that_grew_old_between_tries_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL is valid for 15 minutes: a later attempt requests a new one."""
    monkeypatch.setattr(uploads, "URL_LIFETIME_S", -1.0)
    async with RawServer(then=storage(answer(503), answer(body=b""))) as server, client_for(server) as client:
        await client.files.upload(b"x")
    assert len({seen.target for seen in puts(server)}) == 2


async def test_the_emulator_s_lapsed_url_is_replaced() -> None:
    """The storage's refusal of an old URL is recognized."""
    async with Emulator(executions=1, url_lifetime=-1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:

            def mend(seen: Any) -> bool:
                emulator.storage.url_lifetime = 900
                return False

            emulator.faults.add(Fault.latency(0), endpoint="storage.put", when=mend)
            done = await client.files.upload(b"x")
            assert emulator.files[done.id].data == b"x"
        assert len(emulator.files) == 2


@pytest.mark.parametrize("size", [None, 4], ids=["unknown size", "known size"])
@pytest.mark.parametrize("status", [503, 403])
async def test_a_stream_is_sent_once(size: int | None, status: int) -> None:
    """After its first bytes nothing is sent again and no URL requested: the failure is the error."""
    async with Emulator(executions=1, chunked_uploads=True) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts, retry=QUICK) as client:
            emulator.faults.add(Fault.status(status, late=True), endpoint="storage.put")
            with pytest.raises(APIStatusError) as failed:
                await client.files.upload(stream(b"ab", b"cd"), size=size)
            assert failed.value.status == status
            assert emulator.requests == {"files.presign": 1, "storage.put": 1}


async def test_a_stream_that_was_not_touched_is_tried_again() -> None:
    """Without a connection nothing was read, so the stream is still complete."""
    read: list[bytes] = []

    async def source() -> AsyncIterator[bytes]:
        read.append(b"x")
        yield b"x"

    gone = f"http://127.0.0.1:{free_port()}"
    async with RawServer(then=storage(answer(), url=gone)) as server, client_for(server) as client:
        with pytest.raises(APIConnectionError) as failed:
            await client.files.upload(source(), size=1)
    assert failed.value.attempts == QUICK.max_attempts
    assert not read


# ---- what goes wrong at the source


@pytest.mark.parametrize(
    ("chunks", "size", "error", "said"),
    [
        ((b"ab",), 3, ValueError, "source yielded 2 bytes, not the 3 of size"),
        ((b"ab", b"cd"), 3, ValueError, "source yielded more than 3 bytes"),
        ((b"ab", "cd"), None, TypeError, "source must yield bytes, not str"),
    ],
)
async def test_a_stream_that_is_not_what_it_says_is_an_error(
    chunks: tuple[Any, ...], size: int | None, error: type[Exception], said: str
) -> None:
    """With too few bytes, too many or none, the error says so, and the storage has no complete file."""
    async with Emulator(executions=1, chunked_uploads=True) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts, retry=QUICK) as client:
            with pytest.raises(error, match=said):
                await client.files.upload(stream(*chunks), size=size)
        assert not any(file.uploads for file in emulator.files.values())
        assert emulator.requests["files.presign"] == 1


async def test_an_error_of_the_source_or_of_who_watches_comes_through() -> None:
    """An error of the caller's code is raised as it is and not retried."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise KeyError("mine")

    def watch(sent: int, total: int | None) -> None:
        raise LookupError("also mine")

    async with Emulator(executions=1, chunked_uploads=True) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts, retry=QUICK) as client:
            with pytest.raises(KeyError, match="mine"):
                await client.files.upload(broken())
            with pytest.raises(LookupError, match="also mine"):
                await client.files.upload(DATA, on_progress=watch)
            assert emulator.requests["files.presign"] == 2


async def test_a_file_that_shrinks_meanwhile_is_an_error(tmp_path: Path) -> None:
    """A file that ends before the declared length cannot be sent; of a longer one, that length is sent."""
    path = tmp_path / "a.bin"
    path.write_bytes(DATA)

    def cut(sent: int, total: int | None) -> None:
        with path.open("r+b") as file:
            file.truncate(10)

    async with Emulator(executions=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts, retry=QUICK) as client:
            with pytest.raises(ValueError, match="source became shorter while it was sent"):
                await client.files.upload(path, on_progress=cut)


# ---- what the storage does


async def test_a_redirect_of_the_storage_is_refused() -> None:
    """The bytes are sent only to the URL that the service returned."""
    async with RawServer() as elsewhere:
        async with RawServer(then=storage(redirect(f"{elsewhere.url}/x", 307))) as server, client_for(server) as client:
            with pytest.raises(APIConnectionError, match="a redirect was refused"):
                await client.files.upload(b"x")
        assert not elsewhere.requests
    assert len(puts(server)) == 1


@pytest.mark.parametrize("url", ["http://storage.example", "ftp://127.0.0.1", "file:///etc", "https://[x", ""])
async def test_a_place_that_is_not_https_is_refused(url: str) -> None:
    """Plain http is for loopback only; nothing is sent, and no name resolved."""
    place = {"id": "f", "presigned_url": f"{url}/x?{QUERY}" if url else "", "public_url": "p"}
    async with RawServer(then=answer(json=place)) as server, client_for(server) as client:
        with pytest.raises(APIConnectionError, match="the presigned URL was refused: it is not https") as refused:
            await client.files.upload(b"x")
        assert SIGNATURE not in str(refused.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("{}/a b", "it contains a space or a control character"),
        ("{}/a\tb", "it contains a space or a control character"),
        (" {}/a", "it contains a space or a control character"),
        ("{}/a\u202eb", "it contains a space or a control character"),
        ("http://user:pass@127.0.0.1/x", "it contains a user or a password"),
        ("https://storage.example\\@127.0.0.1/x", "it contains a user or a password"),
    ],
)
async def test_a_place_that_could_be_read_in_two_ways_is_refused(url: str, reason: str) -> None:
    """Spaces, controls and users are refused before anything is sent, and the URL is not shown."""
    async with RawServer() as server, client_for(server) as client:
        where = f"{url.format(server.url)}?{QUERY}"
        server.then = answer(json={"id": "f", "presigned_url": where, "public_url": "p"})
        with pytest.raises(APIConnectionError, match=f"the presigned URL was refused: {reason}") as refused:
            await client.files.upload(b"x")
        assert SIGNATURE not in str(refused.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}/x", "http://localhost:{}/x", "https://[::1]:{}/x"])
async def test_a_place_on_this_machine_is_for_an_api_on_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API elsewhere cannot make the client send bytes to a service of this machine."""
    trust(monkeypatch)
    async with RawServer() as local:
        place = {"id": "f", "presigned_url": url.format(local.port), "public_url": "p"}
        async with RawServer(then=answer(json=place), tls=True) as server:
            hosts = hosts_at(f"https://api.example.test:{server.port}", unified=True)
            connector = aiohttp.TCPConnector(resolver=ThisMachine())
            async with aiohttp.ClientSession(connector=connector) as session:
                async with EachLabs("k", hosts=hosts, session=session, retry=QUICK) as client:
                    with pytest.raises(APIConnectionError, match="it leads to this machine, and the API is elsewhere"):
                        await client.files.upload(b"x")
        assert not local.requests


async def test_the_time_bounds_run_from_the_first_moment() -> None:
    """A look-up that never ends, before any byte was sent, is a time-out too: with a passed session nothing else is."""
    async with RawServer(then=storage(answer(), url="https://storage.never")) as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=ThisMachine())) as session:
            quick = Timeouts(connect_s=0.1, read_s=0.1)
            async with client_for(server, session=session, retry=ONCE, timeouts=quick) as client:
                async with asyncio.timeout(2):
                    with pytest.raises(APITimeoutError, match="the upload stalled"):
                        await client.files.upload(b"x")


async def test_an_endless_answer_of_the_storage_ends() -> None:
    """64 KiB of an answer are enough: a storage that goes on for ever neither fills the memory nor holds the upload."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\nx")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b"z" * 10_000)
                await writer.drain()
        writer.close()

    talker = await asyncio.start_server(endless, "127.0.0.1", 0)
    where = f"http://127.0.0.1:{talker.sockets[0].getsockname()[1]}"
    async with talker, RawServer(then=storage(answer(), url=where)) as server, client_for(server) as client:
        async with asyncio.timeout(5):
            with pytest.raises(BadRequestError) as refused:
                await client.files.upload(b"x")
    assert len(refused.value.body) <= 64 * 1024


async def test_a_storage_that_takes_nothing_more_is_a_time_out() -> None:
    """If nothing moves for the read timeout the attempt ends, both before and after the last byte."""
    quick = Timeouts(read_s=0.15)
    async with RawServer(then=storage(stall())) as server, client_for(server, retry=ONCE, timeouts=quick) as client:
        with pytest.raises(APITimeoutError):
            await client.files.upload(b"x")

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await gone.wait()
        writer.transport.abort()

    gone = asyncio.Event()
    silent = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    where = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with silent, RawServer(then=storage(answer(), url=where)) as server:
        async with client_for(server, retry=ONCE, timeouts=quick) as client:
            with pytest.raises(APITimeoutError, match="the upload stalled for 0.15 s"):
                await client.files.upload(b"x" * 50_000_000)
        gone.set()


async def test_a_storage_that_cannot_be_connected_to_is_a_time_out() -> None:
    """A handshake that never finishes ends at the connect timeout, and nothing was read."""
    async with RawServer() as mute, RawServer(then=storage(answer(), url=f"https://127.0.0.1:{mute.port}")) as server:
        async with client_for(server, retry=ONCE, timeouts=Timeouts(connect_s=0.1)) as client:
            with pytest.raises(APITimeoutError, match="no connection within the connect timeout"):
                await client.files.upload(stream(b"x"), size=1)


async def test_a_source_that_takes_its_time_is_no_stall() -> None:
    """The timeout is for the storage: a stream may be slower than that."""

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await asyncio.sleep(0.08)
            yield b"x"

    async with Emulator(executions=1, chunked_uploads=True) as emulator:
        async with EachLabs(
            emulator.api_key, hosts=emulator.unified_hosts, retry=ONCE, timeouts=Timeouts(read_s=0.05)
        ) as client:
            done = await client.files.upload(slow())
            assert emulator.files[done.id].data == b"xxx"


async def test_a_refusal_before_the_body_was_read_is_heard(tmp_path: Path) -> None:
    """A storage that answers at once and stops reading does not delay the upload."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 30_000_000)

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad")
        await gone.wait()
        writer.transport.abort()

    gone = asyncio.Event()
    hasty = await asyncio.start_server(early, "127.0.0.1", 0, limit=1024)
    where = f"http://127.0.0.1:{hasty.sockets[0].getsockname()[1]}"
    async with hasty, RawServer(then=storage(answer(), url=where)) as server, client_for(server) as client:
        async with asyncio.timeout(3):
            for source in (path, stream(*[b"x" * 1_000_000] * 30)):
                with pytest.raises(APIStatusError, match="400"):
                    await client.files.upload(source)
        gone.set()


async def test_an_upload_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    """A cancelled upload ends at once: file and connection are closed, and its slot is free."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 20_000_000)
    begun = asyncio.Event()
    async with Emulator(executions=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts, max_concurrency=1) as client:
            task = asyncio.create_task(client.files.upload(path, on_progress=lambda sent, total: begun.set()))
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await task
            assert SIGNATURE not in shown(cancelled.value)
            assert (await client.files.upload(b"x")).size == 1
        assert emulator.wrong_keys == []


async def test_what_ends_late_changes_nothing(tmp_path: Path) -> None:
    """A thread that opens a file after the cancellation closes it; a timeout that has passed is not reset."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    file = UploadFile(path)
    file.close()
    assert file._open().closed
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0) as over:
            await asyncio.sleep(1)
    reschedule(over, None)
    assert over.expired()


async def test_a_closed_client_uploads_nothing() -> None:
    """A client that is closed between the presigned URL and the bytes raises the error of a closed client."""
    async with RawServer() as server:
        client = client_for(server)

        def script(seen: RecordedRequest) -> Act:
            session_of(client).closed = True
            return storage(answer())(seen)

        server.then = script
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await client.files.upload(b"x")
        session_of(client).closed = False
        await client.close()


# ---- secrets


def shown(error: BaseException) -> str:
    """Return everything that a report of this error shows: texts, and the locals of all frames but the test's."""
    parts: list[str] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None:
            continue
        parts += [str(one), repr(one), repr(vars(one))]
        todo += [one.__cause__, one.__context__]
        frame = one.__traceback__
        while frame is not None:
            if "test_uploads" not in frame.tb_frame.f_code.co_filename:
                parts += [repr(value) for value in frame.tb_frame.f_locals.values()]
            frame = frame.tb_next
    return "\n".join(parts)


@pytest.mark.parametrize(
    "put",
    [
        answer(403, body=f"<Error>{QUERY} {SIGNATURE}</Error>".encode()),
        answer(500, body=QUERY.replace("&", "&amp;").encode(), headers={"X-Request-Id": SIGNATURE}),
        reset(),
        stall(),
        redirect(f"https://elsewhere/?{QUERY}", 302),
        Act(b"HTTP/1.1 what " + SIGNATURE.encode() + b"\r\n\r\n", "close"),
    ],
    ids=["403", "500", "reset", "stall", "redirect", "garbage"],
)
async def test_the_presigned_url_is_shown_nowhere(put: Act, caplog: pytest.LogCaptureFixture) -> None:
    """No error, frame or log line has the query of a presigned URL, or a value of it."""
    caplog.set_level(logging.DEBUG)
    async with RawServer(then=storage(put)) as server:
        async with client_for(server, timeouts=Timeouts(read_s=0.05)) as client:
            with pytest.raises((APIConnectionError, APIStatusError)) as failed:
                await client.files.upload(b"x")
    text = shown(failed.value) + caplog.text
    assert SIGNATURE not in text
    assert "someone" not in text
    assert "labs-key" not in text
    assert f"PUT {server.url}/store/" in str(failed.value)


async def test_an_answer_that_is_no_place_does_not_show_the_url() -> None:
    """A presign response that cannot be read is quoted without the URL in it."""
    broken = {"presigned_url": f"https://s/?{QUERY}", "id": 1, "public_url": "p"}
    async with RawServer(then=answer(json=broken)) as server, client_for(server) as client:
        with pytest.raises(Exception, match=r"\$.id") as failed:
            await client.files.upload(b"x")
    assert SIGNATURE not in shown(failed.value)
