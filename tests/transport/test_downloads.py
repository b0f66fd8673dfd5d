"""Tests for downloads: the file is complete or absent, nothing of ours is shown, and errors say what is wrong."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import time
import tracemalloc
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from raw_server import (
    ONCE,
    QUICK,
    Act,
    RawServer,
    RecordedRequest,
    ThisMachine,
    answer,
    client_of,
    cut_headers,
    free_port,
    malformed,
    redirect,
    reset,
    stall,
    trust,
)

from eachlabs_async import DownloadedFile, EachLabs, Timeouts
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
)
from eachlabs_async.transport.partial_file import PartialFile

SIGNATURE = "0123456789abcdef0123456789abcdef"
QUERY = f"X-Amz-Credential=someone%2Fthere%2Fand%2Fnow&X-Amz-Signature={SIGNATURE}"
DATA = bytes(range(256)) * 4000
PNG = {"Content-Type": "image/png"}


def file(body: bytes = DATA, **more: Any) -> Act:
    return answer(body=body, **{"headers": PNG, **more})


def chunked(*chunks: bytes, end: bool = True) -> Act:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" * end
    return Act(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body, "keep" if end else "close")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- whole, and with nothing of ours


async def test_what_was_uploaded_comes_back(tmp_path: Path, session: aiohttp.ClientSession | None) -> None:
    """The same bytes are at the path, in either edition and with either session, and no key was sent."""
    async with Emulator(executions=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts, session=session) as client:
            for number, data in enumerate((DATA, b"", b"x")):
                stored = await client.files.upload(data, "image/png")
                told: list[tuple[int, int | None]] = []
                path = tmp_path / f"{number}.png"
                done = await client.files.download(
                    stored.public_url, path, on_progress=lambda size, total, told=told: told.append((size, total))
                )
                assert done == DownloadedFile(path=str(path), size=len(data), content_type="image/png", attempts=1)
                assert path.read_bytes() == data
                assert told[-1:] == [(len(data), len(data))] * bool(data)
                assert [size for size, _ in told] == sorted({size for size, _ in told})
        async with EachLabs(emulator.api_key, hosts=emulator.hosts, session=session) as compat:
            assert (await compat.files.download(stored.public_url, str(tmp_path / "c"))).path == str(tmp_path / "c")
        assert not emulator.wrong_keys
    assert names(tmp_path) == ["0.png", "1.png", "2.png", "c"]


@pytest.mark.parametrize("given", [False, True], ids=["own session", "passed session"])
async def test_nothing_but_the_wish_for_the_file_is_sent(given: bool, tmp_path: Path) -> None:
    """The first request, retries and redirects send no key, no cookie and no default of a passed session.

    This holds even for the service's own host, and for a cookie that a storage set before.
    """
    biscuit = {"Set-Cookie": "biscuit=1"}
    keyed = aiohttp.ClientSession(
        headers={"Authorization": "k", "X-API-Key": "k", "X-More": "k"},
        cookies={"k": "v"},
        cookie_jar=aiohttp.CookieJar(unsafe=True),
    )
    async with keyed, RawServer(then=file(b"12345")) as server:
        own = answer(302, body=b"", headers={"Location": f"{server.hosts.api.base_url}/there", **biscuit})
        server.script = [answer(503, headers=biscuit), own]
        async with client_of(server, session=keyed if given else None) as client:
            await client.files.download(f"{server.hosts.api.base_url}/a.png?{QUERY}", tmp_path / "a")
    assert [seen.target for seen in server.requests] == [f"/api/a.png?{QUERY}", f"/api/a.png?{QUERY}", "/api/there"]
    for seen in server.requests:
        assert seen.method == "GET"
        assert {name: value for name, value in seen.headers.items() if name not in ("host", "connection")} == {
            "user-agent": seen.headers["user-agent"],
            "accept": "*/*",
            "accept-encoding": "identity",
        }
        assert seen.headers["user-agent"].startswith("eachlabs-async/")
    assert (tmp_path / "a").read_bytes() == b"12345"


async def test_a_url_is_sent_as_it_is_written(tmp_path: Path) -> None:
    """A signature covers the escapes as written; only characters that no request can contain are escaped."""
    async with RawServer(then=file(b"x")) as server, client_of(server) as client:
        for written, sent in {
            "/a%2Fb%7E/c.png?k=%2f+%3D&e=&s=a/b": "/a%2Fb%7E/c.png?k=%2f+%3D&e=&s=a/b",
            "/ü b.png?q=ü#part": "/%C3%BC%20b.png?q=%C3%BC",
            "?q=1": "/?q=1",
        }.items():
            await client.files.download(server.url + written, tmp_path / "a")
            assert server.requests[-1].target == sent


async def test_bytes_stay_as_they_came(tmp_path: Path) -> None:
    """An encoded response is stored as it came, and the record has its encoding."""
    packed = gzip.compress(DATA)
    async with RawServer(then=file(packed, headers={"Content-Encoding": "gzip", **PNG})) as server:
        async with client_of(server) as client:
            done = await client.files.download(f"{server.url}/a", tmp_path / "a")
    assert (done.content_encoding, done.size) == ("gzip", len(packed))
    assert gzip.decompress((tmp_path / "a").read_bytes()) == DATA


@pytest.mark.parametrize(
    "act",
    [chunked(DATA[:7], DATA[7:]), Act(b"HTTP/1.1 200 OK\r\n\r\n" + DATA, "close")],
    ids=["in chunks", "until it closes"],
)
async def test_a_file_may_hide_its_size(act: Act, tmp_path: Path) -> None:
    """Without a declared length the file ends where HTTP ends it; progress then has no total."""
    told: list[int | None] = []
    async with RawServer(then=act) as server, client_of(server) as client:
        done = await client.files.download(
            f"{server.url}/a", tmp_path / "a", on_progress=lambda size, total: told.append(total)
        )
    assert (tmp_path / "a").read_bytes() == DATA
    assert (done.size, done.content_type, set(told)) == (len(DATA), None, {None})


async def test_a_large_file_never_lies_in_memory_whole(tmp_path: Path) -> None:
    """60 MB pass through a few chunks."""
    size = 60_000_000

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // 100_000):
            writer.write(bytes(100_000))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, EachLabs() as client:
        tracemalloc.start()
        try:
            done = await client.files.download(
                f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a", tmp_path / "a"
            )
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert done.size == (tmp_path / "a").stat().st_size == size
    assert peak < 10_000_000


async def test_a_slow_disk_does_not_hold_up_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is written in a thread, while everything else goes on."""
    write = PartialFile.write

    def slowly(self: PartialFile, at: int, chunks: list[bytes]) -> None:
        time.sleep(0.2)
        write(self, at, chunks)

    monkeypatch.setattr(PartialFile, "write", slowly)
    async with RawServer(then=file(b"x")) as server, client_of(server) as client:
        task = asyncio.create_task(client.files.download(f"{server.url}/a", tmp_path / "a"))
        longest, last = 0.0, time.monotonic()
        while not task.done():
            await asyncio.sleep(0.005)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        await task
    assert longest < 0.15


