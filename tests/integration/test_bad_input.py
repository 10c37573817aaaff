"""What is wrong is refused: with which status, naming which field, in which words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.httpwire import Answer, raw_request, send_raw
from tests.servers import RedisServer
from tests.serving import ServiceProcess

ID_WORDS = "takes 1 to 128 of A-Z a-z 0-9 . _ : @ -"
ONE = "/v1/instances/628"
OUTCOMES = f"{ONE}/outcomes"
LARGE = b'{"outcome": "failure", "detail": "' + b"x" * (2 << 20) + b'"}'
FAILURE = '{"outcome": "failure", '
BAN = '{"outcome": "failure", "kind": "temporary_ban", '
QR = '{"gateway": "g", "token": 1, "code": "2@x", "expires_in_ms": 1'
PHASE = '{"gateway": "g", "token": 1, '
RENEWAL = '{"gateway": "g", "capacity": 1, "leases": '
DNS = '{"instance_id": "628", "outcome": "failure", "kind": "dns"}'


class Refusal(NamedTuple):
    """A request (`body` as it goes over the wire), and what it is answered."""

    method: str
    path: str
    body: str | bytes | None
    status: int
    type: str
    field: str | None
    says: str


def refused(status: int, word: str, *rows: tuple[str, str, str | None, str]) -> list[Refusal]:
    """Return rows of (method, path, body, what the answer says)."""
    return [
        Refusal(method, path, body, status, word, None, says) for method, path, body, says in rows
    ]


def bad_requests(*rows: tuple[str, str, str | None, str, str]) -> list[Refusal]:
    """Return rows of (method, path, body, field, what the answer says)."""
    return [
        Refusal(method, path, body, 400, "invalid_input", field, says)
        for method, path, body, field, says in rows
    ]


def bad_bodies(
    method: str, path: str, *rows: tuple[str | bytes | None, str | None, str]
) -> list[Refusal]:
    """Return rows of (body, field, what the answer says) for one route."""
    return [
        Refusal(method, path, body, 400, "invalid_input", field, says) for body, field, says in rows
    ]


TABLE = [
    # ------------------------------------------------------------------------- instance ids
    *bad_requests(
        ("GET", f"/v1/instances/{'x' * 129}", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/%20", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/a%20b", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/a+b", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/a%2Fb", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/%2e%2e%2fhealth", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/%C3%A9", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/%F0%9F%94%A5", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/%FF%FE", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/%00", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/*", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/628%0A", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/%7B00%7D", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances//history", None, "instance_id", "an instance_id is missing"),
        ("GET", "/v1/instances/*/history", None, "instance_id", ID_WORDS),
        ("GET", "/v1/instances/*/policy", None, "instance_id", ID_WORDS),
        ("PUT", "/v1/instances/*/policy", "{}", "instance_id", ID_WORDS),
        ("DELETE", "/v1/instances/*/policy", None, "instance_id", ID_WORDS),
        ("POST", "/v1/instances/*/attempts", None, "instance_id", ID_WORDS),
        ("POST", "/v1/instances/*/outcomes", '{"outcome": "success"}', "instance_id", ID_WORDS),
        ("POST", "/v1/instances/*/reset", None, "instance_id", ID_WORDS),
        ("POST", "/v1/instances/*/trip", '{"reason": "x"}', "instance_id", ID_WORDS),
        ("POST", "/v1/instances/*/disable", '{"reason": "x"}', "instance_id", ID_WORDS),
    ),
    # ------------------------------------------------- bodies that are none, or of another shape
    *bad_bodies("POST", OUTCOMES,
        (None, None, "The body is missing: send a JSON object"),
        ("{}", "outcome", "outcome is missing"),
        ("not JSON", None, "not valid JSON"),
        ('{"outcome": "failure"', None, "not valid JSON"),
        ('{"outcome": "failure"} {}', None, "not valid JSON"),
        ("outcome=failure&kind=dns", None, "not valid JSON"),
        ("null", None, "Expected `object`, got `null`"),
        ("[]", None, "Expected `object`, got `array`"),
        ("5", None, "Expected `object`, got `int`"),
        ('"failure"', None, "Expected `object`, got `str`"),
        ("[" * 100_000, None, "Expected `object`"),
        ('{"outcome": ' + "[" * 100_000, "outcome", "Expected `str`"),
    ),
    *bad_bodies("POST", "/v1/outcomes",
        ('{"outcomes": ' + "[" * 100_000, None, "nested too deeply"),
        ('{"outcomes": [' + '{"x":' * 100_000, None, "nested too deeply"),
    ),
    *bad_bodies("POST", OUTCOMES,
        (FAILURE + '"kinds": "dns"}', "kinds", "kinds is not a field of this request"),
        (FAILURE + '"instance_id": "628"}', "instance_id", "is not a field"),
    ),
    # ------------------------------------------------------------------------- broken strings
    *bad_bodies("POST", OUTCOMES,
        (FAILURE.encode() + b'"detail": "\xff"}', None, "UTF-8"),
        (FAILURE.encode() + b'"\xff": 1}', None, "UTF-8"),
        (FAILURE + r'"detail": "\ud800"}', None, "not valid JSON"),
        (FAILURE + '"detail": "a\nb"}', None, "not valid JSON"),
        (FAILURE + r'"id": "a\u0000"}', "id", "printable ASCII characters without spaces"),
        (FAILURE + r'"id": "r-1\n"}', "id", "printable ASCII characters without spaces"),
        (FAILURE + '"id": "r 1"}', "id", "printable ASCII characters without spaces"),
        (FAILURE + '"id": ""}', "id", "length >= 1"),
        (FAILURE + f'"id": "{"x" * 129}"}}', "id", "length <= 128"),
        (FAILURE + '"attempt_id": "é"}', "attempt_id", "printable ASCII"),
        (FAILURE + '"gateway": ""}', "gateway", "length >= 1"),
        (FAILURE + '"gateway": "my gateway"}', "gateway", "printable ASCII"),
        (FAILURE + '"build": ["x"]}', "build", "Expected `str | null`, got `array`"),
        (FAILURE + f'"detail": "{"x" * 2001}"}}', "detail", "length <= 2000"),
    ),
    *bad_bodies("POST", f"{ONE}/attempts",
        ('{"gateway": ""}', "gateway", "length >= 1"),
        ('{"instance_id": "628"}', "instance_id", "is not a field"),
        ("[]", None, "Expected `object`"),
    ),
    # --------------------------------------------------------------------------- wrong values
    *bad_bodies("POST", OUTCOMES,
        ('{"outcome": "failed"}', "outcome", "is not one of failure, success, disconnected"),
        ('{"outcome": 1}', "outcome", "Expected `str`"),
        (FAILURE + '"kind": "DNS"}', "kind", "'DNS' is not one of dns, refused, timeout, tls,"),
        (FAILURE + '"kind": "x"}', "kind", "bad_user_agent, conflict, pairing"),
        (FAILURE + '"protocol": "xmpp"}', "protocol", "is not one of whatsmeow, baileys"),
        (FAILURE + '"protocol": "baileys"}', "code", "code is missing"),
        (FAILURE + '"code": 428}', "protocol", "protocol is missing"),
        (FAILURE + '"kind": "dns", "protocol": "baileys"}', "kind", "exclude each other"),
        (FAILURE + '"protocol": "baileys", "code": -1}', "code", ">= 0"),
        (FAILURE + '"protocol": "baileys", "code": 65536}', "code", "<= 65535"),
        (FAILURE + '"protocol": "baileys", "code": "428"}', "code", "got `str`"),
        ('{"outcome": "success", "kind": "dns"}', "kind", "goes with the outcome failure only"),
        ('{"outcome": "disconnected", "code": 428}', "code", "failure only"),
        (FAILURE + '"ban_expires_in_ms": 1}', "ban_expires_in_ms", "the kind temporary_ban only"),
        (BAN + '"ban_expires_in_ms": -1}', "ban_expires_in_ms", ">= 0"),
        (BAN + '"ban_expire": 32503680001}', "ban_expire", "<= 32503680000"),
    ),
    # -------------------------------------------------------------------------------- numbers
    *bad_bodies("POST", OUTCOMES,
        (FAILURE + '"age_ms": -1}', "age_ms", ">= 0"),
        (FAILURE + '"age_ms": 604800001}', "age_ms", "<= 604800000"),
        (FAILURE + '"age_ms": 1.5}', "age_ms", "Expected `int`, got `float`"),
        (FAILURE + '"age_ms": "5"}', "age_ms", "Expected `int`, got `str`"),
        (FAILURE + '"age_ms": true}', "age_ms", "Expected `int`, got `bool`"),
        (FAILURE + '"age_ms": null}', "age_ms", "Expected `int`, got `null`"),
        (FAILURE + '"age_ms": 9223372036854775808}', "age_ms", "<= 604800000"),
        (FAILURE + f'"age_ms": {10**40}}}', "age_ms", "Expected `int`"),
        (FAILURE + f'"age_ms": -{"9" * 5000}}}', "age_ms", ""),
        (FAILURE + '"age_ms": NaN}', None, "not valid JSON"),
        (FAILURE + '"age_ms": Infinity}', None, "not valid JSON"),
        (FAILURE + '"age_ms": 1e999}', "age_ms", ""),
        (FAILURE + '"epoch": -1}', "epoch", ">= 0"),
        (FAILURE + '"epoch": 9007199254740992}', "epoch", "<= 9007199254740991"),
    ),
    # ---------------------------------------------------------------------------------- batch
    *bad_bodies("POST", "/v1/outcomes",
        ("{}", "outcomes", "outcomes is missing"),
        ('{"outcomes": []}', "outcomes", "length >= 1"),
        (f'{{"outcomes": [{",".join([DNS] * 1001)}]}}', "outcomes", "length <= 1000"),
        (f'{{"outcomes": {DNS}}}', "outcomes", "Expected `array`, got `object`"),
        (f"[{DNS}]", None, "Expected `object`, got `array`"),
        (f'{{"outcomes": [{DNS}], "dry_run": true}}', "dry_run", "is not a field"),
        (f'{{"outcomes": [{DNS},]}}', None, "not valid JSON"),
    ),
    # -------------------------------------------------------------------------- listing, history
    *bad_requests(
        ("GET", "/v1/instances?limit=0", None, "limit", ">= 1"),
        ("GET", "/v1/instances?limit=1001", None, "limit", "<= 1000"),
        ("GET", "/v1/instances?limit=-1", None, "limit", ">= 1"),
        ("GET", "/v1/instances?limit=ten", None, "limit", "Expected `int`"),
        ("GET", "/v1/instances?limit=", None, "limit", "Expected `int`"),
        ("GET", f"/v1/instances?limit={10**30}", None, "limit", ""),
        ("GET", "/v1/instances?state=broken", None, "state", "is not one of closed, open,"),
        ("GET", "/v1/instances?cursor=628", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/instances?cursor=64:628", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/instances?cursor=-1:628", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/instances?cursor=0:*", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/instances?cursor=0:", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/instances?cursor=%D9%A1:628", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/instances?cursor=%FF", None, "cursor", "leave it out to begin anew"),
        ("GET", f"/v1/instances?cursor=0:{'x' * 160}", None, "cursor", "length <= 160"),
        ("GET", "/v1/instances?cursor=open~0:628", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/instances?order=open_first&cursor=0:628", None, "cursor", "leave it out"),
        ("GET", "/v1/instances?order=open_first&cursor=no~0:6", None, "cursor", "leave it out"),
        ("GET", "/v1/instances?order=open_first&cursor=open~64:6", None, "cursor", "leave it out"),
        ("GET", "/v1/instances?order=state", None, "order", "is not one of id, open_first"),
        ("GET", "/v1/instances?prefix=a%20b", None, "prefix", "takes at most 128 of A-Z"),
        ("GET", f"/v1/instances?prefix={'x' * 129}", None, "prefix", "takes at most 128 of A-Z"),
        ("GET", f"{ONE}/history?limit=0", None, "limit", ">= 1"),
        ("GET", f"{ONE}/history?limit=1.5", None, "limit", "Expected `int`"),
    ),
    # -------------------------------------------------------------------------------- policies
    *bad_bodies("PUT", "/v1/policy",
        ('{"failure_threshold": 0}', "failure_threshold", ">= 1"),
        ('{"failure_threshold": 10001}', "failure_threshold", "<= 10000"),
        ('{"failure_threshold": null}', "failure_threshold", "got `null`"),
        ('{"failure_threshold": "15"}', "failure_threshold", "got `str`"),
        ('{"threshold": 15}', "threshold", "is not a field"),
        ('{"window_ms": 86400001}', "window_ms", "<= 86400000"),
        ('{"window_ms": 999}', "window_ms", ">= 1000"),
        ('{"cooldown_ms": 0}', "cooldown_ms", ">= 1"),
        ('{"cooldown_factor": NaN}', None, "not valid JSON"),
        ('{"cooldown_factor": 1e999}', "cooldown_factor", ""),
        ('{"cooldown_factor": 0.5}', "cooldown_factor", ">= 1"),
        ('{"cooldown_max_ms": 599999}', "cooldown_max_ms", "below cooldown_ms (600000)"),
        ('{"probes": -1}', "probes", ">= 0"),
        ('{"probe_ttl_ms": 0}', "probe_ttl_ms", ">= 1000"),
        ('{"stable_after_ms": -1}', "stable_after_ms", ">= 0"),
        ('{"success_clears": "yes"}', "success_clears", "Expected `bool`"),
        ('{"min_reporters": 0}', "min_reporters", ">= 1"),
        ('{"weights": {"dns": -1}}', "weights", ">= 0"),
        ('{"weights": {"ghost": 1}}', "weights.ghost", "the kinds are dns, refused,"),
        ('{"weights": {"banned": 1}}', "weights.banned", "is ever counted"),
        ('{"backoff": {"cap_ms": 999}}', "backoff.cap_ms", "below backoff.base_ms (1000)"),
        ('{"backoff": {"jitter": 1.1}}', "backoff.jitter", "<= 1"),
        ('{"backoff": {"pace": 1}}', "backoff.pace", "backoff.pace is not a field"),
        ('{"backoff": 5}', "backoff", "Expected `object`, got `int`"),
        ('{"fleet_guard": {"share": 0}}', "fleet_guard.share", "> 0"),
        ('{"fleet_guard": {"rate_per_s": 0.5}}', "fleet_guard.rate_per_s", ">= 1"),
        ('{"fleet_guard": {"rate": 5}}', "fleet_guard.rate", "is not a field"),
    ),
    *bad_bodies("PUT", f"{ONE}/policy",
        ('{"failure_threshold": 0}', "failure_threshold", ">= 1"),
        ('{"cooldown_max_ms": 1}', "cooldown_max_ms", "below cooldown_ms"),
        ('{"fleet_guard": {"share": 0.6}}', "fleet_guard", "set it in the fleet's policy"),
    ),
    *bad_bodies("POST", "/v1/policy/preview",
        (None, None, "The body is missing: send a JSON object"),
        ('{"failure_threshold": 0}', "failure_threshold", ">= 1"),
        ('{"threshold": 15}', "threshold", "is not a field"),
        ('{"cooldown_max_ms": 599999}', "cooldown_max_ms", "below cooldown_ms (600000)"),
        ('{"weights": {"ghost": 1}}', "weights.ghost", "the kinds are dns, refused,"),
    ),
    *bad_bodies("POST", f"{ONE}/policy/preview",
        ('{"cooldown_max_ms": 1}', "cooldown_max_ms", "below cooldown_ms"),
        ('{"fleet_guard": {"share": 0.6}}', "fleet_guard", "set it in the fleet's policy"),
    ),
    *bad_bodies("POST", "/v1/instances/*/policy/preview", ("{}", "instance_id", ID_WORDS)),
    # ------------------------------------------------------------------- what an operator does
    *bad_bodies("POST", f"{ONE}/reset",
        ('{"force": true}', "reason", "reason is missing"),
        ('{"force": "yes"}', "force", "Expected `bool`"),
        ('{"reason": ""}', "reason", "length >= 1"),
        (f'{{"reason": "{"x" * 501}"}}', "reason", "length <= 500"),
    ),
    *bad_bodies("POST", f"{ONE}/trip",
        ("{}", "reason", "reason is missing"),
        ('{"reason": "x", "for_ms": 0}', "for_ms", ">= 1"),
        ('{"reason": "x", "for_ms": 31536000001}', "for_ms", "<= 31536000000"),
        ('{"reason": "x", "for_ms": "1h"}', "for_ms", "got `str`"),
    ),
    *bad_bodies("POST", f"{ONE}/disable",
        ("{}", "reason", "reason is missing"),
        (f'{{"reason": "x", "for_ms": {10**18}}}', "for_ms", "<= 31536000000"),
    ),
    *bad_bodies("POST", "/v1/resets",
        ("{}", "instances", "exactly one of instances, state and all"),
        ('{"all": false}', "instances", "exactly one of"),
        ('{"all": true, "state": "open"}', "instances", "exactly one of"),
        ('{"instances": []}', "instances", "length >= 1"),
        (json.dumps({"instances": ["628"] * 1001}), "instances", "length <= 1000"),
        ('{"instances": ["628", "*"]}', "instances[1]", ID_WORDS),
        ('{"all": true, "prefix": "628"}', "instances", "prefix goes with state, or alone"),
        ('{"instances": ["628"], "prefix": "6"}', "instances", "prefix goes with state, or alone"),
        ('{"prefix": ""}', "prefix", "length >= 1"),
        ('{"prefix": "62*"}', "prefix", "takes at most 128 of A-Z"),
        ('{"state": "OPEN"}', "state", "'OPEN' is not one of closed, open,"),
    ),
    *bad_requests(
        ("DELETE", "/v1/builds", None, "build", "missing"),
        ("DELETE", "/v1/builds?build=", None, "build", "length >= 1"),
        ("DELETE", f"/v1/builds?build={'x' * 129}", None, "build", "length <= 128"),
    ),
    # ------------------------------------------------------------------------ events, webhooks
    *bad_requests(
        ("GET", "/v1/events?state=opne", None, "state", "is not one of closed, open,"),
        ("GET", "/v1/events?instance_id=a%20b", None, "instance_id", ID_WORDS),
        ("GET", "/v1/events?" + "instance_id=a&" * 101, None, "instance_id", "length <= 100"),
        ("GET", "/v1/events?last_event_id=1", None, "last_event_id", "leave it out to begin"),
        ("GET", "/v1/events?last_event_id=%00", None, "last_event_id", "leave it out to begin"),
        ("GET", "/v1/events?last_event_id=1-0", None, "last_event_id", "leave it out to begin"),
        ("DELETE", "/v1/webhooks/628", None, "webhook_id", "takes wh_ and 12 hex"),
        ("POST", "/v1/webhooks/wh_1/test", None, "webhook_id", "takes wh_ and"),
    ),
    *bad_bodies("POST", "/v1/webhooks",
        ("{}", "url", "url is missing"),
        ('{"url": ""}', "url", "length >= 1"),
        ('{"url": "ops.example.com"}', "url", "begins with http:// or https://"),
        ('{"url": "ftp://ops.example.com/"}', "url", "begins with http:// or https://"),
        ('{"url": "http://"}', "url", "begins with http:// or https://"),
        ('{"url": "http://[::1"}', "url", "begins with http:// or https://"),
        ('{"url": "http://a b/"}', "url", "printable ASCII"),
        ('{"url": "http://ops:word@localhost/"}', "url", "no user and no password"),
        ('{"url": "http://localhost/", "secret": "word"}', "secret", "takes whsec_ and the base64"),
        ('{"url": "http://localhost/", "secret": "whsec_d29yZA=="}', "secret", "24 to 64"),
        ('{"url": "http://localhost/", "states": ["opne"]}', "states[0]", "is not one of closed,"),
        ('{"url": "http://localhost/", "instances": ["a b"]}', "instances[0]", ID_WORDS),
        ('{"url": "http://localhost/", "stats": []}', "stats", "is not a field"),
    ),
    *refused(404, "not_found",
        ("DELETE", "/v1/webhooks/wh_000000000000", None, "GET /v1/webhooks lists them"),
        ("POST", "/v1/webhooks/wh_000000000000/test", None, "GET /v1/webhooks lists them"),
    ),
    # ------------------------------------------------------------- errands, QR codes, messages
    *bad_requests(
        ("PUT", "/v1/leases/*/qr", QR + "}", "instance_id", ID_WORDS),
        ("PUT", "/v1/leases/628/qr", "{}", "gateway", "gateway is missing"),
        ("PUT", "/v1/leases/628/qr", QR[:-1] + "0}", "expires_in_ms", ">= 1"),
        ("PUT", "/v1/leases/628/qr", QR + "000000}", "expires_in_ms", "<= 300000"),
        ("PUT", "/v1/leases/628/qr", QR.replace("2@x", "") + "}", "code", "length >= 1"),
        ("PUT", "/v1/leases/628/qr", QR.replace("2@x", "x" * 2_001) + "}", "code", "<= 2000"),
        ("PUT", "/v1/leases/628/qr", QR.replace(": 1,", ": 0,") + "}", "token", ">= 1"),
        ("POST", "/v1/gateways/a%20b/errands", "{}", "gateway", "without spaces"),
        ("POST", f"/v1/gateways/{'x' * 129}/errands", "{}", "gateway", "1 to 128"),
        ("POST", "/v1/gateways/g/errands", '{"wait_ms": 60001}', "wait_ms", "<= 60000"),
        ("POST", "/v1/gateways/g/errands", '{"wait_ms": -1}', "wait_ms", ">= 0"),
        ("POST", "/v1/gateways/g/errands", '{"wait": 1}', "wait", "not a field"),
        ("POST", "/v1/errands/1", '{"instance_id": "628"}', "errand_id", "24 hex digits"),
        ("POST", f"/v1/errands/{'0' * 24}", "{}", "instance_id", "instance_id is missing"),
        (
            "POST",
            f"/v1/errands/{'0' * 24}",
            '{"instance_id": "628", "result": "x", "error": "y"}',
            "error",
            "either result or error",
        ),
        ("POST", "/v1/sessions/*/pairing-code", '{"phone": "6281234567"}', "instance_id", ID_WORDS),
        ("POST", "/v1/sessions/628/pairing-code", "{}", "phone", "phone is missing"),
        ("POST", "/v1/sessions/628/pairing-code", '{"phone": "+628123"}', "phone", "no + and no"),
        ("POST", "/v1/sessions/628/pairing-code", '{"phone": "08123456"}', "phone", "no leading"),
        ("POST", "/v1/sessions/628/messages", '{"to": "6281234567"}', "text", "text is missing"),
        ("POST", "/v1/sessions/628/messages", '{"to": "x", "text": "x"}', "to", "phone number"),
        ("POST", "/v1/sessions/628/messages", '{"to": "6281234567", "text": ""}', "text", ">= 1"),
    ),
    # ------------------------------------------------------------------- sessions and their leases
    *bad_requests(
        ("GET", "/v1/sessions/*", None, "instance_id", ID_WORDS),
        ("DELETE", "/v1/sessions/*", None, "instance_id", ID_WORDS),
        ("PUT", "/v1/leases/*/phase", PHASE + '"phase": "waiting"}', "instance_id", ID_WORDS),
        ("GET", "/v1/sessions?limit=0", None, "limit", ">= 1"),
        ("GET", "/v1/sessions?limit=1001", None, "limit", "<= 1000"),
        ("GET", "/v1/sessions?cursor=x", None, "cursor", "leave it out to begin anew"),
        ("GET", "/v1/sessions?cursor=64:628", None, "cursor", "leave it out to begin anew"),
    ),
    *bad_bodies("POST", "/v1/sessions",
        (None, None, "The body is missing: send a JSON object"),
        ("{}", "instance_id", "instance_id is missing"),
        ('{"instance_id": "*"}', "instance_id", ID_WORDS),
        ('{"instance_id": "628", "wanted": true}', "wanted", "is not a field"),
    ),
    *bad_bodies("POST", "/v1/leases/claim",
        ('{"capacity": 1, "held": 0}', "gateway", "gateway is missing"),
        ('{"gateway": "a b", "capacity": 1, "held": 0}', "gateway", "without spaces"),
        ('{"gateway": "a", "held": 0}', "capacity", "capacity is missing"),
        ('{"gateway": "a", "capacity": -1, "held": 0}', "capacity", "`int` >= 0"),
        ('{"gateway": "a", "capacity": 1, "held": 0, "limit": 1001}', "limit", "`int` <= 1000"),
        ('{"gateway": "a", "capacity": "1", "held": 0}', "capacity", "Expected `int`, got `str`"),
    ),
    *bad_bodies("POST", "/v1/leases/renew",
        ('{"gateway": "a", "capacity": 1}', "leases", "leases is missing"),
        (RENEWAL + '[{"instance_id": "628"}]}', "leases[0].token", "token is missing"),
        (RENEWAL + '[{"instance_id": "628", "token": 0}]}', "leases[0].token", "`int` >= 1"),
        (RENEWAL + '[{"instance_id": "*", "token": 1}]}', "leases[0].instance_id", ID_WORDS),
    ),
    *bad_bodies("POST", "/v1/leases/release",
        ('{"gateway": "a"}', "leases", "leases is missing"),
        ('{"gateway": "a", "leases": [], "x": 1}', "x", "is not a field"),
    ),
    *bad_bodies("PUT", "/v1/leases/628/phase",
        (PHASE + '"phase": "dialing"}', "phase", "is not one of vacant, waiting, connecting"),
        (PHASE + '"phase": "vacant"}', "phase", "who is done with a session releases it"),
        (PHASE + '"phase": "waiting", "device": "a b"}', "device", "without spaces"),
        ('{"gateway": "g", "phase": "waiting"}', "token", "token is missing"),
    ),
    # --------------------------------------------------------------------------- routes, methods
    *refused(404, "not_found",
        ("GET", "/ghost", None, "nothing at this path"),
        ("GET", "/v2/instances", None, "/schema describes what there is"),
        ("GET", "/v1/instances/628/ghost", None, "nothing at this path"),
        ("GET", "/schema/ghost", None, "nothing at this path"),
    ),
    *refused(405, "method_not_allowed",
        ("POST", "/v1/policy", "{}", "DELETE, GET, PUT"),
        ("GET", OUTCOMES, None, "POST"),
        ("PATCH", ONE, "{}", "GET"),
        ("BREW", ONE, None, "GET"),
    ),
]  # fmt: skip

GUIDE_TABLE = [
    # The guide's routes, in the form that the guide's clients read.
    Refusal("GET", f"/circuit-breaker-status/{'x' * 129}", None, 400, "", "instance_id", ID_WORDS),
    Refusal("GET", "/circuit-breaker-status/a%2Fb", None, 400, "", "instance_id", ID_WORDS),
    Refusal("GET", "/circuit-breaker-status/%0A", None, 400, "", "instance_id", ID_WORDS),
    Refusal("GET", "/circuit-breaker-status/", None, 404, "", None, "nothing at this path"),
    Refusal("POST", "/circuit-breaker-status/628", None, 405, "", None, "GET"),
    Refusal("POST", "/reset-circuit-breaker/*", None, 400, "", "instance_id", ID_WORDS),
    Refusal("POST", "/reset-circuit-breaker/a%2Fb", None, 400, "", "instance_id", ID_WORDS),
    Refusal("POST", "/reset-circuit-breaker/%FF", None, 400, "", "instance_id", ID_WORDS),
    Refusal("POST", "/reset-circuit-breaker/", None, 404, "", None, "nothing at this path"),
    Refusal("POST", "/reset-circuit-breaker", None, 404, "", None, "nothing at this path"),
    Refusal("DELETE", "/reset-circuit-breaker/628", None, 405, "", None, "POST"),
    Refusal("POST", "/health", None, 405, "", None, "GET"),
    Refusal("GET", "/get_qrcode", None, 400, "", "instance_id", "it goes in the query"),
    Refusal("GET", "/get_qrcode?instance_id=a%2Fb", None, 400, "", "instance_id", ID_WORDS),
    Refusal("GET", "/instance?instance_id=", None, 400, "", "instance_id", ID_WORDS),
    Refusal("GET", "/logout?instance_id=%0A", None, 400, "", "instance_id", ID_WORDS),
    Refusal("POST", "/get_qrcode?instance_id=628", None, 405, "", None, "GET"),
    Refusal("GET", "/get_qrcode/628", None, 404, "", None, "nothing at this path"),
    Refusal("POST", "/send_message?instance_id=628", "[]", 400, "", None, "Expected `object`"),
    Refusal("POST", "/send_message?instance_id=628", "{", 400, "", None, "not valid JSON"),
    Refusal("POST", "/send_message?instance_id=628", b"\xff=1", 400, "", None, "UTF-8"),
]  # fmt: skip


def names_of(table: list[Refusal]) -> list[str]:
    """Return a short and unique name for each row."""
    names = []
    for number, row in enumerate(table, start=1):
        body = row.body.decode(errors="replace") if isinstance(row.body, bytes) else row.body or ""
        name = f"{number} {row.method} {row.path[:60]} {body[:70]}".rstrip()
        names.append(name.encode("ascii", "backslashreplace").decode())
    return names


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder: Path = tmp_path_factory.mktemp("bad-input")
    with (
        RedisServer(folder) as redis,
        ServiceProcess(redis.url, log_level="debug", log_format="json") as service,
    ):
        yield service


def ask(service: ServiceProcess, method: str, path: str, body: str | bytes | None) -> Answer:
    raw = body.encode() if isinstance(body, str) else body
    return send_raw(service.url, raw_request(method, path, raw, {"Connection": "close"}))


@pytest.mark.parametrize("row", TABLE, ids=names_of(TABLE))
def test_it_is_refused_as_a_problem(service: ServiceProcess, row: Refusal) -> None:
    answer = ask(service, row.method, row.path, row.body)

    problem = answer.json
    assert (answer.status, problem["type"], problem.get("field")) == (
        row.status,
        row.type,
        row.field,
    ), problem
    assert row.says in problem["detail"]
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == row.status
    assert problem["title"]
    if row.status == 405:
        assert set(answer.headers["allow"].split(", ")) >= set(row.says.split(", "))


@pytest.mark.parametrize("row", GUIDE_TABLE, ids=names_of(GUIDE_TABLE))
def test_on_the_guides_routes_it_is_refused_in_the_guides_form(
    service: ServiceProcess, row: Refusal
) -> None:
    answer = ask(service, row.method, row.path, row.body)

    error = answer.json
    assert (answer.status, error["status"], error.get("field")) == (row.status, "error", row.field)
    assert row.says in error["message"]
    assert answer.headers["content-type"] == "application/json"
    if row.status == 405:
        assert set(answer.headers["allow"].split(", ")) >= set(row.says.split(", "))


# ------------------------------------------------------------------------------- large bodies


@pytest.mark.parametrize(
    "path",
    [OUTCOMES, "/v1/outcomes", f"{ONE}/attempts", f"{ONE}/reset", f"{ONE}/trip", "/v1/resets"],
)
def test_a_body_of_2_mib_is_refused_by_its_announced_length(
    service: ServiceProcess, path: str
) -> None:
    answer = ask(service, "POST", path, LARGE)

    assert (answer.status, answer.json["type"]) == (413, "request_entity_too_large")
    assert "larger than 1 MiB" in answer.json["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_of_2_mib_is_refused_when_its_length_was_not_announced(
    service: ServiceProcess,
) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    request = raw_request(
        "POST", OUTCOMES, None, {"Transfer-Encoding": "chunked", "Connection": "close"}
    )

    answer = send_raw(service.url, request + chunk * 32 + b"0\r\n\r\n")

    assert (answer.status, answer.json["type"]) == (413, "request_entity_too_large")


def test_a_body_just_below_the_limit_is_read(service: ServiceProcess) -> None:
    body = b'{"outcome": "failure", "kind": "dns"' + b" " * ((1 << 20) - 37) + b"}"

    assert ask(service, "POST", OUTCOMES, body).status == 200


# ------------------------------------------------------------------- what is judged one by one


def test_a_bad_element_of_a_batch_is_answered_in_its_place(service: ServiceProcess) -> None:
    elements = [
        '{"instance_id": "batch", "outcome": "failure", "kind": "dns", "id": "b-1"}',
        '{"instance_id": "*", "outcome": "failure"}',
        '{"outcome": "failure"}',
        '{"instance_id": "batch", "outcome": "failure", "kind": "ghost"}',
        '{"instance_id": "batch", "outcome": "success", "kind": "dns"}',
        '{"instance_id": "batch", "outcome": "failure", "age_ms": 1e999}',
        "[]",
        "null",
        '{"instance_id": "batch", "outcome": "failure", "kind": "dns", "id": "b-2"}',
    ]

    answer = ask(service, "POST", "/v1/outcomes", f'{{"outcomes": [{",".join(elements)}]}}')

    assert answer.status == 200
    results = answer.json["results"]
    fates = [
        result.get("why") or (result["error"]["status"], result["error"].get("field"))
        for result in results
    ]
    assert fates == [
        "counted",
        (400, "instance_id"),
        (400, "instance_id"),
        (400, "kind"),
        (400, "kind"),
        (400, "age_ms"),
        (400, None),
        (400, None),
        "counted",
    ]
    assert [result["instance_id"] for result in results] == [
        "batch", "*", None, "batch", "batch", "batch", None, None, "batch",
    ]  # fmt: skip


def test_an_element_with_broken_text_does_not_spoil_the_others(service: ServiceProcess) -> None:
    body = b'{"outcomes": [%s, {"instance_id": "628", "outcome": "failure", "detail": "\xff"}]}'

    answer = ask(service, "POST", "/v1/outcomes", body % DNS.encode())

    assert answer.status == 200
    first, second = answer.json["results"]
    assert first["why"] == "counted"
    assert second["error"]["status"] == 400


# ------------------------------------------------------------------ what looks wrong and is not


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/v1/instances/{'x' * 128}/outcomes", '{"outcome": "failure", "kind": "dns"}'),
        ("/v1/instances/A.b_c:d@e-f/outcomes", '{"outcome": "failure", "kind": "dns"}'),
        ("/v1/instances/628%3A5%40s/outcomes", '{"outcome": "failure", "kind": "dns"}'),
        (OUTCOMES, '{"outcome": "failure"}'),
        (OUTCOMES, '{"outcome": "failure", "kind": null, "id": null}'),
        (OUTCOMES, r'{"outcome": "failure", "kind": "dns", "detail": "nul \u0000, \ud83d\udd25"}'),
        (OUTCOMES, '{"outcome": "failure", "protocol": "whatsmeow", "code": 65535}'),
        (OUTCOMES, '{"outcome": "failure", "kind": "dns", "age_ms": 604800000}'),
        (OUTCOMES, ' \r\n\t{"outcome": "failure", "kind": "dns"}\n'),
        (f"{ONE}/attempts", ""),
        (f"{ONE}/attempts", "{}"),
        (f"{ONE}/reset", ""),
    ],
    ids=lambda value: value[:60].encode("ascii", "backslashreplace").decode(),
)
def test_it_is_taken(service: ServiceProcess, path: str, body: str) -> None:
    answer = ask(service, "POST", path, body)

    assert answer.status == 200, answer.body


def test_of_a_repeated_key_the_last_one_is_taken(service: ServiceProcess) -> None:
    answer = ask(
        service, "POST", OUTCOMES, '{"outcome": "failure", "kind": "ghost", "outcome": "success"}'
    )
    assert (answer.status, answer.json["field"]) == (400, "kind")

    answer = ask(
        service, "POST", "/v1/instances/twice/outcomes",
        '{"outcome": "success", "kind": "dns", "outcome": "failure"}',
    )  # fmt: skip
    assert (answer.status, answer.json["why"]) == (200, "counted")


def test_whatever_the_content_type_says_the_body_is_json(service: ServiceProcess) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "nonsense", "a/b;c"):
        body = b'{"outcome": "failure", "kind": "dns"}'
        request = raw_request(
            "POST", OUTCOMES, body, {"Content-Type": content_type, "Connection": "close"}
        )
        assert send_raw(service.url, request).status == 200, content_type


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", "nonsense"),
        ("traceparent", f"00-{'0' * 32}-{'0' * 16}-00"),
        ("Cookie", "=;;="),
        ("Authorization", "Basic nonsense"),
    ],
)
def test_a_header_that_means_nothing_is_passed_over(
    service: ServiceProcess, name: str, value: str
) -> None:
    request = raw_request("POST", f"{ONE}/attempts", b"", {name: value, "Connection": "close"})

    assert send_raw(service.url, request).status == 200


# ------------------------------------------------------------------------------- anything at all

FIELDS = [
    "outcome", "kind", "protocol", "code", "detail", "id", "attempt_id", "epoch", "age_ms",
    "gateway", "build", "ban_expires_in_ms", "ban_expire", "instance_id", "extra",
]  # fmt: skip
WORDS = ["failure", "success", "disconnected", "dns", "temporary_ban", "banned", "baileys", "1-x"]
VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(WORDS),
    st.text(max_size=20),
    st.integers(),
    st.integers(0, 2_000),
    st.floats(),
    st.booleans(),
    st.none(),
    st.lists(st.integers(), max_size=3),
)
BODIES = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6).map(
        lambda fields: json.dumps({"outcome": "failure", **fields}).encode()
    ),
    st.binary(max_size=60),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
)


@given(body=BODIES)
@example(body=b'{"outcome": "failure", "epoch": 0, "attempt_id": "ffffffffffff-AAAAAAAA"}')
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_is_sent_as_an_outcome_the_service_is_not_at_fault(
    service: ServiceProcess, body: bytes
) -> None:
    single = ask(service, "POST", "/v1/instances/fuzz/outcomes", body)
    batch = ask(service, "POST", "/v1/outcomes", b'{"outcomes": [' + body + b"]}")

    assert single.status in {200, 400}, single.body
    assert batch.status in {200, 400}, batch.body


# ------------------------------------------------------------------------------------ afterwards


def test_after_all_this_the_service_is_well(service: ServiceProcess) -> None:
    assert ask(service, "GET", "/health", None).status == 200
    assert ask(service, "GET", "/ready", None).status == 200

    log = [json.loads(line) for line in service.log_text().splitlines()]
    assert [entry for entry in log if entry["level"] in {"error", "critical"}] == []
    assert [entry for entry in log if "exception" in entry] == []
    assert [entry for entry in log if entry.get("status", 0) >= 500] == []
    assert "Traceback" not in service.log_text()
