"""Tests for models and the balance: the requested path, the price, and the schema of the input in a document."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import ONCE, RawServer, answer, client_of, hosts_at

from eachlabs_async import (
    AuthenticationError,
    Balance,
    EachLabs,
    ModelCost,
    ModelCostRow,
    ModelSchema,
    NotFoundError,
    RateLimitError,
    ResponseDecodeError,
    ServerError,
)
from eachlabs_async.emulator import Emulator, Fault

MODEL = answer(json={"slug": "m", "title": "M"})
UNKNOWN = answer(404, json={"error": "model not found"})
PRICE = {
    "currency": "USD",
    "type": "usage_based",
    "amount": None,
    "unit": None,
    "estimate": "$1",
    "description": "By use.",
    "min": 1,
    "max": 2.5,
    "depends_on": ["duration"],
    "rows": [{"label": "5 s", "value": "$1", "new": 1}, {}],
    "new": {},
}


# ---- one model


async def test_a_model_is_asked_for_by_its_path() -> None:
    """One request has the slug as one encoded segment; there is no other request if it succeeds."""
    async with RawServer(then=MODEL) as server, client_of(server) as client:
        assert (await client.models.get("m")).title == "M"
        await client.models.get("a/b?c d")
        assert server.targets == ["/api/models/m", "/api/models/a%2Fb%3Fc%20d"]


async def test_a_host_that_knows_the_old_path_alone_is_asked_there() -> None:
    """A 404 of the new path is followed by a request to the old one, in each call anew."""
    async with RawServer(UNKNOWN, MODEL, UNKNOWN, MODEL) as server, client_of(server) as client:
        for _ in range(2):
            assert (await client.models.get("m&x")).title == "M"
        assert server.targets == ["/api/models/m%26x", "/api/model?slug=m%26x"] * 2
    assert not any("x-api-key" in seen.headers for seen in server.requests)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410])
async def test_a_model_that_neither_path_knows_is_not_found_at_the_new_one(status: int) -> None:
    """The error is that of the new path, without the old path's error in its context."""
    async with RawServer(UNKNOWN, answer(status, json={"error": "old"})) as server, client_of(server) as client:
        with pytest.raises(NotFoundError, match="model not found") as caught:
            await client.models.get("m")
        assert str(caught.value.url).endswith("/api/models/m")
        assert (caught.value.attempts, caught.value.__context__) == (1, None)


@pytest.mark.parametrize(("status", "kind"), [(500, ServerError), (429, RateLimitError)])
async def test_an_old_path_that_fails_leaves_open_whether_there_is_such_a_model(
    status: int, kind: type[Exception]
) -> None:
    """A failure of the old path is raised rather than a "not found"."""
    async with RawServer(UNKNOWN, then=answer(status)) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(kind):
            await client.models.get("m")


async def test_other_refusals_of_the_new_path_are_final() -> None:
    """Only a 404 leads to the old path."""
    async with RawServer(then=answer(401)) as server, client_of(server) as client:
        with pytest.raises(AuthenticationError):
            await client.models.get("m")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("slug", "error", "said"), [("", ValueError, "slug must not be"), (7, TypeError, "slug must be a str, not int")]
)
async def test_a_slug_that_cannot_be_one_is_refused_at_the_call(slug: Any, error: type[Exception], said: str) -> None:
    """Nothing is sent."""
    async with RawServer() as server, client_of(server) as client:
        for call in (client.models.get, client.models.schema):
            with pytest.raises(error, match=said):
                await call(slug)
    assert not server.requests


async def test_a_price_is_typed() -> None:
    """Every field may be missing or null, and unknown fields are ignored."""
    async with RawServer(*(answer(json={"slug": "m", "cost": cost}) for cost in (PRICE, {}, None))) as server:
        async with client_of(server) as client:
            assert (await client.models.get("m")).cost == ModelCost(
                currency="USD",
                type="usage_based",
                estimate="$1",
                description="By use.",
                min=1.0,
                max=2.5,
                depends_on=["duration"],
                rows=[ModelCostRow(label="5 s", value="$1"), ModelCostRow()],
            )
            assert (await client.models.get("m")).cost == ModelCost()
            assert (await client.models.get("m")).cost is None


