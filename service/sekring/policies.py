"""The use-cases on policies: the fleet's, and an instance's own."""

import asyncio

import msgspec
from msgspec import UNSET, Struct

from sekring.errors import InvalidInput, Refused, StoreUnavailable
from sekring.model import Origin
from sekring.policy import Policy, PolicyPatch, Source, apply, merge, overlay, sources
from sekring.store.contract import OverrideRequest, PolicyRequest
from sekring.store.keys import Keyspace
from sekring.store.reads import Reads, StoredPolicy
from sekring.store.scripts import Scripts
from sekring.wire import PolicyAnswer

__all__ = ["Policies", "PolicyInForce"]

#: How often a change is tried again because somebody else's came in between.
_TRIES = 20


class PolicyInForce(Struct, frozen=True):
    """A policy: in force, as it was set, where its values come from, and its version."""

    policy: Policy
    patch: PolicyPatch
    sources: dict[str, Source]
    version: int

    def answer(self) -> PolicyAnswer:
        """Return it as the API shows it."""
        return PolicyAnswer(
            policy=self.policy, set=self.patch, sources=self.sources, version=self.version
        )


class Policies:
    """Policies live in Redis; scripts read them there, so a change is in force at once.

    The fleet's policy has a copy in every partition. Partition 0 takes a change first, and only
    if it is based on the newest version; whoever comes second reads anew and merges again. The
    others take whatever is newer than what they have.
    """

    def __init__(self, scripts: Scripts, reads: Reads, keyspace: Keyspace) -> None:
        """Use the store through `scripts` and `reads`."""
        self._scripts = scripts
        self._reads = reads
        self._keyspace = keyspace

    async def fleet(self) -> PolicyInForce:
        """Return the fleet's policy."""
        return _in_force(await self._reads.fleet_policy(), StoredPolicy())

    async def instance(self, instance_id: str) -> PolicyInForce:
        """Return the policy in force for one instance."""
        fleet, own = await self._both(instance_id)
        return _in_force(fleet, own, for_instance=True)

    async def fleet_with(
        self, patch: PolicyPatch, *, whole: bool = False
    ) -> tuple[PolicyPatch, PolicyPatch]:
        """Return what is set for the fleet, and what would be with `patch`; changes nothing.

        A `whole` one is all that would be set.

        Raises:
            InvalidInput: as from `change_fleet`.
        """
        stored = await self._reads.fleet_policy()
        return stored.patch, _fleet_with(StoredPolicy() if whole else stored, patch).patch

    async def instance_with(
        self, instance_id: str, patch: PolicyPatch, *, whole: bool = False
    ) -> tuple[Policy, Policy]:
        """Return the policy in force for an instance, and what it would be with `patch`.

        A `whole` one is all that the instance would have of its own. Changes nothing.

        Raises:
            InvalidInput: as from `change_instance`.
        """
        fleet, own = await self._both(instance_id)
        changed = _own_with(fleet, StoredPolicy() if whole else own, patch)
        return overlay(fleet.patch, own.patch), overlay(fleet.patch, changed.patch)

    async def change_fleet(self, patch: PolicyPatch, origin: Origin) -> PolicyInForce:
        """Lay `patch` over the fleet's policy.

        Raises:
            InvalidInput: the resulting policy contradicts itself; names the field.
        """
        for _ in range(_TRIES):
            changed = _fleet_with(await self._reads.fleet_policy(), patch)
            if await self._store(0, changed, origin, first=True):
                await self.spread(changed)
                return _in_force(changed, StoredPolicy())
        raise _contended()

    async def replace_fleet(
        self, patch: PolicyPatch, version: int, origin: Origin
    ) -> PolicyInForce:
        """Have `patch` be all that is set for the fleet, in place of a `version` that was read.

        Raises:
            InvalidInput: as from `change_fleet`.
            Refused: another version is there by now.
        """
        changed = _fleet_with(StoredPolicy(version), patch)
        if not await self._store(0, changed, origin, first=True):
            raise _outdated()
        await self.spread(changed)
        return _in_force(changed, StoredPolicy())

    async def drop_fleet(self, origin: Origin) -> PolicyInForce:
        """Remove everything that was set for the fleet, so that the defaults are in force."""
        for _ in range(_TRIES):
            stored = await self._reads.fleet_policy()
            changed = StoredPolicy(stored.version + 1)
            if await self._store(0, changed, origin, first=True):
                await self.spread(changed)
                return _in_force(changed, StoredPolicy())
        raise _contended()

    async def change_instance(
        self, instance_id: str, patch: PolicyPatch, origin: Origin
    ) -> PolicyInForce:
        """Lay `patch` over the instance's own policy, which lies over the fleet's.

        Raises:
            InvalidInput: the resulting policy contradicts itself, or `patch` has what only the
                fleet's policy may have; names the field.
        """
        for _ in range(_TRIES):
            fleet, own = await self._both(instance_id)
            changed = _own_with(fleet, own, patch)
            request = OverrideRequest(
                instance_id=instance_id,
                policy=msgspec.json.encode(changed).decode(),
                version=own.version,
                origin=origin,
            )
            if await self._scripts.set_override(request):
                return _in_force(fleet, changed, for_instance=True)
        raise _contended()

    async def replace_instance(
        self, instance_id: str, patch: PolicyPatch, version: int, origin: Origin
    ) -> PolicyInForce:
        """Have `patch` be all that the instance has of its own, in place of a `version` read.

        With an empty one it has nothing of its own any more.

        Raises:
            InvalidInput: as from `change_instance`.
            Refused: another version is there by now.
        """
        fleet = await self._reads.fleet_policy()
        changed = _own_with(fleet, StoredPolicy(version), patch)
        nothing = patch == PolicyPatch()
        request = OverrideRequest(
            instance_id=instance_id,
            policy=None if nothing else msgspec.json.encode(changed).decode(),
            version=version,
            origin=origin,
        )
        if not await self._scripts.set_override(request):
            raise _outdated()
        return _in_force(fleet, StoredPolicy() if nothing else changed, for_instance=True)

    async def drop_instance(self, instance_id: str, origin: Origin) -> PolicyInForce:
        """Remove the instance's own policy, so that the fleet's is in force again."""
        for _ in range(_TRIES):
            own = await self._reads.override(instance_id)
            if own.version == 0 or await self._scripts.set_override(
                OverrideRequest(instance_id=instance_id, version=own.version, origin=origin)
            ):
                return await self.instance(instance_id)
        raise _contended()

    async def spread(self, stored: StoredPolicy) -> None:
        """Give every other partition the fleet's policy, unless it has that version already."""
        others = range(1, self._keyspace.partitions)
        await asyncio.gather(*(self._store(number, stored, None) for number in others))

    async def _both(self, instance_id: str) -> tuple[StoredPolicy, StoredPolicy]:
        return await asyncio.gather(self._reads.fleet_policy(), self._reads.override(instance_id))

    async def _store(
        self, partition: int, stored: StoredPolicy, origin: Origin | None, *, first: bool = False
    ) -> bool:
        request = PolicyRequest(
            policy=msgspec.json.encode(stored).decode(),
            version=stored.version,
            first=first,
            origin=origin,
        )
        return await self._scripts.set_policy(partition, request)


