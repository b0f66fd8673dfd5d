"""Tests for the signatures of webhooks, against a judge that signs with the standard library alone."""

from __future__ import annotations

import asyncio
import hmac
import pickle
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from eachlabs_async import EachLabs, WebhookVerificationError, webhooks
from eachlabs_async.emulator import Emulator

BODY = b'{"exec_id":"p","status":"succeeded"}'
AT = 1_789_000_000
SECRET = "whsec_example"
BY_OPENSSL = "6a57aae76dbc857ddee5438a82d9293115a5a51ba470c348a75703622e9da94a"


def judged(body: bytes, stamp: str, secret: str) -> str:
    """Sign as the service documents it."""
    return "sha256=" + hmac.new(secret.encode(), stamp.encode() + b"." + body, "sha256").hexdigest()


def signed(body: bytes = BODY, *, at: int | str = AT, secret: str = SECRET, **more: str) -> dict[str, str]:
    return {
        "X-Webhook-Timestamp": str(at),
        "X-Webhook-Signature": judged(body, str(at), secret),
        "X-Webhook-Secret": secret,
        **{f"X-Webhook-{name}": value for name, value in more.items()},
    }


def parsed(headers: Any, body: Any = BODY, **options: Any) -> webhooks.WebhookEvent:
    return webhooks.parse(headers, body, **{"secret": SECRET, "now": AT, **options})


def refused(headers: Any, body: Any = BODY, **options: Any) -> str:
    """Return the message of the error for a delivery that is refused."""
    with pytest.raises(WebhookVerificationError) as caught:
        parsed(headers, body, **options)
    return caught.value.message


def test_what_openssl_signed_is_genuine() -> None:
    """`printf 'time.body' | openssl dgst -sha256 -hmac whsec_example`, with its exact text."""
    headers = {"X-Webhook-Timestamp": str(AT), "X-Webhook-Signature": f"sha256={BY_OPENSSL}"}
    assert parsed(headers).key == "prediction:p:succeeded"
    assert judged(BODY, str(AT), SECRET) == f"sha256={BY_OPENSSL}"


def flipped(data: bytes, bit: int) -> bytes:
    place = bit // 8 % len(data)
    return data[:place] + bytes([data[place] ^ 1 << bit % 8]) + data[place + 1 :]


bits = st.integers(0, 1 << 16)
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class TestOfAnyDelivery:
    @given(body=st.binary(), secret=secrets, at=st.integers(0, 10**15 - 1), others=st.lists(secrets))
    def test_what_was_signed_is_believed(self, body: bytes, secret: str, at: int, others: list[str]) -> None:
        """For any body, secret and time, only decoding can fail, not the signature."""
        with pytest.raises(webhooks.ResponseDecodeError):
            parsed(signed(b"0" + body, at=at, secret=secret), b"0" + body, secret=[*others, secret], now=at)

    @given(body=st.binary(min_size=1), bit=bits)
    def test_a_bit_of_the_body_undoes_it(self, body: bytes, bit: int) -> None:
        """A body that differs from the signed one is refused before it is decoded."""
        assert "is wrong" in refused(signed(body), flipped(body, bit))

    @given(bit=bits)
    def test_a_bit_of_the_time_undoes_it(self, bit: int) -> None:
        """Another time is refused, and so is none."""
        stamp = flipped(str(AT).encode(), bit).decode("latin-1")
        assert refused(signed(Timestamp=stamp), tolerance_s=None)

    @given(bit=bits)
    def test_a_bit_of_the_signature_undoes_it(self, bit: int) -> None:
        """This holds for the digits and for the prefix."""
        signature = flipped(signed()["X-Webhook-Signature"].encode(), bit).decode("latin-1")
        assert refused(signed(Signature=signature))

    @given(secret=st.text(st.characters(codec="latin-1"), min_size=1), bit=bits)
    def test_a_bit_of_the_secret_undoes_it(self, secret: str, bit: int) -> None:
        """A secret that differs in one bit signs nothing."""
        other = flipped(secret.encode("latin-1"), bit).decode("latin-1")
        assert "is wrong" in refused(signed(secret=other), secret=secret)

    @given(
        signature=st.none() | st.text(),
        stamp=st.none() | st.text() | st.integers().map(str),
        plain=st.none() | st.text(),
        accept=st.booleans(),
    )
    def test_odd_headers_are_refused_and_nothing_else(
        self, signature: str | None, stamp: str | None, plain: str | None, accept: bool
    ) -> None:
        """No text in the headers raises another error than the refusal."""
        found = {"X-Webhook-Signature": signature, "X-Webhook-Timestamp": stamp, "X-Webhook-Secret": plain}
        headers = {name: value for name, value in found.items() if value is not None}
        assert refused(headers, b"not even JSON", accept_plain_secret=accept)


