"""The guide's routes that reach into sessions: /get_qrcode, /instance, /logout, /send_message."""

import base64
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, NamedTuple

import httpx
import pytest

from sekring.sessions.picture import data_url
from sekring.tokens import NewToken, Role
from tests.gatewaydouble import QR_CODE, GatewayDouble
from tests.replicas import Replica, Replicas
from tests.servers import RedisServer, wait_until
from tests.serving import ServiceProcess

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()

#: How long requests wait here for gateways, in ms; longer than any test should.
WAIT_MS = 15_000

Body = dict[str, Any]

_numbers = count(1)


@pytest.fixture(scope="module")
def replicas(redis: RedisServer) -> Iterator[Replicas]:
    """Two, so that nothing works only because it meets in one process."""
    settings: dict[str, Any] = {"partitions": 4, "seal_key": KEY, "log_level": "debug"}
    with Replicas([redis.url] * 2, qr_wait_ms=WAIT_MS, **settings) as replicas:
        yield replicas


@pytest.fixture(scope="module")
def impatient(redis: RedisServer) -> Iterator[Replica]:
    """A third, whose requests wait for half a second only, and which has no key."""
    with Replica(redis.url, partitions=4, qr_wait_ms=500) as replica:
        yield replica


@pytest.fixture
def here(replicas: Replicas) -> Replica:
    replica: Replica = replicas[0]
    return replica


@pytest.fixture
def there(replicas: Replicas) -> Replica:
    replica: Replica = replicas[1]
    return replica


@pytest.fixture
def name(here: Replica) -> Iterator[str]:
    """A session's name; in the end it is not to be connected any more."""
    name = f"session-{next(_numbers)}"
    yield name
    here._ask("DELETE", f"/v1/sessions/{name}")


@pytest.fixture
def gateway(here: Replica, there: Replica, name: str) -> Iterator[GatewayDouble]:
    """The owner, at the other replica."""
    here.post("/v1/sessions", {"instance_id": name})
    with GatewayDouble(there.url, f"gateway-{name}") as gateway:
        gateway.own(name)
        with gateway.renewing():
            yield gateway
        gateway.release(name)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


def ask(
    replica: ServiceProcess, path: str, name: str, headers: Body | None = None, **query: str
) -> httpx.Response:
    """Call one of the routes as a program does."""
    params = {"instance_id": name, **query}
    return httpx.get(f"{replica.url}{path}", params=params, headers=headers, timeout=40)


# --------------------------------------------------------------------------------- /get_qrcode


