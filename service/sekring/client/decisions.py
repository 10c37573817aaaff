"""What the client decides by itself: from its view, and from failures of its own.

Where failures are known, the breaker in plain Python (`sekring.local`) says how long to wait, and
refuses what it has seen trip. The service's word goes before it; while the service is away, there
is none, and it decides alone, by the policy that was in force.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable
from random import getrandbits
from typing import Final

from msgspec import structs

from sekring.client.record import Facts, Record
from sekring.client.view import View
from sekring.local.instance import Instance
from sekring.local.memory import Partition
from sekring.model import REFUSING, Admission, Origin, State
from sekring.outcomes import report_request
from sekring.requests import PermitRequest
from sekring.wire import BatchResult, OutcomeBody

__all__ = ["Decisions", "attempt_id"]

_NOBODY: Final = Origin()


def attempt_id(view: View, record: Record) -> str | None:
    """Name an attempt as the service does; `None` where no epoch is known."""
    epoch = max(view.epoch, record.epoch)
    if record.instance is not None:
        epoch = max(epoch, record.instance.epoch)
    return f"{epoch:x}-{_token()}" if epoch else None


def _token() -> str:
    """Return eight characters that nobody else takes; nobody gains by guessing them."""
    return urlsafe_b64encode(getrandbits(48).to_bytes(6, "big")).decode()  # fmt: skip


class Decisions:
    """Every method is for callers of any thread."""

    def __init__(self, view: View, wants_policy: Callable[[Record], object]) -> None:
        """Decide by `view`; `wants_policy` is told of instances that begin to fail."""
        self._view = view
        self._wants_policy = wants_policy

    def admit(self, record: Record, *, alone: bool) -> Admission | None:
        """Say whether the instance may connect now; `None` means asking the service.

        `alone`: the service is away. An attempt that is permitted is still to be registered.
        """
        view = self._view
        with view.lock:
            clock = view.clock_ms()
            if alone:
                return structs.replace(self._by_policy(record, clock), degraded=True)
            facts = record.facts
            if not view.is_current():
                return None
            if facts is not None and facts.state in REFUSING:
                over = facts.until_ms and clock >= facts.until_ms
                return None if over else _refusal(record, facts, clock)
            if view.paced or (facts is not None and facts.state is State.HALF_OPEN):
                return None
            return self._by_policy(record, clock)

    def permitted(self, record: Record, *, alone: bool) -> bool | None:
        """Say the same without an attempt; `None` means asking the service."""
        view = self._view
        with view.lock:
            if not alone and not view.is_current():
                return None
            clock = view.clock_ms()
            if record.instance is not None:
                record.instance.advance(clock)
                record.instance.history.clear()
                return record.instance.state not in REFUSING
            facts = record.facts
            if facts is None or facts.state not in REFUSING:
                return True
            if facts.until_ms and clock >= facts.until_ms:
                return True if alone else None
            return False

    def report(self, record: Record, body: OutcomeBody) -> None:
        """Take how an attempt ended, before the service knows.

        Raises:
            InvalidInput: the fields of `body` contradict each other; names one.
        """
        request = report_request(record.instance_id, body, _NOBODY)
        with self._view.lock:
            if record.instance is None:
                if body.outcome != "failure":
                    record.settle()
                    return
                record.instance = self._taken_up(record, 0)
            record.instance.report(request, self._view.clock_ms())
            record.instance.history.clear()
            self._let_go(record)

    def learn(self, record: Record, result: BatchResult) -> None:
        """Take the service's word on a report, or on an attempt."""
        state, epoch = result.state, result.epoch
        if not isinstance(state, State) or not isinstance(epoch, int):
            return
        with self._view.lock:
            if epoch < record.epoch or record.unsent:
                return  # it knows more by now, or soon will
            failures = result.failures if isinstance(result.failures, int) else 0
            retries = result.retry_attempts if isinstance(result.retry_attempts, int) else 0
            known, record.epoch = record.epoch, epoch
            if state is State.CLOSED:
                record.facts = None
                self._count(record, failures, retries, moved_on=known < epoch)
            else:
                wait_ms = result.retry_after_ms
                until = self._view.clock_ms() + wait_ms if isinstance(wait_ms, int) else 0
                ends = (state in REFUSING and until) or 0
                record.facts = _facts(record, state, epoch, ends)
                record.instance = None
            record.settle()

    def learn_answer(self, record: Record, admission: Admission) -> None:
        """Take the service's word on a question."""
        self.learn(
            record,
            BatchResult(
                instance_id=record.instance_id,
                state=admission.state,
                epoch=admission.epoch,
                failures=admission.failures,
                retry_after_ms=admission.retry_after_ms,
            ),
        )

    # ----------------------------------------------------------------------------- the parts

    def _by_policy(self, record: Record, clock: int) -> Admission:
        """Let the breaker in plain Python decide, where there is anything to decide."""
        instance = record.instance
        if instance is None and record.facts is not None:
            instance = record.instance = self._taken_up(record, 0)
        if instance is None:
            return _permission(record, attempt_id(self._view, record))
        request = PermitRequest(instance_id=record.instance_id, token=_token())
        admission = instance.permit(request, clock, None)
        instance.history.clear()
        self._let_go(record)
        if not admission.permitted:
            return admission
        return structs.replace(admission, attempt_id=attempt_id(self._view, record))

    def _taken_up(self, record: Record, failures: int) -> Instance:
        """Return the breaker of an instance as it is known now."""
        policy = record.policy or self._view.policy
        instance = Instance(record.instance_id, policy, partition=Partition())
        instance.known = True
        instance.touched = clock = self._view.clock_ms()
        instance.epoch = record.epoch
        if facts := record.facts:
            instance.state, instance.until = facts.state, facts.until_ms
            instance.cause, instance.reason = facts.cause, facts.reason
        if record.policy is None:
            self._wants_policy(record)
        for place in range(failures):
            instance.window.kinds[f"~{place}"] = (clock, "disconnected")
        return instance

    def _count(self, record: Record, failures: int, retries: int, *, moved_on: bool) -> None:
        """Have as many failures as the service has counted; our own keep their times."""
        instance = record.instance
        if failures == 0:
            record.instance = None
            return
        if instance is None or moved_on or instance.state is not State.CLOSED:
            instance = record.instance = self._taken_up(record, failures)
        window = instance.window
        window.keep_newest(failures)
        clock = self._view.clock_ms()
        for place in range(failures - len(window)):
            window.kinds[f"~{clock}-{place}"] = (clock, "disconnected")
        instance.attempts = max(instance.attempts, retries + 1)

    def _let_go(self, record: Record) -> None:
        """Forget the breaker of an instance again where there is nothing to remember."""
        instance = record.instance
        # While the service is away, nobody else knows of the epoch under which it has recovered.
        idle = instance and instance.state is State.CLOSED and not len(instance.window)
        if idle and not self._view.alone:
            if record.facts is None or record.facts.state is not State.DISABLED:
                record.facts = None
            record.instance = None
        record.settle()


def _permission(record: Record, name: str | None) -> Admission:
    return Admission(
        instance_id=record.instance_id,
        permitted=True,
        attempt_id=name,
        epoch=record.epoch,
        state=State.CLOSED,
        failures=0,
        retry_after_ms=0,
        backoff_ms=0,
    )


def _refusal(record: Record, facts: Facts, clock: int) -> Admission:
    return Admission(
        instance_id=record.instance_id,
        permitted=False,
        epoch=facts.epoch,
        state=facts.state,
        failures=0,
        retry_after_ms=facts.until_ms - clock if facts.until_ms else None,
        backoff_ms=0,
        cause=facts.cause or None,
        reason=facts.reason or None,
    )


def _facts(record: Record, state: State, epoch: int, until_ms: int) -> Facts:
    """Put a state as the service tells it in a verdict, which names no cause."""
    before, alone = record.facts, record.instance
    cause = "failures"
    if before is not None and before.epoch == epoch:
        return Facts(state, epoch, before.cause, before.reason, before.until_ms or until_ms)
    if alone is not None and alone.cause:
        cause = alone.cause
    return Facts(state, epoch, cause, "", until_ms)
