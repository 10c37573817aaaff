"""The breaker's policy: its fields, their defaults (the guide's values) and their limits."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from sekring.errors import InvalidInput
from sekring.taxonomy import COUNTED_KINDS

__all__ = [
    "DAY_MS",
    "Backoff",
    "BackoffPatch",
    "FleetGuard",
    "FleetGuardPatch",
    "Policy",
    "PolicyPatch",
    "Source",
    "apply",
    "flat",
    "merge",
    "overlay",
    "sources",
]

#: The longest window and cooldown that make sense, in ms.
DAY_MS = 86_400_000

#: Where a field of the policy in force comes from.
Source = Literal["default", "global", "instance"]

_Threshold = Annotated[
    int, Meta(ge=1, le=10_000, description="Failures inside the window that open the breaker.")
]
_Window = Annotated[
    int, Meta(ge=1_000, le=DAY_MS, description="Length of the failure window, in ms.")
]
_Cooldown = Annotated[
    int, Meta(ge=1, le=DAY_MS, description="Time from a trip to the recovery, in ms.")
]
_CooldownMax = Annotated[
    int, Meta(ge=1, le=DAY_MS, description="What a growing cooldown never exceeds, in ms.")
]
_Factor = Annotated[
    float, Meta(ge=1, le=100, description="Growth of the cooldown from trip to trip; 1 is none.")
]
_Probes = Annotated[
    int,
    Meta(
        ge=0,
        le=100,
        description="Attempts in flight at most while half-open, and successes that close; "
        "0 closes at the end of the cooldown without probing.",
    ),
]
_ProbeTtl = Annotated[
    int,
    Meta(
        ge=1_000,
        le=3_600_000,
        description="How long an attempt may take until its probe slot is free again, in ms.",
    ),
]
_StableAfter = Annotated[
    int,
    Meta(
        ge=0,
        le=DAY_MS,
        description="How long a connection must last until its success is credited, in ms.",
    ),
]
_SuccessClears = Annotated[
    bool, Meta(description="Whether a credited success also clears the window's failures.")
]
_Weight = Annotated[int, Meta(ge=0, le=1_000)]
_Weights = Annotated[
    dict[str, _Weight],
    Meta(description="What one failure of a kind counts (default 1; 0 never counts)."),
]
_MinReporters = Annotated[
    int,
    Meta(ge=1, le=100, description="Distinct gateways that must have reported for a trip."),
]
_BackoffBase = Annotated[
    int, Meta(ge=0, le=DAY_MS, description="Recommended wait before the first retry, in ms.")
]
_BackoffFactor = Annotated[float, Meta(ge=1, le=100, description="Growth from retry to retry.")]
_BackoffCap = Annotated[
    int, Meta(ge=0, le=DAY_MS, description="The longest recommended wait, in ms.")
]
_BackoffJitter = Annotated[
    float,
    Meta(ge=0, le=1, description="Share of the wait that chance may take off it (0 to 1)."),
]


_GuardEnabled = Annotated[bool, Meta(description="Whether the fleet guard may open by itself.")]
_GuardShare = Annotated[
    float,
    Meta(
        gt=0,
        le=1,
        description="Share of instances failing, among those failing or connected, that opens the "
        "fleet guard (above 0, to 1).",
    ),
]
_GuardMinInstances = Annotated[
    int,
    Meta(
        ge=1,
        le=10_000_000,
        description="Instances failing or connected below which the fleet guard never opens.",
    ),
]
_GuardRate = Annotated[
    float,
    Meta(ge=1, le=100_000, description="Permits a second, fleet-wide, that the ramp begins with."),
]
_GuardBurst = Annotated[
    int, Meta(ge=1, le=100_000, description="Permits that may be given at once after a pause.")
]
_GuardStep = Annotated[
    int,
    Meta(ge=1_000, le=600_000, description="How long the ramp looks before each change, in ms."),
]
_GuardFactor = Annotated[
    float, Meta(gt=1, le=10, description="Growth of the rate from step to step while it helps.")
]


class Backoff(Struct, frozen=True):
    """The pace that the service recommends between attempts.

    The defaults add up to less than the default window for 15 attempts (1 + 2 + 4 + 8 + 16 +
    10 x 20 s = 231 s), so that a client that keeps the pace still trips a broken instance.
    """

    base_ms: _BackoffBase = 1_000
    factor: _BackoffFactor = 2.0
    cap_ms: _BackoffCap = 20_000
    jitter: _BackoffJitter = 0.2


class FleetGuard(Struct, frozen=True):
    """When the breaker above the instances opens, and how it paces the fleet then.

    A property of the fleet alone: an instance's own policy cannot have it. The defaults serve 200
    sessions, which are back within 10 s at the first rate, as they do 200,000: doubling every 5 s,
    the rate passes 1,000/s within half a minute once WhatsApp answers. Below 100 instances it never
    opens by itself: a handful of broken sessions is no outage.
    """

    enabled: _GuardEnabled = True
    share: _GuardShare = 0.5
    min_instances: _GuardMinInstances = 100
    rate_per_s: _GuardRate = 20.0
    burst: _GuardBurst = 20
    ramp_step_ms: _GuardStep = 5_000
    ramp_factor: _GuardFactor = 2.0


class Policy(Struct, frozen=True):
    """A whole policy, as it is in force for an instance."""

    failure_threshold: _Threshold = 15
    window_ms: _Window = 300_000
    cooldown_ms: _Cooldown = 600_000
    cooldown_factor: _Factor = 1.0
    cooldown_max_ms: _CooldownMax = DAY_MS
    probes: _Probes = 0
    probe_ttl_ms: _ProbeTtl = 120_000
    backoff: Backoff = Backoff()
    stable_after_ms: _StableAfter = 60_000
    success_clears: _SuccessClears = False
    weights: _Weights = {}
    min_reporters: _MinReporters = 1
    fleet_guard: FleetGuard = FleetGuard()


class BackoffPatch(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Any subset of `Backoff`."""

    base_ms: _BackoffBase | UnsetType = UNSET
    factor: _BackoffFactor | UnsetType = UNSET
    cap_ms: _BackoffCap | UnsetType = UNSET
    jitter: _BackoffJitter | UnsetType = UNSET