# ---- the file at the path


async def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """During a download, and after a failed one, the path has the old bytes."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    async with RawServer(file(cut=5, end="stall"), file(cut=5, end="close"), then=file()) as server:
        async with client_of(server, retry=ONCE, timeouts=Timeouts(read_s=0.1)) as client:
            for kind in (APITimeoutError, APIConnectionError):
                with pytest.raises(kind) as failed:
                    await client.files.download(f"{server.url}/a", path)
                assert (failed.value.method, failed.value.attempts) == ("GET", 1)
                assert path.read_bytes() == b"old"
                assert names(tmp_path) == ["a.png"]
            await client.files.download(f"{server.url}/a", path)
    assert path.read_bytes() == DATA
    assert names(tmp_path) == ["a.png"]


async def test_a_new_file_is_as_open_as_any_other(tmp_path: Path) -> None:
    """Its mode is that of a new file, not that of a temporary one."""
    (tmp_path / "usual").write_bytes(b"")
    async with RawServer(then=file()) as server, client_of(server) as client:
        await client.files.download(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "usual").stat().st_mode


async def test_two_downloads_to_one_path_do_not_mix(tmp_path: Path) -> None:
    """Each has a temporary file of its own, and the last one to end replaces the file."""
    ones, twos = b"1" * 1_000_000, b"2" * 1_000_000
    async with RawServer(then=lambda seen: file(ones if seen.target == "/1" else twos)) as server:
        async with client_of(server) as client:
            calls = [client.files.download(f"{server.url}/{number}", tmp_path / "a") for number in (1, 2)]
            await asyncio.gather(*calls)
    assert (tmp_path / "a").read_bytes() in (ones, twos)
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        (".", IsADirectoryError, "path is a directory: it must name a file"),
        ("missing/a", FileNotFoundError, "path is in a directory that does not exist"),
        ("file/a", NotADirectoryError, "path is in something that is not a directory"),
        ("pipe", ValueError, "path must name a regular file"),
        ("x" * 300, OSError, "long"),
    ],
)
async def test_a_path_that_cannot_be_written_is_refused_before_anything_is_sent(
    path: str, kind: type[Exception], said: str, tmp_path: Path
) -> None:
    """The error has the reason; no request is sent and nothing is created."""
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(kind, match=said):
            await client.files.download(f"{server.url}/a", tmp_path / path)
    assert not server.requests
    assert names(tmp_path) == ["file", "pipe"]


async def test_a_disk_that_is_full_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk's error is raised as it is, is not retried, and leaves nothing behind."""

    def full(self: PartialFile, at: int, chunks: list[bytes]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PartialFile, "write", full)
    async with RawServer(then=file()) as server, client_of(server) as client:
        with pytest.raises(OSError, match="No space left"):
            await client.files.download(f"{server.url}/a", tmp_path / "a")
    assert len(server.requests) == 1
    assert names(tmp_path) == []


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ({"url": 1}, TypeError, "url must be a str, not int"),
        ({"url": b"https://x/"}, TypeError, "url must be a str, not bytes"),
        ({"url": ""}, ValueError, "url must be an absolute http"),
        ({"url": "/a.png"}, ValueError, "url must be an absolute http"),
        ({"url": "ftp://host/a"}, ValueError, "url must be an absolute http"),
        ({"url": "file:///etc/passwd"}, ValueError, "url must be an absolute http"),
        ({"url": "data:text/plain,x"}, ValueError, "url must be an absolute http"),
        ({"url": "https:///a"}, ValueError, "url must be an absolute http"),
        ({"url": "https://[x/a"}, ValueError, "url must be an absolute http"),
        ({"url": "https://host:port/a"}, ValueError, "url must be an absolute http"),
        ({"url": "https://me:s3cret@host/a"}, ValueError, "without a user or a password"),
        ({"url": "https://bücher.example/a"}, ValueError, "url must be an absolute http"),
        ({"url": f"http://cdn.example/a?{QUERY}"}, ValueError, "url is plain http, which is only allowed for loopback"),
        ({"url": "https://host/a\r\nX-Y: z"}, ValueError, "url must not contain a line break"),
        ({"url": "https://host/\ud800"}, ValueError, "lone surrogate"),
        ({"path": 1}, TypeError, "path must be a str or a path of str, not int"),
        ({"path": b"a"}, TypeError, "path must be a str or a path of str, not bytes"),
        ({"path": ""}, ValueError, "path must not be empty"),
        ({"path": "a\0b"}, ValueError, "path must not contain a NUL"),
        ({"max_bytes": 0}, ValueError, "max_bytes must be at least 1, not 0"),
        ({"max_bytes": 1.5}, TypeError, "max_bytes must be an int"),
        ({"max_bytes": None}, TypeError, "max_bytes must be an int"),
        ({"on_progress": 1}, TypeError, "on_progress must be callable"),
    ],
)
async def test_a_wrong_argument_is_refused_at_the_call(
    arguments: dict[str, Any], kind: type[Exception], said: str, tmp_path: Path
) -> None:
    """The error names it without the URL, before anything is sent or created."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(kind, match=said) as refused:
            await client.files.download(**{"url": f"{server.url}/a", "path": tmp_path / "a", **arguments})
    assert not server.requests
    assert names(tmp_path) == []
    assert "s3cret" not in str(refused.value)
    assert SIGNATURE not in str(refused.value)


# ---- how much


@pytest.mark.parametrize(
    "act",
    [
        file(b"x" * 1001),
        file(b"x" * 1001, cut=1001, end="stall"),
        chunked(*[b"x" * 500] * 3),
        Act(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001, "close"),
    ],
    ids=["declared", "declared and late", "in chunks", "until it closes"],
)
async def test_more_than_the_bound_is_refused(act: Act, tmp_path: Path) -> None:
    """Whether the size is declared or not, there is one request, and the error has advice; the bound is allowed."""
    async with RawServer(then=act) as server, client_of(server) as client:
        said = r"larger than max_bytes \(1,000\): pass a larger value"
        with pytest.raises(APIConnectionError, match=said) as refused:
            async with asyncio.timeout(5):
                await client.files.download(f"{server.url}/a", tmp_path / "a", max_bytes=1000)
        assert len(server.requests) == 1
        assert names(tmp_path) == []
        server.then = file(b"x" * 1000)
        assert (await client.files.download(f"{server.url}/a", tmp_path / "a", max_bytes=1000)).size == 1000
    assert not refused.value.retryable


async def test_a_body_without_an_end_is_stopped(tmp_path: Path) -> None:
    """The download stops at the bound rather than when the disk is full."""
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(bytes(65536))
                await writer.drain()
                sent += 65536
        except OSError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, EachLabs() as client, asyncio.timeout(10):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
        with pytest.raises(APIConnectionError, match="larger than max_bytes"):
            await client.files.download(url, tmp_path / "a", max_bytes=3_000_000)
    assert sent < 30_000_000
    assert names(tmp_path) == []


# ---- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_to_other_hosts(status: int, tmp_path: Path) -> None:
    """There may be up to five, absolute or relative; the other hosts get the same bare request."""
    async with RawServer(then=file(b"there")) as far, RawServer() as near, client_of(near) as client:
        near.script = [
            redirect("/2?a=%2F", status),
            redirect("3", status),
            redirect(f"{near.url}/4", status),
            redirect("//" + far.url.removeprefix("http://") + "/5", status),
        ]
        far.script = [redirect(f"{far.url}/ü?{QUERY}#x", status)]
        done = await client.files.download(f"{near.url}/d/1", tmp_path / "a")
    assert near.targets == ["/d/1", "/2?a=%2F", "/3", "/4"]
    assert far.targets == ["/5", f"/%C3%BC?{QUERY}"]
    assert (done.attempts, (tmp_path / "a").read_bytes()) == (1, b"there")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("/again", "more than 5 redirects"),
        (None, "a redirect without an http"),
        ("ftp://host/a", "a redirect without an http"),
        ("https://me:s3cret@host/a", "a redirect without an http"),
        ("https://[x/", "a redirect without an http"),
        ("https://host:99999/", "a redirect without an http"),
        (f"http://cdn.example/a?{QUERY}", "a redirect to plain http was refused"),
    ],
)
async def test_a_redirect_that_leads_astray_is_refused(location: str | None, said: str, tmp_path: Path) -> None:
    """A loop, a malformed URL, or plain http beyond loopback is an error without a retry."""
    async with RawServer(then=redirect(location)) as server, client_of(server) as client:
        with pytest.raises(APIConnectionError, match=said) as refused:
            await client.files.download(f"{server.url}/a?{QUERY}", tmp_path / "a")
    assert len(server.requests) == (6 if location == "/again" else 1)
    assert names(tmp_path) == []
    assert "s3cret" not in shown(refused.value)
    assert SIGNATURE not in shown(refused.value)


async def test_the_time_bounds_run_from_the_first_moment(tmp_path: Path) -> None:
    """A look-up that never ends, before any byte was sent, is a time-out too: a passed session has no bound for it."""
    async with RawServer() as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=ThisMachine())) as session:
            quick = Timeouts(connect_s=0.1, read_s=0.1)
            async with client_of(server, session=session, retry=ONCE, timeouts=quick) as client:
                async with asyncio.timeout(2):
                    with pytest.raises(APITimeoutError):
                        await client.files.download("https://storage.never/a", tmp_path / "a")


async def test_a_redirect_from_elsewhere_to_this_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host elsewhere cannot make the client ask a service of this machine, even by https."""
    trust(monkeypatch)
    async with RawServer(tls=True) as local, RawServer(then=redirect(f"{local.url}/a"), tls=True) as server:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=ThisMachine())) as session:
            async with client_of(server, session=session) as client:
                with pytest.raises(APIConnectionError, match="a redirect to this machine was refused"):
                    await client.files.download(f"https://api.example.test:{server.port}/a", tmp_path / "a")
        assert not local.requests


