"""What waziper's clients send to `/send_message`: in the query, as a form or as JSON, mixed."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from sekring.errors import InvalidInput
from sekring.http.bodies import JsonBody
from sekring.sessions.recipient import recipient

__all__ = ["FormOrJson", "SendBody", "Sending"]

T = TypeVar("T")

#: As waziper's clients call a text; its front end says 1.
_TEXT_TYPES = frozenset({"text", "1"})

_TEXT_MAX = 65_536

_TAKES = "only text is sent, so type takes text"


class SendBody(Struct, frozen=True, omit_defaults=True):
    """A text, in the words of waziper's clients; what is here goes before the query."""

    instance_id: str | None = None
    number: str | int | None = None
    chat_id: str | int | None = None
    message: str | None = None
    caption: str | None = None
    type: str | int | None = None
    media_url: str | None = None


class FormOrJson(JsonBody[T]):
    """As `JsonBody`, for clients that send a form as well; other fields are passed over."""

    def decode_bytes(self, value: bytes) -> Any:  # noqa: ANN401
        """Decode a body; raises as `JsonBody`."""
        text = value.lstrip()
        if text.startswith(b"--"):
            raise InvalidInput(
                "The body is a multipart form: send JSON, or a form that is URL-encoded."
            )
        if not text or text.startswith((b"{", b"[")):
            return super().decode_bytes(value)
        fields = {name: values[-1] for name, values in parse_qs(text.decode()).items()}
        return msgspec.convert(fields, self.model_type)


class Sending(Struct, frozen=True):
    """A text that is to be sent."""

    instance_id: str
    to: str
    text: str

    @classmethod
    def of(cls, query: Mapping[str, str], body: SendBody) -> "Sending":
        """Read it out of a request.

        Raises:
            InvalidInput: something is missing or wrong; names the field.
        """
        given = {name: str(value) for name, value in msgspec.to_builtins(body).items() if value}
        fields = {**query, **given}
        _refuse_others(fields)
        name = "chat_id" if fields.get("chat_id") else "number"
        if not fields.get(name):
            raise InvalidInput(
                "number is missing: a phone number, or chat_id with a JID.", "number"
            )
        text = fields.get("message") or fields.get("caption") or ""
        if not text:
            raise InvalidInput("message is missing: the text to be sent.", "message")
        if len(text) > _TEXT_MAX:
            raise InvalidInput(f"message takes up to {_TEXT_MAX} characters.", "message")
        return cls(fields.get("instance_id", ""), recipient(fields[name], name), text)


def _refuse_others(fields: Mapping[str, str]) -> None:
    kind = fields.get("type", "text")
    if kind.lower() not in _TEXT_TYPES:
        raise InvalidInput(f"type is '{kind[:40]}': {_TAKES}.", "type")
    if fields.get("media_url"):
        raise InvalidInput(f"media_url is not taken: {_TAKES}.", "media_url")
