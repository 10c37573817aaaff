"""Policies, and the gateway builds that are refused."""

from msgspec import Struct

from sekring.policy import Policy, PolicyPatch, Source

__all__ = ["BuildList", "PolicyAnswer", "RefusedBuildItem"]


class PolicyAnswer(Struct, frozen=True, kw_only=True):
    """A policy: in force, as it was set here, and where each value comes from."""

    policy: Policy
    set: PolicyPatch
    sources: dict[str, Source]
    #: Grows at every change; 0 if nothing was ever set here.
    version: int


class RefusedBuildItem(Struct, frozen=True):
    """A gateway build whose attempts are refused, until a time by Redis' clock (ms)."""

    build: str
    kind: str
    until_ms: int


class BuildList(Struct, frozen=True):
    """Gateway builds that WhatsApp refused."""

    builds: list[RefusedBuildItem]