GOOD = signed()["X-Webhook-Signature"]

ODD: dict[str, tuple[dict[str, str], str]] = {
    "upper case": ({"Signature": "sha256=" + GOOD[7:].upper()}, "lower-case hexadecimal"),
    "upper-case prefix": ({"Signature": GOOD.upper()}, "lower-case hexadecimal"),
    "no prefix": ({"Signature": GOOD[7:]}, "lower-case hexadecimal"),
    "another algorithm": ({"Signature": "sha1=" + GOOD[7:]}, "lower-case hexadecimal"),
    "too short": ({"Signature": GOOD[:-1]}, "lower-case hexadecimal"),
    "too long": ({"Signature": GOOD + "0"}, "lower-case hexadecimal"),
    "a line more": ({"Signature": GOOD + "\n"}, "lower-case hexadecimal"),
    "space before": ({"Signature": " " + GOOD}, "lower-case hexadecimal"),
    "two in one": ({"Signature": f"{GOOD}, {GOOD}"}, "lower-case hexadecimal"),
    "empty": ({"Signature": ""}, "lower-case hexadecimal"),
    "digits of another script": ({"Signature": GOOD[:-1] + "\u0661"}, "lower-case hexadecimal"),
    "an empty time": ({"Timestamp": ""}, "is not Unix seconds"),
    "a time with space": ({"Timestamp": f" {AT}"}, "is not Unix seconds"),
    "a time with a line": ({"Timestamp": f"{AT}\n"}, "is not Unix seconds"),
    "a negative time": ({"Timestamp": f"-{AT}"}, "is not Unix seconds"),
    "a positive time": ({"Timestamp": f"+{AT}"}, "is not Unix seconds"),
    "a fraction": ({"Timestamp": f"{AT}.0"}, "is not Unix seconds"),
    "an exponent": ({"Timestamp": "1e9"}, "is not Unix seconds"),
    "an underscore": ({"Timestamp": "1_789_000_000"}, "is not Unix seconds"),
    "a huge time": ({"Timestamp": "9" * 10_000}, "is not Unix seconds"),
    "a time in another script": ({"Timestamp": "\u0661\u0667"}, "is not Unix seconds"),
    "a half character": ({"Timestamp": "\ud800"}, "is not Unix seconds"),
    "a date": ({"Timestamp": "2026-09-10T00:00:00Z"}, "is not Unix seconds"),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("accept", [False, True])
def test_a_header_of_another_form_is_refused(odd: str, accept: bool) -> None:
    """This holds even if it was signed that way, and if the plain secret alone would be accepted."""
    changed, says = ODD[odd]
    headers = signed() | {f"X-Webhook-{name}": value for name, value in changed.items()}
    stamp = headers["X-Webhook-Timestamp"]
    if stamp != str(AT) and "\ud800" not in stamp:
        headers["X-Webhook-Signature"] = judged(BODY, stamp, SECRET)
    assert says in refused(headers, tolerance_s=None, accept_plain_secret=accept)


@pytest.mark.parametrize("name", ["Signature", "Timestamp", "Secret"])
@pytest.mark.parametrize("same", [False, True])
@pytest.mark.parametrize("accept", [False, True])
def test_a_header_that_came_twice_is_refused(name: str, same: bool, accept: bool) -> None:
    """This holds even if both have the same value: either may have been added by somebody else."""
    headers = CIMultiDict(signed())
    headers.add(f"x-webhook-{name}", headers[f"X-Webhook-{name}"] if same else "other")
    assert f"{name} came more than once" in refused(headers, accept_plain_secret=accept)
    written = {**signed(), f"x-webhook-{name.lower()}": "other"}
    assert f"{name} came more than once" in refused(written, accept_plain_secret=accept)


@pytest.mark.parametrize("value", [None, 5, b"bytes", ["a"]])
@pytest.mark.parametrize("name", ["Signature", "Timestamp", "Secret"])
def test_a_value_that_is_no_text_matches_nothing(name: str, value: Any) -> None:
    """A gateway may pass lists as values; a name that is not text is ignored."""
    headers: dict[Any, Any] = {**signed(), f"X-Webhook-{name}": value, 5: "five", b"X-Webhook-Secret": b""}
    if name == "Secret":
        del headers["X-Webhook-Signature"]
    assert refused(headers, accept_plain_secret=True)


@pytest.mark.parametrize("missing", ["Signature", "Timestamp"])
def test_what_is_missing_is_named(missing: str) -> None:
    """A delivery without a signature, or without the signed time, is refused although it has the secret."""
    headers = signed()
    del headers[f"X-Webhook-{missing}"]
    assert f"X-Webhook-{missing} is missing" in refused(headers)


class TestTheAge:
    @pytest.mark.parametrize("age_s", [-300, -1, 0, 299.5, 300])
    def test_within_the_tolerance_is_believed(self, age_s: float) -> None:
        """It is five minutes, in the past or the future, and not a second more."""
        assert parsed(signed(), now=AT + age_s)
        assert parsed(signed(), now=datetime.fromtimestamp(AT + age_s, UTC))

    @pytest.mark.parametrize(("age_s", "says"), [(300.5, "ago"), (-300.5, "ahead of now"), (1e14, "ago")])
    def test_beyond_it_is_refused(self, age_s: float, says: str) -> None:
        """Old deliveries cannot be replayed, nor new ones prepared; the error has the difference."""
        assert says in refused(signed(), now=AT + age_s)
        assert parsed(signed(), now=AT + age_s, tolerance_s=None)

    @pytest.mark.parametrize("tolerance_s", [0, 0.5, 10])
    def test_is_as_long_as_is_said(self, tolerance_s: float) -> None:
        """The tolerance may be any number from 0."""
        assert parsed(signed(), now=AT + tolerance_s, tolerance_s=tolerance_s)
        assert refused(signed(), now=AT + tolerance_s + 0.1, tolerance_s=tolerance_s)

    def test_is_by_the_machines_clock_unless_said(self) -> None:
        """Without `now` it is compared with the current time."""
        assert parsed(signed(at=int(time.time())), now=None)
        assert "signed" in refused(signed(at=int(time.time()) - 400), now=None)

    def test_of_a_forged_time_is_no_matter(self) -> None:
        """A fresh time with an old signature is refused."""
        assert "is wrong" in refused(signed(at=AT - 1000) | {"X-Webhook-Timestamp": str(AT)})


class TestThePlainSecret:
    def test_is_believed_only_where_that_was_said(self) -> None:
        """A delivery of the older kind needs `accept_plain_secret`."""
        old = {"X-Webhook-Secret": SECRET}
        assert "X-Webhook-Signature is missing" in refused(old)
        assert parsed(old, accept_plain_secret=True)
        assert parsed(old, secret=["new", SECRET], accept_plain_secret=True)

    @pytest.mark.parametrize(
        ("plain", "says"),
        [
            (None, "are missing"),
            ("", "is wrong"),
            (SECRET.upper(), "is wrong"),
            (SECRET + " ", "is wrong"),
            ("s\udce9", "is wrong"),
            ("s" + chr(0xD800), "is wrong"),
        ],
    )
    def test_has_to_be_right(self, plain: str | None, says: str) -> None:
        """A missing or wrong one is refused."""
        headers = {} if plain is None else {"X-Webhook-Secret": plain}
        assert says in refused(headers, accept_plain_secret=True)

    @pytest.mark.parametrize("secret", ["schl\u00fcssel", "\U0001f511"])
    def test_that_is_no_ascii_is_compared_too(self, secret: str) -> None:
        """A header is bytes on the wire: a secret in UTF-8 is the same secret."""
        for came in (secret, secret.encode().decode("ascii", "surrogateescape")):
            assert parsed({"X-Webhook-Secret": came}, secret=secret, accept_plain_secret=True)

    @pytest.mark.parametrize("changed", [{"Signature": "sha256=" + "0" * 64}, {"Signature": ""}, {"Timestamp": "1"}])
    def test_does_not_outweigh_a_wrong_signature(self, changed: dict[str, str]) -> None:
        """A signature that is present must be right, whatever else is right."""
        assert refused(signed(**changed), accept_plain_secret=True)

    def test_is_not_needed_beside_a_signature(self) -> None:
        """Its value does not matter there: it may be another one while secrets are rotated."""
        assert parsed(signed(Secret="another"))


class TestArguments:
    @pytest.mark.parametrize(
        ("secret", "error", "says"),
        [
            ("", ValueError, "secret must not be empty"),
            ([], ValueError, "secret must not be empty"),
            (["", "b"], ValueError, "secret must not be empty"),
            ("\ud800", ValueError, "secret must be encodable as UTF-8"),
            (1, TypeError, "secret must be a str or several, not int"),
            (b"s3cret", TypeError, "secret must be a str or several, not bytes"),
            ({"s3cret"}, TypeError, "secret must be a str or several, not set"),
            (["s3cret", None], TypeError, "secret must be a str or several, not one of NoneType"),
        ],
    )
    def test_a_secret_is_text_or_several(self, secret: Any, error: type[Exception], says: str) -> None:
        """A secret that would accept anybody, or never match, is refused at the call and not shown."""
        for call in (
            lambda: webhooks.parse({}, b"{}", secret=secret),
            lambda: webhooks.aiohttp_handler(pytest.fail, secret=secret),
        ):
            with pytest.raises(error, match=says) as caught:
                call()
            assert "s3cret" not in "".join(shown_by(caught.value))

    @pytest.mark.parametrize(
        ("option", "value", "error"),
        [
            ("tolerance_s", -1, ValueError),
            ("tolerance_s", float("nan"), ValueError),
            ("tolerance_s", float("inf"), ValueError),
            ("tolerance_s", 10**400, ValueError),
            ("tolerance_s", "300", TypeError),
            ("tolerance_s", True, TypeError),
            ("accept_plain_secret", "no", TypeError),
            ("accept_plain_secret", None, TypeError),
            ("now", "2026", TypeError),
            ("now", True, TypeError),
            ("now", float("nan"), ValueError),
            ("now", AT * 10**9, ValueError),
            ("now", 10**400, ValueError),
            ("now", datetime(2026, 9, 10), ValueError),
        ],
    )
    def test_other_options_are_checked_by_name(self, option: str, value: Any, error: type[Exception]) -> None:
        """They are checked before the delivery; the handler checks its own when it is created."""
        with pytest.raises(error, match=f"{option} must"):
            parsed(signed(), **{option: value})
        if option != "now":
            with pytest.raises(error, match=f"{option} must"):
                webhooks.aiohttp_handler(pytest.fail, secret=SECRET, **{option: value})


def shown_by(exc: BaseException) -> Iterator[str]:
    """Return what an error and the package's frames in its traceback show."""
    yield from (str(exc), repr(exc), repr(vars(exc)))
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        if "/tests/" not in frame.f_code.co_filename:
            yield from (repr(value) for value in frame.f_locals.values())


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        (signed(), b"{}"),
        (signed(at=1), BODY),
        (signed(Secret="another"), BODY + b" "),
        ({**signed(), "x-webhook-secret": SECRET}, BODY),
        ([("X-Webhook-Secret", SECRET)], BODY),
        (signed(), BODY.decode()),
        (signed(b"{}"), b"{}"),
    ],
)
def test_no_error_shows_the_secret(headers: Any, body: Any) -> None:
    """It is not in the message, in the attributes or in the locals of the frames; and the error pickles."""
    with pytest.raises((WebhookVerificationError, webhooks.ResponseDecodeError, TypeError)) as caught:
        parsed(headers, body, secret=[SECRET, "other-" + SECRET])
    assert SECRET not in "".join(shown_by(caught.value))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class Judge:
    """A receiver of its own: it checks the signature of each request, and refuses the first ones."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.came: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self.wrong = 0

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        stamp, signature = request.headers["X-Webhook-Timestamp"], request.headers["X-Webhook-Signature"]
        self.came.append((stamp, signature))
        self.wrong += signature != judged(body, stamp, SECRET) or abs(int(stamp) - time.time()) > 60
        self.keys.append(webhooks.parse(request.headers, body, secret=SECRET).key)
        return web.Response(status=500 if len(self.came) <= self.refusals else 299)


@pytest.mark.parametrize("kind", ["workflow", "prediction"])
async def test_all_attempts_of_a_delivery_are_one_event(kind: str) -> None:
    """The emulator signs once: three attempts have the same time and signature, and `key` is the same."""
    judge = Judge(refusals=2)
    app = web.Application()
    app.router.add_post("/", judge.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        hook: dict[str, Any] = {"webhook_url": url, "webhook_secret": SECRET}
        async with Emulator(2, virtual_time=True, retry_seconds=10, duplicate_deliveries=True) as emulator:
            async with EachLabs(emulator.api_key, hosts=emulator.unified_hosts) as client:
                if kind == "workflow":
                    await client.workflows.trigger("workflow-1", "v1", {"prompt": "x"}, **hook)
                else:
                    await client.predictions.create("flux-1-1-pro", {"prompt": "x"}, **hook)
            async with asyncio.timeout(10):
                while len(judge.came) < 4:
                    emulator.clock.advance(5)
                    await asyncio.sleep(0.01)
    finally:
        await runner.cleanup()
    assert judge.wrong == 0
    assert len(set(judge.came)) == len(set(judge.keys)) == 1
