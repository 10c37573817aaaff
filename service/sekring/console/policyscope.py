"""Whose policy a page is about: the fleet's, or an instance's own."""

import asyncio

from msgspec import Struct

from sekring.console.policyform import Beneath
from sekring.http.runtime import Runtime
from sekring.model import Origin
from sekring.policies import PolicyInForce
from sekring.policy import PolicyPatch
from sekring.wire import PreviewAnswer

__all__ = ["FLEET", "Found", "Scope"]


class Found(Struct, frozen=True):
    """A policy as it is now, and what it lies over."""

    current: PolicyInForce
    #: `None` for the fleet's own.
    fleet: PolicyInForce | None

    @property
    def beneath(self) -> Beneath:
        """What is in force where nothing is set."""
        return Beneath.of(self.fleet)

    @property
    def fleet_patch(self) -> PolicyPatch | None:
        """What is set beneath; `None` for the fleet's own."""
        return self.fleet.patch if self.fleet else None


class Scope(Struct, frozen=True):
    """The fleet, or one instance."""

    #: `None`: the fleet.
    instance_id: str | None = None

    @property
    def address(self) -> str:
        """The address of its page."""
        return f"/instances/{self.instance_id}/policy" if self.instance_id else "/policy"

    @property
    def purpose(self) -> str:
        """What its form is for."""
        return f"policy {self.instance_id or '*'}"

    @property
    def here(self) -> str:
        """The page of the navigation that it belongs to."""
        return "fleet" if self.instance_id else "policy"

    async def read(self, runtime: Runtime) -> Found:
        """Read the policy.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        if self.instance_id is None:
            return Found(await runtime.policies.fleet(), None)
        current, fleet = await asyncio.gather(
            runtime.policies.instance(self.instance_id), runtime.policies.fleet()
        )
        return Found(current, fleet)

    async def replace(
        self, runtime: Runtime, patch: PolicyPatch, version: int, origin: Origin
    ) -> PolicyInForce:
        """Have `patch` be all that is set, in place of a `version` that was read.

        Raises:
            InvalidInput: it contradicts itself, or what it lies over.
            Refused: another version is there by now.
            StoreUnavailable: Redis does not answer.
        """
        if self.instance_id is None:
            return await runtime.policies.replace_fleet(patch, version, origin)
        return await runtime.policies.replace_instance(self.instance_id, patch, version, origin)

    async def preview(self, runtime: Runtime, patch: PolicyPatch) -> PreviewAnswer:
        """Tell what the last hour would have been like if `patch` were all that is set.

        Raises:
            InvalidInput: as from `replace`.
            StoreUnavailable: Redis does not answer.
        """
        if self.instance_id is None:
            return await runtime.preview.fleet(patch, whole=True)
        return await runtime.preview.instance(self.instance_id, patch, whole=True)


FLEET = Scope()
