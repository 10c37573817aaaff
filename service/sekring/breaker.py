"""The breaker's use-cases on one instance: permit, report, read, reset, trip, disable."""

import contextlib
import logging
import time
from collections.abc import Callable

import structlog
from msgspec import Struct, structs

from sekring.degraded import Degraded
from sekring.errors import InvalidInput, Refused, StoreUnavailable
from sekring.model import Admission, Origin, Snapshot, State, Transition, Verdict
from sekring.outcomes import attempt_request, report_request
from sekring.pledges import Pledges, trip_again
from sekring.policy import Policy
from sekring.registrar import Registrar
from sekring.replica import Replica
from sekring.store.contract import (
    DisableRequest,
    Forced,
    PermitRequest,
    RefuseBuildRequest,
    ReportRequest,
    ResetDone,
    ResetRequest,
    SnapshotRequest,
    TripRequest,
)
from sekring.store.reads import Reads
from sekring.store.scripts import Scripts
from sekring.telemetry.instruments import Instruments
from sekring.wire import BatchItem, OutcomeBody

__all__ = ["Breaker", "Status"]

#: How long a build that WhatsApp refused is refused here, in ms. WhatsApp does not take builds
#: back; the end is for the case that it was a mistake.
_BUILD_REFUSAL_MS = 21_600_000

_log = structlog.get_logger(__name__)


class Status(Struct, frozen=True):
    """An instance and the policy in force for it."""

    snapshot: Snapshot
    policy: Policy


