"""Whether an OpenTelemetry collector takes what is sent to it; nothing that it keeps is sent.

By HTTP an empty request goes out, which is valid and holds nothing. By gRPC both sides only greet
each other (RFC 9113, 3.4).
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import httpx

from sekring import __version__
from sekring.doctor.finding import Finding, failure, ok, unchecked, warning
from sekring.errors import SettingsError
from sekring.telemetry.environment import Otel, Signal
from sekring.trust import trust

__all__ = ["examine_collector"]

_SUBJECT: Final = "telemetry"
_SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics")
_GRPC_PORT: Final = 4317

#: HTTP/2's preface with an empty SETTINGS frame; the answer to it begins with such a frame.
_GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME_HEADER_BYTES: Final = 9
_SETTINGS: Final = 4

_TIMEOUT_S: Final = 3.0


async def examine_collector(environ: Mapping[str, str]) -> list[Finding]:
    """Examine each endpoint that OpenTelemetry's variables name."""
    otel = Otel(environ, "sekring", __version__)
    if otel.disabled:
        return [unchecked(_SUBJECT, "switched off by OTEL_SDK_DISABLED")]
    try:
        otel.check()
    except SettingsError as error:
        return [failure(_SUBJECT, "a variable of OpenTelemetry's has a wrong value", str(error))]
    endpoints: dict[tuple[str, str], None] = {}
    for signal in _SIGNALS:
        if (endpoint := otel.endpoint(signal)) is None:
            continue
        protocol = otel.protocol(signal)
        if protocol != "grpc" and not environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"):
            endpoint = f"{endpoint.rstrip('/')}/v1/{signal}"
        endpoints[(endpoint, protocol)] = None
    if not endpoints:
        return [unchecked(_SUBJECT, "no OTEL_EXPORTER_OTLP_ENDPOINT is set: nothing is sent")]
    return [await _reach(environ, *endpoint) for endpoint in endpoints]


async def _reach(environ: Mapping[str, str], endpoint: str, protocol: str) -> Finding:
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
        if not host or parts.scheme not in {"http", "https"}:
            raise ValueError  # noqa: TRY301 - as the two above do
    except ValueError:
        return failure(
            _SUBJECT,
            "OTEL_EXPORTER_OTLP_ENDPOINT is no address",
            "It takes http://HOST:PORT or https://HOST:PORT, with gRPC as well.",
        )
    tls = parts.scheme == "https"
    shown = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    try:
        if protocol == "grpc":
            context = _tls(environ, h2=True) if tls else None
            async with asyncio.timeout(_TIMEOUT_S):
                spoken = await _greet(host, port or _GRPC_PORT, context)
            return (
                ok(_SUBJECT, f"{shown} speaks HTTP/2, as gRPC does") if spoken else _no_grpc(shown)
            )
        return await _post(environ, endpoint, shown + parts.path)
    except TimeoutError:
        what = f"{shown} did not answer within {_TIMEOUT_S:.0f} s"
    except (httpx.LocalProtocolError, UnicodeEncodeError):
        # Its words would show the header.
        return failure(
            _SUBJECT,
            "OTEL_EXPORTER_OTLP_HEADERS has a header that cannot be sent",
            "It takes NAME=VALUE,NAME=VALUE, percent-encoded.",
        )
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        what = f"{shown} cannot be reached: {_words(error)}"
    return failure(
        _SUBJECT,
        what,
        "Check OTEL_EXPORTER_OTLP_ENDPOINT, and that the collector listens there (gRPC: 4317, HTTP:"
        " 4318). Until then the service works, and its traces are lost.",
    )


async def _post(environ: Mapping[str, str], url: str, shown: str) -> Finding:
    verify = _tls(environ) if url.startswith("https") else trust(url)
    headers = {"Content-Type": "application/x-protobuf", **_headers(environ)}
    async with httpx.AsyncClient(verify=verify, timeout=_TIMEOUT_S) as client:
        answer = await client.post(url, content=b"", headers=headers)
    if answer.is_success:
        return ok(_SUBJECT, f"{shown} takes OTLP by HTTP")
    said = f"{shown} answers {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in {401, 403}:
        return failure(_SUBJECT, said, "Put its token into OTEL_EXPORTER_OTLP_HEADERS.")
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        return warning(_SUBJECT, said, "See the collector's log.")
    return failure(
        _SUBJECT,
        said,
        "Name the collector's HTTP port (4318) without a path: /v1/traces is added; or set"
        " OTEL_EXPORTER_OTLP_PROTOCOL to grpc.",
    )


async def _greet(host: str, port: int, context: ssl.SSLContext | None) -> bool:
    """Tell whether a server greets in HTTP/2."""
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(_GREETING)
        await writer.drain()
        header = await reader.readexactly(_FRAME_HEADER_BYTES)
    except asyncio.IncompleteReadError:
        return False
    finally:
        writer.close()
    return header[3] == _SETTINGS


def _no_grpc(shown: str) -> Finding:
    return failure(
        _SUBJECT,
        f"{shown} does not speak gRPC",
        "Name the collector's gRPC port (4317), or set OTEL_EXPORTER_OTLP_PROTOCOL to"
        " http/protobuf.",
    )


def _tls(environ: Mapping[str, str], *, h2: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE"))
    if h2:
        context.set_alpn_protocols(["h2"])
    return context


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    pairs = (
        pair.partition("=") for pair in environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",")
    )
    return {
        unquote(name).strip(): unquote(value).strip() for name, equals, value in pairs if equals
    }


def _words(error: Exception) -> str:
    # httpx puts neither URL nor header into these.
    return re.sub(r"\s+", " ", str(error)).rstrip(".") or type(error).__name__
