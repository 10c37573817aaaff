"""Who may do what: every route and every role, and where a token may and may not travel."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from sekring.tokens import NewToken, Role, TokenEntry
from tests.servers import RedisServer, free_port
from tests.serving import PATIENT, ServiceProcess

#: The least role for each operation of the OpenAPI document; `None` is open to everybody.
NEEDED = {
    "live": None,
    "metrics": None,
    "ready": None,
    "health": Role.VIEWER,
    "getCaller": Role.VIEWER,
    "circuitBreakerStatus": Role.VIEWER,
    "resetCircuitBreakerPage": Role.VIEWER,
    "listInstances": Role.VIEWER,
    "getInstance": Role.VIEWER,
    "getInstanceDetail": Role.VIEWER,
    "getHistory": Role.VIEWER,
    "getFailures": Role.VIEWER,
    "previewPolicy": Role.VIEWER,
    "previewInstancePolicy": Role.VIEWER,
    "getPolicy": Role.VIEWER,
    "getInstancePolicy": Role.VIEWER,
    "listBuilds": Role.VIEWER,
    "getGuard": Role.VIEWER,
    "getGuardHistory": Role.VIEWER,
    "askPermit": Role.GATEWAY,
    "reportOutcome": Role.GATEWAY,
    "reportOutcomes": Role.GATEWAY,
    "resetCircuitBreaker": Role.OPERATOR,
    "resetInstance": Role.OPERATOR,
    "resetInstances": Role.OPERATOR,
    "tripInstance": Role.OPERATOR,
    "disableInstance": Role.OPERATOR,
    "changePolicy": Role.OPERATOR,
    "dropPolicy": Role.OPERATOR,
    "changeInstancePolicy": Role.OPERATOR,
    "dropInstancePolicy": Role.OPERATOR,
    "permitBuild": Role.OPERATOR,
    "streamEvents": Role.VIEWER,
    "listWebhooks": Role.OPERATOR,
    "createWebhook": Role.OPERATOR,
    "deleteWebhook": Role.OPERATOR,
    "testWebhook": Role.OPERATOR,
    "tripGuard": Role.OPERATOR,
    "resetGuard": Role.OPERATOR,
    "claimLeases": Role.GATEWAY,
    "renewLeases": Role.GATEWAY,
    "releaseLeases": Role.GATEWAY,
    "setPhase": Role.GATEWAY,
    "listSessions": Role.VIEWER,
    "getSession": Role.VIEWER,
    "wantSession": Role.OPERATOR,
    "dropSession": Role.OPERATOR,
    "listGateways": Role.VIEWER,
    "takeErrands": Role.GATEWAY,
    "answerErrand": Role.GATEWAY,
    "showQr": Role.GATEWAY,
    "pairSession": Role.OPERATOR,
    "sendMessage": Role.OPERATOR,
    "getQrCode": Role.OPERATOR,
    "instance": Role.OPERATOR,
    "logOut": Role.OPERATOR,
    "sendMessageByGet": Role.OPERATOR,
    "sendMessageByPost": Role.OPERATOR,
}

#: Operations that wait for a gateway.
WAITING = {"getQrCode", "pairSession"}

#: From the least to the most.
ROLES = [Role.VIEWER, Role.GATEWAY, Role.OPERATOR]

TOKENS = {role: NewToken.make(f"the-{role}", role) for role in Role}
WRONG = NewToken.make("nobody", Role.OPERATOR).token

#: The guide's operations that take `access_token`, as a request.
GUIDE_REQUESTS = [
    ("GET", "/health"),
    ("GET", "/circuit-breaker-status/628"),
    ("POST", "/reset-circuit-breaker/628"),
]


def token_file(folder: Path, *entries: TokenEntry) -> Path:
    file = folder / "tokens.toml"
    file.write_text(
        "\n".join(
            f'[[token]]\nname = "{entry.name}"\nrole = "{entry.role}"\nhash = "{entry.hash}"\n'
            for entry in entries
        )
    )
    return file


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(
    redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceProcess]:
    """A service with one token of each role, which logs all that it ever logs."""
    entries = [token.entry for token in TOKENS.values()]
    file = token_file(tmp_path_factory.mktemp("tokens"), *entries)
    with ServiceProcess(
        redis.url, tokens_file=file, log_level="debug", qr_wait_ms=200, **PATIENT
    ) as service:
        yield service


@pytest.fixture(scope="module")
def unguarded(redis: RedisServer) -> Iterator[ServiceProcess]:
    """A service without tokens."""
    with ServiceProcess(redis.url) as service:
        yield service


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# ------------------------------------------------------------------------- every route and role


class Operation(NamedTuple):
    """One operation of the OpenAPI document, ready to be sent."""

    name: str
    method: str
    path: str
    body: Any


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for template, methods in document["paths"].items():
        path = template.replace("{instance_id}", "628")
        path = path.replace("{webhook_id}", "wh_000000000000")
        path = path.replace("{gateway}", "gateway-1").replace("{errand_id}", "0" * 24)
        for method, described in methods.items():
            required = [item for item in described.get("parameters", []) if item.get("required")]
            query = [f"{item['name']}=x" for item in required if item["in"] == "query"]
            body = None
            if "requestBody" in described:
                (content,) = described["requestBody"]["content"].values()
                body = content["schema"]["examples"][0]
                if described["operationId"] == "takeErrands":
                    body = {"wait_ms": 0}
            yield Operation(
                described["operationId"], method.upper(), "?".join([path, *query]), body
            )


def expected_statuses(needed: Role | None) -> dict[str, str]:
    if needed is None:
        return dict.fromkeys(["nobody", "wrong token", *ROLES], "allowed")
    enough = ROLES.index(needed)
    by_role: dict[str, str] = {
        role: "allowed" if ROLES.index(role) >= enough else "403" for role in ROLES
    }
    return {"nobody": "401", "wrong token": "401", **by_role}


def test_every_operation_asks_for_its_role_and_no_less(guarded: ServiceProcess) -> None:
    document = httpx.get(f"{guarded.url}/schema/openapi.json").raise_for_status().json()
    callers: dict[str, dict[str, str]] = {"nobody": {}, "wrong token": bearer(WRONG)}
    for role, token in TOKENS.items():
        callers[role] = bearer(token.token)

    found: dict[str, dict[str, str]] = {}
    with httpx.Client(base_url=guarded.url) as http:
        for operation in operations(document):
            for caller, headers in callers.items():
                # The status alone: a stream of events has no end.
                with http.stream(
                    operation.method, operation.path, json=operation.body, headers=headers
                ) as answer:
                    # No gateway lives that could do what it asks for.
                    in_time = answer.status_code < 500 or operation.name in WAITING
                    assert in_time, operation.name
                refused = answer.status_code in {401, 403}
                found.setdefault(operation.name, {})[caller] = (
                    str(answer.status_code) if refused else "allowed"
                )

    assert found == {name: expected_statuses(needed) for name, needed in NEEDED.items()}


@pytest.mark.parametrize("path", ["/v1/policy", "/health"])
def test_without_a_token_it_says_how_to_send_one(guarded: ServiceProcess, path: str) -> None:
    answer = httpx.get(f"{guarded.url}{path}")

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.text


@pytest.mark.parametrize(
    "credentials",
    [
        f"Bearer {WRONG}",
        f"Bearer {TOKENS[Role.OPERATOR].token[:-1]}",
        f"Bearer {TOKENS[Role.OPERATOR].token}x",
        f"Bearer {TOKENS[Role.OPERATOR].entry.hash}",
        f"Basic {TOKENS[Role.OPERATOR].token}",
        TOKENS[Role.OPERATOR].token,
        "Bearer",
        "Bearer skr__",
        "Bearer \xe9\xff",
        "",
    ],
    ids=count(),  # not by the tokens, which are random
)
def test_what_is_not_the_token_lets_nobody_in(guarded: ServiceProcess, credentials: str) -> None:
    headers = {b"Authorization": credentials.encode("latin-1")}

    assert httpx.get(f"{guarded.url}/v1/policy", headers=headers).status_code == 401


def test_the_scheme_is_read_in_any_case(guarded: ServiceProcess) -> None:
    headers = {"Authorization": f"bEARER  {TOKENS[Role.VIEWER].token}"}

    assert httpx.get(f"{guarded.url}/v1/policy", headers=headers).status_code == 200


def test_a_role_too_low_is_named(guarded: ServiceProcess) -> None:
    answer = httpx.post(
        f"{guarded.url}/v1/instances/628/reset", headers=bearer(TOKENS[Role.GATEWAY].token)
    )

    assert answer.status_code == 403
    assert answer.json()["type"] == "not_allowed"
    assert "'the-gateway' has the role gateway" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        (Role.VIEWER, ["read"]),
        (Role.GATEWAY, ["read", "report"]),
        (Role.OPERATOR, ["read", "report", "operate"]),
    ],
)
def test_a_token_can_be_asked_for_what_it_is(
    guarded: ServiceProcess, role: Role, permissions: list[str]
) -> None:
    answer = httpx.get(f"{guarded.url}/v1/caller", headers=bearer(TOKENS[role].token))

    assert answer.json() == {"name": f"the-{role}", "role": role, "permissions": permissions}


def test_without_tokens_everybody_may_do_everything(unguarded: ServiceProcess) -> None:
    answer = httpx.get(f"{unguarded.url}/v1/caller").json()

    assert answer == {
        "name": "anonymous",
        "role": "operator",
        "permissions": ["read", "report", "operate"],
    }


def test_the_audit_trail_names_the_token(guarded: ServiceProcess) -> None:
    httpx.post(
        f"{guarded.url}/v1/instances/audited/trip",
        json={"reason": "under review"},
        headers=bearer(TOKENS[Role.OPERATOR].token),
    ).raise_for_status()

    history = httpx.get(
        f"{guarded.url}/v1/instances/audited/history", headers=bearer(TOKENS[Role.VIEWER].token)
    ).json()

    (trip,) = history["transitions"]
    assert (trip["actor"], trip["reason"], trip["source"]) == (
        "the-operator",
        "under review",
        "127.0.0.1",
    )


def test_the_probes_are_open_to_everybody(guarded: ServiceProcess) -> None:
    for path in ("/live", "/ready", "/schema/openapi.json"):
        headers = {"Host": "sekring.example", "Authorization": "Bearer nonsense"}
        assert httpx.get(f"{guarded.url}{path}", headers=headers).status_code == 200


# ----------------------------------------------------------------------------- `access_token`


@pytest.mark.parametrize(("method", "path"), GUIDE_REQUESTS)
def test_the_guides_routes_take_the_token_as_access_token(
    guarded: ServiceProcess, method: str, path: str
) -> None:
    def status(token: str) -> int:
        url = f"{guarded.url}{path}?access_token={token}"
        return httpx.request(method, url).status_code

    assert status(TOKENS[Role.OPERATOR].token) == 200
    assert status(WRONG) == 401
    assert status("") == 401


def test_other_routes_do_not_take_it(guarded: ServiceProcess) -> None:
    url = f"{guarded.url}/v1/policy?access_token={TOKENS[Role.OPERATOR].token}"

    assert httpx.get(url).status_code == 401


def test_no_token_ever_reaches_the_log(guarded: ServiceProcess) -> None:
    token = TOKENS[Role.OPERATOR].token
    with httpx.Client(base_url=guarded.url) as http:
        for sent in (token, WRONG):
            for method, path in GUIDE_REQUESTS:
                http.request(method, f"{path}?access_token={sent}")
            for path in (
                "/nowhere",
                "/v1/policy",
                "/v1/instances/%20",
                "/circuit-breaker-status/*",
            ):
                http.get(path, params={"access_token": sent}, headers=bearer(sent))
            http.post("/v1/outcomes", content=b"{", headers=bearer(sent))

    log = guarded.log_text()
    assert '"path": "/health"' in log, "requests are logged at this level"
    for secret in (*(made.token for made in TOKENS.values()), WRONG):
        assert secret not in log
        assert secret.split("_", 2)[2] not in log
    assert "access_token" not in log


# --------------------------------------------------------------------- other sites, other names


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_a_page_of_another_site_changes_nothing(
    guarded: ServiceProcess, unguarded: ServiceProcess, headers: dict[str, str]
) -> None:
    for service in (guarded, unguarded):
        signed = headers | bearer(TOKENS[Role.OPERATOR].token)
        for path in ("/v1/instances/628/trip", "/reset-circuit-breaker/628"):
            answer = httpx.post(f"{service.url}{path}", json={"reason": "x"}, headers=signed)
            assert answer.status_code == 403
            assert "page of another site" in answer.text
        answer = httpx.put(f"{service.url}/v1/policy", json={"probes": 1}, headers=signed)
        assert answer.status_code == 403


def test_a_page_of_ours_may(unguarded: ServiceProcess) -> None:
    for headers in ({"Origin": unguarded.url}, {"Sec-Fetch-Site": "same-origin"}):
        answer = httpx.post(f"{unguarded.url}/reset-circuit-breaker/628", headers=headers)
        assert answer.status_code == 200


def test_no_other_site_may_read_an_answer(unguarded: ServiceProcess) -> None:
    headers = {"Origin": "https://evil.example"}
    answers = [
        httpx.get(f"{unguarded.url}/health", headers=headers),
        httpx.get(f"{unguarded.url}/nowhere", headers=headers),
        httpx.options(
            f"{unguarded.url}/v1/policy",
            headers={**headers, "Access-Control-Request-Method": "PUT"},
        ),
    ]

    for answer in answers:
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/health", "/v1/instances/*", "/nowhere", "/schema"])
def test_every_answer_has_the_security_headers(unguarded: ServiceProcess, path: str) -> None:
    headers = httpx.get(f"{unguarded.url}{path}").headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.0.2.1", "[2001:db8::1]"],
)
def test_without_tokens_only_this_machines_names_are_answered(
    unguarded: ServiceProcess, host: str
) -> None:
    """A site may point its own name at this machine; a browser would then let it read answers."""
    answer = httpx.get(f"{unguarded.url}/v1/policy", headers={"Host": host})

    assert answer.status_code == 403
    assert "No token is configured" in answer.json()["detail"]
    assert "sekring token new" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.2:1", "[::1]:8000"]
)
def test_without_tokens_this_machine_is_answered(unguarded: ServiceProcess, host: str) -> None:
    answer = httpx.get(f"{unguarded.url}/v1/policy", headers={"Host": host})

    assert answer.status_code == 200


def test_with_tokens_any_name_is_answered(guarded: ServiceProcess) -> None:
    headers = bearer(TOKENS[Role.VIEWER].token) | {"Host": "sekring.example"}

    assert httpx.get(f"{guarded.url}/v1/policy", headers=headers).status_code == 200


# ------------------------------------------------------------------------------------ the start


def refused_start(redis: RedisServer, **settings: object) -> str:
    """Start a service that is to refuse; return what it says."""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    given = {"redis_url": redis.url, "port": free_port(), **settings}
    environment |= {f"SEKRING_{name.upper()}": str(value) for name, value in given.items()}
    ended = subprocess.run(
        [sys.executable, "-m", "sekring", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104
def test_another_address_without_tokens_is_refused_at_the_start(
    redis: RedisServer, host: str
) -> None:
    said = refused_start(redis, host=host)

    assert f"SEKRING_HOST is '{host}', which other machines can reach" in said
    assert "sekring token new --role operator" in said
    assert "SEKRING_TOKENS_FILE" in said
    assert "--insecure" in said


def test_insecure_lets_it_pass_and_says_so(redis: RedisServer) -> None:
    with ServiceProcess(redis.url, host="0.0.0.0", insecure=True) as service:  # noqa: S104
        answer = httpx.get(f"{service.url}/v1/policy", headers={"Host": "sekring.example"})

        assert answer.status_code == 200
        assert "INSECURE: listening on 0.0.0.0 without any token" in service.log_text()


def test_with_tokens_any_address_may_be_bound(redis: RedisServer, tmp_path: Path) -> None:
    file = token_file(tmp_path, TOKENS[Role.VIEWER].entry)
    with ServiceProcess(redis.url, host="0.0.0.0", tokens_file=file) as service:  # noqa: S104
        assert httpx.get(f"{service.url}/health").status_code == 401


def test_tokens_may_come_from_the_environment(redis: RedisServer) -> None:
    entry = TOKENS[Role.VIEWER].entry
    with ServiceProcess(redis.url, tokens=f"{entry.name}={entry.role}:{entry.hash}") as service:
        url = f"{service.url}/v1/policy"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers=bearer(TOKENS[Role.VIEWER].token)).status_code == 200


@pytest.mark.parametrize(("text", "says"), [(None, "cannot be read"), ("", "has no token")])
def test_a_token_file_that_is_none_stops_the_start(
    redis: RedisServer, tmp_path: Path, text: str | None, says: str
) -> None:
    """More of what a token file may not be: `tests/unit/test_tokens.py`."""
    file = tmp_path / "tokens.toml"
    if text is not None:
        file.write_text(text)

    said = refused_start(redis, tokens_file=file)

    assert f"SEKRING_TOKENS_FILE: {file} {says}" in said
    assert said.count("\n") == 1, "one line says it all"
