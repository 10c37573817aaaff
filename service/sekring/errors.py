"""Every error that Sekring raises on purpose.

::

    SekringError
    ├── InvalidInput          what the caller sent is not usable; names the field
    ├── NotAuthenticated      no token, or one that is not known
    ├── NotAllowed            the token's role may not do this
    ├── NotFound              what the caller named is not there
    ├── Refused               a rule forbids it now (a ban in force, a bound reached)
    ├── BreakerRefuses        an instance's breaker lets it not connect now
    │   └── Open              the same, as a guard of the client raises it
    ├── TimedOut              what was waited for did not come in time
    ├── GatewayFailed         the gateway that owns a session could not do what it was asked
    ├── SealBroken            it was stored under another seal key than this replica has
    ├── ServiceStopping       the replica stops and waits for nothing any longer
    ├── StoreUnavailable      Redis did not answer in time, or not at all
    ├── ServiceUnavailable    the breaker service did not answer its client, or not in time
    ├── DriverError           a session's driver could not do what it was asked
    ├── DevicesUnavailable    the device store did not answer, or cannot be written
    └── StartError            the process cannot start as it is configured
        ├── SettingsError         a setting has a wrong value
        ├── KeyspaceMismatch      the keyspace was made with another partition count
        ├── DataDirLocked         another process holds the data folder
        ├── DevicesApart          another gateway keeps its devices in another place
        └── EmbeddedServerFailed  the embedded Valkey did not come up

Drivers' exceptions stop at the store; HTTP maps this tree to statuses in one place
(`sekring.http.problems`).
"""

__all__ = [
    "BreakerRefuses",
    "DataDirLocked",
    "DevicesApart",
    "DevicesUnavailable",
    "DriverError",
    "EmbeddedServerFailed",
    "GatewayFailed",
    "InvalidInput",
    "KeyspaceMismatch",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "Open",
    "Refused",
    "SealBroken",
    "SekringError",
    "ServiceStopping",
    "ServiceUnavailable",
    "SettingsError",
    "StartError",
    "StoreUnavailable",
    "TimedOut",
]


class SekringError(Exception):
    """Base of all errors below. `str()` is one sentence for a person."""


class InvalidInput(SekringError):
    """What the caller sent cannot be used.

    `field` is the path of the offending field (`outcomes[3].age_ms`), or `None` where the
    whole request is at fault.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        """Say what was wrong, what was expected and what to do."""
        super().__init__(message)
        self.field = field


class NotAuthenticated(SekringError):
    """No token was sent, or one that this service does not know."""


class NotAllowed(SekringError):
    """The token is known, its role does not suffice."""


class NotFound(SekringError):
    """What the caller named is not there."""


class Refused(SekringError):
    """A rule forbids the change now; `cause` is the rule's name."""

    def __init__(self, message: str, cause: str) -> None:
        """Say which rule, and how to go on."""
        super().__init__(message)
        self.cause = cause


class BreakerRefuses(SekringError):
    """The breaker of an instance lets it not connect now; `cause` says why it is open."""

    def __init__(self, message: str, cause: str | None, retry_after_ms: int | None) -> None:
        """Say it in words; `retry_after_ms` is `None` where only a person can help."""
        super().__init__(message)
        self.cause = cause
        self.retry_after_ms = retry_after_ms


class Open(BreakerRefuses):
    """What a guard raises in place of an attempt that the breaker refuses.

    `retry_after` is in seconds, `None` where only a person can help. `degraded`: the service was
    away, and the client has decided by what it knew and the policy.
    """

    def __init__(
        self,
        message: str,
        *,
        instance_id: str,
        state: str,
        cause: str | None,
        retry_after_ms: int | None,
        degraded: bool,
    ) -> None:
        """Say it in words, and what a program goes by."""
        super().__init__(message, cause, retry_after_ms)
        self.instance_id = instance_id
        self.state = state
        self.retry_after = None if retry_after_ms is None else retry_after_ms / 1000
        self.degraded = degraded


class TimedOut(SekringError):
    """What was waited for did not come in time; the message says what is known about why."""


class GatewayFailed(SekringError):
    """The gateway that owns a session could not do what it was asked; the message is its own."""


class SealBroken(SekringError):
    """What is stored was sealed with a key that this replica does not have."""


class ServiceStopping(SekringError):
    """The replica stops, and waits for nothing any longer; another one may."""


class StoreUnavailable(SekringError):
    """Redis did not answer within its deadline, or the connection failed."""


class ServiceUnavailable(SekringError):
    """The breaker service did not answer its client within the deadline, or not at all."""


class DriverError(SekringError):
    """A session's driver could not do what it was asked; the message is the library's."""


class DevicesUnavailable(SekringError):
    """The device store did not answer, or cannot be written: nothing is known of a device."""


class StartError(SekringError):
    """The process cannot start as it is configured; the message says what to change."""


class SettingsError(StartError):
    """A setting has a value that it does not take."""


class KeyspaceMismatch(StartError):
    """The keyspace in Redis was made with another number of partitions."""


class DataDirLocked(StartError):
    """Another process holds the data folder."""


class DevicesApart(StartError):
    """Another gateway keeps its devices elsewhere: sessions could not move between the two."""


class EmbeddedServerFailed(StartError):
    """The embedded Valkey server did not come up."""
