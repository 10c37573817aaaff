"""One typed wrapper per Lua script; `sekring.store.contract` has the requests and replies."""

import asyncio
from collections.abc import Sequence

import msgspec

from sekring.errors import StoreUnavailable
from sekring.model import Admission, Pacing, Verdict
from sekring.store.calling import Reply, ScriptCalls
from sekring.store.contract import (
    AdvanceWebhookRequest,
    ClaimRequest,
    ClaimWebhookRequest,
    CreateWebhookRequest,
    DeleteWebhookRequest,
    DisableRequest,
    DisableWebhookRequest,
    Forced,
    GuardChange,
    GuardRequest,
    KeyspaceClaim,
    MinutesRequest,
    OfferRequest,
    OverrideRequest,
    PaceRequest,
    PartitionMinutes,
    PartitionTotals,
    PartitionView,
    PermitRequest,
    PolicyRequest,
    Reading,
    RefuseBuildRequest,
    ReleaseWebhookRequest,
    ReportRequest,
    Request,
    ResetDone,
    ResetGuardRequest,
    ResetRequest,
    SettleRequest,
    SnapshotRequest,
    Tail,
    TailRequest,
    TotalsRequest,
    TripGuardRequest,
    TripRequest,
    ViewRequest,
    WebhookClaim,
)
from sekring.store.replies import PermitReply, ReportReply
from sekring.telemetry.spans import Span

__all__ = ["Scripts"]


