"""What the supervisor and a worker process say to each other: one JSON object a line.

Points in time are seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from msgspec import Struct

from sekring.taxonomy import Kind, Protocol

__all__ = [
    "Answered",
    "Connect",
    "Connected",
    "Ended",
    "Event",
    "Extend",
    "Failed",
    "KeepAlive",
    "LogOut",
    "Order",
    "Pair",
    "Paired",
    "QrShown",
    "Send",
    "Started",
    "Stop",
]


class _Order(Struct, frozen=True, kw_only=True, tag_field="order", omit_defaults=True):
    pass


class Connect(_Order, frozen=True, kw_only=True, tag="connect"):
    """Connect a session, once."""

    instance_id: str
    #: Fencing token of the lease.
    token: int
    #: When the connection must be gone unless an `Extend` comes before.
    lease_until_s: float
    #: How many connects there were before this one under the same lease.
    number: int = 0
    #: Where the driver keeps devices: a path or a postgresql:// URL.
    device_store: str = ""
    #: The device that is paired with this instance; `None`: show a QR code.
    device: str | None = None
    #: http://, https:// or socks5://, with the user and the password in it.
    proxy: str | None = None


class Extend(_Order, frozen=True, kw_only=True, tag="extend"):
    """Leases were renewed: by instance, until when."""

    until_s: dict[str, float]


class Stop(_Order, frozen=True, kw_only=True, tag="stop"):
    """End a connection; `Ended` says that nothing of it is left."""

    instance_id: str


class Pair(_Order, frozen=True, kw_only=True, tag="pair"):
    """Get a pairing code; `Answered` brings it."""

    instance_id: str
    ask: int
    phone: str


class Send(_Order, frozen=True, kw_only=True, tag="send"):
    """Send a text; `Answered` brings the message's id."""

    instance_id: str
    ask: int
    to: str
    text: str


class LogOut(_Order, frozen=True, kw_only=True, tag="log_out"):
    """Unlink the device from its account, then end the connection."""

    instance_id: str
    ask: int


Order = Connect | Extend | Stop | Pair | Send | LogOut


class _Event(Struct, frozen=True, kw_only=True, tag_field="event", omit_defaults=True):
    pass


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """The worker takes orders: its driver, by library and version (`neonize/0.5.2`)."""

    build: str


class QrShown(_Event, frozen=True, kw_only=True, tag="qr"):
    """A QR code is to be scanned."""

    instance_id: str
    code: str
    expires_in_ms: int


class Paired(_Event, frozen=True, kw_only=True, tag="paired"):
    """A phone has taken the session; the device is stored."""

    instance_id: str
    device: str


class Connected(_Event, frozen=True, kw_only=True, tag="connected"):
    """Logged in."""

    instance_id: str
    device: str | None = None


class KeepAlive(_Event, frozen=True, kw_only=True, tag="keep_alive"):
    """The connection's keep-alive times out, or does so no more."""

    instance_id: str
    healthy: bool


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    """The connection could not be made, or broke. `Ended` follows when nothing of it is left.

    A `kind` is the driver's own classification, for what its library says in words; a `code` is the
    protocol's own, which the service classifies.
    """

    instance_id: str
    detail: str
    kind: Kind | None = None
    protocol: Protocol | None = None
    code: int | None = None
    #: whatsmeow's own: seconds, or above 10^9 a Unix time.
    ban_expire: int | None = None


class Ended(_Event, frozen=True, kw_only=True, tag="ended"):
    """Nothing of the connection is left; the last event of a `Connect`."""

    instance_id: str


class Answered(_Event, frozen=True, kw_only=True, tag="answered"):
    """What came of a `Pair`, `Send` or `LogOut`."""

    instance_id: str
    ask: int
    result: str | None = None
    error: str | None = None


Event = Started | QrShown | Paired | Connected | KeepAlive | Failed | Ended | Answered
