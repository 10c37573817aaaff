"""Which store a gateway keeps its devices in, and whether two gateways keep them in the same one.

A session that moves to a gateway with another store would have to be paired anew, so a gateway
tells the service which store it has when it joins, and compares it with those of the others.
"""

import hashlib
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from sekring.errors import DevicesApart

__all__ = ["StoreIdentity", "check_shared", "machine_id"]

StoreKind = Literal["sqlite", "postgresql"]

_FORM: Final = re.compile(r"(sqlite|postgresql)/([0-9a-f]{32})/([0-9a-f]{16})")
_ONE_FOR_ALL: Final = (
    "Give all gateways one PostgreSQL database (SEKRING_DEVICE_STORE=postgresql://…),"
    " or stop the other one first."
)


class StoreIdentity(Struct, frozen=True, kw_only=True):
    """A store and the machine that its gateway runs on; holds nothing secret."""

    kind: StoreKind
    #: 32 hex digits that were drawn when the store was made.
    store: str
    #: 16 hex digits.
    machine: str

    def __str__(self) -> str:
        """Return the form that is sent: `kind/store/machine`, 60 characters or less."""
        return f"{self.kind}/{self.store}/{self.machine}"

    @classmethod
    def parse(cls, text: str) -> "StoreIdentity | None":
        """Read that form; `None` for any other, as a gateway of a later version may send it."""
        found = _FORM.fullmatch(text)
        if found is None:
            return None
        kind: StoreKind = "sqlite" if found[1] == "sqlite" else "postgresql"
        return cls(kind=kind, store=found[2], machine=found[3])


def check_shared(own: StoreIdentity, others: Mapping[str, str]) -> None:
    """Compare the own store with those of the gateways that live; by name, as each was sent.

    Gateways that keep no devices (the scripted driver's) send none and are to be left out.

    Raises:
        DevicesApart: a gateway has another store, or the same SQLite folder from another machine.
    """
    for gateway, text in sorted(others.items()):
        other = StoreIdentity.parse(text)
        if other is None:
            continue
        trouble = _trouble(own, other)
        if trouble:
            raise DevicesApart(f"The gateway {gateway} {trouble}")


def _trouble(own: StoreIdentity, other: StoreIdentity) -> str | None:
    if own.store == other.store:
        if own.kind == "sqlite" and own.machine != other.machine:
            return (
                "uses the same SQLite folder from another machine. SQLite's locks do not hold on"
                f" a network's file system. {_ONE_FOR_ALL}"
            )
        return None
    lost = "A session that moves between the two would have to be paired anew."
    if own.kind == "sqlite" and other.kind == "sqlite" and own.machine == other.machine:
        return (
            f"on this machine keeps its devices in another folder. {lost} Name the same folder in"
            " SEKRING_DEVICE_STORE (or SEKRING_DATA_DIR) of both, or stop the other one first."
        )
    if own.kind == "postgresql" and other.kind == "postgresql":
        return (
            f"keeps its devices in another PostgreSQL database or schema. {lost}"
            " Name the same one in SEKRING_DEVICE_STORE of both, or stop the other one first."
        )
    where = "SQLite" if other.kind == "sqlite" else "PostgreSQL"
    mine = "SQLite" if own.kind == "sqlite" else "PostgreSQL"
    place = "on another machine " if own.machine != other.machine else ""
    return f"{place}keeps its devices in {where}, this one in {mine}. {lost} {_ONE_FOR_ALL}"


def machine_id() -> str:
    """Return 16 hex digits that differ between machines; containers of one machine share them.

    Taken from the kernel's boot id, which containers cannot have a copy of. Hashed, since the plain
    ids of a machine are not for others.
    """
    for source in ("/proc/sys/kernel/random/boot_id", "/etc/machine-id"):
        try:
            words = Path(source).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if words:
            break
    else:
        words = socket.gethostname()
    return hashlib.sha256(f"sekring machine {words}".encode()).hexdigest()[:16]
