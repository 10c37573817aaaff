"""What OpenTelemetry's own environment variables say, as far as they are read here.

The variables and their meaning: OpenTelemetry specification, "Environment Variable Specification"
and "OpenTelemetry Protocol Exporter". The exporters themselves read the rest of theirs (headers,
timeouts, certificates, compression), and so does the batch processor (`OTEL_BSP_*`).
"""

import math
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, cast

from msgspec import Struct

from sekring.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

__all__ = ["Otel", "Protocol", "Signal"]

Signal = Literal["traces", "metrics"]
Protocol = Literal["grpc", "http/protobuf"]

#: The part of the traces that begin here, and of which no other rule has them kept, in the default.
_RATIO: Final = 0.01

#: How often metrics are pushed, in the default.
_METRIC_INTERVAL_MS: Final = 60_000

_PROTOCOLS: Final = ("grpc", "http/protobuf")


class Otel(Struct, frozen=True):
    """The environment, and the name of the service where that says none."""

    environ: Mapping[str, str]
    default_name: str
    version: str

    def __repr__(self) -> str:
        # The environment holds tokens.
        return f"{type(self).__name__}({self.name!r})"

    def check(self) -> None:
        """Return if every variable has a value that it takes.

        Raises:
            SettingsError: one has not; names it.
        """
        if not self.disabled:
            self.protocol("traces")
            self.protocol("metrics")
            _ = self.ratio, self.metric_interval_s

    @property
    def disabled(self) -> bool:
        """Whether nothing at all is to be recorded or sent (`OTEL_SDK_DISABLED`)."""
        return self.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"

    @property
    def name(self) -> str:
        """The service's name: `OTEL_SERVICE_NAME`, or the resource attribute."""
        return str(self.resource_attributes["service.name"])

    def exports(self, signal: Signal) -> bool:
        """Tell whether a signal is sent somewhere: only where an endpoint is named."""
        wanted = self.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() != "none"
        return wanted and not self.disabled and self.endpoint(signal) is not None

    def endpoint(self, signal: Signal) -> str | None:
        """Return where a signal goes, as written; `None` where nothing is said."""
        return self._of_signal("ENDPOINT", signal)

    def protocol(self, signal: Signal) -> Protocol:
        """Return how a signal travels: `http/protobuf` unless something else is said.

        Raises:
            SettingsError: a protocol that is not spoken here.
        """
        said = self._of_signal("PROTOCOL", signal) or "http/protobuf"
        if said not in _PROTOCOLS:
            raise SettingsError(
                f"OTEL_EXPORTER_OTLP_PROTOCOL: got {said!r}, takes {' or '.join(_PROTOCOLS)}."
            )
        return cast("Protocol", said)

    @property
    def ratio(self) -> float:
        """The part of the traces beginning here that is sampled (`OTEL_TRACES_SAMPLER_ARG`).

        Raises:
            SettingsError: it is not a number from 0 to 1.
        """
        said = self.environ.get("OTEL_TRACES_SAMPLER_ARG") or _RATIO
        try:
            ratio = float(said)
        except ValueError:
            ratio = math.nan
        if not 0 <= ratio <= 1:
            raise SettingsError(
                f"OTEL_TRACES_SAMPLER_ARG: got {said!r}, takes a number from 0 to 1."
            )
        return ratio

    @property
    def metric_interval_s(self) -> float:
        """From one push of metrics to the next, in seconds (`OTEL_METRIC_EXPORT_INTERVAL`, ms).

        Raises:
            SettingsError: it is not a positive number.
        """
        said = self.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or _METRIC_INTERVAL_MS
        try:
            interval_ms = float(said)
        except ValueError:
            interval_ms = math.nan
        if not 0 < interval_ms < math.inf:
            raise SettingsError(
                f"OTEL_METRIC_EXPORT_INTERVAL: got {said!r}, takes a number of milliseconds."
            )
        return interval_ms / 1000

    @property
    def resource_attributes(self) -> dict[str, str]:
        """What says who sends (semantic conventions, `service.*`).

        `OTEL_RESOURCE_ATTRIBUTES` adds to it and goes first, but for the name, where
        `OTEL_SERVICE_NAME` does.
        """
        said = _pairs(self.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""))
        attributes = {
            "service.name": self.default_name,
            "service.version": self.version,
            "service.instance.id": str(uuid.uuid4()),
            **said,
        }
        if name := self.environ.get("OTEL_SERVICE_NAME"):
            attributes["service.name"] = name
        return attributes

    def resource(self) -> "Resource":
        """Return a new resource: to be made once a process, since it names the instance."""
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - a fifth of a second

        return Resource.create(self.resource_attributes)

    def _of_signal(self, word: str, signal: Signal) -> str | None:
        own = self.environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_{word}")
        return own or self.environ.get(f"OTEL_EXPORTER_OTLP_{word}") or None


def _pairs(text: str) -> dict[str, str]:
    """Read `key=value,key=value`; values are percent-encoded (W3C Baggage)."""
    from urllib.parse import unquote  # noqa: PLC0415

    pairs = (pair.partition("=") for pair in text.split(",") if "=" in pair)
    return {key.strip(): unquote(value.strip()) for key, _, value in pairs}
