"""What the service is told of a failure."""

from typing import Any

import pytest

from sekring.gateway.outcome import kind_of, outcome_of
from sekring.gateway.workers.messages import Failed
from sekring.model import Origin
from sekring.outcomes import report_request
from sekring.taxonomy import Kind


def failed(**fields: Any) -> Failed:
    return Failed(instance_id="s", **{"detail": "words", **fields})


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (failed(kind=Kind.DNS), "dns"),
        (failed(protocol="whatsmeow", code=401), "logged_out"),
        (failed(protocol="baileys", code=440), "conflict"),
        (failed(protocol="whatsmeow", code=999), "unknown"),
        (failed(), "unknown"),
        (failed(code=401), "unknown"),
        (failed(protocol="whatsmeow"), "unknown"),
        (failed(protocol="whatsmeow", code=-1), "unknown"),
        (failed(protocol="whatsmeow", code=10**9), "unknown"),
        (failed(kind=Kind.TLS, protocol="whatsmeow", code=401), "tls"),
        (failed(kind=Kind.DNS, ban_expire=5), "dns"),
        (failed(protocol="whatsmeow", code=402, ban_expire=-5), "temporary_ban"),
    ],
)
def test_whatever_a_driver_says_the_service_takes_it_as_the_same_kind(
    failure: Failed, kind: str
) -> None:
    body = outcome_of(failure, attempt_id="1-abcdefgh", gateway="a", build="scripted/1")
    request = report_request("s", body, Origin())

    assert request.kind == kind == kind_of(failure)


def test_a_ban_is_told_with_its_end() -> None:
    failure = failed(protocol="whatsmeow", code=402, ban_expire=600)
    body = outcome_of(failure, attempt_id=None, gateway="a", build="b")

    assert report_request("s", body, Origin()).ban_ms == 600_000
    assert (body.code, body.kind) == (402, None)


def test_a_long_detail_is_cut() -> None:
    body = outcome_of(failed(detail="x" * 9_000), attempt_id=None, gateway="a", build="b")

    assert body.detail == "x" * 2_000