def _next_version(stored: StoredPolicy, patch: PolicyPatch) -> StoredPolicy:
    merged = msgspec.convert(merge(stored.patch, patch), PolicyPatch)
    return StoredPolicy(stored.version + 1, merged)


def _fleet_with(stored: StoredPolicy, patch: PolicyPatch) -> StoredPolicy:
    changed = _next_version(stored, patch)
    apply(changed.patch)
    return changed


def _own_with(fleet: StoredPolicy, own: StoredPolicy, patch: PolicyPatch) -> StoredPolicy:
    if patch.fleet_guard is not UNSET:
        raise InvalidInput(
            "fleet_guard is the fleet's alone: set it in the fleet's policy (PUT /v1/policy).",
            "fleet_guard",
        )
    changed = _next_version(own, patch)
    apply(fleet.patch, changed.patch)
    return changed


def _in_force(
    fleet: StoredPolicy, own: StoredPolicy, *, for_instance: bool = False
) -> PolicyInForce:
    here = own if for_instance else fleet
    return PolicyInForce(
        # What was set for the fleet later may contradict what an instance has.
        policy=overlay(fleet.patch, own.patch),
        patch=here.patch,
        sources=sources(fleet.patch, own.patch),
        version=here.version,
    )


def _outdated() -> Refused:
    return Refused("The policy was changed meanwhile: read it again.", "outdated")


def _contended() -> StoreUnavailable:
    return StoreUnavailable("The policy is being changed by many at once; try again.")
