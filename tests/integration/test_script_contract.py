"""Each script's header, its text and its Python wrapper say the same."""

import asyncio
import inspect
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import pytest
from msgspec import Struct, structs

from sekring.model import GuardState, Origin, Pacing, Snapshot
from sekring.policy import Policy
from sekring.store import contract, errand_contract, session_contract
from sekring.store.assemble import assemble, read, script_names
from sekring.store.calling import ScriptCalls
from sekring.store.calls import Call
from sekring.store.contract import (
    AdvanceWebhookRequest,
    ClaimRequest,
    ClaimWebhookRequest,
    CreateWebhookRequest,
    DeleteWebhookRequest,
    DisableRequest,
    DisableWebhookRequest,
    Forced,
    GuardChange,
    GuardRequest,
    KeyspaceClaim,
    Made,
    MinutesRequest,
    OfferRequest,
    OverrideRequest,
    PaceRequest,
    PartitionMinutes,
    PartitionTotals,
    PartitionView,
    PermitRequest,
    PolicyRequest,
    Reading,
    RefuseBuildRequest,
    ReleaseWebhookRequest,
    ReportRequest,
    ResetDone,
    ResetGuardRequest,
    ResetRequest,
    SettleRequest,
    SnapshotRequest,
    Tail,
    TailRequest,
    TotalsRequest,
    TripGuardRequest,
    TripRequest,
    ViewRequest,
    WebhookClaim,
)
from sekring.store.errand_contract import (
    AnswerErrandRequest,
    ErrandPosted,
    ErrandsTaken,
    PostErrandRequest,
    PutQrRequest,
    TakeErrandsRequest,
)
from sekring.store.errand_scripts import ErrandScripts
from sekring.store.keys import KEY_KINDS, Keyspace, fence_beside
from sekring.store.library import Library, Script
from sekring.store.redis import RedisLink
from sekring.store.replies import PermitReply, ReportReply
from sekring.store.scripts import Scripts
from sekring.store.session_contract import (
    ClaimedLeases,
    ClaimLeasesRequest,
    DropSessionRequest,
    JoinGatewaysRequest,
    ListGatewaysRequest,
    LiveGateways,
    PartitionVacancies,
    ReadSessionsRequest,
    ReleasedLeases,
    ReleaseLeasesRequest,
    RenewedLeases,
    RenewLeasesRequest,
    SessionsRead,
    SetPhaseRequest,
    VacanciesRequest,
    WantSessionRequest,
)
from sekring.store.session_scripts import SessionScripts
from sekring.taxonomy import COUNTED_KINDS, Effect

ID: Final = "6281234567890"

