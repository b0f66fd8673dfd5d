"""Tests for the emulator's uploads: what a presigned URL allows, what it refuses, and that no key is sent along."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from emulator_caller import Caller

from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.emulator import storage as storage_module


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(2, virtual_time=True) as running:
        yield running


@pytest.fixture
async def caller(emulator: Emulator) -> AsyncIterator[Caller]:
    async with aiohttp.ClientSession() as session:
        yield Caller(emulator, session)


async def presign(caller: Caller, content_type: str = "image/png", **more: Any) -> Any:
    body = {"content_type": content_type, **more}
    return await caller.good("api", "/upload/presign", edition="unified", method="POST", json=body)


async def put(caller: Caller, url: str, data: Any, **headers: str) -> tuple[int, str]:
    async with caller.session.put(url, data=data, headers=headers) as answer:
        return answer.status, await answer.text()


async def upload(caller: Caller, place: Any, data: Any, **more: str) -> tuple[int, str]:
    headers = {"Content-Type": "image/png", **place["required_headers"], **more}
    return await put(caller, place["presigned_url"], data, **headers)


async def test_an_upload_is_public_until_it_is_deleted(emulator: Emulator, caller: Caller) -> None:
    """The bytes are returned as uploaded; deleting twice does no harm; the file is counted and hashed."""
    place = await presign(caller)
    async with caller.session.get(place["public_url"]) as answer:
        assert answer.status == 404
    assert (await upload(caller, place, b"PNG!"))[0] == 200
    async with caller.session.get(place["public_url"]) as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "image/png", b"PNG!")
    file = emulator.files[place["id"]]
    assert (file.uploads, file.size, file.sha256) == (1, 4, hashlib.sha256(b"PNG!").hexdigest())
    assert emulator.log[-2].endpoint == "storage.put"
    assert (emulator.log[-2].body, emulator.log[-2].key, emulator.wrong_keys) == (b"", "none", [])
    for _ in range(2):
        path = f"/files/{place['id']}"
        assert await caller.ask("api", path, edition="unified", method="DELETE") == (204, None)
    assert emulator.files == {}
    async with caller.session.get(place["public_url"]) as answer:
        assert answer.status == 404
    assert (await upload(caller, place, b"again"))[0] == 403


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization", "X-Else", "url"])
async def test_a_key_that_comes_along_is_written_down(emulator: Emulator, caller: Caller, header: str) -> None:
    """Whichever header or part of the URL it is in, it is in `wrong_keys`, and the log does not repeat it."""
    place = await presign(caller)
    url, headers = place["presigned_url"], {"Content-Type": "image/png", **place["required_headers"]}
    if header == "url":
        url += f"&key={emulator.runs_api_key}"
    else:
        headers[header] = f"Bearer {emulator.api_key}"
    await put(caller, url, b"x", **headers)
    (leak,) = emulator.wrong_keys
    assert (leak.endpoint, leak.key) == ("storage.put", "foreign")
    assert emulator.api_key not in str(leak.headers)


@pytest.mark.parametrize(
    ("change", "headers", "code"),
    [
        ({"X-Amz-Signature=": "X-Amz-Signature=0"}, {}, "SignatureDoesNotMatch"),
        ({"X-Amz-Signature=": "X-Amz-Other="}, {}, "SignatureDoesNotMatch"),
        ({".png": ".jpg"}, {}, "SignatureDoesNotMatch"),
        ({}, {"Content-Type": "image/jpeg"}, "SignatureDoesNotMatch"),
        ({}, {"x-amz-meta-file-id": "other"}, "SignatureDoesNotMatch"),
        ({}, {"x-amz-acl": "public-read"}, "AccessDenied"),
    ],
)
async def test_another_request_than_the_signed_is_refused(
    emulator: Emulator, caller: Caller, change: dict[str, str], headers: dict[str, str], code: str
) -> None:
    """Another signature, name or header is a 403 in XML, and nothing is stored."""
    place = await presign(caller)
    for old, new in change.items():
        place["presigned_url"] = place["presigned_url"].replace(old, new)
    status, text = await upload(caller, place, b"x", **headers)
    assert status == 403
    assert f"<Code>{code}</Code>" in text
    assert emulator.files[place["id"]].uploads == 0


async def test_a_url_lapses(emulator: Emulator, caller: Caller) -> None:
    """After fifteen minutes it is a 403; the file's own retention is independent of that."""
    place = await presign(caller, expires_in_seconds=60)
    emulator.clock.advance(60 - 1)
    assert (await upload(caller, place, b"x"))[0] == 200
    emulator.clock.advance(2)
    async with caller.session.get(place["public_url"]) as answer:
        assert answer.status == 404
    emulator.clock.advance(840)
    status, text = await upload(caller, place, b"x")
    assert (status, "Request has expired" in text) == (403, True)
    emulator.storage.url_lifetime = 5
    place = await presign(caller)
    emulator.clock.advance(6)
    assert (await upload(caller, place, b"x"))[0] == 403