async def test_a_redirect_from_https_to_http_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds even for loopback; from http to https it is followed."""
    trust(monkeypatch)
    async with RawServer(then=file(b"x")) as plain, RawServer(tls=True) as safe, client_of(plain) as client:
        safe.script = [redirect(f"{plain.url}/a"), file(b"safe")]
        with pytest.raises(APIConnectionError, match="a redirect to plain http was refused"):
            await client.files.download(f"{safe.url}/a", tmp_path / "a")
        assert not plain.requests
        plain.script = [redirect(f"{safe.url}/a")]
        await client.files.download(f"{plain.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"safe"


# ---- what goes wrong


@pytest.mark.parametrize(
    "act", [answer(503), answer(429), reset(), cut_headers(), malformed(), stall(), file(cut=1, end="close")]
)
async def test_a_try_that_fails_is_repeated(act: Act, tmp_path: Path) -> None:
    """The policy decides; without retries the failure is raised."""
    async with RawServer(act, act, then=file()) as server:
        async with client_of(server, timeouts=Timeouts(read_s=0.1)) as client:
            done = await client.files.download(f"{server.url}/a", tmp_path / "a")
            assert (done.attempts, len(server.requests)) == (3, 3)
            server.script = [act]
            with pytest.raises((APIConnectionError, ServerError, Exception)) as failed:
                await client.with_options(retry=ONCE).files.download(f"{server.url}/a", tmp_path / "b")
    assert (failed.value.method, failed.value.url, failed.value.attempts) == ("GET", f"{server.url}/a", 1)
    assert names(tmp_path) == ["a"]


async def test_a_pause_that_is_asked_for_is_kept(tmp_path: Path) -> None:
    """`Retry-After` is the minimum for the next attempt."""
    async with RawServer(answer(503, headers={"Retry-After": "0.3"}), then=file()) as server:
        async with client_of(server) as client:
            await client.files.download(f"{server.url}/a", tmp_path / "a")
    first, second = server.requests
    assert second.at - first.at >= 0.3


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (answer(404), NotFoundError),
        (answer(403, body=b"<Error><Code>AccessDenied</Code></Error>"), PermissionDeniedError),
        (answer(204, body=b""), APIConnectionError),
        (answer(206, body=b"x", headers={"Content-Range": "bytes 0-0/1"}), APIConnectionError),
        (answer(304, body=b""), APIConnectionError),
        (answer(300), APIConnectionError),
    ],
)
async def test_what_no_try_can_overcome_is_the_error_at_once(act: Act, kind: type[Exception], tmp_path: Path) -> None:
    """This holds for a refusal, a response that is no file, and a part that was not requested."""
    async with RawServer(then=act) as server, client_of(server) as client:
        with pytest.raises(kind):
            await client.files.download(f"{server.url}/a", tmp_path / "a")
    assert len(server.requests) == 1
    assert names(tmp_path) == []


async def test_an_endless_refusal_is_not_read_to_its_end(tmp_path: Path) -> None:
    """Only the start of an error's body is read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\n\r\n")
        try:
            while True:
                writer.write(b"no" * 32768)
                await writer.drain()
        except OSError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, EachLabs() as client, asyncio.timeout(10):
        with pytest.raises(NotFoundError) as failed:
            await client.files.download(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a", tmp_path / "a")
    assert failed.value.body.startswith("nono")


async def test_a_refusal_whose_body_breaks_off_is_one_all_the_same(tmp_path: Path) -> None:
    """The status is enough."""
    async with RawServer(then=answer(404, body=b"x" * 100, cut=50, end="close")) as server:
        async with client_of(server) as client:
            with pytest.raises(NotFoundError):
                await client.files.download(f"{server.url}/a", tmp_path / "a")


async def test_a_host_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """The error follows all attempts and says that nothing was sent."""
    async with EachLabs(retry=QUICK) as client:
        with pytest.raises(APIConnectionError) as failed:
            await client.files.download(f"http://127.0.0.1:{free_port()}/a?{QUERY}", tmp_path / "a")
    assert (failed.value.sent, failed.value.attempts) == (False, 5)
    assert SIGNATURE not in shown(failed.value)


@pytest.mark.parametrize("given", [RuntimeError("mine"), APIConnectionError("mine"), ServerError("mine", status=503)])
async def test_an_error_of_who_watches_is_his(given: Exception, tmp_path: Path) -> None:
    """An error of the callback ends the download as it is, whatever its class."""

    def watch(size: int, total: int | None) -> None:
        raise given

    async with RawServer(then=file()) as server, client_of(server) as client:
        with pytest.raises(type(given)) as failed:
            await client.files.download(f"{server.url}/a", tmp_path / "a", on_progress=watch)
    assert failed.value is given
    assert str(failed.value).endswith("mine")
    assert len(server.requests) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("where", ["answer", "body", "redirect", "pause", "disk"])
async def test_a_download_that_is_given_up_leaves_nothing(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a cancellation at any point there is no temporary file and no connection, and the old file is unchanged."""
    path = tmp_path / "a"
    path.write_bytes(b"old")
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    if where == "disk":
        write = PartialFile.write

        def slowly(self: PartialFile, at: int, chunks: list[bytes]) -> None:
            loop.call_soon_threadsafe(begun.set)
            time.sleep(0.1)
            write(self, at, chunks)

        monkeypatch.setattr(PartialFile, "write", slowly)
    first: dict[str, Act] = {
        "answer": stall(),
        "body": file(cut=5, end="stall"),
        "redirect": redirect(f"/there?{QUERY}"),
        "pause": answer(503, headers={"Retry-After": "50"}),
        "disk": file(),
    }
    async with RawServer(first[where], then=stall() if where == "redirect" else file()) as server:
        async with client_of(server, max_concurrency=1) as client:
            task = asyncio.create_task(client.files.download(f"{server.url}/a?{QUERY}", path))
            await server.seen(2 if where == "redirect" else 1)
            if where == "disk":
                await begun.wait()
            else:
                await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await task
            assert SIGNATURE not in shown(cancelled.value)
            assert path.read_bytes() == b"old"
            assert names(tmp_path) == ["a"]
            server.then = file()
            async with asyncio.timeout(5):
                await client.files.download(f"{server.url}/a", path)
    assert path.read_bytes() == DATA


async def test_closing_the_client_ends_a_download(tmp_path: Path) -> None:
    """The error says so, and so does that of a client closed before."""
    async with RawServer(then=file(cut=5, end="stall")) as server:
        client = client_of(server)
        task = asyncio.create_task(client.files.download(f"{server.url}/a", tmp_path / "a"))
        await server.seen(1)
        await client.close()
        with pytest.raises(ConfigurationError, match="closed while the download was under way"):
            await task
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await client.files.download(f"{server.url}/a", tmp_path / "a")
        assert len(server.requests) == 1
    assert names(tmp_path) == []


def test_a_temporary_file_that_is_dropped_is_not_made_later(tmp_path: Path) -> None:
    """A thread that starts after the download was cancelled does nothing."""
    part = PartialFile(tmp_path / "a")
    part.discard()
    part.open()
    part.write(0, [b"x"])
    part.finish(1)
    assert names(tmp_path) == []


async def test_the_emulator_can_redirect_and_break_a_download(tmp_path: Path) -> None:
    """Its faults apply to `storage.get` as to any endpoint."""
    async with Emulator(executions=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts, retry=QUICK) as client:
            stored = await client.files.upload(DATA)
            emulator.faults.add(Fault.redirect(stored.public_url), endpoint="storage.get", times=1)
            emulator.faults.add(Fault.cut_body(), endpoint="storage.get", times=2)
            done = await client.files.download(stored.public_url, tmp_path / "a")
        first, second, *more = [seen.headers.get("range") for seen in emulator.log if seen.endpoint == "storage.get"]
        assert (first, second, len(more)) == (None, None, 2)
        # What still lies in a buffer when the connection breaks is lost, and asked for again.
        assert all(wanted is not None and "bytes=0-" < wanted <= "bytes=768000-" for wanted in more)
        assert not emulator.wrong_keys
    assert (tmp_path / "a").read_bytes() == DATA
    assert done.attempts == 3


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
            if "test_downloads" not in frame.tb_frame.f_code.co_filename:
                parts += [repr(value) for value in frame.tb_frame.f_locals.values()]
            frame = frame.tb_next
    return "\n".join(parts)


@pytest.mark.parametrize(
    "act",
    [
        answer(403, body=f"<Error>{QUERY} {SIGNATURE}</Error>".encode()),
        answer(500, body=QUERY.replace("&", "&amp;").encode(), headers={"X-Request-Id": SIGNATURE}),
        reset(),
        malformed(),
        stall(),
        file(cut=1, end="close"),
        redirect(f"http://elsewhere.example/there?{QUERY}"),
        answer(204, body=b""),
    ],
)
@pytest.mark.parametrize("hop", [False, True], ids=["given", "redirected to"])
async def test_the_query_of_a_url_is_shown_nowhere(
    act: Act, hop: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No error, frame or log line has the query of a URL, a value of it, or a key."""
    caplog.set_level(logging.DEBUG)

    def there(seen: RecordedRequest) -> Act:
        return redirect(f"/there?{QUERY}") if hop and seen.target == "/a" else act

    async with RawServer(then=there) as server:
        async with client_of(server, timeouts=Timeouts(read_s=0.05)) as client:
            with pytest.raises(Exception) as failed:
                await client.files.download(f"{server.url}/a" + f"?{QUERY}" * (not hop), tmp_path / "a")
    text = shown(failed.value) + caplog.text
    assert "GET" in caplog.text or "GET" in str(failed.value)
    assert SIGNATURE not in text
    assert "someone" not in text
    assert "labs-key" not in text
    assert f"GET {server.url}/" in str(failed.value)