class FleetGuardPatch(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Any subset of `FleetGuard`."""

    enabled: _GuardEnabled | UnsetType = UNSET
    share: _GuardShare | UnsetType = UNSET
    min_instances: _GuardMinInstances | UnsetType = UNSET
    rate_per_s: _GuardRate | UnsetType = UNSET
    burst: _GuardBurst | UnsetType = UNSET
    ramp_step_ms: _GuardStep | UnsetType = UNSET
    ramp_factor: _GuardFactor | UnsetType = UNSET


class PolicyPatch(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Any subset of `Policy`: what a PUT sends, and what Redis stores (only what was set)."""

    failure_threshold: _Threshold | UnsetType = UNSET
    window_ms: _Window | UnsetType = UNSET
    cooldown_ms: _Cooldown | UnsetType = UNSET
    cooldown_factor: _Factor | UnsetType = UNSET
    cooldown_max_ms: _CooldownMax | UnsetType = UNSET
    probes: _Probes | UnsetType = UNSET
    probe_ttl_ms: _ProbeTtl | UnsetType = UNSET
    backoff: BackoffPatch | UnsetType = UNSET
    stable_after_ms: _StableAfter | UnsetType = UNSET
    success_clears: _SuccessClears | UnsetType = UNSET
    weights: _Weights | UnsetType = UNSET
    min_reporters: _MinReporters | UnsetType = UNSET
    fleet_guard: FleetGuardPatch | UnsetType = UNSET


def apply(*patches: PolicyPatch) -> Policy:
    """Return the defaults with `patches` laid over them, the last one on top.

    `backoff`, `weights` and `fleet_guard` are merged entry by entry.

    Raises:
        InvalidInput: two fields contradict each other; names the one to change.
    """
    return _checked(overlay(*patches))


def overlay(*patches: PolicyPatch) -> Policy:
    """Do as `apply`, and as the scripts do: without looking for contradictions.

    An instance's own policy may contradict what was set for the fleet later.
    """
    return msgspec.convert(merge(*patches), Policy)


def merge(*patches: PolicyPatch) -> dict[str, Any]:
    """Lay `patches` over each other, the last one on top, as the plain data of a patch."""
    merged: dict[str, Any] = {}
    for patch in patches:
        for name, value in msgspec.to_builtins(patch).items():
            below = merged.get(name)
            merged[name] = {**below, **value} if isinstance(below, dict) else value
    return merged


def flat(policy: Policy | PolicyPatch) -> dict[str, Any]:
    """Return every value by its dotted name: `window_ms`, `backoff.cap_ms`, `weights.dns`."""
    values: dict[str, Any] = {}
    for name, value in msgspec.to_builtins(policy).items():
        if isinstance(value, dict) and value:
            values |= {f"{name}.{entry}": inner for entry, inner in value.items()}
        else:
            values[name] = value
    return values


def sources(fleet: PolicyPatch, instance: PolicyPatch) -> dict[str, Source]:
    """Say of each value in force where it comes from, by its dotted name."""
    own, shared = flat(instance), flat(fleet)
    return {
        name: "instance" if name in own else "global" if name in shared else "default"
        for name in flat(apply(fleet, instance))
    }


def _checked(policy: Policy) -> Policy:
    if policy.cooldown_max_ms < policy.cooldown_ms:
        message = (
            f"cooldown_max_ms is {policy.cooldown_max_ms}, below cooldown_ms "
            f"({policy.cooldown_ms}): raise it, or lower cooldown_ms."
        )
        raise InvalidInput(message, "cooldown_max_ms")
    if policy.backoff.cap_ms < policy.backoff.base_ms:
        message = (
            f"backoff.cap_ms is {policy.backoff.cap_ms}, below backoff.base_ms "
            f"({policy.backoff.base_ms}): raise it, or lower backoff.base_ms."
        )
        raise InvalidInput(message, "backoff.cap_ms")
    unknown = sorted(set(policy.weights) - set(COUNTED_KINDS))
    if unknown:
        message = (
            f"weights.{unknown[0]}: no failure of that kind is ever counted; "
            f"the kinds are {', '.join(COUNTED_KINDS)}."
        )
        raise InvalidInput(message, f"weights.{unknown[0]}")
    return policy