class Scripts(ScriptCalls):
    """The breaker's scripts, the webhooks' and the keyspace's, by name."""

    async def permit(self, request: PermitRequest) -> Admission:
        """Ask for an attempt."""
        keys = self._keyspace.instance(request.instance_id)
        return await self._run_array("permit", keys, request, PermitReply)

    async def permit_all(
        self, asked: Sequence[tuple[PermitRequest, Span | None]]
    ) -> list[Admission | StoreUnavailable]:
        """Ask for many attempts at once, each on behalf of a span; errors are in their places."""
        return await self._run_arrays(
            "permit",
            [(self._keyspace.instance(one.instance_id), one, span) for one, span in asked],
            PermitReply,
        )

    async def report(self, request: ReportRequest) -> Verdict:
        """Report how an attempt, or a live connection, ended."""
        keys = self._keyspace.instance(request.instance_id)
        return await self._run_array("report", keys, request, ReportReply)

    async def reset(self, request: ResetRequest) -> ResetDone:
        """Close the breaker and clear its counters."""
        return await self._on_instance("reset", request.instance_id, request, ResetDone)

    async def trip(self, request: TripRequest) -> Forced:
        """Force the breaker open."""
        return await self._on_instance("trip", request.instance_id, request, Forced)

    async def disable(self, request: DisableRequest) -> Forced:
        """Switch the breaker off."""
        return await self._on_instance("disable", request.instance_id, request, Forced)

    async def offer(self, request: OfferRequest) -> Forced:
        """Offer a trip that this replica decided while it was alone."""
        return await self._on_instance("offer", request.instance_id, request, Forced)

    async def settle(self, request: SettleRequest) -> None:
        """Write down what the passing of time has changed for one instance."""
        await self._flag(
            "settle", self._keyspace.instance(request.instance_id), request, self._bulk
        )

    async def snapshot(self, request: SnapshotRequest) -> Reading:
        """Read one instance; nothing is written."""
        keys = self._keyspace.instance(request.instance_id)
        return await self._run("snapshot", keys, request, Reading, self._bulk)

    async def set_override(self, request: OverrideRequest) -> bool:
        """Replace an instance's own policy; false if its version has moved on."""
        keys = self._keyspace.instance(request.instance_id)
        return await self._flag("set_override", keys, request)

    async def set_policy(self, partition: int, request: PolicyRequest) -> bool:
        """Store the fleet's policy in one partition; false if it holds that version or a newer."""
        keys = [
            self._keyspace.policies(partition),
            self._keyspace.due(partition),
            self._keyspace.events(partition),
            self._keyspace.totals(partition),
            self._keyspace.view(partition),
        ]
        return await self._flag("set_policy", keys, request)

    async def refuse_build(self, request: RefuseBuildRequest) -> bool:
        """Refuse (or permit again) a gateway build in every partition; whether it was news."""
        changed = await asyncio.gather(
            *(
                self._flag(
                    "refuse_build",
                    [
                        self._keyspace.builds(partition),
                        self._keyspace.events(partition),
                        self._keyspace.totals(partition),
                        self._keyspace.view(partition),
                    ],
                    msgspec.structs.replace(request, first=partition == 0),
                )
                for partition in self._keyspace.all_partitions()
            )
        )
        return changed[0]

    async def totals(self, partition: int, request: TotalsRequest) -> PartitionTotals:
        """Read one partition's sums."""
        keys = [
            self._keyspace.totals(partition),
            self._keyspace.due(partition),
            self._keyspace.policies(partition),
        ]
        return await self._run("totals", keys, request, PartitionTotals, self._bulk)

    async def minutes(self, partition: int, request: MinutesRequest) -> PartitionMinutes:
        """Read how many failures one partition has counted in each of the last minutes."""
        keys = [self._keyspace.minutes(partition)]
        return await self._run("minutes", keys, request, PartitionMinutes, self._bulk)

    async def view(self, partition: int, request: ViewRequest) -> PartitionView:
        """Read what a replica's view of a partition begins with."""
        keys = [
            self._keyspace.view(partition),
            self._keyspace.totals(partition),
            self._keyspace.policies(partition),
            self._keyspace.builds(partition),
        ]
        return await self._run("view", keys, request, PartitionView, self._bulk)

    async def guard(self, request: GuardRequest) -> GuardChange:
        """Evaluate the fleet guard on the fleet's sums."""
        return await self._run("guard", self._keyspace.guard(), request, GuardChange, self._bulk)

    async def pace(self, request: PaceRequest) -> Pacing:
        """Take one permit from the fleet's bucket."""
        return await self._run("pace", self._keyspace.guard()[:2], request, Pacing)

    async def trip_guard(self, request: TripGuardRequest) -> GuardChange:
        """Open the fleet guard."""
        return await self._run("trip_guard", self._keyspace.guard(), request, GuardChange)

    async def reset_guard(self, request: ResetGuardRequest) -> GuardChange:
        """Close the fleet guard."""
        return await self._run("reset_guard", self._keyspace.guard(), request, GuardChange)

    async def claim_keyspace(self, request: ClaimRequest) -> KeyspaceClaim:
        """Fix the partition count at the first use, and tell it ever after."""
        keys = [self._keyspace.keyspace()]
        return await self._run("claim_keyspace", keys, request, KeyspaceClaim)

    async def tail(self, partition: int, request: TailRequest) -> Tail:
        """Read a partition's transitions behind a place."""
        keys = [self._keyspace.events(partition)]
        return await self._run("tail", keys, request, Tail, self._bulk)

    async def create_webhook(self, request: CreateWebhookRequest) -> bool:
        """Store a webhook; false if there are as many as there may be."""
        keys = [*self._webhook(request.id)[:2], self._keyspace.events(0)]
        return await self._flag("create_webhook", keys, request)

    async def delete_webhook(self, request: DeleteWebhookRequest) -> bool:
        """Remove a webhook; whether there was one."""
        keys = [*self._webhook(request.id), self._keyspace.events(0)]
        return await self._flag("delete_webhook", keys, request)

    async def disable_webhook(self, request: DisableWebhookRequest) -> bool:
        """Store that a webhook is delivered no more; false to an outdated token."""
        keys = [*self._webhook(request.id), self._keyspace.events(0)]
        return await self._flag("disable_webhook", keys, request)

    async def claim_webhook(self, request: ClaimWebhookRequest) -> WebhookClaim:
        """Take, or renew, the lease on a webhook's delivery."""
        keys = self._webhook(request.id)
        return await self._run("claim_webhook", keys, request, WebhookClaim, self._bulk)

    async def release_webhook(self, webhook_id: str, request: ReleaseWebhookRequest) -> bool:
        """Give the lease up; whether it was held."""
        keys = [self._keyspace.hooklease(webhook_id)]
        return await self._flag("release_webhook", keys, request)

    async def advance_webhook(self, request: AdvanceWebhookRequest) -> bool:
        """Write down how far a webhook was delivered; false to an outdated token."""
        keys = self._webhook(request.id)[:2]
        return await self._flag("advance_webhook", keys, request)

    def _webhook(self, webhook_id: str) -> list[str]:
        return [
            self._keyspace.webhooks(),
            self._keyspace.hookstate(webhook_id),
            self._keyspace.hooklease(webhook_id),
        ]

    async def _on_instance(
        self, name: str, instance_id: str, request: Request, reply: type[Reply]
    ) -> Reply:
        return await self._run(name, self._keyspace.instance(instance_id), request, reply)
