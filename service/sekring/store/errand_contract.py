"""The contract with the Lua scripts about errands and QR codes; see `sekring.store.contract`."""

from msgspec import Struct

from sekring.store.contract import Request

__all__ = [
    "AnswerErrandRequest",
    "ErrandPosted",
    "ErrandsTaken",
    "PostErrandRequest",
    "PutQrRequest",
    "StoredErrand",
    "TakeErrandsRequest",
]


class PostErrandRequest(Request, frozen=True, kw_only=True):
    """`lua/post_errand.lua`."""

    instance_id: str
    id: str
    kind: str
    body: str = ""
    ttl_ms: int
    awaited: bool = False
    limit: int


class TakeErrandsRequest(Request, frozen=True, kw_only=True):
    """`lua/take_errands.lua`."""

    instance_id: str
    gateway: str
    id: str


class AnswerErrandRequest(Request, frozen=True, kw_only=True):
    """`lua/answer_errand.lua`."""

    id: str
    answer: str


class PutQrRequest(Request, frozen=True, kw_only=True):
    """`lua/put_qr.lua`."""

    instance_id: str
    gateway: str
    token: int
    code: str
    expires_in_ms: int


class ErrandPosted(Struct, frozen=True, kw_only=True):
    """What became of an errand."""

    #: False: as many wait already as may.
    queued: bool
    #: The owner, who was rung for; empty: the errand waits for one.
    gateway: str


class StoredErrand(Struct, frozen=True, kw_only=True):
    """An errand as Redis has it."""

    id: str
    kind: str
    body: str
    expires_in_ms: int


class ErrandsTaken(Struct, frozen=True, kw_only=True):
    """What a gateway is handed."""

    errands: tuple[StoredErrand, ...]
