"""Fields that several bodies of the HTTP API have, each with what it takes."""

from typing import Annotated

from msgspec import Meta

from sekring.model import PATTERN_END, PREFIX_PATTERN, InstanceId

__all__ = [
    "AgeMs",
    "BanExpire",
    "BanMs",
    "BuildName",
    "Code",
    "Detail",
    "Epoch",
    "FeedName",
    "ForMs",
    "GatewayName",
    "InstanceIds",
    "Prefix",
    "Reason",
    "ReportId",
]

#: The longest time an operator may ask for, and the longest ban: a year, in ms.
_YEAR_MS = 31_536_000_000
_WEEK_MS = 604_800_000
_PRINTABLE = rf"^[\x21-\x7e]+{PATTERN_END}"
FeedName = Annotated[
    str,
    Meta(
        pattern=rf"^([*]|[A-Za-z0-9._:@-]{{1,128}}){PATTERN_END}",
        description="Name of a WhatsApp session, or `*` for the events of the whole fleet.",
        examples=["6281234567890"],
    ),
]
GatewayName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="Name of the gateway replica: printable ASCII without spaces.",
        examples=["gateway-2"],
    ),
]
BuildName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="The gateway's library and version: what WhatsApp refuses when it refuses a "
        "client as outdated.",
        examples=["neonize/0.5.2"],
    ),
]
ReportId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=_PRINTABLE,
        description="Names the report: a repeated one counts once. Default: the attempt's id.",
    ),
]
Reason = Annotated[
    str, Meta(min_length=1, max_length=500, description="For the audit trail, in words.")
]
Code = Annotated[int, Meta(ge=0, le=65_535, description="The protocol's own disconnect code.")]
Detail = Annotated[
    str, Meta(max_length=2_000, description="What the library said; 300 characters are kept.")
]
Epoch = Annotated[
    int,
    Meta(
        ge=0,
        le=9_007_199_254_740_991,
        description="Under which it was permitted. Default: the one in `attempt_id`.",
    ),
]
AgeMs = Annotated[
    int, Meta(ge=0, le=_WEEK_MS, description="How long ago it happened; never a wall clock.")
]
BanMs = Annotated[
    int, Meta(ge=0, le=_YEAR_MS, description="How long a temporary ban lasts; 0 is unknown.")
]
BanExpire = Annotated[
    int,
    Meta(
        ge=0,
        le=32_503_680_000,
        description="The same as whatsmeow gives it: seconds, or above 10^9 a Unix time.",
    ),
]
ForMs = Annotated[int, Meta(ge=1, le=_YEAR_MS, description="How long; default: until a reset.")]
Prefix = Annotated[
    str,
    Meta(
        min_length=1,
        pattern=PREFIX_PATTERN,
        description="Those whose id begins with this; upper and lower case differ.",
        examples=["62812"],
    ),
]
InstanceIds = Annotated[list[InstanceId], Meta(min_length=1, max_length=1_000)]