#: Every script: a request with every field set, and the fields that its reply may hold.
REQUESTS: Final[dict[str, tuple[Struct, type[Struct] | None]]] = {
    "advance_webhook": (
        AdvanceWebhookRequest(
            id="w", token=1, places={"0": "1-0 1"}, delivered=1, lost=0, attempts=0
        ),
        None,
    ),
    "claim_keyspace": (ClaimRequest(partitions=64, secret="s"), KeyspaceClaim),
    "claim_webhook": (ClaimWebhookRequest(id="w", owner="r", lease_ms=1_000), WebhookClaim),
    "create_webhook": (
        CreateWebhookRequest(id="w", definition="{}", limit=1, places={"0": "1-0 1"}),
        None,
    ),
    "delete_webhook": (DeleteWebhookRequest(id="w", origin=Origin()), None),
    "disable": (DisableRequest(instance_id=ID, for_ms=1, made_epoch=1, origin=Origin()), Forced),
    "minutes": (MinutesRequest(), PartitionMinutes),
    "offer": (
        OfferRequest(instance_id=ID, epoch=1, cause="failures", for_ms=1, made_epoch=2),
        Forced,
    ),
    "permit": (
        PermitRequest(instance_id=ID, build="b", epoch=1, age_ms=1, origin=Origin()),
        PermitReply,
    ),
    "disable_webhook": (DisableWebhookRequest(id="w", token=1, definition="{}"), None),
    "guard": (GuardRequest(failing=1, connected=1), GuardChange),
    "pace": (PaceRequest(), Pacing),
    "refuse_build": (RefuseBuildRequest(build="b", kind="client_outdated", for_ms=60_000), None),
    "release_webhook": (ReleaseWebhookRequest(owner="r", token=1), None),
    "report": (
        ReportRequest(
            instance_id=ID,
            id="r",
            outcome="failure",
            effect=Effect.BAN,
            kind="temporary_ban",
            ban_ms=60_000,
            gateway="gw",
            sent_ms=2**52,
        ),
        ReportReply,
    ),
    "reset": (ResetRequest(instance_id=ID, made_epoch=1), ResetDone),
    "reset_guard": (ResetGuardRequest(origin=Origin()), GuardChange),
    "set_override": (OverrideRequest(instance_id=ID, version=0), None),
    "set_policy": (PolicyRequest(policy='{"version":1,"patch":{}}', version=1), None),
    "settle": (SettleRequest(instance_id=ID), None),
    "snapshot": (SnapshotRequest(instance_id=ID, with_failures=True), Reading),
    "tail": (TailRequest(after="0-0", limit=1), Tail),
    "totals": (TotalsRequest(limit=10), PartitionTotals),
    "trip": (TripRequest(instance_id=ID, for_ms=1, made_epoch=1, origin=Origin()), Forced),
    "view": (ViewRequest(), PartitionView),
    "trip_guard": (TripGuardRequest(for_ms=1, origin=Origin()), GuardChange),
    "want_session": (WantSessionRequest(instance_id=ID, origin=Origin()), None),
    "drop_session": (DropSessionRequest(instance_id=ID, origin=Origin()), None),
    "claim_leases": (
        ClaimLeasesRequest(gateway="g", limit=1, ttl_ms=1_000, origin=Origin()),
        ClaimedLeases,
    ),
    "renew_leases": (
        RenewLeasesRequest(gateway="g", ttl_ms=1_000, instance_ids=[ID], tokens=[1]),
        RenewedLeases,
    ),
    "release_leases": (
        ReleaseLeasesRequest(gateway="g", instance_ids=[ID], tokens=[1]),
        ReleasedLeases,
    ),
    "set_phase": (
        SetPhaseRequest(
            instance_id=ID, gateway="g", token=1, phase="waiting", device="d", detail="d"
        ),
        None,
    ),
    "join_gateways": (
        JoinGatewaysRequest(
            gateway="g", capacity=1, held=1, draining=True, devices="d", ttl_ms=1_000
        ),
        LiveGateways,
    ),
    "list_gateways": (ListGatewaysRequest(ttl_ms=1_000), LiveGateways),
    "read_sessions": (ReadSessionsRequest(instance_ids=[ID]), SessionsRead),
    "vacancies": (VacanciesRequest(), PartitionVacancies),
    "post_errand": (
        PostErrandRequest(
            instance_id=ID, id="e", kind="send", body="b", ttl_ms=1_000, awaited=True, limit=1
        ),
        ErrandPosted,
    ),
    "take_errands": (TakeErrandsRequest(instance_id=ID, gateway="g", id="t"), ErrandsTaken),
    "answer_errand": (AnswerErrandRequest(id="e", answer="a"), None),
    "put_qr": (
        PutQrRequest(instance_id=ID, gateway="g", token=1, code="c", expires_in_ms=1_000),
        None,
    ),
}
#: Every class with wrappers.
WRAPPERS: Final[tuple[type[ScriptCalls], ...]] = (Scripts, SessionScripts, ErrandScripts)
NAMES: Final = script_names()
KINDS: Final = {kind.name: kind for kind in KEY_KINDS}

_KEY_LINE = re.compile(r"^-- (?:KEYS)?\s+(\d*)\s*([A-Z]+) +(\w+) +(.+?); (.+)$", re.MULTILINE)
#: What is no key, though it is among KEYS; and what names other keys after it.
_PARTITION = "PARTITION"
_NAMING = read("shared/keys")
_FIELD_LINE = re.compile(r"^--         (\w+)(?:\s{2,}\S|$)", re.MULTILINE)
_COMMENT = re.compile(r"--.*$", re.MULTILINE)
#: Where a script takes the values of its request from an array.
_TAKEN = re.compile(r"origin_at,([^=]+)= receive_values\(ARGV, (\d+)\)")


