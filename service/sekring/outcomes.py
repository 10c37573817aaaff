"""What gateways send: checked, classified, and put as the breaker takes it."""

import re
import secrets
import time

from sekring.errors import InvalidInput
from sekring.model import Origin
from sekring.requests import PermitRequest, ReportRequest
from sekring.taxonomy import EFFECTS, Effect, Kind, ban_expires_in_ms, classify
from sekring.wire import BatchItem, OutcomeBody

__all__ = ["attempt_request", "report_request"]

#: How long a temporary ban of unknown length is taken to last: a day, the shortest that WhatsApp
#: is known to name for repeated offences.
_UNKNOWN_BAN_MS = 86_400_000

#: Characters of a failure's detail that are kept.
_DETAIL_KEPT = 300

#: An attempt's id is the epoch, in hex, under which it was permitted, and 8 random characters.
_ATTEMPT = re.compile(r"([0-9a-f]{1,12})-([A-Za-z0-9_-]{8})")


def attempt_request(item: BatchItem, origin: Origin) -> PermitRequest:
    """Return what the script is told of an attempt that the gateway's own view has permitted.

    Raises:
        InvalidInput: `item` names no attempt, or says how one ended; names the field.
    """
    match = _ATTEMPT.fullmatch(item.attempt_id or "")
    if match is None:
        raise InvalidInput(
            "attempt_id is missing or not of the form EPOCH-TOKEN: the epoch in hex and 8"
            " characters of A-Z a-z 0-9 _ -, as the service itself makes them.",
            "attempt_id",
        )
    for field in ("kind", "protocol", "code", "detail", "ban_expires_in_ms", "ban_expire"):
        if getattr(item, field) is not None:
            raise InvalidInput(f"{field} goes with the outcome failure only.", field)
    return PermitRequest(
        instance_id=item.instance_id,
        token=match[2],
        epoch=int(match[1], 16),
        build=item.build,
        age_ms=item.age_ms,
        origin=origin,
    )


def report_request(instance_id: str, body: OutcomeBody, origin: Origin) -> ReportRequest:
    """Return what the script is told of an outcome as a gateway sent it.

    Raises:
        InvalidInput: the fields of `body` contradict each other; names one.
    """
    kind = _kind_of(body)
    return ReportRequest(
        instance_id=instance_id,
        id=body.id or body.attempt_id or secrets.token_urlsafe(9),
        outcome=body.outcome,
        effect=EFFECTS[kind] if kind else None,
        kind=kind,
        detail=body.detail[:_DETAIL_KEPT] if body.detail else None,
        attempt_id=body.attempt_id,
        epoch=body.epoch if body.epoch is not None else _epoch_in(body.attempt_id),
        age_ms=body.age_ms,
        ban_ms=_ban_ms(kind, body) if kind else None,
        gateway=body.gateway,
        origin=origin,
    )


def _kind_of(body: OutcomeBody) -> Kind | None:
    if body.outcome != "failure":
        for field in ("kind", "protocol", "code", "ban_expires_in_ms", "ban_expire"):
            if getattr(body, field) is not None:
                raise InvalidInput(f"{field} goes with the outcome failure only.", field)
        return None
    if body.kind is not None:
        if body.protocol is not None or body.code is not None:
            raise InvalidInput(
                "kind and protocol exclude each other: send kind, or protocol with code.", "kind"
            )
        return body.kind
    if body.protocol is None and body.code is None:
        return Kind.UNKNOWN
    if body.protocol is None:
        raise InvalidInput("protocol is missing: code takes whatsmeow or baileys.", "protocol")
    if body.code is None:
        raise InvalidInput("code is missing: protocol takes its disconnect code.", "code")
    return classify(body.protocol, body.code, body.detail)


def _ban_ms(kind: Kind, body: OutcomeBody) -> int | None:
    if EFFECTS[kind] is not Effect.BAN:
        for field in ("ban_expires_in_ms", "ban_expire"):
            if getattr(body, field) is not None:
                raise InvalidInput(f"{field} goes with the kind temporary_ban only.", field)
        return None
    if body.ban_expires_in_ms is not None:
        return body.ban_expires_in_ms or _UNKNOWN_BAN_MS
    if body.ban_expire is not None:
        return ban_expires_in_ms(body.ban_expire, time.time()) or _UNKNOWN_BAN_MS
    return _UNKNOWN_BAN_MS


def _epoch_in(attempt_id: str | None) -> int | None:
    match = _ATTEMPT.fullmatch(attempt_id) if attempt_id else None
    return int(match[1], 16) if match else None
