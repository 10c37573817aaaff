"""Which environment variables mean something to Sekring: for what names them in manifests."""

import re

from sekring.gateway.settings import GatewaySettings
from sekring.settings import Declared, Settings, secret_files, table, variable_of

__all__ = ["known_to"]

#: What OpenTelemetry's SDK reads by itself (its specification, "Environment Variables").
_OTEL = re.compile(
    r"OTEL_(SDK_DISABLED|SERVICE_NAME|RESOURCE_ATTRIBUTES|TRACES_SAMPLER_ARG|METRIC_EXPORT_INTERVAL"
    r"|BSP_\w+|EXPORTER_OTLP_(TRACES_|METRICS_)?(ENDPOINT|PROTOCOL|HEADERS|TIMEOUT|INSECURE))"
)

_TABLES: dict[str, type[Declared]] = {"service": Settings, "gateway": GatewaySettings}


def known_to(process: str, variable: str) -> bool:
    """Tell whether the `service` or the `gateway` goes by a variable."""
    of = _TABLES[process]
    ours = {*map(variable_of, table(of)), *secret_files(of).values()}
    return variable in ours or _OTEL.fullmatch(variable) is not None