def test_a_qr_code_is_shown_through_another_replica_than_the_owners(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    shown = threads.submit(ask, here, "/get_qrcode", name)
    errand = gateway.next_errand("qr")
    assert errand["instance_id"] == name

    assert gateway.show_qr(name) is True

    assert shown.result().status_code == 200
    assert shown.result().json() == {
        "status": "success",
        "message": "Success",
        "base64": data_url(QR_CODE),
    }
    assert here.get(f"/v1/sessions/{name}")["phase"] == "pairing"


def test_it_wishes_for_a_session_that_nobody_knew(
    here: Replica, there: Replica, name: str, threads: ThreadPoolExecutor
) -> None:
    shown = threads.submit(ask, here, "/get_qrcode", name)
    with GatewayDouble(there.url, "late") as late:
        late.own(name)
        late.phase(name, "connecting")
        late.next_errand("qr")
        late.show_qr(name)

        assert shown.result().json()["status"] == "success"
        assert here.get(f"/v1/sessions/{name}")["wanted"] is True
        late.release(name)


def test_two_who_wait_get_the_same_code_and_one_who_comes_later_too(
    here: Replica, there: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    waiting = [threads.submit(ask, replica, "/get_qrcode", name) for replica in (here, there)]
    gateway.next_errand("qr")

    gateway.show_qr(name)

    pictures = {one.result().json()["base64"] for one in waiting}
    assert pictures == {data_url(QR_CODE)}
    assert ask(there, "/get_qrcode", name).json()["base64"] == data_url(QR_CODE)


def test_the_next_code_takes_the_place_of_the_one_before(
    here: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.show_qr(name, "first")
    gateway.show_qr(name, "second")

    assert ask(here, "/get_qrcode", name).json()["base64"] == data_url("second")


def test_a_code_that_has_expired_is_not_shown(
    impatient: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.show_qr(name, expires_in_ms=100)
    time.sleep(0.15)

    answer = ask(impatient, "/get_qrcode", name)

    assert answer.status_code == 504
    assert answer.json()["status"] == "error"


def test_a_code_is_no_longer_shown_once_the_session_is_no_longer_pairing(
    impatient: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.show_qr(name)
    gateway.phase(name, "connecting")

    assert ask(impatient, "/get_qrcode", name).status_code == 504


def test_a_code_of_the_owner_before_is_not_shown(
    impatient: Replica, name: str, gateway: GatewayDouble
) -> None:
    """Nobody holds its secrets any more."""
    gateway.show_qr(name)
    gateway.release(name)
    gateway.own(name)
    gateway.phase(name, "pairing")

    assert ask(impatient, "/get_qrcode", name).status_code == 504


def test_only_the_owner_shows_a_code(
    here: Replica, name: str, gateway: GatewayDouble, redis: RedisServer
) -> None:
    token = gateway.tokens[name]
    with GatewayDouble(here.url, "somebody-else") as other:
        other.tokens[name] = token
        assert other.show_qr(name) is False
    assert gateway.show_qr(name, token=token - 1) is False

    with redis.client() as client:
        assert list(client.scan_iter(f"*:qr:{name}")) == []


def test_a_code_is_sealed_while_redis_keeps_it_and_expires_with_itself(
    name: str, gateway: GatewayDouble, redis: RedisServer
) -> None:
    gateway.show_qr(name, expires_in_ms=20_000)

    with redis.client() as client:
        (key,) = client.scan_iter(f"*:qr:{name}")
        stored = client.get(key)
        assert 10_000 < client.pttl(key) <= 20_000
    assert b"sealed:" in stored
    assert b"QrSecret" not in stored


def test_a_replica_without_the_key_says_so(
    impatient: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.show_qr(name)

    answer = ask(impatient, "/get_qrcode", name)

    assert answer.status_code == 503
    assert "SEKRING_SEAL_KEY" in answer.json()["message"]
    assert "circuit_breaker" not in answer.json()


def test_without_a_key_codes_are_shown_all_the_same(redis: RedisServer) -> None:
    with (
        Replica(redis.url, key_prefix="sekring:keyless", partitions=1) as replica,
        GatewayDouble(replica.url) as gateway,
    ):
        replica.post("/v1/sessions", {"instance_id": "628"})
        gateway.own("628")
        gateway.show_qr("628")

        assert ask(replica, "/get_qrcode", "628").json()["base64"] == data_url(QR_CODE)
        with redis.client() as client:
            (key,) = client.scan_iter("sekring:keyless:*:qr:628")
            assert 0 < client.pttl(key) <= 20_000


def test_a_connected_session_is_told_so_at_once(
    here: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.phase(name, "connected")

    answer = ask(here, "/get_qrcode", name)

    assert answer.status_code == 409
    assert answer.json()["status"] == "error"
    assert "already connected" in answer.json()["message"]


def test_a_session_that_connects_meanwhile_ends_the_waiting(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    shown = threads.submit(ask, here, "/get_qrcode", name)
    gateway.next_errand("qr")

    gateway.phase(name, "connected", device="628:7@s.whatsapp.net")

    assert shown.result().status_code == 409


def test_no_code_in_time_says_what_is_known(
    impatient: Replica, name: str, gateway: GatewayDouble
) -> None:
    impatient.report(name, kind="dns", detail="no such host: web.whatsapp.com")
    gateway.phase(name, "connecting", detail="attempt 2")

    answer = ask(impatient, "/get_qrcode", name)

    assert answer.status_code == 504
    said = answer.json()["message"]
    assert f"the gateway gateway-{name} owns it, and it is connecting (attempt 2)" in said
    assert "was dns: no such host: web.whatsapp.com" in said


def test_without_any_gateway_it_says_that(redis: RedisServer) -> None:
    with Replica(redis.url, key_prefix="sekring:lonely", partitions=1, qr_wait_ms=300) as replica:
        answer = ask(replica, "/get_qrcode", "628")

        assert answer.status_code == 504
        assert "no gateway lives" in answer.json()["message"]


# ------------------------------------------------------------------ /get_qrcode and the breaker


def test_an_open_breaker_is_reset_before_and_who_did_it_is_recorded(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    here.fail(name, 15)
    assert here.instance(name)["state"] == "open"

    shown = threads.submit(ask, here, "/get_qrcode", name)
    kinds = set()
    while "qr" not in kinds or "retry" not in kinds:
        kinds |= {errand["kind"] for errand in gateway.errands(5_000)}
    gateway.show_qr(name)

    assert shown.result().status_code == 200
    assert (here.instance(name)["state"], here.instance(name)["failures"]) == ("closed", 0)
    (reset,) = (
        entry
        for entry in here.get(f"/v1/instances/{name}/history")["transitions"]
        if entry["action"] == "reset"
    )
    assert (reset["reason"], reset["source"]) == ("a QR code was asked for", "127.0.0.1")


def test_a_closed_breaker_keeps_its_failures(
    here: Replica, name: str, gateway: GatewayDouble
) -> None:
    here.fail(name, 14)
    gateway.show_qr(name)

    assert ask(here, "/get_qrcode", name).status_code == 200
    assert here.instance(name)["failures"] == 14
    assert here.fail(name, 1)[0]["tripped"] is True


def test_a_temporary_ban_stays_and_is_said_at_once(
    here: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.show_qr(name)
    here.report(name, kind="temporary_ban", ban_expires_in_ms=600_000)

    answer = ask(here, "/get_qrcode", name)

    assert answer.status_code == 503
    refusal = answer.json()
    assert refusal["status"] == "error"
    assert refusal["circuit_breaker"] is True
    assert 590 <= refusal["retry_after"] <= 700
    assert answer.headers["retry-after"] == str(refusal["retry_after"])
    assert refusal["message"].startswith("Unable to create session: circuit breaker activated, ")
    assert "banned" in refusal["message"]
    assert here.instance(name)["cause"] == "temporary_ban"
    here.post(f"/v1/instances/{name}/reset", {"force": True, "reason": "test"})


def test_a_number_that_is_banned_for_good_has_no_time_to_try_again(
    here: Replica, name: str
) -> None:
    here.report(name, kind="banned")

    answer = ask(here, "/get_qrcode", name)

    assert answer.status_code == 503
    assert answer.json()["circuit_breaker"] is True
    assert "retry_after" not in answer.json()
    assert "retry-after" not in answer.headers
    assert "for good" in answer.json()["message"]


def test_what_an_operator_keeps_open_stays_open(here: Replica, name: str) -> None:
    here.post(f"/v1/instances/{name}/trip", {"reason": "under review"})

    answer = ask(here, "/get_qrcode", name)

    assert answer.status_code == 503
    assert answer.json()["circuit_breaker"] is True
    assert "an operator keeps it open (under review)" in answer.json()["message"]
    assert here.instance(name)["state"] == "forced_open"


@pytest.mark.parametrize("kind", ["logged_out", "locked"])
def test_what_only_a_new_link_helps_is_lifted(
    here: Replica, name: str, gateway: GatewayDouble, kind: str
) -> None:
    here.report(name, kind=kind)
    assert here.permit(name)["permitted"] is False
    gateway.show_qr(name)

    assert ask(here, "/get_qrcode", name).status_code == 200
    assert here.permit(name)["permitted"] is True


def test_a_breaker_that_trips_again_meanwhile_ends_the_waiting(
    here: Replica, there: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    shown = threads.submit(ask, here, "/get_qrcode", name)
    gateway.next_errand("qr")

    there.fail(name, 15)

    assert shown.result().status_code == 503
    assert shown.result().json()["circuit_breaker"] is True
    assert "too many connection failures" in shown.result().json()["message"]


# ----------------------------------------------------------------------------------- /instance


def test_it_wishes_for_the_session_and_says_that_no_phone_has_it(
    here: Replica, there: Replica, name: str
) -> None:
    answer = ask(here, "/instance", name)

    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["relogin"]) == ("error", True)
    assert "/get_qrcode" in told["message"]
    assert told["data"]["phase"] == "vacant"
    assert there.get(f"/v1/sessions/{name}")["wanted"] is True


def test_a_linked_session_is_told_with_its_device(
    here: Replica, name: str, gateway: GatewayDouble
) -> None:
    gateway.phase(name, "connected", device="6281234567890:7@s.whatsapp.net")

    told = ask(here, "/instance", name).json()

    assert told == {
        "status": "success",
        "message": "Success",
        "data": {
            "id": "6281234567890:7@s.whatsapp.net",
            "name": "6281234567890",
            "instance_id": name,
            "phase": "connected",
            "connected": True,
            "gateway": f"gateway-{name}",
            "detail": None,
        },
    }


def test_while_the_breaker_refuses_it_is_the_guides_503(here: Replica, name: str) -> None:
    here.fail(name, 15)

    answer = ask(here, "/instance", name)

    assert answer.status_code == 503
    told = answer.json()
    assert (told["status"], told["circuit_breaker"]) == ("error", True)
    assert told["message"].startswith("Unable to create session: circuit breaker activated, ")
    assert 590 <= told["retry_after"] <= 600
    assert answer.headers["retry-after"] == str(told["retry_after"])
    assert here.instance(name)["state"] == "open", "asking for the instance resets nothing"


# ------------------------------------------------------------------------------------- /logout


def test_a_connected_session_is_unlinked_and_not_connected_any_more(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    done = threads.submit(ask, here, "/logout", name)

    gateway.answer(gateway.next_errand("log_out"))

    assert done.result().json()["status"] == "success"
    assert "unlinked" in done.result().json()["message"]
    assert here.get(f"/v1/sessions/{name}")["wanted"] is False


def test_a_device_that_could_not_be_unlinked_is_said(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    done = threads.submit(ask, here, "/logout", name)

    gateway.answer(gateway.next_errand("log_out"), error="websocket not connected")

    assert "could not be unlinked (websocket not connected)" in done.result().json()["message"]
    assert here.get(f"/v1/sessions/{name}")["wanted"] is False


def test_one_that_is_not_connected_is_only_dropped(here: Replica, name: str) -> None:
    here.post("/v1/sessions", {"instance_id": name})

    assert "linked devices" in ask(here, "/logout", name).json()["message"]
    assert here.get(f"/v1/sessions/{name}")["wanted"] is False
    assert "was not to be connected" in ask(here, "/logout", name).json()["message"]


# ------------------------------------------------------------------------------- /send_message

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class _Sent(NamedTuple):
    """A request as some client sends it."""

    method: str
    query: Body
    body: str = ""
    headers: Body = {}  # noqa: RUF012 - nobody changes it


@pytest.mark.parametrize(
    "request_",
    [
        _Sent("GET", {"number": "62 812-345-6789", "type": "text", "message": "Hi there"}),
        _Sent("POST", {"number": "628123456789", "type": "text", "message": "Hi there"}),
        _Sent("POST", {}, '{"chat_id": "628123456789", "caption": "Hi there", "type": 1}', JSON),
        _Sent("POST", {"type": "1"}, '{"number": 628123456789, "message": "Hi there"}', FORM),
        _Sent("POST", {}, "number=%2B628123456789&message=Hi+there&filename=", FORM),
        _Sent("POST", {"message": "no"}, "number=628123456789&message=Hi there", FORM),
    ],
    ids=count(),
)
def test_a_text_is_sent_however_wazipers_clients_say_it(
    here: Replica,
    name: str,
    gateway: GatewayDouble,
    threads: ThreadPoolExecutor,
    request_: _Sent,
) -> None:
    gateway.phase(name, "connected")
    sent = threads.submit(
        httpx.request,
        request_.method,
        f"{here.url}/send_message",
        params={"instance_id": name, **request_.query},
        content=request_.body,
        headers=request_.headers,
        timeout=30,
    )

    errand = gateway.next_errand("send")

    assert (errand["to"], errand["text"]) == ("628123456789", "Hi there")
    gateway.answer(errand, result="3EB0C431")
    assert sent.result().json() == {
        "status": "success",
        "message": "Success",
        "data": {"message_id": "3EB0C431"},
    }


def test_a_jid_is_taken_as_it_is(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    gateway.phase(name, "connected")
    for given, meant in (
        ("120363012345678901@g.us", "120363012345678901@g.us"),
        ("628123456789@c.us", "628123456789@s.whatsapp.net"),
    ):
        sent = threads.submit(ask, here, "/send_message", name, chat_id=given, message="x")
        errand = gateway.next_errand("send")
        assert errand["to"] == meant
        gateway.answer(errand, result="1")
        assert sent.result().status_code == 200


def test_through_a_session_that_is_not_connected_nothing_is_sent(here: Replica, name: str) -> None:
    answer = ask(here, "/send_message", name, number="628123456789", message="x")

    assert answer.status_code == 409
    assert "not connected" in answer.json()["message"]


@pytest.mark.parametrize(
    ("query", "field", "says"),
    [
        ({"number": "628123456789"}, "message", "message is missing"),
        ({"message": "x"}, "number", "number is missing"),
        ({"message": "x", "number": "0812345"}, "number", "no leading zeros"),
        ({"message": "x", "number": "84933313xxx"}, "number", "phone number"),
        ({"message": "x", "chat_id": "a b@g.us"}, "chat_id", "JID"),
        ({"message": "x", "chat_id": "628@evil.example"}, "chat_id", "JID"),
        ({"message": "x", "number": "628123456789", "type": "media"}, "type", "only text is sent"),
        ({"message": "x", "number": "628123456789", "media_url": "u"}, "media_url", "only text"),
        ({"message": "x" * 65_537, "number": "628123456789"}, "message", "65536"),
    ],
    ids=count(),
)
def test_anything_but_a_text_is_a_clear_400(
    here: Replica, name: str, query: Body, field: str, says: str
) -> None:
    url = f"{here.url}/send_message"
    for answer in (
        httpx.post(url, params={"instance_id": name}, json=query),
        httpx.get(url, params={"instance_id": name, **query}) if len(str(query)) < 9_000 else None,
    ):
        if answer is not None:
            assert answer.status_code == 400, answer.text
            assert (answer.json()["status"], answer.json()["field"]) == ("error", field)
            assert says in answer.json()["message"]


@pytest.mark.parametrize("path", ["/get_qrcode", "/instance", "/logout", "/send_message"])
@pytest.mark.parametrize("query", ["", "?instance_id=", "?instance_id=a%2Fb", "?instance_id=%00"])
def test_a_wrong_or_missing_instance_is_named(here: Replica, path: str, query: str) -> None:
    answer = httpx.get(f"{here.url}{path}{query}")

    assert answer.status_code == 400
    assert (answer.json()["status"], answer.json()["field"]) == ("error", "instance_id")


def test_a_post_without_an_instance_says_so(here: Replica) -> None:
    for body in (b"", b"{}", b'{"instance_id": "a b"}', b"message=x"):
        text = b"number=628123456789&message=x&" if body == b"" else body
        answer = httpx.post(f"{here.url}/send_message?number=628123456789&message=x", content=text)
        assert (answer.status_code, answer.json()["field"]) == (400, "instance_id")


def test_a_multipart_form_is_refused_in_words(here: Replica, name: str) -> None:
    answer = httpx.post(
        f"{here.url}/send_message?instance_id={name}", files={"number": b"628123456789"}
    )

    assert answer.status_code == 400
    assert "multipart" in answer.json()["message"]


def test_unknown_paths_below_keep_the_guides_form_and_neighbours_do_not(here: Replica) -> None:
    for path in ("/get_qrcode/x", "/instance/x", "/logout/x", "/send_message/x"):
        assert httpx.get(f"{here.url}{path}").json()["status"] == "error", path
    for path in ("/instances", "/get_qrcodes", "/logouts"):
        assert httpx.get(f"{here.url}{path}").json()["type"] == "not_found", path


# ------------------------------------------------------------------------------- who may act

BROWSER = {"Accept": "text/html,*/*;q=0.8"}
NAVIGATION = {
    **BROWSER,
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-User": "?1",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


@pytest.mark.parametrize(
    "headers",
    [
        BROWSER,
        {**NAVIGATION, "Sec-Fetch-Site": "cross-site"},
        {**NAVIGATION, "Sec-Fetch-Site": "same-site"},
        {**NAVIGATION, "Sec-Purpose": "prefetch;prerender"},
        {**NAVIGATION, "Sec-Fetch-User": ""},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "same-origin", "Purpose": "prefetch"},
        {"Purpose": "prefetch"},
    ],
    ids=count(),
)
def test_what_no_user_has_asked_for_changes_nothing(
    here: Replica, name: str, headers: Body
) -> None:
    here.fail(name, 15)

    for path in ("/get_qrcode", "/instance", "/logout", "/send_message"):
        answer = ask(here, path, name, headers, number="628123456789", message="x")
        assert answer.status_code == 403, path
        assert "nothing was done" in answer.json()["message"]

    assert here.instance(name)["state"] == "open"
    assert here.get(f"/v1/sessions/{name}")["wanted"] is False


@pytest.mark.parametrize(
    "headers",
    [
        NAVIGATION,
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Accept": "*/*"},
        {"Accept": "application/json, text/plain, */*"},
    ],
    ids=count(),
)
def test_the_user_himself_a_page_of_ours_and_programs_act(
    here: Replica, name: str, headers: Body
) -> None:
    assert ask(here, "/instance", name, headers).status_code == 200
    assert here.get(f"/v1/sessions/{name}")["wanted"] is True


def test_access_token_is_the_callers_and_is_in_no_log(redis: RedisServer) -> None:
    operator, viewer = (NewToken.make(f"the-{role}", role) for role in (Role.OPERATOR, Role.VIEWER))
    tokens = ",".join(
        f"{made.entry.name}={made.entry.role}:{made.entry.hash}" for made in (operator, viewer)
    )
    with Replica(
        redis.url,
        key_prefix="sekring:guarded",
        partitions=1,
        tokens=tokens,
        log_level="debug",
        qr_wait_ms=200,
    ) as guarded:
        text: Body = {"number": "628123456789", "message": "a secret text"}
        for path in ("/get_qrcode", "/instance", "/logout", "/send_message"):
            assert ask(guarded, path, "628", **text).status_code == 401
            token = viewer.token
            assert ask(guarded, path, "628", **text, access_token=token).status_code == 403
            token = operator.token
            status = ask(guarded, path, "628", **text, access_token=token).status_code
            assert status in {200, 409, 504}, path
        url = f"{guarded.url}/send_message?instance_id=628&access_token={operator.token}"
        assert httpx.post(url, json={"access_token": operator.token, **text}).status_code == 409

        log = guarded.log_text()
    assert '"path": "/send_message"' in log, "requests are logged at this level"
    for secret in (operator.token, viewer.token, "access_token", "a secret text"):
        assert secret not in log


def test_no_code_is_ever_in_the_log(here: Replica, there: Replica) -> None:
    assert "qr code shown" in there.log_text()
    for replica in (here, there):
        assert "QrSecret" not in replica.log_text()


def test_requests_that_wait_do_not_hold_up_others(
    here: Replica, name: str, gateway: GatewayDouble, threads: ThreadPoolExecutor
) -> None:
    waiting = [threads.submit(ask, here, "/get_qrcode", name) for _ in range(20)]
    wait_until(lambda: gateway.errands(500), "the errand")

    for _ in range(20):
        assert here.permit("another")["permitted"] in {True, False}
    assert not any(one.done() for one in waiting)

    gateway.show_qr(name)
    assert {one.result().status_code for one in waiting} == {200}
