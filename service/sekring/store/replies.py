"""What the scripts answer that gateways call all the time: arrays, in the order of the fields.

An array takes Redis half the time of a map, and Python no longer.
"""

from msgspec import Struct

from sekring.model import Admission, State, Verdict, Why
from sekring.requests import PermitRequest, ReportRequest
from sekring.store.contract import Made

__all__ = ["PermitReply", "ReportReply"]


class ReportReply(Struct, frozen=True, array_like=True):
    """What `lua/report.lua` answers: see `Verdict`."""

    why: Why
    state: State
    failures: int
    threshold: int
    retry_attempts: int
    tripped: bool
    epoch: int
    transitions: tuple[Made, ...]
    retry_after_ms: int | None = None

    def answer(self, request: ReportRequest) -> Verdict:
        """Return it as the model has it."""
        return Verdict(
            instance_id=request.instance_id,
            counted=self.why == "counted",
            why=self.why,
            state=self.state,
            failures=self.failures,
            threshold=self.threshold,
            retry_attempts=self.retry_attempts,
            tripped=self.tripped,
            retry_after_ms=self.retry_after_ms,
            epoch=self.epoch,
        )


class PermitReply(Struct, frozen=True, array_like=True):
    """What `lua/permit.lua` answers: see `Admission`. Texts are empty where that has none."""

    epoch: int
    state: State
    failures: int
    #: Empty: it was refused.
    attempt_id: str
    backoff_ms: int
    cause: str
    reason: str
    transitions: tuple[Made, ...]
    retry_after_ms: int | None = None

    def answer(self, request: PermitRequest) -> Admission:
        """Return it as the model has it."""
        return Admission(
            instance_id=request.instance_id,
            permitted=bool(self.attempt_id),
            attempt_id=self.attempt_id or None,
            epoch=self.epoch,
            state=self.state,
            failures=self.failures,
            retry_after_ms=self.retry_after_ms,
            backoff_ms=self.backoff_ms,
            cause=self.cause or None,
            reason=self.reason or None,
        )