class Breaker:
    """Decides for every instance: by this replica's view, by Redis, or by itself without Redis."""

    def __init__(
        self,
        store: tuple[Scripts, Reads],
        replica: Replica,
        registrar: Registrar,
        degraded: Degraded,
        pledges: Pledges,
        *,
        instruments: Instruments,
    ) -> None:
        """Decide by `replica` or the `store`, and by `degraded` where that cannot be reached.

        `pledges` sees that no failover undoes a trip or an operator's change; `instruments` count
        what is decided.
        """
        self._count = instruments.note_admission
        self._outcomes = instruments.outcomes
        self._scripts, self._reads = store
        self._replica = replica
        self._registrar = registrar
        self._degraded = degraded
        self._pledges = pledges
        self._reset: list[Callable[[str], None]] = []
        #: Asked once: structlog takes as long for it as a permit takes.
        self._is_debugging = _log.is_enabled_for(logging.DEBUG)

    def on_reset(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with every instance that is reset through this replica."""
        self._reset.append(callback)

    async def permit(
        self,
        instance_id: str,
        origin: Origin,
        build: str | None = None,
        *,
        strong: bool = False,
    ) -> Admission:
        """Say whether the instance may connect now; registers the attempt if so.

        The answer comes from this replica's view where that suffices, unless it is to be a
        `strong` one: Redis' own.
        """
        request = PermitRequest(instance_id=instance_id, build=build, origin=origin)
        admission = await self._admit(request, strong=strong)
        if self._is_debugging and not admission.permitted:
            _log.debug("attempt refused", instance_id=instance_id, cause=admission.cause)
        return admission

    def refusal(self, instance_id: str) -> Admission | None:
        """Return the refusal, if this replica's view alone can tell that it would be refused."""
        if self._degraded.decides(instance_id):
            return None
        refused = self._replica.refusal(instance_id)
        return None if refused is None else self._count(refused, "view")

    async def _admit(self, request: PermitRequest, *, strong: bool) -> Admission:
        name = request.instance_id
        if self._degraded.decides(name):
            return self._count(self._degraded.permit(request), "alone")
        if not strong and (admission := self._replica.admit(request)):
            if admission.permitted:
                self._replica.begin_write(name)
                self._registrar.register(structs.replace(request, epoch=admission.epoch))
            return self._count(admission, "view")
        try:
            with self._replica.write(name):
                await self._follow(name)
                return self._count(await self._scripts.permit(request), "redis")
        except StoreUnavailable:
            return self._count(self._degraded.permit(request), "alone")

    async def register(self, item: BatchItem, origin: Origin) -> Admission:
        """Take note of an attempt that a gateway's own view has permitted.

        Raises:
            InvalidInput: `item` is no attempt; names the field.
        """
        return self._count(await self._register(attempt_request(item, origin)), "client")

    async def _register(self, request: PermitRequest) -> Admission:
        name = request.instance_id
        if not self._degraded.decides(name):
            try:
                with self._replica.write(name):
                    await self._follow(name)
                    sent_ms = self._replica.sent_ms(name)
                    return await self._scripts.permit(structs.replace(request, sent_ms=sent_ms))
            except StoreUnavailable:
                pass
        return self._degraded.register(request)

    async def report(self, instance_id: str, body: OutcomeBody, origin: Origin) -> Verdict:
        """Take the outcome of an attempt, or the end of a live connection.

        Raises:
            InvalidInput: the fields of `body` contradict each other; names one.
        """
        request = report_request(instance_id, body, origin)
        verdict = await self._judge(request)
        self._outcomes[str(request.kind or body.outcome), verdict.why] += 1
        if verdict.why == "build" and (refused := body.build or body.gateway):
            await self._refuse_build(refused, request, origin)
        if self._is_debugging:  # the guide's debug line
            _log.debug(
                "circuit breaker status",
                instance_id=instance_id,
                outcome=body.outcome,
                kind=request.kind,
                why=verdict.why,
                failures=verdict.failures,
                threshold=verdict.threshold,
                retry_attempts=verdict.retry_attempts,
                state=verdict.state,
                tripped=verdict.tripped,
            )
        if verdict.tripped:
            _log.warning(
                "circuit breaker activated",
                instance_id=instance_id,
                kind=request.kind,
                failures=verdict.failures,
                retry_after_ms=verdict.retry_after_ms,
                trace_id=origin.trace_id,
            )
        return verdict

    async def _judge(self, request: ReportRequest) -> Verdict:
        name = request.instance_id
        if self._degraded.decides(name):
            return self._degraded.report(request)
        came_s = time.monotonic()
        try:
            with self._replica.write(name):
                await self._follow(name)
                sent_ms = self._replica.sent_ms(name)
                verdict = await self._scripts.report(structs.replace(request, sent_ms=sent_ms))
                if again := trip_again(request, verdict):
                    await self._pledges.make(again, came_s)
        except StoreUnavailable:
            waited_ms = round((time.monotonic() - came_s) * 1000)
            return self._degraded.report(
                structs.replace(request, age_ms=request.age_ms + waited_ms)
            )
        self._replica.note(verdict)
        return verdict

    async def status(self, instance_id: str) -> Status:
        """Return the instance as it stands now; changes nothing."""
        if not self._degraded.decides(instance_id):
            request = SnapshotRequest(instance_id=instance_id, with_failures=True)
            with contextlib.suppress(StoreUnavailable):
                reading = await self._scripts.snapshot(request)
                return Status(reading.snapshot, reading.policy)
        return Status(*self._degraded.snapshot(instance_id))

    async def history(self, instance_id: str, limit: int) -> list[Transition]:
        """Return the instance's latest transitions, newest first."""
        return await self._reads.history(instance_id, limit)

    async def reset(
        self,
        instance_id: str,
        origin: Origin,
        *,
        force: bool = False,
        only_state: State | None = None,
    ) -> ResetDone:
        """Close the breaker at once and clear its counters.

        Raises:
            InvalidInput: `force` without a reason.
            Refused: a ban is in force, and `force` was not asked for.
        """
        if force and not origin.reason:
            raise InvalidInput(
                "reason is missing: lifting a ban by force takes one, for the audit trail.",
                "reason",
            )
        request = ResetRequest(
            instance_id=instance_id, force=force, only_state=only_state, origin=origin
        )
        began_s = time.monotonic()
        with self._replica.write(instance_id):
            await self._registrar.register_now(instance_id)
            done = await self._scripts.reset(request)
            if done.done:
                again = structs.replace(request, only_state=None, made_epoch=done.epoch)
                await self._pledges.make(again, began_s)
        if done.banned:
            raise Refused(_ban_words(done), "banned")
        if done.done:
            _log.info(
                "circuit breaker reset", instance_id=instance_id, was=done.was, by=origin.actor
            )
            for callback in self._reset:
                callback(instance_id)
        return done

    async def trip(self, instance_id: str, for_ms: int | None, origin: Origin) -> Forced:
        """Force the breaker open, for `for_ms` or until a reset."""
        request = TripRequest(instance_id=instance_id, for_ms=for_ms, origin=origin)
        began_s = time.monotonic()
        with self._replica.write(instance_id):
            await self._registrar.register_now(instance_id)
            forced = await self._scripts.trip(request)
            await self._pledges.make(structs.replace(request, made_epoch=forced.epoch), began_s)
        return forced

    async def disable(self, instance_id: str, for_ms: int | None, origin: Origin) -> Forced:
        """Let everything through, for `for_ms` or until a reset."""
        request = DisableRequest(instance_id=instance_id, for_ms=for_ms, origin=origin)
        began_s = time.monotonic()
        with self._replica.write(instance_id):
            await self._registrar.register_now(instance_id)
            forced = await self._scripts.disable(request)
            await self._pledges.make(structs.replace(request, made_epoch=forced.epoch), began_s)
        return forced

    async def permit_build(self, build: str, origin: Origin) -> bool:
        """Lift the refusal of a gateway build; whether there was one."""
        return await self._scripts.refuse_build(RefuseBuildRequest(build=build, origin=origin))

    async def _follow(self, instance_id: str) -> None:
        """Let the instance's attempt be registered first, if it is yet to be.

        Raises:
            StoreUnavailable: that was kept for later: then so is what follows. It has waited for a
                whole deadline, and nobody waits for two.
        """
        waited = await self._registrar.register_now(instance_id)
        if waited and self._degraded.decides(instance_id):
            raise StoreUnavailable("Redis has yet to learn of the attempt before.")

    async def _refuse_build(self, build: str, request: ReportRequest, origin: Origin) -> None:
        refusal = RefuseBuildRequest(
            build=build, kind=request.kind, for_ms=_BUILD_REFUSAL_MS, origin=origin
        )
        try:
            news = await self._scripts.refuse_build(refusal)
        except StoreUnavailable:
            news = self._degraded.refuse_build(refusal)
        if news:
            _log.error("gateway build refused by WhatsApp", build=build, kind=request.kind)


def _ban_words(done: ResetDone) -> str:
    until = (
        f"for another {round(done.ban_remaining_ms / 1000)} s"
        if done.ban_remaining_ms
        else "for good"
    )
    return (
        f"WhatsApp has banned {done.instance_id} {until}; a reset does not override that. "
        "An operator can, with `force` and a reason."
    )
