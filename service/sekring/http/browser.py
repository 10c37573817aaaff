"""What a request's headers tell about the browser that sent it: fetch metadata, and what it reads.

Browsers send `Sec-Fetch-*` to https addresses and to localhost only, and no page can set or leave
out one of them (W3C Fetch Metadata). Where they are missing, nothing is taken for granted.
"""

from collections.abc import Iterable
from typing import Any

from litestar.connection import ASGIConnection

__all__ = ["accepts_html", "acts_for_somebody", "is_form_of_a_page", "user_chose_the_address"]

_Connection = ASGIConnection[Any, Any, Any, Any]

_HTML = frozenset({"text/html", "application/xhtml+xml"})

#: Where browsers say that they load a page before the user has asked for it.
_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_AHEAD_OF_THE_USER = ("prefetch", "prerender", "preview")

_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})


def accepts_html(connection: _Connection) -> bool:
    """Tell whether HTML is asked for by name; the `*/*` of programs is not enough."""
    for media_range in connection.headers.get("accept", "").lower().split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        if media_type in _HTML and not _forbids(parameters):
            return True
    return False


def user_chose_the_address(connection: _Connection) -> bool:
    """Tell whether the user himself opened this address: typed it, or took a bookmark.

    Not a link on some page, no image, frame or script, and nothing that the browser does ahead of
    its user. A reload, and the way back in the history, look the same; see
    `sekring.console.resetpage`.
    """
    headers = connection.headers
    return (
        connection.scope.get("method") == "GET"
        and headers.get("sec-fetch-site") == "none"
        and headers.get("sec-fetch-user") == "?1"
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
        and not _is_ahead_of_the_user(connection)
    )


def acts_for_somebody(connection: _Connection) -> bool:
    """Tell whether a GET that changes something was meant to: by a program, or by a browser's user.

    A browser asks for HTML or sends fetch metadata; its user must have opened the address himself,
    or a page of this very site have asked. A link preview, a prefetch, an image or a link on some
    page change nothing. What sends neither is a program, and does what the guide says.
    """
    if _is_ahead_of_the_user(connection):
        return False
    site = connection.headers.get("sec-fetch-site")
    if site is None:
        return not accepts_html(connection)
    return site == "same-origin" or user_chose_the_address(connection)


def is_form_of_a_page(connection: _Connection) -> bool:
    """Tell whether a POST is a form that a browser submits, which has to prove where it is from.

    `curl -X POST`, with `-d ''` or without, is none: it neither asks for HTML nor sends fetch
    metadata. A browser always asks for HTML when it submits a form, and where it also sends fetch
    metadata, a form's content type is enough. So whatever a page can make a browser send either
    counts as a form, or is a script's request, which the guard lets through from this origin only.
    """
    content_type = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    return accepts_html(connection) or (
        "sec-fetch-site" in connection.headers and content_type in _FORMS
    )


def _forbids(parameters: Iterable[str]) -> bool:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value) <= 0
            except ValueError:
                return True
    return False


def _is_ahead_of_the_user(connection: _Connection) -> bool:
    said = " ".join(
        value for name in _PURPOSES for value in connection.headers.getall(name, [])
    ).lower()
    return any(word in said for word in _AHEAD_OF_THE_USER)