class Recorder:
    """Runs scripts on Redis and keeps what the wrapper gave it and what Redis answered."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self.keys: list[str] = []
        self.answer: object = None

    def know(self, library: Library) -> None:
        self._link.know(library)

    def start(self, script: Script, keys: Sequence[str], request: bytes) -> Call:
        call = self._link.start(script, keys, request)
        call.answer.add_done_callback(self._keep)
        self.keys = list(keys)
        return call

    def _keep(self, answer: asyncio.Future[object]) -> None:
        self.answer = answer.result()


async def call(name: str, link: RedisLink) -> Recorder:
    """Call a script's wrapper as the service does."""
    recorder = Recorder(link)
    # One partition: what goes to all of them is one call then.
    (wrapper,) = (one for one in WRAPPERS if hasattr(one, name))
    method = getattr(wrapper(recorder, Keyspace(partitions=1)), name)
    taken = inspect.signature(method).parameters
    known = (("partition", 0), ("webhook_id", "w"), ("instance_id", ID))
    arguments = [value for word, value in known if word in taken]
    await method(*arguments, REQUESTS[name][0])
    return recorder


def headed_keys(name: str) -> list[tuple[str, str, str]]:
    """Return name, type and time to live of KEYS 1, 2, … as the header says."""
    found = [line for line in key_lines(name) if line[0]]
    assert [int(number) for number, *_ in found] == list(range(1, len(found) + 1))
    return [(key, kind, ttl) for _, key, kind, _, ttl in found]


def key_lines(name: str) -> list[tuple[str, str, str, str, str]]:
    """Return what the header says of KEYS and of the keys that are named after `PARTITION`."""
    keys = read(name).partition("-- ARGV")[0]
    found: list[tuple[str, str, str, str, str]] = _KEY_LINE.findall(keys)
    return found


def real_keys(name: str) -> list[tuple[str, str, str]]:
    """Return name, type and time to live of all keys that the header names."""
    return [(key, kind, ttl) for _, key, kind, _, ttl in key_lines(name) if key != _PARTITION]


def headed_fields(name: str) -> list[str]:
    """Return the request's fields as the header says."""
    header = read(name).partition("-- Returns")[0]
    return _FIELD_LINE.findall(header.partition("-- ARGV")[2])


def body(name: str) -> str:
    """Return the assembled script without its comments."""
    return _COMMENT.sub("", assemble(name))


def test_every_script_has_a_wrapper_and_every_wrapper_a_script() -> None:
    methods = {name for wrapper in WRAPPERS for name in vars(wrapper) if not name.startswith("_")}
    # `…_all` makes many calls of one script.
    scripts = {name.removesuffix("_all") for name in methods}
    assert sorted(scripts) == sorted(NAMES) == sorted(REQUESTS)


@pytest.mark.parametrize("name", NAMES)
async def test_the_keys_are_those_of_the_header(name: str, link: RedisLink) -> None:
    recorder = await call(name, link)
    headed = headed_keys(name)

    assert len(recorder.keys) == len(headed)
    for key, (word, kind, _) in zip(recorder.keys, headed, strict=True):
        if word == _PARTITION:
            assert key == recorder.keys[0].partition(":instance:")[0]
            continue
        place = 1 if key.endswith(":keyspace") else 2
        assert key.split(":")[place] == word.lower()
        assert KINDS[word.lower()].type == kind


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_never_expires_is_one_that_must_not(name: str) -> None:
    for word, type_, ttl in real_keys(name):
        kind = KINDS[word.lower()]
        assert kind.type == type_
        assert ttl.startswith("never: ") == (kind.longest_ms is None)
        assert (kind.longest_ms is None) == bool(kind.why)


def test_a_key_has_the_same_words_in_every_header() -> None:
    words: dict[str, set[str]] = {}
    for name in NAMES:
        # What a key is, and its time to live; "as TOTALS" needs TOTALS beside it.
        for key, _, ttl in real_keys(name):
            if not ttl.startswith("as "):
                words.setdefault(key, set()).add(ttl)
    assert {key: ttls for key, ttls in words.items() if len(ttls) > 1} == {}