async def test_an_upload_that_is_too_large_is_refused(
    emulator: Emulator, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds whether its length is declared or not; one within the limit is accepted either way."""
    monkeypatch.setattr(storage_module, "LARGEST", 10)

    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b"12345"

    place = await presign(caller)
    assert (await upload(caller, place, b"1" * 10))[0] == 200
    assert (await upload(caller, place, chunks(2)))[0] == 200
    for data in (b"1" * 11, chunks(3)):
        status, text = await upload(caller, place, data)
        assert (status, "EntityTooLarge" in text) == (400, True)
    emulator.storage.chunked = False
    status, text = await upload(caller, place, chunks(1))
    assert (status, "MissingContentLength" in text) == (411, True)
    assert emulator.files[place["id"]].uploads == 2


async def test_bytes_need_not_be_kept(emulator: Emulator, caller: Caller) -> None:
    """Size and hash are still recorded, and a download finds nothing."""
    emulator.storage.keep = False
    place = await presign(caller)
    assert (await upload(caller, place, b"x" * 1000))[0] == 200
    file = emulator.files[place["id"]]
    assert (file.size, file.data) == (1000, None)
    async with caller.session.get(place["public_url"]) as answer:
        assert answer.status == 404


async def test_a_file_deleted_meanwhile_is_not_stored(emulator: Emulator, caller: Caller) -> None:
    """An upload whose file is deleted meanwhile ends with a 404."""
    place = await presign(caller)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"1"
        while not emulator.requests["storage.put"]:
            await asyncio.sleep(0.001)
        emulator.storage.delete(place["id"])
        yield b"3"

    assert (await upload(caller, place, chunks()))[0] == 404


async def test_faults_strike_the_storage_too(emulator: Emulator, caller: Caller) -> None:
    """They occur before the bytes are stored, or after."""
    emulator.faults.add(Fault.status(503), endpoint="storage.put", times=1)
    emulator.faults.add(Fault.status(500, late=True), endpoint="storage.put", times=1)
    place = await presign(caller)
    assert (await upload(caller, place, b"x"))[0] == 503
    assert emulator.files[place["id"]].uploads == 0
    assert (await upload(caller, place, b"x"))[0] == 500
    assert emulator.files[place["id"]].uploads == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"content_type": "image/png", "file_type": "text"},
        {"content_type": "image/png", "expires_in_seconds": "60"},
        {"content_type": "image/png", "expires_in_seconds": True},
    ],
)
async def test_a_wrong_presign_is_refused(caller: Caller, body: Any) -> None:
    """It is a 400, and so is deleting a value that is not an id."""
    assert (await caller.ask("api", "/upload/presign", edition="unified", method="POST", json=body))[0] == 400
    assert (await caller.ask("api", "/files/none", edition="unified", method="DELETE"))[0] == 400


async def test_the_retention_has_its_bounds(caller: Caller) -> None:
    """It is from a minute to a year, and half a year by default."""
    times = [(await presign(caller, "x/y", expires_in_seconds=seconds))["expires_at"] for seconds in (1, None, 10**9)]
    now = caller.emulator.clock.now()
    days = [(datetime.fromisoformat(time) - now).total_seconds() / 86400 for time in times]
    assert days == pytest.approx([60 / 86400, 180, 365])


async def stored(caller: Caller, data: bytes) -> str:
    place = await presign(caller)
    assert (await upload(caller, place, data))[0] == 200
    url: str = place["public_url"]
    return url


@pytest.mark.parametrize(
    ("wanted", "status", "body", "told"),
    [
        ("bytes=3-", 206, b"3456789", "bytes 3-9/10"),
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=-20", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-4", 416, None, "bytes */10"),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("rows=1-", 200, b"0123456789", None),
    ],
)
async def test_a_part_of_a_file_can_be_asked_for(
    caller: Caller, wanted: str, status: int, body: bytes | None, told: str | None
) -> None:
    """One range is returned alone; one outside the file is a 416, and a malformed one returns the whole file."""
    url = await stored(caller, b"0123456789")
    async with caller.session.get(url, headers={"Range": wanted}) as answer:
        assert (answer.status, answer.headers.get("Content-Range")) == (status, told)
        read = await answer.read()
    assert body is None or read == body


async def test_a_part_is_of_the_file_that_is_meant(caller: Caller) -> None:
    """If `If-Range` has another tag or time than the file, the whole file is returned; the tag is that of its bytes."""
    url, other = await stored(caller, b"0123456789"), await stored(caller, b"x")
    async with caller.session.get(other) as answer:
        foreign = answer.headers["ETag"]
    async with caller.session.get(url) as answer:
        tag, modified = answer.headers["ETag"], answer.headers["Last-Modified"]
        assert answer.headers["Accept-Ranges"] == "bytes"
    assert foreign != tag
    cases = {tag: 206, modified: 206, foreign: 200, "Thu, 01 Jan 1970 00:00:00 GMT": 200}
    for named, status in cases.items():
        async with caller.session.get(url, headers={"Range": "bytes=1-", "If-Range": named}) as answer:
            assert answer.status == status
