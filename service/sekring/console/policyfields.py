"""A policy's fields as people see them: in groups, with units and limits (those of `policy.py`)."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from msgspec import Struct

from sekring.console.language import Words
from sekring.policy import Policy, Source, flat
from sekring.taxonomy import COUNTED_KINDS

__all__ = ["FIELDS", "GROUPS", "Field", "Group", "Row", "rows_of"]

#: What a value is: a whole number, a length of time, another number, or yes or no.
_Form = Literal["count", "duration", "number", "switch"]

#: The groups of the page, in its order. The last one is the fleet's alone.
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "trip": ("failure_threshold", "window_ms", "min_reporters"),
        "recovery": (
            "cooldown_ms",
            "cooldown_factor",
            "cooldown_max_ms",
            "probes",
            "probe_ttl_ms",
            "stable_after_ms",
            "success_clears",
        ),
        "backoff": ("backoff.base_ms", "backoff.factor", "backoff.cap_ms", "backoff.jitter"),
        "weights": tuple(f"weights.{kind}" for kind in COUNTED_KINDS),
        "fleet_guard": (
            "fleet_guard.enabled",
            "fleet_guard.share",
            "fleet_guard.min_instances",
            "fleet_guard.rate_per_s",
            "fleet_guard.burst",
            "fleet_guard.ramp_step_ms",
            "fleet_guard.ramp_factor",
        ),
    }
)

_FLEET_ALONE = "fleet_guard"

#: What a failure counts where its kind has no weight.
_PLAIN_WEIGHT = 1


class Field(Struct, frozen=True):
    """One value of a policy, by its dotted name in the API."""

    name: str
    form: _Form
    #: The guide's value.
    default: Any
    #: The least and the greatest that it takes; the least itself is too little where `above` is.
    least: float = 0
    most: float = 0
    above: bool = False

    @property
    def key(self) -> str:
        """The name as ids and `words.toml` have it."""
        return self.name.replace(".", "_")

    @property
    def unit(self) -> str:
        """The word of the unit, without its prefix; empty: it has none."""
        if self.name.endswith("_per_s"):
            return "per_s"
        return "s" if self.form == "duration" else ""

    def text(self, value: Any, words: Words) -> str:  # noqa: ANN401 - as fields are
        """Return a value as it is typed: times in seconds."""
        if self.form == "switch":
            return "yes" if value else "no"
        return words.plain(Decimal(value) / 1000 if self.form == "duration" else value)

    def shown(self, value: Any, words: Words) -> str:  # noqa: ANN401
        """Return a value with its unit, to be read."""
        if self.form == "switch":
            return words("yes" if value else "no")
        unit = f" {words(f'unit_{self.unit}')}" if self.unit else ""
        return f"{self.text(value, words)}{unit}"

    def told(self, value: Any, words: Words) -> str:  # noqa: ANN401
        """Return a value to be read where none is typed: times in their largest units."""
        second = 1_000
        if self.form != "duration" or value < second or value % second:
            return self.shown(value, words)
        return words.duration(value, parts=4)

    def limits(self, words: Words) -> str:
        """Say which values it takes."""
        if self.form == "switch":
            return words("limits_switch", yes=words("yes"), no=words("no"))
        return words(
            "limits_above" if self.above else "limits",
            least=self.text(self.least, words),
            most=self.shown(self.most, words),
        )

    def value(self, text: str, words: Words) -> Any:  # noqa: ANN401
        """Return the value that was typed; `None` if it is not one that the field takes."""
        if self.form == "switch":
            return {"yes": True, "no": False}.get(text)
        number = words.typed(text)
        if number is None:
            return None
        number = number * 1000 if self.form == "duration" else number
        if self.form != "number" and number != number.to_integral_value():
            return None
        if not self.least <= number <= self.most or (self.above and number <= self.least):
            return None
        return float(number) if self.form == "number" else int(number)


class Row(Struct, frozen=True):
    """A field with its value in force, and where that comes from."""

    field: Field
    value: Any
    #: `None` while Redis is away: then it is not known.
    source: Source | None


class Group(Struct, frozen=True):
    """Some rows that belong together."""

    name: str
    rows: tuple[Row, ...]


def rows_of(
    policy: Policy, sources: Mapping[str, Source], *, for_instance: bool
) -> tuple[Group, ...]:
    """Return every value in force; for an instance without those that are the fleet's alone.

    Nothing is known of where they come from if `sources` is empty.
    """
    values = flat(policy)
    return tuple(
        Group(
            group,
            tuple(
                Row(
                    FIELDS[name],
                    values.get(name, FIELDS[name].default),
                    sources.get(name, "default") if sources else None,
                )
                for name in names
            ),
        )
        for group, names in GROUPS.items()
        if not (for_instance and group == _FLEET_ALONE)
    )


def _fields(policy: type[Struct], prefix: str = "") -> Iterator[Field]:
    """Read names, defaults and limits from the types that the API checks values by."""
    for field in msgspec.structs.fields(policy):
        name = prefix + field.encode_name
        kind = _bare(msgspec.inspect.type_info(field.type))
        if isinstance(kind, msgspec.inspect.StructType):
            yield from _fields(kind.cls, f"{name}.")
        elif isinstance(kind, msgspec.inspect.DictType):
            for entry in COUNTED_KINDS:
                yield _field(f"{name}.{entry}", _bare(kind.value_type), _PLAIN_WEIGHT)
        else:
            yield _field(name, kind, field.default)


def _bare(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _field(name: str, kind: msgspec.inspect.Type, default: Any) -> Field:  # noqa: ANN401
    if isinstance(kind, msgspec.inspect.BoolType):
        return Field(name, "switch", default)
    assert isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType)  # noqa: S101
    form: _Form = "number" if isinstance(kind, msgspec.inspect.FloatType) else "count"
    least = kind.ge if kind.ge is not None else kind.gt
    assert least is not None  # noqa: S101
    assert kind.le is not None  # noqa: S101 - a policy's fields all have limits
    return Field(
        name,
        "duration" if name.endswith("_ms") else form,
        default,
        least,
        kind.le,
        kind.ge is None,
    )


#: Every field by its name.
FIELDS: Mapping[str, Field] = MappingProxyType({field.name: field for field in _fields(Policy)})
