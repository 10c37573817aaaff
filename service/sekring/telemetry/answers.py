"""What spans tell of the breaker, its answers and transitions: attributes of Sekring's own."""

from typing import Final, Protocol

from sekring.model import Admission, Verdict
from sekring.telemetry.spans import Attribute, Span

__all__ = ["Answer", "Change", "told_of", "transition"]

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


class Change(Protocol):
    """A transition, as Redis or this replica alone has made it."""

    @property
    def before(self) -> str:
        """The state before it."""

    @property
    def after(self) -> str:
        """And after it."""

    @property
    def cause(self) -> str:
        """Why the breaker is, or was, not closed."""

    @property
    def epoch(self) -> int:
        """The epoch from then on."""


def transition(span: Span, instance_id: str, change: Change) -> None:
    """Tell of a transition that was made during `span`; the whole trace is exported for it."""
    span.happened(
        "sekring.transition",
        {
            "sekring.instance_id": instance_id,
            "sekring.from": change.before,
            "sekring.to": change.after,
            "sekring.cause": change.cause,
            "sekring.epoch": change.epoch,
        },
    )
    span.trace.keep()
