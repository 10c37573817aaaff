"""What people type into a policy's form, and the patch that it stands for.

An empty field is one that is not set: what lies beneath is in force then, the default or, under an
instance's own policy, the fleet's.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from sekring.console.language import Words
from sekring.console.policyfields import FIELDS, GROUPS, Field
from sekring.errors import InvalidInput
from sekring.policies import PolicyInForce
from sekring.policy import Policy, PolicyPatch, Source, apply, flat, sources

__all__ = ["Beneath", "Entry", "PolicyForm", "Section", "basis_of", "read_patch", "typed_fields"]

#: The group that an instance's own policy does not have.
_FLEET_ALONE = "fleet_guard"

#: Before a field's name, in its own name in the form.
_PREFIX = "policy."


class Beneath(Struct, frozen=True):
    """What is in force where a field is left empty."""

    policy: Policy
    sources: Mapping[str, Source]

    @classmethod
    def of(cls, fleet: PolicyInForce | None) -> "Beneath":
        """Return what lies beneath an instance's own policy, or beneath the fleet's (`None`)."""
        patch = fleet.patch if fleet else PolicyPatch()
        return cls(fleet.policy if fleet else Policy(), sources(patch, PolicyPatch()))


class Entry(Struct, frozen=True):
    """One field, as a form shows it."""

    name: str
    #: What is typed there; empty: the field is not set.
    text: str
    #: What would be in force if it were empty, and where that comes from.
    beneath: Any
    source: Source
    #: What is wrong with it.
    error: str = ""
    #: What somebody else has set meanwhile; `None`: nothing else than was typed.
    meanwhile: str | None = None

    @property
    def field(self) -> Field:
        """What the field takes."""
        return FIELDS[self.name]


class Section(Struct, frozen=True):
    """Some entries that belong together."""

    name: str
    entries: tuple[Entry, ...]


class PolicyForm(Struct, frozen=True):
    """A form, filled in."""

    sections: tuple[Section, ...]
    #: Which state of the policy it is a change of.
    basis: str

    @property
    def wrong(self) -> tuple[Entry, ...]:
        """The entries that have something wrong."""
        return tuple(e for section in self.sections for e in section.entries if e.error)

    @classmethod
    def of(
        cls,
        current: PolicyInForce,
        beneath: Beneath,
        words: Words,
        *,
        for_instance: bool,
        typed: Mapping[str, str] | None = None,
        errors: Mapping[str, str] | None = None,
    ) -> "PolicyForm":
        """Fill in what is set now, or what was `typed`; then say what else is set meanwhile."""
        stored = _texts(current.patch, words)
        below = flat(beneath.policy)

        def entry(name: str) -> Entry:
            field, now = FIELDS[name], stored.get(name, "")
            text = now if typed is None else typed.get(name, "")
            return Entry(
                name,
                text,
                below.get(name, field.default),
                beneath.sources.get(name, "default"),
                (errors or {}).get(name, ""),
                None if text == now else now,
            )

        return cls(
            tuple(
                Section(group, tuple(entry(name) for name in names))
                for group, names in GROUPS.items()
                if not (for_instance and group == _FLEET_ALONE)
            ),
            basis_of(current),
        )


def basis_of(policy: PolicyInForce) -> str:
    """Return what names this state of a policy; where it was removed, versions begin anew."""
    digest = hashlib.sha256(msgspec.json.encode(policy.patch)).hexdigest()[:16]
    return f"{policy.version}-{digest}"


def typed_fields(sent: Mapping[str, str]) -> dict[str, str]:
    """Return what was typed, by the fields' names."""
    return {name: sent.get(_PREFIX + name, "").strip() for name in FIELDS}


def read_patch(
    typed: Mapping[str, str], fleet: PolicyPatch | None, words: Words
) -> tuple[PolicyPatch, dict[str, str]]:
    """Return the patch that was typed, and what is wrong by field; then the patch is not whole.

    `fleet` is what an instance's own policy lies over; `None`: it is the fleet's own.
    """
    values: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, text in typed.items():
        if not text:
            continue
        field = FIELDS[name]
        value = field.value(text, words)
        if value is None:
            errors[name] = words("policy_takes", limits=field.limits(words))
            continue
        parent, _, entry = name.rpartition(".")
        (values.setdefault(parent, {}) if parent else values)[entry] = value
    patch = msgspec.convert(values, PolicyPatch)
    if not errors:
        try:
            apply(fleet or PolicyPatch(), patch)
        except InvalidInput as error:
            field_name = error.field or "failure_threshold"
            errors[field_name] = words.contradiction(field_name, str(error))
    return patch, errors


def _texts(patch: PolicyPatch, words: Words) -> dict[str, str]:
    return {
        name: FIELDS[name].text(value, words)
        for name, value in flat(patch).items()
        if name in FIELDS
    }
