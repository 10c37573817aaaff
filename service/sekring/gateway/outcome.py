"""What a worker says of a failure, as the service is told of it."""

from typing import Final

from sekring.gateway.workers.messages import Failed
from sekring.taxonomy import Kind, classify
from sekring.wire import OutcomeBody

__all__ = ["kind_of", "outcome_of"]

#: What the service takes (`sekring.wire.fields`).
_DETAIL_MAX: Final = 2_000
_CODE_MAX: Final = 65_535
_EXPIRE_MAX: Final = 32_503_680_000


def kind_of(failed: Failed) -> Kind:
    """Return what the service will make of it: the driver's kind, or the one table's of a code."""
    if failed.kind is not None:
        return failed.kind
    if failed.protocol is None or not _is_code(failed.code):
        return Kind.UNKNOWN
    assert failed.code is not None  # noqa: S101 - as just seen
    return classify(failed.protocol, failed.code, failed.detail)


def outcome_of(failed: Failed, *, attempt_id: str | None, gateway: str, build: str) -> OutcomeBody:
    """Return the report; codes go as they are, for the service to classify."""
    kind, protocol, code = failed.kind, failed.protocol, failed.code
    if kind is not None or protocol is None or not _is_code(code):
        kind, protocol, code = kind or Kind.UNKNOWN, None, None
    expire = failed.ban_expire
    if kind_of(failed) is not Kind.TEMPORARY_BAN or not 0 <= (expire or 0) <= _EXPIRE_MAX:
        expire = None
    return OutcomeBody(
        outcome="failure",
        kind=kind,
        protocol=protocol,
        code=code,
        detail=failed.detail[:_DETAIL_MAX],
        attempt_id=attempt_id,
        gateway=gateway,
        build=build,
        ban_expire=expire,
    )


def _is_code(code: int | None) -> bool:
    return code is not None and 0 <= code <= _CODE_MAX