async def test_a_price_of_the_wrong_type_is_told_by_its_path() -> None:
    """A value of the wrong type is not converted; the error has its path."""
    async with RawServer(answer(json={"slug": "m", "cost": {"amount": "1"}})) as server, client_of(server) as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await client.models.get("m")
        assert caught.value.path == "$.cost.amount"


async def test_the_emulator_has_both_paths_and_may_lose_either() -> None:
    """Both return the same model; without either it is not found."""
    async with Emulator(executions=0) as emulator, EachLabs(hosts=emulator.hosts) as client:
        model = await client.models.get("flux-1-1-pro")
        assert model.cost is not None
        assert model.cost.type == "fixed"
        emulator.faults.add(Fault.status(404), endpoint="models.get")
        assert await client.models.get("flux-1-1-pro") == model
        assert emulator.requests["models.get_by_query"] == 1
        emulator.faults.add(Fault.status(404), endpoint="models.get_by_query")
        with pytest.raises(NotFoundError):
            await client.models.get("flux-1-1-pro")
        assert not emulator.wrong_keys


# ---- the schema of its input

OBJECT: dict[str, Any] = {"type": "object", "properties": {"prompt": {"type": "string"}}}
NESTED: dict[str, Any] = {"type": "object", "properties": {"size": {"$ref": "#/components/schemas/Size"}}}
SIZE: dict[str, Any] = {"type": "string", "enum": ["s", "l"]}


def document(schema: Any = None, *, kind: str = "application/json", **schemas: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"openapi": "3.0.3", "info": {"title": "t"}, "x-more": [1]}
    if schema is not None:
        post = {"requestBody": {"content": {"text/plain": {"schema": {}}, kind: {"schema": schema}}}}
        found["paths"] = {"/a": {"parameters": [], "get": {}}, "/b": {"summary": "s", "post": post}}
    return found | ({"components": {"schemas": schemas}} if schemas else {})


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


PREDICTION = {"type": "object", "properties": {"model": {}, "input": ref("FluxInput"), "webhook_url": {}}}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (document(Input=OBJECT, Output=SIZE), OBJECT),
        (document(input=OBJECT, Output=SIZE), OBJECT),
        (document(Input=ref("Other"), Other=OBJECT), OBJECT),
        (document({"type": "object"}, Input=OBJECT), OBJECT),
        (document(OBJECT), OBJECT),
        (document(OBJECT, kind="multipart/form-data"), OBJECT),
        (document(ref("FluxInput"), FluxInput=OBJECT, Error=SIZE), OBJECT),
        (document(ref("Whole"), Whole=PREDICTION, FluxInput=OBJECT), OBJECT),
        (document(FluxInput=OBJECT), OBJECT),
        (document(ref("a~1b%20c~0"), **{"a/b c~": OBJECT, "Error": SIZE}), OBJECT),
        (OBJECT, OBJECT),
        (document(), None),
        (document(A=OBJECT, B=SIZE), None),
        (document(ref("Gone"), A=OBJECT, B=SIZE), None),
        (document(ref("A"), A=ref("B"), B=ref("A")), None),
        (document({"$ref": "https://elsewhere.example/schema"}), None),
        ({}, None),
    ],
)
def test_the_schema_of_the_input_is_found_where_documents_keep_it(given: Any, wanted: Any) -> None:
    """It is a component named Input, a request's body or its `input`, the only component, or the whole document."""
    assert ModelSchema(document=given).input_schema == wanted


def test_a_body_with_a_text_called_input_is_the_schema_itself() -> None:
    """Only an object named `input` beside a prediction's other fields is taken for the model's input."""
    text = {"type": "object", "properties": {"input": {"type": "string"}}}
    more = {"type": "object", "properties": {"input": OBJECT, "seed": {"type": "integer"}}}
    assert ModelSchema(document=document(text)).input_schema == text
    assert ModelSchema(document=document(more)).input_schema == more


def test_what_the_schema_refers_to_comes_along() -> None:
    """A validator finds the other components where the references point."""
    whole = document(Input=NESTED, Size=SIZE)
    found = ModelSchema(document=whole).input_schema
    assert found == {**NESTED, "components": whole["components"]}
    assert whole["components"]["schemas"]["Input"] == NESTED