@pytest.mark.parametrize("name", NAMES)
def test_no_key_is_used_beyond_those_of_the_header(name: str) -> None:
    text, headed = body(name), headed_keys(name)
    used = [int(place) for place in re.findall(r"KEYS\[(\d+)\]", text)]
    used += [int(last) for last in re.findall(r"unpack\(KEYS, 1, (\d+)\)", text)]
    assert max(used) == len(headed)
    assert {int(place) for place in re.findall(r"ARGV\[(\d+)\]", text)} == {1}

    # The names that a script gives to its keys are the header's, in the header's order.
    named = []
    for names, _ in re.findall(r"([A-Z][A-Z, \n]+) =\s+(KEYS\[|unpack\(KEYS)", text):
        named += re.findall(r"[A-Z]+", names)
    assert named == [key for key, *_ in headed]


@pytest.mark.parametrize("name", [name for name in NAMES if _NAMING in assemble(name)])
def test_the_keys_that_a_script_names_itself_are_those_of_the_header(name: str) -> None:
    text = _COMMENT.sub("", assemble(name).replace(_NAMING, ""))
    words = {word for word in re.findall(r"\b[A-Z]+\b", text) if word.lower() in KINDS}
    words |= {kind.upper() for kind in re.findall(r"\bown\('(\w+)'\)", text)}
    assert words == {key for key, *_ in real_keys(name)}


def test_scripts_name_keys_as_python_does() -> None:
    keyspace = Keyspace()
    number = keyspace.partition_of(ID)
    record, partition = keyspace.instance(ID)
    assert "return PARTITION .. ':' .. kind .. ':' .. request.instance_id" in _NAMING
    kinds = {kind for name in NAMES for kind in re.findall(r"\bown\('(\w+)'\)", body(name))}
    assert {record, *(f"{partition}:{kind}:{ID}" for kind in kinds)} == {*keyspace.whole(ID)}

    shared = re.findall(r"partition \.\. ':(\w+)'", _NAMING)
    words = re.search(r"([A-Z][A-Z, ]+) = partition_names", _NAMING)
    assert words
    assert words[1].lower().split(", ") == shared
    assert all(f"{partition}:{name}" == getattr(keyspace, name)(number) for name in shared)


@pytest.mark.parametrize("name", NAMES)
def test_the_request_has_the_fields_of_the_header(name: str) -> None:
    assert set(headed_fields(name)) == set(REQUESTS[name][0].__struct_fields__)


@pytest.mark.parametrize("name", ["permit", "report"])
def test_an_array_has_the_same_order_everywhere(name: str) -> None:
    request = REQUESTS[name][0]
    assert request.__struct_config__.array_like
    fields = list(request.__struct_fields__)
    assert len(fields) <= 15, "from the 16th on, the array's head has three bytes"

    taken = _TAKEN.search(body(name))
    assert taken
    assert [*re.findall(r"request\.(\w+)", taken[1]), "origin"] == fields == headed_fields(name)
    assert int(taken[2]) == len(fields)
    assert re.findall(r"^-- ARGV  1 (.+)$", read(name), re.MULTILINE) == ["request, msgpack array:"]


@pytest.mark.parametrize("name", NAMES)
def test_a_script_reads_no_other_fields_and_leaves_none_unread(name: str) -> None:
    used = set(re.findall(r"\brequest\.(\w+)", _TAKEN.sub("", body(name))))
    headed = set(headed_fields(name))
    # The shared parts serve all scripts and may read what this one's request has not.
    own = set(re.findall(r"\brequest\.(\w+)", _COMMENT.sub("", read(name))))
    assert own <= headed
    assert headed <= used | {"now_ms"}


@pytest.mark.parametrize("name", NAMES)
async def test_the_reply_has_the_fields_that_the_wrapper_expects(
    name: str, link: RedisLink
) -> None:
    recorder = await call(name, link)
    reply = REQUESTS[name][1]
    promised = re.findall(r"^-- Returns (.+)$", read(name), re.MULTILINE)
    assert len(promised) == 1
    if reply is None:
        assert promised[0].startswith("1")
        assert recorder.answer in {0, 1}
        return
    assert isinstance(recorder.answer, bytes)
    fields = msgspec.msgpack.decode(recorder.answer)
    assert isinstance(fields, list) == reply.__struct_config__.array_like
    if isinstance(fields, list):
        assert promised[0].startswith("msgpack array: ")
        msgspec.convert(fields, reply)
        fields = dict(zip(reply.__struct_fields__, fields, strict=False))
    for made in fields.get("transitions", ()):
        assert_fields(made, Made)
    if "transitions" not in reply.__struct_fields__ and fields.pop("transitions", ()):
        assert "transitions" in read(name).partition("-- include")[0]
    assert_fields(fields, reply)
    named = re.search(r"the fields of (\w+) \((sekring/\S+)\)", promised[0])
    if named:
        assert named[1] == reply.__name__
        assert reply.__module__ == named[2].removesuffix(".py").replace("/", ".")


