"""What spans tell of the breaker's answers: Sekring's own attributes."""

from typing import Final

from sekring.model import Admission, Verdict
from sekring.telemetry.spans import Attribute

__all__ = ["Answer", "told_of"]

Answer = Admission | Verdict

#: Fields of an answer that are told. Nothing that somebody wrote in words is.
_FIELDS: Final = ("instance_id", "permitted", "cause", "why", "epoch")


def told_of(answer: Answer, failure: str | None = None) -> dict[str, Attribute]:
    """Return the attributes for an answer; `failure` is the kind that was reported."""
    told: dict[str, Attribute] = {}
    for field in _FIELDS:
        value = getattr(answer, field, None)
        if value is not None:
            told[f"sekring.{field}"] = value
    if failure is not None:
        told["sekring.kind"] = failure
    if answer.degraded:
        told["sekring.degraded"] = True
    return told