NAMES = ["components", "schemas", "Input", "input", "paths", "/a", "post", "requestBody", "content", "openapi"]
NAMES += ["application/json", "schema", "$ref", "properties", "type"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["", "object", "#/components/schemas/Input", "#/", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "components",
                    "schemas",
                    "Input",
                    "input",
                    "paths",
                    "/a",
                    "post",
                    "requestBody",
                    "content",
                    "application/json",
                    "schema",
                    "$ref",
                    "properties",
                    "openapi",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["components", "paths", "properties", "openapi"]), JSON))
def test_no_document_is_too_odd_to_be_looked_at(given: dict[str, Any]) -> None:
    """Whatever a document contains, searching it raises no error and changes nothing."""
    before = json.dumps(given)
    found = ModelSchema(document=given).input_schema
    assert found is None or isinstance(found, dict)
    assert json.dumps(given) == before


def test_a_schema_of_any_depth_is_looked_at() -> None:
    """The search does not recurse."""
    deep: dict[str, Any] = {"$ref": "#/components/schemas/Input"}
    for _ in range(20_000):
        deep = {"allOf": [deep]}
    assert ModelSchema(document=document(Input={"type": "object", "allOf": [deep]})).input_schema is not None


async def test_a_schema_is_asked_for_by_its_path_and_kept_whole() -> None:
    """Unknown fields are kept, and no key is sent."""
    whole = document(Input=OBJECT)
    async with RawServer(answer(json=whole), answer(json=[1])) as server:
        async with EachLabs(hosts=hosts_at(server.url)) as client:
            schema = await client.models.schema("a/b")
            assert (schema.document, schema.input_schema) == (whole, OBJECT)
            assert "x-more" not in repr(schema)
            with pytest.raises(ResponseDecodeError):
                await client.models.schema("m")
    assert server.targets == ["/api/models/a%2Fb/schemas/openapi", "/api/models/m/schemas/openapi"]
    async with Emulator(executions=0) as emulator, EachLabs(hosts=emulator.hosts) as client:
        model = await client.models.get("flux-1-1-pro")
        assert (await client.models.schema("flux-1-1-pro")).input_schema == model.request_schema
        with pytest.raises(NotFoundError):
            await client.models.schema("nothing")


# ---- the balance


@pytest.mark.parametrize("unified", [False, True])
async def test_the_balance_is_a_number_of_dollars(unified: bool) -> None:
    """It may be 0 or negative, and it is requested with the key."""
    async with RawServer(*(answer(json={"balance_usd": number}) for number in (12.5, 0, -3.25))) as server:
        async with client_of(server, hosts=hosts_at(server.url, unified=unified)) as client:
            assert [await client.billing.balance() for _ in range(3)] == [
                Balance(balance_usd=number) for number in (12.5, 0.0, -3.25)
            ]
    assert server.targets == ["/api/billing/balance"] * 3
    key = {seen.headers["authorization" if unified else "x-api-key"] for seen in server.requests}
    assert key == {"Bearer labs-key" if unified else "labs-key"}


async def test_a_balance_is_never_made_up() -> None:
    """An answer without the number is an error rather than a balance of 0."""
    async with RawServer(answer(json={}), answer(json={"balance_usd": None})) as server, client_of(server) as client:
        for _ in range(2):
            with pytest.raises(ResponseDecodeError) as caught:
                await client.billing.balance()
            assert caught.value.path == "$.balance_usd"


async def test_a_balance_that_is_asked_for_too_often_is_waited_for() -> None:
    """A 429 is followed by the pause that it asks for, a 503 by a retry."""
    busy = answer(429, json={"error": "slow down"}, headers={"Retry-After": "1"})
    script = (busy, answer(503), answer(json={"balance_usd": 1}))
    async with RawServer(*script) as server, client_of(server) as client:
        assert (await client.billing.balance()).balance_usd == 1
        came = [seen.at for seen in server.requests]
    assert len(came) == 3
    assert came[1] - came[0] >= 1.0


async def test_the_emulator_tells_its_balance() -> None:
    """It can be set at any time, and a client without a key gets an error."""
    async with Emulator(executions=0) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        assert (await client.billing.balance()).balance_usd > 0
        emulator.balance_usd = -0.5
        assert (await client.billing.balance()).balance_usd == -0.5
        async with EachLabs("wrong", hosts=emulator.hosts) as other:
            with pytest.raises(AuthenticationError):
                await other.billing.balance()
