"""Why there was no answer of Sekring's, in a sentence that says what to check."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx

__all__ = ["media_type_of", "what_answered", "what_failed"]


def what_answered(url: str, response: httpx.Response) -> str:
    """Say what came instead of an answer that this version understands."""
    if response.has_redirect_location:
        place = response.headers["location"]
        return f"{url} redirects to {place}: set SEKRING_URL to where the service itself is."
    media_type = media_type_of(response) or "an empty body"
    culprit = "the proxy or load balancer in front of it"
    if response.is_success and media_type == "application/json":
        culprit = "that command and service have the same version"
    return (
        f"{url} answered {response.status_code} {response.reason_phrase}, and not as Sekring does "
        f"({media_type}): check SEKRING_URL and {culprit}."
    )


def media_type_of(response: httpx.Response) -> str:
    """Return the type of the body, without its parameters."""
    media_type: str = response.headers.get("content-type", "")
    return media_type.partition(";")[0].strip().lower()


def what_failed(url: str, error: Exception, *, connect_s: float, answer_s: float) -> str:
    """Say why there was no answer."""
    for cause in _chain(error):
        if words := _system_words(url, cause):
            return words
    match error:
        case httpx.ConnectTimeout():
            return f"{url} took no connection within {connect_s:g} s; check SEKRING_URL, firewalls."
        case httpx.TimeoutException():
            return f"{url} gave no answer within {answer_s:g} s; is it overloaded, or not Sekring?"
        case httpx.ProxyError():
            return f"{url}: the proxy in HTTP_PROXY or HTTPS_PROXY refused ({error}); see NO_PROXY."
        case httpx.RemoteProtocolError():
            return f"{url} does not answer in HTTP ({error}); is the port right, or is it https?"
        case _:
            words = str(error).rstrip(".") or type(error).__name__
            return f"{url} cannot be reached ({words}); check SEKRING_URL."


def _system_words(url: str, cause: BaseException) -> str | None:
    match cause:
        case ssl.SSLError():
            words = getattr(cause, "verify_message", "") or cause.reason or str(cause)
            return (
                f"{url}: the TLS connection failed ({words}). Is it https there? "
                "A private authority's certificate belongs into SSL_CERT_FILE."
            )
        case socket.gaierror():
            return f"{url}: the host name {urlsplit(url).hostname} is not known; check SEKRING_URL."
        case ConnectionRefusedError():
            return (
                f"Nothing listens at {url}. Is Sekring running? Start it with `sekring serve`, "
                "or set SEKRING_URL to where it is."
            )
        case _:
            return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
