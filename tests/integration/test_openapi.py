"""The OpenAPI document is whole, its examples work, and the service keeps to it."""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest

from sekring import __version__
from tests.conftest import check_keys
from tests.gatewaydouble import BusyGateway
from tests.servers import RedisServer
from tests.serving import ServiceProcess

Document = dict[str, Any]

#: What operations answer that need a gateway, and a session that is connected, where there is none.
WITHOUT_GATEWAY = {"pairSession": 504, "sendMessage": 409, "sendMessageByPost": 409}

#: Operations that everybody may call, and that read nothing.
PROBES = {"live", "metrics", "ready"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with (
        RedisServer(tmp_path_factory.mktemp("redis")) as redis,
        ServiceProcess(redis.url, qr_wait_ms=3_000) as service,
    ):
        yield service
        check_keys(redis)


@pytest.fixture(scope="module")
def document(service: ServiceProcess) -> Document:
    answer = httpx.get(f"{service.url}/schema/openapi.json").raise_for_status()
    found: Document = answer.json()
    return found


class Operation(NamedTuple):
    """One method of one path."""

    method: str
    path: str
    described: Document

    @property
    def name(self) -> str:
        return str(self.described["operationId"])

    @property
    def parameters(self) -> list[Document]:
        return list(self.described.get("parameters", []))

    @property
    def body(self) -> Document | None:
        """Schema of the body, with its examples."""
        if "requestBody" not in self.described:
            return None
        schema: Document = self.described["requestBody"]["content"]["application/json"]["schema"]
        return schema

    def response(self, status: int, media_type: str) -> Document:
        """Schema of an answer; fails if there is none for that status and type."""
        responses = self.described["responses"]
        assert str(status) in responses, f"{self.name} does not declare {status}"
        content = responses[str(status)]["content"]
        assert media_type in content, f"{self.name} does not declare {media_type} for {status}"
        schema: Document = content[media_type]["schema"]
        return schema


def operations(document: Document) -> list[Operation]:
    return [
        Operation(method.upper(), path, described)
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def check(document: Document, schema: Document, value: object) -> None:
    """Fail if `value` is not what `schema` describes."""
    whole = {**schema, "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def everything_in(node: object) -> Iterator[Document]:
    """Yield every object of the document."""
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from everything_in(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from everything_in(inner)


# -------------------------------------------------------------------------------- the document


def test_it_is_openapi_3_1_and_describes_this_version(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Sekring"
    assert document["info"]["version"] == __version__


def test_every_schema_is_one_and_every_reference_leads_somewhere(document: Document) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    references = {found["$ref"] for found in everything_in(document) if "$ref" in found}

    assert references
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references <= known


def test_every_operation_is_named_and_explained(document: Document) -> None:
    found = operations(document)
    names = [operation.name for operation in found]

    assert len(names) == len(set(names)) >= 27
    for operation in found:
        assert operation.name.isidentifier(), operation
        assert operation.described["summary"], operation.name
        assert operation.described["description"], operation.name
        assert operation.described["tags"], operation.name


def test_every_part_of_a_path_is_a_parameter(document: Document) -> None:
    for operation in operations(document):
        declared = {item["name"] for item in operation.parameters if item["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", operation.path))
        assert all(item["required"] for item in operation.parameters if item["in"] == "path")


def test_every_body_and_every_answer_has_an_example(document: Document) -> None:
    for operation in operations(document):
        if operation.body is not None:
            assert operation.body["examples"], operation.name
        for status, response in operation.described["responses"].items():
            for media_type, content in response["content"].items():
                if media_type != "text/html":
                    assert content["examples"], (operation.name, status)


def test_every_example_is_what_its_schema_says(document: Document) -> None:
    for operation in operations(document):
        for value in (operation.body or {}).get("examples", []):
            check(document, operation.body or {}, value)
        for response in operation.described["responses"].values():
            for content in response["content"].values():
                for shown in content.get("examples", {}).values():
                    check(document, content["schema"], shown["value"])


def test_every_operation_declares_its_errors(document: Document) -> None:
    for operation in operations(document):
        if operation.name in PROBES:
            continue
        expected = {401, 403, 503}
        if operation.body is not None or operation.parameters:
            expected.add(400)
        guides = "guide" in operation.described["tags"]
        for status in expected:
            media_type = "application/json" if guides else "application/problem+json"
            schema = operation.response(status, media_type)
            form = "GuideError" if guides else "Problem"
            assert schema == {"$ref": f"#/components/schemas/{form}"}, (operation.name, status)


def test_it_says_how_a_token_is_sent(document: Document) -> None:
    assert document["components"]["securitySchemes"] == {
        "token": {"type": "http", "scheme": "bearer"}
    }
    assert document["security"] == [{"token": []}, {}]


# --------------------------------------------------------------------------------- the service


class Client:
    """Sends requests and holds every answer against what the document declares."""

    def __init__(self, http: httpx.Client, document: Document) -> None:
        self._http = http
        self._document = document
        self.operations = {operation.name: operation for operation in operations(document)}
        self.called: set[str] = set()

    def call(
        self,
        name: str,
        body: object = None,
        *,
        instance_id: str = "628",
        webhook_id: str = "wh_000000000000",
        gateway: str = "gateway-1",
        errand_id: str = "0" * 24,
        headers: dict[str, str] | None = None,
        **query: object,
    ) -> httpx.Response:
        operation = self.operations[name]
        path = operation.path.replace("{instance_id}", instance_id)
        path = path.replace("{gateway}", gateway).replace("{errand_id}", errand_id)
        if any(item["name"] == "instance_id" and item["required"] for item in operation.parameters):
            query = {"instance_id": instance_id, **query}
        with self._http.stream(
            operation.method,
            path.replace("{webhook_id}", webhook_id),
            content=None if body is None else json.dumps(body),
            params={parameter: str(value) for parameter, value in query.items()},
            headers=headers,
        ) as answer:
            media_type = answer.headers["content-type"].partition(";")[0]
            if media_type != "text/event-stream":  # which has no end
                answer.read()
        schema = operation.response(answer.status_code, media_type)
        if media_type.endswith("json"):
            check(self._document, schema, answer.json())
        self.called.add(name)
        return answer


@pytest.fixture(scope="module")
def client(service: ServiceProcess, document: Document) -> Iterator[Client]:
    with httpx.Client(base_url=service.url, timeout=30) as http:
        yield Client(http, document)


def test_every_example_of_a_body_is_accepted(client: Client, document: Document) -> None:
    for operation in operations(document):
        for number, body in enumerate((operation.body or {}).get("examples", [])):
            if operation.name == "takeErrands":
                body["wait_ms"] = 0
            answer = client.call(operation.name, body, instance_id=f"{operation.name}-{number}")

            expected = WITHOUT_GATEWAY.get(operation.name, 200)
            assert answer.status_code == expected, (operation.name, body, answer.text)


def test_every_answer_of_a_whole_life_is_as_declared(
    client: Client, service: ServiceProcess
) -> None:
    client.call("changePolicy", {"failure_threshold": 15, "probes": 0, "cooldown_ms": 600_000})
    its_fleet_is_guarded(client)
    it_fails_and_trips(client)
    it_is_banned(client)
    it_connects_and_is_replaced(client)
    it_is_in_an_operators_hands(client)
    it_is_probed(client)
    it_has_a_policy_of_its_own(client)
    it_is_one_of_many(client)
    it_is_seen_in_a_browser(client)
    it_is_told_to_others(client)
    it_is_owned_by_a_gateway(client)
    it_is_linked_with_a_phone(client, service)

    assert client.called == set(client.operations), "an operation was not called"


def report(client: Client, kind: str, **fields: object) -> Any:
    return client.call("reportOutcome", {"outcome": "failure", "kind": kind, **fields}).json()


def its_fleet_is_guarded(client: Client) -> None:
    body = {"reason": "WhatsApp announces an outage", "for_ms": 60_000}
    assert client.call("tripGuard", body).json()["state"] == "forced_open"
    assert client.call("getCaller").json()["role"] == "operator"
    guard = client.call("getGuard").json()
    assert guard["rate_per_s"] == guard["policy"]["rate_per_s"]
    assert client.call("health").json()["data"]["guard"] == "forced_open"
    assert client.call("resetGuard", {"reason": "it was none"}).json()["state"] == "closed"
    assert client.call("getGuardHistory").json()["transitions"][0]["action"] == "guard_reset"
    assert client.call("health").json()["data"]["guard_rate_per_s"] is None


def it_fails_and_trips(client: Client) -> None:
    assert client.call("getInstance").json()["known"] is False
    client.call("circuitBreakerStatus")
    attempt_id = client.call("askPermit", {"gateway": "gateway-1"}).json()["attempt_id"]
    assert report(client, "dns", attempt_id=attempt_id)["why"] == "counted"
    assert report(client, "dns", attempt_id=attempt_id)["why"] == "duplicate"
    for _ in range(13):
        assert report(client, "websocket")["tripped"] is False
    client.call("getInstance")
    assert report(client, "websocket")["tripped"] is True
    assert report(client, "websocket")["why"] == "open"
    assert client.call("askPermit").json()["permitted"] is False
    client.call("getInstance")
    client.call("circuitBreakerStatus")
    assert client.call("listInstances", state="open").json()["instances"] != []
    its_failures_are_on_record(client)
    client.call("resetCircuitBreaker")
    assert report(client, "dns", epoch=1)["why"] == "late"


def its_failures_are_on_record(client: Client) -> None:
    minutes = client.call("getFailures").json()["minutes"]
    assert sum(minute["failures"] for minute in minutes) >= 15
    preview = client.call("previewPolicy", {"failure_threshold": 17}).json()
    assert (preview["in_force"]["instances"], preview["proposed"]["instances"]) == (1, 0)
    assert preview["lost"]["instances"] == ["628"]
    client.call("previewInstancePolicy", {"failure_threshold": 16, "probes": 1})


def it_is_banned(client: Client) -> None:
    assert report(client, "temporary_ban", ban_expires_in_ms=60_000)["why"] == "ban"
    client.call("getInstance")
    assert client.call("resetInstance").status_code == 409
    assert client.call("resetCircuitBreaker").status_code == 409
    assert report(client, "banned")["why"] == "permanent"
    assert client.call("askPermit").json()["retry_after_ms"] is None
    client.call("circuitBreakerStatus")
    client.call("resetInstance", {"force": True, "reason": "a new number"})


def it_connects_and_is_replaced(client: Client) -> None:
    assert client.call("reportOutcome", {"outcome": "success"}).json()["why"] == "success"
    assert client.call("getInstance").json()["connection"] == "connected"
    assert report(client, "conflict")["why"] == "conflict"
    assert report(client, "pairing")["why"] == "ignored"
    assert report(client, "client_outdated", build="gw/1")["why"] == "build"
    assert client.call("listBuilds").json()["builds"] != []
    client.call("permitBuild", build="gw/1")
    client.call("reportOutcome", {"outcome": "disconnected"})


def it_is_in_an_operators_hands(client: Client) -> None:
    client.call("tripInstance", {"reason": "maintenance", "for_ms": 60_000})
    client.call("tripInstance", {"reason": "maintenance"})
    client.call("getInstance")
    client.call("disableInstance", {"reason": "maintenance"})
    client.call("getInstance")
    client.call("resetInstance")


def it_is_probed(client: Client) -> None:
    client.call("changePolicy", {"probes": 1, "cooldown_ms": 1, "failure_threshold": 1})
    assert report(client, "dns")["tripped"] is True
    assert client.call("askPermit").json()["state"] == "half_open"
    assert client.call("askPermit").json()["cause"] == "probing"
    client.call("getInstance")


def it_has_a_policy_of_its_own(client: Client) -> None:
    client.call("changeInstancePolicy", {"weights": {"dns": 0}, "backoff": {"jitter": 0}})
    assert client.call("getInstanceDetail").json()["policy"]["sources"]["probes"] == "global"
    for name in ("getPolicy", "getInstancePolicy", "dropInstancePolicy", "dropPolicy"):
        client.call(name)


def it_is_one_of_many(client: Client) -> None:
    client.call("reportOutcomes", {"outcomes": [{"instance_id": "628", "outcome": "success"}, {}]})
    client.call("resetInstances", {"all": True})
    for name in ("getHistory", "listInstances", "health", "live", "metrics", "ready"):
        client.call(name)


def it_is_seen_in_a_browser(client: Client) -> None:
    client.call("resetCircuitBreakerPage", headers={"Accept": "text/html"})
    assert client.call("resetCircuitBreakerPage").status_code == 405


def it_is_told_to_others(client: Client) -> None:
    client.call("streamEvents")
    assert client.call("streamEvents", last_event_id="x").status_code == 400
    # Nobody listens there.
    created = client.call("createWebhook", {"url": "http://127.0.0.1:9/", "states": ["open"]})
    webhook_id = created.json()["id"]
    client.call("listWebhooks")
    assert client.call("testWebhook", webhook_id=webhook_id).json()["delivered"] is False
    client.call("deleteWebhook", webhook_id=webhook_id)
    assert client.call("deleteWebhook", webhook_id=webhook_id).status_code == 404
    assert client.call("testWebhook", webhook_id=webhook_id).status_code == 404


def it_is_owned_by_a_gateway(client: Client) -> None:
    assert client.call("wantSession", {"instance_id": "628"}).json()["wanted"] is True
    gateway = {"gateway": "gateway-1", "capacity": 10}

    leases = client.call("claimLeases", {**gateway, "held": 0}).json()["leases"]
    # An example may be wanted as well.
    mine = [
        {"instance_id": "628", "token": one["token"]}
        for one in leases
        if one["instance_id"] == "628"
    ]
    assert client.call("getSession").json()["gateway"] == "gateway-1"
    phase = {"gateway": "gateway-1", "token": mine[0]["token"], "phase": "connected"}
    assert client.call("setPhase", phase).json()["held"] is True
    listed = client.call("listSessions").json()["sessions"]
    assert {one["instance_id"]: one["phase"] for one in listed}["628"] == "connected"
    assert client.call("renewLeases", {**gateway, "leases": mine}).json()["leases"][0]["held"]
    assert client.call("listGateways").json()["gateways"][0]["held"] == 1
    released = client.call("releaseLeases", {"gateway": "gateway-1", "leases": mine})
    assert released.json()["released"] == 1
    assert client.call("dropSession").json()["wanted"] is False


def it_is_linked_with_a_phone(client: Client, service: ServiceProcess) -> None:
    call = partial(client.call, instance_id="linked")
    text = {"number": "6281234567890", "message": "Hello"}
    assert call("instance").json()["relogin"] is True
    with BusyGateway(service.url, "busy") as gateway:
        assert call("getQrCode").json()["base64"].startswith("data:image/png")
        assert call("pairSession", {"phone": "6281234567890"}).json()["code"]
        gateway.phase("linked", "connected", device="628:1@s.whatsapp.net")
        assert call("getQrCode").status_code == 409
        assert call("instance").json()["status"] == "success"
        body = {"to": "6281234567890", "text": "Hello"}
        assert call("sendMessage", body).json()["message_id"]
        assert (
            call("sendMessageByPost", {"instance_id": "linked", **text}).json()["status"]
            == "success"
        )
        assert (
            call("sendMessageByGet", number="628123456789", message="Hi").json()["status"]
            == "success"
        )
        assert call("logOut").json()["status"] == "success"
        lease = {"gateway": "busy", "token": gateway.tokens["linked"]}
        code = {**lease, "code": "2@x", "expires_in_ms": 1_000}
        assert call("showQr", code).json()["held"] is True
    assert client.call("takeErrands", {"wait_ms": 0}).json() == {"errands": []}
    assert call("answerErrand", {"instance_id": "linked"}).json() == {"awaited": False}
    assert call("tripInstance", {"reason": "maintenance"}).status_code == 200
    for name in ("instance", "getQrCode"):
        refusal = call(name)
        assert (refusal.status_code, refusal.json()["circuit_breaker"]) == (503, True)
    refused = call("pairSession", {"phone": "6281234567890"})
    assert (refused.status_code, refused.json()["cause"]) == (503, "operator")


def test_every_refusal_is_as_declared(client: Client, document: Document) -> None:
    foreign = {"Origin": "https://evil.example"}
    for operation in operations(document):
        if operation.name in PROBES:
            continue
        if "{instance_id}" in operation.path:
            assert client.call(operation.name, {}, instance_id="*").status_code in {400, 405}
        if "{webhook_id}" in operation.path:
            assert client.call(operation.name, {}, webhook_id="*").status_code == 400
        if "{errand_id}" in operation.path:
            assert client.call(operation.name, {}, errand_id="*").status_code == 400
        if "{gateway}" in operation.path:
            assert client.call(operation.name, {}, gateway="a%20b").status_code == 400
        if operation.body is not None:
            assert client.call(operation.name, []).status_code == 400
        if operation.method != "GET":
            assert client.call(operation.name, headers=foreign).status_code == 403
        rebound = {"Host": "evil.example"}
        assert client.call(operation.name, headers=rebound).status_code == 403