#: What Python fills in, not the script.
PYTHONS: Final = {"degraded"}


def assert_fields(answer: dict[str, Any], reply: type[Struct]) -> None:
    """Nothing is there that nobody reads, and nothing required is missing."""
    assert set(answer) <= set(reply.__struct_fields__) - PYTHONS
    required = {field.name for field in structs.fields(reply) if field.required}
    assert required <= set(answer)
    inner: dict[str, type[Struct]] = {"snapshot": Snapshot, "policy": Policy, "guard": GuardState}
    for field in set(inner) & set(answer):
        assert_fields(answer[field], inner[field])


def test_the_defaults_of_the_policy_are_those_of_the_wrapper() -> None:
    block = re.search(r"local policy = (\{.*?\n  \})", assemble("permit"), re.DOTALL)
    assert block
    # A Lua table of numbers, booleans and tables is JSON but for its names and last commas.
    as_json = re.sub(r"(\w+) =", r'"\1":', block[1])
    as_json = re.sub(r",(\s*\})", r"\1", as_json)
    written = msgspec.json.decode(as_json)
    assert set(written) == set(Policy.__struct_fields__)
    assert msgspec.convert(written, Policy) == Policy()


async def test_the_defaults_of_the_policy_come_back_from_redis(scripts: Scripts) -> None:
    reading = await scripts.snapshot(SnapshotRequest(instance_id=ID))
    assert reading.policy == Policy()


def test_the_kinds_that_count_are_in_the_same_order() -> None:
    block = re.search(r"local KINDS = \{(.*?)\}", assemble("report"), re.DOTALL)
    assert block
    assert tuple(re.findall(r"'(\w+)'", block[1])) == COUNTED_KINDS


def test_every_key_that_is_built_is_of_a_known_kind() -> None:
    keyspace = Keyspace(partitions=1)
    built = [*keyspace.whole(ID), *keyspace.guard(), keyspace.history(ID), keyspace.keyspace()]
    built += [keyspace.webhooks(), keyspace.hookstate("w"), keyspace.hooklease("w")]
    built.append(keyspace.gateways())
    built += [keyspace.errands(ID), keyspace.taken(ID), keyspace.answer(ID, "e"), keyspace.qr(ID)]
    built += [
        getattr(keyspace, name)(0)
        for name, method in inspect.getmembers(Keyspace, inspect.isfunction)
        if "partition" in inspect.signature(method).parameters and not name.startswith("_")
    ]
    built.append(fence_beside(keyspace.policies(0)))
    suffixes = {key.split(":")[1 if key.endswith(":keyspace") else 2] for key in built}
    assert suffixes == set(KINDS)


def test_the_modules_offer_every_request_and_reply() -> None:
    offered = {*contract.__all__, *session_contract.__all__, *errand_contract.__all__}
    for request, _ in REQUESTS.values():
        assert type(request).__name__ in offered


async def test_a_transition_is_told_by_the_call_that_made_it(scripts: Scripts) -> None:
    told: list[Made] = []
    scripts.on_transition(told.append)
    asked = Origin(trace_id="a" * 32, span_id="b" * 16)
    await scripts.trip(TripRequest(instance_id=ID, for_ms=1, origin=asked, now_ms=1_000_000))
    # Its end is time's doing, and whoever comes first makes it.
    await scripts.settle(SettleRequest(instance_id=ID, now_ms=2_000_000))
    await scripts.settle(SettleRequest(instance_id=ID, now_ms=3_000_000))

    trip, end = told
    assert (trip.action, trip.before, trip.after) == ("force_open", "closed", "forced_open")
    assert (end.before, end.after) == ("forced_open", "closed")
    # Both were brought about by the same request.
    assert trip.trace == end.trace == f"{asked.trace_id}-{asked.span_id}"
